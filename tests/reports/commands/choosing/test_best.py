"""`best`: what it answers, on what ground, and what it refuses."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Folders
from tests.fakes.gpus import gpus, with_cuda
from tests.reports.commands.choosing.command_line import KEY, ROOT, SHAPE, Commands, write_file
from tests.reports.tunings import memories, tuning
from tests.variants.selections import a_candidate, a_problem, choice_of, of_this_machine, put
from variants.host.hardware import usable_cores


def test_what_was_measured_is_answered_exactly_and_what_lies_between_is_interpolated(
    commands: Commands, file: Path
) -> None:
    commands.output("choose", file)
    text = commands.output("best", *SHAPE, "--length", "512,1448", "--hardware", KEY, "--explain")
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
    commands.output("choose", file)
    whole = commands.output("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert commands.output("best", *SHAPE, "--length", "512", "--hardware", "invented") == whole
    several = sorted(path.stem for path in (ROOT / "selections").glob("*amd*.json"))
    assert len(several) > 1
    line = commands.refusal("best", "--length", "512", "--hardware", "amd")
    assert line.endswith(f"it fits the selections of {', '.join(several)}")


def test_a_whole_hardware_key_is_not_taken_for_a_part_of_a_longer_one(
    commands: Commands, file: Path
) -> None:
    commands.output("choose", file)
    longer = commands.cache_file.with_stem(f"{KEY}-of-another")
    longer.write_text(commands.cache_file.read_text().replace(KEY, longer.stem))
    done = commands.run("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert done.returncode == 0, done
    assert "exact: 512 keys measured on Invented CPU" in done.stdout


def test_where_one_variant_was_measured_nothing_is_said_of_others(
    commands: Commands, tmp_path: Path
) -> None:
    commands.output("choose", write_file(tmp_path / "one.jsonl", tuning({"eager": {512: 1.0}})))
    text = commands.output("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert "runner-up none: nothing else was measured, agreed and kept the limits" in text
    assert "regret" not in text


def test_an_answer_by_memory_says_so(commands: Commands, tmp_path: Path) -> None:
    file = tuning({"eager": {512: 1.0}, "flex": {512: 2.0}}, *memories({"eager": 9, "flex": 5}))
    commands.output("choose", write_file(tmp_path / "light.jsonl", file), "--objective", "memory")
    text = commands.output("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert text.startswith("flex\n")
    assert "regret not bounded: it was chosen by memory" in text
    assert "exact, by memory: 512 keys" in text


def test_programs_get_answers_as_json(commands: Commands, file: Path) -> None:
    commands.output("choose", file)
    words = (*SHAPE, "--length", "724", "--hardware", KEY, "--format", "json")
    (answer,) = json.loads(commands.output("best", *words))
    assert (answer["variant"], answer["ground"]) == ("eager", "interpolated")
    assert answer["measured_lengths"] == [512, 1024]
    assert (answer["threads"], answer["measured_threads"]) == (2, 2)
    assert answer["ranking"][0]["time_ms"] == pytest.approx(2.0, rel=0.01)
    assert answer["ranking"][0]["score_unit"] == "ms"
    assert answer["ranking"][1]["score_ratio_to_chosen"] == pytest.approx(1.52, rel=0.01)
    assert answer["regret_share_at_most"] == 0.0
    assert answer["problem"]["kv_len"] == 724


def test_the_page_names_every_field_of_the_json(commands: Commands, file: Path) -> None:
    commands.output("choose", file)
    words = (*SHAPE, "--length", "724", "--hardware", KEY, "--format", "json")
    (answer,) = json.loads(commands.output("best", *words))
    page = (ROOT / "docs" / "choosing.md").read_text()
    table = page.partition("## `best --format json`")[2].partition("\n## ")[0]
    fields = [*answer, *(f"ranking[].{name}" for name in answer["ranking"][0])]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == fields


def test_below_the_shortest_length_the_time_is_an_upper_limit(
    commands: Commands, file: Path
) -> None:
    commands.output("choose", file)
    text = commands.output("best", *SHAPE, "--length", "200", "--hardware", KEY, "--explain")
    assert "expected at most 1.00 ms, as at 512 keys, the shortest length measured" in text
    assert "runner-up flex, 2.10x, at most 2.10 ms" in text
    assert "ms, at most" in text


def test_a_chosen_variant_is_never_shown_beside_a_faster_runner_up(
    commands: Commands, tmp_path: Path
) -> None:
    level = tuning({"eager": {512: 1.01}, "flex": {512: 1.0}})
    commands.output("choose", write_file(tmp_path / "level.jsonl", level))
    flex = commands.output("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert "runner-up eager, 1.01x, 1.01 ms" in flex
    before = tuning({"eager": {512: 1.0}, "flex": {512: 2.0}})
    commands.output("choose", write_file(tmp_path / "before.jsonl", before))
    commands.output("choose", write_file(tmp_path / "again.jsonl", level))
    eager = commands.output("best", *SHAPE, "--length", "512", "--hardware", KEY)
    assert eager.startswith("eager\n")
    assert "runner-up" not in eager
    assert "not surely over 2% better: flex, 0.99x, 1.00 ms" in eager


def test_times_of_other_threads_than_here_say_so(
    commands: Commands, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = a_problem(512, dtype="bfloat16")
    chosen = choice_of(problem, a_candidate("eager", 3.0), a_candidate("flex", 4.0))
    put(folders.of_user, of_this_machine(chosen, threads=77))
    text = commands.output("best", *SHAPE, "--length", "512", "--device", "cpu")
    assert f"expected 3.00 ms, with 77 threads; here {usable_cores()} would compute" in text


def test_without_any_selection_there_is_still_an_answer_that_says_so(commands: Commands) -> None:
    text = commands.output("best", "--models", "bloom-560m", "--length", "777", "--device", "cpu")
    assert "777 keys, bfloat16, forward" in text
    assert "regret not bounded" in text


def test_a_damaged_selection_is_told_in_a_line_and_passed_over(commands: Commands) -> None:
    commands.cache_file.parent.mkdir(parents=True)
    commands.cache_file.write_text('{"schema": 1, "hardware"')
    done = commands.run("best", "--length", "64", "--device", "cpu", *SHAPE)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Warning: {commands.cache_file}: ")


@pytest.mark.parametrize(("capability", "half"), [("7.5", "float16"), ("8.0", "bfloat16")])
def test_best_asks_of_the_half_precision_that_the_gpu_has(
    capability: str, half: str, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(monkeypatch, gpus(capability))
    (answer,) = json.loads(commands.output("best", "--length", "512", "--format", "json"))
    assert answer["problem"]["dtype"] == half


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("", "--length"),
        ("--length 64 --mode decode --layout paged", "-paged: selections"),
        ("--length 0", "--lengths 0: a length is at least 1"),
        ("--length 64 --mode forwards", "--modes forwards"),
        ("--length 64 --dtype float8", "--dtypes float8"),
        ("--length 64 --models gpt-2", "--models gpt-2"),
        ("--length 64 --hardware cpu-of-nobody", "--hardware cpu-of-nobody"),
        ("--length 64 --hardware cpu-invented-2cores --device cpu", "not both"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    words: str, part: str, commands: Commands, file: Path, tmp_path: Path
) -> None:
    given = words.format(file=file, folder=tmp_path).split()
    assert part.format(folder=tmp_path, key=KEY) in commands.refusal("best", *given)
