"""`export` and `schema`: where the text goes, what is said beside it, and what is refused."""

import json
from pathlib import Path
from typing import get_args

import pytest

from reports.commands.results.export import DOCUMENTS, FILE_EXPORTS, FOLDER_EXPORTS
from reports.exports import formats, schemas
from tests.fakes.console import bench, refusal
from tests.records import a_case, a_machine, a_pair, a_plan, a_run, a_versus, write
from tests.reports.export_runs import a_finished_run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of a run with two measured cells of four."""
    run = a_finished_run()
    return write(tmp_path / "run.jsonl", run.header, *run.records[1:])


def test_the_command_offers_the_formats_and_documents_that_there_are() -> None:
    assert get_args(formats.FileFormat) == FILE_EXPORTS
    assert get_args(formats.FolderFormat) == FOLDER_EXPORTS
    assert DOCUMENTS == schemas.DOCUMENTS


@pytest.mark.parametrize("form", FILE_EXPORTS)
def test_a_format_of_one_file_goes_to_stdout_and_reasons_to_stderr(form: str, file: Path) -> None:
    done = bench("export", file, "--format", form)
    assert done.returncode == 0
    assert json.loads(done.stdout)
    assert done.stderr.splitlines()[0].startswith("Warning: 2 of 4 cells are left out")


def test_out_gets_what_stdout_would(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "bencher.json"
    assert bench("export", file, "--format", "bencher", "--out", out).stdout == ""
    assert out.read_text() == bench("export", file, "--format", "bencher").stdout


@pytest.mark.parametrize(("form", "index"), [("otava", "otava.yaml"), ("asv", "benchmarks.json")])
def test_a_format_of_many_files_makes_its_folder(
    form: str, index: str, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "history"
    done = bench("export", file, "--format", form, "--out", out)
    assert (done.returncode, done.stdout) == (0, "")
    assert "n512-h8-d64-float32" in (out / index).read_text()
    assert done.stderr.splitlines()[0].startswith("Warning: 2 of 4 cells are left out")


@pytest.mark.parametrize("form", FOLDER_EXPORTS)
def test_a_format_of_many_files_needs_a_folder(form: str, file: Path) -> None:
    words = ("export", file, "--format", form)
    assert "name a folder with --out" in refusal(*words)
    assert "File exists" in refusal(*words, "--out", file)


@pytest.mark.parametrize("form", FOLDER_EXPORTS)
def test_a_folder_is_written_twice_but_not_beside_files_of_another_export(
    form: str, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "history"
    words = ("export", file, "--format", form, "--out", out)
    assert [bench(*words).returncode, bench(*words).returncode] == [0, 0]
    (out / "sub").mkdir()
    (out / "sub" / "older.json").write_text("{}")
    line = refusal(*words)
    assert "sub/older.json" in line
    assert "name a new folder" in line


def test_the_results_are_never_written_over(file: Path) -> None:
    before = file.read_bytes()
    words = ("export", file, "--format", "bencher")
    assert "is one of FILES" in refusal(*words, "--out", file)
    assert file.read_bytes() == before


def test_a_format_of_one_file_refuses_a_folder(file: Path, tmp_path: Path) -> None:
    assert "Is a directory" in refusal("export", file, "--format", "hud", "--out", tmp_path)


def test_a_place_that_cannot_be_written_is_refused(file: Path) -> None:
    words = ("export", file, "--format", "otava", "--out", file / "inside")
    assert "Not a directory" in refusal(*words)


def test_a_file_of_pairs_is_refused(tmp_path: Path) -> None:
    pairs = write(
        tmp_path / "pairs.jsonl", a_machine(a_plan()), a_versus(), a_pair(a_case(), "flex")
    )
    line = refusal("export", pairs, "--format", "bencher")
    assert "a file of pairs and no run's" in line
    assert "compare" in line


@pytest.mark.parametrize("form", FILE_EXPORTS)
def test_runs_of_two_commits_are_refused_in_a_format_of_one_run(
    form: str, file: Path, tmp_path: Path
) -> None:
    other = a_finished_run(header=a_machine(a_plan(passes=3), commit="f" * 40))
    second = write(tmp_path / "other.jsonl", other.header, *other.records[1:])
    line = refusal("export", file, second, "--format", form)
    assert "commit 000000000000 and commit ffffffffffff" in line


@pytest.mark.parametrize("form", FOLDER_EXPORTS)
def test_names_in_a_strangers_file_lead_to_no_place_outside_of_the_folder(
    form: str, tmp_path: Path
) -> None:
    run = a_run({"..": [1.0], "../../../x": [1.0]}, header=a_machine(key="../.."))
    file = write(tmp_path / "run.jsonl", run.header, *run.records[1:])
    out = tmp_path / "deep" / "down" / "history"
    bench("export", file, "--format", form, "--out", out)
    outside = {path for path in tmp_path.rglob("*") if path.is_file() and out not in path.parents}
    assert outside == {file}


@pytest.mark.parametrize("form", FOLDER_EXPORTS)
def test_a_run_that_began_at_no_time_is_refused(form: str, tmp_path: Path) -> None:
    run = a_finished_run(header=a_machine(a_plan(passes=3), started="yesterday"))
    file = write(tmp_path / "run.jsonl", run.header, *run.records[1:])
    line = refusal("export", file, "--format", form, "--out", tmp_path / "out")
    assert "a run began at 'yesterday', which is no time" in line


def test_a_format_has_to_be_named(file: Path) -> None:
    assert "--format" in refusal("export", file)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_schema_prints_what_docs_has(document: str) -> None:
    kept = Path(__file__).parents[4] / "docs" / "schemas" / f"{document}.json"
    assert bench("schema", document).stdout == kept.read_text()
