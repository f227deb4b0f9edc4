"""What a command prints for people fits 80 columns, in a pipe as in a terminal of that width."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from reports.commands.command_line import cli

ROOT = Path(__file__).parents[1]
EPYC = "results/published/cpu-amd-26.2.1-avx2-avx512f-bf16-2cores"
XEON = "cpu-intel-6.167.1-avx2-avx512f-bf16-fp16-amx-bf16-2cores"
XEON_LINKED = "xeon"
"""The long names of folders are words that can't be broken; a link has a short one."""

PRINTED = [
    "list variants",
    "list models",
    "list sweeps",
    f"table {EPYC}/forward.jsonl {EPYC}/long.jsonl {EPYC}/peers-decode.jsonl",
    f"table {XEON_LINKED}/unseen-forward-whole.jsonl {XEON_LINKED}/wide-8-of-128-kernel.jsonl",
    *(f"table {EPYC}/peers.jsonl --metric {m}" for m in ("memory", "error", "start", "clock")),
    f"compare {EPYC}/decode.jsonl {EPYC}/decode.jsonl",
    f"compare {XEON_LINKED}/backward.jsonl {XEON_LINKED}/backward.jsonl",
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
    assert "Commands:" in done.output
    assert too_wide(done.output) == []
    assert "..." not in done.output.partition("Commands:")[2]
