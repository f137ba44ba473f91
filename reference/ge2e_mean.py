#!/usr/bin/env python3
"""What all voices have in common for Resemblyzer's encoder: crates/sori-speech/src/diarize/embedding/ge2e_mean.f32.

usage: ge2e_mean.py pretrained.pt ../shared/media/librispeech OUT

The mean over 251 speakers (LibriSpeech train-clean-100, CC BY 4.0) of the mean of their unit vectors of 10 s every 2 s, each of which
is the mean of unit vectors of 1.6 s every 0.8 s; as 256 little-endian f32. Needs torch, librosa and ffmpeg.
"""
import glob, subprocess, sys

import librosa
import numpy as np
import torch

PART, HOP = 160, 80  # mel frames of 10 ms
WINDOW, STEP = 11, 2  # parts: about 10 s, about 2 s


def sound(path):
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-ac", "1", "-ar", "16000", "-"], capture_output=True, check=True)
    return np.frombuffer(raw.stdout, "<f4")


def main(weights, folder, out):
    torch.set_num_threads(1)
    state = torch.load(weights, map_location="cpu", weights_only=False)["model_state"]
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    lstm.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("lstm.")})
    linear.load_state_dict({k[7:]: v for k, v in state.items() if k.startswith("linear.")})
    means = []
    for path in sorted(glob.glob(f"{folder}/*.flac")):
        pcm = sound(path)
        # The encoder's volume rule: raised to -30 dBFS, never lowered.
        pcm = pcm * max(1.0, 10 ** (-30 / 20) / (np.sqrt((pcm**2).mean()) + 1e-9))
        mel = librosa.feature.melspectrogram(y=pcm, sr=16000, n_fft=400, hop_length=160, n_mels=40).astype(np.float32).T
        parts = np.stack([mel[i : i + PART] for i in range(0, len(mel) - PART, HOP)])
        with torch.inference_mode():
            vectors = torch.relu(linear(lstm(torch.from_numpy(parts))[1][0][-1]))
            units = torch.nn.functional.normalize(vectors)
            starts = range(0, max(1, len(units) - WINDOW + 1), STEP)
            voices = torch.stack([units[i : i + WINDOW].mean(0) for i in starts])
            means.append(torch.nn.functional.normalize(voices).mean(0).numpy())
    np.mean(means, 0).astype("<f4").tofile(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
