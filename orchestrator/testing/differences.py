"""In what two runs of one trial differ, in words: for the contract suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST = 8  # lines of a message
USUAL_CAUSES = (
    "Usual causes: a variable that a loop over run.epochs leaves, which is to be named in its "
    "state; a number drawn from a generator without a name, where run.draw gives one; a module "
    "that is trained and is not among the nets of the fit; something that outlives train, such as "
    "a global, an attribute of a class, or a file"
)


def differences(here: Mapping[str, Any], there: Mapping[str, Any], other: str) -> list[str]:
    """A line for each finding of one fingerprint that is another one in `there`, which messages
    call `other`.
    """
    lines = []
    for name, (own, its) in _pairs(_entries(here), _entries(there)):
        lines.append(f"{name}: {own}, {other} {its}")
    return lines


def told(lines: list[str]) -> str:
    """The differences as the end of a message."""
    more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return "\n".join(f"  {line}" for line in [*lines[:MOST], *more, USUAL_CAUSES])


def _pairs(
    here: Mapping[str, str], there: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, str]]]:
    for name in [*here, *(name for name in there if name not in here)]:
        own, its = here.get(name, "none"), there.get(name, "none")
        if own != its:
            yield name, (own, its)


def _entries(found: Mapping[str, Any]) -> dict[str, str]:
    """All that was found, by what people call it; in the order in which they look at it."""
    entries = {"outcome": str(found["outcome"])}
    for metric in found["metrics"]:
        entries[f"metric {metric['name']}{_labels(metric)}"] = repr(metric["value"])
    for kind, listed in (("component", found["components"]), ("matrix", found["matrices"])):
        for one in listed:
            # Bits are compared, and nobody reads them: their names tell that they differ.
            entries[f"{kind} {one['name']}{_labels(one)}"] = f"bits {one['blob'][:8]}"
            for field in sorted(set(one) - {"name", "labels", "blob"}):
                entries[f"{kind} {one['name']}{_labels(one)}, {field}"] = str(one[field])
    for name, step, value in found["curves"]:
        entries[f"curve {name}, epoch {step}"] = repr(value)
    for stage, (steps, images) in found["fits"].items():
        entries[f"fit {stage}"] = f"{steps} steps on {images} images"
    for stage, digests in found["frozen"].items():
        entries[f"frozen networks of {stage}"] = str(digests)
    entries["key"] = str(found["key"])[:12]
    return entries


def _labels(entry: Mapping[str, Any]) -> str:
    labels = entry.get("labels") or {}
    return f" ({', '.join(f'{name}={value}' for name, value in labels.items())})" if labels else ""
