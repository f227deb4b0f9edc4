"""BlockMasks of batches of any form, made from where queries and keys stand."""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import pad

from variants.batches.places import Places
from variants.flex.block_masks import BLOCK
from variants.problem import Spec

_FAR_POSITION = 1 << 40  # than any position


def block_mask_from(spec: Spec, places: Places) -> BlockMask:
    """Return the key blocks that each block of queries visits, [batch, 1, rows, columns].

    A block is left out where sequences and positions at its ends show that no query sees a key of
    it. In the others each pair is looked at.
    """
    q_sequence, q_position, k_sequence, k_position = places
    visited = _visited_blocks(spec, places)
    counts = visited.sum(dim=2, dtype=torch.int32)
    columns = visited.to(torch.int8).argsort(dim=2, descending=True, stable=True)
    before, after = spec.extras.window

    def mask(entry: Tensor, head: Tensor, row: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        sequence = k_sequence[entry, key]
        visible = (q_sequence[entry, row] == sequence) & (sequence >= 0)
        steps = k_position[entry, key] - q_position[entry, row]
        if before >= 0:
            visible = visible & (steps >= -before)
        if spec.causal or after >= 0:
            visible = visible & (steps <= (0 if spec.causal else after))
        return visible

    return BlockMask.from_kv_blocks(
        counts[:, None],
        columns.to(torch.int32)[:, None],
        BLOCK_SIZE=BLOCK,
        mask_mod=mask,
        seq_lengths=(spec.q_len, spec.kv_len),
    )


def _visited_blocks(spec: Spec, places: Places) -> Tensor:
    """Return whether a query of a row's block may see a key of a column's.

    [batch, rows, columns]
    """
    first_q, last_q = _ends(places.q_sequence, places.q_sequence)
    first_k, last_k = _ends(places.k_sequence, places.k_sequence)
    visited = (first_q[:, :, None] <= last_k[:, None]) & (first_k[:, None] <= last_q[:, :, None])
    first_query, last_query = _ends(places.q_position, places.q_sequence)
    first_key, last_key = _ends(places.k_position, places.k_sequence)
    nearest, furthest = first_key[:, None] - last_query[:, :, None], last_key[:, None]
    furthest = furthest - first_query[:, :, None]
    before, after = spec.extras.window
    if before >= 0:
        visited = visited & (furthest >= -before)
    if spec.causal or after >= 0:
        visited = visited & (nearest <= (0 if spec.causal else after))
    return visited


def _ends(values: Tensor, sequence: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest value of real tokens in each block: [batch, blocks] each.

    A block of padding alone has ends in which nothing lies.
    """
    rest = -values.shape[1] % BLOCK
    is_real = pad(sequence, (0, rest), value=-1) >= 0
    values = pad(values, (0, rest))
    least = values.masked_fill(~is_real, _FAR_POSITION).unflatten(1, (-1, BLOCK)).amin(dim=2)
    greatest = values.masked_fill(~is_real, -_FAR_POSITION).unflatten(1, (-1, BLOCK)).amax(dim=2)
    return least, greatest
