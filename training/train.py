"""Trains the starter on synthetic speech: CTC on the encoder and cross-entropy on the decoder, Muon for the matrices.

python train.py --wav 'DIR/train-*.tsv' --out DIR --minutes 120        (stops and resumes: run it again with the same --out)
"""
import argparse, glob, math, pathlib, time
import torch, torch.nn.functional as F, torch.multiprocessing as mp
from model import CONFIG, Whisper
from tokens import CTC, IDS
import data

# (share of the run, window seconds, windows a step): short windows first.
CURRICULUM = [(0.06, [3.0], [64]), (0.25, [3.0, 4.5], [64, 44]), (0.80, [4.5, 6.0, 9.0], [44, 32, 20]), (1.01, [6.0, 9.0, 12.0, 12.0], [32, 20, 16, 16])]


def produce(queue, progress, args, seed):
    torch.set_num_threads(1)
    rng = data.generator(seed)
    corpus = data.Corpus(args.wav)
    made = 0
    while True:
        made += 1
        if made % 200 == 0:
            for tsv in sorted(glob.glob(args.wav)): corpus.add(tsv)
        done = progress.value
        lengths, sizes = next((l, s) for share, l, s in CURRICULUM if done < share)
        pick = rng.randrange(len(lengths))
        clean = 1.0 if done < 0.1 else 0.5
        queue.put((lengths[pick], data.batch(corpus, rng, lengths[pick], sizes[pick], clean, args.english)))


@torch.no_grad()
def orthogonal(g):
    """Newton-Schulz iteration of Muon (Jordan et al. 2024), batched over equal shapes."""
    x = g.bfloat16()
    flip = x.shape[-2] > x.shape[-1]
    if flip: x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if flip else x).float()


class Muon:
    def __init__(self, params, momentum=0.95):
        self.momentum, self.groups = momentum, {}
        for p in params: self.groups.setdefault(tuple(p.shape), []).append(p)
        self.state = {shape: torch.zeros(len(ps), *shape) for shape, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, lr):
        for shape, params in self.groups.items():
            g = torch.stack([p.grad for p in params])
            m = self.state[shape].lerp_(g, 1 - self.momentum)
            update = orthogonal(g.lerp(m, self.momentum)) * (0.2 * math.sqrt(max(shape)))
            for p, u in zip(params, update): p.mul_(1 - lr * 0.05).add_(u, alpha=-lr)


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--wav", required=True)
    args.add_argument("--out", type=pathlib.Path, required=True)
    args.add_argument("--minutes", type=float, default=120)
    args.add_argument("--english", type=float, default=0.5)
    args.add_argument("--lr", type=float, default=2e-3)
    args.add_argument("--cooldown", type=float, default=0.35, help="last share of the run, in which the rate falls to zero")
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    model = Whisper(CONFIG, len(IDS), len(CTC))
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and ".layers." in n]
    others = [p for n, p in model.named_parameters() if p.requires_grad and not (p.ndim == 2 and ".layers." in n)]
    muon, adam = Muon(matrices), torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0)
    step, spent, heard = 0, 0.0, 0.0
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(saved["model"]); adam.load_state_dict(saved["adam"]); muon.state = saved["muon"]
        step, spent, heard = saved["step"], saved["spent"], saved["heard"]
    print(sum(p.numel() for p in model.parameters()) / 1e6, "M parameters, from step", step, flush=True)
    queue, progress = mp.Queue(6), mp.Value("d", spent / 60 / args.minutes)
    mp.Process(target=produce, args=(queue, progress, args, 1000 + step), daemon=True).start()
    tick = time.time()
    means = torch.zeros(3)
    while spent < args.minutes * 60:
        seconds, (mel, tokens, target, labels, lengths) = queue.get()
        done = spent / 60 / args.minutes
        lr = args.lr * min(1, (step + 1) / 150) * min(1, (1 - done) / args.cooldown)
        ctc_share = 0.7 if done < 0.25 else 0.4 if done < 0.6 else 0.25
        with torch.autocast("cpu", torch.bfloat16):
            encoded = model.encoder(mel)
            logits = model.decoder(tokens, encoded)
            frames = model.ctc(encoded)
        ce = F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), ignore_index=-100, label_smoothing=0.05)
        steps = torch.full((len(mel),), frames.shape[1])
        ctc = F.ctc_loss(frames.float().log_softmax(-1).transpose(0, 1), labels, steps, lengths, zero_infinity=True)
        (ctc_share * ctc + (1 - ctc_share) * ce).backward()
        norm = torch.nn.utils.clip_grad_norm_(others, 1.0)
        for group in adam.param_groups: group["lr"] = lr
        adam.step(); muon.step(lr)
        for p in model.parameters(): p.grad = None
        step += 1
        heard += len(mel) * seconds / 3600
        spent += time.time() - tick
        tick = time.time()
        progress.value = spent / 60 / args.minutes
        means += torch.tensor([ctc.item(), ce.item(), 1.0])
        if step % 50 == 0:
            right = (logits.argmax(-1) == target)[target != -100].float().mean().item()
            print(f"{spent / 60:.1f} min step {step} heard {heard:.1f} h ctc {means[0] / means[2]:.3f} ce {means[1] / means[2]:.3f} right {right:.3f} lr {lr:.1e} queue {queue.qsize()}", flush=True)
            means.zero_()
        if step % 250 == 0 or spent >= args.minutes * 60:
            torch.save(dict(model=model.state_dict(), adam=adam.state_dict(), muon=muon.state, step=step, spent=spent, heard=heard), args.out / "new.pt")
            (args.out / "new.pt").rename(checkpoint)


if __name__ == "__main__":
    main()
