"""Writes crates/sori-dsp/tests/golden/*.npy: log-mel spectrograms by openai-whisper itself.

    python3 reference/mel_golden.py

Made with openai-whisper 20250625, torch 2.15.0, numpy 2.4.6. Only whisper/audio.py and its mel_filters.npz are used, so
`pip install --no-deps openai-whisper` beside torch and numpy is enough. The audio is ../shared/media/codecs/jfk_16k_s16.wav,
which needs no decoder and no resampler. Every file holds each k-th frame only, to keep the repository small.
"""

import importlib.util
import pathlib
import sys
import types
import wave

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
AUDIO = ROOT.parent / "shared/media/codecs/jfk_16k_s16.wav"
GOLDEN = ROOT / "crates/sori-dsp/tests/golden"

# name, mel bands, hop, frames, stride over the frames; the table of tests/mel_golden.rs
CASES = [
    ("whole_80", 80, 160, 1100, 13),
    ("whole_128", 128, 160, 1100, 13),
    ("padded_80", 80, 160, 3000, 37),
    ("padded_128", 128, 160, 3000, 37),
    ("cut_80", 80, 160, 101, 7),
    ("hop240_80", 80, 240, 500, 29),
]


def whisper_audio():
    """whisper/audio.py as a module, without the rest of the package and its dependencies."""
    folder = pathlib.Path(importlib.util.find_spec("whisper").submodule_search_locations[0])
    package = types.ModuleType("whisper")
    package.__path__ = [str(folder)]
    sys.modules["whisper"] = package
    return importlib.import_module("whisper.audio")


def main():
    audio = whisper_audio()
    with wave.open(str(AUDIO)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768.0
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, mels, hop, frames, stride in CASES:
        audio.HOP_LENGTH = hop
        samples = audio.pad_or_trim(torch.from_numpy(pcm), frames * hop)
        mel = audio.log_mel_spectrogram(samples, n_mels=mels).numpy()
        assert mel.shape == (mels, frames) and mel.dtype == np.float32
        np.save(GOLDEN / f"{name}.npy", np.ascontiguousarray(mel[:, ::stride]))
        print(name, mel.shape, "min %.4f max %.4f" % (mel.min(), mel.max()))


if __name__ == "__main__":
    main()
