"""The lines of a file of lengths: a header, then what each model learned and how it was tested."""

import msgspec

from suite.conditions.policy import Circumstances
from suite.quality.design import Design, LengthTest
from suite.quality.methods import Change
from suite.quality.text.summary import TextSummary
from suite.records.limits import MOST_COUNT, MOST_S, check_range, check_words
from variants.host.hardware import Hardware

SCHEMA = 1
MOST_BITS = 1e3


class _QualityLine(msgspec.Struct, frozen=True, tag_field="record", forbid_unknown_fields=True):
    """A line of a file of lengths; its JSON field `record` is the kind of line."""


class LengthsHeader(_QualityLine, frozen=True, tag="lengths"):
    """The first line: when, where and by which design; the text, and the bytes of its windows.

    `window_bytes` are those of each held-out window, `target_bytes` those of its last targets,
    which every length is tested on.
    """

    schema: int
    started: str
    argv: tuple[str, ...]
    device: str
    hardware: Hardware
    software: dict[str, str]
    circumstances: Circumstances
    design: Design
    text_name: str
    text: TextSummary
    window_bytes: tuple[int, ...]
    target_bytes: tuple[int, ...]

    def __post_init__(self) -> None:
        check_words(self)
        for sizes in (self.window_bytes, self.target_bytes):
            if len(sizes) != self.text.windows or not all(0 < n < MOST_COUNT for n in sizes):
                raise ValueError(
                    f"bytes of {len(sizes)} windows, and there are {self.text.windows}"
                )


class _ModelLine(_QualityLine, frozen=True):
    """A line of one model: its method and seed."""

    method: str
    seed: int

    def __post_init__(self) -> None:
        check_words(self)
        check_range(self, 0, MOST_COUNT, "seed")


class Training(_ModelLine, frozen=True, tag="training"):
    """A model has learned: mean loss of each 20 steps in nats a token, CPU time, parameters.

    With `tuned` it is the little training with a change, of the model that was there before.
    """

    change: Change
    tuned: bool
    losses: tuple[float, ...]
    cpu_s: float
    parameters: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0, MOST_S, "cpu_s")
        check_range(self, 1, MOST_COUNT, "parameters")


class Quality(_ModelLine, frozen=True, tag="quality"):
    """A model was tested at a length: bits per byte of each held-out window, by two measures.

    `by_windows` has all tokens of a window, cut into pieces of the length. `on_same_targets` has
    the last tokens of each window, the same at every length, with as many before them as fit.
    """

    change: Change
    tuned: bool
    length: int
    by_windows: tuple[float, ...]
    on_same_targets: tuple[float, ...]
    cpu_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 1, MOST_COUNT, "length")
        check_range(self, 0, MOST_S, "cpu_s")
        bits = (*self.by_windows, *self.on_same_targets)
        if len(self.by_windows) != len(self.on_same_targets) or not all(
            0 <= each <= MOST_BITS for each in bits
        ):
            raise ValueError(f"bits per byte of windows are not from 0 to {MOST_BITS:g}")

    @property
    def test(self) -> LengthTest:
        """What the model was tested with."""
        return LengthTest(self.change, self.tuned)


class ModelFault(_ModelLine, frozen=True, tag="model_fault"):
    """A model's process ended early, and why. Resuming tries it again."""

    reason: str


QualityRecord = LengthsHeader | Training | Quality | ModelFault
