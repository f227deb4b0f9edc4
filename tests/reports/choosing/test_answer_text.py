"""The command that `best` prints measures what `best` was asked about, also for unusual models."""

import json
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.choosing.choose import problem_of
from suite.cases.models import built_in
from suite.cases.request import Request
from tests.docs.test_ci import plan_of
from tests.docs.test_cli import commands
from tests.fakes.console import bench

USUAL = {"bias_max": 8.0, "slope_scale": "1", "scale": "1/sqrt(d)"}
UNUSUAL = [
    name
    for name, model in built_in().items()
    if any(getattr(model, field) != value for field, value in USUAL.items())
]


pytestmark = pytest.mark.usefixtures("folders")  # nothing is measured yet


def printed_command(*words: object) -> list[str]:
    """Return the words of the last command that `best` prints, after the program."""
    done = bench("best", "--device", "cpu", "--length", "70", "--dtype", "float16", *words)
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout.replace("\\\n", " ").rpartition("to measure: ")[2])[2:]


def request_of(**options: Any) -> Request:
    return Request(lengths="70", dtypes="float16", **options)


def is_measured(request: Request, command: list[str]) -> bool:
    """Whether a command measures all that was asked."""
    name, *words = command
    cases = plan_of(commands()[name].make_context(name, words).params).cases
    measured = {problem_of(case) for case in cases}
    return {problem_of(case) for case in request.cases()} <= measured


def test_there_are_unusual_models_of_each_kind() -> None:
    for field, value in USUAL.items():
        assert any(getattr(built_in()[name], field) != value for name in UNUSUAL)


@pytest.mark.parametrize("name", [*UNUSUAL, "Refact-1.6B", "jina-embeddings-v2-small-en"])
def test_the_command_measures_the_attention_of_the_model(name: str) -> None:
    command = printed_command("--models", name)
    assert ("--models" in command) == (name in UNUSUAL)
    assert is_measured(request_of(models=name), command)


def test_of_several_models_it_names_the_one_of_the_answer() -> None:
    command = printed_command("--models", "mpt-7b-storywriter,bloom-560m,jais-13b")
    assert command[command.index("--models") + 1] == "jais-13b"
    assert "--models" not in printed_command("--models", "jais-13b,bloom-560m")


def test_what_was_typed_beside_the_model_is_in_the_command() -> None:
    typed = ("--batch", "3", "--noncausal", "--layout", "bnhd", "--q-len", "2")
    request = request_of(models="jais-13b", batch=3, noncausal=True, layout="bnhd", q_len=2)
    assert is_measured(request, printed_command("--models", "jais-13b", *typed))


def test_a_model_of_the_users_own_is_measured_from_its_file(tmp_path: Path) -> None:
    bloom = msgspec.to_builtins(built_in()["bloom-560m"])
    file = tmp_path / "my models.json"
    file.write_text(json.dumps([bloom, bloom | {"name": "own", "bias_max": 5.0}]))
    command = printed_command("--models", f"jais-13b,{file}")
    assert command[command.index("--models") + 1] == str(file)
    assert is_measured(request_of(models=str(file)), command)
