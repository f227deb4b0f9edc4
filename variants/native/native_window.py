"""native_window: a C++ kernel that walks each query's keys outwards and stops when none matters.

For: prefill, decode and training on a CPU, causal or bidirectional, at any length.
Not for: CUDA, dropout, gradients of gradients, head_dim over 256.

On a steep head the bias makes far keys negligible. Each block of 64 queries starts at its own keys
and walks outwards. It stops where norms certify two things of every query: the remaining keys weigh
at most eps / 2 of the weight already summed, and add to the output at most eps / 2 of its norm.
Weights under e^-87 of a row's largest are 0. Blocks of bfloat16 queries are multiplied by AMX, for
which k and v are copied, or by AVX512_BF16, for which v is. All else is computed in float32.

Up to 16 queries are computed key by key, without a copy. A head's keys are split over the threads
and read once for its group, but for those that a cache's norms rule out. Values of a block whose
weights are all 0 are not read. Gradients leave out what adds up to eps / 8 to a row of dq, dk, dv.
Source: FlashAttention's running softmax (arXiv 2205.14135) and the pruning of arXiv 2504.06949.
"""

from torch import Tensor

from variants.batches.pages import from_pages
from variants.batches.ragged import ragged
from variants.batches.runs import runs_of
from variants.batches.sequences import GeneralAttention, Sequences
from variants.native import kernel_library
from variants.native.call_checks import fits, is_plain, reads_pages
from variants.native.kernel_arguments import MOST_KEYS, reach_of
from variants.native.kernel_call import attend
from variants.native.plain_calls import dense_call, general_call
from variants.native.torch_operator import operator
from variants.problem import Attention, Spec, Unsupported

READS_NORMS = True
READS_PAGES = True


def prepare(spec: Spec) -> Attention:
    """Return the kernel; where none came with a wheel, the first call on a machine builds it."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    _decline(spec)
    kernel, reach = operator(), reach_of(spec)
    plain_call = dense_call(spec, reach)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        if is_plain(q, k, v, slopes) and fits(spec, q, k, v, slopes):
            return plain_call(q, k, v, slopes)
        return kernel(q, k, v, slopes, spec.scale, *reach, None, None, None, False)[0]

    return attention


def prepare_general(spec: Spec) -> GeneralAttention:
    """Return the kernel for batches of any form. It reads no padding; few queries read pages."""
    if spec.extras.page_size is not None and not reads_pages(spec):
        return from_pages(prepare_general, spec)
    _decline(spec)
    if spec.extras.dropout_p:
        raise Unsupported("the kernel has no dropout; eager and sdpa_mask have")
    kernel, reach = operator(), reach_of(spec)
    plain_call = general_call(spec, reach)

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        norms, tables = sequences.norms, sequences.block_tables
        if is_plain(q, k, v, slopes, norms):
            return plain_call(q, k, v, slopes, sequences)
        runs, wants_lse = runs_of(spec, sequences), spec.extras.return_lse
        return kernel(q, k, v, slopes, spec.scale, *reach, runs, norms, tables, wants_lse)

    return attention


def build() -> None:
    """Build the kernel, or load it if it is built. Raises Unsupported where neither works."""
    kernel_library.library()


def density(
    spec: Spec, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, norms: Tensor | None = None
) -> float:
    """Return the share of all pairs of a query and a key that the kernel computes.

    A causal block's own keys count whole in both numbers.
    """
    past, rows = spec.kv_len - spec.q_len, range(0, spec.q_len, kernel_library.BLOCK)
    ends = [(row, min(row + kernel_library.BLOCK, spec.q_len)) for row in rows]
    pairs = sum((end - row) * (past + end if spec.causal else spec.kv_len) for row, end in ends)
    looked_at = attend(q, k, v, slopes, spec.scale, reach_of(spec), norms=norms).looked_at
    return looked_at / (spec.batch * spec.heads * pairs)


def _decline(spec: Spec) -> None:
    if spec.device.type != "cpu":
        raise Unsupported("the kernel is for CPUs; flex_window leaves out the same on CUDA")
    if spec.head_dim > (room := kernel_library.MOST_HEAD_DIM):
        raise Unsupported(f"head_dim {spec.head_dim}: the kernel has room for {room}")
    if (longest := max(spec.q_len, spec.kv_len)) > MOST_KEYS:
        raise Unsupported(f"length {longest}: the kernel counts to {MOST_KEYS}")
    kernel_library.check_obtainable()
