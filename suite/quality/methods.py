"""The position methods that are trained, and what is changed in each when it is tested.

This module imports no torch, so that a command can name methods at once.
"""

from typing import Literal, NamedTuple, get_args

SlopeConvention = Literal[
    "standard", "bias_max_16", "over_sqrt_d", "reversed", "dropped", "literal"
]
"""Whose slopes: the published code's, or a mistake (suite.quality.positions.slopes)."""

RotaryScaling = Literal["plain", "pi", "ntk", "dynamic_ntk", "yarn", "yarn_untempered"]
"""RoPE as trained, or how it is scaled to more positions (suite.quality.positions.rotary)."""

Change = SlopeConvention | RotaryScaling | Literal["none"]
"""What differs from training when a model is tested; "none" is nothing."""

SCALINGS: tuple[RotaryScaling, ...] = get_args(RotaryScaling)[1:]
WRONG_SLOPES: tuple[SlopeConvention, ...] = ("bias_max_16", "over_sqrt_d", "reversed", "dropped")


class Positions(NamedTuple):
    """How one test or training tells attention its positions.

    `slopes` and `rotation` are None without ALiBi and without RoPE. `factor` scales RoPE at every
    length; None is the tested length over `trained_len`, and 1 up to it.
    """

    trained_len: int
    slopes: SlopeConvention | None = None
    rotation: RotaryScaling | None = None
    learned_bias: bool = False
    sinusoids: bool = False
    factor: float | None = None


class PositionMethod(NamedTuple):
    """A way to tell positions that a model is trained with, and what it is tested with besides.

    `changes` are tested in the trained model, `tunings` after a little more training with the
    change at a longer length. `heads` has 16 channels each.
    """

    name: str
    title: str
    slopes: SlopeConvention | None = None
    rotation: RotaryScaling | None = None
    learned_bias: bool = False
    sinusoids: bool = False
    heads: int = 8
    changes: tuple[Change, ...] = ()
    tunings: tuple[Change, ...] = ()

    def positions(self, trained_len: int, change: Change = "none") -> Positions:
        """Return the positions of a training at `trained_len`, or of a test with a change."""
        slopes, rotation = self.slopes, self.rotation
        if change in get_args(RotaryScaling):
            rotation = change  # type: ignore[assignment]
        elif change != "none":
            slopes = change  # type: ignore[assignment]
        return Positions(trained_len, slopes, rotation, self.learned_bias, self.sinusoids)


METHODS = (
    PositionMethod("alibi", "ALiBi", slopes="standard", changes=WRONG_SLOPES, tunings=("none",)),
    PositionMethod(
        "rope",
        "RoPE",
        rotation="plain",
        changes=SCALINGS,
        tunings=("none", "pi", "ntk", "yarn"),
    ),
    PositionMethod("sinusoidal", "sinusoidal", sinusoids=True),
    PositionMethod("alibi_rope", "ALiBi and RoPE", slopes="standard", rotation="plain"),
    PositionMethod("t5", "T5's bias", learned_bias=True),
    PositionMethod("nope", "none"),
    PositionMethod("alibi_bias_max_16", "ALiBi with bias_max 16", slopes="bias_max_16"),
    PositionMethod(
        "alibi_12_heads", "ALiBi, 12 heads", slopes="standard", heads=12, changes=("literal",)
    ),
)
"""In the order in which they are trained: what tells most comes first."""

METHOD_BY_NAME = {method.name: method for method in METHODS}

CHANGE_TITLES: dict[Change, str] = {
    "plain": "RoPE as trained",
    "pi": "PI",
    "ntk": "NTK-aware",
    "dynamic_ntk": "dynamic NTK",
    "yarn": "YaRN",
    "yarn_untempered": "YaRN, no temperature",
    "bias_max_16": "tested with bias_max 16",
    "over_sqrt_d": "tested / sqrt(d)",
    "reversed": "tested in reverse order",
    "dropped": "tested without its bias",
    "literal": "tested by literal rule",
}
