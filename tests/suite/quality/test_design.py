"""A design says which models are trained, with which tests, and what they cost."""

import pytest

from suite.quality.design import DEFAULT, LONG, QUICK, Design, LengthTest
from suite.quality.methods import METHOD_BY_NAME, SCALINGS

ROPE = METHOD_BY_NAME["rope"]


def test_every_method_is_trained_with_the_first_seed_before_any_with_the_second() -> None:
    seeds = [seed for _, seed in DEFAULT.models()]
    assert seeds == [0] * 8 + [1] * 8 + [2] * 8


def test_quick_is_part_of_the_default_with_the_same_numbers() -> None:
    assert set(QUICK.methods) < set(DEFAULT.methods)
    assert QUICK.tests(ROPE) == [LengthTest("none", False), LengthTest("yarn", False)]
    for name in ("steps", "batch", "lengths", "windows", "trained_len", "peak_rate", "size"):
        assert getattr(QUICK, name) == getattr(DEFAULT, name)


def test_long_trains_ten_times_longer() -> None:
    assert LONG.steps == 10 * DEFAULT.steps
    assert LONG.tuning_steps == 10 * DEFAULT.tuning_steps


def test_rope_is_tested_with_each_scaling_before_and_with_some_after_tuning() -> None:
    tests = DEFAULT.tests(ROPE)
    assert [test.change for test in tests if not test.tuned] == ["none", *SCALINGS]
    assert [test.change for test in tests if test.tuned] == ["none", "pi", "ntk", "yarn"]


def test_a_design_without_tuning_steps_tunes_nothing() -> None:
    assert not any(test.tuned for test in QUICK.tests(ROPE))


@pytest.mark.parametrize(
    ("lengths", "why"),
    [((128, 300), "divide the last"), ((256, 512), "the first has to be 128"), ((), "divide")],
)
def test_lengths_that_make_no_windows_are_refused(lengths: tuple[int, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Design(name="toy", methods=("alibi",), seeds=1, lengths=lengths)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="alibbi"):
        Design(name="toy", methods=("alibbi",), seeds=1)
