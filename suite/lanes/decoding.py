"""Decode: single steps against a cache that grows, each prepared as if its length were new.

A served sequence meets every length once, so whatever a variant builds or compiles for a length
(a mask, a BlockMask, a graph) is paid for at every step, as it is there.
"""

import sys
from collections.abc import Sequence

from torch import Tensor

from suite.agreement.inputs import PrepareFunction
from variants.problem import Spec


class Stepping:
    """An attention of the longest length that takes a step at each of some lengths on its way.

    k and v [batch, kv_heads, kv_len, head_dim] are the cache; each step sees a view of its first
    keys. Returns the last step's answer.
    """

    def __init__(self, prepare: PrepareFunction, specs: Sequence[Spec]) -> None:
        self._prepare = prepare
        self._specs = specs
        self.taken = 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        for spec in self._specs:
            seen = slice(0, spec.kv_len)
            out = self._prepare(spec)(q, k[:, :, seen], v[:, :, seen], slopes)
            self.taken += 1
        return out


def graphs_compiled() -> int:
    """Return how many graphs torch.compile has made in this process."""
    counting = sys.modules.get("torch._dynamo.utils")
    return 0 if counting is None else int(counting.counters["stats"]["unique_graphs"])
