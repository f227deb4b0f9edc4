"""A case is plain values with one readable name and one honest count of operations."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.cases.case import DTYPES, MODES, Case
from tests.effort import examples

SMALL: dict[str, Any] = {
    "heads": 8,
    "kv_heads": 8,
    "head_dim": 64,
    "q_len": 512,
    "kv_len": 512,
    "dtype": "float32",
}


def case_of(**changes: object) -> Case:
    """Return a small case with some values changed."""
    return Case(**(SMALL | changes))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw any case that has a meaning."""
    kv_heads = draw(st.integers(1, 4))
    kv_len = draw(st.integers(1, 300))
    causal = draw(st.booleans())
    return Case(
        heads=kv_heads * draw(st.integers(1, 4)),
        kv_heads=kv_heads,
        head_dim=draw(st.integers(1, 128)),
        q_len=draw(st.integers(1, kv_len if causal else 300)),
        kv_len=kv_len,
        dtype=draw(st.sampled_from(["float32", "bfloat16", "float16"])),
        batch=draw(st.integers(1, 3)),
        mode=draw(st.sampled_from(["forward", "backward"])),
        causal=causal,
        bias_max=draw(st.sampled_from([4.0, 8.0, 8.5, 16.0])),
        slope_scale=draw(st.sampled_from(["1", "1/sqrt(d)"])),
        scale=draw(st.sampled_from(["1/sqrt(d)", "1/d"])),
        layout=draw(st.sampled_from(["bhnd", "bnhd"])),
        logit_scale=draw(st.sampled_from([0.5, 1.0, 2.0, 10.0])),
    )


CHANGES: dict[str, object] = {
    "heads": 16,
    "kv_heads": 4,
    "head_dim": 128,
    "q_len": 256,
    "kv_len": 1024,
    "dtype": "bfloat16",
    "batch": 2,
    "mode": "backward",
    "causal": False,
    "bias_max": 16.0,
    "slope_scale": "1/sqrt(d)",
    "scale": "1/d",
    "layout": "bnhd",
    "logit_scale": 4.0,
    "seq_lens": (300, 7),
    "q_lens": (7, 9),
    "form": "packed",
    "padding": "left",
    "window": 100,
    "norms": True,
    "recording": "tiny.safetensors#layer2@0123abcd",
}
RAGGED: dict[str, Any] = {"seq_lens": (7, 300), "batch": 2, "q_len": 300, "kv_len": 300}


@settings(deadline=None)
@given(case=cases(), data=st.data())
def test_cases_that_differ_have_names_that_differ(case: Case, data: st.DataObject) -> None:
    other = data.draw(cases())
    assert (case.id == other.id) == (case == other)


@settings(deadline=None)
@given(case=cases(), field=st.sampled_from(sorted(CHANGES)))
def test_a_change_of_any_one_value_shows_in_the_name(case: Case, field: str) -> None:
    changes = {field: CHANGES[field]}
    if field == "heads":
        changes = {"heads": case.heads + case.kv_heads}
    elif field == "kv_heads":
        changes = {"kv_heads": 1}
    elif field == "q_len":
        changes = {"q_len": 1}
    elif field == "q_lens":
        case = msgspec.structs.replace(
            case, **RAGGED | {"q_len": 300, "form": "packed", "mode": "forward"}
        )
        changes |= {"q_len": 9}
    elif field in {"seq_lens", "form", "padding"}:
        case = msgspec.structs.replace(case, **RAGGED)
    elif field == "recording":
        alone = {"seq_lens": (), "form": "padded", "padding": "", "logit_scale": 1.0}
        case = msgspec.structs.replace(case, **alone)
    elif field == "norms":
        case = msgspec.structs.replace(case, mode="decode", causal=True, q_len=1, kv_len=99)
    other = msgspec.structs.replace(case, **changes)
    assert (case.id == other.id) == (case == other)


def test_every_field_of_a_case_is_varied_in_these_tests() -> None:
    assert sorted(CHANGES) == sorted(Case.__struct_fields__)


def test_factors_that_differ_in_the_eighth_digit_have_names_that_differ() -> None:
    assert case_of(logit_scale=1.0000001).id != case_of(logit_scale=1.0000002).id


def test_a_name_leaves_out_what_is_at_its_default() -> None:
    assert case_of().id == "n512-h8-d64-float32"


def test_a_name_spells_out_all_that_is_not() -> None:
    whole = case_of(
        q_len=256,
        kv_heads=2,
        dtype="bfloat16",
        mode="backward",
        batch=3,
        causal=False,
        bias_max=16.0,
        slope_scale="1/sqrt(d)",
        scale="1/d",
        layout="bnhd",
        logit_scale=0.5,
    )
    assert whole.id == (
        "q256-n512-h8kv2-d64-bfloat16-backward-b3-full-max16"
        "-slope_over_sqrt_d-scale_1_over_d-bnhd-x0.5"
    )


@settings(deadline=None)
@given(cases())
def test_a_name_can_be_part_of_a_file_name(case: Case) -> None:
    assert not set(case.id) & set(" /\\:\t\n")


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


def test_a_name_says_how_padding_lies_and_how_packing_is_told() -> None:
    assert case_of(**RAGGED, padding="left").id == "n7_300-h8-d64-float32-padded_left"
    packed = case_of(**RAGGED, padding="left", form="packed")
    assert packed.id == "n7_300-h8-d64-float32-packed_cu_seqlens"


SERVER: dict[str, Any] = RAGGED | {"q_lens": (1, 40), "q_len": 40, "form": "packed"}


def test_a_servers_batch_is_named_by_queries_and_keys() -> None:
    assert case_of(**SERVER).id == "n1of7_40of300-h8-d64-float32-packed_cu_seqlens_k"


def test_useful_work_of_a_servers_batch_is_that_of_its_sequences() -> None:
    apart = [case_of(q_len=1, kv_len=7), case_of(q_len=40, kv_len=300)]
    server = case_of(**SERVER)
    assert server.useful_flops == sum(case.useful_flops for case in apart)
    assert server.useful_bytes == sum(case.useful_bytes for case in apart)


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


def test_decode_meets_16_lengths_and_no_query_without_a_key() -> None:
    step = case_of(mode="decode", q_len=1, kv_len=16)
    assert list(step.kv_lens) == list(range(1, 17))
    assert list(case_of().kv_lens) == [512]
    with pytest.raises(ValueError, match="16 lengths up to 16, the first shorter than its 2"):
        case_of(mode="decode", q_len=2, kv_len=16)


def test_decode_of_bidirectional_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="norms are kept beside a cache: give decode"):
        case_of(norms=True)
    with pytest.raises(ValueError, match="a bidirectional model has no cache"):
        case_of(mode="decode", q_len=1, causal=False)


def test_useful_flops_of_a_step_are_those_of_the_mean_length() -> None:
    step = case_of(mode="decode", q_len=1, kv_len=512)
    assert step.useful_flops == 4 * 8 * 64 * (512 - 7.5 - 0.5)


def test_useful_bytes_are_every_input_and_result_once_and_of_a_step_the_mean_length_s() -> None:
    chunk = case_of(q_len=100, kv_heads=2, batch=3)
    assert chunk.useful_bytes == 4 * 64 * 3 * 2 * (100 * 8 + 512 * 2)
    assert case_of(mode="backward").useful_bytes == 2 * case_of().useful_bytes
    step = case_of(mode="decode", q_len=1, kv_len=16, dtype="bfloat16")
    assert step.useful_bytes == 2 * 64 * 8 * 2 * (1 + 8.5)


def test_the_scale_is_one_over_the_root_of_head_dim_or_over_head_dim() -> None:
    assert case_of().scale_value == 1 / 8
    assert case_of(scale="1/d").scale_value == 1 / 64
    assert case_of(scale="1/d", head_dim=80).scale_value == 1 / 80


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
