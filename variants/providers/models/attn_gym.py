"""attn_gym: attention-gym's ALiBi score_mod in FlexAttention.

For: seeing what the mod that people copy takes and answers.
Not for: head counts that are no power of two, gradients on a CPU.

Bias: slope * (key - query), signed, so bidirectional attention would be wrong and is declined. The
mod makes the slopes 2^(-8 (h+1) / heads) inside for every head count, so a call with other slopes
is declined. Queries are counted from 0, which moves all scores of a row alike and changes nothing.
The BlockMask is that of our `flex`. Source: attn_gym.mods.
"""

from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from variants.compiled.torch_compile import compile_alone
from variants.flex.block_masks import block_mask_of
from variants.problem import Attention, Spec
from variants.providers.package import Abilities, package
from variants.providers.slope_rules import literal_slopes, with_its_slopes


def prepare(spec: Spec) -> Attention:
    """Return flex_attention with attention-gym's mod, compiled for the spec."""
    Abilities(
        "attn-gym",
        device=spec.device.type,
        dtypes=("float32", "bfloat16", "float16"),
        gradients=spec.device.type == "cuda",
        traceable=True,
    ).decline(spec)
    return with_its_slopes("attn-gym", literal_slopes(spec.heads), spec, shipped(spec))


def shipped(spec: Spec) -> Attention:
    """Return flex_attention with the mod as it is, whatever slopes and mask a call has."""
    mod = package("attn_gym.mods", "pip install attn-gym").generate_alibi_bias(spec.heads)
    block_mask, grouped = block_mask_of(spec), spec.heads != spec.kv_heads

    def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        out: Tensor = flex_attention(
            q, k, v, score_mod=mod, block_mask=block_mask, scale=spec.scale, enable_gqa=grouped
        )
        return out

    return compile_alone(attend, spec.device)
