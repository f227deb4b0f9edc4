"""With another torch: variants agree, alibi_attention answers, and a race ends with every row.

`make test TORCH=2.14.1` makes an environment in which more is tested.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.effort import FULL

ROOT = Path(__file__).parents[2]
PYTHONS = sorted(ROOT.glob(".venv-torch-*/bin/python"))
TESTS = [
    "variants/test_variants.py",
    "variants/test_attention.py",
    "variants/sdpa/test_cpu_flash.py",
    "variants/native/test_torch_backward.py",
]
RACED = ["sdpa_mask", "sdpa_key", "sdpa_halves", "sdpa_window"]

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not PYTHONS, reason="no other torch: make setup TORCH=2.14.1 installs one"),
]
each_torch = pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parts[-3])


def run(python: Path, *words: str) -> str:
    """Return what a command printed under that interpreter, at its light tier."""
    light = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    light.pop(FULL, None)
    ended = subprocess.run(
        [python, *words], cwd=ROOT, env=light, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    return ended.stdout


@each_torch
def test_variants_agree_and_the_function_answers(python: Path) -> None:
    files = [f"tests/{file}" for file in TESTS]
    assert " passed" in run(python, "-m", "pytest", "-m", "not heavy", *files)


@each_torch
def test_a_race_ranks_every_variant(python: Path, tmp_path: Path) -> None:
    raced = ["--lengths", "256", "--dtypes", "bfloat16", "--budget", "4m"]
    raced += ["--device", "cpu", "--variants", ",".join(RACED), "--passes", "1", "--strict"]
    file = str(tmp_path / "race.jsonl")
    run(python, "run_bench.py", "run", *raced, "--out", file)
    rows = json.loads(run(python, "run_bench.py", "table", "--format", "json", file))
    assert {row["variant"] for row in rows if row["status"] == "measured"} >= {*RACED}, rows
