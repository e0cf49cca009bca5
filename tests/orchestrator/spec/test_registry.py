"""Which methods there are."""

from __future__ import annotations

import pytest

from orchestrator import MethodError
from orchestrator.spec.registry import discover, methods_in, registered


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


def test_entry_points_are_read_again_where_a_folder_of_the_path_has_changed(monkeypatch, tmp_path):
    read = []

    def entry_points(group):
        read.append(group)
        return []

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    monkeypatch.syspath_prepend(tmp_path)
    assert registered() == registered() == {}
    assert len(read) == 1
    (tmp_path / "theirs-1.0.dist-info").mkdir()
    registered()
    assert len(read) == 2
