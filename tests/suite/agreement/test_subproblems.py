"""A ragged batch is compared by sequence: what another sequence or the padding did shows."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from suite.agreement.budget import BudgetCheck, compare_parts
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import judge
from suite.agreement.subproblems import judged_calls
from suite.cases.case import Case, Form, Mode
from tests.suite.answers import CPU, case_of
from variants.batches.ragged import ragged
from variants.plain import eager
from variants.problem import Attention, Spec

Prepare = Callable[[Spec], Attention]


def small(**changes: object) -> Case:
    """Return a case of two narrow heads."""
    return case_of(heads=2, kv_heads=2, head_dim=16, **changes)


def a_batch(form: Form, mode: Mode = "forward") -> Case:
    """Return three sequences of one batch."""
    sequences = (17, 40, 5)
    return small(q_len=40, kv_len=40, mode=mode, batch=3, seq_lens=sequences, form=form)


def findings(prepare: Prepare, case: Case) -> list[BudgetCheck]:
    """Compare each sequence with the oracle."""
    inputs = draw(case, 0, "set 0", CPU)
    attention = prepare(spec_of(case, CPU))
    return [
        compare_parts([errors], torch.float32)
        for call in judged_calls(case, attention, prepare, inputs, CPU)
        for errors in judge(call, answers="alibi", seed=0).errors
    ]


def as_one_sequence(spec: Spec) -> Attention:
    """Forget where sequences end."""
    return eager.prepare(Spec(**{**vars(spec), "seq_lens": (), "packed": False}))


def seeing_the_padding(spec: Spec) -> Attention:
    """Let every query see every key."""
    return eager.prepare(Spec(**{**vars(spec), "seq_lens": (), "causal": False}))


def roll_sequences(spec: Spec) -> Attention:
    """Answer each sequence with the batch entry before it."""
    right = ragged(eager.prepare, spec)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return right(q, k, v, slopes).roll(1, dims=0)

    return attention


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("form", ["padded", "packed"])
def test_the_formula_agrees_sequence_by_sequence(form: Form, mode: Mode) -> None:
    found = findings(eager.prepare, a_batch(form, mode))
    assert len(found) == 3
    assert all(one.agrees for one in found)


@pytest.mark.parametrize(
    ("prepare", "form", "wrong"),
    [
        (as_one_sequence, "packed", [False, True, True]),
        (seeing_the_padding, "padded", [True, True, True]),
        (roll_sequences, "padded", [True, True, True]),
    ],
)
@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_what_another_sequence_or_the_padding_did_disagrees(
    prepare: Prepare, form: Form, wrong: list[bool], mode: Mode
) -> None:
    found = findings(prepare, a_batch(form, mode))
    # Gradients of a sequence's keys are wrong too if another sequence's queries saw them.
    wrong = wrong if mode == "forward" else [True] * 3
    assert [one.excess > 4 for one in found] == wrong


def test_parts_are_named_by_sequence_and_by_step() -> None:
    step = small(q_len=1, kv_len=20, mode="decode")
    names = [
        [
            part.name
            for call in judged_calls(
                case,
                eager.prepare(spec_of(case, CPU)),
                eager.prepare,
                draw(case, 0, "set 0", CPU),
                CPU,
            )
            for part in call.parts
        ]
        for case in (a_batch("packed"), step)
    ]
    assert names[0] == [f"sequence {number}: " for number in range(3)]
    assert names[1] == [f"step at {kv_len}: " for kv_len in range(5, 21)]


def test_dout_is_zero_in_padding() -> None:
    dout = draw(a_batch("padded", "backward"), 0, "set 0", CPU).dout
    assert dout is not None
    assert [int((entry[0].abs().sum(dim=1) > 0).sum()) for entry in dout] == [17, 40, 5]
