"""Data sets from files: Parquet, folders, torchvision; decoded once a node, shared by its workers;
and what tasks make of them.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from orchestrator import (
    DataError,
    InputError,
    digits,
    image_folder,
    noise,
    normal,
    parquet,
    randint,
)
from orchestrator.data import batches, sources
from orchestrator.data.changes import changed
from orchestrator.data.resolve import resolve_task
from orchestrator.data.verification import verify

CPU = torch.device("cpu")


def png(number, *, size=(6, 5), mode="RGB"):
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.RandomState(number).randint(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels


def write_part(folder, part, images, labels, *, names=("cat", "dog"), **more):
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "image": pa.array(
                [{"bytes": i, "path": None} for i in images],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            "label": labels,
            **more,
        }
    )
    about = {
        "info": {
            "features": {
                "image": {"_type": "Image"},
                "label": {"names": list(names), "_type": "ClassLabel"},
            }
        }
    }
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(about)}),
        folder / f"{part}-00000-of-00001.parquet",
    )


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    write_part(
        tmp_path / "data" / "pets",
        "train",
        [png(i)[0] for i in range(8)],
        [0, 1] * 4,
        domain=["photo", "sketch"] * 4,
    )
    write_part(
        tmp_path / "data" / "pets",
        "test",
        [png(i)[0] for i in range(20, 24)],
        [0, 1] * 2,
        domain=["photo"] * 4,
    )
    return tmp_path / "data"


def test_parquet_as_the_hub_writes_it_is_read_pixel_by_pixel(root):
    images = sources.load("parquet/pets")
    assert images.record.classes == ("cat", "dog")
    assert images.record.shape == (3, 5, 6)
    assert images.record.counts == (8, 4)
    for i in range(8):
        assert np.array_equal(images.train[0][i], png(i)[1].transpose(2, 0, 1))
    assert images.train[1].tolist() == [0, 1] * 4


def test_rows_can_be_chosen_by_another_column(root):
    task = parquet("pets", where={"domain": "photo"})
    assert sources.load(task.data).record.counts == (4, 4)
    assert sources.load(task.data).record.digest != sources.load("parquet/pets").record.digest


def test_a_file_address_reads_the_same_set(root):
    assert (
        sources.load(parquet(f"file://{root}/pets").data).record.digest
        == sources.load("parquet/pets").record.digest
    )


def test_string_labels_and_plain_binary_images_work(root):
    table = pa.table(
        {"picture": [png(i, mode="L")[0] for i in range(4)], "kind": ["b", "a", "b", "a"]}
    )
    (root / "plain").mkdir()
    for part in ("train", "test"):
        pq.write_table(table, root / "plain" / f"{part}.parquet")
    images = sources.load(parquet("plain", image="picture", label="kind").data)
    assert (images.record.classes, images.record.shape[0], images.train[1].tolist()) == (
        ("a", "b"),
        1,
        [1, 0, 1, 0],
    )


def test_an_image_folder_is_read_in_the_order_of_its_names(root):
    for part, count in (("train", 3), ("test", 1)):
        for name in ("a", "b"):
            (root / "tree" / part / name).mkdir(parents=True)
            for i in range(count):
                (root / "tree" / part / name / f"{i}.png").write_bytes(png(i)[0])
    images = sources.load(image_folder("tree").data)
    assert (images.record.classes, images.record.counts) == (("a", "b"), (6, 2))
    assert np.array_equal(images.train[0][4], png(1)[1].transpose(2, 0, 1))


def test_images_of_several_sizes_need_to_be_told_one(root):
    for part in ("train", "test"):
        write_part(root / "mixed", part, [png(0)[0], png(1, size=(12, 9))[0]], [0, 1])
    with pytest.raises(
        DataError,
        match=r"2 sizes: 5x6 \(2\), 9x12 \(2\); the first of another is .*, row 1. Say size=\.\.\.",
    ):
        sources.load("parquet/mixed")
    assert sources.load(parquet("mixed", size=4).data).train[0].shape == (2, 3, 4, 4)


def test_grey_images_become_colour_beside_coloured_ones(root):
    for part in ("train", "test"):
        write_part(root / "both", part, [png(0)[0], png(1, mode="L")[0]], [0, 1])
    x = sources.load("parquet/both").train[0]
    assert x.shape[1] == 3
    assert (x[1, 0] == x[1, 1]).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: (root / "pets/train-00000-of-00001.parquet").write_bytes(
                b"PAR1" + b"x" * 50
            ),
            "is not a whole Parquet file",
        ),
        (
            lambda root: (path := root / "pets/train-00000-of-00001.parquet").write_bytes(
                path.read_bytes()[:-200]
            ),
            "is not a whole Parquet file",
        ),
        (
            lambda root: (root / "pets/test-00000-of-00001.parquet").unlink(),
            r"has no file test\*.parquet; Parquet files there: train-",
        ),
        (
            lambda root: write_part(root / "pets", "train", [png(0)[0], b"no image"], [0, 1]),
            r"cannot be decoded: no image format .*\(1 of 6 images\): train-.*parquet, row 1",
        ),
        (
            lambda root: write_part(root / "pets", "train", [png(0)[0][:60]], [0]),
            r"cannot be decoded: the file is cut short \(1 of 5 images\): train-.*, row 0",
        ),
        (
            lambda root: write_part(root / "pets", "train", [png(0)[0]], [7]),
            r"label 7 is none of the 2 classes \(1 of 5 images\): train-.*, row 0",
        ),
        (
            lambda root: write_part(root / "pets", "train", [png(0)[0]], [None]),
            "label None is none of the 2 classes",
        ),
        (
            lambda root: write_part(root / "pets", "train", [], pa.array([], pa.int64())),
            "the train part has no image",
        ),
    ],
    ids=[
        "nonsense",
        "truncated",
        "no test part",
        "not an image",
        "half an image",
        "label too large",
        "no label",
        "empty",
    ],
)
def test_a_damaged_set_is_told_with_file_and_row(root, damage, message):
    damage(root)
    with pytest.raises(DataError, match=message):
        sources.load("parquet/pets")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parquet/nowhere", "there is no folder .*nowhere"),
        ("folder/pets", "has no folder 'train'"),
        ("parquet/pets?label=kind", "has no column 'kind'"),
        ("parquett/pets", "no data set is called 'parquett/pets'"),
    ],
)
def test_a_name_that_leads_nowhere_is_explained(root, name, message):
    with pytest.raises(DataError, match=message):
        sources.load(name)


def test_a_missing_data_root_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"the data folder .*gone does not exist"):
        sources.load("parquet/pets")


def test_a_cache_that_cannot_be_written_is_named(root, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"decoded images cannot be kept in .*SPOLIA_CACHE"):
        sources._decoded("parquet/pets", root)


def test_images_that_changed_since_the_plan_are_refused(root, store):
    task = resolve_task(parquet("pets"), store)
    write_part(root / "pets", "train", [png(i)[0] for i in range(1, 9)], [0, 1] * 4)
    os.utime(root / "pets/train-00000-of-00001.parquet", (1, 1))
    sources._load.cache_clear()
    with pytest.raises(DataError, match="parquet/pets has changed"):
        sources.load_verified(task)


# ---------------------------------------------------------------------- decoded once, shared


def _decode(root: str, cache: str, barrier, found) -> None:
    os.environ["SPOLIA_DATA"], os.environ["SPOLIA_CACHE"] = root, cache
    decodes = []
    real = sources.decode_all

    def counted(*arguments):
        decodes.append(1)
        return real(*arguments)

    sources.decode_all = counted
    barrier.wait(60)
    images = sources.load("parquet/pets")
    maps = Path("/proc/self/maps").read_text()
    found.put((len(decodes), str(images.folder / "train.npy") in maps, images.record.digest))


@pytest.mark.process
def test_many_workers_of_a_node_decode_once_and_map_one_file(root, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(3), context.Queue()
    workers = [
        context.Process(target=_decode, args=(str(root), str(tmp_path / "cache"), barrier, found))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    reports = [found.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert sum(decodes for decodes, _, _ in reports) == 1
    assert all(mapped for _, mapped, _ in reports)
    assert len({digest for _, _, digest in reports}) == 1


def test_an_altered_copy_in_the_cache_is_noticed_by_verify(root):
    images = sources.load("parquet/pets")
    assert verify(images.record).state == "as recorded"
    content = bytearray((images.folder / "train.npy").read_bytes())
    content[-1] ^= 1
    (images.folder / "train.npy").write_bytes(content)
    assert verify(images.record).state == "altered in the cache"


# ---------------------------------------------------------------------- what tasks make of images


def test_binary_makes_a_category_against_the_rest(store):
    task = resolve_task(digits.classes(1, 3, 5).binary(3), store)
    assert task.class_names == ("rest", "3")
    _, y = batches.tensors(task.test, CPU)
    _, whole = batches.tensors(resolve_task(digits.classes(1, 3, 5), store).test, CPU)
    assert y.tolist() == [int(label == 1) for label in whole.tolist()]
    with pytest.raises(DataError, match="must be some of the classes kept and not all"):
        resolve_task(digits.classes(1, 3).binary(7), store)


def test_binary_tasks_may_have_their_category_in_common(store):
    one, other = (
        resolve_task(digits.classes(1, 3, 5).binary(c, called="it"), store) for c in (1, 3)
    )
    assert one.class_names == other.class_names == ("rest", "it")
    assert one.identity() != other.identity()
    plain = resolve_task(digits.classes(1, 3, 5).binary(1), store)
    assert "called" not in plain.identity()
    assert one.identity() != plain.identity()


def test_a_few_images_are_balanced_nested_and_drawn_by_the_seed(store):
    task = resolve_task(digits.classes(1, 3, 5).binary(3), store)

    def few(count, seed=0):
        x, y = batches.tensors(task.train.few(count, seed=seed), CPU)
        return [tuple(image.flatten().tolist()) for image in x.take(slice(None))], y.tolist()

    (ten, labels), (twenty, more), (others, _) = few(10), few(20), few(10, seed=1)
    assert (ten, labels) == (twenty[:10], more[:10])
    assert (labels.count(0), labels.count(1)) == (5, 5)
    assert ten != others
    assert few(10) == (ten, labels)
    _, whole = batches.tensors(task.train, CPU)
    _, every = batches.tensors(task.train.few(len(whole), seed=0), CPU)
    assert sorted(every.tolist()) == sorted(
        whole.tolist()
    )  # where one label runs out, the other goes on
    with pytest.raises(InputError, match=f"images, so {len(whole) + 1} of them cannot be drawn"):
        few(len(whole) + 1)
    with pytest.raises(InputError, match=r"few\(0\) leaves no image"):
        few(0)


@pytest.mark.parametrize(
    ("shift", "check"),
    [
        (("inverted",), lambda x, y: (y == 255 - x).all()),
        (("rotated", 90), lambda x, y: (y == np.rot90(x, 1, axes=(2, 3))).all()),
        (
            ("permuted", 1),
            lambda x, y: (
                (np.sort(y.reshape(len(y), -1)) == np.sort(x.reshape(len(x), -1))).all()
                and (y != x).any()
            ),
        ),
        (
            ("contrast", 0.5),
            lambda x, y: np.abs(y.astype(float) - ((x - 127.5) / 2 + 127.5)).max() <= 0.5,
        ),
        (("noisy", 0.1), lambda x, y: (y != x).mean() > 0.5),
    ],
)
def test_shifts_are_what_they_say_the_same_every_time_and_in_the_digest(store, shift, check):
    task, plain = resolve_task(digits.shifted(*shift), store), resolve_task(digits, store)
    x = sources.load("digits").test[0]
    once, twice = changed(x, task, "test"), changed(x, task, "test")
    assert check(x, once)
    assert (once == twice).all()
    assert task.identity() != plain.identity()
    assert task.name != plain.name


def test_resized_and_coloured_images_reach_the_batches(store):
    task = resolve_task(digits.resized(12).rgb(), store)
    pixels, _ = batches.tensors(task.test, CPU)
    x = pixels.take(slice(0, 4))
    assert x.shape == (4, 3, 12, 12)
    assert (x[:, 0] == x[:, 2]).all()
    (first, _), *_ = batches.in_order(task.test, CPU)
    assert first.shape[1:] == (3, 12, 12)
    assert task.image(sources.load("digits").record) == (3, 12, 12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: digits.shifted("inverse"), "no shift 'inverse'. Did you mean 'inverted'?"),
        (lambda: digits.shifted("rotated", 45), "amount 45 cannot be meant"),
        (lambda: digits.shifted("noisy", -1), "amount -1 cannot be meant"),
        (lambda: digits.resized(0), "leaves no pixel"),
        (digits.binary, "name at least one class"),
        (lambda: parquet(""), "is not a folder or an address"),
        (lambda: parquet("x", size=0), "leaves no pixel"),
        (lambda: randint(0), "has nothing to draw from"),
        (lambda: normal(0), "has no number to draw"),
        (lambda: noise(images=5), "has no number to draw"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_the_short_way_to_a_batch_gives_the_bits_of_the_long_way(store, monkeypatch):
    task = resolve_task(digits.images(limit=200), store)
    data = task.train.augmented("crop and flip")
    short = batches.Feed(data, name="d", seed=0, stage="s", device=CPU)
    assert short.ready is not None
    monkeypatch.setattr(batches, "LARGEST_READY", 0)
    batches._READY.give_up()
    long = batches.Feed(data, name="d", seed=0, stage="s", device=CPU)
    assert long.ready is None
    batches._READY.give_up()
    for a, b in zip(short.epoch(0, 3, 32), long.epoch(0, 3, 32), strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.y, b.y)
        assert a.x.is_contiguous(memory_format=torch.channels_last) == b.x.is_contiguous(
            memory_format=torch.channels_last
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes", "shape"),
    [
        pytest.param("cifar10", 10, (3, 32, 32), marks=pytest.mark.long),  # 60,000 images
        ("omniglot", 242, (1, 35, 35)),
        ("pacs", 7, (3, 64, 64)),
    ],
)
def test_the_real_sets_are_read(shared_data, name, classes, shape):
    record = sources.load(f"parquet/{name}").record
    assert (len(record.classes), record.shape) == (classes, shape)


@pytest.mark.slow
def test_a_domain_of_pacs_is_a_set_of_its_own(shared_data):
    sketch = sources.load(parquet("pacs", where={"domain": "sketch"}).data).record
    assert 0 < sketch.counts[0] < sources.load("parquet/pacs").record.counts[0]
    with pytest.raises(
        DataError, match=r"column 'domain' has no value 'skech'. Did you mean 'sketch'"
    ):
        sources.load(parquet("pacs", where={"domain": "skech"}).data)
