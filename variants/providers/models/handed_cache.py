"""What transformers' modules get and give here: a cache that holds k and v, a mask, rows."""

from typing import Any

import torch
from torch import Tensor

from variants.problem import Spec
from variants.providers.package import package

INSTALL = "pip install transformers"


class HandedCache:
    """Takes the place of a layer's cache, so that a module attends to k and v as they are.

    k and v are [batch, heads, kv_len, head_dim]; what the module would append is ignored.
    """

    def __init__(self, k: Tensor, v: Tensor, q_len: int) -> None:
        self._k, self._v, self._length_before = k, v, k.shape[2] - q_len

    def update(self, k: Tensor, v: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return the caller's keys and values."""
        return self._k, self._v

    def get_seq_length(self) -> int:
        """Return how many keys stood before those of the queries."""
        return self._length_before


def hidden_pairs(spec: Spec) -> Tensor:
    """Return which pairs a causal mask hides: bool [1, 1, q_len, kv_len]."""
    everything = torch.ones(1, 1, spec.q_len, spec.kv_len, dtype=torch.bool)
    return everything.triu(spec.kv_len - spec.q_len + 1)


def by_heads(spec: Spec, rows: Tensor) -> Tensor:
    """Return a module's output [batch, q_len, heads * head_dim] with its heads before its rows."""
    return rows.view(spec.batch, spec.q_len, spec.heads, spec.head_dim).transpose(1, 2)


def transformers_module(name: str) -> Any:
    """Return a module of transformers.models. Raises Unsupported without transformers."""
    return package(f"transformers.models.{name}", INSTALL)
