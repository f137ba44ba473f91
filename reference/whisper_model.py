"""openai-whisper's own model class, filled with the rule-made weights."""

import torch
import whisper
from whisper.model import ModelDimensions, Whisper

import rule_weights

RENAMES = [
    ("model.", ""),
    (".layers.", ".blocks."),
    (".self_attn_layer_norm.", ".attn_ln."),
    (".encoder_attn_layer_norm.", ".cross_attn_ln."),
    (".final_layer_norm.", ".mlp_ln."),
    (".self_attn.", ".attn."),
    (".encoder_attn.", ".cross_attn."),
    (".q_proj.", ".query."),
    (".k_proj.", ".key."),
    (".v_proj.", ".value."),
    (".out_proj.", ".out."),
    (".fc1.", ".mlp.0."),
    (".fc2.", ".mlp.2."),
    ("encoder.layer_norm.", "encoder.ln_post."),
    ("decoder.layer_norm.", "decoder.ln."),
    ("embed_tokens.", "token_embedding."),
    ("embed_positions.weight", "positional_embedding"),
]


def openai_name(name):
    for ours, theirs in RENAMES:
        name = name.replace(ours, theirs)
    return name


def load(size):
    mels, width, heads, encoder_layers, decoder_layers, vocabulary = rule_weights.SIZES[size]
    dims = ModelDimensions(mels, rule_weights.AUDIO_POSITIONS, width, heads, encoder_layers, vocabulary,
                           rule_weights.TEXT_POSITIONS, width, heads, decoder_layers)
    model = Whisper(dims)
    state = {openai_name(name): torch.from_numpy(rule_weights.tensor(name, shape))
             for name, shape in rule_weights.tensors(size)}
    model.load_state_dict(state)
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS[size])
    return model.eval()
