"""What the doctor says where something that it looks at cannot be had."""

from __future__ import annotations

from orchestrator import MethodError
from orchestrator.cli import doctor
from orchestrator.cli.options import Setting
from orchestrator.executors.site import SiteFile
from orchestrator.store.home import home


def test_methods_that_cannot_be_had_are_findings_of_a_cluster_too(monkeypatch, tmp_path):
    def no_methods():
        raise MethodError("the methods of 'methods' are not to be had")

    monkeypatch.setattr(doctor, "discover", no_methods)
    chosen = Setting(home(tmp_path, None, "none"), SiteFile())
    checks = {check.subject: check for check in doctor.examine(chosen, None, "auto")}
    for subject in ("methods", "cluster"):
        assert not checks[subject].is_fine
        assert "not to be had" in checks[subject].finding
