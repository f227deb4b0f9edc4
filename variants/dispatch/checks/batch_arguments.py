"""The checks of alibi_attention's arguments beyond dense attention, and their short form."""

from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from variants.batches.cache_norms import refuse_norms
from variants.batches.pages import room_of
from variants.batches.sequences import Sequences
from variants.problem import Extras, SequenceKind
from variants.tracing import is_traced


class Settings(NamedTuple):
    """The arguments of alibi_attention that are no tensors, but for the variant."""

    causal: bool = True
    scale: float | None = None
    q_offset: int | None = None
    window: tuple[int, int] | None = None
    dropout_p: float = 0.0
    return_lse: bool = False


MOST_POSITIONS = 1 << 24  # float32 holds positions exactly up to here
_WHOLE_NUMBERS = (torch.int32, torch.int64)
_PACKED_ARGUMENTS = ("cu_seqlens", "cu_seqlens_k")


def extras_of(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences, settings: Settings
) -> Extras:
    """Return what a call wants beyond dense attention; raise ValueError if it can't be."""
    causal, q_offset, dropout_p = settings.causal, settings.q_offset, settings.dropout_p
    check_offset(q_offset)
    if not (isinstance(dropout_p, float | int) and 0 <= dropout_p < 1):
        raise ValueError(f"dropout_p {dropout_p}: give a share from 0 to under 1")
    kind = check_sequences(q, k, sequences, q_offset=q_offset, causal=causal)
    if sequences.norms is not None:
        room = room_of(k, sequences.block_tables)
        refuse_norms(sequences.norms, int(q.shape[0]), int(k.shape[1]), room, k.device)
    if kind == "whole" and q_offset is not None and q_offset == k.shape[2] - q.shape[2] >= 0:
        q_offset = None
    return Extras(
        sequences=kind,
        q_offset=q_offset,
        window=check_window(settings.window, causal=causal),
        page_size=None if sequences.block_tables is None else int(k.shape[2]),
        value_dim=None if v.shape[3] == q.shape[3] else int(v.shape[3]),
        slopes_by_batch=slopes.dim() == 2,
        norms=sequences.norms is not None,
        return_lse=settings.return_lse,
        dropout_p=float(dropout_p),
    )


def check_sequences(
    q: Tensor, k: Tensor, sequences: Sequences, *, q_offset: int | None, causal: bool
) -> SequenceKind:
    """Return how the sequences are told apart; raise ValueError where they don't fit q and k.

    Values of cu_seqlens and kv_lens are looked at on a CPU alone; elsewhere that would wait for the
    device.
    """
    kv_len = room_of(k, sequences.block_tables)
    by_name = sequences._replace(norms=None, block_tables=None)._asdict()
    tensors = {name: tensor for name, tensor in by_name.items() if tensor is not None}
    given = [name for name in tensors if name != "cu_seqlens_k"]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are given: each says it all, give one of them")
    if "cu_seqlens_k" in tensors and "cu_seqlens" not in tensors:
        raise ValueError("cu_seqlens_k is given alone: give the queries' cu_seqlens beside it")
    q_len = q.shape[2]
    if q_len > kv_len and q_offset is None and (causal or given):
        raise ValueError(
            f"q_len {q_len} is over kv_len {kv_len}: the first queries would stand before all "
            "keys; q_offset says where they stand"
        )
    for name, tensor in tensors.items():
        _check_tensor(name, tensor, q, kv_len)
    if sequences.cu_seqlens is not None:
        _check_packed(q, k, sequences.cu_seqlens, sequences.cu_seqlens_k, q_offset)
    if sequences.kv_lens is not None:
        check_kv_lens(sequences.kv_lens, kv_len)
    return cast(SequenceKind, list(tensors)[-1] if tensors else "whole")


def check_kv_lens(kv_lens: Tensor, kv_len: int) -> None:
    """Raise ValueError for more keys than a cache has room for, or fewer than none."""
    if not _has_values(kv_lens):
        return
    lengths = kv_lens.tolist()  # faster than torch's operations
    if min(lengths) < 0 or max(lengths) > kv_len:
        wrong = next(length for length in lengths if not 0 <= length <= kv_len)
        raise ValueError(f"kv_lens has {wrong}: give 0 to {kv_len}, the room of the cache")


def check_offset(q_offset: object) -> None:
    """Raise ValueError for an offset that is no whole number, or out of reach."""
    if q_offset is None:
        return
    if isinstance(q_offset, bool) or not isinstance(q_offset, int):
        raise ValueError(f"q_offset {q_offset!r}: give a whole number, the first query's position")
    if abs(q_offset) > MOST_POSITIONS:
        raise ValueError(f"q_offset {q_offset}: positions count to {MOST_POSITIONS}")


def check_window(window: object, *, causal: bool) -> tuple[int, int]:
    """Return (before, after), -1 where there is no limit; raise ValueError for anything else."""
    if window is None:
        return -1, -1
    if not (
        isinstance(window, tuple | list)
        and len(window) == 2
        and all(isinstance(steps, int) and steps >= -1 for steps in window)
    ):
        raise ValueError(
            f"window {window!r}: give (before, after), how many positions a query sees on each "
            "side of its own; -1 is no limit"
        )
    before, after = (min(steps, MOST_POSITIONS) for steps in window)
    return before, -1 if causal else after


def _check_tensor(name: str, tensor: object, q: Tensor, kv_len: int) -> None:
    batch = q.shape[0]
    shapes: dict[str, list[Any]] = {"key_padding": [batch, kv_len], "kv_lens": [batch]}
    shapes |= {packed: ["sequences + 1"] for packed in _PACKED_ARGUMENTS}
    kinds = (torch.bool,) if name == "key_padding" else _WHOLE_NUMBERS
    wanted = f"{'bool' if name == 'key_padding' else 'int32'} {shapes[name]} on {q.device}"
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} is a {type(tensor).__name__}: give a tensor, {wanted}")
    fits = tensor.dim() == 1 if name in _PACKED_ARGUMENTS else list(tensor.shape) == shapes[name]
    if not fits or tensor.dtype not in kinds or tensor.device != q.device:
        shape = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
        raise ValueError(f"{name} is {shape}: give {wanted}")


def _check_packed(
    q: Tensor, k: Tensor, cu_seqlens: Tensor, cu_seqlens_k: Tensor | None, q_offset: int | None
) -> None:
    is_mixed = cu_seqlens_k is not None
    if q.shape[0] != 1 or (q.shape[2] != k.shape[2] and not is_mixed):
        raise ValueError(
            f"q is {list(q.shape)} and k {list(k.shape)}: packed sequences (cu_seqlens) are a "
            "batch of 1 with as many queries as keys; cu_seqlens_k says where there are more keys"
        )
    if q_offset is not None:
        raise ValueError(
            "q_offset and cu_seqlens: the queries of a packed sequence are its last tokens"
        )
    queries = _lengths("cu_seqlens", cu_seqlens, q.shape[2])
    if cu_seqlens_k is None:
        return
    if len(cu_seqlens_k) != len(cu_seqlens):
        raise ValueError(
            f"cu_seqlens has {len(cu_seqlens)} numbers and cu_seqlens_k {len(cu_seqlens_k)}: both "
            "are of the same sequences, give as many"
        )
    keys = _lengths("cu_seqlens_k", cu_seqlens_k, k.shape[2])
    for sequence, (q_len, kv_len) in enumerate(zip(queries, keys, strict=True)):
        if q_len > kv_len:
            raise ValueError(
                f"sequence {sequence} has {q_len} queries (cu_seqlens) and {kv_len} keys "
                "(cu_seqlens_k): its queries are among its keys, give at least as many"
            )


def _lengths(name: str, ends: Tensor, tokens: int) -> list[int]:
    """Return the lengths of packed sequences, or none where values can't be looked at."""
    if not len(ends):
        raise ValueError(f"{name} is empty: give 0 and the end of each sequence")
    if not _has_values(ends):
        return []
    values = ends.tolist()
    if values[0] != 0 or sorted(values) != values or values[-1] > tokens:
        raise ValueError(
            f"{name} {values[:8]}: give 0 and the end of each sequence, rising to at most "
            f"{tokens}, the number of tokens"
        )
    return [end - first for first, end in pairwise(values)]


def _has_values(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and not is_traced()
