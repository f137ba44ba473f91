"""Made conversations: windows of 10 s with zero to three people, turns, pauses, interruptions, rooms and noise, and the exact truth
of who speaks in each of the network's 589 frames."""
import json

import numpy as np
from scipy.signal import fftconvolve

import audio

FRAMES = 589


def centres(frames):
    """The middle of each of the network's frames, in seconds."""
    return np.arange(frames) * 270 / 16000 + 991 / 32000


SYNTHETIC_SHARE = 0.15


class Conversations:
    def __init__(self, folder, held=False):
        self.voices = json.load(open(f"{folder}/voices.json"))
        self.data = np.memmap(f"{folder}/voices.i16", np.int16, "r")
        known = [v for v in self.voices if v["held"] == held and v["spans"]]
        self.real = [v for v in known if v["name"].isdigit()]
        self.synthetic = [v for v in known if not v["name"].isdigit()]

    def sound(self, v):
        return self.data[v["at"] : v["at"] + v["samples"]].astype(np.float32) / 32768

    def people(self, r, n):
        pool = self.synthetic if self.synthetic and r.random() < SYNTHETIC_SHARE else self.real
        out = []
        for i in r.choice(len(pool), n, replace=False).tolist():
            f = r.uniform(0.88, 1.14)
            x = self.sound(pool[i])
            x = np.interp(np.arange(0, len(x) - 1, f), np.arange(len(x)), x).astype(np.float32)
            if r.random() < 0.3:
                x = audio.equalise(x, r, 6)
            who = self.voices.index(pool[i])
            out.append((x * 10 ** (r.uniform(-10, 4) / 20), np.array(pool[i]["spans"]) / f, who))
        return out

    def turns(self, r, n, seconds):
        """(speaker, start, length) in seconds; never three at once."""
        out, t, who = [], r.uniform(-3, 2.5), int(r.integers(n))
        while t < seconds:
            d = min(6.0, np.exp(r.normal(0.5, 0.7))) + 0.3
            out.append((who, t, d))
            if n > 1 and d > 1.5 and r.random() < 0.4:  # somebody says "yes" meanwhile
                k = r.uniform(0.3, min(1.2, d - 0.4))
                out.append(((who + int(r.integers(1, n))) % n, t + r.uniform(0.1, d - k), k))
            gap = r.uniform(-2, 0) if r.random() < 0.45 else r.exponential(0.45)
            same = n == 1 or r.random() < 0.2
            t += max(d + (abs(gap) if same else gap), 0.3)
            who = who if same else (who + int(r.integers(1, n))) % n
        return out

    def window(self, r, n=None, seconds=10, hard=1.0):
        """Sound, who speaks [frames, 3 or n], and the index of the one voice of each frame or -100 [frames]; `hard` scales how
        often the sound is degraded."""
        n = int(r.choice(4, p=[0.04, 0.21, 0.35, 0.4])) if n is None else n
        samples = seconds * 16000
        middles = centres((samples - 991) // 270 + 1)
        mix, truth = np.zeros(samples, np.float32), np.zeros((len(middles), max(3, n)), bool)
        people = self.people(r, n)
        tracks = np.zeros((n, samples), np.float32)
        for who, t, d in self.turns(r, n, seconds) if n else []:
            x, spans, _ = people[who]
            s = spans[r.integers(len(spans)), 0] - 0.05 if r.random() < 0.5 else r.uniform(0, max(0.1, len(x) / 16000 - d))
            s = max(0.0, s)
            a, k = int(t * 16000), int(s * 16000)
            piece = x[k : k + int(d * 16000)].copy()
            lo, hi = max(0, a), min(samples, a + len(piece))
            if hi - lo < 800:
                continue
            said = np.zeros(len(middles), bool)
            for b, e in spans + (t - s):
                said |= (middles >= max(b, t)) & (middles < min(e, t + len(piece) / 16000))
            others = np.delete(truth, who, 1).sum(1)
            if (said & (others > 1)).any() or (said & truth[:, who]).any():
                continue
            fade = np.linspace(0, 1, 160, dtype=np.float32)
            piece[:160] *= fade
            piece[-160:] *= fade[::-1]
            tracks[who, lo:hi] += piece[lo - a : hi - a]
            truth[:, who] |= said
        rooms = r.random() < 0.45 * hard
        for k in range(n):
            mix += fftconvolve(tracks[k], audio.room(r))[:samples] if rooms else tracks[k]
        if r.random() < 0.8 * hard or n == 0:
            bed = audio.noise(r, samples)
            rms = np.sqrt((mix**2).mean()) if n and mix.any() else 0.05
            mix = mix + bed / (np.sqrt((bed**2).mean()) + 1e-9) * rms * 10 ** (-r.uniform(2, 40) / 20)
        if r.random() < 0.4 * hard:
            mix = audio.equalise(mix, r)
        if r.random() < 0.2 * hard:
            mix = audio.telephone(mix, r)
        alone = truth.sum(1) == 1
        names = np.array([p[2] for p in people] + [0] * max(1, 3 - n))
        return audio.level(mix), truth, np.where(alone, names[truth.argmax(1)], -100)
