"""Pictures of MLflow's pages for `docs/comparing-in-mlflow.md`, taken in headless Chromium.

    python docs/mlflow_pages.py HOME SWEEP OTHER

HOME is the home of two sweeps that were run and tracked: SWEEP is on most pictures, and the last
one shows it beside OTHER. Needs chromium and chromedriver; a minute or two.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By

from orchestrator.tracking import pages, views

OUT = Path(__file__).resolve().parent
LIMIT = 120.0  # seconds until a page has to be there
SETTLED = 8.0  # seconds in which charts and pictures are drawn
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
SIZE = "--window-size=1360,900"
CHART, TABLES = "&compareRunsMode=CHART", "&compareRunsMode=ARTIFACT"
# MLflow opens its assistant the first time; its own button closes it.
CLOSE_ASSISTANT = """
const titles = [...document.querySelectorAll('*')].filter(
    one => one.children.length == 0 && one.textContent.trim() == 'MLflow Assistant');
for (let part of titles)
    for (let level = 0; level < 6 && part; level++) {
        part = part.parentElement;
        const closing = part ? [...part.querySelectorAll('button')].filter(
            one => /close/i.test(one.outerHTML)) : [];
        if (closing.length) { closing[closing.length - 1].click(); return true; }
    }
return false;
"""


class Pages:
    """MLflow's pages in a browser."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def until(self, is_there: Callable[[], Any]) -> None:
        """Wait for what a page is known by."""
        end = time.monotonic() + LIMIT
        while not is_there():
            if time.monotonic() > end:
                raise SystemExit(f"not there; the page says:\n{self.text[:2000]}")
            time.sleep(0.3)

    @property
    def text(self) -> str:
        return str(self.browser.find_element(By.CSS_SELECTOR, "body").text)

    def open(self, link: str, words: str) -> None:
        """Open a page, until it has some words and is drawn."""
        self.browser.get("about:blank")  # else a page that differs behind the # only is kept
        self.browser.get(link)
        self.until(lambda: words in self.text)
        time.sleep(SETTLED)
        self.browser.execute_script(CLOSE_ASSISTANT)
        time.sleep(1.0)

    def click(self, words: str, then: str) -> None:
        """Click the last thing that bears these words, until there are others."""
        self.browser.find_elements(By.XPATH, f"//*[text()='{words}']")[-1].click()
        self.until(lambda: then in self.text)
        time.sleep(1.0)

    def take(self, name: str) -> None:
        self.browser.save_screenshot(str(OUT / f"mlflow-{name}.png"))
        print(name)


def take_all(shown: Pages, address: str, tracking: str, sweep: str, other: str) -> None:
    settings = pages.link(address, [sweep], tracking)
    shown.open(settings, "matching runs")
    shown.take("settings")
    shown.open(settings.replace(views.SETTINGS, views.BEST), "matching runs")
    shown.take("best")
    shown.open(settings + CHART, "Model metrics")
    shown.take("charts")
    shown.open(settings.replace(views.SETTINGS, views.MATRICES) + CHART, "matching runs")
    shown.until(lambda: shown.browser.find_elements(By.CSS_SELECTOR, "img[src*='images']"))
    time.sleep(SETTLED)
    shown.take("matrices")
    shown.open(settings + TABLES, "Compare:")
    shown.take("tables")
    shown.open(settings, "matching runs")
    shown.click(sweep, "Show more")
    shown.click("Show more", "Show less")
    shown.take("sweep")
    shown.open(pages.link(address, [sweep, other], tracking), "Model metrics")
    shown.take("sweeps")


def main() -> int:
    home, sweep, other = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
    tracking = f"sqlite:///{home / 'mlflow.db'}"
    with (
        tempfile.TemporaryDirectory() as folder,
        pages.serving(tracking, Path(folder) / "log") as at,
    ):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for switch in (*SWITCHES, SIZE, f"--user-data-dir={folder}/profile"):
            options.add_argument(switch)
        driver = webdriver.ChromeService(shutil.which("chromedriver") or "")
        browser = webdriver.Chrome(options=options, service=driver)
        try:
            take_all(Pages(browser), at, tracking, sweep, other)
        finally:
            browser.quit()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
