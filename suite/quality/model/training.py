"""Training: steps of AdamW on random windows, in bfloat16 with float32 weights behind.

The rate rises linearly for a twentieth of the steps, then falls linearly to a twentieth of that.
"""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from suite.quality.design import Design
from suite.quality.methods import PositionMethod, Positions
from suite.quality.model.decoder import Decoder
from suite.quality.text.corpus import Corpus

BETAS, WEIGHT_DECAY, MOST_NORM = (0.9, 0.95), 0.1, 1.0
WARM_UP_SHARE, LAST_RATE_SHARE = 20, 0.05
REPORTED_STEPS = 20
BIAS_RATE_FACTOR = 10.0
"""How much faster T5's biases learn. A step of Adam moves a number by its rate at most; 500 steps
at the usual rate move a bias by less than 0.8, where ALiBi's reach 64.
"""

StepListener = Callable[[int, float], None]
"""Hears of the steps that are done, and of the mean loss of the last ones in nats a token."""


class TrainedModel(NamedTuple):
    """A model in bfloat16, the loss of each step in nats a token, and the CPU time in seconds."""

    model: Decoder
    losses: list[float]
    cpu_s: float


class Steps(NamedTuple):
    """What a training goes through: `steps` of `batch` windows of `length`, and the peak rate."""

    steps: int
    batch: int
    length: int
    peak_rate: float


def steps_of(design: Design) -> Steps:
    """Return the steps of a design's training."""
    return Steps(design.steps, design.batch, design.trained_len, design.peak_rate)


def tuning_steps_of(design: Design) -> Steps:
    """Return the steps of tuning: as many tokens a step, longer windows, a tenth of the rate."""
    batch = max(1, design.batch * design.trained_len // design.tuned_len)
    return Steps(design.tuning_steps, batch, design.tuned_len, design.peak_rate / 10)


def new_model(method: PositionMethod, design: Design, vocabulary: int, seed: int) -> Decoder:
    """Return an untrained model in float32, drawn from `seed`."""
    torch.manual_seed(seed)
    return Decoder(method, vocabulary, design.size)


def train(
    model: Decoder,
    positions: Positions,
    corpus: Corpus,
    steps: Steps,
    seed: int,
    device: torch.device,
    report: StepListener,
) -> TrainedModel:
    """Train a model, which is float32 or bfloat16 and stays as it is; return the trained one.

    Windows are drawn from `seed`, the same ones for every method.
    """
    began = time.process_time()
    wide = deepcopy(model).to(device, torch.float32)
    narrow = deepcopy(wide).to(torch.bfloat16).train()
    optimizer = _optimizer(wide, steps.peak_rate)
    tokens = torch.from_numpy(corpus.tokens).to(device)
    draws = torch.Generator().manual_seed(1000 + seed)
    losses: list[float] = []
    for step in range(steps.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps) * group["rate_factor"]
        rows = _windows(tokens, steps, draws)
        losses.append(_learn(narrow, wide, optimizer, rows, positions))
        if (step + 1) % REPORTED_STEPS == 0 or step + 1 == steps.steps:
            last = losses[-REPORTED_STEPS:]
            report(step + 1, math.fsum(last) / len(last))
    return TrainedModel(narrow.eval(), losses, time.process_time() - began)


def rate_at(step: int, steps: Steps) -> float:
    """Return the learning rate of a step, the first of which is 0."""
    warm_up = max(1, steps.steps // WARM_UP_SHARE)
    if step < warm_up:
        return steps.peak_rate * (step + 1) / warm_up
    fallen = (step - warm_up) / max(1, steps.steps - warm_up)
    return steps.peak_rate * (1 - (1 - LAST_RATE_SHARE) * fallen)


def _optimizer(wide: Decoder, peak_rate: float) -> torch.optim.AdamW:
    """Return AdamW, which lets matrices decay and leaves norms and T5's biases alone."""
    biases = [] if wide.table is None else [wide.table]
    matrices = [each for each in wide.parameters() if each.dim() == 2 and each is not wide.table]
    norms = [each for each in wide.parameters() if each.dim() != 2]
    groups = [
        {"params": matrices, "weight_decay": WEIGHT_DECAY, "rate_factor": 1.0},
        {"params": norms, "weight_decay": 0.0, "rate_factor": 1.0},
        {"params": biases, "weight_decay": 0.0, "rate_factor": BIAS_RATE_FACTOR},
    ]
    return torch.optim.AdamW(groups, lr=peak_rate, betas=BETAS, fused=True)


def _windows(tokens: Tensor, steps: Steps, draws: torch.Generator) -> Tensor:
    """Return a batch of random windows: [batch, length + 1] int64."""
    starts = torch.randint(len(tokens) - steps.length - 1, (steps.batch, 1), generator=draws)
    places = starts + torch.arange(steps.length + 1)
    return tokens[places.to(tokens.device)].long()


def _learn(
    narrow: Decoder,
    wide: Decoder,
    optimizer: torch.optim.Optimizer,
    rows: Tensor,
    positions: Positions,
) -> float:
    """Do a step: gradients of the bfloat16 model move the float32 weights; return the loss."""
    logits = narrow.head(narrow(rows[:, :-1], positions))
    loss = cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    loss.backward()
    wide_weights: list[Tensor] = list(wide.parameters())
    narrow_weights: list[Tensor] = list(narrow.parameters())
    for master, weight in zip(wide_weights, narrow_weights, strict=True):
        master.grad = None if weight.grad is None else weight.grad.float()
        weight.grad = None
    torch.nn.utils.clip_grad_norm_(wide_weights, MOST_NORM)
    optimizer.step()
    with torch.no_grad():
        torch._foreach_copy_(narrow_weights, wide_weights)
    return loss.item()
