"""Decode: each of 16 lengths is met once, prepared anew, checked, and counted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import torch
from torch import Tensor

from suite.agreement.inputs import draw, spec_of
from suite.agreement.rotation import BrokenRule
from suite.cases.case import DECODE_STEPS, Case
from suite.clocks.series import Samples, TurnSamples
from suite.clocks.timer import Bench, Timer
from suite.clocks.workload import Workload
from suite.lanes.decoding import DecodeSteps, graphs_compiled
from suite.lanes.prepared_case import PreparedCase, Subject
from variants.problem import Attention, Spec

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
CASE = Case(heads=4, kv_heads=2, head_dim=16, q_len=1, kv_len=40, dtype="float32", mode="decode")
EAGER = Subject("variants.plain.eager", {}, answers="alibi")


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_every_length_is_prepared_and_called_once_in_rising_order() -> None:
    prepared: list[int] = []
    called: list[tuple[int, int]] = []

    def prepare(spec: Spec) -> Attention:
        prepared.append(spec.kv_len)

        def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
            called.append((k.shape[2], v.shape[2]))
            return q

        return attention

    stepping = DecodeSteps(prepare, [spec_of(CASE, CPU, kv_len) for kv_len in CASE.kv_lens])
    inputs = draw(CASE, 0, "before", CPU)
    stepping(inputs.q, inputs.k, inputs.v, inputs.slopes)
    assert prepared == list(range(25, 41))
    assert called == [(length, length) for length in prepared]
    assert stepping.steps_taken == DECODE_STEPS


OWN_CACHE = """
from variants.reference import attend
CACHES = {}
def keep_cache(k, v):
    CACHES.%s(k.data_ptr(), (k.clone(), v.clone()))
def prepare(spec):
    def attention(q, k, v, slopes):
        own = (each[:, :, :spec.kv_len] for each in CACHES[k.data_ptr()])
        return attend(q, *own, slopes, scale=spec.scale, causal=spec.causal)
    return attention
"""


@pytest.mark.parametrize(("filling", "is_right"), [("__setitem__", True), ("setdefault", False)])
def test_a_cache_that_a_variant_keeps_is_handed_over_whenever_its_contents_change(
    filling: str, is_right: bool, tmp_path: Path
) -> None:
    kernel = tmp_path / f"own_cache_{filling}.py"
    kernel.write_text(OWN_CACHE % filling)
    prepared = PreparedCase(Subject(str(kernel), {}, answers="alibi"), CASE, 1, Bench(CPU))
    prepared.first_call()
    assert prepared.check("before", 2).agrees
    prepared.take_turn()
    if is_right:
        prepared.take_turn()
        assert prepared.check("after", 3).agrees
    else:
        with pytest.raises(BrokenRule, match="a timed call differs from the judged one"):
            prepared.take_turn()


def test_a_step_sees_views_of_one_cache() -> None:
    inputs = draw(CASE, 0, "before", CPU)
    seen: list[int] = []

    def prepare(spec: Spec) -> Attention:
        def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
            seen.extend([k.data_ptr(), v.data_ptr()])
            return q

        return attention

    DecodeSteps(prepare, [spec_of(CASE, CPU, kv_len) for kv_len in CASE.kv_lens])(
        inputs.q, inputs.k, inputs.v, inputs.slopes
    )
    assert set(seen) == {inputs.k.data_ptr(), inputs.v.data_ptr()}


def test_norms_of_the_cache_reach_every_step_and_the_density() -> None:
    case = Case(**{**msgspec.structs.asdict(CASE), "norms": True, "kv_len": 1500})
    lane = Subject("variants.native.native_window", {}, answers="alibi")
    seen: list[Tensor] = []

    def prepare(_: Spec) -> Any:
        def attention(*given: Tensor) -> Tensor:
            seen.append(given[4])
            return given[0]

        return attention

    inputs = draw(case, 0, "before", CPU)
    DecodeSteps(prepare, [spec_of(case, CPU, kv_len) for kv_len in case.kv_lens])(*inputs.arguments)
    assert len(seen) == DECODE_STEPS
    assert all(norms is inputs.norms for norms in seen)
    density = PreparedCase(lane, case, 0, Bench(CPU)).name_kernels().density
    assert density is not None
    assert 0.1 < density < 0.9


def test_a_turn_counts_a_call_for_each_step() -> None:
    prepared = PreparedCase(EAGER, CASE, 0, Bench(CPU))
    prepared.first_call()
    sampled = prepared.take_turn()
    assert sampled.calls_per_sample % DECODE_STEPS == 0
    assert sampled.steps > 0
    assert sampled.steps % DECODE_STEPS == 0
    assert sampled.recompilations == 0


def test_a_turn_of_another_mode_has_no_steps() -> None:
    prepared = PreparedCase(EAGER, case_with(q_len=40, mode="forward"), 0, Bench(CPU))
    sampled = prepared.take_turn()
    assert (sampled.steps, sampled.recompilations) == (0, 0)


class CallsOnce(Bench):
    """A bench whose timers call once a turn and invent its time."""

    def timer(self, workload: Workload) -> Timer:
        """Return a timer of the workload."""

        class Once:
            def take(self) -> TurnSamples:
                workload.inspect(next(workload)())
                return TurnSamples([Samples("call", [1_000_000])], 1)

        return Once()


def test_the_graphs_that_a_turn_makes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = iter([7, 23])
    monkeypatch.setattr("suite.lanes.prepared_case.graphs_compiled", lambda: next(graphs))
    sampled = PreparedCase(EAGER, CASE, 0, CallsOnce(CPU)).take_turn()
    assert (sampled.steps, sampled.recompilations) == (DECODE_STEPS, 16)


@pytest.mark.heavy
def test_a_variant_that_compiles_for_every_length_is_counted_as_often() -> None:
    compiling = Subject("tests.fakes.decoding", {"kind": "compiling"}, answers="alibi")
    prepared = PreparedCase(compiling, CASE, 0, CallsOnce(CPU))
    before = graphs_compiled()
    prepared.first_call()
    assert graphs_compiled() - before == DECODE_STEPS
    sampled = prepared.take_turn()
    assert sampled.recompilations == sampled.steps == DECODE_STEPS


@pytest.mark.parametrize(
    ("stage", "length"),
    [("before", CASE.kv_lens[0]), ("before", CASE.kv_lens[-1]), ("after", CASE.kv_lens[7])],
)
def test_every_length_is_checked(stage: Literal["before", "after"], length: int) -> None:
    assert PreparedCase(EAGER, CASE, 0, Bench(CPU)).check(stage, 0).agrees
    wrong = Subject("tests.fakes.decoding", {"wrong_at": str(length)}, answers="alibi")
    assert not PreparedCase(wrong, CASE, 0, Bench(CPU)).check(stage, 0).agrees


def case_with(**changes: object) -> Case:
    """Return the case with some values changed."""
    values = {name: getattr(CASE, name) for name in Case.__struct_fields__}
    return Case(**values | changes)
