"""How the work of a batch is shared among programs: a block of one sequence each."""

from typing import NamedTuple

import torch
from torch import Tensor

from variants.problem import Spec

NO_RUN = -1


class Programs(NamedTuple):
    """How many programs a head has, and what each does in a ragged batch.

    `runs` are [runs, 6] int32, lines of variants.batches.runs.FIELDS. `work` is [slots, 2] int32: a
    program's run, or NO_RUN, and which of its blocks is the program's. Dense, both are empty.
    """

    slots: int
    runs: Tensor
    work: Tensor


def runs_of_lengths(spec: Spec) -> Tensor | None:
    """Return the runs of a spec's sequences, int32 [sequences, 6]; None if all are equally long.

    They lie one after another in a batch of 1, or each at the begin of a batch entry. Queries are
    the last of a sequence's keys.
    """
    if not spec.seq_lens:
        return None
    keys = torch.tensor(spec.seq_lens)
    queries = torch.tensor(spec.q_lens) if spec.q_lens else keys
    batch = first_query = first_key = torch.zeros_like(keys)
    if spec.packed:
        first_query, first_key = (part.cumsum(dim=0) - part for part in (queries, keys))
    else:
        batch = torch.arange(len(keys))
    lines = torch.stack([batch, first_query, queries, first_key, keys, keys - queries], dim=1)
    return lines.int().to(spec.device)


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


def is_packed(q: Tensor, runs: Tensor | None) -> bool:
    """Return whether a batch's sequences lie one after another in a batch entry."""
    return runs is not None and len(runs) != q.shape[0]


def split_by_queries(runs: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the runs twice: the first have those of up to `most` queries, the second the others.

    Both have a line for each run, without queries where it is among the others. The device is not
    waited for.
    """
    queries = runs[:, 2]
    few, more = runs.clone(), runs.clone()
    few[:, 2] = queries.where(queries <= most, 0)
    more[:, 2] = queries.where(queries > most, 0)
    return few, more
