"""The example of a BLOOM-shaped block, as a reader runs it, and with mistakes planted in it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from examples import bloom_block
from variants.attention import alibi_attention
from variants.catalog import ALIBI
from variants.dispatch import auto
from variants.problem import Attention, Spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "bloom_block.py"
SMALL = ("--heads", "3", "--head-dim", "16", "--length", "96")
GAIN = re.compile(r"(forward|training): +auto chose (\w+), (\d+\.\d\d)x as fast as eager")


def run_with_mistake(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Tensor, Tensor], Tensor]
) -> Result:
    """Run the example with a mistake made of q and what "auto" answers."""

    def attention_with_mistake(q: Tensor, k: Tensor, v: Tensor, *, variant: str) -> Tensor:
        out = alibi_attention(q, k, v, variant=variant)
        return mistake(q, out) if variant == "auto" else out

    monkeypatch.setattr(bloom_block, "alibi_attention", attention_with_mistake)
    return CliRunner().invoke(bloom_block.main, SMALL)


@pytest.mark.heavy
def test_it_prints_what_was_chosen_and_the_gain_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, *SMALL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"CXX": "no-such-compiler"},  # building a kernel takes longer than the rest
    )
    assert done.returncode == 0, done.stderr
    gains = GAIN.findall(done.stdout)
    assert [when for when, _, _ in gains] == ["forward", "training"]
    assert {name for _, name, _ in gains} <= set(ALIBI) - {"auto"}
    assert all(float(gain) > 0 for _, _, gain in gains)
    assert "run_bench.py run --heads 3 --head-dim 16 --lengths 96" in done.stdout


def test_a_wrong_slope_ends_it_with_1_and_without_a_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = auto.prepare

    def steeper(spec: Spec, **options: Any) -> Attention:
        attention = prepare(spec, **options)
        return lambda q, k, v, slopes: attention(q, k, v, slopes * 1.02)

    monkeypatch.setattr(auto, "prepare", steeper)
    shape_of_no_other_test = ("--heads", "5", "--head-dim", "24", "--length", "87")
    done = CliRunner().invoke(bloom_block.main, shape_of_no_other_test)
    assert done.exit_code == 1, done.output
    assert done.output.splitlines()[-1].startswith("Error: ")
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
    done = run_with_mistake(monkeypatch, mistake)
    assert done.exit_code == 1, done.output
    assert where in done.stdout
    assert not GAIN.search(done.stdout)


@pytest.mark.parametrize("dtype", bloom_block.BUDGETS)
def test_no_mistake_ends_it_with_0_in_every_dtype(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(bloom_block.main, [*SMALL, "--batch", "2", "--dtype", dtype])
    assert done.exit_code == 0, done.output
    gains = GAIN.findall(done.stdout)
    assert [when for when, _, _ in gains] == ["forward", "training"]
    assert {name for _, name, _ in gains} <= set(ALIBI) - {"auto"}
    assert "run_bench.py run --heads 3 --head-dim 16 --lengths 96" in done.stdout


@pytest.mark.parametrize("words", [("--length", "0"), ("--dtype", "float64")])
def test_what_cannot_be_is_a_usage_error(words: tuple[str, str]) -> None:
    done = CliRunner().invoke(bloom_block.main, words)
    assert done.exit_code == 2
    assert words[0] in done.stderr
