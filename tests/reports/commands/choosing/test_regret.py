"""`regret`: what it prices, and what it refuses."""

import json
from pathlib import Path

import pytest

from tests.reports.commands.choosing.command_line import KEY, Commands, write_file
from tests.reports.tunings import tuning


def test_regret_prices_what_files_did_not_measure(
    commands: Commands, file: Path, tmp_path: Path
) -> None:
    race = write_file(tmp_path / "race.jsonl", tuning({"eager": {724: 2.0}, "flex": {724: 1.6}}))
    text = commands.output("regret", file, "--unseen", race)
    assert "Left out: 1 problems; regret 0.00% in the mean" in text
    assert "Unseen: 1 problems; regret 25.00% in the mean" in text
    assert "Two tunings chose differently for 0 of 3 (0%)." in text
    assert json.loads(commands.output("regret", file, "--format", "json"))["flips"]["problems"] == 3


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("{folder}/one.jsonl --fresh 1m", "no two lengths of a shape"),
        ("{file} --fresh 1m --unseen {file}", "--unseen FILE"),
        ("{file} --out x", "drop --out"),
        ("{file} --fresh 1m --out {folder}/x", "--fresh: this is hardware key"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    words: str, part: str, commands: Commands, file: Path, tmp_path: Path
) -> None:
    write_file(tmp_path / "one.jsonl", tuning({"eager": {512: 1.0}}))
    given = words.format(file=file, folder=tmp_path).split()
    assert part.format(folder=tmp_path, key=KEY) in commands.refusal("regret", *given)
