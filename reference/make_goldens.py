"""Whisper goldens from openai-whisper's own code on rule-made weights: see README.md.

usage: python reference/make_goldens.py [tokenizer] [tiny] [base]
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import whisper
from whisper import timing
from whisper.decoding import DecodingOptions
from whisper.tokenizer import get_tokenizer

import tokenizer_golden
import whisper_model
from watched import Watched

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "crates/sori-speech/tests/golden"
MEDIA = ROOT.parent / "shared/media"
RATE = 16000
WINDOWS = 50
LOGIT_WINDOWS = 4
LOGIT_STRIDE = 401
ENCODER_STRIDE = 7919
# A window is kept only when no choice made in it was closer than this, in log-probability: 12 times the distance of the
# reference's logits from those of the same network in float64.
MARGIN = 1e-3
# Noise under which the alignment path of a kept window must not change (the costs are z-scores).
PATH_NOISE = 1e-4

PROMPT = "Names: Dashwood, Sussex, 김민준."
RUNS = {
    "greedy": {"sample_len": 24, "without_timestamps": True},
    "greedy_timestamps": {"sample_len": 24},
    "beam5": {"sample_len": 16, "without_timestamps": True, "beam_size": 5},
    "beam5_timestamps": {"sample_len": 16, "beam_size": 5},
    "greedy_prompt": {"sample_len": 24, "without_timestamps": True, "language": "ko", "task": "translate", "prompt": PROMPT},
    "beam5_prompt": {"sample_len": 16, "without_timestamps": True, "language": "ko", "task": "translate", "prompt": PROMPT,
                     "beam_size": 5, "patience": 2.0, "length_penalty": 0.6},
}

# 16 kHz mono files and offsets in seconds, tried in this order until WINDOWS are kept.
CANDIDATES = [
    ("speech/en_acoustic_corpus.wav", (0, 6.5, 13.25, 20)),
    ("speech/en_two_cities.wav", (0, 7, 14.25, 25.5, 36)),
    ("synthetic/ko_1.wav", (0, 2)),
    ("speech/en_cold_corpus.wav", (0, 9, 17.5)),
    ("speech/en_cold_corpus3.wav", (0, 8, 16)),
    ("diar/ami_tst00.wav", (0, 10, 20)),
    ("diar/conv2_libri.flac", (0, 1.125, 12, 22)),
    ("diar/conv3_libri.flac", (0, 10.125, 20, 31)),
    ("diar/pyannote_sample.wav", (0, 11, 21)),
    ("synthetic/ko_2.wav", (0, 2)),
    *((f"synthetic/{n}.wav", (0,)) for n in ("ko_3", "ko_4_f", "en_1", "en_2_f", "en_3_slt", "en_4_rms")),
    ("codecs/jfk_16k_s16.wav", (0, 4)),
    *((f"speech/en_sense_{n}.wav", (0, 1.5)) for n in ("0870", "0880", "0890", "0920", "0930")),
    *((f"speech/en_{n}-0000.flac", (0,)) for n in ("61-70968", "6930-75918", "7902-96591")),
    *((f"librispeech/{n}-0000.flac", (0,)) for n in (
        "103-1240", "1034-121119", "1040-133433", "1069-133699", "1081-125237", "1088-129236", "1098-133695", "1116-132847",
        "118-121721", "1183-124566", "1235-135883", "1246-124548", "125-121124", "1263-138246", "1334-135589", "1355-39947")),
    *((f"speakers/{n}.flac", (0,)) for n in (
        "1688-142285-0002", "1688-142285-0005", "1998-15444-0001", "1998-15444-0006", "2033-164914-0003",
        "2033-164914-0004", "2414-128291-0000", "2414-128291-0008", "2609-156975-0000", "2609-156975-0001",
        "3005-163389-0002", "3005-163389-0008", "1688-142285-0008", "1688-142285-0009", "1998-15444-0007", "1998-15444-0008",
        "2033-164914-0005", "2033-164914-0007", "2414-128291-0003", "2414-128291-0009", "2609-156975-0003",
        "2609-156975-0009", "3005-163389-0004", "3005-163389-0007")),
]
FORCED_TEXT = " And so, my fellow Americans: ask not what your country can do for you"
FORCED_TOKENS = 20
WORD_TEXTS = [
    ("en", " And so my fellow Americans, ask not what your country can do for you."),
    ("en", " It was the best of times, it was the worst of times."),
    ("en", " She said \"no\" - twice! Then (quietly) left at 10:45."),
    ("ko", " 오늘 회의에서는 다음 분기 계획을 이야기하겠습니다."),
    ("ja", "今日はいい天気ですね。"),
    ("en", " The family of Dashwood had long been settled in Sussex."),
]


def load_window(file, offset):
    """Samples from the offset on, and how many of them the window holds. Unlike whisper.load_audio, which rounds to 16 bits
    on the way, float files keep their samples; 16-bit files give the same either way."""
    command = ["ffmpeg", "-v", "error", "-i", str(MEDIA / file), "-f", "f32le", "-"]
    audio = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)
    audio = audio[round(offset * RATE) :]
    return whisper.pad_or_trim(audio), min(len(audio), 30 * RATE)


def number(value):
    return float(f"{float(value):.7g}")


def numbers(values):
    return [number(v) for v in values]


def write(name, head, **lists):
    """Compact JSON with one line per list entry, so that a difference can be read."""
    parts = [f"{json.dumps(k)}:{json.dumps(v, ensure_ascii=False, separators=(',', ':'))}" for k, v in head.items()]
    for key, entries in lists.items():
        lines = ",\n".join(json.dumps(e, ensure_ascii=False, separators=(",", ":")) for e in entries)
        parts.append(f"{json.dumps(key)}:[\n{lines}\n]")
    path = GOLDEN / name
    path.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")
    print(path.name, path.stat().st_size, "bytes", flush=True)


def run_all(model, features):
    """Result of every run on one window, or None when a choice was too close."""
    results = {}
    for name, options in RUNS.items():
        options = {"language": "en", "fp16": False, **options}
        task = Watched(model, DecodingOptions(**options))
        result = task.run(features)[0]
        if task.margin < MARGIN:
            return name, task.margin
        results[name] = {
            "tokens": result.tokens,
            "sum_logprob": number(result.avg_logprob * (len(result.tokens) + 1)),
            "avg_logprob": number(result.avg_logprob),
            "no_speech_prob": number(result.no_speech_prob),
            "margin": number(f"{task.margin:.2g}"),
        }
    return results, None


def make_decode(size, model):
    kept, near = [], []
    for file, offsets in CANDIDATES:
        for offset in offsets:
            if len(kept) == WINDOWS:
                break
            begin = time.time()
            samples, count = load_window(file, offset)
            mel = whisper.log_mel_spectrogram(samples, model.dims.n_mels)
            features = model.encoder(mel[None])
            results, margin = run_all(model, features)
            print(f"{len(kept):3} {file} {offset} {time.time() - begin:.1f} s", "" if margin is None else (results, margin), flush=True)
            if margin is not None:
                near.append({"file": file, "offset": offset, "run": results, "margin": margin})
            else:
                kept.append({"file": file, "offset": offset, "samples": count, "mel": mel, "features": features, "runs": results})
    assert len(kept) >= 50, f"only {len(kept)} windows without a near tie"
    options = {name: {"language": "en", "task": "transcribe", **o} for name, o in RUNS.items()}
    prompt = get_tokenizer(True).encode(" " + PROMPT)
    head = {"size": size, "prompt_tokens": prompt, "margin": MARGIN, "dropped_near_ties": len(near), "runs": options}
    write(f"{size}_decode.json", head, windows=[place(w) | {"results": w["runs"]} for w in kept])
    return kept


def place(window):
    return {key: window[key] for key in ("file", "offset")}


def make_logits(size, model, kept):
    tokenizer = get_tokenizer(True, language="en", task="transcribe")
    forced = [*tokenizer.sot_sequence_including_notimestamps, *tokenizer.encode(FORCED_TEXT)][:FORCED_TOKENS]
    entries = []
    for window in spread(kept, LOGIT_WINDOWS):
        logits = model.decoder(torch.tensor([forced]), window["features"])[0]
        top = logits.topk(8)
        entries.append(place(window) | {
            "encoder": numbers(window["features"].flatten()[::ENCODER_STRIDE]),
            "positions": [{"top_ids": ids, "top": numbers(values), "strided": numbers(row[::LOGIT_STRIDE])}
                          for ids, values, row in zip(top.indices.tolist(), top.values.tolist(), logits)],
        })
    write(f"{size}_logits.json", {"size": size, "tokens": forced, "stride": LOGIT_STRIDE, "encoder_stride": ENCODER_STRIDE},
          windows=entries)


def make_language(size, model, kept):
    entries = []
    for window in spread(kept, LOGIT_WINDOWS):
        probabilities = model.detect_language(window["features"])[1][0]
        best = sorted(probabilities.items(), key=lambda item: -item[1])[:5]
        entries.append(place(window) | {"languages": [[code, number(p)] for code, p in best]})
    write(f"{size}_language.json", {"size": size}, windows=entries)


def spread(windows, count):
    return [windows[i * len(windows) // count] for i in range(count)]


def make_words(size, model, kept):
    entries = []
    # From full windows to the shortest: the attention is cut to the frames that hold sound.
    waiting = sorted(kept, key=lambda w: -w["samples"])
    waiting = [waiting[i * 7 % len(waiting)] for i in range(len(waiting))]
    for language, text in WORD_TEXTS:
        tokenizer = get_tokenizer(True, language=language, task="transcribe")
        ids = tokenizer.encode(text)
        while True:
            window = waiting.pop(0)
            frames = window["samples"] // 160
            words, matrix, path = align(model, tokenizer, ids, window["mel"], frames)
            if steady(matrix, path):
                break
            print("path not steady", place(window), flush=True)
        entries.append(place(window) | {
            "language": language, "text": text, "tokens": ids, "num_frames": frames,
            "text_indices": path[0].tolist(), "time_indices": path[1].tolist(),
            "words": [[w.word, number(w.start), number(w.end), number(w.probability)] for w in words],
        })
    heads = model.alignment_heads.indices().T.tolist()
    write(f"{size}_words.json", {"size": size, "alignment_heads": heads, "median_filter": 7}, windows=entries)


def align(model, tokenizer, ids, mel, frames):
    """find_alignment's words, with the cost matrix and the path that it made on the way."""
    seen = {}
    original = timing.dtw

    def keep(matrix):
        seen["matrix"], seen["path"] = matrix, original(matrix)
        return seen["path"]

    timing.dtw = keep
    try:
        words = timing.find_alignment(model, tokenizer, ids, mel, frames)
    finally:
        timing.dtw = original
    return words, seen["matrix"], np.array(seen["path"])


def steady(matrix, path):
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        noise = PATH_NOISE * torch.randn(matrix.shape, generator=generator)
        if not np.array_equal(np.array(timing.dtw(matrix + noise)), path):
            return False
    return True


@torch.no_grad()
def main(parts):
    torch.set_num_threads(1)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    if "tokenizer" in parts:
        write("tokenizer.json", {}, **tokenizer_golden.make())
    for size in ("tiny", "base"):
        if size in parts:
            model = whisper_model.load(size)
            kept = make_decode(size, model)
            make_logits(size, model, kept)
            make_language(size, model, kept)
            make_words(size, model, kept)


if __name__ == "__main__":
    main(sys.argv[1:] or ["tokenizer", "tiny", "base"])
