"""What is measured, the most telling first: each experiment yields calls that measure."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from benchmarks.gpu_kernel.calls import (
    DEVICE,
    DTYPE,
    ON_GPU,
    Measurement,
    Shape,
    Take,
    median_ms,
    no_bias,
    of_variant,
    time_kernel,
    time_server_batch,
    time_split_kernel,
    with_words,
)

LENGTHS = (4096, 16384, 65536) if ON_GPU else (128,)
PREDICTIONS = {
    (32, 128, 1.0, 1.0): (0.70, 0.25, 0.07),
    (8, 64, 1.0, 1.0): (1.05, 0.22, 0.06),
    (32, 64, 0.125, 1.0): (0.81, 0.52, 0.25),
    (32, 128, 1.0, 4.0): (1.13, 0.75, 0.40),
}
"""Heads, head_dim, slope scale and logit scale: at 4096, 16384 and 65536 keys."""
FLEX = "flex" if ON_GPU else "sdpa_mask"  # flex compiles for long, and has no gradients, on a CPU
CACHES = (
    (
        Shape(32, 128, 65536, queries=1, kv_heads=8),
        Shape(32, 128, 16384, queries=1, kv_heads=8, batch=16),
        Shape(8, 64, 65536, queries=1),
        Shape(32, 128, 4096, queries=16),
    )
    if ON_GPU
    else (Shape(4, 16, 600, queries=1, kv_heads=2),)
)
SERVER_BATCH = (
    (Shape(32, 128, 8192, kv_heads=8, batch=32), 512)
    if ON_GPU
    else (Shape(4, 16, 130, kv_heads=2, batch=2), 20)
)
FEW_PROGRAMS = (
    (Shape(8, 64, 4096), Shape(8, 128, 4096), Shape(8, 128, 65536, queries=512))
    if ON_GPU
    else (Shape(2, 16, 600, queries=64),)
)


def limits() -> Iterator[Take]:
    """What the chip does at most: a product of matrices, and a copy."""
    size = 8192 if ON_GPU else 64
    a = torch.randn(size, size, device=DEVICE).to(DTYPE)
    yield partial(_limit, f"{size}^3", "matrix product", lambda: a @ a)
    yield partial(_limit, f"{a.numel() * 2} bytes", "copy", a.clone)


def _limit(size: str, name: str, call: Callable[[], object]) -> Measurement:
    return Measurement("", size, name, median_ms(call))


def price_of_a_tile() -> Iterator[Take]:
    """All tiles forced, by slopes of 0: what a tile costs beside those of others."""
    for heads, dim in ((8, 64), (32, 128)) if ON_GPU else ((2, 64),):
        shape = Shape(heads, dim, LENGTHS[0], slope_scale=0.0)
        yield partial(time_kernel, shape)
        yield from _baselines(shape)
        yield partial(of_variant, FLEX, shape)


def with_skipping() -> Iterator[Take]:
    """The figures that count, with their predictions."""
    for (heads, dim, slope_scale, logit_scale), ratios in PREDICTIONS.items():
        for length, ratio in zip(LENGTHS, ratios, strict=False):
            shape = Shape(heads if ON_GPU else 2, dim, length, slope_scale, logit_scale)
            yield partial(with_words, partial(time_kernel, shape), predicted_over_no_bias=ratio)
            yield from _baselines(shape)


def gradients() -> Iterator[Take]:
    """Forward and backward together."""
    for heads, dim in ((8, 64), (32, 128)) if ON_GPU else ((2, 16),):
        for length in (1024, 4096, 16384) if ON_GPU else LENGTHS:
            shape = Shape(heads, dim, length)
            yield partial(time_kernel, shape, backward=True)
            yield partial(of_variant, FLEX, shape, backward=True)
            yield from _baselines(shape, backward=True)


def decode() -> Iterator[Take]:
    """A step of a long cache, its keys split and not, with norms beside the cache and without.

    Then the steps of a server's packed batch, beside a chunk of a prompt.
    """
    for shape in CACHES:
        yield partial(time_split_kernel, shape)
        yield partial(time_split_kernel, shape, has_norms=False)
        yield partial(time_split_kernel, shape, splits=1)
        yield partial(time_split_kernel, shape, splits=1, has_norms=False)
        if shape.queries == 1:
            yield from _baselines(shape)
        yield partial(of_variant, FLEX, shape)
    for is_split in (True, False):
        yield partial(time_server_batch, *SERVER_BATCH, is_split=is_split)


def few_programs() -> Iterator[Take]:
    """Prefills that one wave of programs would wait for: gentle heads' keys split and not."""
    for shape in FEW_PROGRAMS:
        yield partial(time_kernel, shape)
        for splits in (0, 2, 4, 8) if ON_GPU else (0, 2):
            yield partial(time_split_kernel, shape, splits=splits, has_norms=False)
        if not shape.queries:
            yield from _baselines(shape)


def _baselines(shape: Shape, *, backward: bool = False) -> Iterator[Take]:
    backends = (
        (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION) if ON_GPU else (SDPBackend.MATH,)
    )
    for backend in backends:
        yield partial(no_bias, backend, shape, backward=backward)


def orders_of_heads() -> Iterator[Take]:
    """Gentle heads first, steep heads first, and gentle ones between steep ones."""
    orders: dict[str, Callable[[Tensor], Tensor]] = {
        "gentle first": lambda slopes: slopes.argsort().int(),
        "steep first": lambda slopes: slopes.argsort(descending=True).int(),
        "mixed": lambda slopes: torch.randperm(len(slopes), device=slopes.device).int(),
    }
    for length in LENGTHS[:2]:
        for name, order in orders.items():
            shape = Shape(32 if ON_GPU else 2, 128, length)
            yield partial(with_words, partial(_in_order, order, shape), note=name)


def _in_order(order: Callable[[Tensor], Tensor], shape: Shape) -> Measurement:
    with mock.patch("variants.triton.launch.order_of_heads", order):
        return time_kernel(shape)


def forms_of_the_loop() -> Iterator[Take]:
    """All tiles forced: loaded by TMA and by pointers, with the maximum fixed and running."""
    for heads, dim in ((8, 64), (32, 128)) if ON_GPU else ((2, 64),):
        shape = Shape(heads, dim, LENGTHS[0], slope_scale=0.0)
        for tma in (True, False):
            for is_fixed in (True, False):
                note = (
                    f"{'TMA' if tma else 'pointers'}, {'fixed' if is_fixed else 'running'} maximum"
                )
                yield partial(with_words, partial(_in_form, shape, tma, is_fixed), note=note)


def _in_form(shape: Shape, tma: bool, is_fixed: bool) -> Measurement:
    if is_fixed:
        return time_kernel(shape, tma=tma)
    with mock.patch("variants.triton.launch.log2_limit", return_value=-math.inf):
        return time_kernel(shape, tma=tma)


def search_for_tiles(ends_at: float) -> Iterator[Take]:
    """The tiles that are fastest on this chip, among those near the fixed ones."""
    from benchmarks.gpu_kernel.tile_search import tile_search

    return tile_search(ends_at)


def experiments(ends_at: float) -> dict[str, Callable[[], Iterator[Take]]]:
    """Return all by name, in their order; the search for tiles takes what is left of the time."""
    return {
        "limits": limits,
        "price of a tile": price_of_a_tile,
        "with skipping": with_skipping,
        "forward and backward": gradients,
        "decode": decode,
        "few programs": few_programs,
        "order of heads": orders_of_heads,
        "forms of the loop": forms_of_the_loop,
        "search for tiles": partial(search_for_tiles, ends_at),
    }
