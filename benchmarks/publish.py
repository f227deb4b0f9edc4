"""Measure the set of results that this machine publishes, under results/published/<hardware key>/.

    make publish          # this, then the pages and the selection made from it

Each file is one `run`, named by what it is. A file that is there is completed, so a run that was
interrupted goes on. Needs a quiet machine and committed code; on 2 cores it takes about an hour.
"""

import subprocess
import sys
from pathlib import Path

from suite.conditions.device import device_for
from suite.conditions.policy import ROOT, circumstances

_TORCH = "sdpa_mask,sdpa_key,sdpa_folded,sdpa_halves,sdpa_window"
_WINDOWS = "sdpa_window,native_window"
_FORWARD = f"{_TORCH},flex,compile_blocks,native_window"
_BOTH = "float32,bfloat16"

SETS: dict[str, str] = {
    "forward": f"--lengths 256,512,1024,2048,4096 --dtypes {_BOTH} --passes 3",
    "forward-uneven": f"--lengths 373,1061,3001 --dtypes {_BOTH} --variants {_FORWARD} --passes 3",
    "backward": f"--modes backward --lengths 256,512,1024,2048 --dtypes {_BOTH} --passes 3 "
    "--variants sdpa_mask,sdpa_key,sdpa_folded,sdpa_window,flex,compile_blocks",
    "decode": f"--modes decode --lengths 1024,4096,16384 --dtypes {_BOTH} --passes 3 "
    "--variants sdpa_mask,sdpa_key,sdpa_folded,sdpa_window",
    "bidirectional": f"--noncausal --lengths 256,512,1024 --dtypes {_BOTH} --passes 3 "
    "--variants sdpa_mask,flex,native_window",
    "wide": f"--heads 32 --head-dim 128 --lengths 512,2048 --dtypes {_BOTH} --passes 1 "
    f"--variants sdpa_key,{_WINDOWS}",
    "long": f"--lengths 8192,16384 --dtypes {_BOTH} --passes 1 --variants {_WINDOWS}",
    "large-scores": f"--logit-scale 4 --lengths 2048 --dtypes {_BOTH} --passes 1 "
    f"--variants {_WINDOWS}",
    "unseen-forward": f"--lengths 443,1280,2508 --dtypes {_BOTH} --variants {_FORWARD} --passes 3 "
    "--seed 2",
    "unseen-backward": f"--modes backward --lengths 724 --dtypes {_BOTH} --passes 3 --seed 2 "
    "--variants sdpa_mask,sdpa_key,sdpa_folded,sdpa_window,flex,compile_blocks",
}


def main() -> None:
    """Measure what is missing of every file; exit with the code of a run that fails."""
    if circumstances({}).uncommitted:
        sys.exit("Error: uncommitted changes: commit first, a published file names its commit")
    folder = ROOT / "results" / "published" / device_for().hardware.key
    for number, (name, options) in enumerate(SETS.items(), start=1):
        print(f"{number} of {len(SETS)}: {name}", file=sys.stderr, flush=True)
        code = _measure(folder / f"{name}.jsonl", options)
        if code:
            sys.exit(code)


def _measure(path: Path, options: str) -> int:
    words = ["--resume", str(path)] if path.exists() else [*options.split(), "--out", str(path)]
    command = [sys.executable, str(ROOT / "run_bench.py"), "run", *words]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    main()
