"""A page's history in Chromium: panels, marks, steps, the grid of statuses, and filters."""

from typing import Any

import msgspec
import pytest

from reports.web_page.page_data import page_data
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
from tests.reports.web_page.page_results import MARKUP, RUNS, a_device, a_history

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def past_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of the page of 24 runs and, of another device, of one run."""
    other = a_device("Other CPU", "cpu-other-2cores")
    return write_index([*a_history(), other], tmp_path_factory.mktemp("past"))


@pytest.fixture
def address(past_address: str) -> str:
    """Return the address that the fixture `page` opens here."""
    return past_address


def panels(driver: Any) -> list[str]:
    """Return the headings of the panels."""
    return texts(driver, "#over-time figure h3")


def test_a_cell_with_a_step_has_a_panel_first_and_the_others_follow_by_length(page: Any) -> None:
    names = ["eager", "flex", "native_window"]
    stepped = [f"{name}, 512 keys" for name in names]
    assert panels(page) == [*stepped, *(f"{name}, 1024 keys" for name in [*names, "no_bias"])]
    page.execute_script("document.querySelector('#over-time select').value = '512'")
    page.execute_script(
        "document.querySelector('#over-time select').dispatchEvent(new Event('change'))"
    )
    wait(page)
    assert panels(page) == [*stepped, "no_bias, 512 keys"]


def test_a_step_is_marked_by_a_shape_and_in_words(page: Any) -> None:
    shown = texts(page, "#over-time .mark-text text")
    assert {"+5.0% code", "−9.9% environment", "+6.1% machine"} <= set(shown)
    shapes = page.execute_script(
        "return [...document.querySelectorAll('#over-time .mark-symbol path')]"
        ".filter((it) => it.__data__ && it.__data__.datum.cause)"
        ".map((it) => it.getAttribute('d'))"
    )
    assert len(shapes) == len(set(shapes)) == 3


def test_points_have_their_intervals_and_a_run_without_a_time_its_letter(page: Any) -> None:
    figure = page.find_elements("css selector", "#over-time figure")[1]
    count = "return arguments[0].querySelectorAll(arguments[1]).length"
    rules = page.execute_script(count, figure, ".mark-rule.role-mark line")
    assert rules == (RUNS - 1) + 1  # an interval a time, and a step
    letters = [it.text for it in figure.find_elements("css selector", ".mark-text text")]
    assert "C" in letters


def test_steps_are_listed_with_the_regression_first(page: Any) -> None:
    rows = page.execute_script(
        "return [...document.querySelectorAll('#steps tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [row[:5] for row in rows] == [
        ["▲ +5.0%", "+4.7% to +5.4%", "code", "eager", "512"],
        ["■ −9.9%", "−10.1% to −9.7%", "environment", "flex", "512"],
        ["◆ +6.1%", "+5.7% to +6.6%", "machine", "native_window", "512"],
    ]
    assert rows[0][5:7] == ["000000000006", "2026-01-07"]
    assert rows[1][7] == "torch 2.14.1 and not 2.13.0"


def test_the_grid_has_a_letter_for_each_cell_and_run(page: Any) -> None:
    lines = page.execute_script(
        "return [...document.querySelectorAll('table.runs tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    by_cell = {(line[0], line[1]): "".join(line[2:]) for line in lines}
    assert len(by_cell) == 8
    assert by_cell["no_bias", "512"] == "·" * RUNS
    assert by_cell["eager", "512"] == "······▲········○········"
    assert by_cell["flex", "512"] == "···C········■···········"
    titles = page.execute_script(
        "return [...document.querySelectorAll('table.runs td.gone')].map((it) => it.title)"
    )
    assert all(title.endswith(f"crashed: {MARKUP}") for title in titles)


def test_filters_leave_what_they_show_and_say_where_other_steps_are(page: Any) -> None:
    pick(page, "setup", "Other CPU")
    pick(page, "mode", "backward")
    assert texts(page, "#over-time .empty") == [
        "No cell that these filters show was measured in two runs."
    ]
    (link,) = page.find_elements("css selector", "#over-time .links a")
    assert "3 steps, 1 regressed" in texts(page, "#over-time .links li")[0]
    link.click()
    wait(page)
    assert len(panels(page)) == 4


def test_a_steps_length_links_to_the_other_cells_of_that_length(page: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    page.find_element("css selector", "#steps a").click()
    WebDriverWait(page, 20).until(lambda it: "no_bias, 512 keys" in panels(it))
    wait(page)


def test_a_variant_that_is_hidden_has_no_panel(page: Any) -> None:
    page.find_element("css selector", "#legend input[name=eager]").click()
    wait(page)
    assert not any("eager" in panel for panel in panels(page))


def test_without_ruptures_the_page_says_what_to_install(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from reports.web_page.index_page import index_page

    data = page_data(a_history()[:3])
    assert data.history is not None
    lacks = msgspec.structs.replace(data.history, lacks="steps need ruptures: pip install ruptures")
    file = tmp_path_factory.mktemp("lacks") / "index.html"
    file.write_text(index_page(msgspec.structs.replace(data, history=lacks)))
    show(chromium, file.as_uri(), "desktop", "light")
    assert any(
        text.startswith("steps need ruptures: pip install ruptures.")
        for text in texts(chromium, "#over-time p")
    )
    assert panels(chromium)
    assert severe_errors(chromium) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_screen_in_light_and_dark(
    chromium: Any, address: str, size: str, scheme: str
) -> None:
    show(chromium, address, size, scheme)
    keep_screenshot(chromium, f"history-{size}-{scheme}.png")
    wide = chromium.execute_script("return document.documentElement.scrollWidth")
    assert wide <= SIZES[size][0]
