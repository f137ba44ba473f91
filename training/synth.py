"""Speaks the sentences of text.py: writes shards `NAME.i16` (16 kHz mono PCM, sentences end to end) with `NAME.tsv`
(start, samples, language, voice, source, text) under --out. Voices marked held out never speak training sentences.

python synth.py --text DIR --out DIR --engine espeak|flite|festival --lang en|ko --part 0 --parts 8 [--heldout]
"""
import argparse, ctypes, pathlib, random, subprocess, tempfile, wave
import numpy as np, soxr

ACCENTS = ["en-us"] * 8 + ["gmw/en"] * 3 + ["en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"]
VARIANTS = ["", "", "", "m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f3", "f5", "klatt", "klatt2", "klatt4", "Annie", "Andy", "Alex",
            "Alicia", "belinda", "edward", "Gene", "john", "Michael", "robert", "steph", "travis", "victor", "zac", "david", "marcelo"]
VARIANTS_HELDOUT = ["m5", "m8", "f4", "klatt3", "linda", "Lee", "Mario", "max"]
FLITE = ["kal16", "awb", "rms", "slt", "rms", "slt"]
FESTIVAL = ["kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts"]


class Espeak:
    """espeak-ng through its C library: one process speaks about 500 times faster than real time."""

    def __init__(self):
        self.lib = ctypes.CDLL("libespeak-ng.so.1")
        self.rate = self.lib.espeak_Initialize(2, 0, None, 0)  # AUDIO_OUTPUT_SYNCHRONOUS
        self.blocks = []
        signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        def keep(samples, count, _events):
            if samples and count: self.blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0
        self.keep = signature(keep)
        self.lib.espeak_SetSynthCallback(self.keep)

    def speak(self, text, lang, rng, heldout):
        variant = rng.choice(VARIANTS_HELDOUT if heldout else VARIANTS)
        voice = (rng.choice(ACCENTS) if lang == "en" else "ko") + (f"+{variant}" if variant else "")
        # Held-out settings also take rates and pitches between those of training.
        rate, pitch, spread = rng.randrange(115, 190, 2) + heldout, rng.randrange(25, 80, 2) + heldout, rng.randrange(25, 75, 2)
        if rng.random() < 0.15: rate, pitch, spread = 150 + heldout, 50 + heldout, 50
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0: raise SystemExit(f"espeak-ng has no voice {voice}")
        for parameter, value in ((1, rate), (3, pitch), (4, spread)): self.lib.espeak_SetParameter(parameter, value, 0)
        self.blocks.clear()
        raw = text.encode() + b"\0"
        self.lib.espeak_Synth(raw, len(raw), 0, 1, 0, 1, None, None)
        return f"{voice}/{rate}/{pitch}", self.rate, np.concatenate(self.blocks)


def read_wav(name):
    with wave.open(str(name)) as w: return w.getframerate(), np.frombuffer(w.readframes(w.getnframes()), "<i2")


class Flite:
    def speak(self, text, lang, rng, heldout):
        voice, stretch, pitch = rng.choice(FLITE), rng.randrange(80, 126, 2) + heldout, rng.randrange(70, 150, 2) + heldout
        if voice in ("slt",): pitch += 70
        if rng.random() < 0.15: stretch, pitch = 100, None
        with tempfile.NamedTemporaryFile(suffix=".wav") as f:
            changes = ["--setf", f"duration_stretch={stretch / 100}"] + (["--setf", f"int_f0_target_mean={pitch}"] if pitch else [])
            subprocess.run(["flite", "-voice", voice, *changes, "-t", text, "-o", f.name], check=True)
            rate, pcm = read_wav(f.name)
        return f"flite-{voice}/{stretch}/{pitch}", rate, pcm


class Festival:
    """One process a batch: festival starts slowly."""

    def batch(self, texts, rng, heldout):
        with tempfile.TemporaryDirectory() as folder:
            script, voices = [], []
            for i, text in enumerate(texts):
                voice, stretch = rng.choice(FESTIVAL), rng.randrange(84, 124, 2) + heldout
                voices.append(f"festival-{voice}/{stretch}")
                script.append(f"(voice_{voice})(Parameter.set 'Duration_Stretch {stretch / 100})"
                              f"(utt.save.wave (utt.synth (Utterance Text \"{text}\")) \"{folder}/{i}.wav\" 'riff)")
            pathlib.Path(folder, "all.scm").write_text("\n".join(script))
            subprocess.run(["festival", "-b", f"{folder}/all.scm"], check=True)
            for i in range(len(texts)): yield voices[i], *read_wav(f"{folder}/{i}.wav")


def through_codec(name, codec):
    """Encodes and decodes a shard; ffmpeg takes the codec's delay away, so that sentences stay where they were."""
    raw = ["-f", "s16le", "-ar", "16000", "-ac", "1"]
    kind = {"opus": ["-c:a", "libopus", "-b:a", "12k", "-f", "ogg"], "mp3": ["-c:a", "libmp3lame", "-b:a", "24k", "-f", "mp3"]}[codec]
    ffmpeg = ["ffmpeg", "-v", "error", "-y"]
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run([*ffmpeg, *raw, "-i", name, *kind, f.name], check=True)
        subprocess.run([*ffmpeg, "-i", f.name, *raw, name], check=True)


def main():
    args = argparse.ArgumentParser(description=__doc__)
    for name in ("--text", "--out"): args.add_argument(name, type=pathlib.Path, required=True)
    args.add_argument("--engine", choices=("espeak", "flite", "festival"), required=True)
    args.add_argument("--lang", choices=("en", "ko"), required=True)
    args.add_argument("--part", type=int, default=0)
    args.add_argument("--parts", type=int, default=1)
    args.add_argument("--limit", type=int, default=10**9)
    args.add_argument("--heldout", action="store_true")
    args.add_argument("--codec", choices=("opus", "mp3"), help="send the finished shard through this codec at a telephone's bit rate (needs ffmpeg)")
    args = args.parse_args()
    split = "heldout" if args.heldout else "train"
    rows = [r.rstrip("\n").split("\t") for r in open(args.text / f"{args.lang}.tsv", encoding="utf8")]
    rows = [(source, text) for part, source, text in rows if part == split]
    random.Random(f"{args.engine}{args.lang}").shuffle(rows)
    rows = rows[args.part::args.parts][:args.limit]
    rng = random.Random(f"{args.engine}{args.lang}{args.part}{split}")
    name = args.out / f"{split}-{args.engine}-{args.lang}-{args.part}"
    args.out.mkdir(parents=True, exist_ok=True)
    if args.engine == "festival": spoken = Festival().batch([t for _, t in rows], rng, args.heldout)
    else:
        engine = {"espeak": Espeak, "flite": Flite}[args.engine]()
        spoken = (engine.speak(text, args.lang, rng, args.heldout) for _, text in rows)
    at = 0
    with open(f"{name}.i16", "wb") as pcm_file, open(f"{name}.part", "w", encoding="utf8") as index:
        for (source, text), (voice, rate, pcm) in zip(rows, spoken):
            if len(pcm) == 0: continue
            pcm = pcm if rate == 16000 else soxr.resample(pcm, rate, 16000)
            loud = np.flatnonzero(np.abs(pcm) > 60)
            if len(loud) < 1600: continue
            pcm = pcm[max(0, loud[0] - 320):loud[-1] + 480]  # the engines' own silences go: windows are laid out in training
            pcm.astype("<i2").tofile(pcm_file)
            index.write(f"{at}\t{len(pcm)}\t{args.lang}\t{voice}\t{source}\t{text}\n")
            at += len(pcm)
    if args.codec: through_codec(f"{name}.i16", args.codec)
    pathlib.Path(f"{name}.part").rename(f"{name}.tsv")
    print(name, f"{at / 16000 / 3600:.2f} h")


if __name__ == "__main__":
    main()
