"""A default that changes changes what a key means: then the revision goes up, and this snapshot is
written anew.

python tests/methods/test_defaults.py      # writes defaults.json, and refuses where a revision did
not go up
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from methods import networks
from orchestrator.spec.canonical import to_json
from orchestrator.spec.registry import discover
from orchestrator.spec.settings import settings_default

FILE = Path(__file__).with_name("defaults.json")


def snapshot():
    """Revision and defaults of every method and of every network that has a function of its own."""
    found = {}
    for name, cls in discover().items():
        if cls.__module__.startswith("methods."):
            settings = {
                f.name: to_json(settings_default(cls, f.name)) for f in dataclasses.fields(cls)
            }
            settings = {k: "methods" if "path" in json.dumps(v) else v for k, v in settings.items()}
            found[name] = {"revision": cls.revision, "defaults": settings}
    for make in (networks.resnet8, networks.resnet20, networks.resnet56, networks.small_vgg):
        spec = make()
        found[f"network {spec.name}"] = {"revision": spec.revision, "defaults": dict(spec.defaults)}
    return found


def changed_silently(before, now):
    """Names whose defaults differ though the revision is the same; a setting that is new changes no
    old key.
    """
    return [
        f"{name}.{setting}"
        for name in before.keys() & now.keys()
        if before[name]["revision"] == now[name]["revision"]
        for setting, value in before[name]["defaults"].items()
        if now[name]["defaults"].get(setting, value) != value
    ]


def test_no_default_changed_without_a_new_revision():
    before, now = json.loads(FILE.read_text()), snapshot()
    assert changed_silently(before, now) == [], (
        "raise the revision, then run: python tests/methods/test_defaults.py"
    )
    assert before == now, "run: python tests/methods/test_defaults.py"


def test_a_changed_default_would_be_noticed():
    now = snapshot()
    was = json.loads(json.dumps(now))
    was["fine_tune"]["defaults"]["epochs"] += 1
    assert changed_silently(was, now) == ["fine_tune.epochs"]
    was["fine_tune"]["revision"] += 1
    assert changed_silently(was, now) == []


def test_a_new_setting_changes_no_key():
    now = snapshot()
    was = json.loads(json.dumps(now))
    del was["fine_tune"]["defaults"]["lr"]
    assert changed_silently(was, now) == []


if __name__ == "__main__":
    if FILE.exists() and (silent := changed_silently(json.loads(FILE.read_text()), snapshot())):
        sys.exit(f"raise the revision first: {', '.join(silent)}")
    FILE.write_text(json.dumps(snapshot(), indent=1, sort_keys=True) + "\n")


pytestmark = pytest.mark.filterwarnings("error")
