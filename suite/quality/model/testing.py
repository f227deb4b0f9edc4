"""A test at a length: bits per byte of held-out windows, cut up, and of the same last targets.

Two measures, because the first alone misleads. Cut into windows of a length, text has fewer tokens
with little before them the longer the windows are, so bits fall even where a model has no use for
more context. The second measure has the same targets at every length, with more before them.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from suite.quality.methods import Positions
from suite.quality.model.decoder import Decoder
from suite.quality.text.corpus import Corpus

TOKENS_AT_ONCE = 4096
NATS_PER_BIT = 0.6931471805599453


class WindowBits(NamedTuple):
    """Bits per byte of each held-out window by both measures, and the CPU time in seconds.

    The mean of all windows is weighted by their bytes, `window_bytes` and `target_bytes`.
    """

    by_windows: tuple[float, ...]
    on_same_targets: tuple[float, ...]
    window_bytes: tuple[int, ...]
    target_bytes: tuple[int, ...]
    cpu_s: float


@torch.no_grad()
def bits_at(model: Decoder, positions: Positions, corpus: Corpus, length: int) -> WindowBits:
    """Return the bits of a model in bfloat16 in windows of `length`, which divides the longest."""
    began = time.process_time()
    device = model.embedding.weight.device
    windows = torch.from_numpy(corpus.windows).long().to(device)
    piece_bytes = torch.from_numpy(corpus.piece_bytes).to(device)
    inputs, targets = windows[:, :-1], windows[:, 1:]
    longest = inputs.shape[1]
    cut = _nats(model, positions, inputs.reshape(-1, length), targets.reshape(-1, length))
    nats = cut.view(len(windows), longest)
    last = min(positions.trained_len, longest)
    if length == longest:
        same = nats[:, -last:]
    else:
        pieces = _pieces(longest, length, last)
        same = torch.cat(
            [
                _nats(model, positions, inputs[:, end - length : end], targets[:, start:end])
                for start, end in pieces
            ],
            dim=1,
        )
    return WindowBits(
        *_bits(nats, piece_bytes[targets], same, piece_bytes[targets[:, -last:]]),
        time.process_time() - began,
    )


def _pieces(longest: int, length: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of pieces of the last targets.

    A piece is at most a quarter of the length, so that each target has over 3/4 of it before it.
    """
    step = min(last, max(1, length // 4))
    for start in range(longest - last, longest, step):
        yield start, min(start + step, longest)


def _nats(model: Decoder, positions: Positions, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each target, the last of each row of inputs: [rows, targets] float64."""
    at_once = max(1, TOKENS_AT_ONCE // inputs.shape[1])
    losses = []
    for rows, wanted in zip(inputs.split(at_once), targets.split(at_once), strict=True):
        hidden = model(rows, positions)[:, -wanted.shape[1] :]
        logits = model.head(hidden).float()
        loss = cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
        losses.append(loss.view(wanted.shape).double())
    return torch.cat(losses)


def _bits(
    nats: Tensor, nats_bytes: Tensor, same: Tensor, same_bytes: Tensor
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...], tuple[int, ...]]:
    """Return bits per byte of each window by both measures, and the bytes of each."""
    of_windows, of_targets = nats_bytes.sum(1), same_bytes.sum(1)
    return (
        tuple((nats.sum(1) / of_windows / NATS_PER_BIT).tolist()),
        tuple((same.sum(1) / of_targets / NATS_PER_BIT).tolist()),
        tuple(of_windows.tolist()),
        tuple(of_targets.tolist()),
    )
