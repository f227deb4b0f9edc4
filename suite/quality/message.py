"""What goes between the command and the processes of models: a task, and what became of it."""

import msgspec

from suite.quality.design import Design, LengthTest
from suite.quality.record import Quality, Training


class ModelTask(msgspec.Struct, frozen=True):
    """One model to train, unless its weights are in `weights_file`, and its tests."""

    method: str
    seed: int
    design: Design
    text_file: str
    weights_file: str
    tests: tuple[LengthTest, ...]
    device: str


class StepDone(msgspec.Struct, frozen=True, tag_field="record", tag="step"):
    """Steps that a model has learned, and the mean loss of the last ones in nats a token."""

    steps: int
    loss: float
    tuned: bool = False


TaskMessage = StepDone | Training | Quality
