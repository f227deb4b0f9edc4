"""Decode: steps against a cache that grows, where the variant prepares anew for each step.

A server meets every length of a sequence once. So the time of a step includes what the variant
builds or compiles for its length: a mask, a BlockMask, a graph.
"""

import sys
from collections.abc import Sequence

from torch import Tensor

from suite.agreement.inputs import PrepareFunction
from variants.problem import Spec


class DecodeSteps:
    """An attention of the longest length, which takes a decode step at each length up to it.

    k and v [batch, kv_heads, kv_len, head_dim] are the cache, and each step gets a view of its
    first keys; a cache `in_pages` each step gets as it is. The norms of a cache, where there are
    some, are those of all of it, and true of each view. A call returns the output of each step.
    """

    def __init__(
        self, prepare: PrepareFunction, specs: Sequence[Spec], *, in_pages: bool = False
    ) -> None:
        self._prepare = prepare
        self._in_pages = in_pages
        self._specs = specs
        self.steps_taken = 0

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        outs = []
        for spec in self._specs:
            keys = slice(0, None if self._in_pages else spec.kv_len)
            outs.append(self._prepare(spec)(q, k[:, :, keys], v[:, :, keys], slopes, *rest))
            self.steps_taken += 1
        return tuple(outs)


def graphs_compiled() -> int:
    """Return how many graphs torch.compile has made in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else int(dynamo.counters["stats"]["unique_graphs"])
