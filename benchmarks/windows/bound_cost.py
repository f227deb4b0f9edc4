"""The share of a call that the norms of all keys cost, by which native_window bounds weights.

    python benchmarks/windows/bound_cost.py

A call without queries computes the norms and, in bfloat16 with AMX, packs k and v. A call with all
queries does the rest too, including each block's use of the norms. Both take turns; figures are
medians, over 8 heads of 64.
"""

import statistics
from time import perf_counter

import torch
from tabulate import tabulate

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case, Dtype
from variants.native.kernel_arguments import CAUSAL
from variants.native.kernel_call import attend

DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")
LENGTHS = (512, 1024, 2048, 8192, 32768)
ROUNDS, MOST_S = 200, 4.0


def main() -> None:
    """Print the milliseconds of both calls and their ratio: a line for each length."""
    for dtype in DTYPES:
        rows = []
        for length in LENGTHS:
            bound_ms, call_ms = costs_ms(dtype, length)
            share = f"{bound_ms / call_ms:.1%}"
            rows.append([length, f"{bound_ms:.3f}", f"{call_ms:.3f}", share])
        print(dtype, tabulate(rows, ["keys", "bound ms", "call ms", "share"]), sep="\n", flush=True)


def costs_ms(dtype: Dtype, length: int) -> tuple[float, float]:
    """Return the milliseconds of a call without queries, and of a whole call."""
    device = torch.device("cpu")
    case = Case(heads=8, kv_heads=8, head_dim=64, q_len=length, kv_len=length, dtype=dtype)
    inputs, scale = draw(case, 0, "before", device), spec_of(case, device).scale
    times: tuple[list[float], list[float]] = ([], [])
    began = perf_counter()
    while len(times[0]) < ROUNDS and perf_counter() - began < MOST_S:
        for q, samples in zip((inputs.q[:, :, :0], inputs.q), times, strict=True):
            attend(q, inputs.k, inputs.v, inputs.slopes, scale, CAUSAL)
            start = perf_counter()
            attend(q, inputs.k, inputs.v, inputs.slopes, scale, CAUSAL)
            samples.append(1e3 * (perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
