"""Calls that passed the checks: another that differs in values alone passes them too.

Checking a call and making its spec takes Python 20 us, and a step of decode can take 49.
"""

from collections.abc import Hashable

import torch
from torch import Tensor

from variants.batches.sequences import Sequences
from variants.dispatch.checks.batch_arguments import Settings
from variants.problem import Spec
from variants.tracing import is_traced

PASSED_AT_MOST = 512
_NUMBERS = (float, int)
_specs: dict[Hashable, Spec] = {}


def signature_of(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor | None,
    sequences: Sequences,
    settings: Settings,
) -> Hashable | None:
    """Return all that a call's checks and spec depend on, but for values of slopes and kv_lens.

    None is for calls that have to be checked: whose other sequences have values to look at, in
    traces and transforms, under autocast, and with tensors or settings out of the ordinary.
    """
    key_padding, cu_seqlens, kv_lens, norms, cu_seqlens_k, block_tables = sequences
    others = (key_padding, cu_seqlens, cu_seqlens_k, block_tables)
    if any(each is not None for each in others):
        return None
    tensors = [each for each in (q, k, v, slopes, kv_lens, norms) if each is not None]
    if is_traced() or not _are_ordinary(settings):
        return None
    for each in tensors:
        if type(each) is not Tensor or each.is_nested or each.layout != torch.strided:
            return None
    kind = q.device.type
    if q.dim() != 4 or kind not in {"cpu", "cuda"} or torch.is_autocast_enabled(kind):
        return None
    learns = torch.is_grad_enabled()
    kinds = [(each.shape, each.dtype, each.device) for each in tensors]
    in_graph = [learns and each.requires_grad for each in tensors]
    # Of kinds and in_graph there are as many as tensors; which those are, `absent` tells.
    absent = (slopes is None, kv_lens is None, norms is None)
    return (settings, *kinds, *in_graph, *absent, q.stride(1) >= q.stride(2))


def spec_of(signature: Hashable) -> Spec | None:
    """Return the spec of a call with this signature that passed the checks."""
    return _specs.get(signature)


def note(signature: Hashable, spec: Spec) -> None:
    """Note that a call has passed the checks."""
    if len(_specs) >= PASSED_AT_MOST:
        _specs.clear()
    _specs[signature] = spec


def _are_ordinary(settings: Settings) -> bool:
    """Return whether equal settings mean the same: 1 equals True, and a tensor can change."""
    causal, scale, q_offset, window, dropout_p, return_lse = settings
    steps = () if window is None else window
    return (
        type(causal) is type(return_lse) is bool
        and (scale is None or type(scale) in _NUMBERS)
        and (q_offset is None or type(q_offset) is int)
        and type(dropout_p) in _NUMBERS
        and type(steps) is tuple
        and all(type(step) is int for step in steps)
    )
