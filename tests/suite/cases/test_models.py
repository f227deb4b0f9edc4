"""Presets of released models: whole, sourced, and as readable from a file of one's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from suite.cases.models import BUILT_IN, UnreadableModels, built_in, read

MPT: dict[str, Any] = next(
    row for row in json.loads(BUILT_IN.read_text()) if row["name"] == "mpt-7b"
)


def write_models(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "my.json"
    file.write_text(json.dumps(rows))
    return file


def test_every_convention_that_matters_is_among_the_models() -> None:
    models = built_in()
    assert len(models) == 28
    assert models["mpt-7b"].bias_max == 8
    assert models["mpt-7b-storywriter"].bias_max == 16
    assert models["falcon-rw-1b"].slope_scale == "1/sqrt(d)"
    assert models["btlm-3b-8k"].scale == models["jais-13b"].scale == "1/d"
    assert models["jais-family-256m"].heads == 17
    assert models["Refact-1.6B"].kv_heads == 1
    assert models["jina-embeddings-v2-base-en"].attn == "bidirectional"
    assert models["mpt-30b"].head_dim == 112


@pytest.mark.parametrize("name", built_in())
def test_every_model_says_where_it_is_from(name: str) -> None:
    assert built_in()[name].source.startswith(("verified", "recalled"))


def test_a_file_of_ones_own_has_the_same_form(tmp_path: Path) -> None:
    file = write_models(
        tmp_path, MPT | {"name": "mine", "heads": 16, "kv_heads": 4, "hidden": 2048}
    )
    (mine,) = read(file).values()
    assert mine.shape == built_in()["mpt-7b"].shape._replace(heads=16, kv_heads=4, model="mine")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"heads": 31}, "31 heads of 128 don't make hidden 4096"),
        ({"kv_heads": 3}, "32 heads can't share 3 kv heads evenly"),
        ({"heads": 0}, "heads 0: give at least 1 and at most 16777216"),
        ({"batch": 1 << 70}, f"batch {1 << 70}: give at least 1 and at most 16777216"),
        ({"bias_max": -1.0}, "bias_max -1.0: give over 0, at most 126.0"),
        ({"bias_max": 1e30}, "bias_max 1e+30: give over 0, at most 126.0"),
        ({"lengths": [512, 1 << 25]}, "lengths 33554432: give at least 1 and at most 16777216"),
        ({"name": None}, "Expected `str`, got `null`"),
        ({"attn": "sliding"}, "Invalid enum value 'sliding'"),
        ({"lengths": []}, "lengths []: give at least one"),
        (
            {"lengths": [512, 256]},
            "lengths [512, 256]: give at least one, each once, in rising order",
        ),
        ({"lengths": ["512"]}, "Expected `int`, got `str`"),
        ({"extra": 1}, "unknown field `extra`"),
        ({"in two\nlines": 1}, "unknown field `in two lines`"),
        ({"scale": "1"}, "Invalid enum value '1'"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_with_its_place(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UnreadableModels) as refused:
        read(write_models(tmp_path, MPT, MPT | {"name": "other"} | change))
    assert told in str(refused.value)
    assert "$[1]" in str(refused.value)
    assert str(refused.value).endswith("; docs/models.md has the form")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("field", MPT)
def test_a_row_without_a_field_is_refused_by_its_name(field: str, tmp_path: Path) -> None:
    row = {name: value for name, value in MPT.items() if name != field}
    with pytest.raises(UnreadableModels, match=rf"required field `{field}` - at `\$\[0\]`"):
        read(write_models(tmp_path, row))


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]", "\x00", "[" * 100_000])
def test_a_file_that_holds_no_models_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "my.json"
    file.write_text(content)
    with pytest.raises(UnreadableModels) as refused:
        read(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert len(str(refused.value).splitlines()) == 1


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModels, match="each name once"):
        read(write_models(tmp_path, MPT, MPT))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModels, match="No such file"):
        read(tmp_path / "my.json")
