"""Pictures of matrices: whole, and readable where a title or a label is long."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

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


@pytest.mark.parametrize("shape", [(32, 32), (256, 256), (700, 300), (5000, 1)])
def test_a_picture_is_at_most_300_kilobytes_however_large_the_matrix_is(shape):
    names = [[f"network {number} of many" for number in range(size)] for size in shape]
    noise = np.random.default_rng(0).random(shape)
    matrix = make_matrix(
        "kept", axes=("layer", "task"), rows=names[0], columns=names[1], values=noise
    )
    assert len(matrix_svg(matrix).encode()) <= 300_000


def test_places_of_an_image_are_means_of_the_entries_that_are_known():
    values = np.full((300, 300), 0.25)
    values[0, :2] = 0.5, np.nan
    values[298:] = 1.0  # the last two of 300 rows share a place
    names = [str(number) for number in range(300)]
    picture = drawn(names, names, values)
    assert "300 x 300 entries; none is grey; means of 2 x 2 each" in [
        text.text for text in picture.iter(f"{SVG}text")
    ]
    (image,) = picture.iter(f"{SVG}image")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.get("href")[22:]))))
    assert pixels.shape == (150, 150, 3)
    # A third, of viridis: the mean of 0.5, 0.25 and 0.25. Then 0.25, and 1 at the end.
    third = np.array([59, 82, 139]) + 2 / 3 * np.array([-15, 31, 3])
    assert pixels[0, 0].tolist() == np.rint(third).tolist()
    assert pixels[0, 1].tolist() == [59, 82, 139]
    assert pixels[-1, -1].tolist() == [253, 231, 37]


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
