"""Where the results of a command go that names no file."""

from pathlib import Path

from reports.commands.console import default_path


def test_they_go_to_the_results_folder() -> None:
    path = default_path("cpu-of-nobody")
    assert path.parent == Path(__file__).parents[3] / "results"
    assert path.name.endswith("-cpu-of-nobody.jsonl")
