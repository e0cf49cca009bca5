"""What every method must keep to, as tests to inherit.

Needs pytest, torch and scikit-learn; neither Ray nor MLflow.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.data.resolve import resolve
from orchestrator.spec.method import Method
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store
from orchestrator.testing import rules
from orchestrator.testing.killing import Reference, reference_of

_REFERENCES: dict[tuple[type[Method], str, str], Reference] = {}


class MethodContract:
    """Inherit and give a fixture `trial` (see `smoke_trial`): any trial that can run.

    With `one_by_one` the trial is run from its beginning for each kill: slow, and finds what shows
    only where one process does all the rest.
    """

    one_by_one = False

    @pytest.fixture
    def device(self, request: pytest.FixtureRequest) -> str:
        """Where trials compute: the CPU, or what `--device` says (see `orchestrator.testing.plugin`
        for the option).
        """
        return str(request.config.getoption("--device", default="cpu"))

    @pytest.fixture
    def reference(
        self, trial: Trial, device: str, tmp_path_factory: pytest.TempPathFactory
    ) -> Reference:
        """What a run of the trial leaves that was never stopped; made once for all tests."""
        folder = tmp_path_factory.mktemp("reference")
        resolved = resolve(trial, Store(folder / "planned"))
        name = type(resolved.method), resolved.key, device
        # Not the fixture's scope: the fixture `trial` is a function's, as authors write it.
        if name not in _REFERENCES:
            _REFERENCES[name] = reference_of(trial, folder, device)
        return _REFERENCES[name]

    def test_what_is_declared_is_left(self, reference: Reference, tmp_path: Path) -> None:
        rules.leaves_what_it_declares(reference, tmp_path)

    def test_same_seed_same_bits(self, reference: Reference, tmp_path: Path) -> None:
        rules.repeats(reference, tmp_path)

    def test_another_seed_is_another_trial(self, reference: Reference, tmp_path: Path) -> None:
        rules.uses_the_seed_as_it_says(reference, tmp_path)

    def test_killed_before_any_statement_it_ends_with_the_same_bits(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        rules.survives_kills_before_statements(reference, tmp_path, one_by_one=self.one_by_one)

    def test_killed_after_any_epoch_it_ends_with_the_same_bits(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        rules.survives_kills_after_epochs(reference, tmp_path, one_by_one=self.one_by_one)

    def test_every_axis_changes_the_key_or_canonical_resets_it(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        rules.axes_change_the_key(reference, tmp_path)

    def test_canonical_is_idempotent(self, reference: Reference, tmp_path: Path) -> None:
        rules.canonical_comes_to_rest(reference, tmp_path)

    def test_needs_are_pure(self, reference: Reference, tmp_path: Path) -> None:
        rules.needs_are_pure(reference, tmp_path)

    def test_a_trial_survives_the_way_to_a_worker(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        rules.reaches_a_worker(reference, tmp_path)

    def test_the_module_says_what_departs_from_the_paper(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        rules.says_what_departs(reference, tmp_path)
