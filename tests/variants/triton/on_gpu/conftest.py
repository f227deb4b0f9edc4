"""A rehearsal in Triton's interpreter has numpy's warnings, which mean nothing."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore them."""
    for item in items:
        for warning in ("ignore::RuntimeWarning", "ignore:Conversion of an array"):
            item.add_marker(pytest.mark.filterwarnings(warning))
