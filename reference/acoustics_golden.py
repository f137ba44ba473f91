"""Writes crates/sori-speech/tests/golden/acoustics_*: what librosa, Praat and ffmpeg measure.

    python3 reference/acoustics_golden.py

Made with librosa 0.11.0, praat-parselmouth 0.4.7 (Praat 6.1.38), numpy 2.4.6, scipy 1.17.1, ffmpeg 5.1.9. The audio is 16 kHz
mono WAV of ../shared/media, so that no resampler stands between the file and the comparison.
"""

import json
import pathlib
import subprocess
import wave

import librosa
import numpy as np
import parselmouth
from parselmouth.praat import call

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEDIA = ROOT.parent / "shared/media"
GOLDEN = ROOT / "crates/sori-speech/tests/golden"

RATE, HOP, N_FFT, MELS, MFCC = 16000, 160, 512, 40, 13
# Every 7th frame of this clip is kept with all that librosa measures.
FRAMES, STRIDE = "codecs/jfk_16k_s16.wav", 7
CLIPS = [
    "codecs/jfk_16k_s16.wav",
    "speech/en_sense_0870.wav",
    "speech/en_two_cities.wav",
    "synthetic/en_3_slt.wav",
    "synthetic/ko_1.wav",
    "diar/pyannote_sample.wav",
]


def read(name):
    with wave.open(str(MEDIA / name)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768.0


def librosa_frames(pcm):
    """Shape (frames, 6 + 13 + 13): level in dB, centroid, roll-off, bandwidth, flatness, zero crossings, MFCC, slopes."""
    at = dict(hop_length=HOP)
    magnitude = np.abs(librosa.stft(pcm, n_fft=N_FFT, **at))
    mel = librosa.feature.melspectrogram(S=magnitude**2, sr=RATE, n_fft=N_FFT, n_mels=MELS)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=None), n_mfcc=MFCC)
    rms = librosa.feature.rms(y=pcm, frame_length=N_FFT, **at)
    rows = [
        20 * np.log10(np.maximum(rms, 1e-10)),
        librosa.feature.spectral_centroid(S=magnitude, sr=RATE),
        librosa.feature.spectral_rolloff(S=magnitude, sr=RATE),
        librosa.feature.spectral_bandwidth(S=magnitude, sr=RATE),
        librosa.feature.spectral_flatness(S=magnitude),
        librosa.feature.zero_crossing_rate(pcm, frame_length=N_FFT, **at),
        mfcc,
        librosa.feature.delta(mfcc),
    ]
    # librosa has one frame more where the sound ends on a hop; slopes must be those of the frames that are there.
    frames = -(-len(pcm) // HOP)
    rows[-1] = librosa.feature.delta(mfcc[:, :frames])
    return np.concatenate([row[:, :frames] for row in rows]).T.astype(np.float32)


def on_our_frames(pcm):
    """The sound between zeros, such that Praat's frames are centred on every 160th sample, and the first one of them in it."""
    before = 10 * HOP + HOP // 2
    padded = np.concatenate([np.zeros(before), pcm, np.zeros(10 * HOP)])
    padded = np.concatenate([padded, np.zeros(-len(padded) % HOP)])
    sound = parselmouth.Sound(padded.astype(np.float64), RATE)
    pitch = sound.to_pitch_ac(time_step=HOP / RATE, pitch_floor=65, pitch_ceiling=600)
    first = (before / RATE - pitch.xs()[0]) / (HOP / RATE)
    assert abs(first - round(first)) < 1e-3, first
    return sound, pitch, round(first)


def praat(pcm):
    """Pitch on our frames in Hz (0 where not voiced) and the quality of the voice."""
    sound, pitch, first = on_our_frames(pcm)
    frames = -(-len(pcm) // HOP)
    marks = call([sound, pitch], "To PointProcess (cc)")
    hz = pitch.selected_array["frequency"]
    strength = pitch.selected_array["strength"][hz > 0]
    quality = {
        "jitter": call(marks, "Get jitter (local)", 0, 0, 0.0001, 0.02, 1.3),
        "shimmer": call([sound, marks], "Get shimmer (local)", 0, 0, 0.0001, 0.02, 1.3, 1.6),
        "hnr_db": float(np.mean(10 * np.log10(strength / (1 - strength)))),
    }
    return hz[first : first + frames].astype(np.float32), quality


def ebur128(name):
    """Integrated loudness in LUFS by ffmpeg's ebur128, at 48 kHz: its filters at 16 kHz are 0.08 LU off those of the standard."""
    chain = "aresample=48000,aformat=sample_fmts=dbl,ebur128=metadata=1,ametadata=print:key=lavfi.r128.I:file=-"
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(MEDIA / name), "-af", chain, "-f", "null", "-"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(report.strip().rsplit("=", 1)[-1])


def main():
    rows = librosa_frames(read(FRAMES))
    np.save(GOLDEN / "acoustics_librosa.npy", np.ascontiguousarray(rows[::STRIDE]))
    clips = []
    for name in CLIPS:
        hz, quality = praat(read(name))
        np.save(GOLDEN / f"acoustics_{pathlib.Path(name).stem}_pitch.npy", hz)
        clips.append({"file": name, **quality, "lufs": ebur128(name)})
        print(clips[-1], f"voiced {np.mean(hz > 0):.2f}")
    (GOLDEN / "acoustics.json").write_text(json.dumps(clips, indent=1) + "\n")


if __name__ == "__main__":
    main()
