"""The share of causal attention inside certified windows, against length and logit scale.

    python benchmarks/windows/window_density.py > results/published/window_density.csv

A density is the share of causal pairs, in blocks of 64 queries and 64 keys, inside the windows that
variants/windows.py certifies. q and k are standard normal, times the logit scale: scores grow with
its square. Nothing is timed. Heads are drawn one at a time, each with another seed, which takes
under 1 GB at 131072 keys. docs/variants.md shows the figures.
"""

import csv
import itertools
import statistics
import sys

import torch

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case, Dtype
from variants.problem import alibi_slopes
from variants.windows import density

HEADS = (8, 32)
HEAD_DIM = 64
DTYPES: tuple[Dtype, ...] = ("bfloat16", "float32")
LENGTHS = (2048, 8192, 32768, 131072)
LOGIT_SCALES = (1.0, 2.0, 4.0, 8.0)
CPU = torch.device("cpu")


def main() -> None:
    """Write a line for each setting as soon as it is computed."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("heads", "head_dim", "dtype", "length", "logit_scale", "density"))
    for heads, dtype, length, scale in itertools.product(HEADS, DTYPES, LENGTHS, LOGIT_SCALES):
        share = over_heads(heads, dtype, length, scale)
        table.writerow((heads, HEAD_DIM, dtype, length, f"{scale:g}", f"{share:.4f}"))
        sys.stdout.flush()


def over_heads(heads: int, dtype: Dtype, length: int, logit_scale: float) -> float:
    """Return the mean density over the heads of a model."""
    alone = Case(
        heads=1,
        kv_heads=1,
        head_dim=HEAD_DIM,
        q_len=length,
        kv_len=length,
        dtype=dtype,
        logit_scale=logit_scale,
    )
    spec, shares = spec_of(alone, CPU), []
    for head, slope in enumerate(alibi_slopes(heads)[:, None]):
        inputs = draw(alone, head, "before", CPU)
        shares.append(density(spec, inputs.q, inputs.k, inputs.v, slope))
    return statistics.fmean(shares)


if __name__ == "__main__":
    main()
