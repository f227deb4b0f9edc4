"""Invented selections, for tests of whatever chooses from them, and one of this very machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from hypothesis import strategies as st

from tests.records import a_machine
from variants.dispatch import answer as answers
from variants.dispatch import auto_order, substitutes
from variants.host.hardware import Cpu, Gpu, this_cpu
from variants.host.software import software_for
from variants.problem import Spec
from variants.selection.files import path_of
from variants.selection.pick import Answer, pick
from variants.selection.relevance import TargetDevice, sort_selections
from variants.selection.schema import Candidate, Choice, Problem, Selection

SOFTWARE = {"torch": "2.13.0", "triton": "absent"}

SPEC = Spec(
    batch=1,
    heads=8,
    kv_heads=8,
    q_len=512,
    kv_len=512,
    head_dim=64,
    dtype=torch.float32,
    device=torch.device("cpu"),
    scale=64**-0.5,
    causal=True,
    needs_grad=False,
)


def a_cpu(key: str = "cpu-invented-2cores", **changes: Any) -> Cpu:
    """Return a CPU that nobody has."""
    hardware = a_machine(key=key).hardware
    assert isinstance(hardware, Cpu)
    return msgspec.structs.replace(hardware, **changes)


def a_gpu(key: str = "cuda-invented", capability: str = "9.0", **changes: Any) -> Gpu:
    """Return a GPU that nobody has."""
    usual: dict[str, Any] = {"name": "Invented GPU", "sms": 10, "memory_bytes": 1 << 30}
    usual |= {"l2_bytes": 1 << 20, "mig": False, "power_limit_w": None, "host": a_cpu()}
    return Gpu(key=key, capability=capability, **usual | changes)


def a_problem(length: int = 512, **changes: Any) -> Problem:
    """Return a causal square problem of 8 heads of 64 in float32."""
    usual: dict[str, Any] = {"heads": 8, "kv_heads": 8, "head_dim": 64, "dtype": "float32"}
    return Problem(**usual | {"q_len": length, "kv_len": length} | changes)


def a_candidate(variant: str = "eager", ms: float = 1.0, **changes: Any) -> Candidate:
    """Return a candidate of one pass, which has no intervals."""
    usual: dict[str, Any] = {
        "score": ms,
        "time_ms": ms,
        "time_ci_ms": None,
        "passes": 1,
        "error": 1e-7,
        "error_budget": 1e-6,
        "peak_bytes": 3 << 20,
        "persistent_bytes": 1 << 20,
    }
    return Candidate(variant=variant, **usual | changes)


def a_choice(ms: Mapping[str, float], length: int = 512, **of_problem: Any) -> Choice:
    """Return the choice of the fastest of variants that took so many milliseconds."""
    return choice_of(
        a_problem(length, **of_problem),
        *[a_candidate(name, ms[name]) for name in sorted(ms, key=lambda name: ms[name])],
    )


def choice_of(problem: Problem, *candidates: Candidate) -> Choice:
    """Return the choice of the first of candidates."""
    return Choice(
        problem=problem, variant=candidates[0].variant, why="invented", candidates=candidates
    )


def a_selection(*choices: Choice, **changes: Any) -> Selection:
    """Return a selection of the invented CPU; without choices, of one of eager before flex."""
    usual: dict[str, Any] = {
        "schema": 1,
        "hardware": a_cpu(),
        "software": SOFTWARE,
        "threads": 2,
        "policy": {"clock": "cpu"},
        "objective": "eager",
        "max_memory_bytes": None,
        "max_error": None,
        "measured": ("2026-01-02T03:04:05+00:00 of 000000000000",),
        "choices": choices or (a_choice({"eager": 1.0, "flex": 2.0}),),
    }
    return Selection(**usual | changes)


def of_this_machine(*choices: Choice, **changes: Any) -> Selection:
    """Return a selection that is current in this process."""
    cpu = this_cpu()
    usual = {"hardware": cpu, "software": software_for(cpu), "threads": torch.get_num_threads()}
    return a_selection(*choices, **usual | changes)


@st.composite
def extreme_choices(draw: st.DrawFn) -> Choice:
    """Draw a choice from the ends of what a file may say, and a little beyond."""
    counts = st.sampled_from([1, 2, 1000, 1001, 1 << 24])
    factors = st.sampled_from([5e-324, 1e-6, 1.0, 1e6])
    scores = st.sampled_from([5e-324, 1e-300, 1e-9, 1e-3, 1.0, 1.2, 1e9])
    at_most_1, at_least_1 = (
        factors.filter(lambda one: one <= 1),
        factors.filter(lambda one: one >= 1),
    )
    names = draw(st.sets(st.sampled_from(["eager", "flex"]), min_size=1))
    length = draw(counts)
    problem = a_problem(
        length,
        q_len=draw(st.sampled_from([1, length])),
        batch=draw(counts),
        bias_max=draw(factors),
        logit_scale=draw(factors),
    )
    paired = [(draw(at_most_1), draw(at_least_1)) for _ in names]
    return choice_of(
        problem,
        *[
            a_candidate(name, draw(scores), over_first_ci=interval)
            for name, interval in zip(sorted(names), paired, strict=True)
        ],
    )


HERE = TargetDevice(a_cpu(), SOFTWARE, 2)


def answer(problem: Problem, *selections: Selection, here: TargetDevice = HERE) -> Answer:
    """Return what is picked for a problem where these selections are all that is known."""
    return pick(problem, sort_selections(here, selections))


def put(folder: Path, selection: Selection) -> Path:
    """Write a selection where a folder keeps that of its hardware, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, selection.hardware.key)
    path.write_bytes(msgspec.json.encode(selection))
    return path


def forget() -> None:
    """Forget what this process has read, said and prepared."""
    auto_order.device_selections.cache_clear()
    auto_order._past_warnings.clear()
    substitutes._past_warnings.clear()
    substitutes._last_variants.clear()
    answers._CACHE.clear()
