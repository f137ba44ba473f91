"""Whisper weights made from their names, so that a model of the true size needs no download.

The rule (the same in crates/sori-testing/src/rule_weights.rs):

    seed  = FNV-1a-64(Hugging Face name in UTF-8)
    z     = splitmix64_finaliser(seed + (i + 1) * 0x9E3779B97F4A7C15)      element i, row-major, mod 2^64
    value = float32(2 * (z >> 40) / 2^24 - 1) * float32(scale)             in [-scale, scale)

`scale` depends on the kind of tensor (see `scale_of`); layer-norm weights add 1. Two exceptions: encoder positions are the
sinusoids of the paper, and the embedding rows of <|endoftext|> and of the timestamps are stretched, so that an untrained
model ends some sequences and writes some timestamps.
"""

import numpy as np

GOLDEN_RATIO = 0x9E3779B97F4A7C15
AUDIO_POSITIONS = 1500
TEXT_POSITIONS = 448
END_OF_TEXT = 50257

# name: (mels, width, heads, encoder layers, decoder layers, vocabulary)
SIZES = {
    "tiny": (80, 384, 6, 4, 4, 51865),
    "base": (80, 512, 8, 6, 6, 51865),
    "small": (80, 768, 12, 12, 12, 51865),
    "turbo": (128, 1280, 20, 32, 4, 51866),
}

# Standard deviation of a linear layer's output for an input of unit power.
GAINS = {
    "conv1": 2.0,
    "conv2": 2.0,
    "encoder.self.qk": 1.2,
    "decoder.self.qk": 2.5,
    "decoder.cross.qk": 3.0,
    "encoder.v": 1.0,
    "decoder.v": 1.0,
    "encoder.out": 1.0,
    "decoder.out": 2.5,
    "decoder.cross.out": 1.5,
    "fc1": 1.5,
    "encoder.fc2": 1.0,
    "decoder.fc2": 3.0,
}
EMBEDDING_STD = 0.3
POSITION_STD = 1.2
BIAS_SCALE = 0.1
NORM_SCALE = 0.1
END_OF_TEXT_STRETCH = 4.0
TIMESTAMP_STRETCH = 1.15


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def signed_unit(name, n):
    """n values in [-1, 1), exact in float32."""
    z = np.arange(1, n + 1, dtype=np.uint64)
    z *= np.uint64(GOLDEN_RATIO)
    z += np.uint64(fnv1a(name))
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    z >>= np.uint64(40)
    return ((z.astype(np.int64) - (1 << 23)).astype(np.float64) / (1 << 23)).astype(np.float32)


def gain_of(name):
    side = "encoder" if ".encoder." in name else "decoder"
    part = name.split(".")[-2]
    if part in ("conv1", "conv2", "fc1"):
        return GAINS[part]
    if part in ("q_proj", "k_proj"):
        return GAINS["decoder.cross.qk" if "encoder_attn" in name else f"{side}.self.qk"]
    if part == "v_proj":
        return GAINS[f"{side}.v"]
    if part == "out_proj":
        return GAINS["decoder.cross.out" if "encoder_attn" in name else f"{side}.out"]
    return GAINS[f"{side}.fc2"]


def scale_of(name, shape):
    if "layer_norm" in name:
        return NORM_SCALE
    if name.endswith("bias"):
        return BIAS_SCALE
    if name.endswith("embed_tokens.weight"):
        return EMBEDDING_STD * np.sqrt(3.0)
    if name.endswith("embed_positions.weight"):
        return POSITION_STD * np.sqrt(3.0)
    return gain_of(name) * np.sqrt(3.0 / np.prod(shape[1:]))


def sinusoids(width):
    """Encoder positions in float64, rounded once: torch's own float32 path is off by 1e-4 at late positions."""
    half = width // 2
    rate = np.exp(-np.log(10000.0) / (half - 1) * np.arange(half))
    angle = np.arange(AUDIO_POSITIONS)[:, None] * rate[None, :]
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


def tensor(name, shape):
    if name == "model.encoder.embed_positions.weight":
        return sinusoids(shape[1])
    value = signed_unit(name, int(np.prod(shape))) * np.float32(scale_of(name, shape))
    value = value.reshape(shape)
    if "layer_norm" in name and name.endswith("weight"):
        value += np.float32(1)
    if name.endswith("embed_tokens.weight"):
        value[END_OF_TEXT] *= np.float32(END_OF_TEXT_STRETCH)
        value[shape[0] - 1501 :] *= np.float32(TIMESTAMP_STRETCH)
    return value


def tensors(size):
    """Every (name, shape) of the Hugging Face checkpoint, in the order of model.safetensors."""
    mels, width, _, encoder_layers, decoder_layers, vocabulary = SIZES[size]
    yield "model.encoder.conv1.weight", (width, mels, 3)
    yield "model.encoder.conv1.bias", (width,)
    yield "model.encoder.conv2.weight", (width, width, 3)
    yield "model.encoder.conv2.bias", (width,)
    yield "model.encoder.embed_positions.weight", (AUDIO_POSITIONS, width)
    for layer in range(encoder_layers):
        yield from block(f"model.encoder.layers.{layer}", width, ["self_attn"])
    yield from norm("model.encoder.layer_norm", width)
    yield "model.decoder.embed_tokens.weight", (vocabulary, width)
    yield "model.decoder.embed_positions.weight", (TEXT_POSITIONS, width)
    for layer in range(decoder_layers):
        yield from block(f"model.decoder.layers.{layer}", width, ["self_attn", "encoder_attn"])
    yield from norm("model.decoder.layer_norm", width)


def block(prefix, width, attentions):
    for attention in attentions:
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{prefix}.{attention}.{projection}.weight", (width, width)
            if projection != "k_proj":
                yield f"{prefix}.{attention}.{projection}.bias", (width,)
        yield from norm(f"{prefix}.{attention}_layer_norm", width)
    yield f"{prefix}.fc1.weight", (4 * width, width)
    yield f"{prefix}.fc1.bias", (4 * width,)
    yield f"{prefix}.fc2.weight", (width, 4 * width)
    yield f"{prefix}.fc2.bias", (width,)
    yield from norm(f"{prefix}.final_layer_norm", width)


def norm(name, width):
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
