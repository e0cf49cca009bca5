"""Names of data sets, as sweeps write them and as people type them."""

from __future__ import annotations

import pytest

from orchestrator import DataError, digits, image_folder, parquet, pasted, torchvision_set
from orchestrator.spec.datasets import as_written

TASKS = [
    digits,
    torchvision_set("MNIST"),
    image_folder("pets", size=64, test=0.25, reduced=True),
    image_folder("pets", size=224, scaled=256),
    parquet("birds", crop="bbox:xyxy", where={"kind": "a b"}),
    parquet("birds", size=64, scaled="whole"),
    parquet("s3://bucket/birds", crop=("a", "b", "c", "d"), mask="mask", label="what"),
    pasted(parquet("birds", size=8), seed=3),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.data)
def test_a_name_of_a_sweep_stays_as_it_is(task):
    assert as_written(task.data) == task.data


@pytest.mark.parametrize(
    ("typed", "task"),
    [
        ("folder/pets?test=.25&size=064", image_folder("pets", size=64, test=0.25)),
        ("folder/pets?size=64&scaled=080", image_folder("pets", size=64, scaled=80)),
        ("parquet/birds?crop=bbox:xyxy", parquet("birds", crop="bbox:xyxy")),
        ("parquet/birds?crop=a,b,c,d", parquet("birds", crop=("a", "b", "c", "d"))),
        ("parquet/birds?where.kind=a b", parquet("birds", where={"kind": "a b"})),
    ],
)
def test_a_typed_name_is_the_one_that_a_sweep_has(typed, task):
    assert as_written(typed) == task.data


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("folder/pets?sise=64", "no option 'sise'. Did you mean 'size'?"),
        ("folder/pets?crop=bbox", "no option 'crop'"),
        ("parquet/birds?were.kind=a", "no option 'were.kind'"),
        ("torchvision/MNIST?size=64", "no option 'size'"),
        ("pasted/folder/pets?sise=64", "no option 'sise'"),
        ("folder/pets?size=big", "invalid literal"),
    ],
)
def test_an_option_that_nothing_reads_is_refused(typed, words):
    with pytest.raises(DataError) as caught:
        as_written(typed)
    assert words in str(caught.value)
