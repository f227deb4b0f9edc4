"""`lengths` as a command: it trains, goes on where it was stopped, shows files, and refuses."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.conditions.policy import ROOT
from suite.quality.results import read
from tests.fakes.console import bench
from tests.quality_files import header, qualities, write
from tests.suite.quality.toys import write_toy_text

TOY = """
from suite.quality import design
from tests.suite.quality.toys import toy_design
design.QUICK = toy_design("alibi", "rope")
from reports.commands.command_line import main
main()
"""
"""The program, with a toy for --quick."""


def refusal(*words: object) -> str:
    """Return the one line with which the command was refused."""
    done = bench("lengths", *words)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    return line


def test_files_are_shown_and_nothing_is_trained(tmp_path: Path) -> None:
    path = write(tmp_path / "lengths.jsonl", [header(), *qualities()])
    done = bench("lengths", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ALiBi and RoPE" in done.stdout
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--quick", "--long"), "--quick beside --long"),
        (("FILE", "--quick"), "--quick beside FILES"),
        (("FILE", "--long"), "--long beside FILES"),
        (("--resume", "FILE", "--text", "."), "--text beside --resume"),
        (
            ("--resume", "FILE", "--long"),
            "--long beside --resume: the file has its design",
        ),
        (("--resume", "missing.jsonl"), "missing.jsonl: No such file"),
        (("--out", "FILE"), "exists; --resume"),
        (("--quick", "--device", "tpu"), "--device tpu: give cpu, cuda"),
        (("--quick", "--text", "missing", "--device", "cpu"), "--text missing: not a folder"),
        (("--quick", "--costs", "missing.jsonl", "--device", "cpu"), "missing.jsonl: No such file"),
        (("--quick", "--costs", "FILE", "--device", "cpu"), "not a results file"),
        (
            ("--quick", "--costs", "FILE", "--format", "json"),
            "json is of one file, without --costs",
        ),
    ],
)
def test_what_makes_no_experiment_is_refused_in_a_line(
    tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    path = write(tmp_path / "lengths.jsonl", [header()])
    before = sorted(tmp_path.iterdir())
    is_named = words[0] == "FILE" or "--resume" in words or "--out" in words
    out = () if is_named else ("--out",)
    named = [str(path) if word == "FILE" else word for word in words]
    assert why in refusal(*named, *out, *([tmp_path / "new.jsonl"] if out else []))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.heavy
def test_a_run_that_was_interrupted_goes_on_and_trains_no_model_twice(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.mkdir()
    write_toy_text(text)
    path = tmp_path / "lengths.jsonl"
    words = ("lengths", "--quick", "--text", text, "--out", path, "--device", "cpu")
    process = subprocess.Popen(
        [sys.executable, "-c", TOY, *words], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (path.exists() and read(path).qualities):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert f"--resume {path} does the rest" in errors
    assert read(path).qualities
    done = bench("lengths", "--resume", path, "--format", "json")
    assert done.returncode == 0
    results = read(path)
    models = [(each.method, each.seed) for each in results.trainings if not each.tuned]
    assert sorted(models) == [("alibi", 0), ("rope", 0)]
    places = [(q.method, q.seed, q.test, q.length) for q in results.qualities]
    assert len(places) == len(set(places)) == len(json.loads(done.stdout)["rows"])
    assert len(places) == 2 * (5 + 1 + 6 + 4)
