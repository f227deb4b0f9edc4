"""Whatever shows results files of many devices says once what is damaged in them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from reports.commands.many import fleet
from suite.conditions import device
from suite.conditions.device import Device
from suite.fleet import local_gpus
from suite.fleet.child_run import RunEnding
from suite.records.store import read
from tests.fakes.console import bench
from tests.records import a_case, a_machine, a_plan, complete, write
from variants.host.hardware import Cpu, Gpu

DAMAGE = b'{"record": "time", "no": 1}\n'


def a_damaged_file(path: Path, name: str) -> Path:
    """Write a whole file of a device, with a line of damage at its end; return its path."""
    plan = a_plan(a_case(), passes=3)
    header = a_machine(msgspec.structs.replace(plan, device=name))
    write(path, header, *complete(plan))
    with path.open("ab") as file:
        file.write(DAMAGE)
    return path


def gpu(number: int) -> Device:
    host = a_machine().hardware
    assert isinstance(host, Cpu)
    hardware = Gpu("cuda-invented", "Invented", "9.0", 1, 1, 1, False, None, host)
    return Device(f"cuda:{number}", hardware, str(number))


def damage_warnings(stderr: str) -> list[str]:
    """Return the warnings of damage, of whichever device."""
    return [line for line in stderr.splitlines() if "is damaged and was left out" in line]


def test_a_damaged_file_of_a_gpu_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "all_gpus", lambda: [gpu(0), gpu(1)])
    a_damaged_file(tmp_path / "x-cuda0.jsonl", "cuda:0")
    write(tmp_path / "x-cuda1.jsonl", a_machine(), *complete(a_plan()))
    done = bench("run", "--device", "all", "--resume", tmp_path / "x.jsonl")
    assert done.returncode == 0, done.stderr
    assert len(damage_warnings(done.stderr)) == 1, done.stderr


def test_a_run_that_goes_on_does_not_repeat_what_was_said_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_damaged_file(tmp_path / "x-cuda0.jsonl", "cuda:0")

    class Child:
        """A run on a GPU that says what is damaged in its file, as `run --resume` does."""

        def __init__(self, words: Sequence[object]) -> None:
            assert path in words

        def __enter__(self) -> "Child":
            return self

        def __exit__(self, *_: object) -> None:
            """End."""

        def lines(self) -> Iterator[str]:
            """Yield what it writes."""
            yield from (f"Warning: {line}" for line in read(path).warnings)
            yield "6 cells to measure"

        def wait(self) -> RunEnding:
            """Return how it ended."""
            return RunEnding(0, "")

    monkeypatch.setattr(device, "all_gpus", lambda: [gpu(0)])
    monkeypatch.setattr(local_gpus, "ChildRun", Child)
    monkeypatch.setattr(local_gpus, "_lacks_cells", lambda _path: True)
    done = bench("run", "--device", "all", "--resume", tmp_path / "x.jsonl")
    assert done.returncode == 0, done.stderr
    assert "cuda:0  6 cells to measure" in done.stderr
    assert len(damage_warnings(done.stderr)) == 1, done.stderr


def test_a_damaged_file_of_a_node_is_warned_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").mkdir()
    a_damaged_file(tmp_path / "key" / "1.jsonl", "cpu")
    (file,) = fleet.show_results(tmp_path)
    assert len(damage_warnings(capsys.readouterr().err)) == 1
    assert file.warnings
