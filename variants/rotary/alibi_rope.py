"""alibi_rope: rotary embedding of queries and keys inside the call, then ALiBi attention.

For: what a model that has both would pay.
Not for: ALiBi alone: queries and keys are turned.

Models have one or the other; docs/lengths.md shows how good a model with both is. It is checked
against an oracle for rotation with the bias and never ranked. Rotates as `rope` does, then calls
the variant that `auto` picks. A rotation changes no norm, so a variant that leaves keys out by
their norms leaves out the same keys. Declines an odd head_dim.
Source: RoFormer (arXiv 2104.09864) and ALiBi (arXiv 2108.12409), one after the other.
"""

from variants.batches.ragged import ragged
from variants.dispatch import auto
from variants.problem import Attention, Spec, Unsupported
from variants.rotary.turning import with_rotation


def prepare(spec: Spec) -> Attention:
    """Return rotation and ALiBi attention."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    if spec.head_dim % 2:
        raise Unsupported("rotation takes channels in pairs: make head_dim even")
    return with_rotation(spec, auto.prepare(spec))
