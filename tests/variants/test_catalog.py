"""Every line of the catalog leads to a small module that says what it is."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from variants.catalog import BASELINE, CATALOG, Variant

each_variant = pytest.mark.parametrize("variant", CATALOG, ids=lambda variant: variant.name)


def source_of(variant: Variant) -> str:
    """Return the text of the variant's file."""
    return Path(inspect.getfile(importlib.import_module(variant.module))).read_text()


def test_no_two_variants_share_a_name() -> None:
    names = [variant.name for variant in CATALOG]
    assert len(set(names)) == len(names)


def test_the_baseline_comes_first_and_is_the_only_one_without_a_bias() -> None:
    assert CATALOG[0] is BASELINE
    assert [variant for variant in CATALOG if variant.answers == "no_bias"] == [BASELINE]


@each_variant
def test_a_variant_is_made_by_its_module_s_prepare(variant: Variant) -> None:
    prepare = importlib.import_module(variant.module).prepare
    assert list(inspect.signature(prepare).parameters) == ["spec"]
    assert inspect.getdoc(prepare)


@each_variant
def test_a_docstring_opens_with_the_name_and_closes_with_the_source(variant: Variant) -> None:
    lines = inspect.getdoc(importlib.import_module(variant.module)) or ""
    assert lines.startswith(f"{variant.module.removeprefix('variants.')}: ")
    assert lines.splitlines()[0].endswith(".")
    assert "Source: " in lines


@each_variant
def test_a_variant_is_a_page_of_functions_that_neither_print_nor_time(variant: Variant) -> None:
    text = source_of(variant)
    assert len(text.splitlines()) <= 90
    nodes = list(ast.walk(ast.parse(text)))
    assert not [node for node in nodes if isinstance(node, ast.ClassDef)]
    words = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert not words & {"print", "time", "perf_counter", "perf_counter_ns"}


def test_names_are_known_without_importing_torch() -> None:
    code = "import sys; from variants import catalog; print('torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "False\n"


def test_the_catalog_imports_no_variant() -> None:
    code = (
        "import sys; from variants import catalog;"
        "print(sorted(name for name in sys.modules if name.startswith('variants')))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "['variants', 'variants.catalog']\n"
