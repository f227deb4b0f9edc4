"""Processes forked after use answer or refuse in words; they never wait for ever."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.conditions.policy import ROOT

SCRIPT = """
import os, sys
import torch
from torch.utils.data import DataLoader
from variants.attention import alibi_attention
from variants.problem import Unsupported

torch.set_num_threads(2)
q, k, v = torch.randn(3, 1, 8, 512, 64)
wanted = alibi_attention(q, k, v, variant="native_window")

class Samples(torch.utils.data.Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, index):
        return alibi_attention(q, k, v, variant="native_window")[0]

for batch in DataLoader(Samples(), num_workers=1):
    assert torch.allclose(batch, wanted, atol=1e-5)
if os.fork() == 0:
    try:
        alibi_attention(q, k, v)
    except Unsupported as refusal:
        print(refusal, flush=True)
    torch.set_num_threads(1)
    right = torch.allclose(alibi_attention(q, k, v, variant="native_window"), wanted, atol=1e-5)
    os._exit(0 if right else 1)
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.heavy
def test_a_forked_process_refuses_until_it_has_one_thread_and_a_data_loader_answers(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "call torch.set_num_threads(1) in it, or start it by spawn" in done.stdout
