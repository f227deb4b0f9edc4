"""rope: rotary embedding of queries and keys inside the call, then bias-free SDPA.

For: what a model with rotary embedding pays instead.
Not for: ALiBi: it has no bias.

This is the cost of a model that marks positions by rotation and not by ALiBi. It is checked against
an oracle for rotation and never ranked. Rotates in q's dtype, the two halves of a head against each
other, base 10000. Stores cos and sin, [q_len, head_dim] each, from float64 angles: float32 angles
would be off by 0.004 at position 131072. With more keys than queries, the last q_len keys are new
and the others come rotated, from a cache. The new keys are rotated into their slots in the cache,
as in a model, and the old values are put back after the call. Declines an odd head_dim.
Source: RoFormer (arXiv 2104.09864) as transformers' modeling_llama and modeling_gpt_neox have it.
"""

from variants.batches.ragged import ragged
from variants.plain import no_bias
from variants.problem import Attention, Spec, Unsupported
from variants.rotary.turning import with_rotation


def prepare(spec: Spec) -> Attention:
    """Return rotation and bias-free SDPA; the slopes are ignored."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    if spec.head_dim % 2:
        raise Unsupported("rotation takes channels in pairs: make head_dim even")
    return with_rotation(spec, no_bias.prepare(spec))
