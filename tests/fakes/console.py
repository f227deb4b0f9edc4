"""The command line in the tests' process: `run_bench.py` is run as a program, without a new one."""

import io
import runpy
import signal
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

ROOT = Path(__file__).parents[2]


class Exit(NamedTuple):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def bench(*words: object) -> Exit:
    """Run a command line of run_bench.py to its end; the environment is this process's."""
    program = str(ROOT / "run_bench.py")
    handlers = {stop: signal.getsignal(stop) for stop in (signal.SIGTERM, signal.SIGHUP)}
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", [program, *map(str, words)]))
        stack.enter_context(mock.patch.object(sys, "unraisablehook", sys.unraisablehook))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        finally:
            for stop, handler in handlers.items():
                signal.signal(stop, handler)
    assert code is None or isinstance(code, int), code
    return Exit(code or 0, out.getvalue(), err.getvalue())


def refusal(*words: object) -> str:
    """Return the one line with which a command is refused."""
    return assert_refused(bench(*words))


def assert_refused(end: Exit) -> str:
    """Say that a command ended with 2 and one line; return the line."""
    assert end.returncode == 2, end
    assert end.stdout == ""
    (line,) = end.stderr.splitlines()
    assert line.startswith("Error: ")
    return line
