"""What no command expects ends in a line and never with 1: a missing package, or a bug."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.console import bench

ROOT = Path(__file__).parents[3]
PROGRAMS = {
    "run_bench.py": "`make setup`",
    "examples/bloom_block.py": "`make setup`",
    "examples/transformers_patch.py": "pip install -e '.[peers]'",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_its_packages_a_program_says_what_installs_them(program: str) -> None:
    command = [sys.executable, "-S", program]  # without site-packages
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: No module named ")
    assert f"{PROGRAMS[program]} installs what this needs" in line


LATE_DESTRUCTOR = """
import signal, time
from reports.commands import command_line

class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def table(**_):
    last = Last()
    del last
    time.sleep(60)

command_line.cli.commands["table"].callback = table
command_line.main()
"""


def test_an_interrupt_that_comes_while_a_destructor_runs_is_not_lost() -> None:
    words = [sys.executable, "-c", LATE_DESTRUCTOR, "table", "results/none.jsonl"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1] == "Error: interrupted"


def test_a_package_that_a_command_lacks_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    importlib.import_module("reports.pages.listing")
    for name in ("reports.pages.listing", "reports.text.grid"):
        monkeypatch.delattr(name)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tabulate", None)
    done = bench("list", "variants")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "tabulate" in line
    assert line.endswith("run it with .venv/bin/python")


def test_a_bug_ends_with_3_and_the_place_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def divide_by_zero(_screen: object) -> str:
        return str(1 / 0)

    monkeypatch.setattr("reports.pages.listing.variants", divide_by_zero)
    done = bench("list", "variants")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: a bug of this program: ZeroDivisionError: division by zero (")
    assert "test_unexpected.py, line " in line


def test_a_missing_module_of_this_project_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("reports.pages.listing")
    monkeypatch.delattr("reports.pages.listing")
    monkeypatch.setitem(sys.modules, "reports.pages.listing", None)
    done = bench("list", "variants")
    assert done.returncode == 3
    assert "a bug of this program: ModuleNotFoundError" in done.stderr
