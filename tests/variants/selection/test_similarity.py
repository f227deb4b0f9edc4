"""What may stand in for a problem or a device that was never measured, and how near it is."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.variants.selections import a_cpu, a_gpu, a_problem
from variants.selection.schema import Problem
from variants.selection.similarity import (
    are_akin,
    distance,
    family_of,
    growth,
    is_square,
    regime_of,
    work,
)

OTHERS = {
    "heads": 16,
    "kv_heads": 4,
    "head_dim": 128,
    "dtype": "bfloat16",
    "mode": "backward",
    "batch": 2,
    "causal": False,
    "layout": "bnhd",
    "scale": "1/d",
    "slope_scale": "1/sqrt(d)",
    "bias_max": 16.0,
    "logit_scale": 2.0,
}
REGIME = ("dtype", "mode", "causal")

each_field = pytest.mark.parametrize(("field", "value"), OTHERS.items())
counts = st.integers(1, 1 << 24)
factors = st.floats(min_value=5e-324, max_value=1e6)
problems = st.builds(
    Problem,
    heads=counts,
    kv_heads=counts,
    head_dim=counts,
    q_len=counts,
    kv_len=counts,
    dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
    batch=counts,
    layout=st.sampled_from(["bhnd", "bnhd"]),
    scale=st.sampled_from(["1/sqrt(d)", "1/d"]),
    slope_scale=st.sampled_from(["1", "1/sqrt(d)"]),
    bias_max=factors,
    logit_scale=factors,
)


def problem_with(field: str, value: Any) -> Problem:
    """Return the usual problem with another value of one field."""
    return msgspec.structs.replace(a_problem(), **{field: value})


def test_every_field_but_the_lengths_is_tried() -> None:
    assert {*OTHERS, "q_len", "kv_len"} == set(Problem.__struct_fields__)


def test_problems_that_differ_in_length_alone_are_one_family() -> None:
    assert family_of(a_problem(512)) == family_of(a_problem(8192))
    step = family_of(a_problem(512, q_len=1, mode="decode"))
    assert step == family_of(a_problem(8192, q_len=1, mode="decode"))


@each_field
def test_any_other_field_makes_another_family(field: str, value: Any) -> None:
    assert family_of(problem_with(field, value)) != family_of(a_problem())


def test_another_number_of_queries_makes_another_family() -> None:
    families = {family_of(a_problem(512, q_len=count)) for count in (1, 64, 511, 512)}
    assert len(families) == 4


@each_field
def test_only_dtype_mode_and_masking_can_never_be_stood_in_for(field: str, value: Any) -> None:
    assert (regime_of(problem_with(field, value)) != regime_of(a_problem())) == (field in REGIME)


def test_a_square_problem_never_stands_in_for_a_chunk() -> None:
    assert regime_of(a_problem(512, q_len=64)) != regime_of(a_problem(512))
    assert regime_of(a_problem(512, q_len=64)) == regime_of(a_problem(512, q_len=32))


@given(problem=problems)
def test_a_problem_is_at_no_distance_from_itself(problem: Problem) -> None:
    assert distance(problem, problem) == 0


@given(one=problems, other=problems)
def test_a_distance_is_the_same_from_both_sides(one: Problem, other: Problem) -> None:
    there, back = distance(one, other), distance(other, one)
    assert there >= 0
    assert there == pytest.approx(back)


@each_field
def test_what_a_regime_leaves_open_puts_problems_apart(field: str, value: Any) -> None:
    assert (distance(problem_with(field, value), a_problem()) > 0) == (field not in REGIME)


def test_a_distance_counts_doublings_and_half_a_one_for_a_rule() -> None:
    assert distance(a_problem(batch=8), a_problem()) == 3
    assert distance(a_problem(heads=16, kv_heads=16), a_problem()) == 1
    assert distance(a_problem(batch=2, heads=4, kv_heads=4), a_problem()) == 0
    assert distance(a_problem(q_len=4), a_problem(q_len=1)) == 2
    assert distance(a_problem(layout="bnhd", scale="1/d"), a_problem()) == 1


def test_work_and_its_growth_follow_the_pairs_of_queries_and_keys() -> None:
    assert is_square(a_problem())
    assert growth(a_problem()) == 2
    assert growth(a_problem(q_len=1)) == 1
    assert work(a_problem(batch=3)) == 3 * work(a_problem())
    assert work(a_problem(heads=16)) == work(a_problem(head_dim=128)) == 2 * work(a_problem())
    assert work(a_problem(q_len=12)) == 12 * work(a_problem(q_len=1))
    assert work(a_problem(1024)) == work(a_problem(512))


def test_cpus_are_akin_with_the_same_vendor_family_and_features() -> None:
    assert are_akin(a_cpu(), a_cpu("another", cores=64, stepping="9", model="2", name="Other"))
    assert not are_akin(a_cpu(), a_cpu("another", vendor="other"))
    assert not are_akin(a_cpu(), a_cpu("another", family="7"))
    assert not are_akin(a_cpu(), a_cpu("another", features=("avx2", "avx512f")))


def test_gpus_are_akin_with_the_same_capability_and_never_to_a_cpu() -> None:
    assert are_akin(a_gpu(), a_gpu("another"))
    assert not are_akin(a_gpu(), a_gpu("another", capability="8.0"))
    assert not are_akin(a_gpu(), a_cpu())
    assert not are_akin(a_cpu(), a_gpu())
