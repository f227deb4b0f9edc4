"""`history`, as a user runs it: files and folders, exit codes, and what is refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from suite.records.store import Results
from tests.fakes.console import bench
from tests.records import a_case, a_machine, a_pair, a_versus, write
from tests.reports.histories import runs_at

SLOWER = [1.0] * 10 + [1.05] * 6


def write_files(folder: Path, files: Sequence[Results]) -> Path:
    """Write results files into a folder, and return it."""
    for file in files:
        write(folder / file.path.name, file.header, *file.records[1:])
    return folder


@pytest.mark.parametrize(
    ("units", "first"),
    [
        ([""] * 2, "Invented CPU, 2 cores: 2 runs of 2 commits, 2026-01-01 to 2026-01-02"),
        ([""], "Invented CPU, 2 cores: 1 run of 1 commit, 2026-01-01"),
        (["1a"] * 2, "Invented CPU, 2 cores: 2 runs of 2 commits, 2026-01-01 to 2026-01-02"),
        (
            ["1a", "2b"],
            "Invented CPU, 2 cores: 2 runs of 2 commits on 2 units, 2026-01-01 to 2026-01-02",
        ),
    ],
)
def test_it_begins_with_the_runs_their_units_and_their_days(
    tmp_path: Path, units: Sequence[str], first: str
) -> None:
    files = [
        file._replace(
            header=msgspec.structs.replace(
                file.header,
                circumstances=msgspec.structs.replace(file.header.circumstances, unit=unit),
            )
        )
        for file, unit in zip(runs_at([1.0] * len(units)), units, strict=True)
    ]
    shown = bench("history", write_files(tmp_path, files)).stdout
    assert " ".join(shown.partition("\n\n")[0].split()) == first


@pytest.mark.parametrize(
    ("levels", "words", "code"),
    [
        (SLOWER, [], 0),
        (SLOWER, ["--fail"], 1),
        (SLOWER[::-1], ["--fail"], 0),
        ([1.0] * 8, ["--fail"], 0),
    ],
)
def test_only_a_slower_step_fails_and_only_on_request(
    tmp_path: Path, levels: Sequence[float], words: Sequence[str], code: int
) -> None:
    done = bench("history", write_files(tmp_path, runs_at(levels)), *words)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith("Invented CPU, 2 cores: ")


def test_a_history_too_short_to_judge_fails_with_3_and_says_what_it_takes(tmp_path: Path) -> None:
    folder = write_files(tmp_path, runs_at(SLOWER[:5]))
    assert bench("history", folder).returncode == 0
    done = bench("history", folder, "--fail")
    assert done.returncode == 3
    assert "none of 1 cells was judged: a step takes 6 runs" in done.stderr


def test_files_and_folders_are_the_same_and_a_file_counts_once(tmp_path: Path) -> None:
    folder = write_files(tmp_path, runs_at(SLOWER))
    of_folder = bench("history", folder, "--format", "json").stdout
    files = sorted(folder.iterdir())
    assert bench("history", *files, folder, "--format", "json").stdout == of_folder
    assert len(json.loads(of_folder)["points"]) == len(SLOWER)


def test_pairs_are_left_out_of_a_folder_with_a_warning_and_refused_by_name(
    tmp_path: Path,
) -> None:
    folder = write_files(tmp_path, runs_at(SLOWER))
    pairs = write(folder / "pairs.jsonl", a_machine(), a_versus(), a_pair(a_case(), "eager"))
    done = bench("history", folder)
    assert (done.returncode, done.stderr) == (
        0,
        f"Warning: {pairs}: a file of pairs, left out\n",
    )
    refused = bench("history", pairs)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"Error: {pairs}: a file of pairs and no run's" in refused.stderr


def test_files_of_lengths_are_left_out_of_a_folder_with_a_warning(tmp_path: Path) -> None:
    folder = write_files(tmp_path, runs_at(SLOWER))
    alone = bench("history", folder)
    lengths = folder / "lengths.jsonl"
    lengths.write_text('{"record":"lengths","schema":1}\n')
    done = bench("history", folder)
    assert (done.returncode, done.stdout) == (0, alone.stdout)
    assert done.stderr == f"Warning: {lengths}: a file of `lengths`, left out\n"
    assert bench("history", folder, lengths).returncode == 2


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    done = bench("history", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"Error: {tmp_path}: no results file of `run` in it; name FILES or folders\n"
    )


def test_a_folder_of_folders_is_refused_and_they_are_what_to_name(tmp_path: Path) -> None:
    (tmp_path / "within").mkdir()
    (tmp_path / "within" / "a.jsonl").touch()
    done = bench("history", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"no results file of `run` in it; name {tmp_path}/*, its folders\n")
