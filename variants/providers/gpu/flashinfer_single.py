"""flashinfer: FlashInfer's single-request kernels with their ALiBi mode.

For: serving one request: prefill, chunks and decode.
Not for: batches, other slopes than the paper code's, bidirectional attention, gradients.

Bias: slope * (key - query) on top of the scaled product in the FA2 kernels. It is signed, so
bidirectional attention would be wrong and is declined. Slopes are made inside. Not yet seen on a
GPU. Source: flashinfer-python, single_prefill_with_kv_cache and its decode twin.
"""

from torch import Tensor

from variants.problem import Attention, Spec, Unsupported, alibi_slopes
from variants.providers.package import Abilities, package
from variants.providers.slope_rules import with_its_slopes

_ABILITIES = Abilities(
    "FlashInfer", device="cuda", dtypes=("bfloat16", "float16"), head_dim_multiple=64
)


def prepare(spec: Spec) -> Attention:
    """Return FlashInfer's attention of one request."""
    _ABILITIES.decline(spec)
    if spec.batch > 1:
        raise Unsupported("FlashInfer's single-request kernels take a batch of 1")
    flashinfer = package("flashinfer", "pip install flashinfer-python")

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        rows, keys, values = (tensor[0].transpose(0, 1).contiguous() for tensor in (q, k, v))
        if spec.q_len == 1:
            out: Tensor = flashinfer.single_decode_with_kv_cache(
                rows[0], keys, values, pos_encoding_mode="ALIBI", sm_scale=spec.scale
            )[None]
        else:
            out = flashinfer.single_prefill_with_kv_cache(
                rows, keys, values, causal=True, pos_encoding_mode="ALIBI", sm_scale=spec.scale
            )
        return out.transpose(0, 1)[None]

    return with_its_slopes("FlashInfer", alibi_slopes(spec.heads), spec, attention)
