"""ONNX Runtime int8: `ort.py prepare FOLDER` exports FOLDER/hf, `ort.py measure FOLDER THREADS WINDOWS` prints a JSON line.

The graph is the encoder and the cross K/V projections of every decoder layer, what the other peers' encoders also do;
dynamic quantisation makes its constant matrix products int8, convolutions and attention stay f32.
"""

import json
import shutil
import sys
import time
import warnings
from pathlib import Path

from ct2 import best_ms, peak_mb


def prepare(folder):
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import WhisperModel

    warnings.filterwarnings("ignore")
    model = WhisperModel.from_pretrained(folder / "hf", attn_implementation="eager").eval()

    class EncoderAndCross(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = model.encoder
            crosses = [layer.encoder_attn for layer in model.decoder.layers]
            self.projections = torch.nn.ModuleList(p for c in crosses for p in (c.k_proj, c.v_proj))

        def forward(self, mel):
            heard = self.encoder(mel).last_hidden_state
            return tuple(projection(heard) for projection in self.projections)

    exact = folder / "onnx" / "encoder.onnx"  # above 2 GB the exporter puts the weights in files beside it
    exact.parent.mkdir(exist_ok=True)
    mel = torch.zeros(1, model.config.num_mel_bins, 3000)
    with torch.no_grad():
        torch.onnx.export(EncoderAndCross(), (mel,), str(exact), input_names=["mel"], opset_version=17, dynamo=False)
    quantize_dynamic(exact, folder / "encoder-int8.onnx", weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
    shutil.rmtree(exact.parent)


def measure(folder, threads):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    mel = np.fromfile(folder / "mel.f32", np.float32).reshape(1, -1, 3000)
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(
        str(folder / "encoder-int8.onnx"), options, providers=["CPUExecutionProvider"]
    )
    load = (time.perf_counter() - started) * 1e3
    session.run(None, {"mel": mel})
    encode = best_ms(lambda: session.run(None, {"mel": mel}))
    print(json.dumps({
        "version": onnxruntime.__version__, "load_ms": round(load, 1), "encode_ms": round(encode, 2),
        "peak_mb": peak_mb(),
    }))


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    prepare(Path(folder)) if verb == "prepare" else measure(Path(folder), int(rest[0]))
