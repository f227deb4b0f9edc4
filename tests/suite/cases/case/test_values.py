"""A case is plain values: written as JSON, a key of a dict, with a scale and lengths."""

import msgspec
import pytest
from hypothesis import given, settings

from suite.cases.case import DTYPES, MODES, Case
from tests.suite.cases.case.small_case import SMALL, case_of, cases


def test_decode_meets_16_lengths_and_no_query_without_a_key() -> None:
    step = case_of(mode="decode", q_len=1, kv_len=16)
    assert list(step.kv_lens) == list(range(1, 17))
    assert list(case_of().kv_lens) == [512]
    with pytest.raises(ValueError, match="16 lengths up to 16, the first shorter than its 2"):
        case_of(mode="decode", q_len=2, kv_len=16)


def test_the_scale_is_one_over_the_root_of_head_dim_or_over_head_dim() -> None:
    assert case_of().scale_value == 1 / 8
    assert case_of(scale="1/d").scale_value == 1 / 64
    assert case_of(scale="1/d", head_dim=80).scale_value == 1 / 80


@settings(deadline=None)
@given(cases())
def test_a_case_survives_being_written_as_json(case: Case) -> None:
    assert msgspec.json.decode(msgspec.json.encode(case), type=Case) == case


def test_json_leaves_defaults_out() -> None:
    written = msgspec.json.decode(msgspec.json.encode(case_of()))
    assert written == SMALL


@pytest.mark.parametrize(
    "change",
    [
        {"heads": 0},
        {"q_len": -1},
        {"dtype": "float64"},
        {"logit_scale": 0.0},
        {"kv_heads": 3},
        {"q_len": 513},
    ],
    ids=str,
)
def test_json_without_a_meaning_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(SMALL | change), type=Case)


def test_a_case_can_t_be_changed_and_can_be_a_key() -> None:
    case = case_of()
    with pytest.raises(AttributeError):
        case.heads = 4  # type: ignore[misc]
    assert {case: 1}[case_of()] == 1


def test_three_dtypes_and_three_modes_are_known() -> None:
    assert DTYPES == ("float32", "bfloat16", "float16")
    assert MODES == ("forward", "backward", "decode")
