"""What the atlas learns of an implementation: plain values, without torch."""

from typing import Literal

import msgspec

Edition = Literal["raced", "shipped"]
EDITIONS: tuple[Edition, ...] = ("raced", "shipped")
"""An implementation as this project races it, or as its own project ships it."""


NO_NUMBER = "no finite weights"
"""The answer of an implementation whose outputs are no numbers."""

HIDDEN = "the oldest keys are masked"
"""What is wrong where a bias is so far off that keys are as good as masked."""


class SlopeRule(msgspec.Struct, frozen=True):
    """The slopes that an implementation used for a head count, in words, and the first and last."""

    heads: int
    rule: str
    first: float | None
    last: float | None


class BiasError(msgspec.Struct, frozen=True):
    """The largest error of a logit that the bias had at a length, in nats, or why there is none.

    `near` is over the 64 newest keys and all heads; `far` over the 64 oldest and the gentlest head,
    None where keys are as good as masked. In a `middle` row `near` is over its 64 nearest keys, and
    there is no `far`.
    """

    dtype: str
    length: int
    near: float | None = None
    far: float | None = None
    middle: bool = False
    reason: str = ""


class Findings(msgspec.Struct, kw_only=True):
    """The findings of one implementation; an empty text was not asked, or has no answer."""

    variant: str
    edition: Edition
    sign: str = ""
    slopes: str = ""
    scale: str = ""
    bidirectional: str = ""
    chunk: str = ""
    grouped: str = ""
    padding: str = ""
    gradients: str = ""
    slope_gradients: str = ""
    rules: list[SlopeRule] = []
    errors: list[BiasError] = []
    ended: str = ""
    """How the process ended before it had asked everything; empty if it had not."""
