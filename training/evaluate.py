"""Measures the starter through the `sori` program: WER (English) and CER (Korean, without spaces) of held-out sentences in
held-out voice settings, of shared/media/synthetic, and of real speech.

python evaluate.py --sori PROGRAM --shared DIR [--wav DIR] [--limit N] [--compute int8|int4|f32] [--real]
"""
import argparse, collections, json, pathlib, re, subprocess, tempfile, unicodedata, wave
import numpy as np


def edits(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def units(text, lang):
    text = re.sub(r"[^\w' ]", " ", unicodedata.normalize("NFC", text).lower())
    return list(text.replace(" ", "")) if lang == "ko" else text.split()


def transcribe(sori, files, languages, compute):
    texts = {}
    with tempfile.TemporaryDirectory() as out:
        for lang in sorted(set(languages.values())):
            names = [f for f in files if languages[f] == lang]
            subprocess.run([sori, "transcribe", *names, "--model", "starter", "--language", lang, "--format", "json", "-o", out, "--compute", compute, "--progress", "none"],
                           check=True, stderr=subprocess.DEVNULL)
            for f in names: texts[f] = json.loads((pathlib.Path(out) / (pathlib.Path(f).stem + ".json")).read_text())["text"]
    return texts


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--sori", required=True)
    args.add_argument("--shared", type=pathlib.Path, required=True)
    args.add_argument("--wav", type=pathlib.Path)
    args.add_argument("--limit", type=int, default=10**9)
    args.add_argument("--compute", default="int8")
    args.add_argument("--real", action="store_true")
    args.add_argument("--show", type=int, default=0, help="print so many errors")
    args = args.parse_args()
    truth = {}  # file → (language, group, text)
    with tempfile.TemporaryDirectory() as folder:
        for tsv in sorted(args.wav.glob("heldout-*.tsv")) if args.wav else []:
            pcm = np.memmap(str(tsv)[:-4] + ".i16", dtype="<i2", mode="r")
            for n, line in enumerate(open(tsv, encoding="utf8")):
                if n >= args.limit: break
                start, count, lang, voice, source, text = line.rstrip("\n").split("\t")
                name = f"{folder}/{tsv.stem}-{n}.wav"
                with wave.open(name, "wb") as w:
                    w.setparams((1, 2, 16000, 0, "NONE", ""))
                    w.writeframes(np.concatenate([np.zeros(4000, "<i2"), pcm[int(start): int(start) + int(count)], np.zeros(4000, "<i2")]).tobytes())
                truth[name] = (lang, f"held out, {'flite' if voice.startswith('flite') else 'espeak-ng'}, {source}", text)
        for name in sorted((args.shared / "media/synthetic").glob("*.wav")):
            truth[str(name)] = (name.name[:2], "shared/media/synthetic", name.with_suffix(".txt").read_text().strip())
        for name in sorted((args.shared / "media/speech").glob("en_*")) if args.real else []:
            if name.suffix in (".wav", ".flac", ".mp3"): truth[str(name)] = ("en", "real speech", name.with_suffix(".txt").read_text().strip())
        texts = transcribe(args.sori, list(truth), {f: t[0] for f, t in truth.items()}, args.compute)
    wrong, total = collections.Counter(), collections.Counter()
    for name, (lang, group, text) in truth.items():
        want, got = units(text, lang), units(texts[name], lang)
        errors = edits(want, got)
        for key in {(lang, group), (lang, "held out, all") if group.startswith("held out") else (lang, group)}:
            wrong[key] += errors
            total[key] += len(want)
        if errors and args.show > 0:
            args.show -= 1
            print(f"  {text}\n→ {texts[name]}")
    for key in sorted(total):
        print(f"| {key[0]} | {key[1]} | {total[key]} | {100 * wrong[key] / total[key]:.1f} % |")


if __name__ == "__main__":
    main()
