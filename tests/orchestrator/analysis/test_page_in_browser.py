"""The page of a sweep in Chromium: what one can do with it, and that nothing complains."""

from __future__ import annotations

import shutil
import time

import pytest
from paged import Paged

from orchestrator import Results, Store, Sweep, claims, make_plan, product
from orchestrator.analysis.report import write
from orchestrator.training.execute import execute

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver"),
]

SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a small sweep, with the real Vega in it."""
    folder = tmp_path_factory.mktemp("page")
    store = Store(folder / "store")
    store.prepare()
    cells = product(
        Paged.grid(split=["early", "middle", "late"], helped=[False, True]), seed=range(3)
    )
    asked = [claims.Spread(metric="score", axis="split", above=0.1)]
    sweep = Sweep(question="Does it fall?", cells=cells, expect=18, claims=asked)
    for trial in make_plan("asked", sweep, store).todo:
        execute(trial, store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOLIA_CACHE", str(folder / "cache"))
        write(Results(make_plan("asked", sweep, store), store), folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def browser(page, tmp_path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(page.as_uri())
        yield driver
        # Errors of scripts, of the network, and what Vega-Lite has to say of plots.
        assert driver.get_log("browser") == []
    finally:
        driver.quit()


def until(found, seconds=60):
    """What a function finds, as soon as it finds anything."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return value


def column(browser, number):
    """The texts of a column of the first table, of the rows that are shown."""
    rows = browser.find_elements("css selector", "#results table.sortable tbody tr")[:6]
    shown = [row for row in rows if row.is_displayed()]
    texts = [row.find_elements("css selector", "td")[number].text for row in shown]
    return [text.removeprefix("★ ") for text in texts]


def test_a_table_is_sorted_and_filtered(browser):
    heads = browser.find_elements("css selector", "#results thead th button")
    assert [head.text for head in heads[:3]] == ["split", "helped", "score"]
    as_written = column(browser, 2)
    heads[2].click()
    descending = column(browser, 2)
    assert descending == sorted(as_written, reverse=True) != as_written
    assert browser.find_element("css selector", "th[aria-sort]").text == "score"
    heads[2].click()
    assert column(browser, 2) == descending[::-1]
    field = browser.find_element("css selector", "#results input[type=search]")
    field.send_keys("helped=true late")
    assert (column(browser, 0), column(browser, 1)) == (["late"], ["True"])
    assert browser.find_element("css selector", "#results .count").text == "1 of 6"


def test_other_metrics_are_shown_when_they_are_asked_for(browser):
    cost = browser.find_elements("css selector", "#results thead th.extra")[0]
    assert not cost.is_displayed()
    browser.find_element("css selector", "#results .all").click()
    assert cost.text == "cost"


def test_a_slider_goes_through_the_splits(browser):
    def shown():
        steps = browser.find_elements("css selector", "#matrices .family .step")
        return [step.get_attribute("data-value") for step in steps if step.is_displayed()]

    assert shown() == ["early"]
    slider = browser.find_element("css selector", "#matrices input[type=range]")
    slider.send_keys("\ue014\ue014")  # right arrow, twice
    assert shown() == ["late"]
    assert browser.find_element("css selector", "#matrices output").text == "late"


def test_an_entry_says_what_it_rests_on_to_pointer_and_keyboard(browser):
    from selenium.webdriver import ActionChains

    table = browser.find_element("css selector", "#matrices table.matrix")
    hint = browser.find_element("id", "hint")
    first, without_value, *_ = table.find_elements("css selector", "tbody td")
    ActionChains(browser).scroll_to_element(table).perform()
    ActionChains(browser).move_to_element(first).perform()
    text = until(lambda: hint.text)
    assert text.splitlines() == [
        "r0 × r0",
        "0.911 ±0.027",
        "n = 3 · 150 images in all · chance 0.1",
    ]
    ActionChains(browser).move_to_element(without_value).perform()
    assert until(lambda: "no value" in hint.text and hint.text).splitlines()[-1] == (
        "they are <i>not</i> of one size"
    )
    browser.execute_script("arguments[0].focus()", table)
    ActionChains(browser).send_keys("\ue015").perform()  # down
    assert until(lambda: hint.text.startswith("r1 ×"))
    ActionChains(browser).send_keys("\ue00c").perform()  # escape
    assert not hint.is_displayed()


def test_the_answer_is_drawn_and_its_lines_are_chosen_by_name(browser):
    drawing = "#answer .plot:not([hidden]) .drawing svg"
    until(lambda: browser.find_elements("css selector", drawing))
    texts = browser.find_element("css selector", drawing).text
    assert "best" in texts
    assert "chance 0.1" in texts
    name = browser.find_elements("css selector", "#answer .plot:not([hidden]) .legend button")[0]
    name.click()
    assert name.get_attribute("aria-pressed") == "true"
    # The other line is faint then.
    faint = f"{drawing} path[opacity='0.1']"
    assert until(lambda: browser.find_elements("css selector", faint))


def test_a_claim_unfolds_into_its_values(browser):
    rows = "#claims .verdict tbody tr"
    assert not browser.find_elements("css selector", rows)[0].is_displayed()
    browser.find_element("css selector", "#claims summary").click()
    found = browser.find_elements("css selector", rows)
    assert [row.text.split()[0] for row in found] == ["0", "1", "2"]


def test_nothing_sticks_out_of_a_narrow_window(browser):
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.refresh()
    drawing = "#answer .plot:not([hidden]) .drawing svg"
    until(lambda: browser.find_elements("css selector", drawing))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400


def test_a_long_label_does_not_lie_over_a_dense_matrix(browser):
    """The style of large matrices, on a small one whose labels are made long."""
    sticks_out = browser.execute_script(
        """
        const table = document.querySelector("table.matrix");
        table.classList.add("dense");
        const label = table.querySelector("tbody th");
        label.textContent = "ingredients=common+identical+rotation/seed0/a";
        return label.scrollWidth - label.clientWidth;
        """
    )
    assert sticks_out <= 0
