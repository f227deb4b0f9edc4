"""Every named sweep says what it is for and names each of its cases once."""

import pytest

from suite.sweeps import DEFAULT_SWEEP, SWEEPS

each_sweep = pytest.mark.parametrize("name", SWEEPS)


@each_sweep
def test_no_two_cases_of_a_sweep_share_an_id(name: str) -> None:
    ids = [case.id for case in SWEEPS[name].cases()]
    assert ids
    assert len(set(ids)) == len(ids)


@each_sweep
def test_a_sweep_has_every_length_in_every_dtype_and_mode(name: str) -> None:
    sweep = SWEEPS[name]
    found = {(case.q_len, case.kv_len, case.dtype, case.mode) for case in sweep.cases()}
    assert found == {
        (length, length, dtype, mode)
        for length in sweep.lengths
        for dtype in sweep.dtypes
        for mode in sweep.modes
    }


@each_sweep
def test_a_sweep_hands_its_shape_to_its_cases(name: str) -> None:
    other = SWEEPS[name]._replace(batch=3, heads=5, head_dim=24, logit_scale=2.0)
    parts = {
        (case.batch, case.heads, case.kv_heads, case.head_dim, case.logit_scale)
        for case in other.cases()
    }
    assert parts == {(3, 5, 5, 24, 2.0)}


@each_sweep
def test_a_sweep_says_what_it_is_for(name: str) -> None:
    assert len(SWEEPS[name].purpose) > 20
    assert "\n" not in SWEEPS[name].purpose


def test_the_default_is_a_sweep_whose_passes_give_intervals() -> None:
    assert SWEEPS[DEFAULT_SWEEP].passes >= 3
