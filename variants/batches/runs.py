"""Sequences as runs of tokens in memory, the table that the kernels of our own read."""

from functools import lru_cache

import torch
from torch import Tensor

from variants.batches.sequences import Sequences
from variants.problem import Spec, Unsupported
from variants.tracing import is_traced

FIELDS = ("batch", "first_query", "queries", "first_key", "keys", "position")


def runs_of(spec: Spec, sequences: Sequences) -> Tensor | None:
    """Return int64 [sequences, 6] on the spec's device: a line of FIELDS for each sequence.

    A sequence's keys are counted from its first one; its first query stands at `position` among
    them. Returns None where each batch entry is a sequence and its queries are its last tokens.
    Raises Unsupported for padding between the tokens of a sequence.
    """
    if sequences.cu_seqlens is not None:
        return _packed_runs(sequences.cu_seqlens.long(), sequences.cu_seqlens_k)
    if sequences.key_padding is not None:
        first, keys = _real(sequences.key_padding)
    elif sequences.kv_lens is not None and spec.extras.q_offset is None:
        return _caches(spec, sequences.kv_lens)
    elif sequences.kv_lens is not None:
        first, keys = _first_slots(spec), sequences.kv_lens.long()
    elif spec.extras.q_offset is None:
        return None
    else:
        first = _first_slots(spec)
        keys = torch.full_like(first, spec.kv_len)
    return _in_rows(spec, first, keys)


def _caches(spec: Spec, kv_lens: Tensor) -> Tensor:
    """Return a line for each batch entry, whose queries are the last of its keys."""
    make_lines = _lines.__wrapped__ if is_traced() else _lines
    empty_caches, of_keys = make_lines(spec.batch, spec.q_len, spec.device)
    return torch.addcmul(empty_caches, kv_lens.long()[:, None], of_keys)


@lru_cache(maxsize=128)
def _lines(batch: int, q_len: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the lines of empty caches, [batch, 6], and what a key adds to each field, [6]."""
    # The cached tensors outlive the call, so the caller's inference mode must not apply.
    with torch.inference_mode(mode=False), torch.device("cpu"):
        lines = [(entry, 0, q_len, 0, 0, -q_len) for entry in range(batch)]
        of_keys = [field in {"keys", "position"} for field in FIELDS]
        return (
            torch.tensor(lines, dtype=torch.int64).to(device),
            torch.tensor(of_keys, dtype=torch.int64).to(device),
        )


def _first_slots(spec: Spec) -> Tensor:
    return torch.zeros(spec.batch, dtype=torch.int64, device=spec.device)


def _in_rows(spec: Spec, first: Tensor, keys: Tensor) -> Tensor:
    """Return a line for each batch entry, whose keys are `keys` from `first` on.

    Without an offset the queries are the last slots, of which some may be padding.
    """
    batch, none = torch.arange(spec.batch, device=spec.device), torch.zeros_like(first)
    first_query, queries = none, torch.full_like(first, spec.q_len)
    if spec.extras.q_offset is not None:
        position = torch.full_like(first, spec.extras.q_offset)
    else:
        start = spec.kv_len - spec.q_len  # the slot of the first query
        first_query = (first - start).clamp(0, spec.q_len)
        queries = (first + keys - start).clamp(0, spec.q_len) - first_query
        position = (start + first_query - first).clamp(max=spec.kv_len)
    return torch.stack([batch, first_query, queries, first, keys, position], dim=1)


def _packed_runs(cu_seqlens: Tensor, cu_seqlens_k: Tensor | None) -> Tensor:
    cu_keys = cu_seqlens if cu_seqlens_k is None else cu_seqlens_k.long()
    queries, keys = cu_seqlens.diff(), cu_keys.diff()
    batch = torch.zeros_like(queries)
    lines = [batch, cu_seqlens[:-1], queries, cu_keys[:-1], keys, keys - queries]
    return torch.stack(lines, dim=1)


def _real(key_padding: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the tokens of each batch entry begin, and how many there are: [batch] each."""
    is_real = ~key_padding
    first, keys = is_real.byte().argmax(dim=1), is_real.sum(dim=1)
    if (is_real.diff(dim=1).sum(dim=1) > 2 - is_real[:, 0].long() - is_real[:, -1].long()).any():
        raise Unsupported(
            "the kernel takes padding before or after a sequence, and there is some between its "
            "tokens; eager, sdpa_mask and flex take that"
        )
    return first, keys
