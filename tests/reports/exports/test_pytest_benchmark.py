"""pytest-benchmark reads the export as a run that it saved itself."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.logger import Logger
from pytest_benchmark.storage.file import FileStorage

from reports.exports.formats import export_file
from tests.records import a_run
from tests.reports.export_runs import a_finished_run, decode

NAME = "suite/bench_alibi.py::test_attention[n512-h8-d64-float32-flex]"


def benchmarks_in(folder: Path) -> list[dict[str, Any]]:
    """Return the benchmarks that pytest-benchmark finds saved in a folder."""
    storage: Any = FileStorage
    logger: Any = Logger
    return list(storage(folder, logger(Logger.QUIET)).load_benchmarks())


def test_its_storage_loads_every_cell_with_statistics_of_the_passes(tmp_path: Path) -> None:
    (tmp_path / "0001_run.json").write_text(
        export_file([a_finished_run()], "pytest-benchmark").text
    )
    loaded = {bench["fullname"]: bench for bench in benchmarks_in(tmp_path)}
    assert set(loaded) == {NAME, NAME.replace("flex", "no_bias")}
    flex = loaded[NAME]
    assert (flex["rounds"], flex["min"], flex["max"]) == pytest.approx((3, 2.7e-3, 3.3e-3))
    assert flex["mean"] == pytest.approx(3e-3)
    assert flex["stddev"] == pytest.approx(0.3e-3)
    assert flex["group"] == "n512-h8-d64-float32"


def test_machine_and_commit_are_those_of_the_run() -> None:
    run = decode(export_file([a_finished_run()], "pytest-benchmark").text)
    assert run["machine_info"]["alibi_hardware"]["key"] == "cpu-invented-2cores"
    assert run["machine_info"]["alibi_software"]["torch"] == "2.13.0"
    assert (run["commit_info"]["id"], run["commit_info"]["dirty"]) == ("0" * 40, False)


@pytest.mark.heavy
def test_its_compare_shows_both_runs_side_by_side(tmp_path: Path) -> None:
    for name, ms in (("before", 1.0), ("after", 1.5)):
        run = a_run({"flex": [ms, ms, ms]})
        text = export_file([run], "pytest-benchmark").text
        (tmp_path / f"{name}.json").write_text(text)
    program = Path(sys.executable).with_name("pytest-benchmark")
    words = ["compare", "before.json", "after.json"]
    done = subprocess.run(
        [program, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = {
        line.split()[1].strip("()"): line for line in done.stdout.splitlines() if NAME[23:] in line
    }
    assert set(lines) == {"before", "after"}, done.stdout + done.stderr
    assert "1.5000 (1.0)" not in lines["after"]
    assert "(1.50)" in lines["after"]
