"""eager: the formula in plain torch, one operation at a time.

For: reading the formula, and gradients of the slopes.
Not for: speed, and long sequences: scores take memory with the square of the length.

Stores nothing between calls. Each call makes the [heads, q_len, kv_len] relative bias and the
[batch, heads, q_len, kv_len] scores in float32, so memory and traffic grow with the square of the
length. Pairs above the diagonal are computed, then masked. Shared kv heads are copied for each
query head. Source: the definition in arXiv 2108.12409, written as one writes it first.
"""

from functools import partial

from variants.batches import formula
from variants.batches.ragged import ragged
from variants.batches.sequences import GeneralAttention
from variants.problem import Attention, Spec
from variants.reference import attend


def prepare(spec: Spec) -> Attention:
    """Return the reference formula, in q's dtype with float32 bias and softmax."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    return partial(attend, scale=spec.scale, causal=spec.causal)


def prepare_general(spec: Spec) -> GeneralAttention:
    """Return the reference formula for batches of any form."""
    return partial(formula.attend, spec)
