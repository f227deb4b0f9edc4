"""Portions: the heads and rows that the oracle takes at a time, so that a check stays small.

The float64 keys of a long case with many heads would take many GiB. So the oracle works on portions
of the heads, of 1 GiB at most, and on blocks of a portion's rows, of 64 MiB.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from variants.problem import Spec

ALL_ROWS = 512
"""Up to so many queries all rows are compared in float64, else 256 and those that look worst."""

PORTION_BYTES = 1 << 30
BLOCK_BYTES = 64 << 20
TENSORS_A_HEAD = 7
"""The most float64 tensors of k's size, with the checked rows, that one query head needs.

They are k and v, dk and dv, the sums of dk and dv over blocks, and over a group of heads copies of
k and v and the sums.
"""

_PEAKS = ((TENSORS_A_HEAD, 3), (4, 5))
"""(tensors a head, tensors of a block's scores): while dk and dv are summed, and before that."""


@dataclass(frozen=True)
class Portion:
    """Some batch entries, some of their kv heads, and query heads that use those kv heads."""

    batch: slice
    heads: slice
    kv_heads: slice

    def of_queries(self, tensor: Tensor) -> Tensor:
        """Return the portion of a tensor [batch, heads, ...]."""
        return tensor[self.batch, self.heads]

    def of_keys(self, tensor: Tensor) -> Tensor:
        """Return the portion of a tensor [batch, kv_heads, ...]."""
        return tensor[self.batch, self.kv_heads]

    def by_groups(self) -> Iterator["Portion"]:
        """Yield each kv head with its query heads."""
        group = (self.heads.stop - self.heads.start) // (self.kv_heads.stop - self.kv_heads.start)
        for place, kv_head in enumerate(range(self.kv_heads.start, self.kv_heads.stop)):
            first = self.heads.start + place * group
            yield Portion(self.batch, slice(first, first + group), slice(kv_head, kv_head + 1))

    def by_heads(self, count: int) -> Iterator["Portion"]:
        """Yield the portion in pieces of `count` query heads."""
        for first in range(self.heads.start, self.heads.stop, count):
            yield replace(self, heads=slice(first, min(self.heads.stop, first + count)))


def portions(spec: Spec) -> Iterator[Portion]:
    """Yield a case's portions in order of batch entry and head, each as large as fits.

    A portion never splits a group: a kv head with its query heads, over which dk and dv are summed.
    """
    group = spec.heads // spec.kv_heads
    entries = max(1, heads_at_once(spec) // spec.heads)
    groups = min(spec.kv_heads, max(1, heads_at_once(spec) // group))
    for entry in range(0, spec.batch, entries):
        for first in range(0, spec.kv_heads, groups):
            past = min(spec.kv_heads, first + groups)
            yield Portion(
                batch=slice(entry, min(spec.batch, entry + entries)),
                heads=slice(first * group, past * group),
                kv_heads=slice(first, past),
            )


def check_bytes(spec: Spec) -> int:
    """Return the most bytes that a check takes beside inputs and answers."""
    heads = min(spec.batch * spec.heads, heads_at_once(spec))
    block = min(BLOCK_BYTES, 8 * heads * min(spec.q_len, ALL_ROWS) * spec.kv_len)
    peaks = (tensors * heads * _tensor_bytes(spec) + blocks * block for tensors, blocks in _PEAKS)
    return max(peaks)


def heads_at_once(spec: Spec) -> int:
    """Return how many query heads fit in a portion."""
    return max(1, PORTION_BYTES // (TENSORS_A_HEAD * _tensor_bytes(spec)))


def _tensor_bytes(spec: Spec) -> int:
    """Return the bytes of one head's keys and checked rows in float64, and of each row's norm."""
    return 8 * (spec.kv_len + min(spec.q_len, ALL_ROWS)) * (spec.head_dim + 1)


def rows_at_once(spec: Spec, heads: int) -> int:
    """Return how many query rows of `heads` heads make a block; at most 512."""
    return min(ALL_ROWS, max(1, BLOCK_BYTES // (8 * heads * spec.kv_len)))
