"""One sweep, read wherever its results are shown: every number is the same everywhere.

A place is a function in `PLACES` that reads means, half-widths and n by setting and metric, and
entries of mean matrices by setting, out of what is written there. What a place rounds it gives as
text; what it does not say it leaves out (None).
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from paged import Paged
from rich.console import Console

from orchestrator import Results, Sweep, make_plan, product
from orchestrator.analysis.page.model import page_model
from orchestrator.analysis.page.rendering import rendered
from orchestrator.cli.json_values import results_view
from orchestrator.cli.tables import as_csv_or_markdown, print_results
from orchestrator.tracking.manifest import manifest
from orchestrator.tracking.setting_means import COUNT, INTERVAL, SettingMeans
from orchestrator.tracking.setting_pictures import SettingPictures
from orchestrator.training.execute import execute

SPLITS = ("early", "middle", "late")


@dataclass
class Told:
    """What a place says: (mean, half, n) by split, helped and metric; entries of the matrix `fits`
    by split, helped, row and column.
    """

    means: dict[tuple[str, ...], tuple[object, object, object]] = field(default_factory=dict)
    entries: dict[tuple[str, ...], object] = field(default_factory=dict)


@dataclass
class Made:
    """Results of six settings with three seeds each, one of which is still open."""

    results: Results
    folder: Path

    def truth(self) -> Told:
        """By hand, from the records themselves."""
        told = Told()
        # Student's quantiles at 97.5 % with one and two degrees of freedom
        quantiles = {2: 12.706204736174694, 3: 4.302652729749462}
        by_setting: dict[tuple[str, str], list] = {}
        for cell in self.results.plan.cells:
            if (result := self.results.by_key.get(cell.trial.key)) is not None:
                method = cell.trial.method
                by_setting.setdefault((method.split, str(method.helped)), []).append(result)
        for setting, found in by_setting.items():
            n = len(found)
            for metric in ("score", "cost"):
                values = [one.metric(metric) for one in found]
                half = quantiles[n] * np.std(values, ddof=1) / np.sqrt(n)
                told.means[(*setting, metric)] = (np.mean(values), half, n)
            mean = np.mean([one.matrix("fits").values for one in found], axis=0)
            for (i, j), value in np.ndenumerate(mean):
                told.entries[(*setting, f"r{i}", f"r{j}")] = value
        return told


def parquet(made: Made) -> Told:
    """The tables have single values: n of them, whose mean is the one that is shown elsewhere."""
    told, values, entries = Told(), {}, {}
    for row in pq.read_table(made.folder / "metrics.parquet").to_pylist():
        place = (row["split"], str(row["helped"]), row["metric"])
        values.setdefault(place, []).append(row["value"])
    told.means = {place: (np.mean(found), None, len(found)) for place, found in values.items()}
    for row in pq.read_table(made.folder / "matrices.parquet").to_pylist():
        if row["matrix"] == "fits":
            place = (row["split"], str(row["helped"]), row["row"], row["column"])
            entries.setdefault(place, []).append(np.nan if row["value"] is None else row["value"])
    told.entries = {place: np.mean(found) for place, found in entries.items()}
    return told


def as_json(made: Made) -> Told:
    told = Told()
    for group in results_view(made.results)["groups"]:
        for metric, one in group["metrics"].items():
            place = (group["labels"]["split"], str(group["labels"]["helped"]), metric)
            told.means[place] = (one["mean"], one["half_width_95"], one["n"])
    return told


def as_csv(made: Made) -> Told:
    text = as_csv_or_markdown(made.results, "csv", columns=["score", "cost"])
    return _of_frame(csv.DictReader(io.StringIO(text)))


def as_markdown(made: Made) -> Told:
    """Three digits, as in the terminal."""
    text = as_csv_or_markdown(made.results, "markdown", columns=["score", "cost"])
    lines = [[one.strip() for one in line.strip("| ").split("|")] for line in text.splitlines()]
    told = Told()
    for line in lines[2:]:
        row = dict(zip(lines[0], line, strict=True))
        for metric in ("score", "cost"):
            mean, half = row[metric].split(" ±")
            told.means[row["split"], row["helped"], metric] = (mean, half, int(row[f"{metric}_n"]))
    return told


def _of_frame(rows) -> Told:
    told = Told()
    for row in rows:
        for metric in ("score", "cost"):
            numbers = (float(row[metric]), float(row[f"{metric}_half"]), int(row[f"{metric}_n"]))
            told.means[row["split"], row["helped"], metric] = numbers
    return told


def terminal(made: Made) -> Told:
    """Three digits of means, two of entries; the first settings' matrices."""
    console = Console(file=io.StringIO(), width=120, color_system=None)
    print_results(console, made.results, columns=["score", "cost"])
    told = Told()
    for line in console.file.getvalue().splitlines():
        words = line.split()
        numbers = re.findall(r"(-?\d+\.\d+) ±(\d+\.\d+)", line)
        if len(numbers) == 2 and words[0] in SPLITS:
            n = re.findall(r"(?<= )\d(?= |$)", line)[-1] if "open" not in line else "2"
            for metric, (mean, half) in zip(("score", "cost"), numbers, strict=True):
                told.means[words[0], words[1], metric] = (mean, half, int(n))
    return told


def page(made: Made) -> Told:
    """The first table of the HTML, whose means are there to the last bit for sorting, and what its
    script is given of the matrices.
    """
    model = page_model(made.results)
    html = rendered(model)
    told = Told()
    body = re.search(r"<tbody>(.*?)</tbody>", html, re.S)[1]
    for row in re.findall(r"<tr>(.*?)</tr>", body, re.S):
        cells = re.findall(r"<td(?:[^>]*?data-sort=\"([^\"]*)\")?[^>]*>(.*?)</td>", row, re.S)
        split, helped, score, cost, n, *_ = cells
        for metric, (mean, text) in (("score", score), ("cost", cost)):
            half = re.search(r"±(\d+\.\d+)", text)[1]
            told.means[split[1], helped[1], metric] = (float(mean), half, int(n[1]))
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    behind = json.loads(data[1])["matrices"]
    (fits, _kept) = model["matrices"]
    for step, of_step in enumerate(fits["steps"]):
        for place, matrix in enumerate(of_step["matrices"]):
            setting = (of_step["value"], matrix["heading"].removeprefix("helped="))
            for (i, j), value in np.ndenumerate(np.array(behind[f"0-{step}-{place}"]["values"])):
                entry = np.nan if value is None else value
                told.entries[(*setting, f"r{i}", f"r{j}")] = entry
    return told


def mlflow(made: Made) -> Told:
    """What MLflow is sent of the settings, and the tables of their matrices; that it has what it is
    sent, the tracker's own tests say.
    """
    plan, store = made.results.plan, made.results.store
    means = SettingMeans(manifest(plan, store, "sqlite:///none.db", None), store)
    for result in made.results.by_key.values():
        means.add(result.record)
    told, columns, pictures = Told(), means.columns(), SettingPictures(len(means.entries))
    for identity, entry in means.entries.items():
        setting = entry["params"]["split"], str(entry["params"]["helped"])
        group = means.group(identity)
        pictures.widen(group, ["fits"])
        files, _ = pictures.of(entry, group, ["fits"])
        for _, score, _, _, row, column in json.loads(files["fits.json"])["data"]:
            told.entries[(*setting, row, column)] = np.nan if score is None else score
        sent = means.state(identity, columns).metrics
        for metric in ("score", "cost"):
            told.means[(*setting, metric)] = (
                sent[metric],
                sent[metric + INTERVAL],
                int(sent[metric + COUNT]),
            )
    return told


PLACES = {
    "parquet": parquet,
    "json": as_json,
    "csv": as_csv,
    "markdown": as_markdown,
    "terminal": terminal,
    "page": page,
    "mlflow": mlflow,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    from orchestrator import Store

    folder = tmp_path_factory.mktemp("same")
    store = Store(folder / "store")
    store.prepare()
    cells = product(Paged.grid(split=list(SPLITS), helped=[False, True]), seed=range(3))
    sweep = Sweep(question="Is a < b?", cells=cells, expect=18)
    for trial in make_plan("asked", sweep, store).todo[:-1]:
        assert execute(trial, store).kind == "done"
    results = Results(make_plan("asked", sweep, store), store)
    results.write(folder / "tables")
    return Made(results, folder / "tables")


@pytest.mark.parametrize("place", PLACES)
def test_every_number_is_the_same_wherever_it_is_shown(made, place):
    truth, told = made.truth(), PLACES[place](made)
    assert told.means.keys() == truth.means.keys()
    for key, numbers in told.means.items():
        for number, true in zip(numbers, truth.means[key], strict=True):
            assert number is None or _is_same(number, true), (key, number, true)
    for key, number in told.entries.items():
        assert _is_same(number, truth.entries[key]), key


def _is_same(number: object, true: float) -> bool:
    """Whether a number is the true one, in the digits that a text has, else but for a few bits."""
    if isinstance(number, str):
        _, _, digits = number.partition(".")
        return bool(abs(float(number) - true) <= 0.5000001 * 10.0 ** -len(digits))
    return bool(np.isclose(number, true, rtol=1e-12, atol=0, equal_nan=True))
