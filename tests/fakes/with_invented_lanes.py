"""run_bench.py with lanes that are processes and compute nothing.

python -m tests.fakes.with_invented_lanes COMMAND OPTIONS...
"""

import os
import runpy
import sys
from collections.abc import Iterable

from suite.lanes import handle
from tests.fakes.belief import believe_invented_times
from tests.fakes.console import ROOT
from tests.fakes.lane import COMMAND, PlannedFault, environment


def command(*words: object) -> list[str]:
    """Return the command line that runs a command of run_bench.py with invented lanes."""
    return [sys.executable, "-m", "tests.fakes.with_invented_lanes", *map(str, words)]


def surroundings(faults: Iterable[PlannedFault] = ()) -> dict[str, str]:
    """Return an environment in which lanes have these faults, in whatever folder they start."""
    lanes = environment(faults)
    return os.environ | lanes | {"PYTHONPATH": f"{lanes['PYTHONPATH']}{os.pathsep}{ROOT}"}


if __name__ == "__main__":
    handle.LAUNCH = handle.Launch(COMMAND)  # before any module of suite takes it from there
    believe_invented_times()
    sys.argv[0] = str(ROOT / "run_bench.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
