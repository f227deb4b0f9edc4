"""`choose`, `best` and `regret` as commands: what they print, write and refuse."""

import json
import re
from pathlib import Path

import pytest

from reports.commands.console import default_path
from suite.records.store import Results
from tests.conftest import Folders
from tests.fakes.console import Done, bench
from tests.fakes.gpus import gpus, with_cuda
from tests.fakes.in_process import start_real_lanes_in_process
from tests.records import write
from tests.reports.tunings import tuned, weighed
from tests.variants.selections import a_candidate, a_problem, chosen_from, of_this_machine, put
from variants.host.hardware import usable_cores
from variants.selection.files import read

ROOT = Path(__file__).parents[1]
KEY = "cpu-invented-2cores"
TIMES = {
    "eager": {512: 1.0, 1024: 4.0, 2048: 16.0},
    "flex": {512: 2.1, 1024: 4.4, 2048: 8.0},
}
SHAPE = ("--heads", "8", "--head-dim", "64")
TINY = ("--device", "cpu", "--lengths", "64,160", "--variants", "eager,sdpa_mask")


class Commands:
    """The command line with a cache directory of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cached = folder / "alibi-bench" / "selections" / f"{KEY}.json"
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))

    def run(self, *words: object) -> Done:
        """Run a command to its end."""
        return bench(*words)

    def ran(self, *words: object) -> str:
        """Return what a command printed that went well."""
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def refused(self, *words: object) -> str:
        """Return the one line with which a command was refused."""
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (2, ""), done
        (line,) = done.stderr.splitlines()
        return line


def written(path: Path, file: Results) -> Path:
    """Write an invented tuning, and return its path."""
    return write(path, file.header, *file.records[1:])


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The command line with an empty cache directory, in the project's folder."""
    monkeypatch.chdir(ROOT)
    return Commands(tmp_path / "cache", monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of an invented tuning."""
    return written(tmp_path / "tuning.jsonl", tuned(TIMES))


def test_a_selection_goes_to_the_cache_and_to_out(
    commands: Commands, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"{KEY}.json"
    text = commands.ran("choose", file, "--out", out)
    assert read(out) == read(commands.cached)
    assert [one.variant for one in read(out).choices] == ["eager", "eager", "flex"]
    assert f"Selection: {commands.cached}" in text
    assert f"Selection: {out}" in text
    assert "flex takes 2.10x" in text


def test_the_selection_at_out_has_the_incumbents(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / f"{KEY}.json"
    flex_first = tuned({"eager": {512: 2.0}, "flex": {512: 1.0}})
    commands.ran("choose", written(tmp_path / "one.jsonl", flex_first), "--out", out)
    level = tuned({"eager": {512: 1.0}, "flex": {512: 1.01}})
    text = commands.ran("choose", written(tmp_path / "two.jsonl", level), "--out", out)
    assert "incumbent; eager gains 1.0%" in text
    assert read(out).choices[0].variant == "flex"


def test_choices_in_the_cache_that_the_selection_at_out_lacks_are_not_dropped_without_a_word(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"{KEY}.json"
    first, second, third = (
        written(tmp_path / f"{length}.jsonl", tuned({"eager": {length: 1.0}}))
        for length in (512, 1024, 2048)
    )
    commands.ran("choose", first)
    with monkeypatch.context() as patch:
        Commands(tmp_path / "other", patch).ran("choose", second, "--out", out)
    done = commands.run("choose", third, "--out", out)
    assert done.returncode == 0
    assert done.stderr == (
        f"Warning: {commands.cached}: 1 problems chosen before are dropped: --out has others\n"
    )
    assert [one.problem.kv_len for one in read(commands.cached).choices] == [1024, 2048]


def test_a_file_named_twice_is_measured_once(
    commands: Commands, file: Path, tmp_path: Path
) -> None:
    once = commands.ran("choose", file)
    again = tmp_path / "again.jsonl"
    again.symlink_to(file)
    assert commands.ran("choose", file, again, file) == once
    assert read(commands.cached).choices[0].candidates[0].passes == 3
    assert "for 0 of 3" in commands.ran("regret", file, file)


def test_results_of_a_command_that_names_no_file_go_to_the_results_folder() -> None:
    path = default_path("cpu-of-nobody")
    assert path.parent == ROOT / "results"
    assert path.name.endswith("-cpu-of-nobody.jsonl")


def test_what_was_measured_is_answered_exactly_and_what_lies_between_is_interpolated(
    commands: Commands, file: Path
) -> None:
    commands.ran("choose", file)
    text = commands.ran("best", *SHAPE, "--length", "512,1448", "--hardware", KEY, "--explain")
    exact, between = text.split("\n\nflex\n")
    assert exact.startswith("eager\n")
    assert "exact: 512 keys measured on Invented CPU" in exact
    assert "expected 1.00 ms" in exact
    assert "runner-up flex, 2.10x" in exact
    assert "interpolated: 1024 and 2048 keys measured" in between
    assert "runner-up eager, 1.35x" in between


def test_a_part_of_a_hardware_key_names_the_device_if_it_fits_one_selection(
    commands: Commands, file: Path
) -> None:
    commands.ran("choose", file)
    whole = commands.ran("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert commands.ran("best", *SHAPE, "--length", "512", "--hardware", "invented") == whole
    several = sorted(path.stem for path in (ROOT / "selections").glob("*amd*.json"))
    assert len(several) > 1
    line = commands.refused("best", "--length", "512", "--hardware", "amd")
    assert line.endswith(f"it fits the selections of {', '.join(several)}")


def test_a_whole_hardware_key_is_not_taken_for_a_part_of_a_longer_one(
    commands: Commands, file: Path
) -> None:
    commands.ran("choose", file)
    longer = commands.cached.with_stem(f"{KEY}-of-another")
    longer.write_text(commands.cached.read_text().replace(KEY, longer.stem))
    done = commands.run("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert done.returncode == 0, done
    assert "exact: 512 keys measured on Invented CPU" in done.stdout


def test_where_one_variant_was_measured_nothing_is_said_of_others(
    commands: Commands, tmp_path: Path
) -> None:
    commands.ran("choose", written(tmp_path / "one.jsonl", tuned({"eager": {512: 1.0}})))
    text = commands.ran("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert "runner-up none: nothing else was measured, agreed and kept the limits" in text
    assert "regret" not in text


def test_an_answer_by_memory_says_so(commands: Commands, tmp_path: Path) -> None:
    file = tuned({"eager": {512: 1.0}, "flex": {512: 2.0}}, *weighed({"eager": 9, "flex": 5}))
    commands.ran("choose", written(tmp_path / "light.jsonl", file), "--objective", "memory")
    text = commands.ran("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert text.startswith("flex\n")
    assert "regret not bounded: it was chosen by memory" in text
    assert "exact, by memory: 512 keys" in text


def test_programs_get_answers_as_json(commands: Commands, file: Path) -> None:
    commands.ran("choose", file)
    words = (*SHAPE, "--length", "724", "--hardware", KEY, "--format", "json")
    (answer,) = json.loads(commands.ran("best", *words))
    assert (answer["variant"], answer["ground"]) == ("eager", "interpolated")
    assert answer["measured_lengths"] == [512, 1024]
    assert (answer["threads"], answer["measured_threads"]) == (2, 2)
    assert answer["ranking"][0]["time_ms"] == pytest.approx(2.0, rel=0.01)
    assert answer["ranking"][0]["score_unit"] == "ms"
    assert answer["ranking"][1]["score_ratio_to_chosen"] == pytest.approx(1.52, rel=0.01)
    assert answer["regret_share_at_most"] == 0.0
    assert answer["problem"]["kv_len"] == 724


def test_the_page_names_every_field_of_the_json(commands: Commands, file: Path) -> None:
    commands.ran("choose", file)
    words = (*SHAPE, "--length", "724", "--hardware", KEY, "--format", "json")
    (answer,) = json.loads(commands.ran("best", *words))
    page = (ROOT / "docs" / "choosing.md").read_text()
    table = page.partition("## `best --format json`")[2].partition("\n## ")[0]
    fields = [*answer, *(f"ranking[].{name}" for name in answer["ranking"][0])]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == fields


def test_below_the_shortest_length_the_time_is_an_upper_limit(
    commands: Commands, file: Path
) -> None:
    commands.ran("choose", file)
    text = commands.ran("best", *SHAPE, "--length", "200", "--hardware", KEY, "--explain")
    assert "expected at most 1.00 ms, as at 512 keys, the shortest length measured" in text
    assert "runner-up flex, 2.10x, at most 2.10 ms" in text
    assert "ms, at most" in text


def test_a_chosen_variant_is_never_shown_beside_a_faster_runner_up(
    commands: Commands, tmp_path: Path
) -> None:
    level = tuned({"eager": {512: 1.01}, "flex": {512: 1.0}})
    commands.ran("choose", written(tmp_path / "level.jsonl", level))
    flex = commands.ran("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert "runner-up eager, 1.01x, 1.01 ms" in flex
    before = tuned({"eager": {512: 1.0}, "flex": {512: 2.0}})
    commands.ran("choose", written(tmp_path / "before.jsonl", before))
    commands.ran("choose", written(tmp_path / "again.jsonl", level))
    eager = commands.ran("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert eager.startswith("eager\n")
    assert "runner-up" not in eager
    assert "not surely over 2% better: flex, 0.99x, 1.00 ms" in eager


def test_times_of_other_threads_than_here_say_so(
    commands: Commands, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = a_problem(512, dtype="bfloat16")
    chosen = chosen_from(problem, a_candidate("eager", 3.0), a_candidate("flex", 4.0))
    put(folders.of_user, of_this_machine(chosen, threads=77))
    text = commands.ran("best", *SHAPE, "--length", "512", "--device", "cpu")
    assert f"expected 3.00 ms, with 77 threads; here {usable_cores()} would compute" in text


def test_without_any_selection_there_is_still_an_answer_that_says_so(commands: Commands) -> None:
    text = commands.ran("best", "--models", "bloom-560m", "--length", "777", "--device", "cpu")
    assert "777 keys, bfloat16, forward" in text
    assert "regret not bounded" in text


def test_a_damaged_selection_is_told_in_a_line_and_passed_over(commands: Commands) -> None:
    commands.cached.parent.mkdir(parents=True)
    commands.cached.write_text('{"schema": 1, "hardware"')
    done = commands.run("best", "--length", "64", "--device", "cpu", *SHAPE)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Warning: {commands.cached}: ")


def test_a_damaged_incumbent_is_told_and_replaced(commands: Commands, file: Path) -> None:
    commands.cached.parent.mkdir(parents=True)
    commands.cached.write_text("damaged")
    done = commands.run("choose", file)
    assert done.returncode == 0
    assert "Warning: " in done.stderr
    assert len(read(commands.cached).choices) == 3


def test_regret_prices_what_files_did_not_measure(
    commands: Commands, file: Path, tmp_path: Path
) -> None:
    race = written(tmp_path / "race.jsonl", tuned({"eager": {724: 2.0}, "flex": {724: 1.6}}))
    text = commands.ran("regret", file, "--unseen", race)
    assert "Left out: 1 problems; regret 0.00% in the mean" in text
    assert "Unseen: 1 problems; regret 25.00% in the mean" in text
    assert "Two tunings chose differently for 0 of 3 (0%)." in text
    assert json.loads(commands.ran("regret", file, "--format", "json"))["flips"]["problems"] == 3


def test_a_mistake_is_one_line_that_names_it(
    commands: Commands, file: Path, tmp_path: Path
) -> None:
    one_length = written(tmp_path / "one.jsonl", tuned({"eager": {512: 1.0}}))
    for words, part in {
        ("choose",): "name results FILES, or give --tune",
        ("choose", file, "--tune"): "one of them",
        ("choose", file, "--lengths", "512"): "--lengths needs --tune",
        ("choose", file, "--budget", "1m"): "--budget needs --tune",
        ("choose", file, "--max-memory", "lots"): "--max-memory lots: give a size such as 512MiB",
        ("choose", file, "--max-error", "-1"): "--max-error -1",
        ("choose", file, "--objective", "speed"): "speed",
        ("choose", file, "--objective", "graph"): "only a GPU has",
        (
            "choose",
            file,
            "--out",
            tmp_path / "x.json",
        ): f"--out {tmp_path}/x.json: name it {KEY}.json",
        ("choose", "--tune", *TINY, "--out", "x.json"): "--out x.json: name it cpu-",
        ("choose", "nowhere.jsonl"): "nowhere.jsonl: No such file",
        ("choose", "--tune", "--budget", "soon"): "--budget soon: give a duration",
        ("best",): "--length",
        ("choose", "--tune", "--device", "cpu", "--sweep", "ragged"): "selections are of dense",
        ("choose", "--tune", *TINY, "--window", "8"): "-window8: selections are of dense",
        (
            "choose",
            "--tune",
            *TINY,
            "--modes",
            "decode",
            "--layout",
            "paged",
        ): "-paged: selections are",
        ("best", "--length", "64", "--mode", "decode", "--layout", "paged"): "-paged: selections",
        ("best", "--length", "0"): "--lengths 0: a length is at least 1",
        ("best", "--length", "64", "--mode", "forwards"): "--modes forwards",
        ("best", "--length", "64", "--dtype", "float8"): "--dtypes float8",
        ("best", "--length", "64", "--models", "gpt-2"): "--models gpt-2",
        ("best", "--length", "64", "--hardware", "cpu-of-nobody"): "--hardware cpu-of-nobody",
        ("best", "--length", "64", "--hardware", KEY, "--device", "cpu"): "not both",
        ("regret", one_length, "--fresh", "1m"): "no two lengths of a shape",
        ("regret", file, "--fresh", "1m", "--unseen", file): "--unseen FILE",
        ("regret", file, "--out", "x"): "drop --out",
        ("regret", file, "--fresh", "1m", "--out", tmp_path / "x"): "--fresh: this is hardware key",
    }.items():
        assert part in commands.refused(*words), words


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
    text = commands.ran("choose", file, "--out", commands.cached)
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
    (selection,) = commands.cached.parent.glob("*.json")
    assert [one.problem.kv_len for one in read(selection).choices] == [64, 160]
    text = commands.ran("best", "--length", "100", "--dtype", "float32", "--device", "cpu")
    assert "interpolated: 64 and 160 keys measured" in text
    (results,) = (line for line in done.stderr.splitlines() if line.startswith("Results: "))
    out = tmp_path / "fresh.jsonl"
    priced = commands.run(
        "regret", results.removeprefix("Results: "), "--fresh", "20m", "--out", out
    )
    assert priced.returncode == 0, priced.stderr
    assert "Unseen: 1 problems" in priced.stdout


@pytest.mark.parametrize(("capability", "half"), [("7.5", "float16"), ("8.0", "bfloat16")])
def test_best_asks_of_the_half_precision_that_the_gpu_has(
    capability: str, half: str, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(monkeypatch, gpus(capability))
    (answer,) = json.loads(commands.ran("best", "--length", "512", "--format", "json"))
    assert answer["problem"]["dtype"] == half
