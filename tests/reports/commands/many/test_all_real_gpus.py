"""`run --device all` on a machine with several GPUs. It has not been seen on one yet."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from suite.records.store import read
from tests.fakes.console import ROOT

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

WORDS = ["run", "--device", "all", "--models", "bloom-560m", "--lengths", "512,4096"]
WORDS += ["--variants", "sdpa_mask", "--passes", "1"]


def test_every_gpu_has_a_whole_file_and_siblings_are_compared(tmp_path: Path) -> None:
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        pytest.skip("needs two gpus or more")
    done = subprocess.run(
        [sys.executable, "run_bench.py", *WORDS, "--out", tmp_path / "x.jsonl"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = [read(tmp_path / f"x-cuda{number}.jsonl") for number in range(count)]
    assert [file.missing() for file in files] == [0] * count
    assert len({file.header.circumstances.unit for file in files}) == count
    words = " ".join(done.stdout.split())
    for key, units in Counter(file.header.hardware.key for file in files).items():
        assert units == 1 or f"{units} units of {key} differ by " in words
