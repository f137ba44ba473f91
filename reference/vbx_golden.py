#!/usr/bin/env python3
"""ES2005a as BUTSpeechFIT/VBx ships it (Apache-2.0, commit 57466e6), up to the input of its Bayesian HMM.

usage: vbx_golden.py CHECKOUT [OUT]

Writes vbx_es2005a.npz: `features` (segments, 128) f32, the x-vectors after LDA and PLDA; `phi` (128) f64, the variances between
speakers; `init`, the clusters of AHC that the HMM starts from (threshold -0.015 from the calibrated one); `spans`, start and end
of each x-vector's segment; `reference`, rows of start, end and speaker from its example/rttm; `shipped`, the same from its
exp/, made with Fa 0.3, Fb 17, loopP 0.99, smoothing 5, of which its README says DER 7.06 (collar 0.25, no overlap).
No x-vector, PLDA or LDA is copied as it is. Steps: VBx/vbhmm.py, VBx/diarization_lib.py.
"""
import struct, sys
import h5py
import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.linalg import eigh
from scipy.spatial.distance import squareform
from scipy.special import softmax

root = sys.argv[1]
out = sys.argv[2] if len(sys.argv) > 2 else "crates/sori-speech/tests/golden/vbx_es2005a.npz"
models = f"{root}/VBx/models/ResNet101_16kHz"


def xvectors(path):
    """Kaldi's binary archive of float vectors: key, space, \\0BFV, space, \\4, length, values."""
    raw, at, names, rows = open(path, "rb").read(), 0, [], []
    while at < len(raw):
        end = raw.index(b" ", at)
        assert raw[end + 1:end + 6] == b"\0BFV "
        count = struct.unpack("<i", raw[end + 7:end + 11])[0]
        names.append(raw[at:end].decode())
        rows.append(np.frombuffer(raw, "<f4", count, end + 11))
        at = end + 11 + 4 * count
    return names, np.array(rows, float)


def plda(path):
    """Kaldi's binary Plda: mean, transform, psi."""
    raw = open(path, "rb").read()
    assert raw[:9] == b"\0B<Plda> "

    def vector(at):
        width = 4 if raw[at:at + 1] == b"F" else 8
        count = struct.unpack("<i", raw[at + 4:at + 8])[0]
        return np.frombuffer(raw, f"<f{width}", count, at + 8).astype(float), at + 8 + width * count

    mean, at = vector(9)
    width = 4 if raw[at:at + 1] == b"F" else 8
    rows, columns = struct.unpack("<i", raw[at + 4:at + 8])[0], struct.unpack("<i", raw[at + 9:at + 13])[0]
    transform = np.frombuffer(raw, f"<f{width}", rows * columns, at + 13).reshape(rows, columns).astype(float)
    return mean, transform, vector(at + 13 + width * rows * columns)[0]


def rttm(path):
    rows = [line.split() for line in open(path) if line.strip()]
    names = sorted({row[7] for row in rows})
    return np.array([[float(r[3]), float(r[3]) + float(r[4]), names.index(r[7])] for r in rows])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def calibrated(scores, rounds=20):
    """The threshold between two Gaussians of one variance (`twoGMMcalib_lin`)."""
    weights, means, variance = np.array([.5, .5]), scores.mean() + scores.std() * np.array([-1, 1]), scores.var()
    for _ in range(rounds):
        share = softmax(np.log(weights) - .5 * np.log(variance) - .5 * (scores[:, None] - means) ** 2 / variance, axis=1)
        count = share.sum(0)
        weights, means = count / count.sum(), scores @ share / count
        variance = ((scores ** 2) @ share / count - means ** 2) @ weights
    return -.5 * (np.log(weights ** 2 / variance) - means ** 2 / variance) @ [1, -1] / ((means / variance) @ [1, -1])


names, x = xvectors(f"{root}/exp/ES2005a.ark")
segments = [line.split() for line in open(f"{root}/exp/ES2005a.seg")]
assert [s[0] for s in segments] == names
with h5py.File(f"{models}/transform.h5") as f:
    mean1, mean2, lda = (np.array(f[k]) for k in ("mean1", "mean2", "lda"))
y = unit(unit(x - mean1) @ lda - mean2)
scores = y @ y.T
tree = linkage(squareform(-scores, checks=False), "average")
lowest = abs(tree[:, 2].min())
tree[:, 2] += lowest
init = fcluster(tree, -(calibrated(scores.ravel()) - 0.015) + lowest, "distance") - 1
mu, tr, psi = plda(f"{models}/plda")
within, between = np.linalg.inv(tr.T @ tr), np.linalg.inv((tr.T / psi) @ tr)
values, vectors = eigh(between, within)
features = ((y - mu) @ vectors[:, ::-1])[:, :128]
np.savez_compressed(
    out, features=features.astype(np.float32), phi=values[::-1][:128], init=init,
    spans=np.array([[float(s[2]), float(s[3])] for s in segments]),
    reference=rttm(f"{root}/example/rttm/ES2005a.rttm"), shipped=rttm(f"{root}/exp/ES2005a.rttm"))
print("x-vectors", x.shape, "first clusters", init.max() + 1)
