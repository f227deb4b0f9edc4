"""The part on quality in Chromium: charts, the switch by keyboard, screens, and alone on a page."""

from typing import Any

import pytest

from reports.generated.write import LENGTHS as FOLDER
from suite.quality.results import read
from tests.reports.web_page.browser import (
    SIZES,
    keep_screenshot,
    pick,
    severe_errors,
    show,
    texts,
    wait,
    write_index,
)
from tests.reports.web_page.page_results import a_device
from tests.reports.web_page.quality.test_page_quality import RACE

pytestmark = pytest.mark.heavy

PUBLISHED = [read(FOLDER / f"{name}.jsonl") for name in ("default", "prose")]


@pytest.fixture(scope="module")
def page_with_races(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page of a published file of `lengths` and of two invented races."""
    return write_index(
        [RACE, a_device("Other", "cpu-other-2cores")],
        tmp_path_factory.mktemp("page"),
        PUBLISHED[:1],
    )


@pytest.fixture(scope="module")
def page_of_lengths(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page of both published files of `lengths`."""
    return write_index([], tmp_path_factory.mktemp("page"), PUBLISHED)


@pytest.fixture
def address(page_with_races: str) -> str:
    """Return the address that the fixture `page` opens here."""
    return page_with_races


def lines(driver: Any) -> int:
    """Return how many lines each of two charts of bits has."""
    return len(texts(driver, "#quality .side-by-side .mark-line path")) // 2


def test_the_answer_and_a_link_to_it_come_first(page: Any) -> None:
    (headline,) = texts(page, "#quality .verdict")
    assert headline.startswith("At 2048 tokens, 16 times the trained length, ALiBi needs 0.00")
    assert texts(page, "#bought a") == ["Quality beyond the trained length"]
    assert headline in texts(page, "#bought")[0]


def test_both_measures_are_drawn_beside_each_other_and_costs_at_each_length(page: Any) -> None:
    assert len(texts(page, "#quality .side-by-side svg.marks")) == 2
    assert lines(page) == 7
    assert len(texts(page, "#quality .panels svg.marks")) == 4
    headings = [text.partition(" ")[0] for text in texts(page, "#quality .panels h3")]
    assert headings == ["1x", "4x", "4x", "16x"]
    labels = texts(page, "#quality .side-by-side .role-axis-label text")
    assert [label for label in labels if "." not in label] == ["128", "256", "512", "2k"] * 2


def test_the_switch_changes_the_charts_and_the_address_by_keyboard_and_keeps_the_focus(
    page: Any,
) -> None:
    from selenium.webdriver.common.keys import Keys

    first = page.find_element("css selector", "input[name=quality-view][value=methods]")
    first.send_keys(Keys.RIGHT)
    wait(page)
    assert page.execute_script("return document.activeElement.value") == "scalings"
    assert page.current_url.endswith("#quality=scalings")
    assert lines(page) == 7
    assert "RoPE, PI" in texts(page, "#quality .looks li")
    show(page, page.current_url, "desktop", "dark")
    assert (
        page.execute_script(
            "return document.querySelector('input[name=quality-view]:checked').value"
        )
        == "scalings"
    )
    assert "RoPE, PI" in texts(page, "#quality .looks li")


def test_a_filter_leaves_the_part_as_it_is(page: Any) -> None:
    pick(page, "setup", "Other")
    assert len(texts(page, "#quality svg.marks")) == 6


def test_a_method_has_a_colour_a_shape_and_a_dash_in_the_legend(page: Any) -> None:
    looks = page.execute_script(
        "return [...document.querySelectorAll('#quality .looks')][0].querySelectorAll('svg').length"
    )
    assert looks == 7


def test_a_page_of_lengths_alone_has_no_filters_and_answers_for_each_file(
    chromium: Any, page_of_lengths: str
) -> None:
    show(chromium, page_of_lengths, "desktop", "light")
    assert not chromium.find_element("css selector", "#filters").is_displayed()
    assert not chromium.find_element("css selector", "#cells").is_displayed()
    assert len(texts(chromium, "#quality .headline")) == 2
    assert len(texts(chromium, "#quality .side-by-side svg.marks")) == 4
    assert texts(chromium, "#notice") == [""]
    chromium.find_element("css selector", "input[value=conventions]").click()
    wait(chromium)
    assert texts(chromium, "#quality .empty") == ["This file has no such tests."]
    assert severe_errors(chromium) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_screen_in_light_and_dark(
    chromium: Any, address: str, size: str, scheme: str
) -> None:
    show(chromium, address, size, scheme)
    keep_screenshot(chromium, f"quality-{size}-{scheme}.png")
    wide = "return document.documentElement.scrollWidth"
    assert chromium.execute_script(wide) <= SIZES[size][0]
    ink = chromium.execute_script("return getComputedStyle(document.body).color")
    label = chromium.execute_script(
        "return getComputedStyle(document.querySelector('#quality .role-axis-label text')).fill"
    )
    assert label == ink
    assert severe_errors(chromium) == []
