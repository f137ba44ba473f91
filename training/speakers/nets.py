"""The two networks, in the published architectures and with the published tensor names, at a fraction of the size.

`Embedder` is WeSpeaker's ResNet34 (Wang et al. 2023, https://arxiv.org/abs/2210.17016) as pyannote.audio wraps it;
`Segmenter` is pyannote's PyanNet (Bredin & Laurent 2021) with the powerset loss of Plaquet & Bredin 2023.
"""
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(b)
        self.shortcut = nn.Sequential()
        if stride != 1 or a != b:
            self.shortcut = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, width, blocks, dim, mels=80):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        a = width
        for i, (n, stride) in enumerate(zip(blocks, (1, 2, 2, 2))):
            b = width << i
            layer = [Block(a if j == 0 else b, b, stride if j == 0 else 1) for j in range(n)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))
            a = b
        self.seg_1 = nn.Linear(2 * a * math.ceil(mels / 8), dim)

    def frames(self, x):  # [B, T, 80] centred log mel -> [B, C*10, T/8]
        x = x.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return x.flatten(1, 2).float()

    def pool(self, f, w):  # f [N, D, T], w [N, T] -> mean and unbiased deviation
        w = w[:, None]
        v1 = w.sum(2) + 1e-8
        m = (f * w).sum(2) / v1
        v = (w * (f - m[:, :, None]) ** 2).sum(2) / (v1 - (w**2).sum(2) / v1 + 1e-8)
        return torch.cat([m, (v + 1e-7).sqrt() if self.training else v.sqrt()], 1)


class Embedder(nn.Module):
    def __init__(self, width=8, blocks=(3, 4, 6, 3), dim=128):
        super().__init__()
        self.resnet = ResNet(width, blocks, dim)

    def forward(self, x, w=None):
        f = self.resnet.frames(x)
        w = torch.ones(len(x), f.shape[2]) if w is None else w
        return self.resnet.seg_1(self.resnet.pool(f, w))


class Sinc(nn.Module):
    """pyannote's (asteroid's) parametrised filters: a cosine and a sine filter from each of 40 (low, band) pairs."""

    def __init__(self, filters=80, kernel=251, rate=16000, min_low=50, min_band=50):
        super().__init__()
        self.rate, self.min_low, self.min_band, self.stride = rate, min_low, min_band, 10
        mel = np.linspace(2595 * np.log10(1 + 30 / 700), 2595 * np.log10(1 + (rate / 2 - min_low - min_band) / 700), filters // 2 + 1)
        hz = 700 * (10 ** (mel / 2595) - 1)
        self.low_hz_ = nn.Parameter(torch.tensor(hz[:-1], dtype=torch.float32)[:, None])
        self.band_hz_ = nn.Parameter(torch.tensor(np.diff(hz), dtype=torch.float32)[:, None])
        half = kernel // 2
        self.register_buffer("window_", torch.tensor(np.hamming(kernel)[:half], dtype=torch.float32))
        self.register_buffer("n_", 2 * math.pi * torch.arange(-half, 0.0)[None] / rate)

    def filters(self):
        low = self.min_low + self.low_hz_.abs()
        high = torch.clamp(low + self.min_band + self.band_hz_.abs(), self.min_low, self.rate / 2)
        band, tl, th = (high - low)[:, 0], low @ self.n_, high @ self.n_
        bl = (th.sin() - tl.sin()) / (self.n_ / 2) * self.window_
        c = torch.cat([bl, 2 * band[:, None], bl.flip(1)], 1)
        bl = (tl.cos() - th.cos()) / (self.n_ / 2) * self.window_
        s = torch.cat([bl, torch.zeros_like(band[:, None]), -bl.flip(1)], 1)
        return torch.cat([c / (2 * band[:, None]), s / (2 * band[:, None])])[:, None]


class Bank(nn.Module):
    def __init__(self):
        super().__init__()
        self.filterbank = Sinc()


class SincNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([Bank(), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.norm1d = nn.ModuleList([nn.InstanceNorm1d(n, affine=True) for n in (80, 60, 60)])

    def front(self, x, filters):  # [B, 1, samples] -> [B, 80, frames * 9 or so]; not trained
        return F.max_pool1d(F.conv1d(self.wav_norm1d(x), filters, stride=10).abs(), 3)

    def forward(self, x):  # what the front gives -> [B, 60, frames]
        x = F.leaky_relu(self.norm1d[0](x))
        for i in (1, 2):
            x = F.leaky_relu(self.norm1d[i](F.max_pool1d(self.conv1d[i](x), 3)))
        return x


class Segmenter(nn.Module):
    CLASSES = [()] + [(i,) for i in range(3)] + list(itertools.combinations(range(3), 2))

    def __init__(self, hidden=64, layers=2, linear=64):
        super().__init__()
        self.sincnet = SincNet()
        self.lstm = nn.LSTM(60, hidden, layers, batch_first=True, bidirectional=True)
        self.linear = nn.ModuleList([nn.Linear(2 * hidden, linear), nn.Linear(linear, linear)])
        self.classifier = nn.Linear(linear, 7)
        self.register_buffer("bank", self.sincnet.conv1d[0].filterbank.filters().detach(), persistent=False)

    def front(self, x):  # the filters stay at their mel-spaced start: no gradient, and two thirds of the work gone
        with torch.no_grad():
            return self.sincnet.front(x[:, None], self.bank)

    def hear(self, x):  # what the front gives -> [B, frames, 2 * hidden]
        return self.lstm(self.sincnet(x).transpose(1, 2))[0]

    def forward(self, x):  # [B, samples] -> [B, frames, 7] log-probabilities
        return self.classify(self.hear(self.front(x)))

    def classify(self, x):
        for l in self.linear:
            x = F.leaky_relu(l(x))
        return self.classifier(x).log_softmax(-1)


def export(net, path, **metadata):
    """Half precision, except what the network divides by or what spans more than half precision holds."""
    wide = ("running_", "low_hz_", "band_hz_", "n_", "window_")
    t = {k: v.detach().clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    t = {k: (v if any(w in k for w in wide) else v.half()).contiguous() for k, v in t.items()}
    save_file(t, path, metadata={k: str(v) for k, v in metadata.items()})
    return sum(v.numel() * v.element_size() for v in t.values())
