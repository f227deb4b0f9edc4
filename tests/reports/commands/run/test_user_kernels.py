"""Kernels of a user's own are raced, checked and compared by their files, with real lanes."""

import json
from pathlib import Path

import pytest

from suite.records.store import read
from tests.fakes.console import bench
from tests.fakes.in_process import start_real_lanes_in_process

ROOT = Path(__file__).parents[4]
EXAMPLE = ROOT / "examples" / "my_kernel.py"
TINY = ("--device", "cpu", "--lengths", "64", "--dtypes", "float32")


def kernel(path: Path, *, head: str = "", body: str = "") -> Path:
    """Write a kernel that asks sdpa_mask, with lines at its head and in its call."""
    path.write_text(
        f"{head}\nfrom variants.sdpa.sdpa_mask import prepare as prepare_mask\n"
        "def prepare(spec):\n"
        "    right = prepare_mask(spec)\n"
        "    def attention(q, k, v, slopes):\n"
        f"        out = right(q, k, v, slopes)\n        {body}\n        return out\n"
        "    return attention\n"
    )
    return path


def test_each_kernel_gets_what_it_deserves_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.py").write_text("FACTOR = 1.01\n")
    head = "import torch\nfrom beside import FACTOR\nTABLE = torch.full((1,), FACTOR)"
    kernel(Path("wrong.py"), head=head, body="out *= TABLE")
    kernel(Path("broken.py"), head="raise ValueError('no such GPU')")
    words = f"./wrong.py,{EXAMPLE}?block=16,./broken.py"
    done = bench("run", *TINY, "--variants", words, "--passes", "1", "--out", "run.jsonl")
    assert done.returncode == 0, done.stderr
    rows = json.loads(bench("table", "run.jsonl", "--format", "json").stdout)
    statuses = {row["variant"]: row["status"] for row in rows}
    assert statuses == {
        "no_bias": "measured",
        "wrong.py": "disagrees",
        "my_kernel.py?block=16": "measured",
        "broken.py": "failed",
    }
    (broken,) = (row for row in rows if row["variant"] == "broken.py")
    assert "no such GPU" in broken["reason"]
    header = read(tmp_path / "run.jsonl").header
    assert [each.word for each in header.plan.kernels] == words.split(",")
    Path("wrong.py").write_text(Path("wrong.py").read_text() + "# better\n")
    refused = bench("run", "--resume", "run.jsonl")
    assert refused.returncode == 2
    assert "./wrong.py has changed since" in refused.stderr


def test_a_base_that_is_no_kernel_is_refused_before_anything_is_measured() -> None:
    for words, complaint in (
        (("--base", "main", "--head", str(EXAMPLE)), "--base main: give a Python file"),
        (("--base-python", "python3", "--head", str(EXAMPLE)), "--head goes with --base"),
        (("--base", str(EXAMPLE), "--head", "./none.py"), "--head ./none.py: no such file"),
        (("--base", str(EXAMPLE)), "my_kernel.py is a kernel's file: name the other one with"),
    ):
        done = bench("ab", *words)
        assert done.returncode == 2
        assert complaint in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.heavy
def test_two_files_are_compared_and_the_slower_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start_real_lanes_in_process(monkeypatch)
    kernel(Path("old.py"), head="import time", body="time.sleep(0.005)")  # hides other work's noise
    kernel(Path("new.py"), head="import time", body="time.sleep(0.05)")
    done = bench("ab", "--base", "./old.py", "--head", "./new.py", *TINY, "--pairs", "4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "./old.py" in done.stdout
    assert "1 of 1 cell judged: 1 slower" in done.stdout
    same = bench("aa", *TINY, "--variants", "./old.py", "--pairs", "4", "--gate", "90%")
    assert same.returncode in {0, 3}, same.stdout + same.stderr
    assert "REGRESSED" not in same.stdout
