"""Names and texts that MLflow takes, whatever a method or a user called things."""

from __future__ import annotations

import pytest

from orchestrator.tracking.names import LONGEST_NAME, fit_name, fit_text, image_key, model_name

ODD = [
    "score/a+b",
    "score/a*b",
    "../x",
    "a//b",
    "/a",
    "a/",
    "..",
    "",
    "a\nb",
    "loss (train), %",
    "ü\ud800",
    "x" * 300,
    "x/" * 200,
]


@pytest.mark.parametrize("name", ["accuracy/a", "train/loss", "split.pool", "größe", "a-b c:d_e"])
def test_a_name_that_fits_stays(name):
    assert fit_name(name) == name


def test_no_two_odd_names_become_one():
    assert len({fit_name(name) for name in [*ODD, "score/a_b", "x" * 250]}) == len(ODD) + 2


@pytest.mark.mlflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ODD)
def test_mlflow_takes_every_name(name):
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.utils.validation import _validate_metric, _validate_param, _validate_tag

    fit = fit_name(name)
    assert len(fit) <= LONGEST_NAME
    metric, param, tag = Metric(fit, 1.0, 0, 0), Param(fit, ""), RunTag(fit, "")
    _validate_metric(metric.key, metric.value, metric.timestamp, metric.step)
    assert _validate_param(param.key, param.value).key == fit
    assert _validate_tag(tag.key, tag.value).key == fit


def test_a_text_is_cut_and_has_nothing_that_no_database_stores():
    assert fit_text("a\0b\ud800c", 4) == "a?b?"
    assert fit_text(12.5, 10) == "12.5"


def test_a_picture_of_any_setting_has_the_name_of_a_file():
    from orchestrator.tracking.setting_pictures import image_files

    names = ["matrix/" + "width=8 · " * 40 + end for end in ("a", "b", "ü")]
    assert len({image_key(name) for name in names}) == 3
    for name in names:
        for path in image_files(name, 123_456, b"", b""):
            assert max(len(part.encode()) for part in path.split("/")) <= 255


def test_a_model_of_a_long_name_fits_into_every_database():
    assert len(model_name("x" * 250 + " · " + "network-" + "y" * 300)) == 500
    assert model_name("a/b: c") == "a_b_ c"
