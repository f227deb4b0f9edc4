"""asv reads the export of a history, publishes it, and calls the planted step a regression."""

import json
import math
import re
import statistics
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.commands.console import write_folder
from reports.exports.formats import export_folder
from suite.conditions.policy import ROOT
from suite.failures import BadRequest
from suite.records.store import Results
from tests.records import a_machine, a_plan
from tests.reports.export_runs import (
    COMMITS,
    KEY,
    STEP_AT,
    a_finished_run,
    a_history,
    decode,
    reader,
)

TIME = "time.n512-h8-d64-float32.flex"


def with_changes() -> Results:
    """Return a run of a tree with uncommitted changes."""
    header = a_machine(a_plan(passes=3))
    changed = msgspec.structs.replace(header.circumstances, uncommitted=True)
    return a_finished_run(header=msgspec.structs.replace(header, circumstances=changed))


def test_a_machine_has_a_folder_with_a_file_for_each_commit() -> None:
    files = export_folder(a_history(), "asv").files
    assert {"benchmarks.json", f"{KEY}/machine.json"} <= set(files)
    assert len(files) == 2 + COMMITS
    assert decode(files[f"{KEY}/machine.json"])["machine"] == KEY


def test_a_commits_file_has_seconds_and_bytes_of_each_cell() -> None:
    files = export_folder([a_finished_run()], "asv").files
    (path,) = set(files) - {"benchmarks.json", f"{KEY}/machine.json"}
    document = decode(files[path])
    columns = document["result_columns"]
    flex = dict(zip(columns, document["results"][TIME], strict=True))
    assert flex["result"] == pytest.approx([(3.0 * 3.3 * 2.7) ** (1 / 3) / 1000])
    assert flex["samples"][0] == pytest.approx([3e-3, 3.3e-3, 2.7e-3])
    memory = document["results"]["memory.n512-h8-d64-float32.flex"]
    assert memory[columns.index("result")] == [4 << 20]
    assert "memory.n512-h8-d64-float32.no_bias" not in document["results"]
    assert path.startswith(f"{KEY}/00000000-torch2.13.0-")
    assert document["commit_hash"] == "0" * 40


def time_of(passes: int) -> dict[str, Any]:
    """Return what asv is told of a time by column, of a run of so many passes."""
    files = export_folder([a_finished_run(passes)], "asv").files
    (path,) = set(files) - {"benchmarks.json", f"{KEY}/machine.json"}
    document = decode(files[path])
    return dict(zip(document["result_columns"], document["results"][TIME], strict=True))


def test_a_time_has_the_99_percent_interval_that_asv_has_a_place_for_and_its_quartiles() -> None:
    logs = [math.log(ms / 1000) for ms in (3.0, 3.3, 2.7)]
    half = 9.9248 * statistics.stdev(logs) / math.sqrt(3)  # Student's t, 2 degrees of freedom
    ends = [statistics.fmean(logs) + sign * half for sign in (-1, 1)]
    time = time_of(3)
    for column, log in zip(("stats_ci_99_a", "stats_ci_99_b"), ends, strict=True):
        assert time[column] == pytest.approx([math.exp(log)], rel=1e-4)
    assert (time["stats_q_25"], time["stats_q_75"]) == (
        pytest.approx([2.85e-3]),
        pytest.approx([3.15e-3]),
    )


def test_two_passes_have_no_interval() -> None:
    time = time_of(2)
    assert {value for name, value in time.items() if name.startswith("stats_")} == {None}
    assert len(time["samples"][0]) == 2


@pytest.mark.parametrize("changed", [{"torch": "2.14.0"}, {"threads": 1}], ids=str)
def test_another_torch_or_policy_at_the_same_commit_is_another_file(changed: Any) -> None:
    other = a_finished_run(header=a_machine(a_plan(passes=3), **changed))
    assert len(export_folder([a_finished_run(), other], "asv").files) == 4


def test_runs_with_uncommitted_changes_are_left_out_and_counted() -> None:
    export = export_folder([with_changes(), *a_history()], "asv")
    assert len(export.files) == 2 + COMMITS
    assert "2 of 50 times are left out: asv wants a commit without changes" in export.cautions


def test_nothing_but_uncommitted_changes_is_refused() -> None:
    with pytest.raises(BadRequest, match="commit and measure again"):
        export_folder([with_changes()], "asv")


def a_repository(folder: Path) -> list[str]:
    """Make a git repository with as many commits as a history has; return them, oldest first."""
    git = ["git", "-C", str(folder), "-c", "user.name=Nobody", "-c", "user.email=nobody@invalid"]
    subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
    for number in range(COMMITS):
        message = ["commit", "-q", "--allow-empty", "-m", str(number)]
        date = f"2026-01-{number + 1:02d}T00:00:00Z"
        subprocess.run(
            [*git, *message, "--date", date], check=True, env={"GIT_COMMITTER_DATE": date}
        )
    log = subprocess.check_output([*git, "log", "--reverse", "--format=%H"], text=True)
    return log.split()


@pytest.mark.heavy
def test_asv_publishes_every_commit_and_calls_the_planted_step_a_regression(tmp_path: Path) -> None:
    commits = a_repository(tmp_path)
    write_folder(tmp_path / "results" / "asv", export_folder(a_history(commits), "asv").files)
    pasted = re.search(
        r"echo '(\{.+?\})' > (\S+)\n", (ROOT / "docs/exports.md").read_text(), re.DOTALL
    )
    assert pasted
    (tmp_path / pasted[2]).write_text(pasted[1])
    reader("asv", "publish", "--no-pull", "--config", pasted[2], folder=tmp_path)
    pages = tmp_path / "results" / "asv-html"
    index = json.loads((pages / "index.json").read_text())
    assert sorted(index["revision_to_hash"].values()) == sorted(commits)
    (graph,) = [
        path for path in pages.glob(f"graphs/**/{TIME}.json") if "summary" not in path.parts
    ]
    assert len(json.loads(graph.read_text())) == COMMITS
    (regression,) = json.loads((pages / "regressions.json").read_text())["regressions"]
    ((_, revision, before_s, after_s),) = regression[-1]
    assert regression[0] == TIME
    assert index["revision_to_hash"][str(revision)] == commits[STEP_AT]
    assert (before_s, after_s) == pytest.approx((1.0e-3, 1.1e-3), rel=0.02)
