"""A case has one honest count of operations and bytes."""

import msgspec
import pytest
from hypothesis import given, settings

from suite.cases.case import Case
from tests.suite.cases.case.small_case import RAGGED, SERVER, case_of, cases


def test_useful_work_of_a_servers_batch_is_that_of_its_sequences() -> None:
    apart = [case_of(q_len=1, kv_len=7), case_of(q_len=40, kv_len=300)]
    server = case_of(**SERVER)
    assert server.useful_flops == sum(case.useful_flops for case in apart)
    assert server.useful_bytes == sum(case.useful_bytes for case in apart)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("q_len", "kv_len"), [(600, 600), (200, 600), (5, 600)])
def test_useful_work_of_a_window_is_that_of_the_pairs_inside(
    q_len: int, kv_len: int, causal: bool
) -> None:
    window = 100
    case = case_of(q_len=q_len, kv_len=kv_len, window=window, causal=causal)
    positions = range(kv_len - q_len, kv_len)
    ends = [kv_len if not causal else position + 1 for position in positions]
    pairs = sum(
        min(end, position + window + 1) - max(0, position - window)
        for position, end in zip(positions, ends, strict=True)
    )
    assert case.useful_flops == pytest.approx(4 * 8 * 64 * pairs, rel=0.02)


def test_useful_work_of_a_ragged_batch_is_that_of_its_sequences_in_either_form() -> None:
    apart = [case_of(q_len=length, kv_len=length) for length in RAGGED["seq_lens"]]
    for form in ("padded", "packed"):
        ragged = case_of(**RAGGED, form=form)
        assert ragged.useful_flops == sum(case.useful_flops for case in apart)
        assert ragged.useful_bytes == sum(case.useful_bytes for case in apart)


def test_useful_flops_of_a_step_are_those_of_the_mean_length() -> None:
    step = case_of(mode="decode", q_len=1, kv_len=512)
    assert step.useful_flops == 4 * 8 * 64 * (512 - 7.5 - 0.5)


def test_useful_bytes_are_every_input_and_result_once_and_of_a_step_the_mean_length_s() -> None:
    chunk = case_of(q_len=100, kv_heads=2, batch=3)
    assert chunk.useful_bytes == 4 * 64 * 3 * 2 * (100 * 8 + 512 * 2)
    assert case_of(mode="backward").useful_bytes == 2 * case_of().useful_bytes
    step = case_of(mode="decode", q_len=1, kv_len=16, dtype="bfloat16")
    assert step.useful_bytes == 2 * 64 * 8 * 2 * (1 + 8.5)


def counted_pairs(q_len: int, kv_len: int, *, causal: bool) -> float:
    """Count the pairs of a query and a key, those on the causal edge as halves."""
    pairs = 0.0
    for row in range(q_len):
        for key in range(kv_len):
            ahead = key - (row + kv_len - q_len)
            pairs += 1.0 if not causal or ahead < 0 else 0.5 if ahead == 0 else 0.0
    return pairs


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize(("q_len", "kv_len"), [(1, 1), (8, 8), (37, 37), (5, 12), (1, 40)])
def test_useful_flops_are_four_a_channel_for_every_pair(
    q_len: int, kv_len: int, causal: bool
) -> None:
    case = case_of(batch=2, q_len=q_len, kv_len=kv_len, causal=causal)
    pairs = counted_pairs(q_len, kv_len, causal=causal)
    assert case.useful_flops == pytest.approx(4 * 64 * 2 * 8 * pairs)


def test_useful_causal_flops_are_half_a_square() -> None:
    assert case_of().useful_flops == 4 * 8 * 512 * 512 * 64 / 2


@settings(deadline=None)
@given(cases())
def test_forward_and_backward_take_three_and_a_half_times_as_much(case: Case) -> None:
    forward, backward = (
        msgspec.structs.replace(case, mode=mode) for mode in ("forward", "backward")
    )
    assert backward.useful_flops == pytest.approx(3.5 * forward.useful_flops)
    assert forward.useful_flops > 0
