"""The command that measures a cell again: the words that make a `Request` of its case.

`suite.cases.request` is the other way: from the words to the case.
"""

import shlex
from collections.abc import Iterator

import msgspec

from reports.tables.row import Row
from suite.cases.mixed_batch import notation
from suite.cases.models import Model, built_in
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS
from suite.records.record import RunHeader
from variants.host.installation import program

_SWEEP = "quick"
"""Any sweep would do that has one shape, whose slopes and scale are the usual ones."""


def command_for(row: Row, header: RunHeader) -> str | None:
    """Return the command line that measures a row's case in its variant, and the baseline.

    A ragged batch comes in both of its forms. None for slopes or a scale that no option sets: the
    file of the user's own models that had them is not in the results.
    """
    words = _shape_words(row, header.plan.device.partition(":")[0])
    if words is None:
        return None
    named = {kernel.name: kernel.word for kernel in header.plan.kernels}
    variant = ["--variants", named.get(row.variant, row.variant)]
    python = next((each for each in header.plan.pythons if each[0] == row.variant), None)
    variant += [] if python is None else ["--python", "=".join(python)]
    every = [*variant, *words, *_case_words(row)]
    return f"{program()} run {shlex.join(every)}"


def _shape_words(row: Row, kind: str) -> list[str] | None:
    """Return where the heads, slopes and scale come from: a recording, a model or options."""
    device = ["--device", kind]
    if row.recording:
        return [*device, "--inputs", row.recording.rpartition("@")[0]]
    if (row.bias_max, row.slope_scale, row.scale) != (8.0, "1", "1/sqrt(d)"):
        masked = msgspec.structs.replace(row, causal=True)  # --noncausal takes a model's mask off
        models = built_in().values()
        model = next(
            (it for it in models if _has_attention(it, row) or _has_attention(it, masked)), None
        )
        if model is None:
            return None
        mask = [] if row.causal else ["--noncausal"]
        return [*device, "--models", model.name, *mask, *_batch_words(row, model.batch)]
    words = [*device, *([] if DEFAULT_SWEEPS[kind] == _SWEEP else ["--sweep", _SWEEP])]
    words += ["--heads", str(row.heads), "--head-dim", str(row.head_dim)]
    words += ["--kv-heads", str(row.kv_heads)] if row.kv_heads != row.heads else []
    words += [] if row.causal else ["--noncausal"]
    return [*words, *_batch_words(row, 1)]


def _batch_words(row: Row, default: int) -> list[str]:
    return [] if row.seq_lens or row.batch == default else ["--batch", str(row.batch)]


def _case_words(row: Row) -> Iterator[str]:
    if row.q_lens:
        yield from ("--requests", notation(row.q_lens, row.seq_lens))
    elif row.seq_lens:
        yield from ("--seq-lens", ",".join(map(str, row.seq_lens)))
    else:
        yield from ("--lengths", str(row.kv_len))
        if row.q_len != (1 if row.mode == "decode" else row.kv_len):
            yield from ("--q-len", str(row.q_len))
    yield from ("--modes", row.mode, "--dtypes", row.dtype)
    if row.padding:
        yield from ("--padding", row.padding)
    if row.window:
        yield from ("--window", str(row.window))
    if row.norms:
        yield "--norms"
    if row.layout != "bhnd":
        yield from ("--layout", row.layout)
    if row.logit_scale != 1:
        yield from ("--logit-scale", repr(row.logit_scale))
    if row.passes not in {0, SWEEPS[_SWEEP].passes}:
        yield from ("--passes", str(row.passes))


def models_of(row: Row) -> list[str]:
    """Return the built-in models that have a row's attention, whatever their batch."""
    return [name for name, model in built_in().items() if _has_attention(model, row)]


def _has_attention(model: Model, row: Row) -> bool:
    return (
        model.heads,
        model.kv_heads,
        model.head_dim,
        model.attn == "causal",
        model.bias_max,
        model.slope_scale,
        model.scale,
    ) == (
        row.heads,
        row.kv_heads,
        row.head_dim,
        row.causal,
        row.bias_max,
        row.slope_scale,
        row.scale,
    )
