"""Every line of the catalog leads to a small module that says what it is."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from suite.agreement.inputs import spec_of
from suite.cases.case import Case
from variants.catalog import BASELINE, CATALOG, NEVER_CHOSEN, Variant, on
from variants.problem import Unsupported

each_variant = pytest.mark.parametrize("variant", CATALOG, ids=lambda variant: variant.name)


def source_of(variant: Variant) -> str:
    """Return the text of the variant's file."""
    return Path(inspect.getfile(importlib.import_module(variant.module))).read_text()


def test_no_two_variants_share_a_name() -> None:
    names = [variant.name for variant in CATALOG]
    assert len(set(names)) == len(names)


def test_the_baseline_comes_first_and_is_the_only_one_without_any_positions() -> None:
    assert CATALOG[0] is BASELINE
    assert [variant for variant in CATALOG if variant.answers == "no_bias"] == [BASELINE]


def test_what_answers_another_question_stands_before_the_alibi_variants() -> None:
    answers = [variant.answers for variant in CATALOG]
    assert answers == sorted(answers, key=lambda one: one == "alibi")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_baseline_comes_first_on_every_device(device: str) -> None:
    assert on(device)[0] is BASELINE


@each_variant
def test_a_default_set_has_the_lines_of_its_device_and_those_of_any(variant: Variant) -> None:
    assert (variant in on("cpu")) == (variant.device in {"cpu", "any"})
    assert (variant in on("cuda")) == (variant.device in {"cuda", "any"})


def test_a_default_set_is_in_the_order_of_the_catalog() -> None:
    for device in ("cpu", "cuda"):
        places = [CATALOG.index(variant) for variant in on(device)]
        assert places == sorted(places)


def test_on_cuda_each_backend_that_takes_a_mask_is_measured_by_itself() -> None:
    lines = [variant for variant in CATALOG if "backend" in variant.options]
    assert len(lines) > 1
    assert all(variant.device == "cuda" for variant in lines)
    assert len({variant.options["backend"] for variant in lines}) == len(lines)


@pytest.mark.parametrize("device", ["", "any", "none", "cuda:1", "mps"])
def test_no_other_device_has_a_default_set(device: str) -> None:
    with pytest.raises(ValueError, match=f"device '{device}': .* for cpu and for cuda"):
        on(device)


def test_the_options_that_a_line_leaves_out_cannot_be_written_to() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        BASELINE.options["backend"] = "math"  # type: ignore[index]


@each_variant
def test_a_variant_is_made_by_its_module_s_prepare_which_takes_its_options(
    variant: Variant,
) -> None:
    prepare = importlib.import_module(variant.module).prepare
    assert inspect.getdoc(prepare)
    first, *others = inspect.signature(prepare).parameters.values()
    assert first.name == "spec"
    assert all(other.default is not other.empty for other in others)
    assert set(variant.options) <= {other.name for other in others}


@each_variant
def test_named_on_a_cpu_a_variant_is_prepared_or_declines_with_a_reason(variant: Variant) -> None:
    case = Case(heads=2, kv_heads=2, head_dim=64, q_len=8, kv_len=8, dtype="bfloat16")
    prepare = importlib.import_module(variant.module).prepare
    spec = spec_of(case, torch.device("cpu"))
    if "backend" in variant.options:
        with pytest.raises(Unsupported, match="CPU"):
            prepare(spec, **variant.options)
    elif variant.experimental:
        with pytest.raises(Unsupported, match="for CUDA; native_window"):
            prepare(spec)
    else:
        assert callable(prepare(spec, **variant.options))


def test_nothing_that_is_experimental_is_in_a_default_set_or_chosen() -> None:
    experimental = [variant for variant in CATALOG if variant.experimental]
    assert [variant.name for variant in experimental] == ["triton_window"]
    assert all(variant not in on(device) for variant in experimental for device in ("cpu", "cuda"))
    assert {variant.name for variant in experimental} <= NEVER_CHOSEN


@each_variant
def test_a_docstring_opens_with_the_name_and_closes_with_the_source(variant: Variant) -> None:
    lines = inspect.getdoc(importlib.import_module(variant.module)) or ""
    assert lines.startswith(f"{variant.module.rpartition('.')[2]}: ")
    assert lines.splitlines()[0].endswith(".")
    assert "Source: " in lines


@each_variant
def test_a_variant_is_a_page_of_functions_that_neither_print_nor_time(variant: Variant) -> None:
    text = source_of(variant)
    assert len(text.splitlines()) <= 100
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


def test_what_compiles_a_graph_for_each_shape_says_that_it_builds() -> None:
    compiling = {
        variant.name
        for variant in CATALOG
        if "compile_alone" in vars(importlib.import_module(variant.module))
    }
    builds = {variant.name for variant in CATALOG if variant.builds}
    for_any_length = {variant.name for variant in CATALOG if variant.options.get("lengths")}
    assert builds == compiling - for_any_length
