"""Small files of each format that weights are published in, as their own libraries write them.

usage: weight_files.py   (writes crates/sori-infer/tests/golden/)

Element i of every array is i / 4 + 1, so the test needs no second file; what stands beside the tensors is what trainings
leave in checkpoints, and must be passed over.
"""

import argparse
import collections
import datetime
import pathlib

import numpy as np
import torch

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/sori-infer/tests/golden"


def ramp(*shape, dtype=torch.float32):
    count = int(np.prod(shape))
    return (torch.arange(count) / 4 + 1).reshape(shape).to(dtype)


def state():
    shared = ramp(12)
    return collections.OrderedDict(
        {
            "plain": ramp(2, 3),
            "scalar": ramp(),
            "empty": ramp(0, 3),
            "half": ramp(4, dtype=torch.float16),
            "brain": ramp(4, dtype=torch.bfloat16),
            "double": ramp(4, dtype=torch.float64),
            "parameter": torch.nn.Parameter(ramp(3)),
            "head": shared[:4],
            "tail": shared[4:].reshape(2, 4),
            # ramp(3, 2) seen from the side.
            "transposed": ramp(3, 2).T,
            "steps": torch.tensor(7),
        }
    )


def checkpoint():
    network = state()
    network._metadata = {"": {"version": 1}}
    return {
        "epoch": 10**30,
        "best": -1.5,
        "when": datetime.date(2024, 1, 2),
        "hyper_parameters": argparse.Namespace(rate=0.1, names={"a", "b"}, raw=b"\x00\xff", more=[None, True, -5]),
        "optimizer": {"state": {0: {"step": torch.tensor(1.0), "exp_avg": ramp(6)}}, "groups": collections.defaultdict(list)},
        "state_dict": network,
        "callbacks": (collections.Counter("abca"), [], {}),
    }


def arrays():
    return {
        "f4": np.arange(6, dtype="<f4").reshape(2, 3) / 4 + 1,
        "f8": np.arange(6, dtype="<f8").reshape(2, 3) / 4 + 1,
        "f2": (np.arange(6) / 4 + 1).astype("<f2"),
        "fine": np.array(1 / 3),
        "columns": np.asfortranarray(np.arange(6, dtype="<f8").reshape(2, 3) / 4 + 1),
        "i8": np.array([2**40, -1]),
        "text": np.array(["a", "bc"]),
        "object": np.array([{"no": "code"}], dtype=object),
    }


OUT.mkdir(exist_ok=True)
torch.save(checkpoint(), OUT / "checkpoint.ckpt")
torch.save(checkpoint(), OUT / "legacy.pt", _use_new_zipfile_serialization=False)
np.savez(OUT / "arrays.npz", **arrays())
np.savez_compressed(OUT / "compressed.npz", **arrays())
