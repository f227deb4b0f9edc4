"""A cache in transformers' form that holds the caller's keys and values."""

from typing import Any

from torch import Tensor

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


def transformers_module(name: str) -> Any:
    """Return a module of transformers.models. Raises Unsupported without transformers."""
    return package(f"transformers.models.{name}", INSTALL)
