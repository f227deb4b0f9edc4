"""Measure the set of results that this machine publishes, under results/published/<hardware key>/.

    make publish          # this, then the pages and the selection made from it

Each file is one `run`, named by what it is. After 90 minutes (`--minutes`) it ends with what it
has and says what is left; the next call goes on there. A file that another commit of the measured
code wrote, or that is in no set any more, is removed. Needs a quiet machine and committed code.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from suite.conditions.device import device_for
from suite.conditions.policy import ROOT, circumstances
from suite.records.store import read

_BOTH = "--dtypes float32,bfloat16"
_NO_MATMUL = "sdpa_mask,sdpa_key,sdpa_folded,flex,sdpa_window,native_window"
"""Variants that call no matrix product, which in half precision takes seconds on some CPUs."""

SETS: dict[str, str] = {
    "forward": "--lengths 256,512,1024,2048 --dtypes float32 --passes 3 "
    f"--variants {_NO_MATMUL},sdpa_halves",
    "backward": "--modes backward --lengths 512,1024,2048 --dtypes float32 --passes 3 "
    "--variants sdpa_mask,sdpa_folded,sdpa_window,compile_blocks,native_window",
    "backward-long": "--modes backward --lengths 4096,8192 --dtypes float32 --passes 1 "
    "--variants sdpa_window,native_window",
    "decode": f"--modes decode --lengths 1024,4096 {_BOTH} --passes 3 "
    "--variants sdpa_mask,sdpa_key,native_window",
    "decode-long": f"--modes decode --lengths 32768 {_BOTH} --passes 1 "
    "--variants sdpa_mask,sdpa_key,native_window",
    "decode-norms": f"--modes decode --norms --lengths 1024,4096,32768 {_BOTH} --passes 3 "
    "--variants native_window",
    "decode-norms-long": "--modes decode --norms --lengths 131072 --dtypes float32 --passes 1 "
    "--variants native_window",
    "forward-half": "--lengths 256,512,1024,2048 --dtypes bfloat16 --passes 3 "
    f"--variants {_NO_MATMUL}",
    "server": f"--sweep server {_BOTH} --passes 3 --variants sdpa_mask,flex,native_window",
    "decode-paged": f"--modes decode --layout paged --lengths 1024,4096 {_BOTH} --passes 1 "
    "--variants sdpa_mask,sdpa_key,native_window",
    "bidirectional": f"--noncausal --lengths 256,1024 {_BOTH} --passes 3 "
    "--variants sdpa_mask,native_window",
    "embedding": f"--noncausal --batch 8 --lengths 128,256,512 {_BOTH} --passes 3 "
    "--variants sdpa_mask,native_window",
    "chunk": f"--q-len 256 --lengths 4096,16384 {_BOTH} --passes 3 "
    "--variants sdpa_mask,sdpa_window,native_window",
    "chunk-of-512": f"--q-len 512 --lengths 16384 {_BOTH} --passes 1 "
    "--variants sdpa_window,native_window",
    "ragged": f"--sweep ragged {_BOTH} --passes 3 --variants sdpa_mask,native_window",
    "decode-wide": "--modes decode --norms --q-len 4 --heads 32 --head-dim 128 "
    f"--lengths 1024,4096 {_BOTH} --passes 1 --variants native_window",
    "wide": f"--heads 32 --head-dim 128 --lengths 512,1024 {_BOTH} --passes 1 "
    "--variants sdpa_key,sdpa_window,native_window",
    "recorded": "--inputs examples/tiny_alibi.safetensors --lengths 320,640,960,1280 "
    f"{_BOTH} --passes 3 --variants {_NO_MATMUL},auto",
    "recorded-trained": "--inputs examples/trained_alibi.safetensors#layer2 "
    f"--lengths 512,2048,8192 {_BOTH} --passes 3 --variants sdpa_mask,native_window",
    "recorded-shape": f"--heads 8 --head-dim 16 --lengths 320,640,1280 {_BOTH} --passes 3 "
    f"--variants {_NO_MATMUL}",
    "peers-decode": f"--modes decode --lengths 1024,4096 {_BOTH} --passes 1 "
    "--variants sdpa_key,native_window,vllm_cpu,vllm_cpu_cache,ggml,openvino,bloom",
    "peers-decode-long": f"--modes decode --lengths 32768 {_BOTH} --passes 1 "
    "--variants sdpa_key,native_window,vllm_cpu_cache,ggml",
    "peers": f"--lengths 512,2048 {_BOTH} --passes 1 --variants native_window,vllm_cpu,ggml,"
    "openvino,onnxruntime,jax,attn_gym,bloom,mpt,falcon",
    "long": f"--lengths 4096,8192,16384 {_BOTH} --passes 1 --variants sdpa_window,native_window",
    "large-scores": f"--logit-scale 4 --lengths 2048 {_BOTH} --passes 1 "
    "--variants sdpa_window,native_window",
    "forward-uneven": f"--lengths 373,1061 {_BOTH} --passes 1 --variants {_NO_MATMUL}",
    "unseen-forward": f"--lengths 443,1280 {_BOTH} --passes 1 --seed 2 --variants {_NO_MATMUL}",
    "backward-half": "--modes backward --lengths 512 --dtypes bfloat16 --passes 1 "
    "--variants sdpa_mask,native_window",
    "all": "--lengths 512,1024 --dtypes float32 --passes 1",
    "peers-long": "--lengths 8192,32768 --dtypes float32 --passes 1 --step-timeout 600s "
    "--variants native_window,vllm_cpu",
}
"""Each file's name and the options of its run, the most telling first."""


LEAST_S = 180.0
"""A file is not begun in less: starting the lanes and their checks take most of it."""

NO_CELL = 3
"""How `run` exits where its budget held no cell, or what it needs is lacking."""

Measure = Callable[[Path, str, float], int]
"""(file, options of its run, seconds) -> the run's exit code."""


@click.command()
@click.option("--minutes", type=click.FloatRange(min=LEAST_S / 60), default=90.0, show_default=True)
def main(minutes: float) -> None:
    """Measure the set of results that this machine publishes, or what is missing of it."""
    here = circumstances({})
    if here.uncommitted:
        sys.exit("Error: uncommitted changes: commit first, a published file names its commit")
    folder = ROOT / "results" / "published" / device_for().hardware.key
    remove_superseded(folder, here.commit)
    left = measure_sets(folder, minutes * 60, _measure)
    if left:
        print(f"Not whole yet: {', '.join(left)}. `make publish` goes on with them.")


def measure_sets(folder: Path, limit_s: float, measure: Measure) -> list[str]:
    """Measure the files of a folder in their order; return the names of those that are not whole.

    A run that ends with NO_CELL says why, and the next file, which may take less, is begun. Exits
    with any other code of a run.
    """
    end = time.monotonic() + limit_s
    for number, (name, options) in enumerate(SETS.items(), start=1):
        path, left_s = folder / f"{name}.jsonl", end - time.monotonic()
        if not _is_whole(path) and left_s >= LEAST_S:
            print(f"{number} of {len(SETS)}: {name}", file=sys.stderr, flush=True)
            code = measure(path, options, left_s)
            if code not in {0, NO_CELL}:
                sys.exit(code)
    return [name for name in SETS if not _is_whole(folder / f"{name}.jsonl")]


def remove_superseded(folder: Path, commit: str) -> None:
    """Remove results that another commit measured, or that are in no set."""
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem not in SETS or read(path).header.circumstances.commit != commit:
            print(f"{path.name} is superseded, and removed", file=sys.stderr, flush=True)
            path.unlink()


def _is_whole(path: Path) -> bool:
    return path.exists() and read(path).missing() == 0


def _measure(path: Path, options: str, limit_s: float) -> int:
    words = ["--resume", str(path)] if path.exists() else [*options.split(), "--out", str(path)]
    command = [
        sys.executable,
        str(ROOT / "run_bench.py"),
        "run",
        *words,
        "--budget",
        f"{limit_s:.0f}s",
    ]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    main()
