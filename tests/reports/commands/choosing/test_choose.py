"""`choose`: where a selection goes, what it keeps, and what it refuses."""

from pathlib import Path

import pytest

from tests.fakes.in_process import start_real_lanes_in_process
from tests.reports.commands.choosing.command_line import KEY, TINY, Commands, write_file
from tests.reports.tunings import tuning
from variants.selection.files import read


def test_a_selection_goes_to_the_cache_and_to_out(
    commands: Commands, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"{KEY}.json"
    text = commands.output("choose", file, "--out", out)
    assert read(out) == read(commands.cache_file)
    assert [one.variant for one in read(out).choices] == ["eager", "eager", "flex"]
    assert f"Selection: {commands.cache_file}" in text
    assert f"Selection: {out}" in text
    assert "flex takes 2.10x" in text


def test_the_selection_at_out_has_the_incumbents(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / f"{KEY}.json"
    flex_first = tuning({"eager": {512: 2.0}, "flex": {512: 1.0}})
    commands.output("choose", write_file(tmp_path / "one.jsonl", flex_first), "--out", out)
    level = tuning({"eager": {512: 1.0}, "flex": {512: 1.01}})
    text = commands.output("choose", write_file(tmp_path / "two.jsonl", level), "--out", out)
    assert "incumbent; eager gains 1.0%" in text
    assert read(out).choices[0].variant == "flex"


def test_choices_in_the_cache_that_the_selection_at_out_lacks_are_not_dropped_without_a_word(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"{KEY}.json"
    first, second, third = (
        write_file(tmp_path / f"{length}.jsonl", tuning({"eager": {length: 1.0}}))
        for length in (512, 1024, 2048)
    )
    commands.output("choose", first)
    with monkeypatch.context() as patch:
        Commands(tmp_path / "other", patch).output("choose", second, "--out", out)
    done = commands.run("choose", third, "--out", out)
    assert done.returncode == 0
    assert done.stderr == (
        f"Warning: {commands.cache_file}: 1 problems chosen before are dropped: --out has others\n"
    )
    assert [one.problem.kv_len for one in read(commands.cache_file).choices] == [1024, 2048]


def test_a_file_named_twice_is_measured_once(
    commands: Commands, file: Path, tmp_path: Path
) -> None:
    once = commands.output("choose", file)
    again = tmp_path / "again.jsonl"
    again.symlink_to(file)
    assert commands.output("choose", file, again, file) == once
    assert read(commands.cache_file).choices[0].candidates[0].passes == 3
    assert "for 0 of 3" in commands.output("regret", file, file)


def test_a_damaged_incumbent_is_told_and_replaced(commands: Commands, file: Path) -> None:
    commands.cache_file.parent.mkdir(parents=True)
    commands.cache_file.write_text("damaged")
    done = commands.run("choose", file)
    assert done.returncode == 0
    assert "Warning: " in done.stderr
    assert len(read(commands.cache_file).choices) == 3


def test_a_selection_that_cannot_be_written_ends_with_3(commands: Commands, file: Path) -> None:
    done = commands.run("choose", file, "--out", file / f"{KEY}.json")
    assert done.returncode == 3
    assert "name another --out" in done.stderr


def test_a_cache_that_takes_nothing_ends_with_3_after_out_is_written(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"{KEY}.json"
    done = Commands(file, monkeypatch).run("choose", file, "--out", out)
    assert done.returncode == 3
    assert done.stderr.endswith("name another --out or XDG_CACHE_HOME\n")
    assert len(read(out).choices) == 3


def test_out_in_the_cache_itself_is_written_once(commands: Commands, file: Path) -> None:
    text = commands.output("choose", file, "--out", commands.cache_file)
    assert text.count("Selection: ") == 1


@pytest.mark.long
@pytest.mark.heavy
def test_a_small_race_is_measured_chosen_from_advised_and_priced(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.tables.rank.CONTRADICTION", 1e9)  # a busy machine is too noisy
    start_real_lanes_in_process(monkeypatch)
    done = commands.run("choose", "--tune", *TINY, "--dtypes", "float32", "--budget", "20m")
    assert done.returncode == 0, done.stderr
    (selection,) = commands.cache_file.parent.glob("*.json")
    assert [one.problem.kv_len for one in read(selection).choices] == [64, 160]
    text = commands.output("best", "--length", "100", "--dtype", "float32", "--device", "cpu")
    assert "interpolated: 64 and 160 keys measured" in text
    (results,) = (line for line in done.stderr.splitlines() if line.startswith("Results: "))
    out = tmp_path / "fresh.jsonl"
    priced = commands.run(
        "regret", results.removeprefix("Results: "), "--fresh", "20m", "--out", out
    )
    assert priced.returncode == 0, priced.stderr
    assert "Unseen: 1 problems" in priced.stdout


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("", "name results FILES, or give --tune"),
        ("{file} --tune", "one of them"),
        ("{file} --lengths 512", "--lengths needs --tune"),
        ("{file} --budget 1m", "--budget needs --tune"),
        ("{file} --max-memory lots", "--max-memory lots: give a size such as 512MiB"),
        ("{file} --max-error -1", "--max-error -1"),
        ("{file} --objective speed", "speed"),
        ("{file} --objective graph", "only a GPU has"),
        ("{file} --out {folder}/x.json", "--out {folder}/x.json: name it {key}.json"),
        (
            "--tune {tiny} --out x.json",
            "--out x.json: name it cpu-",
        ),
        ("nowhere.jsonl", "nowhere.jsonl: No such file"),
        ("--tune --budget soon", "--budget soon: give a duration"),
        ("--tune --device cpu --sweep ragged", "selections are of dense"),
        (
            "--tune {tiny} --window 8",
            "-window8: selections are of dense",
        ),
        (
            "--tune {tiny} --modes decode --layout paged",
            "-paged: selections are",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    words: str, part: str, commands: Commands, file: Path, tmp_path: Path
) -> None:
    given = words.format(file=file, folder=tmp_path, tiny=" ".join(TINY)).split()
    assert part.format(folder=tmp_path, key=KEY) in commands.refusal("choose", *given)
