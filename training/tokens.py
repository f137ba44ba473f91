"""The starter's vocabulary: byte-level BPE whose merges make exactly the 67 conjoining jamo of modern Hangul, so that
Korean is spelled in NFD jamo and everything else in bytes; any text can be written. Writes a Hugging Face tokenizer.json."""
import json, unicodedata

JAMO = [chr(c) for first, count in ((0x1100, 19), (0x1161, 21), (0x11A8, 27)) for c in range(first, first + count)]
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|ko|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>",
           "<|nospeech|>", "<|notimestamps|>"]


def byte_characters():
    """GPT-2's printable stand-in for each byte (openai/gpt-2 src/encoder.py, bytes_to_unicode)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


BYTE = byte_characters()
written = lambda text: "".join(BYTE[b] for b in text.encode())
MERGES = [(written(j)[0], written(j)[1]) for j in JAMO]
MERGES = list(dict.fromkeys(MERGES)) + [(written(j)[:2], written(j)[2]) for j in JAMO]
VOCAB = {token: i for i, token in enumerate([BYTE[b] for b in sorted(BYTE, key=lambda b: ord(BYTE[b]))] + [a + b for a, b in MERGES])}
IDS = {**VOCAB, **{s: len(VOCAB) + i for i, s in enumerate(SPECIAL)}}
EOT, SOT, TRANSCRIBE, NOSPEECH, NOTIMESTAMPS = (IDS[f"<|{n}|>"] for n in ("endoftext", "startoftranscript", "transcribe", "nospeech", "notimestamps"))
# The CTC head of training knows only what the sentences contain: blank, space, apostrophe, a-z and jamo.
CTC = {VOCAB[written(c)]: i + 1 for i, c in enumerate([" ", "'", *map(chr, range(97, 123)), *JAMO])}


def encode(text):
    """Token ids of a text, with the leading space that Whisper's texts have."""
    return [VOCAB[written(c)] for c in unicodedata.normalize("NFD", " " + text)]


def decode(ids):
    back = {v: k for k, v in BYTE.items()}
    tokens = {i: t for t, i in VOCAB.items()}
    raw = bytes(back[c] for i in ids if i in tokens for c in tokens[i])
    return unicodedata.normalize("NFC", raw.decode("utf8", "replace")).strip()


def tokenizer_json():
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": IDS[s], "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for s in SPECIAL],
        "normalizer": {"type": "NFD"}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                  "byte_fallback": False, "vocab": VOCAB, "merges": [f"{a} {b}" for a, b in MERGES]},
    }, ensure_ascii=False, indent=0)


if __name__ == "__main__":
    text = "안녕하세요 반갑습니다 it's 값싼"
    print(len(IDS), len(CTC), decode(encode(text)), len(encode(text)))
