"""Values without a meaning make no case, and the error names one of them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.cases.case import MODES, Case
from tests.effort import examples
from tests.suite.cases.case.small_case import RAGGED, SERVER, case_of

counts = st.integers(-2, 40) | st.sampled_from([1, 2, 4, 8])
factors = st.floats() | st.sampled_from([0.0, 0.5, 8.0])


def has_a_meaning(values: dict[str, Any]) -> bool:
    """Say whether there is such an attention problem, by another road than the case's own."""
    sizes = [values[name] for name in ("heads", "kv_heads", "q_len", "kv_len", "head_dim", "batch")]
    if min(sizes) < 1 or values["heads"] not in range(0, 41, values["kv_heads"]):
        return False
    if not (0 < values["bias_max"] <= 126 and 0 < values["logit_scale"] <= 1e6):
        return False
    first_step = values["kv_len"] - (15 if values["mode"] == "decode" else 0)
    if values["causal"]:
        return bool(values["q_len"] <= first_step)
    return bool(values["mode"] != "decode")


@settings(deadline=None, max_examples=examples(300))
@given(
    st.fixed_dictionaries(
        dict.fromkeys(("heads", "kv_heads", "q_len", "kv_len", "head_dim", "batch"), counts)
        | dict.fromkeys(("bias_max", "logit_scale"), factors)
        | {"mode": st.sampled_from(MODES), "causal": st.booleans(), "dtype": st.just("float32")}
    )
)
def test_random_values_make_a_case_or_an_error_that_names_one_of_them(
    values: dict[str, Any],
) -> None:
    if has_a_meaning(values):
        assert Case(**values).q_len == values["q_len"]
        return
    with pytest.raises(ValueError, match=r"\w") as refused:
        Case(**values)
    said = str(refused.value).replace(":", "").split()
    assert {str(value) for value in values.values()} & set(said), said


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("kv_heads", 0, "kv_heads 0: give at least 1 and at most 16777216"),
        ("head_dim", -8, "head_dim -8: give at least 1 and at most 16777216"),
        ("kv_len", 1 << 25, "kv_len 33554432: give at least 1 and at most 16777216"),
        ("bias_max", -1.0, "bias_max -1.0: give over 0, at most 126.0"),
        ("bias_max", 127.0, "bias_max 127.0: give over 0, at most 126.0"),
        ("logit_scale", float("nan"), "logit_scale nan: give a number over 0, at most 1e.06"),
    ],
)
def test_a_count_or_factor_without_a_meaning_is_refused_by_name(
    name: str, value: float, told: str
) -> None:
    with pytest.raises(ValueError, match=f"^{told}$"):
        case_of(**{name: value})


def test_heads_that_can_t_share_the_kv_heads_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="8 heads can't share 3 kv heads evenly"):
        case_of(kv_heads=3)


def test_more_kv_heads_than_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="8 heads can't share 16 kv heads evenly"):
        case_of(kv_heads=16)


def test_causal_queries_without_a_key_are_refused() -> None:
    with pytest.raises(ValueError, match="q_len 513 is over kv_len 512"):
        case_of(q_len=513)
    assert case_of(q_len=513, causal=False).q_len == 513


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch": 1}, "seq_lens make a batch of 2 and lengths of 300"),
        ({"q_len": 299}, "seq_lens make a batch of 2 and lengths of 300"),
        ({"mode": "decode"}, "a ragged batch is measured forward and backward only"),
        ({"seq_lens": (300, 0)}, "a length is at least 1"),
        ({"seq_lens": (), "form": "packed"}, "packed needs seq_lens"),
        ({"seq_lens": (), "padding": "left"}, "padding needs seq_lens"),
    ],
)
def test_a_ragged_batch_that_contradicts_itself_is_refused(
    change: dict[str, Any], words: str
) -> None:
    assert case_of(**RAGGED).id == "n7_300-h8-d64-float32-padded"
    with pytest.raises(ValueError, match=words):
        case_of(**RAGGED | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"form": "padded"}, "q_lens: a server's batch is packed, has no padding, and is forward"),
        ({"padding": "left"}, "is packed, has no padding"),
        ({"mode": "backward"}, "and is forward"),
        ({"q_lens": (1,)}, "q_lens has 1 sequences and seq_lens 2"),
        ({"q_lens": (8, 40)}, "q_lens: 8 queries of 7 keys"),
        ({"q_len": 41}, "give no other batch, lengths or q_len"),
        ({"seq_lens": ()}, "q_lens has 2 sequences and seq_lens 0"),
    ],
)
def test_a_servers_batch_that_contradicts_itself_is_refused(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        case_of(**SERVER | change)


def test_pages_are_of_a_cache() -> None:
    case = case_of(layout="paged", mode="decode", q_len=1)
    assert case.id == "q1-n512-h8-d64-float32-decode-paged"
    assert not case.has_dense_shape
    with pytest.raises(
        ValueError, match="layout paged is of a cache with random numbers: give dec"
    ):
        case_of(layout="paged")


def test_decode_of_bidirectional_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="norms are kept beside a cache: give decode"):
        case_of(norms=True)
    with pytest.raises(ValueError, match="a bidirectional model has no cache"):
        case_of(mode="decode", q_len=1, causal=False)
