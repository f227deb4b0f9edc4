"""A process for each implementation that is asked, watched, some at a time."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import msgspec

from suite.atlas.findings import EDITIONS, Edition, Findings
from suite.cases import parse
from suite.conditions.policy import ROOT
from suite.kernels.kernel_code import defines
from suite.lanes.handle import ending, environment, last_words
from variants.catalog import RACED
from variants.host.software import is_installed

COMMAND = (sys.executable, "-m", "suite.atlas.questions")
LIMIT_S = 600.0
_LOOK_EVERY_S = 0.05

Listener = Callable[[str], None]


def implementations(names: str | None) -> list[tuple[str, Edition]]:
    """Return what is asked: the variants named, or all for a CPU, each as raced and as shipped.

    Of all, those whose package is missing are left out. Raises BadRequest for an unknown name.
    """
    askable = [each for each in RACED if each.answers == "alibi" and each.device != "cuda"]
    if names is None:
        chosen = [each for each in askable if not each.package or is_installed(each.package)]
    else:
        by_name = {each.name: each for each in askable}
        words = parse.words("--variants", names)
        if "peers" in words:
            peers = [each for each in askable if each.package]
            words.remove("peers")
            words += [each.name for each in peers if is_installed(each.package)]
        chosen = [by_name[parse.name("--variants", word, by_name)] for word in words]
    return [
        (each.name, edition)
        for each in chosen
        for edition in EDITIONS
        if edition == "raced" or defines(_file(each.module), "shipped")
    ]


def ask_all(
    implementations: Sequence[tuple[str, Edition]], at_a_time: int, report: Listener
) -> Iterator[Findings]:
    """Ask each implementation, and yield the findings in the order of `implementations`.

    `report` hears of each that has ended. Where the caller stops listening, or is interrupted, all
    processes are killed.
    """
    stopped = Event()
    with ThreadPoolExecutor(at_a_time) as pool:
        try:
            answers = pool.map(partial(_ask, stopped), implementations)
            for number, findings in enumerate(answers, 1):
                name = findings.variant + (", as shipped" if findings.edition == "shipped" else "")
                how = findings.ended or "answered"
                report(f"[{number}/{len(implementations)}] {name}: {how}")
                yield findings
        finally:
            stopped.set()


def _ask(stopped: Event, implementation: tuple[str, Edition]) -> Findings:
    """Return what one process learnt, and how it ended if that was before its last question."""
    variant, edition = implementation
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*COMMAND, variant, edition],
            cwd=ROOT,
            env=environment() | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=words,
        )
        ended = ""
        if not _is_over(process, stopped):
            process.kill()
            process.wait()
            ended = f"stopped after {LIMIT_S:.0f} s"
        elif process.returncode:
            ended = ending(process.returncode) + last_words(words)
        output.seek(0)
        lines = output.read().splitlines()
    findings = Findings(variant=variant, edition=edition)
    for line in lines[-1:]:
        findings = msgspec.json.decode(line, type=Findings)
    findings.ended = ended
    return findings


def _is_over(process: "subprocess.Popen[bytes]", stopped: Event) -> bool:
    """Wait until a process ends; return False if it takes over LIMIT_S, or is to be stopped."""
    ends_at = time.monotonic() + LIMIT_S
    while process.poll() is None:
        if time.monotonic() > ends_at or stopped.wait(_LOOK_EVERY_S):
            return False
    return True


def _file(module: str) -> Path:
    """Return the file of a variant's module, without importing it."""
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")
