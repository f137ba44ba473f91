"""Finds the decoder heads whose cross-attention follows time, on held-out sentences, and writes them to heads.json.

A head's score is the share of its attention, at letters' own steps, that falls within 0.2 s of where CTC heard the letter.
python heads.py RUN/checkpoint.pt 'WAV/heldout-*.tsv'
"""
import json, pathlib, sys
import torch
import data
from model import CONFIG, Whisper
from tokens import CTC, IDS, NOTIMESTAMPS, SOT, TRANSCRIBE, encode


def ctc_times(frames, labels):
    """Viterbi alignment: the frame at which each label is first seen."""
    states = [0]
    for l in labels: states += [l, 0]
    score = torch.full((len(states),), -1e9)
    score[:2] = frames[0, states[:2]]
    back = []
    for t in range(1, len(frames)):
        skip = torch.cat([torch.full((2,), -1e9), score[:-2]])
        for i in range(2, len(states)):
            if states[i] == 0 or states[i] == states[i - 2]: skip[i] = -1e9
        choices = torch.stack([score, torch.cat([torch.tensor([-1e9]), score[:-1]]), skip])
        best, step = choices.max(0)
        back.append(step)
        score = best + frames[t, states]
    at = len(states) - 1 if score[-1] > score[-2] else len(states) - 2
    first = {}
    for t in range(len(frames) - 1, -1, -1):
        if at % 2: first[at // 2] = t
        if t: at -= int(back[t - 1][at])
    return [first.get(i) for i in range(len(labels))]


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    model = Whisper(CONFIG, len(IDS), len(CTC))
    model.load_state_dict(torch.load(sys.argv[1], weights_only=False)["model"])
    corpus, rng = data.Corpus(sys.argv[2]), data.generator(5)
    kept = {}
    for i, layer in enumerate(model.decoder.layers):
        def keep(module, args, _out, i=i):
            x, source = args
            q, k = (p(y).unflatten(-1, (CONFIG["heads"], -1)).transpose(1, 2) for p, y in ((module.q_proj, x), (module.k_proj, source)))
            kept[i] = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)[0]
        layer.encoder_attn.register_forward_hook(keep)
    near, count = torch.zeros(CONFIG["decoder_layers"], CONFIG["heads"]), 0
    reach = round(0.2 * data.RATE / CONFIG["hop"] / 2)
    for trial in range(60):
        lang = ("en", "ko")[trial % 2]
        audio, text, spoken = data.window(corpus, rng, 6.0, 1.0, float(lang == "en"))
        if spoken is None: continue
        encoded = model.encoder(data.log_mel(torch.from_numpy(audio)[None]))
        ids = encode(text)
        model.decoder(torch.tensor([[SOT, IDS[f"<|{spoken}|>"], TRANSCRIBE, NOTIMESTAMPS, *ids]]), encoded)
        times = ctc_times(model.ctc(encoded)[0].log_softmax(-1), [CTC[t] for t in ids])
        for i, t in enumerate(times):
            if t is None: continue
            # Attention that writes a letter is that of the step before it.
            near += torch.stack([kept[l][:, 3 + i, max(0, t - reach): t + reach + 1].sum(-1) for l in kept])
            count += 1
    near /= count
    print(near)
    ranked = sorted(((near[l, h].item(), l, h) for l in range(near.shape[0]) for h in range(near.shape[1])), reverse=True)
    heads = sorted([l, h] for score, l, h in ranked[:4] if score > 0.6 * ranked[0][0])
    (pathlib.Path(__file__).parent / "heads.json").write_text(json.dumps(heads) + "\n")
    print(heads)


if __name__ == "__main__":
    main()
