"""Training windows made on the fly: sentences laid into windows with silences, then degraded, then Whisper's log-mel."""
import glob, math, random
import numpy as np, torch
from model import CONFIG
from tokens import CTC, EOT, IDS, NOSPEECH, NOTIMESTAMPS, SOT, TRANSCRIBE, encode

RATE = 16000


def mel_filters(mels):
    """librosa.filters.mel(sr=16000, n_fft=400, n_mels=mels): Slaney's scale and area normalisation."""
    def hz(m): return np.where(m < 15, m * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (m - 15)))
    top = 15 + math.log(8000 / 1000) / (math.log(6.4) / 27)
    edges, bins = hz(np.linspace(0, top, mels + 2)), np.linspace(0, 8000, 201)
    width = np.diff(edges)
    ramps = edges[:, None] - bins[None]
    up, down = -ramps[:-2] / width[:-1, None], ramps[2:] / width[1:, None]
    return torch.tensor(np.maximum(0, np.minimum(up, down)) * (2 / (edges[2:] - edges[:-2]))[:, None], dtype=torch.float32)


FILTERS, WINDOW = mel_filters(CONFIG["mels"]), torch.hann_window(400)


def log_mel(audio):
    """openai/whisper audio.py log_mel_spectrogram, (batch, samples) → (batch, mels, samples / hop)."""
    power = torch.stft(audio, 400, CONFIG["hop"], window=WINDOW, return_complex=True)[..., :-1].abs() ** 2
    log = (FILTERS @ power).clamp(min=1e-10).log10()
    log = torch.maximum(log, log.amax((1, 2), keepdim=True) - 8)
    return (log + 4) / 4


class Corpus:
    def __init__(self, pattern):
        self.pcm, self.rows = {}, {"en": [], "ko": []}
        for tsv in sorted(glob.glob(pattern)):
            self.add(tsv)

    def add(self, tsv):
        if tsv in self.pcm: return
        self.pcm[tsv] = np.memmap(tsv[:-4] + ".i16", dtype="<i2", mode="r")
        for row in open(tsv, encoding="utf8"):
            start, count, lang, voice, source, text = row.rstrip("\n").split("\t")
            self.rows[lang].append((int(count), tsv, int(start), voice, source, text))

    def hear(self, row): return self.pcm[row[1]][row[2]: row[2] + row[0]].astype(np.float32) / 32768


def noise(rng, count):
    colour = rng.choice((0, 0.5, 1.0, 1.5))
    spectrum = np.fft.rfft(rng.np.standard_normal(count).astype(np.float32))
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** colour
    y = np.fft.irfft(spectrum, count).astype(np.float32)
    return y / (np.sqrt(np.mean(y * y)) + 1e-9)


def degrade(x, rng):
    """Reverberation, telephone band with µ-law, noise at 5-35 dB: each now and then."""
    if rng.random() < 0.2:
        tail = int(RATE * rng.uniform(0.05, 0.35))
        room = rng.np.standard_normal(tail).astype(np.float32) * np.exp(-6.9 * np.arange(tail) / tail)
        room *= rng.uniform(0.05, 0.5) / (np.sqrt(np.sum(room * room)) + 1e-9)
        room[0] = 1
        size = 1 << (len(x) + tail - 1).bit_length()
        x = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(room, size), size)[: len(x)].astype(np.float32)
    if rng.random() < 0.12:
        size = len(x)
        spectrum = np.fft.rfft(x)
        hz = np.arange(len(spectrum)) * RATE / size
        x = np.fft.irfft(spectrum * ((hz > rng.uniform(100, 300)) & (hz < rng.uniform(3300, 3900))), size).astype(np.float32)
        peak = np.abs(x).max() + 1e-9
        law = np.sign(x) * np.log1p(255 * np.abs(x) / peak) / math.log(256)
        law = np.round(law * 127) / 127
        x = (np.sign(law) * (256 ** np.abs(law) - 1) / 255 * peak).astype(np.float32)
    if rng.random() < 0.35:
        level = np.sqrt(np.mean(x * x)) * 10 ** (-rng.uniform(5, 35) / 20)
        x = x + noise(rng, len(x)) * level
    return x


def silence(rng, count):
    """A window without speech: nothing, noise, or tones."""
    kind = rng.random()
    if kind < 0.3: return np.zeros(count, np.float32)
    x = noise(rng, count)
    if kind > 0.6:
        time = np.arange(count) / RATE
        x = sum(rng.uniform(0.2, 1) * np.sin(2 * np.pi * rng.uniform(60, 3000) * time * (1 + rng.uniform(-0.05, 0.05) * time)) for _ in range(rng.randint(1, 4))).astype(np.float32)
        x *= 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 6) * time).astype(np.float32)
    return (x * 10 ** rng.uniform(-4, -1)).astype(np.float32)


def window(corpus, rng, seconds, clean, english):
    """One window: (audio, text, language or None)."""
    count = int(seconds * RATE)
    if rng.random() < 0.02: return silence(rng, count), "", None
    lang = "en" if rng.random() < english else "ko"
    audio, texts, at = np.zeros(count, np.float32), [], int(rng.uniform(0, 0.4) * RATE)
    wanted = rng.choice((1, 1, 2, 3, 4)) if seconds > 6 else rng.choice((1, 1, 1, 2))
    for _ in range(12):
        row = rng.choice(corpus.rows[lang])
        if at + row[0] > count: continue
        audio[at: at + row[0]] = corpus.hear(row) * rng.uniform(0.5, 1)
        texts.append(row[5])
        at += row[0] + int(rng.uniform(0.1, 0.9) * RATE)
        if len(texts) == wanted: break
    if not texts: return silence(rng, count), "", None
    if rng.random() > clean: audio = degrade(audio, rng)
    audio *= rng.uniform(0.1, 1) / (np.abs(audio).max() + 1e-6)
    return audio, " ".join(texts), lang


def batch(corpus, rng, seconds, size, clean, english):
    """Tensors of one step: mel, decoder input and target (-100 is padding), CTC labels and their lengths."""
    made = [window(corpus, rng, seconds, clean, english) for _ in range(size)]
    rows = []
    for _, text, lang in made:
        ids = encode(text) if lang else []
        rows.append([SOT, IDS[f"<|{lang}|>"], TRANSCRIBE, NOTIMESTAMPS, *ids, EOT] if lang else [SOT, NOSPEECH])
    longest = max(map(len, rows)) - 1
    tokens, target = torch.full((size, longest), EOT), torch.full((size, longest), -100)
    for i, row in enumerate(rows):
        tokens[i, : len(row) - 1], target[i, : len(row) - 1] = torch.tensor(row[:-1]), torch.tensor(row[1:])
    labels = [[CTC[t] for t in row if t in CTC] for row in rows]
    mel = log_mel(torch.from_numpy(np.stack([a for a, _, _ in made])))
    return mel.bfloat16(), tokens, target, torch.tensor([l for row in labels for l in row]), torch.tensor([len(l) for l in labels])


def generator(seed):
    rng = random.Random(seed)
    rng.np = np.random.default_rng(seed)
    return rng
