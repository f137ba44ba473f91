"""Muon (Jordan et al. 2024) for the matrices and filters, AdamW for the rest, under one rate."""
import math

import torch


def orthogonal(g):
    x = g.bfloat16()
    flip = x.shape[0] > x.shape[1]
    x = x.mT if flip else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if flip else x).float()


class Optimiser:
    """`matrices` are flattened to two dimensions; `rest` goes to AdamW."""

    def __init__(self, matrices, rest, decay=0.05, momentum=0.95):
        self.matrices, self.momentum, self.decay = list(matrices), momentum, decay
        self.state = [torch.zeros_like(p) for p in self.matrices]
        self.adam = torch.optim.AdamW(rest, weight_decay=decay)

    @torch.no_grad()
    def step(self, rate):
        for p, m in zip(self.matrices, self.state):
            m.lerp_(p.grad, 1 - self.momentum)
            g = p.grad.lerp(m, self.momentum).flatten(1)
            u = orthogonal(g).view_as(p) * (0.2 * math.sqrt(max(g.shape)))
            p.mul_(1 - rate * self.decay).sub_(rate * u)
        for g in self.adam.param_groups:
            g["lr"] = rate
        self.adam.step()
        for p in self.matrices:
            p.grad = None
        self.adam.zero_grad()
