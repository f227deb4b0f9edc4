"""A method costs what its variant takes over bias-free SDPA's; ALiBi what its fastest does."""

from pathlib import Path

import msgspec
import pytest

from reports.quality.costs import cost_table, costs_of
from reports.quality.method_places import places_at
from reports.quality.picture import picture
from reports.quality.rows import rows_of
from suite.failures import BadRequest
from suite.quality.design import LengthTest
from suite.quality.results import read
from tests.quality_files import header, qualities, write
from tests.reports.tunings import tuning

RACE = tuning(
    {
        "native_window": {128: 0.8, 512: 0.5},
        "sdpa_mask": {128: 1.5, 512: 2.0},
        "rope": {128: 1.3, 512: 1.2},
        "t5_bias": {128: 1.6, 512: 2.1},
    }
)


def ratios() -> dict[tuple[str, int], float]:
    return {(c.method, c.length): round(c.ratio, 2) for c in costs_of([RACE], (128, 512, 2048))}


def test_alibi_costs_what_its_fastest_variant_does() -> None:
    assert ratios()["alibi", 512] == 0.5
    assert ratios()["alibi", 128] == 0.8


def test_rope_and_t5_cost_what_their_variants_do() -> None:
    assert ratios()["rope", 128] == 1.3
    assert ratios()["t5", 512] == 2.1


def test_sinusoids_and_none_cost_what_bias_free_attention_does() -> None:
    assert ratios()["sinusoidal", 512] == ratios()["nope", 512] == 1.0


def test_what_was_not_raced_has_no_cost() -> None:
    assert ("alibi_rope", 512) not in ratios()
    assert ("alibi", 2048) not in ratios()


def test_the_table_names_the_variant_and_fits_80_columns() -> None:
    text = cost_table(costs_of([RACE], (128, 512)), "simple")
    assert "ALiBi as native_window" in text
    assert "0.50x" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_cost_has_the_interval_of_its_ratio_and_the_shape_that_was_raced() -> None:
    (rope,) = [c for c in costs_of([RACE], (512,)) if c.method == "rope"]
    assert rope.interval is not None
    assert rope.interval[0] <= rope.ratio <= rope.interval[1]
    assert "8 heads of 64" in rope.shape
    assert rope.shape in cost_table([rope], "simple")
    assert "1.20x (1.20 to 1.20)" in cost_table([rope], "github")
    assert "(" not in cost_table([rope], "simple")


def test_races_of_two_devices_are_refused() -> None:
    hardware = msgspec.structs.replace(RACE.header.hardware, key="cpu-other-2cores")
    other = RACE._replace(header=msgspec.structs.replace(RACE.header, hardware=hardware))
    with pytest.raises(BadRequest, match=r"cpu-other-2cores.*give those of one device"):
        costs_of([RACE, other], (128,))


def test_races_of_other_lengths_give_no_costs_and_the_table_says_so() -> None:
    assert "No costs" in cost_table(costs_of([RACE], (2048,)), "simple")


def bits(method: str, test: LengthTest, length: int, seed: int) -> float:
    """Return bits by which RoPE is worse beyond 128 tokens, and YaRN half as much."""
    grows = {"none": 1.0, "yarn": 0.5}.get(test.change, 2.0) if method == "rope" else 0.0
    return 1.5 + grows * (length / 128 - 1) / 10


def test_the_picture_has_a_panel_for_each_length_that_has_costs(tmp_path: Path) -> None:
    results = read(write(tmp_path / "lengths.jsonl", [header(), *qualities(bits_of=bits)]))
    rows, costs = rows_of(results), costs_of([RACE], (128, 512))
    drawn = picture(rows, costs, 128)
    assert "1x the trained length" in drawn
    assert "4x the trained length" in drawn
    assert "16x the trained length" not in drawn
    by_name = {place.name: place for place in places_at(rows, costs, 512, 128)}
    assert by_name["RoPE"].bits.mean > by_name["RoPE, YaRN"].bits.mean > by_name["ALiBi"].bits.mean
    assert by_name["RoPE"].cost == by_name["RoPE, YaRN"].cost
    assert set(by_name) == {"ALiBi", "RoPE", "RoPE, YaRN", "sinusoidal", "T5's bias", "none"}


def test_yarn_is_not_drawn_where_it_is_rope_itself(tmp_path: Path) -> None:
    rows = rows_of(read(write(tmp_path / "lengths.jsonl", [header(), *qualities()])))
    names = {each.name for each in places_at(rows, costs_of([RACE], (128,)), 128, 128)}
    assert "RoPE" in names
    assert "RoPE, YaRN" not in names


def test_a_picture_without_costs_is_empty_and_not_broken(tmp_path: Path) -> None:
    results = read(write(tmp_path / "lengths.jsonl", [header(), *qualities()]))
    assert picture(rows_of(results), [], 128).count("<circle") == 0
