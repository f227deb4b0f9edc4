"""A process that trains one model, tests it, and says what it did on stdout, a line of JSON each.

Run as `python -m suite.quality.model.task TASK`, where TASK is the JSON of a ModelTask. It computes
in one thread, so that on one machine a seed gives the same numbers each time.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from suite.quality.design import LengthTest
from suite.quality.message import ModelTask, StepDone, TaskMessage
from suite.quality.methods import METHOD_BY_NAME, PositionMethod, Positions
from suite.quality.model.decoder import Decoder
from suite.quality.model.testing import bits_at
from suite.quality.model.training import (
    REPORTED_STEPS,
    StepListener,
    TrainedModel,
    new_model,
    steps_of,
    train,
    tuning_steps_of,
)
from suite.quality.record import Quality, Training
from suite.quality.text.corpus import Corpus, load

DIGITS = 5


def main() -> None:
    """Do the task that the command line names: train, then test, then tune and test again."""
    torch.set_num_threads(1)
    task = msgspec.json.decode(sys.argv[1], type=ModelTask)
    method, corpus = METHOD_BY_NAME[task.method], load(Path(task.text_file))
    model = _model(task, method, corpus)
    for test in task.tests:
        positions = positions_of(method, test, task.design.trained_len, task.design.tuned_len)
        tested = _tune(task, model, positions, test, corpus) if test.tuned else model
        for length in task.design.lengths:
            bits = bits_at(tested, positions, corpus, length)
            _say(
                Quality(
                    task.method,
                    task.seed,
                    *test,
                    length,
                    _round(bits.by_windows),
                    _round(bits.on_same_targets),
                    round(bits.cpu_s, 2),
                )
            )


def positions_of(
    method: PositionMethod, test: LengthTest, trained_len: int, tuned_len: int
) -> Positions:
    """Return the positions of a test; a tuned scaling keeps the factor that it was tuned with."""
    positions = method.positions(trained_len, test.change)
    if test.tuned and test.change != "none":
        return positions._replace(factor=tuned_len / trained_len)
    return positions


def _model(task: ModelTask, method: PositionMethod, corpus: Corpus) -> Decoder:
    """Return the trained model: from its file, or trained now and then written to it."""
    path, device = Path(task.weights_file), torch.device(task.device)
    vocabulary = corpus.summary.vocabulary
    model = new_model(method, task.design, vocabulary, task.seed)
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.to(device, torch.bfloat16).eval()
    positions, steps = method.positions(task.design.trained_len), steps_of(task.design)
    trained = train(model, positions, corpus, steps, task.seed, device, _say_step(tuned=False))
    unfinished = path.with_suffix(".unfinished")
    torch.save({name: each.cpu() for name, each in trained.model.state_dict().items()}, unfinished)
    unfinished.replace(path)
    _say(_training(task, trained, LengthTest("none", False)))
    return trained.model


def _tune(
    task: ModelTask, model: Decoder, positions: Positions, test: LengthTest, corpus: Corpus
) -> Decoder:
    """Return the model after a little training at the longer length."""
    steps, seed = tuning_steps_of(task.design), task.seed
    device = torch.device(task.device)
    trained = train(model, positions, corpus, steps, seed, device, _say_step(tuned=True))
    _say(_training(task, trained, test))
    return trained.model


def _training(task: ModelTask, trained: TrainedModel, test: LengthTest) -> Training:
    losses = trained.losses
    ends = range(0, len(losses), REPORTED_STEPS)
    means = [sum(part) / len(part) for part in (losses[i : i + REPORTED_STEPS] for i in ends)]
    parameters = sum(weight.numel() for weight in trained.model.parameters())
    cpu_s = round(trained.cpu_s, 2)
    return Training(task.method, task.seed, *test, _round(means), cpu_s, parameters)


def _round(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(number, DIGITS) for number in numbers)


def _say_step(*, tuned: bool) -> StepListener:
    return lambda steps, loss: _say(StepDone(steps, round(loss, DIGITS), tuned))


def _say(message: TaskMessage) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
