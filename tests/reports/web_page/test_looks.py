"""Every variant looks different from every other, colour or no colour."""

from reports.web_page.charts.looks import looks_of
from reports.web_page.page_data import page_data
from tests.records import a_run
from variants.catalog import RACED


def test_no_two_variants_share_shape_and_dash_or_colour_and_shape() -> None:
    times = {variant.name: [1.0] for variant in RACED}
    looks = looks_of(page_data([a_run(times)]).cells)
    assert len(looks) == len(RACED)
    assert len({(look.shape, look.dash) for look in looks}) == len(looks)
    assert len({(look.shape, look.colour) for look in looks}) == len(looks)


def test_the_eight_variants_with_the_most_cells_have_a_colour_each() -> None:
    names = [variant.name for variant in RACED if variant.answers == "alibi"][:8]
    looks = looks_of(page_data([a_run({name: [1.0] for name in names})]).cells)
    assert len({look.colour for look in looks}) == 8


def test_baselines_come_last_and_are_grey() -> None:
    looks = looks_of(page_data([a_run({"no_bias": [1.0], "rope": [1.0], "eager": [1.0]})]).cells)
    assert [look.variant for look in looks] == ["eager", "no_bias", "rope"]
    assert looks[1].colour == looks[2].colour != looks[0].colour
