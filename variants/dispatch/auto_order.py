"""The order in which `auto` tries variants for a spec, on this process's device."""

import logging
import math
from dataclasses import replace
from functools import lru_cache
from threading import Lock

import torch

from variants.catalog import CATALOG
from variants.host import cuda_driver
from variants.host.hardware import this_cpu, this_gpu
from variants.host.software import software_for
from variants.problem import DENSE, Spec
from variants.selection.files import selections_for
from variants.selection.interpolation import ExpectedScore
from variants.selection.pick import Answer, pick, static_order
from variants.selection.relevance import SortedSelections, TargetDevice, sort_selections
from variants.selection.schema import Problem, ProblemDtype
from variants.selection.similarity import is_step
from variants.selection.tune_command import tune_command

_BUILDS = {variant.name for variant in CATALOG if variant.builds}
_WORTH_A_WAIT = 2.0  # a graph must be this many times as fast as a variant without one

_LOCK = Lock()
_LOG = logging.getLogger("alibi_bench")
_WARNINGS = {
    "static": "no selection for this device",
    "unlike": "nothing like it in the selection of this device",
    "stale": "the selection of this device is stale",
    "architecture": "no selection for this device, one of its kin is used",
}


def order(spec: Spec) -> tuple[str, ...]:
    """Return the names to try: first the ranking of a selection, then the fixed order.

    Selections are read at the first call for a device. If there is no selection for the device, or
    if it is stale, a warning of the logger `alibi_bench` says so once, with the command that would
    measure here.
    """
    is_read = spec.causal and spec.device.type == "cpu" and is_step(spec.q_len, spec.kv_len)
    if spec.extras.norms and not is_read:
        spec = replace(spec, extras=replace(spec.extras, norms=False))
    if spec.extras != DENSE:
        return _general_order(spec)
    problem = problem_of(spec)
    fixed = static_order(spec.device.type, problem)
    with _LOCK:
        selections = device_selections(spec.device, torch.get_num_threads())
    if selections is None:
        return fixed
    answer = pick(problem, selections)
    ranking = list(answer.ranking)
    if answer.ground != "exact" and answer.objective != "memory":
        ranking = _without_a_wait(ranking)
    names = tuple(dict.fromkeys([*(expected.variant for expected in ranking), *fixed]))
    if answer.ground in _WARNINGS:
        is_unlike = answer.ground == "static" and bool(selections.current or selections.stale)
        _warn_once(spec, "unlike" if is_unlike else answer.ground, names[0], answer)
    return names


def _general_order(spec: Spec) -> tuple[str, ...]:
    """Return the names to try for what no selection has measured."""
    if spec.extras.dropout_p:
        return ("sdpa_mask", "eager")
    if spec.device.type == "cpu":
        return ("native_window", "sdpa_mask", "eager")
    return ("sdpa_mask", "eager") if spec.slopes_need_grad else ("flex", "sdpa_mask", "eager")


def _without_a_wait(ranking: list[ExpectedScore]) -> list[ExpectedScore]:
    """Return a ranking with variants that build no graph first, except those that are far slower.

    Prompts of many lengths would otherwise wait seconds each, for a graph that saves a fraction of
    a call.
    """

    def waits(expected: ExpectedScore) -> bool:
        is_slow = expected.score >= _WORTH_A_WAIT * ranking[0].score
        return expected.variant in _BUILDS or is_slow

    return sorted(ranking, key=waits)


@lru_cache(maxsize=64)
def device_selections(device: torch.device, threads: int) -> SortedSelections | None:
    """Return the selections for a device, read once for each device and number of threads.

    Returns None where the device can't be identified: no readable /proc/cpuinfo, or no CUDA driver.
    """
    try:
        if device.type == "cpu":
            here = TargetDevice(this_cpu(), software_for(this_cpu()), threads)
        else:
            gpu = this_gpu(cuda_driver.devices()[device.index or 0])
            here = TargetDevice(gpu, software_for(gpu), gpu.cores)
    except (OSError, cuda_driver.NoCuda):
        return None
    selections, refused = selections_for(here.hardware.key)
    for line in refused:
        _LOG.warning("selection refused: %s", line)
    return sort_selections(here, selections)


_past_warnings: set[tuple[torch.device, str]] = set()


def _warn_once(spec: Spec, ground: str, name: str, answer: Answer) -> None:
    with _LOCK:
        if (spec.device, ground) in _past_warnings:
            return
        _past_warnings.add((spec.device, ground))
    _LOG.warning(
        "%s: auto tries %s first (%s). To measure here: %s%s",
        _WARNINGS[ground],
        name,
        answer.provenance,
        tune_command(answer.problem, str(spec.device)),
        _other_scale(spec, answer.problem),
    )


def _other_scale(spec: Spec, problem: Problem) -> str:
    """Return that the command measures another softmax scale than a spec's, if it does."""
    usual = spec.head_dim**-0.5
    if math.isclose(spec.scale, usual):
        return ""
    option = "only --models" if problem.scale == "1/d" else "no option"
    return f" (with softmax scale {usual:.3g} and not {spec.scale:.3g}, which {option} sets)"


_DTYPES: dict[torch.dtype, ProblemDtype] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}


def problem_of(spec: Spec) -> Problem:
    """Return a spec as a problem.

    A spec does not know the slopes' rule and the numbers in q and k: the problem gets the defaults.
    """
    longest = max(spec.seq_lens, default=0)
    q_len, kv_len = longest or spec.q_len, longest or spec.kv_len
    return Problem(
        heads=spec.heads,
        kv_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        q_len=q_len,
        kv_len=kv_len,
        dtype=_DTYPES[spec.dtype],
        mode="backward"
        if spec.needs_grad or spec.slopes_need_grad
        else "decode"
        if spec.causal and is_step(q_len, kv_len)
        else "forward",
        batch=len(spec.seq_lens) or spec.batch,
        causal=spec.causal,
        layout="bnhd" if spec.layout == "bnhd" else "bhnd",
        scale="1/d" if math.isclose(spec.scale, 1 / spec.head_dim) else "1/sqrt(d)",
    )
