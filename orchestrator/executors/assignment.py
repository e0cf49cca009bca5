"""What workers are told once. Without torch, so that whoever only hands it on need not load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Assignment:
    """All that a worker has to know, the same for every worker of a run.

    `trials` are trials as JSON by key, `replaces` the digests, by key, of records that their new
    results are to replace. `code` holds the driver's digests of modules, by name, for the classes
    that a trial names (`class_paths`), `versions` its versions of Python and packages. `store` is
    an address, and `probe` names what the driver left in it for workers to see. `scratch` and
    `checkpoint_every` (seconds) say how trials leave checkpoints; `variables` are set in the
    worker's environment. `lifeline` is the address at which the driver listens as long as it lives,
    or empty.
    """

    trials: Mapping[str, str]
    replaces: Mapping[str, str]
    code: Mapping[tuple[str, ...], Mapping[str, str]]
    versions: Mapping[str, str]
    store: str
    probe: str
    scratch: str
    checkpoint_every: float
    variables: Mapping[str, str]
    lifeline: str = ""
