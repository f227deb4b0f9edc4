"""The design of an experiment: how large models are, how long they learn, what tests them.

This module imports no torch.
"""

from typing import Literal, NamedTuple

import msgspec

from suite.quality.methods import METHOD_BY_NAME, Change, PositionMethod
from suite.records.limits import MOST_COUNT, check_range


class ModelSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size of a model; heads are the method's."""

    layers: int = 4
    width: int = 128
    head_dim: int = 16
    vocabulary: int = 1024

    def __post_init__(self) -> None:
        check_range(self, 1, MOST_COUNT, "layers", "width", "head_dim", "vocabulary")


class LengthTest(NamedTuple):
    """What a trained model is tested with: a change, after a little training with it if `tuned`."""

    change: Change
    tuned: bool


class Design(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides what a model learns and how it is tested, beside its text and seed.

    Lengths are in tokens. A step learns `batch` windows of `trained_len`, a step of tuning as
    many tokens in windows of `tuned_len`. Tests are at `lengths`, the first of which is
    `trained_len`, over `windows` held-out windows of the longest. `changes` limits what is tested
    in a trained model besides itself; None is all that its method has.
    """

    name: Literal["quick", "default", "long", "toy"]
    methods: tuple[str, ...]
    seeds: int
    steps: int = 500
    tuning_steps: int = 40
    changes: tuple[Change, ...] | None = None
    lengths: tuple[int, ...] = (128, 256, 512, 2048)
    windows: int = 32
    batch: int = 16
    trained_len: int = 128
    tuned_len: int = 512
    peak_rate: float = 3e-3
    size: ModelSize = ModelSize()

    def __post_init__(self) -> None:
        check_range(self, 1, MOST_COUNT, "seeds", "steps", "windows", "batch", "trained_len")
        check_range(self, 0, MOST_COUNT, "tuning_steps", "tuned_len")
        longest = self.lengths[-1] if self.lengths else 0
        if any(length < 1 or longest % length for length in self.lengths) or not longest:
            raise ValueError(f"lengths {self.lengths}: each has to divide the last")
        if self.lengths[0] != self.trained_len:
            raise ValueError(f"lengths {self.lengths}: the first has to be {self.trained_len}")
        if unknown := set(self.methods) - set(METHOD_BY_NAME):
            raise ValueError(f"methods {sorted(unknown)} are unknown")

    def models(self) -> list[tuple[PositionMethod, int]]:
        """Return the models to train, method and seed: all methods with the first seed first."""
        methods = [METHOD_BY_NAME[name] for name in self.methods]
        return [(method, seed) for seed in range(self.seeds) for method in methods]

    def tests(self, method: PositionMethod) -> list[LengthTest]:
        """Return the tests of a trained model, the model as it was trained first."""
        changes = [c for c in method.changes if self.changes is None or c in self.changes]
        tunings = method.tunings if self.tuning_steps else ()
        untuned = [LengthTest("none", False), *(LengthTest(change, False) for change in changes)]
        return [*untuned, *(LengthTest(change, True) for change in tunings)]


DEFAULT = Design(name="default", methods=tuple(METHOD_BY_NAME), seeds=3)
QUICK = Design(
    name="quick",
    methods=("alibi", "rope", "sinusoidal"),
    seeds=1,
    tuning_steps=0,
    changes=("yarn",),
)
"""The first seed of the default's models, with the same numbers."""

LONG = Design(
    name="long",
    methods=DEFAULT.methods,
    seeds=3,
    steps=5000,
    tuning_steps=400,
    lengths=(128, 256, 512, 1024, 2048, 4096),
)
