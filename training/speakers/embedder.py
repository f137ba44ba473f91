"""Trains the speaker embedder.

    embedder.py FOLDER MINUTES [START.pt]

Every example is a chunk like those of a diarization: one or two voices after each other, centred over the chunk as a whole,
each pooled under its own mask. A voice at another speed is another voice. The loss is the additive angular margin.
"""
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import muon
import nets

SYNTHETIC_SHARE, MARGIN, SCALE, RATE = 0.1, 0.2, 30.0, 3e-3


class Features:
    def __init__(self, folder):
        self.voices = json.load(open(f"{folder}/voices.json"))
        self.table = np.load(f"{folder}/features.npy")
        self.data = np.fromfile(f"{folder}/features.f16", np.float16).reshape(-1, 80)
        real, synthetic, self.held = {}, {}, {}
        for row in self.table:
            v = self.voices[row[0]]
            kind = self.held if v["held"] else real if v["name"].isdigit() else synthetic
            kind.setdefault((row[0], row[1]), []).append(row)
        self.kinds = list(real.values()), list(synthetic.values())
        self.classes = len(real) + len(synthetic)

    def crop(self, row, r, n):
        at, have = int(row[3]), int(row[4])
        s = int(r.integers(0, max(1, have - n)))
        return self.data[at + s : at + min(s + n, have)].astype(np.float32)

    def draw(self, r, n):
        real, synthetic = self.kinds
        if r.random() < SYNTHETIC_SHARE:
            c = int(r.integers(len(synthetic)))
            rows, c = synthetic[c], c + len(real)
        else:
            c = int(r.integers(len(real)))
            rows = real[c]
        f = self.crop(rows[r.integers(len(rows))], r, n)
        return c, np.resize(f, (n, 80)) if len(f) < n else f

    def batch(self, r, frames=3840):
        """Chunks [B, T, 80], and for each voice of each chunk its row, mask over T/8 and class."""
        t = int(r.choice([160, 200, 240, 320]))
        x, rows, masks, classes = [], [], [], []
        for b in range(frames // t):
            cut = t if r.random() < 0.5 else int(t * r.uniform(0.35, 0.65)) // 8 * 8
            parts = []
            for a, z in ((0, cut), (cut, t)):
                if z == a:
                    continue
                c, f = self.draw(r, z - a)
                parts.append(f)
                m = np.zeros(t // 8, np.float32)
                m[a // 8 : z // 8] = 1
                rows.append(b), masks.append(m), classes.append(c)
            f = np.concatenate(parts)
            f = f - f.mean(0)
            if r.random() < 0.3:
                lo = r.integers(0, 72)
                f[:, lo : lo + r.integers(1, 9)] = 0
            x.append(f)
        return torch.from_numpy(np.stack(x)), torch.tensor(rows), torch.from_numpy(np.stack(masks)), torch.tensor(classes)


def embed(net, f):
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        e = net(torch.from_numpy(f - f.mean(1, keepdims=True))).float()
    return F.normalize(e).numpy()


def eer(scores, same):
    o = np.argsort(scores)
    t = same[o]
    miss, fa = np.cumsum(t) / t.sum(), 1 - np.cumsum(~t) / (~t).sum()
    k = np.argmin(np.abs(miss - fa))
    return 100 * (miss[k] + fa[k]) / 2, scores[o][k]


def held_out(net, data, seconds=2):
    r, x, who = np.random.default_rng(3), [], []
    for (v, _), rows in data.held.items():
        for _ in range(8):
            x.append(np.resize(data.crop(rows[r.integers(len(rows))], r, seconds * 100), (seconds * 100, 80)))
            who.append(v)
    e, who = embed(net, np.stack(x)), np.array(who)
    i = np.triu_indices(len(who), 1)
    return eer((e @ e.T)[i], (who[:, None] == who)[i])[0]


def main(folder, minutes, start=None, width=16, blocks=(1, 1, 1, 1)):
    torch.manual_seed(1)
    torch.set_num_threads(1)
    r = np.random.default_rng(1)
    data = Features(folder)
    net = nets.Embedder(width, blocks, 128)
    if start:
        net.load_state_dict(torch.load(start))
    w = torch.nn.Parameter(0.05 * torch.randn(data.classes, 128))
    deep = [p for n, p in net.named_parameters() if p.dim() == 4 and n != "resnet.conv1.weight"]
    opt = muon.Optimiser(deep, [p for p in net.parameters() if not any(p is d for d in deep)] + [w])
    print(f"{data.classes} voices, {sum(p.numel() for p in net.parameters())} parameters", flush=True)
    begun, step, seen = time.time(), 0, []
    while (done := (time.time() - begun) / (60 * minutes)) < 1:
        x, rows, masks, classes = data.batch(r)
        net.train()
        with torch.autocast("cpu", torch.bfloat16):
            f = net.resnet.frames(x)
        e = net.resnet.seg_1(net.resnet.pool(f[rows], masks))
        cos = F.normalize(e) @ F.normalize(w).T
        margin = MARGIN * min(1, max(0, done - 0.1) / 0.4)
        true = cos.gather(1, classes[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        cos = cos.scatter(1, classes[:, None], torch.cos(torch.clamp(true.acos() + margin, max=np.pi)))
        loss = F.cross_entropy(SCALE * cos, classes)
        loss.backward()
        opt.step(RATE * min(1, step / 100) * (0.5 + 0.5 * np.cos(np.pi * done)))
        step += 1
        seen.append((loss.item(), (cos.argmax(1) == classes).float().mean().item()))
        if step % 200 == 0:
            a = np.mean(seen[-200:], 0)
            print(f"{step} {time.time() - begun:.0f} s loss {a[0]:.2f} right {a[1]:.3f} held-out EER {held_out(net, data):.2f} %", flush=True)
            torch.save(net.state_dict(), f"{folder}/embedder.part")
            os.replace(f"{folder}/embedder.part", f"{folder}/embedder.pt")
    torch.save(net.state_dict(), f"{folder}/embedder.pt")
    print(f"{step} steps, {(time.time() - begun) / 60:.1f} min, held-out EER {held_out(net, data):.2f} %")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:4])
