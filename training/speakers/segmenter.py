"""Trains the segmentation network on made conversations.

    segmenter.py FOLDER MINUTES [HIDDEN] [START.pt]

Powerset classes, the loss of the cheapest order of the three speakers (Plaquet & Bredin 2023); beside it, while training only,
the LSTM's outputs are pulled together where one voice speaks and apart where two do, as in the first end-to-end diarization
(Fujita et al. 2019): the order-free loss alone finds that out late.
"""
import collections
import itertools
import os
import sys
import time

import numpy as np
import torch

import conversations
import muon
import nets

RATE, BATCH, OWN_SHARE = 3e-3, 8, 0.5
EASY = 0.5  # share of the run over which rooms, noise and lines grow to their full share
POOL, FRESH = 600, 3  # windows in memory, and new ones each step: a window is heard two or three times
SETS = nets.Segmenter.CLASSES
ORDERS = torch.tensor([[SETS.index(tuple(sorted(p[s] for s in c))) for c in SETS] for p in itertools.permutations(range(3))])


def powerset(truth):
    """Who speaks [589, 3] -> class [589]."""
    code = np.zeros(8, np.int64)
    for i, c in enumerate(SETS):
        code[sum(1 << s for s in c)] = i
    code[7] = 4
    return code[truth @ [1, 2, 4]]


def speakers(classes):
    """Class [..] -> who speaks [.., 3]."""
    table = np.array([[s in c for s in range(3)] for c in SETS])
    return table[classes]


def loss(logp, y):
    l = torch.stack([torch.nn.functional.nll_loss(logp.transpose(1, 2), o[y], reduction="none").mean(1) for o in ORDERS])
    return l.min(0).values.mean()


def apart(e, names):
    """Deep clustering (Hershey et al. 2016): frames of one voice in one direction, frames of two at right angles.

    e [B, T, D], names [B, T]; frames of nobody or of several are negative and left out.
    """
    v = torch.nn.functional.normalize(e, dim=2)
    alone = (names >= 0)[:, :, None] & (names >= 0)[:, None]
    same = names[:, :, None] == names[:, None]
    s = v @ v.mT
    return ((s - 1) ** 2)[alone & same].mean() + (s**2)[alone & ~same].mean()


def local_error(hyp, ref):
    """(missed, false, confused, reference, detection errors) frames of one window under its best order."""
    best, k = None, max(hyp.shape[1], ref.shape[1])
    hyp, ref = (np.pad(m, ((0, 0), (0, k - m.shape[1]))) for m in (hyp, ref))
    n_r, n_h = ref.sum(1), hyp.sum(1)
    for p in itertools.permutations(range(k)):
        hit = (ref & hyp[:, p]).sum(1)
        e = [np.maximum(0, n_r - n_h).sum(), np.maximum(0, n_h - n_r).sum(), (np.minimum(n_r, n_h) - hit).sum(), n_r.sum()]
        if best is None or sum(e[:3]) < sum(best[:3]):
            best = e
    return np.array(best + [(ref.any(1) != hyp.any(1)).sum()])


def held_out(net, xs, truths):
    net.eval()
    total = np.zeros(5)
    for i in range(0, len(xs), 16):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            h = speakers(net(torch.from_numpy(xs[i : i + 16])).argmax(-1).numpy())
        total += sum(local_error(a, b) for a, b in zip(h, truths[i : i + 16]))
    return 100 * total[:3] / total[3], 100 * total[4] / (len(xs) * conversations.FRAMES)


def main(folder, minutes, hidden=96, start=None):
    torch.manual_seed(2)
    torch.set_num_threads(1)
    r = np.random.default_rng(2)
    made, held = conversations.Conversations(folder), conversations.Conversations(folder, held=True)
    rh = np.random.default_rng(5)
    xs, truths, _ = zip(*[held.window(rh) for _ in range(48)])
    xs = np.stack(xs)
    net = nets.Segmenter(hidden)
    if start:
        net.load_state_dict(torch.load(start))
    who = torch.nn.Linear(2 * hidden, 32)
    names = [(n, p) for n, p in net.named_parameters() if "filterbank" not in n and "wav_norm1d" not in n]
    deep = [p for n, p in names if p.dim() > 1 and "classifier" not in n]
    rest = [p for n, p in names if p.dim() == 1 or "classifier" in n]
    opt = muon.Optimiser(deep, rest + [*who.parameters()], decay=0.01)
    print(f"{sum(p.numel() for p in net.parameters())} parameters", flush=True)
    begun, step, seen, pool = time.time(), 0, [], collections.deque(maxlen=POOL)
    while (done := (time.time() - begun) / (60 * minutes)) < 1:
        for _ in range(FRESH if pool else 4 * BATCH):
            x, t, v = made.window(r, hard=1 if start else min(1, 0.2 + done / EASY))
            with torch.autocast("cpu", torch.bfloat16):
                pool.append((net.front(torch.from_numpy(x)[None])[0].bfloat16(), powerset(t), v))
        x, t, v = zip(*[pool[i] for i in r.choice(len(pool), BATCH, replace=False)])
        x, t, v = torch.stack(x), np.stack(t), np.stack(v)
        net.train()
        with torch.autocast("cpu", torch.bfloat16):
            h = net.hear(x)
            logp = net.classify(h).float()
        l = loss(logp, torch.from_numpy(t))
        own = apart(who(h[:, ::3].float()), torch.from_numpy(v[:, ::3]))
        (l + OWN_SHARE * own).backward()
        opt.step(RATE * min(1, step / 100) * (0.5 + 0.5 * np.cos(np.pi * done)))
        step += 1
        seen.append((l.item(), own.item()))
        if step % 100 == 0:
            e, d = held_out(net, xs, truths)
            print(f"{step} {time.time() - begun:.0f} s loss {np.mean(seen[-100:], 0).round(3)} held-out DER {e.sum():.1f} = {e.round(1)} detection {d:.1f} %", flush=True)
            torch.save(net.state_dict(), f"{folder}/segmenter.part")
            os.replace(f"{folder}/segmenter.part", f"{folder}/segmenter.pt")
    torch.save(net.state_dict(), f"{folder}/segmenter.pt")
    e, d = held_out(net, xs, truths)
    print(f"{step} steps, {(time.time() - begun) / 60:.1f} min, held-out DER {e.sum():.1f} = {e.round(1)} detection {d:.1f} %")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *map(int, sys.argv[3:4]), *sys.argv[4:5])
