#!/usr/bin/env python3
"""What transformers' Wav2Vec2ForCTC hears, for crates/sori-speech/tests/align/network.rs.

Three networks of small size with rule-made weights (the rule of crates/sori-testing/src/lcg_weights.rs): `base` (group norm,
norms after), `large` (layer norm, norms first, biases), `mms` (as large, with an adapter for a language). Writes
crates/sori-speech/tests/golden/align_network.json (configurations; name and shape of every tensor) and
align_{base,large,mms}.npy: log-probabilities (frames, tokens) for the sound `rule("sound", 20000, 0.3)`, in f64, rounded.

usage: align_golden.py
"""
import json
from pathlib import Path

import numpy as np
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

OUT = Path(__file__).resolve().parent.parent / "crates/sori-speech/tests/golden"

SMALL = dict(
    vocab_size=30, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=80, conv_dim=[24] * 7,
    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, pad_token_id=0,
)
LARGE = dict(SMALL, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True, num_conv_pos_embeddings=15)
NETWORKS = {"base": SMALL, "large": LARGE, "mms": dict(LARGE, adapter_attn_dim=8)}


def rule(name, count, scale):
    x = 2166136261
    for byte in name.encode():
        x = ((x ^ byte) * 16777619) & 0xFFFFFFFF
    values = np.empty(count)
    for i in range(count):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = ((x >> 8) / 2**24 - 0.5) * 2 * scale
    return values.astype(np.float32)


def fill(name, shape):
    count = int(np.prod(shape))
    if len(shape) == 1 and name.endswith("weight"):
        values = 1 + rule(name, count, 0.1)
    elif len(shape) == 1:
        values = rule(name, count, 0.05)
    else:
        values = rule(name, count, (3.0 / np.prod(shape[1:])) ** 0.5)
    return torch.from_numpy(values.reshape(shape))


torch.set_num_threads(1)
sound = rule("sound", 20000, 0.3)
inputs = Wav2Vec2FeatureExtractor(do_normalize=True)(sound, sampling_rate=16000, return_tensors="pt").input_values
networks = {}
for name, sizes in NETWORKS.items():
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**sizes)).eval()
    weights = {key: value for key, value in model.state_dict().items() if "masked_spec_embed" not in key}
    with torch.no_grad():
        for key, value in weights.items():
            value.copy_(fill(key, tuple(value.shape)))
        logits = model.double()(inputs.double()).logits[0]
    np.save(OUT / f"align_{name}.npy", torch.log_softmax(logits, -1).numpy().astype(np.float32))
    networks[name] = {"config": sizes, "tensors": [[key, list(value.shape)] for key, value in weights.items()]}
    print(name, tuple(logits.shape), "spread", logits.std().item())
lines = ",\n".join(f'"{name}": {json.dumps(network)}' for name, network in networks.items())
(OUT / "align_network.json").write_text("{\n" + lines + "\n}\n")
