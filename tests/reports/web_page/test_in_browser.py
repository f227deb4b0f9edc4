"""The page in Chromium, opened from disk: charts, filters, keyboard, hostile words, screens."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.records import a_run
from tests.reports.web_page.browser import (
    SIZES,
    keep,
    keep_screenshot,
    marks,
    overlaps,
    pick,
    severe_errors,
    show,
    texts,
    wait,
    write_index,
)
from tests.reports.web_page.page_results import MARKUP, a_device, many_cells

pytestmark = pytest.mark.heavy


def test_it_opens_with_an_answer_and_every_chart_for_each_device(page: Any) -> None:
    headlines = texts(page, ".headline")
    assert headlines == ["native_window is fastest at all 3 lengths: 512 to 2048 keys"] * 2
    assert marks(page, "time") == 2 * 9
    for section in ("gemm_share", "copy_share", "memory", "error", "trade_off", "density"):
        assert marks(page, section) > 0, section
    assert page.execute_script("return document.querySelectorAll('svg.marks').length") == 2 * 9
    assert len(texts(page, "#chart-fastest_by_mode .mark-rect path")) == 2 * 6


def test_a_page_of_one_run_a_device_has_no_history(page: Any) -> None:
    assert not page.find_element("css selector", "#over-time").is_displayed()


def test_the_axis_of_lengths_names_the_lengths_that_were_measured(page: Any) -> None:
    labels = texts(page, "#chart-time .role-axis-label text")
    assert [label for label in labels if label.rstrip("k").isdigit()] == ["512", "1k", "2k"] * 2


@pytest.mark.parametrize("size", SIZES)
def test_names_in_the_trade_off_stand_apart_though_all_points_lie_level(
    chromium: Any, address: str, size: str
) -> None:
    show(chromium, address, size, "light")
    assert len(texts(chromium, "#chart-trade_off .role-mark.mark-text text")) == 2 * 3
    assert overlaps(chromium, "#chart-trade_off .role-mark.mark-text text") == []


def test_seventeen_names_of_level_points_stand_apart_under_a_far_one(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = write_index([many_cells(20)], tmp_path_factory.mktemp("many"))
    show(chromium, address, "phone", "light")
    assert len(texts(chromium, "#chart-trade_off .role-mark.mark-text text")) == 18
    assert overlaps(chromium, "#chart-trade_off .role-mark.mark-text text") == []


def test_a_long_name_makes_the_page_no_wider(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    device = a_device("x" * 300)
    plan = msgspec.structs.replace(device.header.plan, variants=("eager", "y" * 300))
    file = device._replace(header=msgspec.structs.replace(device.header, plan=plan))
    show(chromium, write_index([file], tmp_path_factory.mktemp("long")), "phone", "light")
    assert chromium.execute_script("return document.documentElement.scrollWidth") == 390


def test_what_was_not_measured_has_a_line_and_no_empty_chart(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = a_run({"no_bias": [1.0], "eager": [2.0]})
    show(chromium, write_index([file], tmp_path_factory.mktemp("few")), "desktop", "light")
    (line,) = texts(chromium, "#charts .empty")
    assert line == (
        "Not drawn, because nothing of it was measured here: Share of the GEMM limit; Share of the "
        "copy limit; Peak memory; Speed, memory and error at one length; Density of windows."
    )
    assert "Density of windows" not in texts(chromium, "h2")


def test_a_calm_device_is_not_doubted(page: Any) -> None:
    assert texts(page, ".doubt") == []


@pytest.mark.parametrize("passes", [3, 2], ids=["with intervals", "without"])
@pytest.mark.parametrize("size", SIZES)
def test_a_machine_too_noisy_to_trust_is_told_above_the_answer_on_the_first_screen(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory, size: str, passes: int
) -> None:
    times = {"no_bias": [1.0, 1.01, 0.99], "eager": [0.6, 1.0, 1.7]}
    few = {name: each[:passes] for name, each in times.items()}
    file = a_run(few, canaries=(6.0, 9.0, 7.0)[:passes])
    show(chromium, write_index([file], tmp_path_factory.mktemp("noisy")), size, "light")
    (doubt,) = texts(chromium, ".answer .doubt")
    assert doubt.startswith("Too noisy to trust: ")
    assert "Stop what else runs" in doubt
    places = [
        chromium.find_element("css selector", f".answer .{name}").rect
        for name in ("doubt", "headline")
    ]
    assert places[0]["y"] + places[0]["height"] <= places[1]["y"] < SIZES[size][1]
    assert severe_errors(chromium) == []
    keep_screenshot(chromium, f"doubt-{size}-{passes}.png")


def test_the_device_filter_shows_that_device_alone(page: Any) -> None:
    pick(page, "setup", "Invented CPU, 2 cores")
    assert marks(page, "time") == 9
    assert len(texts(page, ".headline")) == 1
    assert texts(page, "#cells summary") == ["Invented CPU, 2 cores: 12 cells"]


def test_the_mode_and_dtype_filters_change_the_cells_that_are_shown(page: Any) -> None:
    assert all("--modes forward --dtypes float32" in it for it in texts(page, "td code"))
    pick(page, "mode", "backward")
    pick(page, "dtype", "bfloat16")
    commands = texts(page, "td code")
    assert len(commands) == 24
    assert all("--modes backward --dtypes bfloat16" in command for command in commands)


def test_the_ratio_takes_the_times_place_by_keyboard_and_keeps_the_focus(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    page.find_element("css selector", "input[name=time-chart][value=time]").send_keys(Keys.RIGHT)
    wait(page)
    heading = page.find_element("css selector", "#chart-time h2")
    assert heading.text == "Time over bias-free attention's"
    assert page.execute_script("return document.activeElement.value") == "ratio"


def test_an_unchecked_variant_leaves_the_charts_and_keeps_its_cells(page: Any) -> None:
    page.find_element("css selector", "#legend input[name=flex]").click()
    wait(page)
    assert marks(page, "time") == 2 * 6
    assert texts(page, "td.name").count("flex") == 2 * 3


def test_every_control_can_be_reached_by_the_tab_key(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    reached = set()
    for _ in range(70):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(
            page.execute_script("const it = document.activeElement; return it.name || it.tagName")
        )
    assert {"setup", "model", "mode", "dtype", "time-chart", "flex", "length"} <= reached
    assert {"BUTTON", "SUMMARY"} <= reached


def test_markup_in_names_and_reasons_shows_as_text(page: Any) -> None:
    assert page.title == "Which ALiBi backend is fastest"
    assert MARKUP in texts(page, "td.reason")
    assert f"Other {MARKUP}" in texts(page, "figure h3")
    assert not page.find_elements("css selector", "main b")


def test_a_variant_has_a_colour_a_shape_and_a_dash_of_its_own_in_the_legend(page: Any) -> None:
    looks = page.execute_script(
        "return [...document.querySelectorAll('#legend svg')].map((svg) => "
        "[...svg.querySelectorAll('path')].map((it) => it.outerHTML).join())"
    )
    assert len(set(looks)) == len(looks) == 4


def test_a_chart_is_saved_as_svg_and_png_with_the_filters_that_are_set(
    page: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    behavior = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    pick(page, "mode", "backward")
    for button in page.find_elements("css selector", "#chart-memory .saves button")[:2]:
        button.click()
    names = {"memory.svg", "memory.png"}
    WebDriverWait(page, 20).until(lambda _: {path.name for path in tmp_path.iterdir()} == names)
    assert (tmp_path / "memory.svg").read_text().startswith("<svg")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_screen_in_light_and_dark(
    chromium: Any, address: str, size: str, scheme: str
) -> None:
    show(chromium, address, size, scheme)
    keep_screenshot(chromium, f"{size}-{scheme}.png")
    wide = "return document.documentElement.scrollWidth"
    assert chromium.execute_script(wide) <= SIZES[size][0]
    ink, paper = chromium.execute_script(
        "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
    )
    assert (brightness(ink) > brightness(paper)) == (scheme == "dark")
    label = chromium.execute_script(
        "return getComputedStyle(document.querySelector('.role-axis-label text')).fill"
    )
    assert label == ink


def test_it_prints_dark_on_light_without_buttons(chromium: Any, address: str) -> None:
    show(chromium, address, "desktop", "dark")
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    assert brightness(chromium.execute_script(script, "body", "color")) == 0
    assert chromium.execute_script(script, ".saves button", "display") == "none"
    printed = chromium.execute_cdp_cmd("Page.printToPDF", {})
    keep(base64.b64decode(printed["data"]), "paper.pdf")
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def brightness(color: str) -> int:
    """Return the sum of the parts of a color such as rgb(20, 24, 28)."""
    return sum(int(part) for part in color.partition("(")[2].rstrip(")").split(",")[:3])
