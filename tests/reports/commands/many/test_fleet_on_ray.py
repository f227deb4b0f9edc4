"""`fleet` on a real Ray cluster of this machine's loopback, with nodes of invented types.

The nodes' runs are real processes with invented lanes.
"""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from suite.conditions.policy import circumstances
from suite.records.record import Time
from suite.records.store import Results, read
from tests.fakes.console import ROOT
from tests.fakes.ray_nodes import ON_LOOPBACK, RayNodes
from tests.fakes.with_invented_node import GPUS, HANGS_AT, HANGS_WHILE, NODE, UNIT

pytestmark = [pytest.mark.heavy, pytest.mark.long, pytest.mark.timeout(240)]

LENGTHS = (64, HANGS_AT)
VARIANTS = ("no_bias", "eager", "flex")
GRID = ["--models", "bloom-560m", "--lengths", ",".join(map(str, LENGTHS)), "--passes", "1"]
GRID += ["--dtypes", "float32", "--variants", "eager,flex"]
ProgramExit = subprocess.CompletedProcess[str]


class Fleet(NamedTuple):
    """A cluster of three nodes, and a file while which the first H100 and the CPU hang."""

    nodes: RayNodes
    hangs: Path
    first: object

    def command(self, *words: object) -> list[str]:
        program = [sys.executable, "-m", "tests.fakes.with_shipped_tests", "fleet"]
        return [*program, "--address", self.nodes.address, *map(str, words)]

    def bench(self, *words: object) -> ProgramExit:
        return subprocess.run(
            self.command(*words), cwd=ROOT, capture_output=True, text=True, check=False
        )

    def begin(self, *words: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(*words),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Start an H100, an L4 whose machine lacks its GPU, and a node with a CPU alone."""
    folder = tmp_path_factory.mktemp("fleet")
    hangs = folder / "hangs"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ON_LOOPBACK.items():
            patch.setenv(name, value)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        nodes = RayNodes()
        try:
            first = nodes.add("H100", **{NODE: "H100", UNIT: "first", HANGS_WHILE: str(hangs)})
            nodes.add("L4")
            nodes.add(**{HANGS_WHILE: str(hangs)})
            yield Fleet(nodes, hangs, first)
        finally:
            nodes.end()


def cells(file: Results) -> Counter[tuple[int, str]]:
    """Count the times of each cell: length and variant."""
    return Counter(
        (record.case.q_len, record.variant) for record in file.records if isinstance(record, Time)
    )


def wait_for_line(running: "subprocess.Popen[str]", words: str) -> None:
    assert running.stderr is not None
    for line in running.stderr:
        if words in line:
            return
    raise AssertionError(f"ended without {words!r}")


WHOLE = Counter({(length, name): 1 for length in LENGTHS for name in VARIANTS})


def test_each_type_is_measured_on_its_node_and_what_fails_is_told(
    cluster: Fleet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    pair = cluster.nodes.add("A100", **{NODE: "A100", GPUS: "2", UNIT: "pair"})
    words = ["--types", "H100,B200,L4,CPU,A100", "--wait", "2s", "--page", "--out", out]
    done = cluster.bench(*words, *GRID)
    cluster.nodes.kill(pair)
    assert done.returncode == 3, done.stderr
    assert "B200  no node offers B200 yet; waiting 2 s; the cluster offers " in done.stderr
    assert "Warning: B200: no node offers B200 after 2 s; the cluster offers " in done.stderr
    assert "Warning: L4: --device all: the node has no GPU" in done.stderr, done.stderr
    names, _, rest = done.stderr.splitlines()[-1].removeprefix("Error: ").partition(": ")
    assert sorted(names.split(", ")) == ["B200", "L4"], done.stderr
    assert rest == f"not measured in full; --resume {out} goes on"
    h100 = "cuda-invented-h100-132sm-80gib-700w"
    (of_gpu,) = out.glob("*/H100-cuda0.jsonl")
    (of_cpu,) = out.glob("*/CPU.jsonl")
    of_pair = sorted(out.glob("*/A100-cuda*.jsonl"))
    assert of_gpu.parent.name == h100
    assert read(of_cpu).header.hardware.key == of_cpu.parent.name
    files = [read(path) for path in (of_gpu, of_cpu, *of_pair)]
    assert [cells(file) for file in files] == [WHOLE] * 4
    assert [file.header.circumstances.unit for file in files[2:]] == ["pair", "pair GPU-1"]
    assert {file.header.circumstances.code for file in files} == {circumstances({}).code}
    assert f": {h100}" in done.stdout
    assert "2 units of cuda-invented-a100-132sm-80gib-700w differ by 0.0%" in done.stdout
    assert not any(line.startswith("RAY") for line in read(of_gpu).header.argv)
    page = (out / "page" / "index.html").read_text()
    assert all(file.header.hardware.key in page for file in files)
    assert f"Page: {out / 'page' / 'index.html'}" in done.stdout

    question = ["best", "--models", "bloom-560m", "--length", "64", "--dtypes", "float32"]
    for key in (h100, of_cpu.parent.name):
        advice = subprocess.run(
            [sys.executable, "run_bench.py", *question, "--hardware", key],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert advice.returncode == 0, advice.stderr


def test_a_node_killed_in_mid_run_costs_its_unfinished_cells_alone(
    cluster: Fleet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cluster.hangs.touch()
    running = cluster.begin("--types", "H100", "--wait", "60s", "--out", out, *GRID)
    try:
        wait_for_line(running, "[3/6 cells")
        cluster.nodes.add("H100", **{NODE: "H100", UNIT: "second"})
        cluster.nodes.kill(cluster.first)
        stdout, stderr = running.communicate(timeout=120)
    finally:
        running.kill()
        cluster.hangs.unlink()
    assert running.returncode == 0, stderr
    assert "H100 waits for its CPUs and GPUs" in stderr.partition("lost: ")[2]
    (path,) = out.glob("*/H100-cuda0.jsonl")
    file = read(path)
    assert cells(file) == WHOLE
    assert {part.header.circumstances.unit: cells(part) for part in file.by_unit()} == {
        "first": Counter({(LENGTHS[0], name): 1 for name in VARIANTS}),
        "second": Counter({(LENGTHS[1], name): 1 for name in VARIANTS}),
    }
    assert "Results: " in stdout


def test_a_driver_that_is_killed_or_interrupted_goes_on_where_it_was(
    cluster: Fleet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cluster.hangs.touch()
    try:
        killed = cluster.begin("--types", "CPU", "--out", out, *GRID)
        wait_for_line(killed, "[3/6 cells")
        wait_for_line_in_file(out / "CPU.jsonl", 3)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        wait_until_no_run_is_left(cluster)
        interrupted = cluster.begin("--resume", out)
        wait_for_line(interrupted, "3 cells to measure")
        interrupted.send_signal(signal.SIGINT)
        stdout, stderr = interrupted.communicate(timeout=60)
        assert (interrupted.returncode, stdout) == (3, ""), stderr
        last = f"Error: interrupted; fleet --resume {out} measures the rest"
        assert stderr.splitlines()[-1] == last
    finally:
        cluster.hangs.unlink()
    done = cluster.bench("--resume", out)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*/CPU.jsonl")
    assert cells(read(path)) == WHOLE
    assert [each.name for each in sorted(out.iterdir())] == sorted([path.parent.name, "fleet.json"])


def wait_until_no_run_is_left(cluster: Fleet) -> None:
    """Wait until the processes of runs that the cluster's nodes started have ended."""
    deadline = time.monotonic() + 20
    while running := [each for each in psutil.process_iter(["cmdline"]) if is_run(each, cluster)]:
        assert time.monotonic() < deadline, running
        time.sleep(0.2)


def is_run(process: psutil.Process, cluster: Fleet) -> bool:
    if "tests.fakes.with_invented_node" not in (process.info["cmdline"] or ()):
        return False
    with suppress(psutil.Error):
        return bool(process.environ().get(HANGS_WHILE) == str(cluster.hangs))
    return False


def wait_for_line_in_file(path: Path, times: int) -> None:
    """Wait until a results file has so many times."""
    deadline = time.monotonic() + 20
    while sum(cells(read(path)).values()) < times and time.monotonic() < deadline:
        time.sleep(0.1)


def test_a_split_plan_has_each_case_on_one_node_and_all_in_all(
    cluster: Fleet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cluster.nodes.add("H100", **{NODE: "H100", UNIT: "third"})
    done = cluster.bench("--types", "H100", "--split", "--out", out, *GRID)
    assert done.returncode == 0, done.stderr
    files = [read(path) for path in sorted(out.glob("*/*.jsonl"))]
    assert len(files) == 2
    assert len({file.header.circumstances.unit for file in files}) == 2
    assert cells(files[0]) + cells(files[1]) == WHOLE
    assert all(("no_bias" in {name for _, name in cells(file)}) for file in files)
    assert len({length for length, _ in cells(files[0])}) == 1


def test_nodes_that_join_while_their_type_is_waited_for_share_a_split_plan(
    cluster: Fleet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--types", "T4", "--split", "--wait", "20s", "--out", out]
    waiting = cluster.begin(*words, *GRID)
    try:
        wait_for_line(waiting, "no node offers T4 yet; waiting 20 s")
        for unit in ("fourth", "fifth"):
            cluster.nodes.add("T4", **{NODE: "T4", UNIT: unit})
        _, stderr = waiting.communicate(timeout=120)
    finally:
        waiting.kill()
    assert waiting.returncode == 0, stderr
    files = [read(path) for path in sorted(out.glob("*/*.jsonl"))]
    assert {file.header.circumstances.unit for file in files} == {"fourth", "fifth"}
    assert cells(files[0]) + cells(files[1]) == WHOLE


def test_a_budget_that_cuts_a_run_short_leaves_it_unfinished_for_resume(
    cluster: Fleet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cluster.hangs.touch()
    try:
        short = cluster.bench("--types", "CPU", "--budget", "20s", "--out", out, *GRID)
    finally:
        cluster.hangs.unlink()
    assert short.returncode == 0, short.stderr
    last = f"Warning: CPU: unfinished, cells left: 1; fleet --resume {out} measures them"
    assert short.stderr.splitlines()[-1] == last
    done = cluster.bench("--resume", out)
    assert done.returncode == 0, done.stderr
    assert "unfinished" not in done.stderr
    (path,) = out.glob("*/CPU.jsonl")
    assert cells(read(path)) == WHOLE + Counter({(HANGS_AT, "no_bias"): 1})
