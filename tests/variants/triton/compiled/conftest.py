"""Triton compiles here: its interpreter has to be off."""

import os

import pytest


def pytest_configure() -> None:
    """Refuse an environment in which kernels would be interpreted."""
    if os.environ.get("TRITON_INTERPRET", "0") != "0":
        raise pytest.UsageError("TRITON_INTERPRET is set: these tests compile kernels; unset it")
