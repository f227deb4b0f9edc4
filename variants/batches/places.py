"""Where each query and each key stands: in which sequence, and at which position within it.

Every batch that alibi_attention takes has this form, and variants in plain torch compute from it.
Two tokens may attend to each other if they are of one sequence; their distance is that of their
positions.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from variants.batches.sequences import Sequences
from variants.problem import Spec

NO_SEQUENCE = -1


class Places(NamedTuple):
    """The sequence and the position of all queries and keys.

    Queries' are [batch, q_len] and keys' [batch, kv_len], int64; where all batch entries are alike,
    1 stands for batch. The sequence of padding is NO_SEQUENCE.
    """

    q_sequence: Tensor
    q_position: Tensor
    k_sequence: Tensor
    k_position: Tensor


class Pairs(NamedTuple):
    """A distance and a visibility for each query and key: [batch or 1, q_len, kv_len].

    `distance` is their positions' difference, at least 0; `visible` whether the query sees the key.
    """

    distance: Tensor
    visible: Tensor


def places_of(spec: Spec, sequences: Sequences) -> Places:
    """Return the places of a call's queries and keys.

    Queries stand at the last slots of the keys, at the last filled ones of a cache, or from
    `q_offset` on.
    """
    slots = torch.arange(spec.kv_len, device=spec.device)[None]
    rows = torch.arange(spec.q_len, device=spec.device)[None]
    if sequences.cu_seqlens is not None:
        return _packed_places(rows, slots, sequences.cu_seqlens, sequences.cu_seqlens_k)
    if sequences.key_padding is not None:
        return _padded_places(spec, rows, sequences.key_padding)
    filled: Tensor | int = spec.kv_len
    k_sequence = torch.zeros_like(slots)
    if sequences.kv_lens is not None:
        filled = sequences.kv_lens.long()[:, None]
        k_sequence = torch.where(slots < filled, 0, NO_SEQUENCE)
    offset = spec.extras.q_offset
    q_position = rows + (filled - spec.q_len if offset is None else offset)
    return Places(torch.zeros_like(q_position), q_position, k_sequence, slots)


def _packed_places(
    rows: Tensor, slots: Tensor, cu_seqlens: Tensor, cu_seqlens_k: Tensor | None
) -> Places:
    """Return places in which the queries of each sequence are its last tokens."""
    q_sequence, q_position = _in_sequences(rows, cu_seqlens.long())
    if cu_seqlens_k is None:
        return Places(q_sequence, q_position, q_sequence, q_position)
    k_sequence, k_position = _in_sequences(slots, cu_seqlens_k.long())
    past = cu_seqlens_k.diff().long() - cu_seqlens.diff().long()  # keys before the first query
    q_position = q_position + pad(past, (0, 1))[q_sequence]
    return Places(q_sequence, q_position, k_sequence, k_position)


def _in_sequences(slots: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sequence of each slot, and its position from the sequence's first slot on."""
    sequence = torch.searchsorted(cu_seqlens, slots, right=True) - 1
    is_real = (sequence >= 0) & (slots < cu_seqlens[-1])
    position = slots - cu_seqlens[sequence.clamp(0, len(cu_seqlens) - 1)]
    return sequence.where(is_real, NO_SEQUENCE), position


def _padded_places(spec: Spec, rows: Tensor, key_padding: Tensor) -> Places:
    k_sequence = torch.where(key_padding, NO_SEQUENCE, 0)
    k_position = (~key_padding).cumsum(dim=1) - 1
    if spec.extras.q_offset is not None:
        q_position = rows + spec.extras.q_offset
        return Places(torch.zeros_like(q_position), q_position, k_sequence, k_position)
    queries = slice(spec.kv_len - spec.q_len, spec.kv_len)
    return Places(k_sequence[:, queries], k_position[:, queries], k_sequence, k_position)


def pairs_of(spec: Spec, places: Places) -> Pairs:
    """Return the distance of every query and key, and whether the query sees the key."""
    steps = places.k_position[:, None, :] - places.q_position[:, :, None]  # negative in the past
    visible = places.q_sequence[:, :, None] == places.k_sequence[:, None, :]
    visible = visible & (places.k_sequence >= 0)[:, None, :]
    before, after = spec.extras.window
    if before >= 0:
        visible = visible & (steps >= -before)
    if spec.causal or after >= 0:
        visible = visible & (steps <= (0 if spec.causal else after))
    return Pairs(steps.abs(), visible)


def clear_padding(tokens: Tensor, sequence: Tensor) -> Tensor:
    """Return [batch, heads, length, dim] with 0 in padding, whatever stood there.

    A weight of 0 does not hide a NaN or an infinity, forward or backward.
    """
    return tokens.masked_fill(is_padding(sequence), 0.0)


def is_padding(sequence: Tensor) -> Tensor:
    """Return which tokens are padding: bool [batch or 1, 1, length, 1]."""
    return (sequence < 0)[:, None, :, None]
