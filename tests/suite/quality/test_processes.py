"""Models' processes are heard side by side; one that dies is named and costs the others nothing."""

import os
import sys

import pytest

from suite.quality.message import ModelTask, StepDone
from suite.quality.processes import ModelNews, do_all
from suite.quality.record import ModelFault
from tests.suite.quality.toys import toy_design

SCRIPT = """
import json, os, sys, time
task = json.loads(sys.argv[1])
print(json.dumps({"record": "step", "steps": 20, "loss": 1.0 + os.getpid()}), flush=True)
if task["seed"] == 1:
    sys.exit("the weights are gone")
if task["seed"] == 2:
    time.sleep(60)
print(json.dumps({"record": "step", "steps": 40, "loss": 0.5}), flush=True)
"""


@pytest.fixture(autouse=True)
def _invented_process(monkeypatch: pytest.MonkeyPatch) -> None:
    command = (sys.executable, "-c", SCRIPT)
    monkeypatch.setattr("suite.quality.processes.COMMAND", command)


def task(seed: int) -> ModelTask:
    return ModelTask("alibi", seed, toy_design("alibi"), "text", "weights", (), "cpu")


def test_every_message_is_heard_and_then_the_end() -> None:
    news = list(do_all([task(0)], 2))
    assert [type(each.message) for each in news] == [StepDone, StepDone, type(None)]
    assert {each.task for each in news} == {task(0)}


def test_a_process_that_dies_is_a_fault_with_its_last_words_and_the_others_go_on() -> None:
    news = list(do_all([task(1), task(0), task(3)], 2))
    faults = [each.message for each in news if isinstance(each.message, ModelFault)]
    assert faults == [ModelFault("alibi", 1, "exited with 1; it last said: the weights are gone")]
    assert {each.task.seed for each in news if each.message is None} == {0, 3}


def test_no_more_run_side_by_side_than_is_said() -> None:
    running: set[int] = set()
    for news in do_all([task(0), task(3), task(4)], 1):
        running.add(news.task.seed)
        assert len(running) == 1
        if news.message is None:
            running.clear()


def test_processes_end_when_nobody_listens_any_more() -> None:
    heard = do_all([task(2)], 1)
    first = next(heard)
    assert isinstance(first, ModelNews)
    assert isinstance(first.message, StepDone)
    process_id = int(first.message.loss - 1)
    heard.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
