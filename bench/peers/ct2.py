"""CTranslate2 int8: `ct2.py prepare FOLDER` converts FOLDER/hf, `ct2.py measure FOLDER THREADS WINDOWS` prints a JSON line.

The converter is the library's own; only the tokenizer is replaced by the vocabulary files, for seeded folders have no
merges.txt. Windows are forced to TOKENS tokens by forbidding the end; the decoder is greedy.
"""

import json
import sys
import time
from pathlib import Path

TOKENS = 100  # of a window
PASSES = 3  # of each part in one process; the fastest counts
BATCH = 16  # windows decoded together in the end-to-end run


def prepare(folder):
    from ctranslate2.converters import TransformersConverter

    class Vocabulary:
        def get_vocab(self):
            parts = [json.loads((folder / "hf" / f).read_text()) for f in ("vocab.json", "added_tokens.json")]
            return parts[0] | parts[1]

        bos_token = eos_token = unk_token = "<|endoftext|>"

    class SeededConverter(TransformersConverter):
        def load_tokenizer(self, *_, **__):
            return Vocabulary()

    SeededConverter(str(folder / "hf")).convert(str(folder / "ct2"), quantization="int8", force=True)


def best_ms(action):
    seconds = []
    for _ in range(PASSES):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return min(seconds) * 1e3


def measure(folder, threads, windows):
    import ctranslate2
    import numpy as np

    special = json.loads((folder / "hf" / "added_tokens.json").read_text())
    prompt = [special[t] for t in ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")]
    end = special["<|endoftext|>"]
    mel = np.fromfile(folder / "mel.f32", np.float32).reshape(1, -1, 3000)
    started = time.perf_counter()
    model = ctranslate2.models.Whisper(
        str(folder / "ct2"), device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1
    )
    load = (time.perf_counter() - started) * 1e3

    def view(array, copies):
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(np.repeat(array, copies, axis=0)))

    def generate(heard, copies, tokens):
        # The library writes min(max_length / 2, max_length - 3) tokens after a prompt of four.
        limit = max(2 * tokens, tokens + 3)
        options = dict(beam_size=1, max_length=limit, suppress_blank=False, suppress_tokens=[end])
        results = model.generate(heard, [prompt] * copies, **options)
        lengths = {len(r.sequences_ids[0]) for r in results}
        assert lengths == {tokens}, f"{tokens} tokens were forced, {lengths} came"

    one = view(mel, 1)
    heard = np.array(model.encode(one))  # also the warm-up
    encode = best_ms(lambda: model.encode(one))
    decode, first = {}, {}
    for batch in (1, 8, BATCH):
        copies = view(heard, batch)
        # Cross K/V and the prompt are in the first call: taken off the price of a token, named beside the encoder.
        first[batch] = best_ms(lambda: generate(copies, batch, 1))
        whole = best_ms(lambda: generate(copies, batch, TOKENS))
        decode[str(batch)] = round((whole - first[batch]) / (TOKENS - 1) / batch, 3)
    del copies
    started = time.perf_counter()
    for begin in range(0, windows, BATCH):
        batch = min(BATCH, windows - begin)
        # One by one: the library's encoder is slower by half for 16 windows at once (tiny, two threads).
        heard = np.concatenate([np.array(model.encode(one)) for _ in range(batch)])
        generate(view(heard, 1), batch, TOKENS)
    seconds = (time.perf_counter() - started) * 20 / windows
    print(json.dumps({
        "version": ctranslate2.__version__, "load_ms": round(load, 1), "encode_ms": round(encode, 2),
        "first_call_ms": round(first[1], 2), "decode_ms": decode, "seconds_10min": round(seconds, 3),
        "peak_mb": peak_mb(),
    }))


def peak_mb():
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024)


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    prepare(Path(folder)) if verb == "prepare" else measure(Path(folder), *map(int, rest[:2]))
