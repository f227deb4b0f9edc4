"""What a command prints for people fits 80 columns, in a pipe as in a terminal of that width."""

import os
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from reports.commands.command_line import cli
from reports.verdicts import calibration
from tests.records import write
from tests.reports.pages.test_atlas import BAD, GOOD
from tests.reports.publishing.good_file import a_good_file, a_header, good_records
from tests.reports.web_page.page_results import a_history

ROOT = Path(__file__).parents[3]
EPYC = "results/published/cpu-amd-26.2.1-avx2-avx512f-bf16-2cores"
XEON = "cpu-intel-6.167.1-avx2-avx512f-bf16-fp16-amx-bf16-2cores"
XEON_OF_PAIRS = "cpu-intel-6.207.2-avx2-avx512f-bf16-fp16-2cores"
XEON_LINKED, AA = "xeon", "aa"
"""The long names of folders are words that can't be broken; links have short ones."""

PRINTED = [
    "list variants",
    "list models",
    "list sweeps",
    f"table {EPYC}/forward.jsonl {EPYC}/long.jsonl {EPYC}/peers-decode.jsonl",
    f"table {XEON_LINKED}/unseen-forward-whole.jsonl {XEON_LINKED}/wide-8-of-128-kernel.jsonl",
    *(f"table {EPYC}/peers.jsonl --metric {m}" for m in ("memory", "error", "start", "clock")),
    f"compare {EPYC}/decode.jsonl {EPYC}/decode.jsonl",
    f"compare {XEON_LINKED}/backward.jsonl {XEON_LINKED}/backward.jsonl",
    f"compare {AA}/01.jsonl",
    f"history {EPYC} {XEON_LINKED}",
    f"regret {XEON_LINKED}/forward-kernel.jsonl",
    f"choose --others {EPYC}/peers.jsonl",
    f"best --models bloom-560m,Refact-1.6B --length 3000 --explain --hardware {XEON}",
    "best --lengths 777 --mode backward --dtype float32 --device cpu",
    "lengths results/lengths/default.jsonl",
]


@pytest.fixture
def columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Return a runner in a folder with short names."""
    (tmp_path / "results").symlink_to(ROOT / "results")
    (tmp_path / XEON_LINKED).symlink_to(ROOT / "results" / "published" / XEON)
    (tmp_path / AA).symlink_to(ROOT / "results" / "published" / XEON_OF_PAIRS / "aa")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return CliRunner()


def too_wide(text: str) -> list[str]:
    """Return the lines of a text that are wider than 80 columns."""
    return [line for line in text.splitlines() if len(line) > 80]


@pytest.mark.parametrize("words", PRINTED)
def test_what_a_command_prints_fits_80_columns(columns: CliRunner, words: str) -> None:
    done = columns.invoke(cli, words.split(), env=os.environ)
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) > 2
    assert too_wide(done.stdout) == []
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", cli.commands)
def test_the_help_of_a_command_fits_80_columns(command: str) -> None:
    done = CliRunner().invoke(cli, [command, "--help"], terminal_width=80)
    assert done.exit_code == 0
    assert too_wide(done.output) == []


def test_the_list_of_commands_cuts_no_sentence_short() -> None:
    done = CliRunner().invoke(cli, ["--help"], terminal_width=80)
    assert "Look at results:" in done.output
    assert too_wide(done.output) == []
    assert "..." not in done.output.partition("Measure:")[2]


def test_the_rates_of_aa_fit_80_columns(
    columns: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "RESAMPLES", 4)
    monkeypatch.setattr(calibration, "RESAMPLES_OF_POWER", 2)
    done = columns.invoke(cli, ["aa", "--pairs", "0", f"{AA}/01.jsonl", f"{AA}/02.jsonl"])
    assert done.exit_code == 0, done.output
    assert "false alarms" in done.stdout
    assert too_wide(done.stdout) == []


def test_the_traps_of_an_atlas_fit_80_columns(
    columns: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.atlas.processes.ask_all", lambda *_: [GOOD, BAD])
    done = columns.invoke(cli, ["atlas", "--variants", "eager", "--out", "atlas.md"])
    assert done.exit_code == 0, done.output
    assert "traps in 2 implementations: atlas.md" in done.stdout
    assert too_wide(done.stdout) == []


def test_a_history_with_steps_of_every_cause_fits_80_columns(columns: CliRunner) -> None:
    for number, run in enumerate(a_history()):
        write(Path(f"runs/{number:02d}.jsonl"), run.header, *run.records[1:])
    done = columns.invoke(cli, ["history", "runs"])
    assert done.exit_code == 0, done.output
    for cause in ("nothing but the code explains it", "environment: ", "machine: "):
        assert cause in " ".join(done.stdout.split())
    assert too_wide(done.stdout) == []


def test_what_publish_says_fits_80_columns(
    columns: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("suite.conditions.policy.ROOT", tmp_path / "clone")
    path = "/home/ada/results-of-this-week/of-the-second-machine/it.jsonl"
    header = msgspec.structs.replace(a_header(), argv=("run", "--out", path))
    write(Path("wrong.jsonl"), header, *good_records((7.0, 7.1, 19.9))[:-3])
    a_good_file(Path("good.jsonl"))
    said = [
        columns.invoke(cli, ["publish", *words]).stdout
        for words in (["wrong.jsonl"], ["good.jsonl", "--name", "good"], ["good.jsonl"])
    ]
    for text, words in zip(said, ("3 things to mend", "Next: ", "filed already"), strict=True):
        assert words in text
        assert too_wide(text) == []
    assert " \\\n" in said[0]  # the command that takes the path out


@pytest.mark.heavy
def test_what_page_and_export_say_fits_80_columns(columns: CliRunner) -> None:
    for words in (
        ["page", f"{EPYC}/forward.jsonl", "--out", "page"],
        ["export", f"{EPYC}/forward.jsonl", "--format", "asv", "--out", "asv"],
    ):
        done = columns.invoke(cli, words)
        assert done.exit_code == 0, done.output
        assert too_wide(done.stdout) == []
