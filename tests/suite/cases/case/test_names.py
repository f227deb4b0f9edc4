"""A case has one readable name, and another case has another."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.cases.case import Case
from tests.suite.cases.case.small_case import RAGGED, SERVER, case_of, cases

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


def test_a_name_says_how_padding_lies_and_how_packing_is_told() -> None:
    assert case_of(**RAGGED, padding="left").id == "n7_300-h8-d64-float32-padded_left"
    packed = case_of(**RAGGED, padding="left", form="packed")
    assert packed.id == "n7_300-h8-d64-float32-packed_cu_seqlens"


def test_a_servers_batch_is_named_by_queries_and_keys() -> None:
    assert case_of(**SERVER).id == "n1of7_40of300-h8-d64-float32-packed_cu_seqlens_k"
