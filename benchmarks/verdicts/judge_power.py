"""How small an error the judge still catches, and how near right answers come to its budget.

    python -m benchmarks.verdicts.judge_power          # puts tables in docs/judge-power.md

Each error is planted in the formula computed in the case's dtype, the plainest right answer. For
each seed the smallest error that is caught is found by bisection; the table has the error that is
caught in 95 of 100 seeds.
"""

import itertools
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import msgspec
import torch
from tabulate import tabulate
from torch import Tensor

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case, Dtype, Mode
from variants.catalog import BY_NAME
from variants.plain import eager
from variants.problem import Attention, Spec

SEEDS, SHARE = 100, 0.95
LEAST, MOST, STEPS = 2.0**-26, 4.0, 7
ROW, HEAD = 77, 2
KERNELS = ("no_bias", "rope", "eager", "sdpa_mask", "sdpa_key", "sdpa_folded")
SHAPES = ((65, 8, 64), (129, 8, 128), (193, 12, 64), (512, 8, 64))
MODES: tuple[Mode, ...] = ("forward", "backward")
FEW_SEEDS = 12
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16", "float16")
LOGIT_SCALES = (1.0, 4.0, 16.0)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "judge-power.md"
CPU = torch.device("cpu")

Plant = Callable[[Spec, float], Attention]
"""(spec, relative error) -> attention with that error planted."""


def in_slopes(spec: Spec, error: float) -> Attention:
    """Plant an error in all slopes."""
    right = eager.prepare(spec)
    return lambda q, k, v, slopes: right(q, k, v, slopes * (1 + error))


def in_scale(spec: Spec, error: float) -> Attention:
    """Plant an error in the scale of the scores."""
    return eager.prepare(replace(spec, scale=spec.scale * (1 + error)))


def in_output(spec: Spec, error: float) -> Attention:
    """Plant an error in the whole output."""
    return _spoil(spec, error, (slice(None),))


def in_row(spec: Spec, error: float) -> Attention:
    """Plant an error in one row of one head."""
    return _spoil(spec, error, (slice(None), HEAD, ROW))


def in_head(spec: Spec, error: float) -> Attention:
    """Plant an error in one head."""
    return _spoil(spec, error, (slice(None), HEAD))


def in_gradient(spec: Spec, error: float) -> Attention:
    """Plant an error in dk."""
    right = eager.prepare(spec)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        view = k.view_as(k)
        view.register_hook(lambda gradient: _scale_spot(gradient, error, (slice(None),)))
        return right(q, view, v, slopes)

    return attention


def _spoil(spec: Spec, error: float, spot: tuple[int | slice, ...]) -> Attention:
    right = eager.prepare(spec)
    return lambda q, k, v, slopes: _scale_spot(right(q, k, v, slopes), error, spot)


def _scale_spot(tensor: Tensor, error: float, spot: tuple[int | slice, ...]) -> Tensor:
    wide = tensor.double()
    wide[spot] = wide[spot] * (1 + error)
    return wide.to(tensor.dtype)


PLANTS: Mapping[str, Plant] = {
    "slopes": in_slopes,
    "scale": in_scale,
    "output": in_output,
    "one row": in_row,
    "one head": in_head,
    "dk": in_gradient,
}


def main() -> None:
    """Measure the power of every plant and write the page."""
    torch.set_num_threads(1)
    lines = []
    for dtype in DTYPES:
        for logit_scale in LOGIT_SCALES:
            powers = [power(plant, dtype, logit_scale) for plant in PLANTS.values()]
            lines.append([dtype, f"{logit_scale:g}", *(f"{least:.1e}" for least in powers)])
            print(*lines[-1], file=sys.stderr, flush=True)
    table = tabulate(lines, ["dtype", "logit scale", *PLANTS], "github", disable_numparse=True)
    page = PAGE.read_text()
    for name, text in (("caught", table), ("near", excesses())):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{text}\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(page)


def power(plant: Plant, dtype: Dtype, logit_scale: float, seeds: int = SEEDS) -> float:
    """Return the smallest relative error that is caught in 95% of the seeds."""
    leasts = sorted(_least_caught(plant, dtype, logit_scale, seed) for seed in range(seeds))
    return leasts[math.ceil(SHARE * seeds) - 1]


def _least_caught(plant: Plant, dtype: Dtype, logit_scale: float, seed: int) -> float:
    """Return the smallest error that is caught with this seed, within a quarter of a power of 2."""
    low, high = math.log2(LEAST), math.log2(MOST)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if is_caught(plant, dtype, logit_scale, 2.0**middle, seed):
            high = middle
        else:
            low = middle
    return float(2.0**high)


def is_caught(plant: Plant, dtype: Dtype, logit_scale: float, error: float, seed: int) -> bool:
    """Whether the judge finds a planted error."""
    case = case_of(dtype, logit_scale, "backward" if plant is in_gradient else "forward")
    spec = spec_of(case, CPU)
    inputs = draw(case, seed, "set 0", CPU)
    return not check(plant(spec, error), spec, inputs, answers="alibi", seed=seed).agrees


def excesses() -> str:
    """Return a table of the largest error of torch's kernels, as a share of their budgets."""
    lines = []
    for variant, dtype in itertools.product(KERNELS, DTYPES):
        largest = [
            max(
                excess(variant, shape, dtype, mode, seed)
                for shape, seed in itertools.product(SHAPES, range(FEW_SEEDS))
            )
            for mode in MODES
        ]
        lines.append([variant, dtype, *(f"{value:.2f}" for value in largest)])
        print(*lines[-1], file=sys.stderr, flush=True)
    return tabulate(lines, ["variant", "dtype", *MODES], "github", disable_numparse=True)


def excess(name: str, shape: tuple[int, int, int], dtype: Dtype, mode: Mode, seed: int) -> float:
    """Return a variant's error over its budget; `shape` is (length, heads, head_dim)."""
    length, heads, head_dim = shape
    case = replace_shape(case_of(dtype, 1.0, mode), length, heads, head_dim)
    spec = spec_of(case, CPU)
    variant = BY_NAME[name]
    attention = import_module(variant.module).prepare(spec, **variant.options)
    inputs = draw(case, seed, "set 0", CPU)
    return check(attention, spec, inputs, answers=variant.answers, seed=seed).excess


def replace_shape(case: Case, length: int, heads: int, head_dim: int) -> Case:
    """Return the case with another shape."""
    return msgspec.structs.replace(
        case, q_len=length, kv_len=length, heads=heads, kv_heads=heads, head_dim=head_dim
    )


def case_of(dtype: Dtype, logit_scale: float, mode: Mode) -> Case:
    """Return the case that errors are planted in: 4 heads of 32 over 128 keys."""
    return Case(
        heads=4,
        kv_heads=4,
        head_dim=32,
        q_len=128,
        kv_len=128,
        dtype=dtype,
        mode=mode,
        logit_scale=logit_scale,
    )


if __name__ == "__main__":
    main()
