#!/usr/bin/env python3
"""What torch makes of the embedding networks that no golden of ../shared covers; written to crates/sori-speech/tests/golden.

usage: speaker_goldens.py [--resemblyzer pretrained.pt]

- campplus.npy: CAM++ in full size, weights by the rule of crates/sori-testing/src/lcg_weights.rs, two masks.
- campplus_tiny.onnx, resnet_tiny.onnx and their .npy: small networks with such weights, exported as WeSpeaker exports its own
  (wespeaker/bin/export_onnx.py: batch norms folded, plain statistics), and their vectors.
- ge2e.npy: Resemblyzer's encoder with its published weights, which `pip download Resemblyzer==0.1.4` has.
The sound is ../shared/media/diar/pyannote_sample.wav. Written from the papers; CAM++ was compared with WeSpeaker's class once.
"""
import argparse
import io
import wave
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "crates/sori-speech/tests/golden"
SHARED = ROOT.parent / "shared"


def sample():
    with wave.open(str(SHARED / "media/diar/pyannote_sample.wav")) as w:
        return np.frombuffer(w.readframes(w.getnframes()), "<i2").astype(np.float32) / 32768


def rule(name, shape, scale):
    x = 2166136261
    for b in name.encode():
        x = ((x ^ b) * 16777619) & 0xFFFFFFFF
    values = np.empty(int(np.prod(shape)))
    for i in range(len(values)):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = ((x >> 8) / 2**24 - 0.5) * 2 * scale
    return values.astype(np.float32).reshape(shape)


def fill(net, prefix):
    with torch.no_grad():
        for k, v in net.state_dict().items():
            full, shape = f"{prefix}.{k}", tuple(v.shape)
            if k.endswith("num_batches_tracked"):
                continue
            if k.endswith("running_mean"):
                w = rule(full, shape, 0.1)
            elif k.endswith("running_var"):
                w = 1 + np.abs(rule(full, shape, 0.5))
            elif v.dim() == 1:
                w = 1 + rule(full, shape, 0.1) if k.endswith("weight") else rule(full, shape, 0.05)
            else:
                w = rule(full, shape, (3.0 / np.prod(shape[1:])) ** 0.5)
            v.copy_(torch.from_numpy(w))
    return net.eval()


def fbank(x):
    """torchaudio.compliance.kaldi.fbank(x * 32768, num_mel_bins=80, window_type="hamming"), mean taken off; [1, T, 80]."""
    x = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64) * 32768, 400)[::160]
    x = x - x.mean(1, keepdims=True)
    x = (x - 0.97 * np.concatenate([x[:, :1], x[:, :-1]], 1)) * np.hamming(400)
    power = np.abs(np.fft.rfft(x, 512)) ** 2
    mel = lambda hz: 1127 * np.log1p(hz / 700)
    edges = np.linspace(mel(20), mel(8000), 82)
    at = mel(np.arange(257) * 16000 / 512)[:, None]
    bank = np.maximum(0, np.minimum((at - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - at) / np.diff(edges)[1:]))
    bank[256] = 0
    f = np.log(np.maximum(power @ bank, 2.0**-23))
    return torch.from_numpy((f - f.mean(0)).astype(np.float32))[None]


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        same = stride in (1, (1, 1)) and a == b
        self.shortcut = nn.Sequential(*[] if same else [nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b)])

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


def statistics(x):  # wespeaker/models/pooling_layers.py, TSTP
    return torch.cat([x.mean(-1).flatten(1), (x.var(-1) + 1e-7).sqrt().flatten(1)], 1)


def weighted(x, w):  # pyannote/audio/models/blocks/pooling.py, with WeSpeaker's floor; x [1, C, T], w [n]
    w = F.interpolate(torch.from_numpy(w)[None, None], x.shape[2], mode="nearest")[0]
    v1 = w.sum() + 1e-8
    mean = (x[0] * w).sum(1) / v1
    var = (w * (x[0] - mean[:, None]) ** 2).sum(1) / (v1 - (w**2).sum() / v1 + 1e-8)
    return torch.cat([mean, (var + 1e-7).sqrt()])[None]


class ResNet(nn.Module):
    def __init__(self, width, blocks, dim):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        a = width
        for i, n in enumerate(blocks):
            b = width << i
            layer = [Block(a if j == 0 else b, b, 2 if i and j == 0 else 1) for j in range(n)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))
            a = b
        self.seg_1 = nn.Linear(20 * a, dim)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x.transpose(1, 2)[:, None])))
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.seg_1(statistics(x))


def named(**modules):
    s = nn.Sequential()
    for name, module in modules.items():
        s.add_module(name, module)
    return s


class Cam(nn.Module):
    def __init__(self, a, b, dilation):
        super().__init__()
        self.linear_local = nn.Conv1d(a, b, 3, 1, dilation, dilation, bias=False)
        self.linear1, self.linear2 = nn.Conv1d(a, a // 2, 1), nn.Conv1d(a // 2, b, 1)

    def forward(self, x):
        parts = F.avg_pool1d(x, 100, 100, ceil_mode=True)
        s = parts.shape
        parts = parts.unsqueeze(-1).expand(s[0], s[1], s[2], 100).reshape(s[0], s[1], -1)[..., : x.shape[-1]]
        context = x.mean(-1, keepdim=True) + parts
        return self.linear_local(x) * torch.sigmoid(self.linear2(F.relu(self.linear1(context))))


class Dense(nn.Module):
    def __init__(self, inputs, middle, growth, dilation):
        super().__init__()
        self.nonlinear1 = named(batchnorm=nn.BatchNorm1d(inputs), relu=nn.ReLU())
        self.linear1 = nn.Conv1d(inputs, middle, 1, bias=False)
        self.nonlinear2 = named(batchnorm=nn.BatchNorm1d(middle), relu=nn.ReLU())
        self.cam_layer = Cam(middle, growth, dilation)

    def forward(self, x):
        return torch.cat([x, self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))], 1)


class Head(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        stage = lambda: nn.Sequential(Block(width, width, (2, 1)), Block(width, width, 1))
        self.layer1, self.layer2 = stage(), stage()
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, (2, 1), 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.bn2(self.conv2(x))).flatten(1, 2)


class CamPlus(nn.Module):
    def __init__(self, dim, width=32, channels=128, growth=32, layers=(12, 24, 16)):
        super().__init__()
        self.head, self.pool = Head(width), statistics
        norm = lambda n: named(batchnorm=nn.BatchNorm1d(n), relu=nn.ReLU())
        self.xvector = named(tdnn=named(linear=nn.Conv1d(10 * width, channels, 5, 2, 2, bias=False), nonlinear=norm(channels)))
        for i, (n, dilation) in enumerate(zip(layers, (1, 2, 2)), 1):
            block = {f"tdnnd{j + 1}": Dense(channels + j * growth, 4 * growth, growth, dilation) for j in range(n)}
            channels += n * growth
            self.xvector.add_module(f"block{i}", named(**block))
            transit = named(nonlinear=norm(channels), linear=nn.Conv1d(channels, channels // 2, 1, bias=False))
            self.xvector.add_module(f"transit{i}", transit)
            channels //= 2
        self.xvector.add_module("out_nonlinear", norm(channels))
        self.xvector.add_module("dense", named(linear=nn.Conv1d(2 * channels, dim, 1, bias=False),
                                               nonlinear=named(batchnorm=nn.BatchNorm1d(dim, affine=False))))

    def forward(self, x):
        x = self.head(x.transpose(1, 2)[:, None])
        for name, module in self.xvector.named_children():
            x = module(self.pool(x)[..., None] if name == "dense" else x)
        return x[..., 0]


class Exported(nn.Module):  # wespeaker/bin/export_onnx.py
    def __init__(self, model, mean):
        super().__init__()
        self.model = model
        self.register_buffer("mean_vec", torch.from_numpy(mean))

    def forward(self, feats):
        return self.model(feats) - self.mean_vec


def export(net, name, x):
    data = io.BytesIO()
    torch.onnx.export(net, x, data, input_names=["feats"], output_names=["embs"], opset_version=14, dynamo=False,
                      dynamic_axes={"feats": {0: "B", 1: "T"}, "embs": {0: "B"}})
    (OUT / f"{name}.onnx").write_bytes(data.getvalue())


def resemblyzer(path, x):
    """`VoiceEncoder.embed_utterance` after `normalize_volume`, resemblyzer 0.1.4, without its trimming of silence."""
    import librosa
    sd = torch.load(path, map_location="cpu", weights_only=False)["model_state"]
    lstm, linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
    lstm.load_state_dict({k[5:]: v for k, v in sd.items() if k.startswith("lstm.")})
    linear.load_state_dict({k[7:]: v for k, v in sd.items() if k.startswith("linear.")})
    gain = -30 - 20 * np.log10(np.sqrt(np.mean((x * 32767) ** 2)) / 32767)
    x = x * 10 ** (gain / 20) if gain > 0 else x
    starts = list(range(0, max(1, int(np.ceil((len(x) + 1) / 160)) - 160 + 78), 77))
    if len(starts) > 1 and (len(x) - starts[-1] * 160) / 25600 < 0.75:
        starts.pop()
    x = np.pad(x, (0, max(0, (starts[-1] + 160) * 160 - len(x))))
    mel = librosa.feature.melspectrogram(y=x, sr=16000, n_fft=400, hop_length=160, n_mels=40).astype(np.float32).T
    with torch.inference_mode():
        _, (h, _) = lstm(torch.from_numpy(np.stack([mel[s : s + 160] for s in starts])))
        e = F.normalize(F.relu(linear(h[-1])), dim=1).numpy().mean(0)
    return e / np.linalg.norm(e)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--resemblyzer")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    x = sample()
    with torch.inference_mode():
        net = fill(CamPlus(512), "cam")
        masks = np.zeros((2, 589), np.float32)
        masks[0], masks[1, 100:300] = 1, 1
        vectors = []
        for mask in masks:
            net.pool = lambda frames: weighted(frames, mask)
            vectors.append(net(fbank(x[:160000]))[0].numpy())
        np.save(OUT / "campplus.npy", np.stack(vectors))
    tiny = {"resnet_tiny": fill(ResNet(4, (1, 2, 1, 1), 8), "tiny"),
            "campplus_tiny": fill(CamPlus(8, 4, 8, 4, (2, 3, 1)), "tiny")}
    for name, net in tiny.items():
        features = fbank(x[:64000])
        net = Exported(net, rule("mean", (8,), 0.1)).eval()
        export(net, name, features)
        with torch.inference_mode():
            np.save(OUT / f"{name}.npy", net(features)[0].numpy())
    if arguments.resemblyzer:
        quiet = x[50000:134800] * np.float32(0.01)
        vectors = [resemblyzer(arguments.resemblyzer, part) for part in (x[:160000], x[48000:64000], quiet)]
        np.save(OUT / "ge2e.npy", np.stack(vectors).astype(np.float32))


if __name__ == "__main__":
    main()
