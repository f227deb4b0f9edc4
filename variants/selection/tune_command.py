"""The command line that measures a problem and chooses a variant for it; imports no torch."""

import shlex

from variants.host.installation import program
from variants.selection.schema import Problem

_SHORTEST = 32


def tune_command(problem: Problem, device: str, model: str | None = None) -> str:
    """Return the command for a problem on a device.

    It measures half and twice the length too, so that lengths in between can be interpolated.
    `model` is what `--models` takes, where the heads, slopes and softmax scale are a model's.
    Without it the command measures the usual slopes and scale, because no other option sets them.
    """
    least = max(_SHORTEST, problem.q_len if problem.q_len != problem.kv_len else 1)
    lengths = sorted({max(least, length) for length in _lengths_around(problem.kv_len)})
    options: dict[str, object] = {
        "--device": device,
        "--modes": problem.mode,
        "--dtypes": problem.dtype,
        "--lengths": ",".join(map(str, lengths)),
        "--batch": problem.batch,
    }
    if model is None:
        options["--heads"] = problem.heads
        options["--kv-heads"] = problem.kv_heads
        options["--head-dim"] = problem.head_dim
    else:
        options["--models"] = shlex.quote(model)
    if problem.q_len != problem.kv_len:
        options["--q-len"] = problem.q_len
    if problem.layout != "bhnd":
        options["--layout"] = problem.layout
    if problem.logit_scale != 1:
        options["--logit-scale"] = problem.logit_scale
    words = [f"{name} {value}" for name, value in options.items()]
    words += [] if problem.causal else ["--noncausal"]
    return " ".join([f"{program()} choose --tune", *words])


def _lengths_around(length: int) -> tuple[int, int, int]:
    return length // 2, length, 2 * length
