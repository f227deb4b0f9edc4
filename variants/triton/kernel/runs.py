"""Sequences as the kernels read them: lines of variants.batches.runs.FIELDS."""

import triton
import triton.language as tl


@triton.jit
def run_at(runs, run):
    """Return the batch entry, first query, queries, first key, keys and position of a line."""
    runs += 6 * run
    batch, first_query, queries = tl.load(runs), tl.load(runs + 1), tl.load(runs + 2)
    first_key, keys, position = tl.load(runs + 3), tl.load(runs + 4), tl.load(runs + 5)
    return batch, first_query, queries, first_key, keys, position
