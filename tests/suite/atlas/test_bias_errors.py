"""A bias that loses digits with length is found, and float32's own rounding is not called one."""

import pytest

from suite.atlas.bias_errors import bias_error, middle_error
from suite.atlas.findings import HIDDEN
from tests.suite.atlas import biases
from tests.suite.atlas.biases import implementation


@pytest.mark.parametrize("length", [1024, 8192])
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-4), ("bfloat16", 5e-3)])
def test_the_definition_is_exact_to_rounding(dtype: str, most: float, length: int) -> None:
    error = bias_error(implementation(biases.right), dtype, length)
    assert (error.dtype, error.length, error.reason) == (dtype, length, "")
    assert error.near is not None
    assert error.far is not None
    assert max(error.near, error.far) < most


def test_distances_in_float16_are_off_where_they_are_over_2048() -> None:
    halves = implementation(biases.float16_distances)
    short, long = (bias_error(halves, "float32", length) for length in (1024, 8192))
    assert short.far is not None
    assert short.far < 1e-4
    assert long.far == pytest.approx(2 / 256, rel=0.2)  # a rounded distance is off by 2
    assert long.near is not None
    assert long.near < 1e-4


def test_a_bias_anchored_at_the_first_key_is_off_near_the_query() -> None:
    anchored = implementation(biases.anchor_at_the_first_key)
    errors = [bias_error(anchored, "bfloat16", length).near for length in (1024, 8192)]
    assert errors[0] is not None
    assert errors[1] is not None
    assert 0.1 < errors[0] < errors[1]


def test_distances_that_float16_has_no_number_for_hide_keys() -> None:
    halves = implementation(biases.float16_distances)
    error = bias_error(halves, "float32", 65536)
    assert (error.reason, error.far) == (HIDDEN, None)
    assert error.near is not None
    assert error.near < 1e-4


def test_a_bias_counted_from_the_first_key_is_off_in_a_middle_row() -> None:
    right, anchored = (
        middle_error(implementation(bias), "float32").near
        for bias in (biases.right, biases.anchor_at_the_first_key)
    )
    assert right is not None
    assert anchored is not None
    assert right < 1e-5 < anchored
