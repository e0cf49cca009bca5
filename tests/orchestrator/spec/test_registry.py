"""Which methods there are."""

from __future__ import annotations

import pytest

from orchestrator import MethodError
from orchestrator.spec.registry import discover, methods_in


def test_built_in_methods_are_discovered_by_the_same_door():
    assert {"compatible_features", "fine_tune", "recombine"} <= set(discover())


def test_two_methods_of_one_name_are_an_error_that_names_both(monkeypatch):
    class Entry:
        def __init__(self, value):
            self.value, self.dist = value, None

    entries = [Entry("sample_methods"), Entry("twins")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
    message = r"two methods are called 'count': sample_methods.Count and twins.Count"
    with pytest.raises(MethodError, match=message):
        discover()


def test_a_package_that_does_not_import_is_named():
    with pytest.raises(MethodError, match="'no_such_package' of the entry-point group"):
        methods_in("no_such_package")
