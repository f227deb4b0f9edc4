"""Every named sweep says what it is for and names each of its cases once."""

import pytest

from suite.cases.case import Case
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS, Shape


def shape_of(case: Case) -> Shape:
    """Return the shape of a case's heads."""
    return Shape(case.heads, case.head_dim, case.slope_scale)


each_sweep = pytest.mark.parametrize("name", SWEEPS)


@each_sweep
def test_no_two_cases_of_a_sweep_share_an_id(name: str) -> None:
    ids = [case.id for case in SWEEPS[name].cases()]
    assert ids
    assert len(set(ids)) == len(ids)


@each_sweep
def test_a_sweep_has_every_length_in_every_dtype_mode_and_shape(name: str) -> None:
    sweep = SWEEPS[name]
    found = {
        (case.q_len, case.kv_len, case.dtype, case.mode, shape_of(case)) for case in sweep.cases()
    }
    assert found == {
        (
            max(sweep.q_lens, default=0) or sweep.q_len or (1 if mode == "decode" else length),
            *(length, dtype, mode, shape),
        )
        for length in sweep.lengths or (max(sweep.seq_lens),)
        for dtype in sweep.dtypes
        for mode in sweep.modes
        for shape in sweep.shapes
    }


@each_sweep
def test_a_sweep_hands_its_shape_to_its_cases(name: str) -> None:
    shape = Shape(heads=5, head_dim=24, slope_scale="1/sqrt(d)")
    other = SWEEPS[name]._replace(batch=3, shapes=(shape,), logit_scale=2.0)
    parts = {
        (case.batch, case.heads, case.kv_heads, case.head_dim, case.slope_scale, case.logit_scale)
        for case in other.cases()
    }
    assert parts == {(len(other.seq_lens) or 3, 5, 5, 24, "1/sqrt(d)", 2.0)}


@each_sweep
def test_shapes_that_are_equal_make_each_case_once(name: str) -> None:
    once = SWEEPS[name]._replace(shapes=(Shape(5, 24),))
    twice = SWEEPS[name]._replace(shapes=(Shape(5, 24), Shape(5, 24)))
    assert twice.cases() == once.cases()


@each_sweep
def test_a_sweep_says_what_it_is_for(name: str) -> None:
    assert len(SWEEPS[name].purpose) > 20
    assert "\n" not in SWEEPS[name].purpose


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_default_of_each_device_is_a_sweep_whose_passes_give_intervals(device: str) -> None:
    assert SWEEPS[DEFAULT_SWEEPS[device]].passes >= 3


def test_no_other_device_has_a_default() -> None:
    assert set(DEFAULT_SWEEPS) == {"cpu", "cuda"}


def test_the_gpu_sweep_has_the_shapes_of_two_models_forward_and_backward() -> None:
    cases = SWEEPS["gpu"].cases()
    lengths = [512, 1024, 2048, 4096, 8192, 16384, 32768]
    assert sorted({case.q_len for case in cases}) == lengths
    assert {(case.dtype, case.mode) for case in cases} == {
        ("bfloat16", "forward"),
        ("bfloat16", "backward"),
    }
    assert {shape_of(case) for case in cases} == {
        Shape(heads=32, head_dim=128, slope_scale="1"),
        Shape(heads=32, head_dim=64, slope_scale="1/sqrt(d)"),
    }
    assert len(cases) == len(lengths) * 2 * 2
    assert all(case.causal and case.kv_heads == case.heads for case in cases)


def test_sequences_are_measured_padded_and_packed() -> None:
    ragged = SWEEPS["ragged"]._replace(seq_lens=(7, 30, 7))
    assert [(case.form, case.seq_lens, case.batch, case.kv_len) for case in ragged.cases()] == [
        ("padded", (7, 30, 7), 3, 30),
        ("packed", (7, 30, 7), 3, 30),
    ]


@each_sweep
def test_a_sweep_in_float16_has_it_in_place_of_bfloat16_and_each_case_once(name: str) -> None:
    sweep = SWEEPS[name]
    dtypes = sweep.in_half("float16").dtypes
    assert "bfloat16" not in dtypes
    assert set(dtypes) == {"float16" if it == "bfloat16" else it for it in sweep.dtypes}
    assert len(set(dtypes)) == len(dtypes)
    assert sweep.in_half("bfloat16") == sweep
