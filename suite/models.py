"""Released ALiBi models as presets: what their attention is, each with its source.

models.json beside this file has one model a line; a file of the user's own has the same form.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from suite.case import Count, Positive, Scale, SlopeScale
from suite.sweeps import Shape

BUILT_IN = Path(__file__).with_name("models.json")


class UnreadableModels(Exception):  # noqa: N818 - what is the matter with a file
    """A file of models that can't be used; the text says where and why."""


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's attention.

    `lengths` are the usual ones to measure, up to twice or more of `train_len`; `bias_form` says
    how its code writes the bias, which changes rounding and not meaning; `source` where the row
    was verified, or that it is recalled. Raises ValueError for heads that don't make up `hidden`.
    """

    name: str
    layers: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    hidden: Count
    train_len: Count
    attn: Literal["causal", "bidirectional"]
    bias_max: Positive
    slope_scale: SlopeScale
    bias_form: Literal["key", "key-end", "relative"]
    scale: Scale
    lengths: tuple[Count, ...]
    batch: Count
    source: str

    def __post_init__(self) -> None:
        if self.heads * self.head_dim != self.hidden:
            raise ValueError(f"{self.heads} heads of {self.head_dim} don't make {self.hidden}")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads can't share {self.kv_heads} kv heads evenly")
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)):
            raise ValueError("lengths are at least one, each once, in rising order")

    @property
    def shape(self) -> Shape:
        """The model's attention as a sweep takes it."""
        return Shape(
            heads=self.heads,
            head_dim=self.head_dim,
            kv_heads=self.kv_heads,
            causal=self.attn == "causal",
            bias_max=self.bias_max,
            slope_scale=self.slope_scale,
            scale=self.scale,
            lengths=self.lengths,
            batch=self.batch,
            model=self.name,
        )


@cache
def built_in() -> dict[str, Model]:
    """Return the models that come with this project, by name."""
    return read(BUILT_IN)


def read(path: Path) -> dict[str, Model]:
    """Return the models of a file by name. Raises UnreadableModels."""
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[Model])
    except OSError as error:
        raise UnreadableModels(f"{path}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableModels(f"{path}: {error}; suite/models.json shows the form") from None
    found = {row.name: row for row in rows}
    if len(found) < len(rows) or not found:
        raise UnreadableModels(f"{path}: give at least one model, and each name once")
    return found
