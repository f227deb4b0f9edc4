"""How the work of a batch is shared among programs: a block of one sequence each."""

from typing import NamedTuple

import torch
from torch import Tensor

NO_RUN = -1


class Programs(NamedTuple):
    """How many programs a head has, and what each does in a ragged batch.

    `runs` are [runs, 6] int32, lines of variants.batches.runs.FIELDS. `work` is [slots, 2] int32: a
    program's run, or NO_RUN, and which of its blocks is the program's. Dense, both are empty.
    """

    slots: int
    runs: Tensor
    work: Tensor


def runs_of_lengths(seq_lens: tuple[int, ...], device: torch.device, *, packed: bool) -> Tensor:
    """Return the runs of sequences that attend to themselves: int32 [sequences, 6].

    They lie one after another in a batch of 1, or each at the begin of a batch entry.
    """
    lengths = torch.tensor(seq_lens)
    none, entries = torch.zeros_like(lengths), torch.arange(len(lengths))
    first = lengths.cumsum(dim=0) - lengths if packed else none
    batch = none if packed else entries
    return torch.stack([batch, first, lengths, first, lengths, none], dim=1).int().to(device)


def dense_programs(tokens: Tensor, size: int) -> Programs:
    """Return those of a dense batch; tokens are [batch, heads, length, head_dim]."""
    nothing = torch.zeros(1, dtype=torch.int32, device=tokens.device)
    return Programs(tokens.shape[0] * -(-tokens.shape[2] // size), nothing, nothing)


def ragged_programs(runs: Tensor, tokens: Tensor, size: int, *, of_keys: bool) -> Programs:
    """Return those of a ragged batch, as many as its runs may need: the device is not waited for.

    Each run has at most one block that is not full. Blocks of queries come from the last of a run
    to its first, which sees fewer keys.
    """
    lengths = runs[:, 4 if of_keys else 2].long().clamp(min=0)
    blocks = (lengths + size - 1).div(size, rounding_mode="floor")
    ends = blocks.cumsum(dim=0)
    slots = tokens.shape[0] * tokens.shape[2] // size + len(runs)
    slot = torch.arange(slots, device=tokens.device)
    run = torch.searchsorted(ends, slot, right=True)
    is_real = run < len(runs)
    run = run.clamp(max=len(runs) - 1)
    block = ends[run] - 1 - slot
    if of_keys:
        block = blocks[run] - 1 - block
    work = torch.stack([run.where(is_real, NO_RUN), block], dim=1).int()
    return Programs(slots, runs.int().contiguous(), work.contiguous())
