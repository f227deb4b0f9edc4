"""docs/models.md has every preset as it is read, and its file of one's own can be read."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from suite.cases.models import Model, built_in, read

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
HEADER = "| model | layers | heads |"


def rows() -> list[list[str]]:
    """Return the cells of the page's table of presets."""
    table = PAGE[PAGE.index(HEADER) :].partition("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def cells(model: Model) -> list[str]:
    """Return what the page's table says of a model."""
    numbers = [model.layers, model.heads, model.kv_heads, model.head_dim, model.train_len]
    rule = [model.attn, f"{model.bias_max:g}", model.slope_scale, model.scale, model.bias_form]
    usual = ["/".join(map(str, model.lengths)), str(model.batch)]
    return [model.name, *map(str, numbers), *rule, *usual, model.source]


def test_every_preset_is_on_the_page_as_it_is_read() -> None:
    assert rows() == [cells(model) for model in built_in().values()]


def test_the_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"^ +(\[\{.*?\}\])$", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "my.json"
    file.write_text(example)
    assert read(file)["mine"].shape.kv_heads == 8


@pytest.mark.parametrize("field", Model.__struct_fields__)
def test_every_field_is_explained_with_its_words(field: str) -> None:
    explained = PAGE[PAGE.index("| field | what it may be |") :]
    (line,) = [line for line in explained.splitlines() if f"`{field}`" in line.split(" | ")[0]]
    for word in get_args(get_type_hints(Model)[field]):
        assert not isinstance(word, str) or f"`{word}`" in line
