"""The command line, as far as nothing is measured: help, tables, and one line for each mistake."""

import csv
import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from reports.commands.command_line import TASKS, cli
from suite.records.record import Time
from tests.fakes.console import assert_refused, bench
from tests.records import a_case, a_cell, a_machine, a_plan, complete, write

ROOT = Path(__file__).parents[3]
NAMES = ["no_bias", "eager", "flex"]
CASE = a_case(64)


@pytest.fixture(autouse=True)
def _in_the_projects_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands find the project's files by relative names."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of a finished run on an invented machine."""
    plan = a_plan(CASE, variants=NAMES, passes=3)
    return write(tmp_path / "run.jsonl", a_machine(plan), *complete(plan))


def test_the_help_lists_every_command_once_by_task() -> None:
    whole = bench("--help").stdout
    listed = re.findall(r"^  ([a-z]+) +[A-Z]", whole, re.MULTILINE)
    assert listed == [command.name for commands in TASKS.values() for command in commands]
    assert sorted(listed) == sorted(cli.commands)
    assert listed[:2] == ["run", "doctor"]
    headings = re.findall(r"^([A-Z][a-z ]+):$", whole, re.MULTILINE)
    assert headings == ["Options", *TASKS]


def test_the_help_of_every_command_has_an_example() -> None:
    whole = bench("--help").stdout
    commands = re.findall(r"^  ([a-z]+) +[A-Z]", whole, re.MULTILINE)
    assert {"run", "list", "table"} <= set(commands)
    for words in ([], *([command] for command in commands)):
        done = bench(*words, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"Example:\n  {'  python run_bench.py ' + ' '.join(words)}".rstrip() in done.stdout


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["tabel"], ["tabel", "table"]),
        (["run", "--lenghts", "512"], ["--lenghts", "--lengths"]),
        (["run", "512"], ["512"]),
        (["run", "--lengths"], ["--lengths"]),
        (["run", "--lengths", "0"], ["--lengths 0: a length is at least 1"]),
        (["run", "--lengths", "abc"], ["--lengths abc", "whole number"]),
        (["run", "--lengths", "512,,1024"], ["--lengths", "512,,1024", "single commas"]),
        (["run", "--lengths", "5\n12"], ["--lengths 5 12", "whole number"]),
        (["run", "--dtypes", "float8"], ["--dtypes float8", "float32"]),
        (["run", "--modes", "forwards"], ["--modes forwards", "did you mean forward?"]),
        (["run", "--variants", "flx"], ["--variants flx", "did you mean flex?"]),
        (["run", "--sweep", "quik"], ["--sweep quik", "did you mean quick?"]),
        (["run", "--passes", "0"], ["--passes 0"]),
        (["run", "--passes", "many"], ["--passes", "many"]),
        (["run", "--heads", "0"], ["--heads 0"]),
        (["run", "--logit-scale", "-1"], ["--logit-scale -1"]),
        (["run", "--step-timeout", "5x"], ["--step-timeout 5x", "90s"]),
        (["run", "--budget", "5x"], ["--budget 5x", "90s"]),
        (["run", "--device", "mps"], ["--device mps", "cpu, cuda", "cuda:1"]),
        (["run", "--device", "cuda:999"], ["--device cuda:999"]),
        (["doctor", "--device", "gpu"], ["--device gpu", "cpu, cuda", "cuda:1"]),
        (["list"], ["variants", "sweeps"]),
        (["list", "sweep"], ["sweep", "sweeps"]),
        (["table"], ["FILES"]),
        (["table", "nowhere.jsonl"], ["nowhere.jsonl", "No such file"]),
        (["table", "suite"], ["suite", "not a regular file"]),
        (["table", "pyproject.toml"], ["pyproject.toml", "not a results file"]),
        (["table", "pyproject.toml", "--format", "html"], ["html", "github"]),
        (["run", "--resume", "nowhere.jsonl"], ["nowhere.jsonl", "No such file"]),
        (["run", "--resume", "pyproject.toml"], ["pyproject.toml", "not a results file"]),
        (["run", "--out", "pyproject.toml/run.jsonl"], ["--out"]),
    ],
    ids=lambda value: (
        repr(" ".join(value)) if value[0] in ("run", "list", "doctor", "table", "tabel") else ""
    ),
)
def test_a_mistake_is_one_line_that_names_it(words: list[str], parts: list[str]) -> None:
    line = assert_refused(bench(*words))
    assert all(part in line for part in parts)


def test_a_mistake_leaves_no_file_behind(tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    assert_refused(bench("run", "--lengths", "0", "--out", out))
    assert not out.exists()


def test_an_existing_file_is_not_written_over(file: Path) -> None:
    before = file.read_bytes()
    line = assert_refused(bench("run", "--sweep", "smoke", "--out", file))
    assert str(file) in line
    assert "--resume" in line
    assert file.read_bytes() == before


def test_a_file_that_takes_no_more_ends_the_run_with_3(tmp_path: Path) -> None:
    run = f"'{sys.executable}' run_bench.py run --device cpu --out '{tmp_path / 'run.jsonl'}'"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 0; {run}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "File too large; what is in it is kept" in done.stderr.splitlines()[-1]


def test_a_table_of_a_damaged_file_warns_and_is_shown(file: Path) -> None:
    lines = file.read_bytes().splitlines()
    lines[4] = lines[4][:30]
    file.write_bytes(b"\n".join(lines) + b"\n" + lines[5][:20])
    done = bench("table", file)
    assert done.returncode == 0
    assert "eager" in done.stdout
    damaged, torn = done.stderr.splitlines()
    assert damaged.startswith(f"Warning: {file}: line 5 ")
    assert torn.startswith(f"Warning: {file}: ")
    assert "unfinished" in torn


def test_a_table_of_two_files_adds_up_their_passes(file: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", a_machine(a_plan(CASE)), *a_cell(CASE, "eager"))
    rows = json.loads(bench("table", file, other, "--format", "json").stdout)
    assert {row["variant"]: row["passes"] for row in rows} == {"no_bias": 3, "eager": 4, "flex": 3}


def test_a_table_of_two_commits_shows_them_apart(file: Path, tmp_path: Path) -> None:
    header = a_machine(a_plan(CASE, variants=NAMES), commit="1" * 40)
    other = write(tmp_path / "other.jsonl", header, *a_cell(CASE, "eager", 14.0))
    done = bench("table", file, other)
    assert (done.returncode, done.stderr) == (0, "")
    old, new = " ".join(done.stdout.split()).split("commit 111111111111")
    assert "commit 000000000000; mean of 3 passes" in old
    assert " 7.00 " in old
    assert " 14.0 " in new
    rows = json.loads(bench("table", file, other, "--format", "json").stdout)
    assert [row["code"] for row in rows if row["variant"] == "eager"] == [
        "commit 000000000000",
        "commit 111111111111",
    ]


def test_a_table_of_two_machines_has_a_part_for_each(file: Path, tmp_path: Path) -> None:
    header = a_machine(a_plan(CASE), torch="2.11.0")
    other = write(tmp_path / "other.jsonl", header, *a_cell(CASE, "eager"))
    done = bench("table", file, other)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("fastest that agrees") == 2


def test_compare_exits_with_1_for_a_regression_alone(file: Path, tmp_path: Path) -> None:
    plan = a_plan(CASE, variants=NAMES, passes=3)
    kept = [record for record in complete(plan) if getattr(record, "variant", "") != "flex"]
    other = write(tmp_path / "other.jsonl", a_machine(plan), *kept)
    for words, code, told in (
        ((file, file), 0, "no regression: 3 of 3 cells judged: 3 same"),
        ((file, other), 1, "REGRESSED: 3 of 3 cells judged: 1 missing, 2 same"),
        ((other, file), 0, "no regression: 2 of 3 cells judged: 1 inconclusive, 2 same"),
    ):
        done = bench("compare", *words)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (code, told), done


def test_compare_exits_with_3_where_nothing_was_judged(file: Path, tmp_path: Path) -> None:
    planned = write(tmp_path / "planned.jsonl", a_machine(a_plan(CASE, variants=NAMES, passes=3)))
    plan = a_plan(CASE, variants=NAMES)
    doubled = [a_cell(CASE, name, 2 * (2.0 + len(name))) for name in NAMES]
    single = write(tmp_path / "single.jsonl", a_machine(plan), *itertools.chain(*doubled))
    for words in ((planned, planned), (planned, file), (file, single)):
        done = bench("compare", *words)
        assert done.returncode == 3, done
        assert done.stdout.splitlines()[-1].startswith("NOT JUDGED: 0 of 3 cells judged: ")
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: none of 3 cells was judged: a verdict takes 2 passes")


def test_compare_refuses_a_file_that_two_commits_wrote(file: Path) -> None:
    with file.open("ab") as mixed:
        mixed.write(msgspec.json.encode(a_machine(a_plan(CASE), commit="1" * 40)) + b"\n")
    line = assert_refused(bench("compare", file, file))
    assert f"{file}: measured by commit 000000000000 and commit 111111111111" in line


def test_a_file_named_twice_is_counted_once(file: Path) -> None:
    rows = json.loads(bench("table", file, file, "--format", "json").stdout)
    assert {row["passes"] for row in rows} == {3}


def test_a_file_named_by_two_paths_is_counted_once(file: Path) -> None:
    relative = os.path.relpath(file, ROOT)
    rows = json.loads(bench("table", file, relative, "--format", "json").stdout)
    assert {row["passes"] for row in rows} == {3}


def test_a_copy_of_a_run_is_refused_and_another_run_is_not(tmp_path: Path) -> None:
    def race_file(name: str, race: int) -> Path:
        records = [
            msgspec.structs.replace(record, race=race) if isinstance(record, Time) else record
            for record in a_cell(CASE, "eager")
        ]
        return write(tmp_path / name, a_machine(a_plan(CASE)), *records)

    run, copy, other = (
        race_file("run.jsonl", 7),
        race_file("copy.jsonl", 7),
        race_file("other.jsonl", 8),
    )
    assert bench("table", run, other).returncode == 0
    for words in (("table",), ("choose",), ("export", "--format", "bencher")):
        line = assert_refused(bench(*words, run, copy))
        assert f"{copy}: it has races of {run} too, which would count twice; name one" in line


def test_one_file_that_can_not_be_read_stops_the_table(file: Path) -> None:
    assert "nowhere" in assert_refused(bench("table", file, "nowhere.jsonl"))


def test_json_and_csv_are_all_that_is_on_stdout(file: Path) -> None:
    rows = json.loads(bench("table", "--format", "json", file).stdout)
    read = list(csv.DictReader(io.StringIO(bench("table", "--format", "csv", file).stdout)))
    assert [row["variant"] for row in rows] == NAMES
    assert [row["variant"] for row in read] == NAMES


@pytest.mark.parametrize(
    "layout",
    [
        "simple",
        *(pytest.param(each, marks=pytest.mark.heavy) for each in ("github", "csv", "json")),
    ],
)
def test_a_reader_that_stops_reading_causes_no_complaint(layout: str, file: Path) -> None:
    words = [sys.executable, "run_bench.py", "table", str(file), "--format", layout]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        complaint = running.stderr.read()
    assert (complaint, running.returncode) == ("", 0)


def test_head_shows_the_first_line_alone(file: Path) -> None:
    words = f"'{sys.executable}' run_bench.py table '{file}' | head -1"
    done = subprocess.run(
        ["bash", "-c", words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Invented CPU, 2 cores; ")
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_list_shows_variants_and_sweeps() -> None:
    for kind, name in (("variants", "sdpa_key"), ("sweeps", "training")):
        done = bench("list", kind)
        assert (done.returncode, done.stderr) == (0, "")
        assert name in done.stdout


TORCHLESS = """
import runpy, sys
for words in {commands!r}:
    sys.argv = ["run_bench.py", *words]
    try:
        runpy.run_path("run_bench.py", run_name="__main__")
    except SystemExit as ended:
        print("ended with", ended.code, file=sys.stderr)
    if "torch" in sys.modules:
        sys.exit(f"torch was imported by {{words}}")
"""


def test_what_measures_nothing_imports_no_torch(file: Path) -> None:
    commands = [
        ["--help"],
        ["table", str(file)],
        ["list", "variants"],
        ["run", "--lengths", "0"],
        ["choose", str(file)],
        ["best", "--length", "512"],
        ["regret", str(file)],
        ["compare", str(file), str(file)],
    ]
    done = subprocess.run(
        [sys.executable, "-c", TORCHLESS.format(commands=commands)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Error: --lengths 0" in done.stderr
    assert "fastest that agrees" in done.stdout
