"""Chromium, and what tests of a page do with it: open, pick, read, and keep pictures.

Needs Debian's chromium and chromium-driver, and the extras `report` and `browser`. Screenshots go
into the folder that the variable ALIBI_BENCH_ARTEFACTS names, if it is set.
"""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.web_page.page_data import page_data
from suite.quality.results import LengthsResults
from suite.records.store import Results

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
DRIVER = "/usr/bin/chromedriver"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def start() -> Any:
    """Start Chromium without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(60)
    return driver


def write_index(
    files: Sequence[Results], folder: Path, of_lengths: Sequence[LengthsResults] = ()
) -> str:
    """Write the page of results files, and return its address on disk."""
    from reports.web_page.index_page import index_page

    file = folder / "index.html"
    file.write_text(index_page(page_data(files, of_lengths)))
    return file.as_uri()


def severe_errors(driver: Any) -> list[Any]:
    """Return the errors that the console had since it was last read."""
    return [line for line in driver.get_log("browser") if line["level"] == "SEVERE"]


def show(driver: Any, address: str, size: str, scheme: str) -> None:
    """Open the page on a screen of a size, light or dark, and wait until its charts are drawn."""
    width, height = SIZES[size]
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get("about:blank")  # else an address that differs after its # alone loads nothing
    driver.get(address)
    wait(driver)


def wait(driver: Any) -> None:
    """Wait until all charts are drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    drawn = "return document.body.dataset.drawn === 'yes'"
    WebDriverWait(driver, 60).until(lambda it: it.execute_script(drawn))


def pick(driver: Any, name: str, value: str) -> None:
    """Choose a value of a filter by its text."""
    from selenium.webdriver.support.ui import Select

    Select(driver.find_element("css selector", f"#filters select[name={name}]")).select_by_value(
        value
    )
    wait(driver)


def texts(driver: Any, selector: str) -> list[str]:
    """Return the text of each element, also of one that is folded away."""
    script = "return [...document.querySelectorAll(arguments[0])].map((it) => it.textContent)"
    return list(driver.execute_script(script, selector))


def marks(driver: Any, section: str) -> int:
    """Return how many points a section's charts have, without those that have no ink."""
    selector = f"#chart-{section} .mark-symbol path"
    return sum(
        opacity != "0"
        for opacity in driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((it) => "
            "it.getAttribute('opacity') || it.getAttribute('fill-opacity') || '1')",
            selector,
        )
    )


def overlaps(driver: Any, selector: str) -> list[list[str]]:
    """Return the pairs of texts that lie over each other by more than a pixel."""
    script = """
        const boxes = [...document.querySelectorAll(arguments[0])].map((it) =>
          [it.textContent, it.getBoundingClientRect()]);
        return boxes.flatMap(([first, a], place) => boxes.slice(place + 1).filter(([, b]) =>
          Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
          Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1).map(([second]) =>
          [first, second]));"""
    return list(driver.execute_script(script, selector))


def keep_screenshot(driver: Any, name: str) -> None:
    """Keep a picture of the whole page."""
    height = driver.execute_script("return document.documentElement.scrollHeight")
    width = driver.execute_script("return document.documentElement.clientWidth")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, 8000), "scale": 1}
    taken = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    keep(base64.b64decode(taken["data"]), name)


def keep(content: bytes, name: str) -> None:
    """Write an artefact, if there is a folder for them."""
    folder = os.environ.get("ALIBI_BENCH_ARTEFACTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"page-{name}").write_bytes(content)
