"""The example of a BLOOM-shaped block, as a reader runs it, and with mistakes planted in it."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from examples import bloom_block
from variants.attention import alibi_attention
from variants.catalog import ALIBI

EXAMPLE = Path(__file__).parents[2] / "examples" / "bloom_block.py"
SMALL = ("--heads", "3", "--head-dim", "16", "--length", "96")
GAIN = re.compile(r"(forward|training): +auto chose (\w+), (\d+\.\d\d)x as fast as eager")

WRONG_SLOPES = """
import runpy, sys
from variants.dispatch import auto

prepare = auto.prepare

def steeper(spec, **options):
    attention = prepare(spec, **options)
    return lambda q, k, v, slopes: attention(q, k, v, slopes * 1.02)

auto.prepare = steeper
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def ended(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run python in a folder to its end."""
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False
    )


def planted(monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Tensor, Tensor], Tensor]) -> Result:
    """Run the example with a mistake made of q and what "auto" answers."""

    def mistaken(q: Tensor, k: Tensor, v: Tensor, *, variant: str) -> Tensor:
        out = alibi_attention(q, k, v, variant=variant)
        return mistake(q, out) if variant == "auto" else out

    monkeypatch.setattr(bloom_block, "alibi_attention", mistaken)
    return CliRunner().invoke(bloom_block.main, SMALL)


def test_it_prints_what_was_chosen_and_the_gain_from_any_folder(tmp_path: Path) -> None:
    done = ended(EXAMPLE, *SMALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = GAIN.findall(done.stdout)
    assert [when for when, _, _ in found] == ["forward", "training"]
    assert {name for _, name, _ in found} <= set(ALIBI) - {"auto"}
    assert all(float(gain) > 0 for _, _, gain in found)
    assert "run_bench.py run --heads 3 --head-dim 16 --lengths 96" in done.stdout


def test_a_wrong_slope_ends_it_with_1_and_without_a_gain(tmp_path: Path) -> None:
    done = ended("-c", WRONG_SLOPES, EXAMPLE, *SMALL, folder=tmp_path)
    assert done.returncode == 1, done.stdout
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not GAIN.search(done.stdout)


@pytest.mark.parametrize(
    ("mistake", "where"),
    [
        pytest.param(lambda q, out: out + (q - q.detach()) / 50, "gradient", id="in the gradient"),
        pytest.param(
            lambda _, out: out if out.requires_grad else out * 1.01, "without grad", id="in serving"
        ),
        pytest.param(lambda _, out: out * torch.nan, "nan", id="nan"),
    ],
)
def test_a_mistake_elsewhere_ends_it_too(
    mistake: Callable[[Tensor, Tensor], Tensor], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = planted(monkeypatch, mistake)
    assert done.exit_code == 1, done.output
    assert where in done.stdout
    assert not GAIN.search(done.stdout)


@pytest.mark.parametrize("dtype", bloom_block.BUDGETS)
def test_no_mistake_ends_it_with_0_in_every_dtype(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(bloom_block.main, [*SMALL, "--batch", "2", "--dtype", dtype])
    assert done.exit_code == 0, done.output
    assert len(GAIN.findall(done.stdout)) == 2


@pytest.mark.parametrize("words", [("--length", "0"), ("--dtype", "float64")])
def test_what_cannot_be_is_a_usage_error(words: tuple[str, str]) -> None:
    done = CliRunner().invoke(bloom_block.main, words)
    assert done.exit_code == 2
    assert words[0] in done.stderr
