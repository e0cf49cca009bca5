"""Records: verified by the bytes that were hashed, read once a command, without their curves."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from sample_methods import Count

from orchestrator import CorruptError, Results, Store, Sweep, make_plan, product
from orchestrator.spec.canonical import canonical_json, digest
from orchestrator.store.content import content_digest
from orchestrator.store.files import Folder
from orchestrator.store.records import Record, Records, body_of, record_in
from orchestrator.store.store import record_digest
from orchestrator.training.execute import execute

KEY = "ab" * 32
CURVES = [["loss", 1, 0.5, 10.0], ['odd ],"frozen":{', 2, None, 11.0]]


def record(**more):
    return {
        "key": KEY,
        "components": [{"config": {"a": [1]}}],
        "curves": CURVES,
        "frozen": {},
        "outcome": "done",
        **more,
    }


def path(store):
    return Path(store.address) / f"results/ab/{KEY}/result.json"


@pytest.fixture
def reads(monkeypatch) -> Counter[str]:
    """How often which file of a store was read, by its path there."""
    counted: Counter[str] = Counter()
    read = Folder.read

    def counting(self, path, **how):
        counted[path] += 1
        return read(self, path, **how)

    monkeypatch.setattr(Folder, "read", counting)
    return counted


# Members that look like a record's curves, or like what follows them, wherever they may stand.
ODD = [
    record(),
    record(curves=[]),
    record(components=[{"config": {"a": 1, "curves": [1, 2], "frozen": {}, "z": 3}}]),
    record(components=[{"config": {"a": ',"curves":[', "b": '],"frozen":'}}]),
    record(curves=[["x]],", 1, 2.0, 3.0], [":", 1, 2.0, 3.0]]),
    record(curves=[["a", {"b": [1], "frozen": 2}]]),
    record(curves={"by": "name"}),
    {name: value for name, value in record().items() if name != "curves"},
    {name: value for name, value in record().items() if name != "components"},
    {"key": KEY, "outcome": "done", "inner": {"a": 0, "curves": [1], "frozen": 2}},
    record(reason='ärger \\" \u2028', needs={"curves": [1], "frozen": [2]}),
]


@pytest.mark.parametrize("written", ODD, ids=range(len(ODD)))
def test_a_record_is_read_as_it_was_written(written):
    read = record_in(body_of(written))
    assert read == written
    assert dict(read) == written
    assert set(read) == set(written)
    assert len(read) == len(written)
    assert record_digest(read) == read.digest == digest(written)
    assert body_of(read) == body_of(written)


def test_any_byte_that_is_altered_is_told():
    body = body_of(record())
    for place in range(len(body)):
        for bit in (1, 32):
            altered = bytearray(body)
            altered[place] ^= bit
            with contextlib.suppress(ValueError):  # no JSON any more
                assert record_in(bytes(altered)) is None, (place, bit)


def test_any_end_that_is_missing_is_told():
    body = body_of(record())
    for length in range(len(body)):
        with contextlib.suppress(ValueError):
            assert record_in(body[:length]) is None


def test_a_record_that_somebody_laid_out_anew_still_counts():
    body = json.dumps(json.loads(body_of(record())), indent=2).encode()
    read = record_in(body)
    assert read == record()
    assert read.digest == digest(record())


def test_what_was_written_before_records_had_a_class_is_read(store):
    """Bytes as an earlier version wrote them."""
    raw = canonical_json(record())
    sha256 = hashlib.sha256(raw.encode()).hexdigest()
    path(store).parent.mkdir(parents=True)
    path(store).write_text(canonical_json({"sha256": sha256, "record": record()}))
    assert store.find(KEY) == record()


def test_curves_are_not_parsed_unless_asked_for(store):
    """These cannot be: they are no JSON."""
    raw = canonical_json(record()).replace('["loss"', "[loss").encode()
    body = b'{"record":' + raw + b',"sha256":"' + hashlib.sha256(raw).hexdigest().encode() + b'"}'
    path(store).parent.mkdir(parents=True)
    path(store).write_bytes(body)
    for found in (store.find(KEY), store.records([KEY])[KEY]):
        assert (found["outcome"], "curves" in found, len(found)) == ("done", True, 5)
        with pytest.raises(ValueError, match="Expecting value"):
            found["curves"]


def test_curves_stay_in_the_store_until_they_are_asked_for(store, reads):
    store.commit(record())
    found = store.records([KEY])[KEY]
    assert reads[f"results/ab/{KEY}/result.json"] == 1
    assert found["curves"] == CURVES
    assert found["curves"] is found["curves"]
    assert reads[f"results/ab/{KEY}/result.json"] == 2


def test_curves_are_those_of_the_record_that_was_read(store):
    store.commit(record())
    found = store.records([KEY])[KEY]
    assert store.commit(record(curves=[["other", 1, 1.0, 1.0]]), replaces=found.digest)
    assert found["curves"] == CURVES


def test_curves_that_are_gone_are_told(store):
    store.commit(record())
    found = store.records([KEY])[KEY]
    path(store).unlink()
    with pytest.raises(CorruptError, match="removed or altered since"):
        found["curves"]


def test_a_record_can_be_committed_again(store, tmp_path):
    store.commit(record())
    other = Store(tmp_path / "other")
    assert other.commit(store.find(KEY))
    assert other.find(KEY) == record()
    assert other.find(KEY).digest == store.find(KEY).digest


def test_records_of_other_digests_differ_and_are_told_apart_without_their_curves():
    def never():
        raise AssertionError("read")

    first, second = (record_in(body_of(record(by=by))).without_curves(never) for by in "ab")
    assert first != second
    assert first == record_in(body_of(record(by="a")))
    assert "done" in repr(first)


def test_metrics_as_a_table():
    metrics = [
        {"name": "accuracy", "value": 0.5, "labels": {"task": "a"}},
        {"name": "latency", "value": None, "labels": {}, "timing": True},
    ]
    table = Records([record_in(body_of(record(metrics=metrics)))]).metrics
    assert table.to_pylist() == [
        {
            "key": KEY,
            "outcome": "done",
            "metric": "accuracy",
            "label": "task=a",
            "value": 0.5,
            "timing": False,
        },
        {
            "key": KEY,
            "outcome": "done",
            "metric": "latency",
            "label": "",
            "value": None,
            "timing": True,
        },
    ]
    assert Records().metrics.num_rows == 0


def test_records_made_with_the_same_code_share_its_modules():
    made_by = {"code": "c0de", "modules": {"a": "1"}}
    bodies = [body_of(record(key=key, provenance=made_by)) for key in ("k1", "k2")]
    first, second = Records(map(record_in, bodies)).values()
    assert first["provenance"]["modules"] is second["provenance"]["modules"]


# ---------------------------------------------------------------------- plans and results


@pytest.fixture
def finished(store):
    """Two cells that share a need."""
    cells = product(Count.grid(depth=1, number=[1.0, 2.0], fan=2), seed=0)
    sweep = Sweep(question="?", cells=cells, expect=2)
    for trial in make_plan("finished", sweep, store).todo:
        assert execute(trial, store).is_result
    return sweep


def of_results(reads: Counter[str]) -> Counter[str]:
    return Counter({path: n for path, n in reads.items() if path.startswith("results/")})


def test_a_plan_and_its_results_read_each_record_once(store, finished, reads):
    plan = make_plan("finished", finished, store)
    results = Results(plan, store)
    assert results.metrics_table().num_rows == 2
    assert [group.metric("total").n for group in results.groups()] == [1, 1]
    assert of_results(reads) == {f"results/{key[:2]}/{key}/result.json": 1 for key in plan.trials}
    assert set(plan.records) == set(plan.trials)


def test_a_second_plan_need_not_read_what_the_first_has_read(store, finished, reads):
    first = make_plan("finished", finished.part([0]), store)
    num_read = of_results(reads).total()
    plan = make_plan("finished", finished, store, known=first.records)
    assert plan.is_done
    assert of_results(reads).total() == len(plan.trials) > num_read
    assert plan.records == make_plan("finished", finished, store).records


def test_findings_of_a_record_have_the_digest_that_they_had(store, finished):
    plan = make_plan("finished", finished, store)
    for found in plan.records.values():
        assert isinstance(found, Record)
        assert content_digest(found) == content_digest(dict(found))


def test_plan_status_and_results_read_each_record_once(spolia, sweep_file, reads):
    file = sweep_file("product(Count.grid(depth=1, number=[1.0, 2.0]), seed=range(2))", expect=4)
    assert spolia("run", file, "--executor", "inline", "--tracking", "none")[0] == 0
    for command in ("plan", "status", "results"):
        reads.clear()
        assert spolia(command, file)[0] == 0
        assert set(of_results(reads).values()) == {1}
        assert len(of_results(reads)) == 8
