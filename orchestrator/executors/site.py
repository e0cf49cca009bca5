"""The machine or cluster at hand: `spolia.toml` and what the command line says beside it. Never
part of a sweep, never part of a key.

    store = "s3://bucket/spolia"       # folder or address; likewise tracking, data, home
    tracking = "http://tracker:5000"
    address = "auto"                   # a Ray cluster to join; without it, a private Ray here
    head = "http://head:8265"          # where `spolia submit` hands sweeps in, from anywhere
    slots = 16                         # trials at once
    device = "gpu"                     # request GPUs even if none is up yet, on clusters that
                                       # scale from zero; or cpu; default auto
    checkpoint_every = 60              # seconds
    hold_back_after = 5                # failures of a method in one way, from two workers, after
                                       # which the rest of it waits until all else is done
    packages = ["my_lab"]              # beside installed methods: packages that classes may be
                                       # loaded from that a stored result or model names

    [gpus]                             # share of a GPU a trial, by method
    default = 1.0
    fine_tune = 0.25

    [cpus]                             # CPUs that Ray sets aside for a trial, by method
    default = 2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError, nearest
from orchestrator.planning.tries import ALIKE
from orchestrator.spec.declarations import (
    CPU_COUNT,
    GPU_SHARE,
    Resources,
    is_cpu_count,
    is_finite_number,
    is_gpu_share,
)
from orchestrator.spec.trial import Trial
from orchestrator.store.home import read_toml

DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True, kw_only=True)
class SiteFile:
    """What a `spolia.toml` says; None where it is silent."""

    home: str | None = None
    store: str | None = None
    tracking: str | None = None
    data: str | None = None
    address: str | None = None
    head: str | None = None
    slots: int | None = None
    device: str = "auto"
    checkpoint_every: float = 60.0
    hold_back_after: int = ALIKE
    packages: Sequence[str] = ()
    gpus: Mapping[str, float] = field(default_factory=dict)
    cpus: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Where and how trials run. `slots` is how many at once (None: one a CPU); `address` a Ray
    cluster (None: a private Ray).
    """

    scratch: Path
    slots: int | None = None
    checkpoint_every: float = 60.0
    address: str | None = None
    device: str = "auto"
    gpus: Mapping[str, float] = field(default_factory=dict)
    cpus: Mapping[str, float] = field(default_factory=dict)
    hold_back_after: int = ALIKE

    @property
    def ray_log(self) -> Path:
        """Where Ray's own words go: to a file in the home, as the scratch folder is."""
        return self.scratch.with_name("ray.log")

    def resources(self, trial: Trial) -> Resources:
        """What to set aside for a trial: what the site says for its method, else the site's
        default, else the method's own hint. A method that asks for no GPU gets none.
        """
        hint = trial.method.resources(trial)
        # The site knows its machines better than a method does.
        cpus = self.cpus.get(self.said_for("cpus", trial), hint.cpus)
        gpus = self.gpus.get(self.said_for("gpus", trial), hint.gpus)
        # A site's default share is meant for methods that use a GPU, not for every measurement.
        uses_gpu = hint.gpus and self.device != "cpu"
        return Resources(cpus=int(cpus), gpus=gpus if uses_gpu else 0.0)

    def said_for(self, kind: str, trial: Trial) -> str:
        """The name under which the table `kind` (`cpus` or `gpus`) has a trial's method: its own,
        or `default`; empty where the table says nothing, and the method's hint counts.
        """
        table: Mapping[str, float] = getattr(self, kind)
        return next((name for name in (trial.method.name, "default") if name in table), "")


def read_site(path: Path | None) -> SiteFile:
    """A site file, checked; an empty one where there is none. Raises InputError that lists
    everything wrong with it.
    """
    if path is None:
        return SiteFile()
    content = read_toml(path)
    # The fields are the keys, so neither is written twice.
    known = {f.name: f for f in fields(SiteFile)}
    problems = [
        f"unknown key {key!r}. {nearest(key, known)}" for key in content if key not in known
    ]
    for key, value in content.items():
        problem = _problem_with(key, value) if key in known else None
        if problem:
            problems.append(f"{key} = {value!r}: {problem}")
    if problems:
        raise InputError(f"{path} cannot be used as written:", problems)
    return SiteFile(**content)


def _problem_with(key: str, value: Any) -> str | None:
    """What is wrong with the value of a known key, or None."""
    if key in ("gpus", "cpus"):
        return _problem_with_shares(key, value)
    if key == "packages":
        is_list = isinstance(value, list) and all(_is_package(name) for name in value)
        return None if is_list else 'expected names of packages: ["my_lab"]'
    if key in ("slots", "hold_back_after"):
        # `true` is an int to Python; `is_finite_number` refuses it.
        is_count = is_finite_number(value) and isinstance(value, int) and value >= 1
        return None if is_count else "expected a whole number from 1"
    if key == "checkpoint_every":
        is_seconds = is_finite_number(value) and value >= 0
        return None if is_seconds else "expected seconds, from 0"
    if key == "device":
        return None if value in DEVICES else nearest(str(value), DEVICES)
    return None if isinstance(value, str) and value else "expected a text"


def _problem_with_shares(key: str, value: Any) -> str | None:
    """What is wrong with the table [gpus] or [cpus], or None."""
    if not isinstance(value, Mapping):
        return f"write a table: [{key}] and below it default = 1.0"
    is_possible = is_gpu_share if key == "gpus" else is_cpu_count
    wrong = [f"{name} = {share!r}" for name, share in value.items() if not is_possible(share)]
    expected = GPU_SHARE if key == "gpus" else CPU_COUNT
    return f"{', '.join(wrong)} must be {expected}" if wrong else None


def _is_package(name: Any) -> bool:
    # No dots: what is trusted is a whole package.
    return isinstance(name, str) and name.isidentifier()


def unknown_methods(site: SiteFile, known: Mapping[str, Any]) -> list[str]:
    """Names in [gpus] and [cpus] that are no method's, each with the nearest: a typo there would
    silently do nothing.
    """
    return [
        f"[{table}] {name}: no method is called so. {nearest(name, known)}"
        for table in ("gpus", "cpus")
        for name in getattr(site, table)
        if name not in known and name != "default"
    ]
