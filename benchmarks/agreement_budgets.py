"""How near torch's kernels come to the agreement budget, under our rule and under a plainer rule.

    python benchmarks/agreement_budgets.py

An excess is an error over its budget: above 1 a variant is not ranked. The figures are the largest
over seeds and shapes, and docs/method.md quotes them.
"""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple
from unittest.mock import patch

import torch
from tabulate import tabulate
from torch import Tensor

from suite.agreement import check, errors, oracle
from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case, Dtype, Mode
from variants.catalog import CATALOG, Variant
from variants.reference import attend

SEEDS = range(12)
SHAPES = ((65, 8, 64), (128, 12, 64), (129, 8, 128), (193, 12, 64), (512, 8, 64))
VARIANTS = tuple(
    entry for entry in CATALOG if entry.name in {"no_bias", "rope", "sdpa_mask", "sdpa_key"}
)
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16", "float16")
CPU = torch.device("cpu")


class Excess(NamedTuple):
    """The largest excess of one check, and where it was."""

    excess: float
    where: str


def main() -> None:
    """Check every variant in every dtype and print one table."""
    ours = patch.dict(check.ALLOWANCE, out=math.inf)
    lines = []
    for variant, dtype in itertools.product(VARIANTS, DTYPES):
        excesses = [max(checks(variant, dtype, "forward"))]
        for rule in (ours, plain_rule()):
            with rule:
                excesses.append(max(checks(variant, dtype, "backward")))
        cells = (f"{excess.excess:.2f} ({excess.where})" for excess in excesses)
        lines.append((variant.name, dtype, *cells))
    columns = ("variant", "dtype", "output", "gradients", "gradients, plain rule")
    print(tabulate(lines, columns, disable_numparse=True))


@contextmanager
def plain_rule() -> Iterator[None]:
    """Allow twice autograd's error, and compare each row with itself alone."""
    allowed = {"out": math.inf, "dq": 2.0, "dk": 2.0, "dv": 2.0}
    with (
        patch.dict(check.ALLOWANCE, allowed),
        patch.object(errors, "NEIGHBOURS", 0),
        patch.object(oracle, "gradients", autograd_gradients),
    ):
        yield


def checks(variant: Variant, dtype: Dtype, mode: Mode) -> Iterator[Excess]:
    """Yield the largest excess of a check for every shape and seed."""
    for length, heads, head_dim in SHAPES:
        case = Case(
            heads=heads,
            kv_heads=heads,
            head_dim=head_dim,
            q_len=length,
            kv_len=length,
            dtype=dtype,
            mode=mode,
        )
        spec = spec_of(case, CPU)
        attention = import_module(variant.module).prepare(spec)
        for seed in SEEDS:
            inputs = draw(case, seed, "before", CPU)
            agreement = check.check(attention, spec, inputs, answers=variant.answers, seed=seed)
            yield Excess(agreement.excess, f"{agreement.where.replace('batch 0 ', '')}, n{length}")


def autograd_gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    dout: Tensor,
    *,
    scale: float,
    causal: bool,
    positions: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return out, dq, dk and dv of the formula, with autograd's gradients."""
    q, k, v = (tensor.detach().requires_grad_() for tensor in (q, k, v))
    out = attend(q, k, v, slopes, scale=scale, causal=causal, positions=positions)
    return out.detach(), *torch.autograd.grad(out, (q, k, v), dout)


if __name__ == "__main__":
    main()
