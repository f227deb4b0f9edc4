"""Which files a run on all GPUs completes, and what it refuses before anything is measured."""

from pathlib import Path

import msgspec
import pytest

from suite.conditions.device import all_gpus
from suite.failures import BadRequest
from suite.fleet.device_files import device_path
from suite.fleet.local_gpus import begun_runs, gpu_runs
from suite.records.fingerprint import check_resumable, run_header
from suite.records.store import read
from tests.fakes.gpus import gpus, with_cuda
from tests.records import a_plan, write


@pytest.fixture(autouse=True)
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, gpus())


def begin(path: Path, number: int) -> None:
    """Begin the file of a GPU."""
    gpu = all_gpus()[number]
    plan = msgspec.structs.replace(a_plan(), device=gpu.name)
    header = run_header(plan, ["run"], gpu, {"an_invented_package": "1.2"})
    write(device_path(path, gpu.name), header)


def test_each_gpu_has_a_file_that_is_named_by_it(tmp_path: Path) -> None:
    runs = gpu_runs(all_gpus(), tmp_path / "x.jsonl")
    assert [run.path.name for run in runs] == ["x-cuda0.jsonl", "x-cuda1.jsonl"]
    assert device_path(tmp_path / "x.jsonl", "cpu") == tmp_path / "x.jsonl"


def test_a_gpu_whose_file_was_not_begun_gets_one_with_the_plan_of_the_others(
    tmp_path: Path,
) -> None:
    begin(tmp_path / "x.jsonl", 1)
    (new, _) = begun_runs(all_gpus(), tmp_path / "x.jsonl")
    header = read(new.path).header
    assert header.plan == msgspec.structs.replace(a_plan(), device="cuda:0")
    assert header.software["an_invented_package"] == "1.2"
    now = run_header(header.plan, [], new.gpu, {"an_invented_package": "1.2"})
    check_resumable(header, now)


def test_a_path_of_which_no_file_was_begun_is_refused(tmp_path: Path) -> None:
    begin(tmp_path / "another.jsonl", 0)
    with pytest.raises(BadRequest, match=r"x.jsonl: there is no x-cuda0.jsonl beside it; give"):
        begun_runs(all_gpus(), tmp_path / "x.jsonl")
    assert not list(tmp_path.glob("x*"))


def test_a_file_of_a_gpu_that_is_not_here_is_refused(tmp_path: Path) -> None:
    begin(tmp_path / "x.jsonl", 0)
    (tmp_path / "x-cuda0.jsonl").rename(tmp_path / "x-cuda5.jsonl")
    with pytest.raises(BadRequest, match=r"x-cuda5.jsonl is of a GPU .* are cuda:0, cuda:1"):
        begun_runs(all_gpus(), tmp_path / "x.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["x-cuda5.jsonl"]
