"""Whisper (openai/whisper model.py) in plain PyTorch, with Hugging Face's parameter names, and a CTC head for training."""
import math, torch, torch.nn as nn, torch.nn.functional as F

CONFIG = dict(d_model=256, encoder_layers=5, decoder_layers=2, heads=4, ffn=1024, mels=80, hop=240, seconds=12, audio_ctx=400, text_ctx=320)


def sinusoids(length, channels):
    scale = math.log(10000) / (channels // 2 - 1)
    time = torch.arange(length)[:, None] * torch.exp(-scale * torch.arange(channels // 2))[None]
    return torch.cat([time.sin(), time.cos()], 1)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = nn.Linear(d, d), nn.Linear(d, d, bias=False), nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x, source=None, causal=False):
        source = x if source is None else source
        split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = split(self.q_proj(x)), split(self.k_proj(source)), split(self.v_proj(source))
        scores = (q * q.shape[-1] ** -0.5) @ k.mT
        if causal: scores = scores + torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype).triu(1)
        y = scores.softmax(-1, dtype=scores.dtype) @ v  # faster here than the fused kernel's backward pass
        return self.out_proj(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, d, heads, ffn, cross):
        super().__init__()
        self.self_attn, self.self_attn_layer_norm = Attention(d, heads), nn.LayerNorm(d)
        if cross: self.encoder_attn, self.encoder_attn_layer_norm = Attention(d, heads), nn.LayerNorm(d)
        self.fc1, self.fc2, self.final_layer_norm = nn.Linear(d, ffn), nn.Linear(ffn, d), nn.LayerNorm(d)

    def forward(self, x, source=None):
        x = x + self.self_attn(self.self_attn_layer_norm(x), causal=source is not None)
        if source is not None: x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), source)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["d_model"]
        self.conv1, self.conv2 = nn.Conv1d(c["mels"], d, 3, padding=1), nn.Conv1d(d, d, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding.from_pretrained(sinusoids(c["audio_ctx"], d), freeze=True)
        self.layers = nn.ModuleList(Layer(d, c["heads"], c["ffn"], False) for _ in range(c["encoder_layers"]))
        self.layer_norm = nn.LayerNorm(d)

    def forward(self, mel):
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers: x = layer(x)
        return self.layer_norm(x)


class Decoder(nn.Module):
    def __init__(self, c, vocab):
        super().__init__()
        d = c["d_model"]
        self.embed_tokens, self.embed_positions = nn.Embedding(vocab, d), nn.Embedding(c["text_ctx"], d)
        self.layers = nn.ModuleList(Layer(d, c["heads"], c["ffn"], True) for _ in range(c["decoder_layers"]))
        self.layer_norm = nn.LayerNorm(d)
        nn.init.normal_(self.embed_tokens.weight, std=0.03)
        nn.init.normal_(self.embed_positions.weight, std=0.02)

    def forward(self, tokens, source):
        x = self.embed_tokens(tokens) + self.embed_positions.weight[: tokens.shape[1]]
        for layer in self.layers: x = layer(x, source)
        return F.linear(self.layer_norm(x), self.embed_tokens.weight)


class Whisper(nn.Module):
    def __init__(self, c, vocab, ctc):
        super().__init__()
        self.encoder, self.decoder = Encoder(c), Decoder(c, vocab)
        self.ctc = nn.Linear(c["d_model"], ctc + 1)
