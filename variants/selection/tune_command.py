"""The command line that measures a problem and chooses a variant for it; imports no torch."""

from variants.host.installation import program
from variants.selection.schema import Problem

_SHORTEST = 32


def tune_command(problem: Problem, device: str) -> str:
    """Return the command for a problem on a device.

    It measures half and twice the length too, so that lengths in between can be interpolated.
    """
    least = max(_SHORTEST, problem.q_len if problem.q_len != problem.kv_len else 1)
    lengths = sorted({max(least, length) for length in _around(problem.kv_len)})
    options = {
        "--device": device,
        "--modes": problem.mode,
        "--dtypes": problem.dtype,
        "--lengths": ",".join(map(str, lengths)),
        "--batch": problem.batch,
        "--heads": problem.heads,
        "--kv-heads": problem.kv_heads,
        "--head-dim": problem.head_dim,
    }
    if problem.q_len != problem.kv_len:
        options["--q-len"] = problem.q_len
    if problem.layout != "bhnd":
        options["--layout"] = problem.layout
    if problem.logit_scale != 1:
        options["--logit-scale"] = problem.logit_scale
    words = [f"{name} {value}" for name, value in options.items()]
    words += [] if problem.causal else ["--noncausal"]
    return " ".join([f"{program()} choose --tune", *words])


def _around(length: int) -> tuple[int, int, int]:
    return length // 2, length, 2 * length
