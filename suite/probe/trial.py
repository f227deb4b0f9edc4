"""The process of a worker: it tries cells on a tiny case, and writes what became of each.

    python -m suite.probe.trial DEVICE THREADS CELLS HALF

CELLS is a JSON list of [variant, mode], HALF the dtype of their case.
"""

import os
import sys
from collections.abc import Iterable, Iterator

import msgspec
import torch

from suite.cases.case import Case, Dtype, Mode
from suite.clocks.timer import Bench
from suite.lanes.lane import Lane
from suite.lanes.prepared_case import Subject
from suite.lanes.protocol import Check, CheckResult, FirstCall, Prepare, Refusal
from suite.probe.worker import Outcome
from variants.catalog import BY_NAME

LENGTH = 64


def main(device: str, threads: str, cells: str, half: Dtype) -> None:
    """Write an outcome for the start, then one for each cell, until one has spoilt the process."""
    lines = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what variants and compilers print is no outcome
    torch.set_num_threads(int(threads))
    if device != "cpu":
        torch.cuda.set_device(device)
    lines.write(b'["measured", ""]\n')
    parsed = msgspec.json.decode(cells, type=list[tuple[str, Mode]])
    for outcome in outcomes(parsed, Bench(torch.device(device)), half):
        lines.write(msgspec.json.encode(outcome) + b"\n")


def outcomes(
    cells: Iterable[tuple[str, Mode]], bench: Bench, half: Dtype = "bfloat16"
) -> Iterator[Outcome]:
    """Try cells and yield the outcome of each; end after one that has spoilt the process."""
    for name, mode in cells:
        outcome = _try(name, mode, bench, half)
        yield outcome
        if outcome.ends_worker:
            return


def _try(name: str, mode: Mode, bench: Bench, half: Dtype) -> Outcome:
    variant = BY_NAME[name]
    lane = Lane(Subject(variant.module, dict(variant.options), variant.answers), bench)
    case = Case(
        heads=4,
        kv_heads=4,
        head_dim=64,
        q_len=LENGTH,
        kv_len=LENGTH,
        dtype=half,
        mode=mode,
    )
    for step in (Prepare(case, inputs_seed=0), FirstCall(), Check("before", rows_seed=0)):
        answer = lane.answer(step)
        if isinstance(answer, Refusal):
            return Outcome(answer.status, answer.reason)
    assert isinstance(answer, CheckResult)
    return Outcome("measured" if answer.agrees else "disagrees", answer.where)


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
