"""Launches whose keys are split among programs, and the rule that says into how many parts."""

from typing import NamedTuple

import torch
from torch import Tensor

from variants.triton.chip import processors
from variants.triton.kernel.combine import combine_kernel
from variants.triton.kernel.split import split_kernel
from variants.triton.launch import (
    LaunchResult,
    attend,
    block_norms,
    constants,
    log2_share,
    room_for_answer,
    stride_of_slopes,
    strides_of,
    with_whole_rows,
)
from variants.triton.sequences import is_packed, split_by_queries
from variants.triton.tiles import Tiles, TileTable, padded_width
from variants.triton.tuning.table_file import table_for

FEW_QUERIES = 16  # up to so many are steps of decode, whose heads share a read of their keys
PROGRAMS_PER_PROCESSOR = 4  # heads need very different shares of their keys, so some end at once
LEAST_KEYS = 256  # that are worth a part of their own
MOST_SPLITS = 32  # one program adds their parts up


class SplitPlan(NamedTuple):
    """How a launch shares its work.

    A program has `tiles.rows` rows of `heads_together` heads that share keys, and one of `splits`
    parts of these keys.
    """

    heads_together: int
    tiles: Tiles
    splits: int


def is_split(q: Tensor, k: Tensor, runs: Tensor | None, *, causal: bool) -> bool:
    """Return whether the keys of a call are split: in decode, and where programs are few."""
    if not causal:
        return False
    if q.shape[2] <= FEW_QUERIES:
        return True
    return not is_packed(q, runs) and plan_for(q, k, runs).splits > 1


def is_mixed(q: Tensor, k: Tensor, runs: Tensor | None, *, causal: bool) -> bool:
    """Return whether a packed batch may hold steps of decode: it has more keys than queries.

    How many queries each sequence has is on the device, which is not waited for.
    """
    return causal and is_packed(q, runs) and k.shape[2] > q.shape[2]


def splits_for(programs: int, chip_processors: int, keys: int) -> int:
    """Return into how many parts the keys of each program are split; `keys` are those in memory.

    All parts together are up to PROGRAMS_PER_PROCESSOR for each processor of the chip.
    """
    wanted = PROGRAMS_PER_PROCESSOR * chip_processors // programs
    return max(1, min(wanted, keys // LEAST_KEYS, MOST_SPLITS))


def plan_for(
    q: Tensor, k: Tensor, runs: Tensor | None = None, *, table: TileTable | None = None
) -> SplitPlan:
    """Return the plan of a call of `attend_split`.

    Most steps of a packed batch have one query: a block of rows has room for that of each head.
    """
    table = table or table_for(q.device, q.shape[3], q.dtype)
    heads, kv_heads = q.shape[1], k.shape[1]
    sequences, most_queries = _sequences(q, runs)
    usual_queries = 1 if is_packed(q, runs) else most_queries
    is_step = most_queries <= FEW_QUERIES
    together = heads // kv_heads if is_step else 1
    tiles = table.decode if is_step else table.forward
    tiles = tiles._replace(rows=min(tiles.rows, padded_width(together * usual_queries)))
    programs = _programs(sequences, heads, usual_queries, together, tiles)
    keys = k.shape[0] * k.shape[2] // sequences
    return SplitPlan(together, tiles, splits_for(programs, processors(q.device), keys))


def attend_split(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    scale: float,
    *,
    runs: Tensor | None = None,
    norms: Tensor | None = None,
    plan: SplitPlan | None = None,
    answer: tuple[Tensor, Tensor] | None = None,
) -> LaunchResult:
    """Return the causal attention of q to k and v, as variants.triton.launch.attend does.

    In a packed batch each sequence has up to FEW_QUERIES queries. Where a call has no more in all,
    and no norms, they see all keys: to make norms would read them all as well. Rows are written
    into `answer`, an output and its log-sum-exp, where it is given.
    `visited` is [sequences, heads / heads_together, blocks of rows, 2] int32: the tiles that all
    splits visited before the tiles of the block's own positions, and those visited after them.
    """
    q, k, v = (with_whole_rows(part) for part in (q, k, v))
    slopes = slopes.contiguous()
    if norms is None and q.shape[2] > FEW_QUERIES:
        norms = block_norms(k, v)
    together, tiles, splits = plan or plan_for(q, k, runs)
    heads, q_len, head_dim = q.shape[1:]
    sequences, most_queries = _sequences(q, runs)
    programs = _programs(sequences, heads, most_queries, together, tiles)
    parts = (programs, 1 + splits, tiles.rows)
    accs = q.new_empty(*parts, padded_width(head_dim), dtype=torch.float32)
    totals, tops = (q.new_empty(parts, dtype=torch.float32) for _ in range(2))
    needed = q.new_empty(programs, dtype=torch.int32)
    visited = q.new_zeros(programs, 2, dtype=torch.int32)
    out, log_sum_exp = answer or room_for_answer(q, runs)
    sums = (accs, totals, tops, needed)
    given = (
        slopes,
        slopes if norms is None else norms.contiguous(),
        needed if runs is None else runs.int().contiguous(),
    )
    numbers = (
        *(stride_of_slopes(slopes), scale, log2_share(q.dtype, causal=True)),
        *(heads, k.shape[1], most_queries, k.shape[2], 0 if norms is None else norms.shape[3]),
    )
    compiled_for = constants(q, tiles) | {
        "TOGETHER": together,
        "NORMS": norms is not None,
        "RAGGED": runs is not None,
    }
    split_kernel[(programs, splits)](
        *(q, k, v, *given, *sums, *strides_of(q, k, v), *numbers), **compiled_for
    )
    del compiled_for["STAGES"]  # few tiles are left by then
    combine_kernel[(programs,)](
        *(q, k, v, out, log_sum_exp, *given, *sums, visited),
        *(*strides_of(q, k, v, out), *numbers, splits, q_len),
        **compiled_for,
    )
    blocks = programs // (sequences * (heads // together))
    return LaunchResult(out, log_sum_exp, visited.view(sequences, heads // together, blocks, 2))


def attend_mixed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    scale: float,
    *,
    runs: Tensor,
    norms: Tensor | None = None,
    plan: SplitPlan | None = None,
) -> LaunchResult:
    """Return the causal attention of a packed batch, in which steps have their keys split.

    Steps are the sequences of up to FEW_QUERIES queries. The others are left to
    variants.triton.launch.attend. `visited` is that of the steps, as of `attend_split`.
    """
    norms = block_norms(k, v) if norms is None else norms
    steps, others = split_by_queries(runs, FEW_QUERIES)
    done = attend(q, k, v, slopes, scale, causal=True, runs=others, norms=norms)
    answer = (done.out, done.log_sum_exp)
    return attend_split(q, k, v, slopes, scale, runs=steps, norms=norms, plan=plan, answer=answer)


def _sequences(q: Tensor, runs: Tensor | None) -> tuple[int, int]:
    """Return how many sequences there are, and how many queries one has at most."""
    if runs is not None and is_packed(q, runs):
        return len(runs), min(q.shape[2], FEW_QUERIES)
    return q.shape[0], q.shape[2]


def _programs(sequences: int, heads: int, queries: int, together: int, tiles: Tiles) -> int:
    """Return how many programs there are, of one part each."""
    return sequences * (heads // together) * -(-together * queries // tiles.rows)
