"""What `fleet` and `run --part` refuse before anything is done, and the words that they pass on."""

import socket
import sys
from pathlib import Path

import click
import pytest

from reports.commands.many.option_words import option_words
from reports.commands.run import run
from suite.cases.plan import part_of
from suite.failures import BadRequest
from tests.fakes.console import bench
from tests.records import a_case, a_plan


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "give --types, such as H100,A100,CPU; or --resume FOLDER"),
        (["--types", "H100,"], "--types 'H100,': name at least one"),
        (["--types", "CPU", "--device", "cpu"], "--device: the type of a node decides"),
        (["--types", "CPU", "--wait", "soon"], "--wait soon: give a duration"),
        (["--types", "CPU", "--budget", "soon"], "--budget soon: give a duration"),
        (["--types", "CPU", "--lengths", "0"], "--lengths 0"),
        (["--types", "CPU", "--models", "my.json"], "--models my.json"),
        (["--types", "CPU", "--resume", "nowhere"], "--types beside --resume, which has its plan"),
        (["--resume", "nowhere"], "--resume nowhere: no folder of a fleet"),
        (["--types", "CPU", "--address", "here"], "--address here: give auto, or HOST:PORT"),
        (["--types", "CPU", "--address", "127.0.0.1:1"], "--address 127.0.0.1:1: nothing answers"),
    ],
)
def test_what_can_not_be_done_is_refused_in_a_line(
    words: list[str], error: str, tmp_path: Path
) -> None:
    where = [] if "--resume" in words else ["--out", tmp_path / "out"]
    done = bench("fleet", *words, *where)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {error}"), done.stderr
    assert not (tmp_path / "out").exists()


def test_without_ray_the_command_says_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = bench("fleet", "--types", "CPU", "--address", address, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == "Error: fleet needs Ray: pip install -e '.[fleet]'\n"


def test_kernels_of_yours_stay_here(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text("def prepare(spec):\n    return None\n")
    done = bench("fleet", "--types", "CPU", "--variants", kernel)
    assert done.returncode == 2
    assert "kernels and recordings of yours can't go" in done.stderr


def test_options_are_passed_on_as_they_were_typed_and_defaults_are_not() -> None:
    typed = ["--length", "64", "--noncausal", "--python", "a=b", "--python", "c=d", "--strict"]
    context = run.make_context("run", [*typed, "--seed", "3"])
    assert isinstance(context, click.Context)
    words = option_words(context, {"strict"})
    assert words == [
        "--lengths", "64", "--noncausal", "--seed", "3", "--python", "a=b", "--python", "c=d"
    ]  # fmt: skip


def test_the_parts_of_a_plan_are_the_plan_and_share_no_case() -> None:
    whole = a_plan(*(a_case(length) for length in (64, 128, 256, 512, 1024)))
    parts = [part_of(whole, number, 3).cases for number in (1, 2, 3)]
    assert sorted(map(len, parts)) == [1, 2, 2]
    assert {case for part in parts for case in part} == set(whole.cases)


def test_more_parts_than_cases_are_refused() -> None:
    with pytest.raises(BadRequest, match="--part 2/3: the plan has 1 cases; give no more parts"):
        part_of(a_plan(a_case()), 2, 3)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/", "-1/2"])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    done = bench("run", "--device", "cpu", "--part", text)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: --part {text}: give a part such as 2/3")
