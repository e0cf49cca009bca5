"""What the doctor says where something that it looks at cannot be had."""

from __future__ import annotations

from orchestrator import MethodError
from orchestrator.cli import doctor
from orchestrator.executors.site import SiteFile
from orchestrator.session.places import Places
from orchestrator.store.home import home


def test_methods_that_cannot_be_had_are_findings_of_a_cluster_too(monkeypatch, tmp_path):
    def no_methods():
        raise MethodError("the methods of 'methods' are not to be had")

    monkeypatch.setattr(doctor, "discover", no_methods)
    places = Places(home(tmp_path, None, "none"), SiteFile(), None)
    checks = {check.subject: check for check in doctor.examine(places, "auto")}
    for subject in ("methods", "cluster"):
        assert not checks[subject].is_fine
        assert "not to be had" in checks[subject].finding
