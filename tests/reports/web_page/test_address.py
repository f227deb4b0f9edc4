"""The page's address has what is picked, and a page opened by an address shows that."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.reports.web_page.browser import pick, show, texts, wait

pytestmark = pytest.mark.heavy


def words(driver: Any) -> list[tuple[str, str]]:
    """Return what the address sets, in its order."""
    return parse_qsl(urlsplit(driver.current_url).fragment)


def filters(driver: Any) -> dict[str, str]:
    """Return the filters' values."""
    return dict(
        driver.execute_script(
            "return Object.fromEntries([...document.querySelectorAll('#filters select')]"
            ".map((it) => [it.name, it.value]))"
        )
    )


def test_what_the_page_opens_with_needs_no_words(page: Any) -> None:
    assert words(page) == []
    pick(page, "mode", "backward")
    pick(page, "mode", "forward")
    assert page.current_url.endswith("index.html")


def test_a_link_to_mode_and_dtype_opens_that_view(page: Any, address: str) -> None:
    show(page, f"{address}#mode=backward&dtype=bfloat16", "desktop", "light")
    assert all("--modes backward --dtypes bfloat16" in it for it in texts(page, "td code"))
    assert texts(page, "#notice") == [""]


def test_an_address_opens_all_that_was_picked_again(page: Any) -> None:
    pick(page, "setup", "Invented CPU, 2 cores")
    pick(page, "mode", "backward")
    pick(page, "dtype", "bfloat16")
    page.find_element("css selector", "input[name=time-chart][value=ratio]").click()
    wait(page)
    page.find_element("css selector", "#legend input[name=flex]").click()
    wait(page)
    before = filters(page)
    assert [name for name, _ in words(page)] == ["device", "mode", "dtype", "chart", "hide"]
    show(page, page.current_url, "desktop", "dark")
    assert filters(page) == before
    assert page.find_element("css selector", "#chart-time h2").text.startswith("Time over")
    assert not page.find_element("css selector", "#legend input[name=flex]").is_selected()


def test_the_length_is_in_the_address(page: Any) -> None:
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("css selector", "select[name=length]")).select_by_value("512")
    wait(page)
    assert words(page) == [("keys", "512")]
    show(page, page.current_url, "desktop", "light")
    chosen = Select(page.find_element("css selector", "select[name=length]"))
    assert chosen.first_selected_option.text == "512"


def test_an_address_of_what_the_results_lack_is_told_and_opens_as_without(
    page: Any, address: str
) -> None:
    before = filters(page)
    show(page, f"{address}#mode=decode&keys=<b>&hide=nobody", "desktop", "light")
    assert filters(page) == before
    assert texts(page, "#notice") == [
        "These results have no decode, which the address names. This is what the page opens with."
    ]
    pick(page, "mode", "backward")
    assert texts(page, "#notice") == [""]


def test_going_to_another_address_of_the_page_draws_it(page: Any) -> None:
    page.execute_script("location.hash = 'mode=backward'")
    wait_for(page, "mode", "backward")
    page.back()
    wait_for(page, "mode", "forward")


def wait_for(driver: Any, name: str, value: str) -> None:
    """Wait until a filter has a value."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 20).until(lambda it: filters(it)[name] == value)
    wait(driver)


def test_a_place_in_the_page_is_no_view(page: Any) -> None:
    pick(page, "mode", "backward")
    page.execute_script("location.hash = 'answers'")
    assert filters(page)["mode"] == "backward"
