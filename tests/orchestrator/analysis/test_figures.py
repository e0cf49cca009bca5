"""Pictures of matrices: whole, and readable where a title or a label is long."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from orchestrator.analysis.figures import heat_map, matrix_svg
from orchestrator.parts.matrix import make_matrix

SVG = "{http://www.w3.org/2000/svg}"


def drawn(rows, columns, values):
    axes = ("extractor", "head")
    matrix = make_matrix(
        "accuracy_by_extractor", axes=axes, rows=rows, columns=columns, values=values
    )
    return ElementTree.fromstring(matrix_svg(matrix))


def test_every_entry_is_a_coloured_square_with_its_value():
    picture = drawn(["a", "b"], ["a", "b"], [[1.0, 0.25], [np.nan, 0.0]])
    assert [t.text for t in picture.iter(f"{SVG}text")] == [
        "accuracy_by_extractor: extractor down, head across",
        "a",
        "b",
        "a",
        "1.00",
        "0.25",
        "b",
        "–",
        "0.00",
    ]
    fills = [r.get("fill") for r in picture.iter(f"{SVG}rect")][1:]
    assert fills == ["#fde725", "#3b528b", "#eee", "#440154"]


def test_the_picture_is_wide_enough_for_its_title_and_safe_for_any_name():
    picture = drawn(["<a & b>"], ["x" * 30], [[0.5]])
    assert float(picture.get("width")) >= 8 * len(
        "accuracy_by_extractor: extractor down, head across"
    )
    assert "<a & b>" in [t.text for t in picture.iter(f"{SVG}text")]


def panels(count, rows, columns, value):
    matrix = make_matrix(
        "kept",
        axes=("layer", "task"),
        rows=[f"row{i}" for i in range(rows)],
        columns=[f"column{i}" for i in range(columns)],
        values=np.full((rows, columns), value),
    )
    return [(f"panel {i}", matrix, None) for i in range(count)]


def size(png):
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_a_tall_matrix_makes_a_tall_picture_not_a_wide_one():
    (wide, low), (narrow, high) = (
        size(heat_map(panels(1, 2, 12, 0.5))),
        size(heat_map(panels(1, 12, 2, 0.5))),
    )
    assert wide > low
    assert narrow < high


def test_values_beyond_one_have_a_scale_of_their_own():
    assert heat_map(panels(1, 2, 2, 0.5)) != heat_map(panels(1, 2, 2, 5e6))


def test_a_dollar_in_a_label_is_no_formula():
    """`$` twice begins and ends one for matplotlib, which refuses what it cannot read."""
    names = ["cost $\\nothing$", "$x^$"]
    matrix = make_matrix("m", axes=names, rows=names, columns=names, values=np.eye(2))
    assert heat_map([(names[0], matrix, None)], title=names[1]).startswith(b"\x89PNG")
