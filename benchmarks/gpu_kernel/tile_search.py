"""The bounded search for tiles on this chip, whose answers launches read from its file."""

import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from triton.errors import TritonError

from benchmarks.gpu_kernel.calls import DEVICE, DTYPE, ON_GPU, Measurement, Shape, Take, median_ms
from variants.batches.cache_norms import cache_norms
from variants.triton.chip import capability
from variants.triton.launch import attend
from variants.triton.launch_gradients import gradients
from variants.triton.launch_split import attend_split, plan_for
from variants.triton.tiles import Tiles, TileTable, tiles_for
from variants.triton.tuning.search import search
from variants.triton.tuning.table_file import TunedTable, name_of, write

PARTS = ("forward", "decode", "key_gradients", "query_gradients")
HEAD_DIMS = (128, 64) if ON_GPU else (16,)
SHAPES = {
    "forward": Shape(32 if ON_GPU else 2, 0, 16384 if ON_GPU else 128),
    "decode": Shape(32 if ON_GPU else 2, 0, 65536 if ON_GPU else 128, queries=1),
    "key_gradients": Shape(16 if ON_GPU else 1, 0, 8192 if ON_GPU else 64),
    "query_gradients": Shape(16 if ON_GPU else 1, 0, 8192 if ON_GPU else 64),
}
FARTHEST = 0.02  # of an output from that of the fixed tiles, by norms
WORKERS = len(os.sched_getaffinity(0)) if ON_GPU else 1  # the interpreter runs one call at a time


def tile_search(ends_at: float) -> Iterator[Take]:
    """Search for each part of each table in an equal share of the time that is left."""
    left = [(head_dim, part) for head_dim in HEAD_DIMS for part in PARTS]
    tables = {dim: tiles_for(capability(DEVICE), dim, DTYPE) for dim in HEAD_DIMS}
    for place, (head_dim, part) in enumerate(left):
        yield partial(_search, tables, head_dim, part, ends_at, len(left) - place)
    yield partial(_write_tables, tables)


def _search(
    tables: dict[int, TileTable], head_dim: int, part: str, ends_at: float, left: int
) -> Measurement:
    """Put the part's tiles that were found into the table of its head_dim."""
    now = time.monotonic()
    fixed: Tiles = getattr(tables[head_dim], part)
    shape = SHAPES[part]._replace(head_dim=head_dim)
    call = CALLS[part](shape, tables[head_dim])
    found = search(
        fixed,
        _compiler(call),
        _timer(call, call(fixed)),
        workers=WORKERS,
        ends_at=now + (ends_at - now) / left,
    )
    tables[head_dim] = tables[head_dim]._replace(**{part: found.tiles})
    note = f"{part}: {tuple(found.tiles)}, fixed {tuple(fixed)} {found.fixed_ms:.3f} ms, "
    note += f"{found.timed} timed"
    return Measurement("", shape.name, "triton_window", found.time_ms, note=note)


def _compiler(call: Callable[[Tiles], Tensor]) -> Callable[[Tiles], bool]:
    """Return what compiles a call, by making it; false for tiles that don't fit."""

    def compiles(tiles: Tiles) -> bool:
        try:
            call(tiles)
        except TritonError:
            return False
        return True

    return compiles


def _timer(call: Callable[[Tiles], Tensor], answer: Tensor) -> Callable[[Tiles], float]:
    """Return what times a call; tiles that answer something else take forever."""

    def time_ms(tiles: Tiles) -> float:
        off = (call(tiles).double() - answer.double()).norm() / answer.double().norm()
        return median_ms(lambda: call(tiles)) if float(off) < FARTHEST else math.inf

    return time_ms


def _write_tables(tables: dict[int, TileTable]) -> Measurement:
    if not ON_GPU:
        return Measurement("", "", "no file", note="an interpreter's times choose no tiles")
    found = (TunedTable(dim, name_of(DTYPE), table) for dim, table in tables.items())
    path = write(torch.cuda.get_device_name(DEVICE), tuple(found))
    return Measurement("", "", "file of tiles", note=str(path))


def _forward(shape: Shape, _: TileTable) -> Callable[[Tiles], Tensor]:
    inputs = (*shape.tensors(), shape.head_dim**-0.5)
    return lambda tiles: attend(*inputs, causal=True, tiles=tiles).out


def _decode(shape: Shape, fixed: TileTable) -> Callable[[Tiles], Tensor]:
    q, k, v, slopes = shape.tensors()
    norms = cache_norms(k, v)

    def call(tiles: Tiles) -> Tensor:
        plan = plan_for(q, k, table=fixed._replace(decode=tiles))
        return attend_split(q, k, v, slopes, shape.head_dim**-0.5, norms=norms, plan=plan).out

    return call


def _gradients(part: str, shape: Shape, fixed: TileTable) -> Callable[[Tiles], Tensor]:
    inputs = (*shape.tensors(), shape.head_dim**-0.5)
    done = attend(*inputs, causal=True)
    given = (done.out, None, *inputs[:4], done.out, done.log_sum_exp, inputs[4])

    def call(tiles: Tiles) -> Tensor:
        table = fixed._replace(**{part: tiles})
        found = gradients(*given, causal=True, tiles=table)
        return found.d_k if part == "key_gradients" else found.d_q

    return call


CALLS: dict[str, Callable[[Shape, TileTable], Callable[[Tiles], Tensor]]] = {
    "forward": _forward,
    "decode": _decode,
    "key_gradients": partial(_gradients, "key_gradients"),
    "query_gradients": partial(_gradients, "query_gradients"),
}
