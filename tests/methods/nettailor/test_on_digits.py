"""The whole method on digits: student, prunings, the choice among them, several tasks.

One file, since all of it shares the trainings of one store.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from tailored_graphs import small

from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.nettailor.cost import ledger
from methods.nettailor.edges import all_edges
from methods.nettailor.leanest import Leanest, area, flops_at_drop
from methods.nettailor.nettailor import PUBLISHED
from methods.nettailor.tailored_tasks import TailoredTasks, shared, storage
from methods.networks import resnet8, small_vgg
from methods.networks.resnet import ResNet
from orchestrator import Result, Store, Trial, digits, resolve
from orchestrator.parts.component import PartWithBase, state_digest
from orchestrator.store.content import content_digest
from orchestrator.training.execute import execute, run_with_needs

DIGITS = (
    digits.classes(0, 1, 2, 3, 4).images(limit=300).named("source"),
    digits.classes(5, 6, 7, 8, 9).images(limit=200).validation(0.3).named("t"),
)
SHORT = FineTune(epochs=2)
QUICK = NetTailor(removed=1, epochs=2, retrain_epochs=1, base=SHORT, teacher=SHORT)


def trial_of(method, tasks=DIGITS, network=None):
    return Trial(method=method, network=network or resnet8(width=4), tasks=tasks, seed=0)


@pytest.fixture(scope="module")
def digits_store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("nettailor") / "store")
    made.prepare()
    return made


def result_of(method, store, **about):
    resolved = resolve(trial_of(method, **about), store)
    assert resolved.problems() == []
    run_with_needs(resolved, store)
    outcome = execute(resolved, store)
    assert outcome.is_result, outcome.traceback
    return Result(store, store.find(resolved.key))


@pytest.fixture
def trained(digits_store):
    return digits_store, result_of(QUICK, digits_store).key


class TestExport:
    @pytest.mark.process
    def test_torch_opens_it_without_our_code(self, tmp_path, trained, spolia):
        store, key = trained
        code, out, err = spolia(
            "export", key[:10], "--to", tmp_path / "lean.pt2", "--store", store.address
        )
        assert code == 0, err
        assert "torch.export.load" in out
        component = Result(store, store.find(key)).component("student")
        joined = PartWithBase(component.module(), component.required().module()).eval()
        x = torch.randn(7, 1, 8, 8)
        torch.save({"x": x, "y": joined(x).detach()}, tmp_path / "seen.pt")
        program = (
            "import sys, json, torch\n"
            "seen = torch.load('seen.pt')\n"
            "y = torch.export.load('lean.pt2').module()(seen['x'])\n"
            "packages = ('orchestrator', 'methods')\n"
            "ours = [m for m in sys.modules if m.split('.')[0] in packages]\n"
            "print(json.dumps([float((y - seen['y']).abs().max()), ours]))"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        difference, ours = json.loads(ran.stdout)
        assert difference <= 1e-5
        assert ours == []


class TestMethod:
    def test_n3_the_universal_network_keeps_its_bits(self, digits_store):
        result = result_of(QUICK, digits_store)
        universal = (
            Result(digits_store, digits_store.find(result.record["needs"]["universal"]["key"]))
            .component("network", task="source")
            .module()
        )
        assert result.record["frozen"]["retrain"]["universal"] == state_digest(universal)
        student = Result(digits_store, digits_store.find(result.record["needs"]["student"]["key"]))
        assert student.record["frozen"]["train"]["universal"] == state_digest(universal)

    def test_all_prunings_share_one_student_and_the_teacher(self, digits_store):
        trials = [
            resolve(trial_of(QUICK.replace(removed=k, order=o, threshold=t)), digits_store)
            for k, o, t in ((1, "attention", 0.05), (2, "random", 0.05), (1, "last_first", 0.1))
        ]
        assert len({t.key for t in trials}) == 3
        assert len({t.needs["student"].key for t in trials}) == 1
        assert {t.needs["teacher"].key for t in trials} == {
            resolve(trial_of(SHORT), digits_store).key
        }

    def test_without_its_weight_there_is_no_teacher(self, digits_store):
        assert (
            "teacher"
            not in resolve(trial_of(QUICK.replace(teacher_weight=0.0)), digits_store).needs
        )

    def test_a_teacher_trained_otherwise_still_starts_from_the_universal_network(
        self, digits_store
    ):
        trial = resolve(trial_of(QUICK.replace(teacher=FineTune(epochs=1, lr=0.01))), digits_store)
        assert trial.needs["teacher"].needs["before"].key == trial.needs["universal"].key

    def test_it_leaves_its_graph_as_data_and_attention_over_time(self, digits_store):
        result = result_of(QUICK.replace(removed=None), digits_store)
        graph, attention = result.matrix("graph"), result.matrix("attention")
        assert graph.columns == ("attention", "flops", "parameters")
        assert attention.columns == ("1", "2")
        assert attention.rows == graph.rows == tuple(e.name for e in all_edges(3, 3))
        assert attention.values[:, 1] == pytest.approx(graph.values[:, 0])
        assert graph.values[graph.rows.index("block1")].tolist()[1:] == [
            4 * 4 * 9 * 64 * 2 + 2 * 2 * 4 * 64,
            4 * 4 * 9 * 2 + 2 * 2 * 4,
        ]

    def test_a_removed_block_is_gone_and_the_ledger_says_so(self, digits_store):
        whole, pruned = (
            result_of(QUICK.replace(removed=0), digits_store),
            result_of(QUICK.replace(removed=2), digits_store),
        )
        assert whole.metric("blocks") == 3
        assert pruned.metric("blocks") <= 1  # less than one where what is left leads nowhere
        for metric in ("flops", "parameters", "flops_share", "parameters_share"):
            assert pruned.metric(metric) < whole.metric(metric)
        module = pruned.component("student").ready()
        assert sum(p.numel() for p in module.parameters()) <= pruned.metric("parameters")

    def test_a_graph_without_a_path_is_infeasible(self, digits_store):
        result = result_of(QUICK.replace(guard="none", threshold=0.9), digits_store)
        assert result.outcome == "infeasible"
        assert (
            "without 1 blocks and the proxies up to 0.9, nothing leads from stem to classifier"
            in result.record["reason"]
        )

    def test_a_student_that_diverged_has_no_prunings(self, digits_store):
        result = result_of(QUICK.replace(lr=1e12), digits_store)
        assert (result.outcome, result.record["reason"]) == (
            "infeasible",
            "what it needs is not there: student diverged",
        )

    @pytest.mark.parametrize(
        ("changes", "about", "message"),
        [
            ({"removed": 4}, {}, "removed=4, but the network has 3 blocks"),
            ({"complexity_weight": -0.1}, {}, "complexity_weight=-0.1 is negative"),
            ({"skip": 0}, {}, "skip=0: a proxy bridges at least one block"),
            (
                {"teacher": FineTune(epochs=1, base=SHORT)},
                {},
                "teacher.base is set; the teacher starts from the universal network",
            ),
            (
                {},
                {"network": small_vgg()},
                "is no stem, residual blocks one behind another, and a pooling",
            ),
        ],
    )
    def test_what_cannot_run_is_told_at_planning(self, digits_store, changes, about, message):
        problems = resolve(trial_of(QUICK.replace(**changes), **about), digits_store).problems()
        assert any(message in p for p in problems), problems

    def test_a_time_is_no_part_of_what_tells_results_apart(self, digits_store):
        record = result_of(QUICK, digits_store).record
        slower = {
            **record,
            "metrics": [
                {**m, "value": 2 * m["value"]} if m.get("timing") else m for m in record["metrics"]
            ],
        }
        assert [m["name"] for m in record["metrics"] if m.get("timing")] == ["latency_share"]
        assert content_digest(slower) == content_digest(record)

    @pytest.mark.parametrize(
        "changes",
        [
            {"imitated": "end_to_end"},
            {"imitated": "logits"},
            {"statistics": "frozen"},
            {"cost": "parameters"},
            PUBLISHED | {"epochs": 1, "teacher": PUBLISHED["teacher"].replace(epochs=1)},
        ],
    )
    def test_every_form_trains(self, digits_store, changes):
        assert result_of(QUICK.replace(**changes, removed=None), digits_store).outcome in (
            "done",
            "diverged",
        )

    def test_the_complexity_term_lowers_the_attended_complexity(self, digits_store):
        heavy = [
            result_of(
                QUICK.replace(removed=None, epochs=6, complexity_weight=w), digits_store
            ).metric("attended_complexity")
            for w in (0.0, 9.0)
        ]
        assert heavy[1] < heavy[0] - 0.05


class TestLeanest:
    choice = Leanest(of=QUICK, removed=(0, 1, 2), against=SHORT, drop=1.0)

    def test_it_takes_the_leanest_that_is_good_enough(self, digits_store):
        found = result_of(self.choice, digits_store)
        assert found.metric("tailored") == 1
        assert (
            found.component("student").record.blob
            == result_of(QUICK.replace(removed=2), digits_store).component("student").record.blob
        )
        teacher = result_of(SHORT, digits_store)
        assert found.metric("drop") == pytest.approx(
            teacher.metric("accuracy", task="t") - found.metric("accuracy")
        )

    def test_where_none_is_it_takes_the_fine_tuned_network(self, digits_store):
        better = FineTune(epochs=12)
        found = result_of(self.choice.replace(drop=0.0, against=better), digits_store)
        assert [
            found.metric(m) for m in ("tailored", "flops_share", "parameters_share", "drop")
        ] == [0, 1, 1, 0]
        assert found.components("student") == []

    def test_it_chooses_by_size_on_validation_images(self, digits_store):
        sizes = {k: result_of(QUICK.replace(removed=k), digits_store) for k in (0, 1, 2)}
        allowed = int(sizes[1].metric("parameters"))
        found = result_of(self.choice.replace(parameters_at_most=allowed), digits_store)
        best = max((1, 2), key=lambda k: (sizes[k].metric("val_accuracy"), k))
        assert found.metric("accuracy") == sizes[best].metric("accuracy")
        assert (
            result_of(self.choice.replace(parameters_at_most=1), digits_store).outcome
            == "infeasible"
        )

    def test_candidates_are_all_there_the_infeasible_ones_too(self, digits_store):
        found = result_of(
            self.choice.replace(of=QUICK.replace(guard="none", threshold=0.9)), digits_store
        )
        matrix = found.matrix("candidates")
        assert matrix.rows == ("0", "1", "2")
        assert matrix.values[0].min() >= 0
        assert np.isnan(matrix.values[1]).all()

    def test_the_choice_needs_validation_images(self, digits_store):
        tasks = (DIGITS[0], DIGITS[1].validation(0))
        assert "t holds out no validation images to choose on" in str(
            resolve(trial_of(self.choice, tasks=tasks), digits_store).problems()
        )

    def test_area_is_what_a_budget_buys(self):
        class Pruning:
            def __init__(self, **values):
                self.metric = values.__getitem__

        lean, large = (
            Pruning(flops_share=0.5, val_accuracy=0.8, accuracy=0.7),
            Pruning(flops_share=0.9, val_accuracy=0.9, accuracy=0.95),
        )
        # budgets 0.25 to 1 in steps of 0.05: five below 0.5 buy chance, eight the lean one, three
        # the large one
        assert area([lean, large], 0.1) == pytest.approx((5 * 0.1 + 8 * 0.7 + 3 * 0.95) / 16)

    def test_where_a_point_is_lost_lies_between_two_prunings(self):
        class Pruning:
            def __init__(self, flops_share, val_accuracy):
                self.metric = vars(self).__getitem__
                vars(self).update(flops_share=flops_share, val_accuracy=val_accuracy)

        student, large, lean = Pruning(1.1, 0.5), Pruning(0.8, 0.9), Pruning(0.4, 0.7)
        # From 0.9 at 0.8 down to 0.7 at 0.4: 0.85 is a quarter of the way
        assert flops_at_drop([student, lean, large], 0.9, 0.05) == pytest.approx(0.7)
        assert flops_at_drop([lean, large], 0.9, 0.3) == 0.4  # it never falls so far
        assert flops_at_drop([lean, large], 0.95, 0.01) == pytest.approx(0.96)


class TestTailoredTasks:
    TASKS = (
        DIGITS[0],
        DIGITS[1],
        digits.classes(0, 5).images(limit=100).validation(0.3).named("u"),
    )

    def test_matrices_and_storage(self, digits_store):
        choice = TestLeanest.choice
        result = result_of(TailoredTasks(of=choice), digits_store, tasks=self.TASKS)
        assert result.matrix("kept").rows == ("t", "u")
        assert result.matrix("kept").columns == ("1.1", "2.1", "3.1")
        kept = result.matrix("kept").values
        assert result.matrix("shared").values == pytest.approx(kept @ kept.T / 3)
        students = [
            result_of(choice, digits_store, tasks=(DIGITS[0], task)) for task in self.TASKS[1:]
        ]
        ledgers = [ledger(s.component("student").module()) for s in students]
        graph = students[0].component("student").module()
        used = kept.max(0)
        universal = graph.backbone.stem_cost.parameters + sum(
            c.parameters for c, u in zip(graph.backbone.block_costs, used, strict=True) if u
        )
        assert result.metric("storage_parameters") == universal + sum(
            entry.task for entry in ledgers
        )
        assert result.metric("storage_share") == pytest.approx(
            result.metric("storage_parameters")
            / sum(entry.untailored.parameters for entry in ledgers)
        )

    def test_a_fine_tuned_network_is_stored_whole(self):
        _, graph = small(statistics="frozen")
        alone = storage(graph.backbone, {"a": graph}, others=[])
        beside = storage(graph.backbone, {"a": graph}, others=[5])
        whole = sum(
            p.numel() for p in ResNet(blocks=2, width=8, channels=3, classes=5).parameters()
        )
        assert [b - a for a, b in zip(alone, beside, strict=True)] == [whole, whole]

    def test_a_task_that_keeps_its_fine_tuned_network_shares_nothing(self):
        values = shared(["a", "b"], {"a": {1, 2}}, 4)
        assert values[0, 0] == 0.5
        assert np.isnan(values).tolist() == [[False, True], [True, True]]


class TestFineTuneFromABase:
    def test_the_first_network_may_be_trained_otherwise(self, digits_store):
        trial = resolve(trial_of(FineTune(epochs=1, base=SHORT)), digits_store)
        assert (
            trial.needs["before"].key
            == resolve(trial_of(SHORT, tasks=DIGITS[:1]), digits_store).key
        )

    def test_a_base_like_itself_changes_nothing(self, digits_store):
        assert (
            resolve(trial_of(SHORT.replace(base=SHORT)), digits_store).key
            == resolve(trial_of(SHORT), digits_store).key
        )

    @pytest.mark.parametrize(
        ("base", "tasks", "message"),
        [
            (SHORT, DIGITS[:1], "there is one task only"),
            (QUICK, DIGITS, "it may be another fine_tune"),
        ],
    )
    def test_a_base_that_cannot_be_meant(self, digits_store, base, tasks, message):
        assert message in str(
            resolve(trial_of(FineTune(epochs=1, base=base), tasks=tasks), digits_store).problems()
        )
