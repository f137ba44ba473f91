"""Measures the finished networks.

    measure.py MEDIA MODELS FOLDER [RESEMBLYZER_PACKAGE_FOLDER]

MEDIA holds speakers/ and diar/, which no training sees. Thresholds and calibration are fitted on the held-out training speakers.
"""
import glob
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.linear_model import LogisticRegression

import audio
import conversations
import embedder
import finish
import segmenter


class Starter:
    """Embeds sound with the committed files, in single precision as the program does."""

    def __init__(self, path):
        self.net = finish.embedder({k: v.float() for k, v in load_file(path).items()})

    def windows(self, x, masks):
        """Embeddings of masks [K, frames of PyanNet] over the sound of one window."""
        f = audio.fbank(x)
        f = torch.from_numpy(f - f.mean(0))[None]
        with torch.no_grad():
            h = self.net.resnet.frames(f)
            w = F.interpolate(torch.from_numpy(masks.astype(np.float32))[:, None], h.shape[2])[:, 0]
            e = self.net.resnet.seg_1(self.net.resnet.pool(h.expand(len(w), -1, -1), w))
        return F.normalize(e).numpy()

    def __call__(self, x):
        return self.windows(x, np.ones((1, 589)))[0]


class Resemblyzer:
    def __init__(self, folder):
        sys.path.insert(0, folder)
        import librosa

        self.mel = lambda x: librosa.feature.melspectrogram(y=x, sr=16000, n_fft=400, hop_length=160, n_mels=40).astype(np.float32).T
        s = torch.load(os.path.join(folder, "resemblyzer/pretrained.pt"), map_location="cpu")["model_state"]
        self.lstm, self.linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
        self.lstm.load_state_dict({k[5:]: v for k, v in s.items() if k.startswith("lstm.")})
        self.linear.load_state_dict({k[7:]: v for k, v in s.items() if k.startswith("linear.")})

    def __call__(self, x):
        x = x * max(1.0, 10 ** (-30 / 20) / (np.sqrt((x**2).mean()) + 1e-9))
        starts = list(range(0, max(1, int(np.ceil((len(x) + 1) / 160)) - 160 + 77 + 1), 77))
        if len(starts) > 1 and (len(x) - starts[-1] * 160) / 25600 < 0.75:
            starts.pop()
        m = self.mel(np.pad(x, (0, max(0, (starts[-1] + 160) * 160 - len(x)))))
        with torch.no_grad():
            e = F.relu(self.linear(self.lstm(torch.from_numpy(np.stack([m[i : i + 160] for i in starts])))[1][0][-1]))
            return F.normalize(F.normalize(e).mean(0), dim=0).numpy()

    def windows(self, x, masks):
        """The sound under each mask, put together: an LSTM has no weighted pooling."""
        out = []
        for m in masks:
            on = np.repeat(m, 270)
            on = np.pad(on, (0, max(0, len(x) - len(on))))[: len(x)].astype(bool)
            out.append(self(x[on]))
        return np.stack(out)


def verification(embed, media):
    paths = sorted(glob.glob(f"{media}/speakers/*.flac"))
    who = np.array([os.path.basename(p).split("-")[0] for p in paths])
    i = np.triu_indices(len(who), 1)
    same = (who[:, None] == who)[i]
    for bad in (False, True):
        for name, cut in (("whole", None), ("5 s", 80000), ("2 s", 32000)):
            r = np.random.default_rng(0)
            e, y = [], []
            for _ in range(1 if cut is None and not bad else 4):  # several draws: 24 files alone are few
                e = []
                for p in paths:
                    x = audio.load(p)
                    x = audio.degrade(audio.level(x), r) if bad else x
                    a = 0 if cut is None else int(r.integers(0, max(1, len(x) - cut)))
                    e.append(embed(x[a : a + cut] if cut else x))
                y.append(((np.stack(e) @ np.stack(e).T)[i], same))
            s, t = np.concatenate([a for a, _ in y]), np.concatenate([b for _, b in y])
            rate, at = embedder.eer(s, t)
            print(f"  {'degraded' if bad else 'clean':8} {name:5} EER {rate:5.2f} % at {at:.3f}; same {s[t].mean():.3f} +- {s[t].std():.3f}, other {s[~t].mean():.3f} +- {s[~t].std():.3f}")


def local(net, media):
    """Error of windows of 10 s, each under its own best order: missed, false, confused; and of speech against silence."""
    for p in sorted(glob.glob(f"{media}/diar/*.rttm")):
        x = audio.load(next(q for q in glob.glob(p[:-5] + ".*") if not q.endswith("rttm")))
        total, frames = np.zeros(5), 0
        for a in range(0, len(x) - 8000, 160000):
            w = np.pad(x[a : a + 160000], (0, max(0, a + 160000 - len(x))))
            with torch.no_grad():
                h = segmenter.speakers(net(torch.from_numpy(w)[None])[0].argmax(-1).numpy())
            ref = truth(p, a / 16000)
            keep = conversations.centres(589) < (len(x) - a) / 16000
            total += segmenter.local_error(h[keep], ref[keep])
            frames += keep.sum()
        e = 100 * total[:3] / total[3]
        print(f"  {os.path.basename(p)[:-5]:16} local DER {e.sum():5.1f} % = {e.round(1)}, detection {100 * total[4] / frames:.1f} %")


def truth(path, shift):
    """Who speaks in the frames of the window that begins at `shift` s, from an RTTM file."""
    middles, who = conversations.centres(589) + shift, {}
    for line in open(path):
        f = line.split()
        if f and f[0] == "SPEAKER":
            a, d = float(f[3]), float(f[4])
            who[f[7]] = who.get(f[7], np.zeros(589, bool)) | ((middles >= a) & (middles < a + d))
    return np.stack([v for v in who.values() if v.any()] or [np.zeros(589, bool)], 1)


def thresholds(embed, folder, scenes=24):
    """Centroid linkage of the embeddings of made conversations of held-out speakers, true masks, 10 s windows each second."""
    made, r = conversations.Conversations(folder, held=True), np.random.default_rng(9)
    cuts, right, purity, within, between = np.arange(0.3, 1.3, 0.02), [], [], [], []
    for k in range(scenes):
        n = 2 + k % 3
        x, said, _ = made.window(r, n, 60)
        es, who = [], []
        for second in range(0, 51, 2):
            at = round(second / 0.016875)
            m = said[at : at + 589].T
            alone = m & (m.sum(0) == 1)
            use = [i for i in range(n) if alone[i].sum() >= 118]
            if use:
                es.append(embed.windows(x[second * 16000 : second * 16000 + 160000], alone[use]))
                who += use
        e, who = np.concatenate(es), np.array(who)
        s, i = e @ e.T, np.triu_indices(len(who), 1)
        t = (who[:, None] == who)[i]
        within.append(s[i][t]), between.append(s[i][~t])
        z = linkage(e, "centroid", "euclidean")
        row, pure = [], []
        for c in cuts:
            l = fcluster(z, c, "distance")
            size = min(12, max(1, round(0.1 * len(l))))
            kinds = [v for v in np.unique(l) if (l == v).sum() >= size]
            row.append(len(kinds) - len(np.unique(who)))
            pure.append(sum(np.bincount(who[l == v]).max() for v in np.unique(l)) / len(l))
        right.append(row), purity.append(pure)
    right = np.array(right)
    for c, w, p in zip(cuts, right.T, np.array(purity).T):
        if 0.3 < (w == 0).mean() or abs(c - 0.7) < 0.011:
            print(f"  cut {c:.2f}: count right {100 * (w == 0).mean():.0f} %, off by {w.mean():+.2f}, purity {p.mean():.3f}")
    best = (right == 0).mean(0)
    print(f"  best {best.max():.2f} at {cuts[best >= best.max() - 1e-9].round(2)}; same {np.mean(np.concatenate(within)):.3f}, other {np.mean(np.concatenate(between)):.3f}")


def calibration(embed, folder, enrolled_bad=0.25, probe_bad=0.5):
    """Logistic regression on cosine and the shorter duration, on pieces of held-out speakers: a quarter of the enrolled and half of
    the others are degraded, each by itself. The gates of enrolment keep bad sound out."""
    made, r = conversations.Conversations(folder, held=True), np.random.default_rng(10)
    xs, ys = [], []
    enrolled, probes = [], []
    for w, v in enumerate(made.real):
        x = made.sound(v)
        half = len(x) // 2
        for _ in range(3):
            enrolled.append((w, 7.0, embed(audio.degrade(x[:half], r) if r.random() < enrolled_bad else x[:half])))
        for seconds in (1, 1.5, 2, 3, 5, 7):
            n = int(seconds * 16000)
            a = half + int(r.integers(0, max(1, len(x) - half - n)))
            y = x[a : a + n]
            probes.append((w, len(y) / 16000, embed(audio.degrade(y, r) if r.random() < probe_bad else y)))
    for w, d, e in enrolled:
        for v, g, f in probes:
            xs.append([float(e @ f), np.log(np.clip(min(d, g), 1, 7))]), ys.append(w == v)
    xs, ys = np.array(xs), np.array(ys)
    weight = np.where(ys, 0.5 / ys.mean(), 0.5 / (1 - ys.mean()))
    m = LogisticRegression(C=1e4).fit(xs, ys, sample_weight=weight)
    z = m.decision_function(xs)
    rate, _ = embedder.eer(xs[:, 0], ys)
    cost = (np.log1p(np.exp(-z[ys])).mean() + np.log1p(np.exp(z[~ys])).mean()) / 2 / np.log(2)
    print(f"  log ratio = {m.coef_[0][0]:.2f} cosine + {m.intercept_[0]:.2f} + {m.coef_[0][1]:.2f} ln(seconds); EER {rate:.2f} %, Cllr {cost:.3f}; pairs {len(ys)}, same {ys.sum()}")
    fit = m.coef_[0][0], m.intercept_[0], m.coef_[0][1]
    for lo, hi in ((0, 1.2), (1.2, 2.5), (2.5, 6), (6, 99)):
        k = (xs[:, 1] >= np.log(max(lo, 1))) & (xs[:, 1] < np.log(hi))
        rate, at = embedder.eer(xs[k, 0], ys[k])
        print(f"    {lo}-{hi} s: EER {rate:.2f} % at {at:.3f}, equal-odds cosine by the fit {-(m.intercept_[0] + m.coef_[0][1] * xs[k, 1].mean()) / m.coef_[0][0]:.3f}")
    return fit


def decisions(embed, media, fit, known=0.5, sure=0.9):
    """How often the program's rule names rightly: enrolled with two files, asked with 2 s, 5 s and all of the other two; everybody
    also once while not enrolled."""
    slope, offset, brevity = fit
    paths = sorted(glob.glob(f"{media}/speakers/*.flac"))
    who = np.array([os.path.basename(p).split("-")[0] for p in paths])
    sounds, names = [audio.load(p) for p in paths], sorted(set(who))
    profiles = {}
    for n in names:
        m = np.mean([embed(sounds[i]) for i in np.flatnonzero(who == n)[:2]], 0)
        profiles[n] = m / np.linalg.norm(m)
    r = np.random.default_rng(2)
    for cut in (32000, 80000, 10**9):
        count = dict(right=0, wrong=0, unnamed=0, stranger_named=0, stranger_unnamed=0)
        for n in names:
            for i in np.flatnonzero(who == n)[2:]:
                x = sounds[i]
                a = int(r.integers(0, max(1, len(x) - cut)))
                x = x[a : a + cut]
                e, t = embed(x), np.log(np.clip(len(x) / 16000, 1, 7))
                for enrolled in (names, [m for m in names if m != n]):
                    z = np.array([slope * (e @ profiles[m]) + offset + brevity * t for m in enrolled]) + np.log(known / len(enrolled))
                    p = np.exp(z) / (np.exp(z).sum() + 1 - known)
                    named = enrolled[int(p.argmax())] if p.max() >= sure else None
                    if n in enrolled:
                        count["right" if named == n else "unnamed" if named is None else "wrong"] += 1
                    else:
                        count["stranger_named" if named else "stranger_unnamed"] += 1
        print(f"  {'all' if cut == 10**9 else f'{cut // 16000} s'}: {count}")


def main(media, models, folder, other=None):
    torch.set_num_threads(1)
    starter = Starter(f"{models}/embedding.safetensors")
    embedders = {"starter": starter} | ({"Resemblyzer": Resemblyzer(other)} if other else {})
    for name, e in embedders.items():
        print(name, "verification"), verification(e, media)
        print(name, "calibration"), decisions(e, media, calibration(e, folder))
        print(name, "thresholds"), thresholds(e, folder)
    s = {k: v.float() for k, v in load_file(f"{models}/segmentation.safetensors").items()}
    print("segmentation"), local(finish.segmenter(s), media)


if __name__ == "__main__":
    main(*sys.argv[1:5])
