"""The first ten minutes of triton_window on a GPU, in one command; `make gpu-kernel` runs it.

    python -m benchmarks.gpu_kernel --minutes 9 --out results/gpu-kernel
    TRITON_INTERPRET=1 python -m benchmarks.gpu_kernel --out /tmp/x    # at toy size, no GPU

It writes a folder: agreement.txt, measurements.jsonl (a line as soon as it is measured), summary.md
and, where compute-sanitizer is found, sanitizer.txt. What no time is left for is a line that says
so. Times are medians of triton.testing.do_bench, which clears the L2 cache before each call.
Predictions are those of a cost model that was made without a GPU: times over bias-free SDPA.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from variants.problem import alibi_slopes

ROOT = Path(__file__).parents[1]
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
DTYPE = torch.bfloat16 if ON_GPU else torch.float16
TESTS_S = 200.0  # agreement and counts, of all
SANITIZER_S = 60.0


class Shape(NamedTuple):
    """A problem: heads, their width, keys, and what multiplies the slopes, and q and k."""

    heads: int
    head_dim: int
    length: int
    slope_scale: float = 1.0
    logit_scale: float = 1.0

    @property
    def name(self) -> str:
        extra = f", slopes x {self.slope_scale:g}" if self.slope_scale != 1 else ""
        extra += f", logit scale {self.logit_scale:g}" if self.logit_scale != 1 else ""
        return f"{self.heads}x{self.head_dim}, {self.length} keys{extra}"

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q, k, v [1, heads, length, head_dim] and the slopes."""
        torch.manual_seed(0)
        size = (1, self.heads, self.length, self.head_dim)
        q, k, v = (torch.randn(size, device=DEVICE).to(DTYPE) for _ in range(3))
        slopes = alibi_slopes(self.heads).to(DEVICE) * self.slope_scale
        return q * self.logit_scale, k * self.logit_scale, v, slopes


class Measurement(NamedTuple):
    """A line of measurements.jsonl; `share` is that of all tiles which were visited."""

    experiment: str
    shape: str
    variant: str
    time_ms: float | None = None
    share: float | None = None
    predicted_over_no_bias: float | None = None
    note: str = ""


Take = Callable[[], Measurement]

LENGTHS = (4096, 16384, 65536) if ON_GPU else (128,)
PREDICTED = {
    (32, 128, 1.0, 1.0): (0.70, 0.25, 0.07),
    (8, 64, 1.0, 1.0): (1.05, 0.22, 0.06),
    (32, 64, 0.125, 1.0): (0.81, 0.52, 0.25),
    (32, 128, 1.0, 4.0): (1.13, 0.75, 0.40),
}
"""Heads, head_dim, slope scale and logit scale: at 4096, 16384 and 65536 keys."""


def median_ms(call: Callable[[], object]) -> float:
    """Return the median time of a call."""
    if ON_GPU:
        from triton.testing import do_bench

        return float(do_bench(call, warmup=20, rep=80, return_mode="median"))
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def no_bias(backend: SDPBackend, shape: Shape, *, backward: bool = False) -> Measurement:
    """Time SDPA without a bias, through one of torch's backends."""
    q, k, v, _ = shape.tensors()
    for part in (q, k, v):
        part.requires_grad_(backward)

    def call() -> object:
        with sdpa_kernel(backend):
            out = scaled_dot_product_attention(q, k, v, is_causal=True)
        return torch.autograd.grad(out, (q, k, v), out.detach()) if backward else out

    name = f"no_bias, {str(backend).rpartition('.')[2].lower()}"
    return Measurement("", shape.name, name, median_ms(call))


def ours(shape: Shape, *, backward: bool = False, **options: Any) -> Measurement:
    """Time the kernel; `options` are those of attend."""
    from variants.triton.gradient_function import How, differentiable_attend
    from variants.triton.launch import attend

    q, k, v, slopes = shape.tensors()
    scale = shape.head_dim**-0.5
    done = attend(q, k, v, slopes, scale, causal=True, **options)
    everything = attend(q, k, v, torch.zeros_like(slopes), scale, causal=True, **options)
    share = _tiles(done.visited) / max(1, _tiles(everything.visited))
    for part in (q, k, v):
        part.requires_grad_(backward)

    def call() -> object:
        if not backward:
            return attend(q, k, v, slopes, scale, causal=True, **options)
        out, _ = differentiable_attend(q, k, v, slopes, How(scale, causal=True))
        return torch.autograd.grad(out, (q, k, v), out.detach())

    return Measurement("", shape.name, "triton_window", median_ms(call), share)


def _tiles(visited: Tensor) -> int:
    return int(visited.sum()) + visited.shape[0] * visited.shape[1]


def of_variant(name: str, shape: Shape) -> Measurement:
    """Time another variant of the catalog, forward; what it declines is a line that says so."""
    from variants.attention import alibi_attention

    q, k, v, slopes = shape.tensors()
    time_ms = median_ms(lambda: alibi_attention(q, k, v, slopes=slopes, variant=name))
    return Measurement("", shape.name, name, time_ms)


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
        yield partial(ours, shape)
        yield from _baselines(shape)
        yield partial(of_variant, "flex" if ON_GPU else "sdpa_mask", shape)


def with_skipping() -> Iterator[Take]:
    """The figures that count, with their predictions."""
    for (heads, dim, slope_scale, logit_scale), ratios in PREDICTED.items():
        for length, ratio in zip(LENGTHS, ratios, strict=False):
            shape = Shape(heads if ON_GPU else 2, dim, length, slope_scale, logit_scale)
            yield partial(_noted, partial(ours, shape), predicted_over_no_bias=ratio)
            yield from _baselines(shape)


def gradients() -> Iterator[Take]:
    """Forward and backward together."""
    for heads, dim in ((8, 64), (32, 128)) if ON_GPU else ((2, 16),):
        for length in (1024, 4096, 16384) if ON_GPU else LENGTHS:
            shape = Shape(heads, dim, length)
            yield partial(ours, shape, backward=True)
            yield from _baselines(shape, backward=True)


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
            yield partial(_noted, partial(_in_order, order, shape), note=name)


def _in_order(order: Callable[[Tensor], Tensor], shape: Shape) -> Measurement:
    with mock.patch("variants.triton.launch.order_of_heads", order):
        return ours(shape)


def _noted(take: Take, **words: Any) -> Measurement:
    """Return a measurement with more words in it."""
    return take()._replace(**words)


def shapes_of_tiles() -> Iterator[Take]:
    """The bounded search: other tiles than the table's, where skipping matters."""
    from variants.triton.tiles import Tiles

    choices = [
        *(Tiles(128, 64, 8, 2), Tiles(128, 64, 8, 3), Tiles(128, 64, 4, 3), Tiles(128, 128, 8, 2)),
        *(Tiles(64, 64, 4, 2), Tiles(64, 64, 4, 3), Tiles(64, 128, 4, 2)),
    ]
    for heads, dim in ((32, 128), (8, 64)) if ON_GPU else ((2, 16),):
        for tiles in choices if ON_GPU else choices[:1]:
            shape = Shape(heads, dim, LENGTHS[min(1, len(LENGTHS) - 1)])
            note = " ".join(f"{name} {count}" for name, count in tiles._asdict().items())
            yield partial(_noted, partial(ours, shape, tiles=tiles), note=note)


EXPERIMENTS: dict[str, Callable[[], Iterator[Take]]] = {
    "limits": limits,
    "price of a tile": price_of_a_tile,
    "with skipping": with_skipping,
    "forward and backward": gradients,
    "order of heads": orders_of_heads,
    "shape of tiles": shapes_of_tiles,
}


def main() -> None:
    """Do everything, the most telling first, until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all of it (default 9)")
    parser.add_argument("--out", type=Path, required=True, help="a folder; it is made")
    given = parser.parse_args()
    ends_at = time.monotonic() + 60 * given.minutes
    if not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1":
        parser.exit(2, "Error: torch finds no GPU; TRITON_INTERPRET=1 rehearses without one\n")
    given.out.mkdir(parents=True, exist_ok=True)
    agrees = agreement(given.out / "agreement.txt", min(TESTS_S, 30 * given.minutes))
    found = list(measure(given.out / "measurements.jsonl", ends_at))
    (given.out / "summary.md").write_text(summary(found))
    sanitize(given.out / "sanitizer.txt", ends_at)
    print((given.out / "summary.md").read_text())
    parser.exit(0 if agrees else 1, "" if agrees else "Error: it disagrees: see agreement.txt\n")


def agreement(path: Path, limit_s: float) -> bool:
    """Run the tests for GPUs, write what they say, and return whether all passed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=line"]
    passed = _run([*command, "tests/variants/triton/on_gpu"], path, limit_s)
    print(path.read_text()[-400:], flush=True)
    return passed


def measure(path: Path, ends_at: float) -> Iterator[Measurement]:
    """Yield each measurement, and write it at once; one that fails is a line with its reason."""
    with path.open("w") as lines:
        lines.write(json.dumps(header()) + "\n")
        for experiment, measurements in EXPERIMENTS.items():
            for take in measurements():
                if time.monotonic() > ends_at - 10:
                    done = Measurement("", "", "", note="no time was left")
                else:
                    done = _taken(take)
                done = done._replace(experiment=experiment)
                lines.write(json.dumps(done._asdict()) + "\n")
                lines.flush()
                yield done
                if done.note == "no time was left":
                    break


def _taken(take: Take) -> Measurement:
    try:
        return take()
    except Exception as error:  # noqa: BLE001 - minutes of a GPU are few: the next one may work
        return Measurement("", "", "failed", note=f"{type(error).__name__}: {error}"[:500])


def header() -> dict[str, str]:
    """Return what was measured on, and with."""
    import triton

    device = torch.cuda.get_device_name() if ON_GPU else "Triton's interpreter: times mean nothing"
    return {"device": device, "torch": torch.__version__, "triton": triton.__version__}


def summary(found: list[Measurement]) -> str:
    """Return a table: each time over the fastest bias-free SDPA of its shape and experiment."""
    lines = [
        "| experiment | shape | variant | ms | over no_bias | predicted | tiles visited | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        base = min(
            (
                one.time_ms
                for one in found
                if one.time_ms and one.variant.startswith("no_bias")
                if (one.experiment, one.shape) == (each.experiment, each.shape)
            ),
            default=math.nan,
        )
        ratio = (each.time_ms or math.nan) / base
        cells = (
            *(each.experiment, each.shape, each.variant),
            "" if each.time_ms is None else f"{each.time_ms:.3f}",
            "" if math.isnan(ratio) else f"{ratio:.2f}x",
            f"{each.predicted_over_no_bias or ''}",
            "" if each.share is None else f"{each.share:.3f}",
            each.note.replace("|", "/").replace("\n", " "),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([json.dumps(header()), "", *lines]) + "\n"


def sanitize(path: Path, ends_at: float) -> None:
    """Run compute-sanitizer on the batches of any form, if it is there and time is left."""
    tool = shutil.which("compute-sanitizer")
    left = ends_at - time.monotonic()
    if tool is None or left < 15:
        path.write_text("not run: " + ("no time was left\n" if tool else "it is not installed\n"))
        return
    tests = ["tests/variants/triton/on_gpu", "-k", "batches", "-q"]
    _run([tool, sys.executable, "-m", "pytest", *tests], path, min(SANITIZER_S, left))


def _run(command: list[str], path: Path, limit_s: float) -> bool:
    with path.open("w") as out:
        try:
            how: dict[str, Any] = {"cwd": ROOT, "stdout": out, "stderr": subprocess.STDOUT}
            return subprocess.run(command, timeout=limit_s, check=False, **how).returncode == 0
        except subprocess.TimeoutExpired:
            out.write(f"\nstopped after {limit_s:.0f} s\n")
            return False


if __name__ == "__main__":
    main()
