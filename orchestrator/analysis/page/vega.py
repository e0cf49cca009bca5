"""Plots as Vega-Lite specifications, and the JavaScript that draws them.

A specification is a plain dict. Whoever opens a page chooses the lines that are shown: names and
colours stand in HTML beside the plot, and are handed to it as the parameter `chosen`.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from orchestrator.store.files import appears_whole, cache_folder

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

# Ten colours that can be told apart on white and on black, then the same ones dashed.
COLOURS = (
    "#4c8fd0",
    "#f28e2b",
    "#3fa34d",
    "#e15759",
    "#a97bd1",
    "#b07a53",
    "#e377c2",
    "#8c9299",
    "#b5a418",
    "#2bb5c4",
)
DASHES = ((1, 0), (6, 3), (2, 2))
FAR_APART = 50  # from the lowest to the highest of positive numbers: then their axis is logarithmic

# Where rows have the half-width of an interval (h), the fields that layers want are made of it.
FROM_HALVES = [
    {"calculate": "datum.y - datum.h", "as": "lo"},
    {"calculate": "datum.y + datum.h", "as": "hi"},
    {
        "calculate": "format(datum.y, '.4~g') + (datum.h ? ' ±' + format(datum.h, '.2~g') : '')",
        "as": "t",
    },
]


def colour_of(number: int) -> str:
    """The colour of a line by its number."""
    return COLOURS[number % len(COLOURS)]


def dash_of(number: int) -> tuple[int, int]:
    """How a line of this number is dashed: as none of the same colour is."""
    return DASHES[number // len(COLOURS) % len(DASHES)]


def spec_of(
    names: Sequence[str],
    x: Spec,
    y_title: str,
    data: Mapping[str, Rows],
    *,
    is_joined: bool = True,
) -> Spec:
    """A plot of lines with bands.

    `x` is how the horizontal axis is encoded. `data` are rows by what they show: `means` (x, l the
    name of the line, d its dash, y, lo, hi, n, t the mean in words, best; or y and h alone),
    `seeds` (x, l, y, s), `levels` (l, y, lo, hi, n, t: hold everywhere) and `chance` (y, t).
    Without `is_joined`, settings stand beside each other, and no line goes from one to the next.
    """
    present = {name: list(rows) for name, rows in data.items() if rows}
    colours = [colour_of(number) for number in range(len(names))]
    y = {"type": "quantitative", "field": "y", "title": y_title}
    return {
        "width": "container",
        "height": 340,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "params": [{"name": "chosen", "value": []}],
        "datasets": present,
        "encoding": {
            "y": {**y, "scale": {"zero": False, "nice": True}},
            "color": _by_line(names, colours),
        },
        "layer": _layers(x, present, is_joined),
    }


def _layers(x: Spec, present: Mapping[str, Rows], is_joined: bool) -> list[Spec]:
    """What is drawn of the rows that there are, from the back to the front."""
    layers: list[Spec] = []
    if "levels" in present:
        layers += _levels()
    if "means" in present:
        layers += _means(x, is_joined, "n" in present["means"][0])
    if "seeds" in present:
        layers.append(_seeds(x, is_joined))
    if "chance" in present:
        layers += _chance()
    if any(row.get("best") for row in present.get("means", ())):
        layers += _best(x, is_joined)
    if any("h" in row for row in present.get("means", ())):
        for layer in layers:
            layer["transform"] = FROM_HALVES
    return layers


def along(values: Sequence[float]) -> Spec:
    """How an axis of numbers is encoded; logarithmic where they are far apart."""
    distinct = {value for value in values if math.isfinite(value)}
    is_wide = len(distinct) > 2 and min(distinct) > 0
    scale: Spec = {"zero": False, "nice": False, "padding": 12}
    if is_wide and max(distinct) / min(distinct) >= FAR_APART:
        scale["type"] = "log"
    axis = {"grid": False, "tickCount": 8}
    return {"field": "x", "type": "quantitative", "scale": scale, "axis": axis}


def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one module, which leaves `vegaEmbed` on the window."""
    # Made by a JavaScript engine in four seconds, and always the same: kept for the next page.
    path = cache_folder() / f"vega-{version('vl-convert-python')}.js"
    if path.is_file():
        return path.read_text()
    import vl_convert

    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    # A script ends at the first `</script`, wherever in it that stands.
    text = re.sub("</(?=script)", r"<\\/", bundle, flags=re.IGNORECASE)
    with contextlib.suppress(OSError):  # without a cache, the next page makes it anew
        path.parent.mkdir(parents=True, exist_ok=True)
        with appears_whole(path) as temporary:
            temporary.write_text(text)
    return text


def _by_line(names: Sequence[str], values: Sequence[Any]) -> Spec:
    scale = {"domain": list(names), "range": list(values)}
    # No legend: the page has one in HTML, which wraps, is selected and is reached by a keyboard.
    return {"field": "l", "type": "nominal", "scale": scale, "legend": None}


def _shown(strong: float, weak: float) -> Spec:
    """Opacity of what belongs to a line that is chosen, or of all where none is."""
    test = "!length(chosen) || indexof(chosen, datum.l) >= 0"
    return {"condition": {"test": test, "value": strong}, "value": weak}


TOLD = (("l", "setting"), ("t", "mean"))


def _tooltip(x: Spec | None, fields: Sequence[tuple[str, str]]) -> list[Spec]:
    first = [{"field": "x", "type": x["type"], "title": x.get("title", "x")}] if x else []
    return [*first, *({"field": f, "type": "nominal", "title": title} for f, title in fields)]


def _placed(x: Spec, is_joined: bool) -> Spec:
    return {"x": x} if is_joined else {"x": x, "xOffset": {"field": "l", "type": "nominal"}}


def _means(x: Spec, is_joined: bool, has_n: bool) -> list[Spec]:
    placed, data = _placed(x, is_joined), {"name": "means"}
    interval = {"y": {"field": "lo", "type": "quantitative"}, "y2": {"field": "hi"}}
    told = _tooltip(x, (*TOLD, *((("n", "n"),) if has_n else ())))
    points: Spec = {
        "data": data,
        "mark": {"type": "point", "filled": True, "size": 46 if has_n else 20},
        "encoding": {**placed, "opacity": _shown(1, 0.1), "tooltip": told},
    }
    if not is_joined:
        bars = {
            "data": data,
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {**placed, **interval, "opacity": _shown(0.9, 0.1)},
        }
        return [bars, points]
    band = {
        "data": data,
        "mark": {"type": "area"},
        "encoding": {**placed, **interval, "opacity": _shown(0.15 if has_n else 0.1, 0.01)},
    }
    line = {
        "data": data,
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {**placed, "opacity": _shown(1, 0.1), "strokeDash": _dashes()},
    }
    return [band, line, points]


def _dashes() -> Spec:
    """How each line is dashed; the name of a dash is in the rows, as few there are."""
    scale = {"domain": list(range(len(DASHES))), "range": [list(dash) for dash in DASHES]}
    return {"field": "d", "type": "nominal", "scale": scale, "legend": None}


def _seeds(x: Spec, is_joined: bool) -> Spec:
    told = _tooltip(x, (("l", "setting"), ("s", "seed"), ("y", "value")))
    return {
        "data": {"name": "seeds"},
        "mark": {"type": "circle", "size": 22},
        "encoding": {**_placed(x, is_joined), "opacity": _shown(0.45, 0.04), "tooltip": told},
    }


def _levels() -> list[Spec]:
    """Lines across the whole plot, of cells that do not have its axis."""
    data, told = {"name": "levels"}, _tooltip(None, TOLD)
    interval = {"y": {"field": "lo", "type": "quantitative"}, "y2": {"field": "hi"}}
    band = {
        "data": data,
        "mark": {"type": "rect"},
        "encoding": {**interval, "opacity": _shown(0.12, 0.02)},
    }
    rule = {
        "data": data,
        "mark": {"type": "rule", "strokeDash": [7, 4], "strokeWidth": 1.5},
        "encoding": {"opacity": _shown(1, 0.1), "tooltip": told},
    }
    return [band, rule]


def _chance() -> list[Spec]:
    """A dotted line where guessing is, with its name at the right."""
    data, grey = {"name": "chance"}, {"color": {"value": "gray"}}
    rule = {"data": data, "mark": {"type": "rule", "strokeDash": [2, 3]}, "encoding": grey}
    mark = {"type": "text", "align": "right", "dy": -6, "baseline": "bottom"}
    told = {"text": {"field": "t"}, "x": {"value": "width"}, **grey}
    return [rule, {"data": data, "mark": mark, "encoding": told}]


def _best(x: Spec, is_joined: bool) -> list[Spec]:
    placed = {**_placed(x, is_joined), "opacity": _shown(1, 0.1)}
    shared = {"data": {"name": "means"}, "transform": [{"filter": "datum.best"}]}
    ring = {"type": "point", "filled": False, "size": 190, "strokeWidth": 2}
    words = {"type": "text", "dy": -17, "fontWeight": "bold", "text": "best"}
    return [{**shared, "mark": mark, "encoding": placed} for mark in (ring, words)]
