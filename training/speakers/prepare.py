"""Writes what both trainings read: the voices with their speech spans, and the features of degraded copies.

    prepare.py LIBRISPEECH SILERO_VAD.onnx FOLDER
"""
import json
import os
import sys
import time

import numpy as np
import onnxruntime

import audio
import voices

COPIES = 6


def silero(session, x, threshold=0.5, close=0.2):
    """Speech spans in seconds; gaps shorter than `close` are speech, as are the edges' 30 ms."""
    state, context, p = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for i in range(0, len(x), 512):
        c = np.pad(x[i : i + 512], (0, max(0, i + 512 - len(x))))
        feed = {"input": np.concatenate([context, c])[None], "state": state, "sr": np.array(16000, np.int64)}
        out, state = session.run(None, feed)
        context = c[-64:]
        p.append(float(out[0, 0]))
    spans, on = [], None
    for i, v in enumerate(p + [0.0]):
        if on is None and v >= threshold:
            on = i
        elif on is not None and v < threshold - 0.15:
            spans.append([max(0, on * 0.032 - 0.03), min(len(x) / 16000, i * 0.032 + 0.03)])
            on = None
    out = []
    for a, b in spans:
        if out and a - out[-1][1] < close:
            out[-1][1] = b
        elif b - a > 0.15:
            out.append([a, b])
    return out


def main(libri, vad, folder):
    os.makedirs(folder, exist_ok=True)
    begun = time.time()
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(vad, o)
    clips = [(os.path.basename(p).split("-")[0], held, audio.level(audio.load(p))) for p, held in audio.librispeech(libri)]
    clips += [(n, False, audio.level(x)) for n, x in voices.voices()]
    spans = [silero(session, x) for _, _, x in clips]
    starts = np.cumsum([0] + [len(x) for _, _, x in clips])
    np.concatenate([(np.clip(x, -1, 1) * 32767).astype(np.int16) for _, _, x in clips]).tofile(f"{folder}/voices.i16")
    index = [dict(name=n, held=h, at=int(a), samples=len(x), spans=s) for (n, h, x), a, s in zip(clips, starts, spans)]
    json.dump(index, open(f"{folder}/voices.json", "w"))
    print(f"{len(clips)} voices, {starts[-1] / 16000:.0f} s, spans after {time.time() - begun:.0f} s", flush=True)

    opus = audio.opus([x for _, _, x in clips])
    table, at = [], 0
    with open(f"{folder}/features.f16", "wb") as out:
        for c, (name, held, x) in enumerate(clips):
            for k, factor in enumerate((1.0, 0.9, 1.1)):
                if held and k:
                    continue
                r = np.random.default_rng([11, c, k])
                def babble(n):
                    y = np.zeros(n, np.float32)
                    for j in r.integers(0, len(clips), r.integers(2, 6)):
                        z = np.resize(np.roll(clips[j][2], r.integers(0, 100000)), n)
                        y += z
                    return y
                for copy in range(COPIES):
                    y = audio.speed(opus[c] if copy == 1 else x, factor)
                    y = y if copy == 0 else audio.degrade(y, r, babble)
                    f = audio.fbank(y).astype(np.float16)
                    out.write(f.tobytes())
                    table.append([c, k, copy, at, len(f)])
                    at += len(f)
    np.save(f"{folder}/features.npy", np.array(table, np.int64))
    print(f"{len(table)} copies, {at / 360000:.1f} h of features after {time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
