"""Triton's interpreter runs all kernels here, in bfloat16 too; new memory is full of NaN."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported

import pytest

from tests.variants.triton.interpreted.bfloat16_products import multiply_bfloat16_rightly

multiply_bfloat16_rightly()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let numpy divide by zero, as bounds do, and the interpreter make scalars in its own way."""
    for item in items:
        for warning in ("ignore::RuntimeWarning", "ignore:Conversion of an array"):
            item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(autouse=True)
def _poisoned_memory(new_memory_is_nan: None) -> None:
    """Poison the outputs of every test here."""
