"""Turns the trained networks into the committed files.

    finish.py FOLDER OUT

Writes embedding.safetensors and segmentation.safetensors.
"""
import os
import re
import sys

import torch

import nets


def embedder(state):
    """The network whose sizes are those of `state`."""
    layers = [1 + max(int(m[1]) for k in state if (m := re.match(rf"resnet\.layer{i}\.(\d+)\.", k))) for i in range(1, 5)]
    net = nets.Embedder(state["resnet.conv1.weight"].shape[0], layers, state["resnet.seg_1.weight"].shape[0])
    net.load_state_dict(state, strict=False)  # the counters of batches are not kept
    return net.eval()


def segmenter(state):
    layers = len([k for k in state if re.fullmatch(r"lstm\.weight_hh_l\d+", k)])
    net = nets.Segmenter(state["lstm.weight_hh_l0"].shape[1], layers, state["linear.0.weight"].shape[0])
    net.load_state_dict(state)
    net.bank = net.sincnet.conv1d[0].filterbank.filters().detach()
    return net.eval()


def main(folder, out):
    os.makedirs(out, exist_ok=True)
    credit = dict(licence="CC BY 4.0", attribution="trained on LibriSpeech (c) 2014 by Vassil Panayotov")
    net = embedder(torch.load(f"{folder}/embedder.pt"))
    print("embedding", nets.export(net, f"{out}/embedding.safetensors", sample_rate=16000, **credit), "bytes")
    net = segmenter(torch.load(f"{folder}/segmenter.pt"))
    print("segmentation", nets.export(net, f"{out}/segmentation.safetensors", duration=10, powerset=2, **credit), "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:3])
