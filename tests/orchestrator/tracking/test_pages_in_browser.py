"""MLflow's pages of a sweep in Chromium: what one sees there without a click."""

from __future__ import annotations

import json
import shutil
import threading
import time

import pytest
from paged import Paged

from orchestrator import Store, Sweep, make_plan, product
from orchestrator.tracking import pages, views
from orchestrator.tracking.manifest import manifest
from orchestrator.training.execute import execute

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.mlflow,
    pytest.mark.process,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning"),
]  # MLflow's own dependencies warn

SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1900,1000",
)
CLOSING = {"artifacts": [], "note": "", "counts": {}, "status": "FINISHED", "ended": None}


@pytest.fixture
def address(fresh_database, tmp_path):
    """MLflow's pages on a small sweep."""
    from orchestrator.tracking.process import report_on

    store = Store(tmp_path / "store")
    store.prepare()
    cells = product(
        Paged.grid(split=["early", "middle", "late"], helped=[False, True]), seed=range(3)
    )
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=18), store)
    for trial in plan.todo:
        execute(trial, store)
    database = fresh_database(tmp_path / "m.db")
    lines = [manifest(plan, store, database, (tmp_path / "art").as_uri())]
    lines += [{"finished": key} for key in plan.trials]
    told = [json.dumps(line) for line in [*lines, {"summary": CLOSING}]]
    assert report_on(told) == (18, "")
    with pages.serving(database, tmp_path / "log") as served:
        yield served


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(switch)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def until(found, seconds=120):
    """What a function finds, as soon as it finds anything."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not happen"
        threading.Event().wait(0.2)
    return value


def text_of(browser):
    return browser.find_element("css selector", "body").text


def test_the_link_opens_the_settings_with_their_means_and_intervals(address, browser):
    browser.get(pages.link(address, ["asked"]))
    text = until(lambda: "helped=True" in text_of(browser) and text_of(browser))
    names = {f"{split} · helped={h}" for split in ("early", "middle", "late") for h in (0, 1)}
    wanted = {name.replace("=0", "=False").replace("=1", "=True") for name in names}
    assert all(name in text for name in wanted)
    # Cells and trainings are below, not beside.
    assert "early · helped=True · 0" not in text
    assert {"score", "score.ci95"} <= set(text.splitlines())
    assert "7 matching runs" in " ".join(text.split())


def test_the_view_of_matrices_shows_pictures_with_a_slider(address, browser):
    link = pages.link(address, ["asked"]).replace(views.SETTINGS, views.MATRICES)
    browser.get(f"{link}&compareRunsMode=CHART")

    def loaded():
        drawn = browser.find_elements("css selector", "img[src*='images']")
        sizes = [one.get_property("naturalWidth") for one in drawn]
        return [size for size in sizes if size]

    until(loaded)
    assert "fits" in text_of(browser)
    assert until(lambda: browser.find_elements("css selector", "[role=slider]"))
