"""When the page of a large sweep can be used: 300 cells with a matrix and a curve each.

The page is opened in headless Chromium, as a file. It can be used when its tables have their
buttons, its first plot is drawn, and a click on a heading has sorted 100 settings. Bars: 2 seconds
after the file was asked for, 3 MB.

    python benchmarks/page.py --cells 300
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

USABLE, SIZE = 2.0, 3e6  # seconds, bytes
SEEDS, OPENED = 3, 5
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")

# Seconds since the file was asked for, once all is there; else nothing.
USED = """
const head = document.querySelector("#results thead th button");
const drawn = document.querySelector("#answer .drawing svg, #answer .drawing canvas");
if (!head || !drawn) return null;
head.click();
return document.querySelector("th[aria-sort]") ? performance.now() / 1000 : null;
"""


def made(cells: int, folder: Path) -> Path:
    """The page of so many cells, whose trials do nothing."""
    from nothing import Nothing

    from orchestrator import Results, Store, Sweep, make_plan, product
    from orchestrator.analysis.report import write
    from orchestrator.training.execute import execute

    store = Store(folder / "store")
    store.prepare()
    settings = cells // SEEDS
    across = [0.1 * number for number in range(1, 6)]
    down = [0.1 * number for number in range(1, settings // len(across) + 1)]
    grid = product(Nothing.grid(s01=down, s02=across), seed=range(SEEDS))
    sweep = Sweep(question="How soon can it be used?", cells=grid, expect=len(grid))
    for trial in make_plan("page", sweep, store).todo:
        execute(trial, store)
    write(Results(make_plan("page", sweep, store), store), folder / "report.html")
    return folder / "report.html"


def seconds_until_used(page: Path, folder: Path) -> float:
    """Of one browser that has never seen the page."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for switch in (*SWITCHES, f"--user-data-dir={folder}"):
        options.add_argument(switch)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver: Any = webdriver.Chrome(options=options, service=service)
    try:
        driver.get("about:blank")  # the browser's own start is none of the page's
        driver.get(page.as_uri())
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            used = driver.execute_script(USED)
            if used is not None:
                return float(used)
            time.sleep(0.01)
        raise SystemExit("the page never became usable")
    finally:
        driver.quit()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, default=300)
    options = parser.parse_args()
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        raise SystemExit("it needs chromium and chromedriver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        page = made(options.cells, Path(name))
        size = page.stat().st_size
        times = [seconds_until_used(page, Path(name) / f"profile{i}") for i in range(OPENED)]
    print(f"{options.cells} cells, {size / 1e6:.2f} MB, {os.cpu_count()} cores")
    print(f"usable after {statistics.median(times):.2f} s (median of {OPENED}; ", end="")
    print(f"{min(times):.2f} to {max(times):.2f})")
    sys.exit(statistics.median(times) > USABLE or size > SIZE)


if __name__ == "__main__":
    main()
