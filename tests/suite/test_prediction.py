"""Predictions: what would not fit is told before a byte is taken."""

import psutil
import pytest
import torch

from suite.inputs import draw, spec_of
from suite.memory import weigh_on_cpu
from suite.prediction import available_bytes, predicted_bytes
from tests.records import a_case
from variants import eager

CPU = torch.device("cpu")


@pytest.mark.parametrize("length", [128, 300, 512])
def test_a_prediction_is_at_least_what_a_call_takes_and_less_than_twice(length: int) -> None:
    case = a_case(length, "bfloat16")
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    attention = eager.prepare(spec)
    arguments = (inputs.q, inputs.k, inputs.v, inputs.slopes)
    with torch.no_grad():
        taken = weigh_on_cpu(lambda: attention(*arguments), attention, arguments).peak_bytes
    predicted = predicted_bytes(case, "variants.eager", {}, CPU)
    assert predicted is not None
    assert taken <= predicted <= 2 * taken


def test_what_no_machine_has_is_predicted_without_being_taken() -> None:
    before = psutil.Process().memory_info().rss
    predicted = predicted_bytes(a_case(1 << 17, "bfloat16"), "variants.sdpa_mask", {}, CPU)
    assert predicted is not None
    assert predicted > 8 * (1 << 34) * 2
    assert psutil.Process().memory_info().rss - before < 200 << 20


def test_linear_variants_are_predicted_to_stay_linear() -> None:
    short = predicted_bytes(a_case(1 << 12, "bfloat16"), "variants.sdpa_key", {}, CPU)
    long = predicted_bytes(a_case(1 << 16, "bfloat16"), "variants.sdpa_key", {}, CPU)
    assert short is not None
    assert long is not None
    assert long < 20 * short


def test_a_compiled_variant_can_not_be_told_beforehand() -> None:
    assert predicted_bytes(a_case(64, "bfloat16"), "variants.compile", {}, CPU) is None


def test_what_is_available_is_less_than_what_there_is() -> None:
    assert 0 < available_bytes(CPU) < psutil.virtual_memory().total
