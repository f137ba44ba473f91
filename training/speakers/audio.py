"""Sound for training: loading, degrading, and Kaldi's log-mel features."""
import glob
import os
import subprocess

import numpy as np
import soundfile as sf
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import fftconvolve, resample_poly

RATE = 16000


def load(path):
    x, rate = sf.read(path, dtype="float32")
    assert rate == RATE, path
    return x


def level(x, rms=0.05):
    return (x * (rms / (np.sqrt(np.mean(x**2)) + 1e-9))).astype(np.float32)


def librispeech(folder):
    """Paths and whether each is held out: every tenth speaker, 25 of 251, is never trained on."""
    paths = sorted(glob.glob(os.path.join(folder, "*.flac")))
    return [(p, i % 10 == 5) for i, p in enumerate(paths)]


def speed(x, factor):
    return x if factor == 1 else resample_poly(x, 10, round(10 * factor)).astype(np.float32)


def colour(r, n, power):
    """Noise whose spectrum falls with f^-power."""
    m = next_fast_len(n)
    s = rfft(r.standard_normal(m, np.float32))
    f = np.arange(len(s), dtype=np.float32)
    return irfft(s * (f + len(s) / 80) ** np.float32(-power / 2), m)[:n]


def noise(r, n):
    """A random noise bed: hiss to rumble, sometimes with hum, slow swells or clicks."""
    x = level(colour(r, n, r.uniform(0, 2)), 1.0)
    t = np.arange(n, dtype=np.float32) / RATE
    if r.random() < 0.3:
        f0 = r.uniform(45, 400)
        hum = sum(np.sin(2 * np.pi * f0 * k * t + r.uniform(0, 6)) / k for k in range(1, r.integers(2, 8)))
        x = x + level(hum, 1.0) * r.uniform(0.1, 0.8)
    if r.random() < 0.3:
        x = x * (1 + r.uniform(0.2, 0.9) * np.sin(2 * np.pi * r.uniform(0.1, 4) * t + r.uniform(0, 6)))
    if r.random() < 0.2:
        for at in r.integers(0, max(1, n - 800), r.integers(1, 1 + n // 8000)):
            k = min(800, n - at)
            x[at : at + k] += r.standard_normal(k) * np.exp(-np.arange(k) / r.uniform(20, 200)) * r.uniform(2, 12)
    return x.astype(np.float32)


def room(r):
    """An impulse response: direct sound, a few early reflections, an exponential tail of 0.1 to 0.9 s."""
    t60 = r.uniform(0.1, 0.9)
    n = int(t60 * RATE)
    h = r.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    h *= 10 ** (-r.uniform(0, 18) / 20) / np.sqrt(np.sum(h**2))
    lead = r.integers(10, 160)
    h[:lead] = 0
    h[0] = 1
    for at in r.integers(lead, n, r.integers(1, 6)):
        h[at] += r.uniform(-0.4, 0.4)
    return h.astype(np.float32)


def equalise(x, r, db=8):
    n = next_fast_len(len(x))
    g = np.interp(np.linspace(0, 1, n // 2 + 1), np.linspace(0, 1, 8), r.uniform(-db, db, 8))
    return irfft(rfft(x, n) * (10 ** (g / 20)).astype(np.float32), n)[: len(x)].astype(np.float32)


def telephone(x, r):
    """300 to 3400 Hz, more or less, then eight bits of mu-law at 8 kHz."""
    n = next_fast_len(len(x))
    s, f = rfft(x, n), rfftfreq(n, 1 / RATE)
    s *= 1 / (1 + (r.uniform(150, 350) / (f + 1)) ** 6) / (1 + (f / r.uniform(3200, 3800)) ** 24)
    x = irfft(s, n)[: len(x)]
    peak = np.abs(x).max() + 1e-9
    y = np.sign(x) * np.log1p(255 * np.abs(x) / peak) / np.log(256)
    y = np.round(y * 127) / 127
    return (np.sign(y) * (256 ** np.abs(y) - 1) / 255 * peak).astype(np.float32)


def add(x, bed, snr):
    s = np.sqrt((x**2).mean() / ((bed**2).mean() + 1e-12)) * 10 ** (-snr / 20)
    return (x + bed * s).astype(np.float32)


def degrade(x, r, babble=None):
    """A random chain of what microphones, rooms and lines do. `babble` gives other people's speech of a length."""
    if r.random() < 0.45:
        x = fftconvolve(x, room(r))[: len(x)].astype(np.float32)
    if babble is not None and r.random() < 0.2:
        x = add(x, babble(len(x)), r.uniform(10, 25))
    if r.random() < 0.65:
        x = add(x, noise(r, len(x)), r.uniform(3, 30))
    if r.random() < 0.6:
        x = equalise(x, r)
    if r.random() < 0.2:
        x = telephone(x, r)
    if r.random() < 0.1:
        c = np.quantile(np.abs(x), r.uniform(0.98, 0.999))
        x = np.clip(x, -c, c)
    return level(x, 10 ** r.uniform(-2.2, -0.9))


def opus(xs, kbit=12):
    """The clips through Opus and back, all in one stream."""
    x = np.concatenate(xs)
    raw = (np.clip(x, -1, 1) * 32767).astype("<i2").tobytes()
    pcm = ["-f", "s16le", "-ar", "16000", "-ac", "1"]
    run = lambda args, data: subprocess.run(["ffmpeg", "-v", "error", *args], input=data, stdout=subprocess.PIPE, check=True).stdout
    coded = run([*pcm, "-i", "-", "-c:a", "libopus", "-b:a", f"{kbit}k", "-f", "ogg", "-"], raw)
    y = np.frombuffer(run(["-f", "ogg", "-i", "-", *pcm, "-"], coded), "<i2").astype(np.float32) / 32768
    y = np.pad(y, (0, max(0, len(x) - len(y))))
    return np.split(y[: len(x)], np.cumsum([len(v) for v in xs])[:-1])


def _mel(bins=80, n=512):
    m = lambda h: 1127 * np.log(1 + h / 700)
    edges = np.linspace(m(20), m(RATE / 2), bins + 2)
    b = m(np.arange(n // 2 + 1) * RATE / n)
    up = (b - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - b) / (edges[2:] - edges[1:-1])[:, None]
    w = np.maximum(0, np.minimum(up, down))
    w[:, -1] = 0
    return w.T.astype(np.float32)


MEL, WINDOW = _mel(), np.hamming(400).astype(np.float32)


def fbank(x):
    """Kaldi's 80 log-mel energies each 10 ms, [frames, 80], not centred: Hamming, no dither, whole windows only."""
    x = np.ascontiguousarray(x, np.float32) * 32768
    n = 1 + (len(x) - 400) // 160
    f = np.lib.stride_tricks.as_strided(x, (n, 400), (x.strides[0] * 160, x.strides[0]))
    f = f - f.mean(1, keepdims=True)
    f = f - 0.97 * np.concatenate([f[:, :1], f[:, :-1]], 1)
    p = np.abs(np.fft.rfft(f * WINDOW, 512)).astype(np.float32) ** 2
    return np.log(np.maximum(p @ MEL, 1.1920929e-07))
