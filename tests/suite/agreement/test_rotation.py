"""Timed results are compared with judged ones, and what a call may not do is seen."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from suite.agreement.inputs import Inputs, draw
from suite.agreement.rotation import BrokenRule, CallResults, JudgedResult, Rotation
from suite.agreement.subproblems import EVERYWHERE, parts_of
from suite.cases.case import Case
from tests.suite.answers import CPU, case_of

CASE = case_of(heads=2, kv_heads=2, head_dim=8, q_len=12, kv_len=12)


def sets_of(case: Case = CASE) -> list[Inputs]:
    """Draw two sets of inputs."""
    return [draw(case, 0, f"set {place}", CPU) for place in range(2)]


def double(inputs: Inputs) -> CallResults:
    """Answer with twice q."""
    return (inputs.q.detach() * 2,)


def judged_results(results: CallResults, limit: float = 1e-6) -> list[JudgedResult]:
    """Return results as the judge notes them."""
    return [JudgedResult("out", tensor, 1e-30, (limit, limit)) for tensor in results]


def rotation_of(call: object = double, limit: float = 1e-6) -> Rotation:
    """Return a rotation whose judged results are those of `double`."""
    rotation = Rotation(sets_of(), call, [EVERYWHERE])  # type: ignore[arg-type]
    for place, inputs in enumerate(rotation.sets):
        rotation.set_judged(place, judged_results(double(inputs), limit))
    return rotation


def take(rotation: Rotation, calls: int) -> None:
    """Call and inspect so many times."""
    for _ in range(calls):
        rotation.inspect(next(rotation)())


def test_calls_go_through_the_sets_in_turn() -> None:
    seen: list[int] = []

    def call(inputs: Inputs) -> CallResults:
        seen.append(inputs.q.data_ptr())
        return double(inputs)

    rotation = rotation_of(call)
    take(rotation, 5)
    first, second = (inputs.q.data_ptr() for inputs in rotation.sets)
    assert seen == [first, second, first, second, first]


def test_right_results_pass_before_and_after_an_exchange() -> None:
    rotation = rotation_of()
    for _ in range(3):
        take(rotation, 3)
        rotation.exchange()


def test_an_exchange_moves_contents_and_leaves_addresses_and_versions() -> None:
    rotation = rotation_of()
    first, second = (inputs.q for inputs in rotation.sets)
    before = first.clone(), second.clone(), first.data_ptr(), first._version
    rotation.exchange()
    assert torch.equal(first, before[1])
    assert torch.equal(second, before[0])
    assert (first.data_ptr(), first._version) == before[2:]
    assert rotation.input_change(0, sets_of()[0]) is None


@pytest.mark.parametrize("name", ["q", "k", "v", "slopes"])
def test_a_changed_input_is_named_whether_or_not_the_sets_were_exchanged(name: str) -> None:
    for exchanges in (0, 1, 2):
        rotation = rotation_of()
        for _ in range(exchanges):
            rotation.exchange()
        getattr(rotation.sets[exchanges % 2], name).view(-1)[1] += 1
        assert rotation.input_change(0, sets_of()[0]) == name
        assert rotation.input_change(1, sets_of()[1]) is None


@pytest.mark.parametrize(("error", "passes"), [(0.0, True), (0.9e-3, True), (1.2e-3, False)])
def test_a_result_may_differ_by_the_limit_and_no_more(error: float, passes: bool) -> None:
    rotation = rotation_of(lambda inputs: (inputs.q * (2 + 2 * error),), limit=1e-3)
    if passes:
        take(rotation, 2)
    else:
        with pytest.raises(BrokenRule, match=r"out, batch 0 head \d by 1\.2e-03"):
            take(rotation, 1)


def test_a_wrong_row_is_named() -> None:
    def call(inputs: Inputs) -> CallResults:
        (out,) = double(inputs)
        out[0, 1, 7] *= 1.5
        return (out,)

    rotation = rotation_of(call, limit=0.4)
    with pytest.raises(BrokenRule, match=r"out, batch 0 head 1 row 7 by 5\.0e-01"):
        take(rotation, 1)


def test_results_that_the_caller_has_let_go_of_are_filled_with_nan() -> None:
    results: list[Tensor] = []

    def call(inputs: Inputs) -> CallResults:
        results.append(double(inputs)[0])
        return (results[-1],)

    take(rotation_of(call), 3)
    assert [bool(result.isnan().all()) for result in results] == [True, True, False]


def test_an_element_that_is_left_as_it_was_is_seen() -> None:
    buffers = [torch.empty(CASE.batch, 2, 12, 8) for _ in range(2)]
    calls = 0

    def call(inputs: Inputs) -> CallResults:
        nonlocal calls
        out = buffers[calls % 2]
        calls += 1
        written = 12 if calls <= 2 else 11
        out[:, :, :written] = double(inputs)[0][:, :, :written]
        return (out,)

    rotation = rotation_of(call)
    take(rotation, 2)
    with pytest.raises(BrokenRule, match="out, batch 0 head 0 by nan"):
        take(rotation, 1)


def test_memory_of_a_result_that_the_caller_holds_or_of_an_input_is_no_place_for_an_answer() -> (
    None
):
    buffer = torch.empty(CASE.batch, 2, 12, 8)
    rotation = rotation_of(lambda inputs: (buffer.copy_(double(inputs)[0]),))
    take(rotation, 1)
    with pytest.raises(BrokenRule, match="still holds"):
        take(rotation, 1)
    with pytest.raises(BrokenRule, match="memory of an input"):
        take(rotation_of(lambda inputs: (inputs.q.mul_(2),)), 1)


class Lazy(Tensor):
    """A tensor that could put off its work until somebody looks."""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: (), "0 of 1 results"),
        (lambda out: (out, out.clone()), "2 of 1 results"),
        (lambda out: (out.as_subclass(Lazy),), "answered with a Lazy"),
    ],
)
def test_another_number_or_kind_of_results_is_refused(answer: Any, words: str) -> None:
    rotation = rotation_of(lambda inputs: answer(double(inputs)[0]))
    with pytest.raises(BrokenRule, match=words):
        take(rotation, 1)


def test_without_a_judge_the_first_results_are_compared_with() -> None:
    factor = 2.0
    rotation = Rotation(sets_of(), lambda inputs: (inputs.q * factor,), [EVERYWHERE])
    take(rotation, 4)
    factor = 2.01
    with pytest.raises(BrokenRule, match="result"):
        take(rotation, 1)


def test_padding_may_hold_anything() -> None:
    case = case_of(heads=2, kv_heads=2, head_dim=8, q_len=12, kv_len=12, batch=2, seq_lens=(12, 5))
    places = [part.place for part in parts_of(case, CPU)]

    def call(inputs: Inputs) -> CallResults:
        (out,) = double(inputs)
        out[1, :, 5:] = math.nan
        return (out,)

    rotation = Rotation(sets_of(case), call, places)
    for place, inputs in enumerate(rotation.sets):
        rotation.set_judged(place, judged_results(double(inputs)))
    take(rotation, 3)


@pytest.mark.parametrize("name", ["q", "k", "v", "slopes"])
def test_an_input_that_a_timed_call_changed_is_seen_before_the_next_turn(name: str) -> None:
    rotation = rotation_of()
    rotation.exchange()
    rotation.exchange()
    tensor = rotation.sets[1].by_name()[name].data
    tensor.copy_(tensor.flip(-2 if tensor.dim() > 1 else 0))
    with pytest.raises(BrokenRule, match=f"a timed call wrote over its input {name}"):
        rotation.exchange()
