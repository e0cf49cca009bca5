"""What made a result."""

from __future__ import annotations

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from orchestrator.store.code import _sources, sources_digest


def test_the_digest_of_sources_covers_what_a_method_imports():
    sources = set(_sources("methods.compatible_features"))
    assert {
        "methods.compatible_features",
        "methods.pieces.losses",
        "methods.compatible_features.transforms",
    } <= sources
    assert "methods.recombine" not in sources
    assert sources_digest(CompatibleFeatures) != sources_digest(FineTune)
