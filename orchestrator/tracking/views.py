"""Saved views of a sweep's experiment: what MLflow's pages show of it when one opens them.

MLflow keeps a view as a tag of the experiment, in a form that is documented nowhere; so views are
written for versions of MLflow that they were tried with, and for no other.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.tracking.names import fit_name, image_key
from orchestrator.tracking.setting_means import COUNT, INTERVAL, Shown
from orchestrator.tracking.setting_pictures import MOST

KNOWN = ((3, 17), (3, 18))  # versions of MLflow with this form of views
TAG = "mlflow.sharedViewState."
LARGEST = 20_000  # characters of a view that MLflow's pages still read
SETTINGS, MATRICES, BEST = "spolia-settings", "spolia-matrices", "spolia-best"
MOST_METRICS, MOST_SERIES = 4, 12  # headline metrics, and series of pictures, in one view
_SECTION = "Model metrics"  # MLflow's name of the charts of metrics without a slash
OWN_METRICS = ("n", "planned", "diverged", "infeasible", "cost.seconds", "cost.process_mib")


def is_known(version: str) -> bool:
    """Whether views were tried with this version of MLflow."""
    parts = version.split(".")[:2]
    return all(one.isdigit() for one in parts) and tuple(map(int, parts)) in KNOWN


def views(shown: Shown, when: int) -> dict[str, str]:
    """The tags of an experiment that are its views; `when` is what they are dated by."""
    found = {SETTINGS: ("settings", _settings(shown))}
    if shown.headline:
        found[BEST] = ("best first", _best(shown))
    if shown.matrix:
        found[MATRICES] = ("matrices", _matrices(shown))
    tags = {}
    for identity, (name, state) in found.items():
        text = json.dumps(
            {"name": name, "createdAt": when, "updatedAt": when, "state": _packed(state)}
        )
        if len(text) <= LARGEST:
            tags[f"{TAG}{identity}"] = text
    return tags


def _packed(state: Mapping[str, Any]) -> str:
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()


def link(base: str, experiment: str, view: str = SETTINGS) -> str:
    """Where a view opens; on the face of MLflow that shows runs."""
    tail = "&compareRunsMode=CHART" if view == MATRICES else ""
    return (
        f"{base}/#/experiments/{experiment}/runs?viewStateShareKey={view}"
        f"&workflowType=machine_learning{tail}"
    )


def _state(shown: Shown, order: str, *, ascending: bool) -> dict[str, Any]:
    headline = list(shown.headline)[:MOST_METRICS]
    columns = [f"params.`{axis}`" for axis in shown.axes]
    for name in headline:
        columns += [f"metrics.`{one}`" for one in (name, name + INTERVAL)]
    return {
        # The sweep's own run, too: its page has the verdicts.
        "searchFilter": "tags.`spolia.role` != 'cell' AND tags.`spolia.role` != 'need'",
        "orderByKey": order,
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": [*columns, "metrics.`n`", "metrics.`diverged`"],
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
    }


def _settings(shown: Shown) -> dict[str, Any]:
    """All settings: means with intervals as columns, and as charts their bars and, where there are
    several axes, lines from axis to axis.
    """
    headline = list(shown.headline)[:MOST_METRICS]
    charts = [_bar(name) for name in headline]
    if len(shown.axes) > 1 and headline:
        charts.append(
            _chart("PARALLEL", selectedParams=list(shown.axes), selectedMetrics=headline[:1])
            | {"showAllRuns": True}
        )
    state = _state(shown, "attributes.start_time", ascending=True)
    return state | _charts([(_SECTION, [*charts, *_left_out(shown, headline)])])


def _best(shown: Shown) -> dict[str, Any]:
    """The settings by the first headline metric, the best one first."""
    name, is_higher_better = next(iter(shown.headline.items()))
    state = _state(shown, f"metrics.`{name}`", ascending=not is_higher_better)
    return state | _charts([(_SECTION, [_bar(name), *_left_out(shown, [name])])])


def _matrices(shown: Shown) -> dict[str, Any]:
    """The headline matrix: a card for each series, with a slider along the axis in question; and
    the means of settings, of which MLflow shows the first ten.
    """
    state = _state(shown, "attributes.start_time", ascending=True)
    series = [f"{shown.matrix}/{one}" if one else shown.matrix for one in shown.series]
    along = [_images(image_key(one)) for one in series[:MOST_SERIES]]
    sections = [(shown.matrix, along), ("means of settings", [_images(image_key(shown.matrix))])]
    return state | _charts([*sections, (_SECTION, list(_left_out(shown, [])))])


def _charts(sections: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> dict[str, Any]:
    """Charts in their sections, which MLflow leaves in this order."""
    made, charts = [], []
    for name, those in sections:
        identity = f"spolia-{name}"
        made.append({"uuid": identity, "name": name, "display": True, "isReordered": True})
        for place, chart in enumerate(those):
            charts.append({**chart, "uuid": f"{identity}-{place}", "metricSectionId": identity})
    return {
        "compareRunSections": made,
        "compareRunCharts": charts,
        "isAccordionReordered": True,
    }


def _chart(kind: str, **settings: Any) -> dict[str, Any]:
    return {"type": kind, "deleted": False, "isGenerated": False, **settings}


def _bar(metric: str) -> dict[str, Any]:
    return _chart("BAR", metricKey=fit_name(metric), displayName=metric)


def _images(key: str) -> dict[str, Any]:
    # One series a card: MLflow adds a card for each series that has none of its own.
    return _chart("IMAGE", imageKeys=[key], step=0, showRunParams=False)


def _left_out(shown: Shown, but_for: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Charts of all other metrics as if somebody had removed them: MLflow would add a chart for
    each.
    """
    names = [*shown.metrics, *OWN_METRICS]
    names += [name + end for name in shown.metrics for end in (INTERVAL, COUNT)]
    for name in names[:MOST]:
        if name not in but_for:
            yield {**_bar(name), "deleted": True}
