"""Spolia: sweeps of experiments on neural networks whose parts can be reused.

The front door. Everything that a sweep file, a method and a notebook need has its name here::

    from orchestrator import Sweep, digits, product

A name is loaded when it is first used, so importing this package imports neither torch nor anything
else that is slow. The rooms behind it, from the ground up: `spec`, `store`, `data`, `parts`,
`training`, `planning`, `executors`, `analysis`, `tracking`, `session`, `cli`; see
docs/architecture.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.analysis import claims
    from orchestrator.analysis.best import BestSetting
    from orchestrator.analysis.estimates import Estimate
    from orchestrator.analysis.groups import Group
    from orchestrator.analysis.mean_matrix import MeanMatrix
    from orchestrator.analysis.results import Results
    from orchestrator.analysis.verdicts import Verdicts
    from orchestrator.data.batches import Batch, Features, in_order
    from orchestrator.data.labelled_images import images
    from orchestrator.data.resolve import common_classes, resolve
    from orchestrator.data.root import data_root
    from orchestrator.errors import (
        CorruptError,
        DataError,
        ExecutorError,
        Infeasible,
        InputError,
        MethodError,
        PlanError,
        SpoliaError,
        StoreError,
        SweepError,
        nearest,
    )
    from orchestrator.parts.component import Part, PartWithBase
    from orchestrator.parts.joining import join
    from orchestrator.parts.matrix import Matrix
    from orchestrator.parts.network import Blocks, Network, Piece, network_spec
    from orchestrator.parts.recombination import PairScores, Scores
    from orchestrator.parts.result import Component, Result
    from orchestrator.parts.stacked_heads import StackedHeads
    from orchestrator.planning.plan import Plan, make_plan
    from orchestrator.session.session import Session
    from orchestrator.spec.canonical import derive, show
    from orchestrator.spec.classes import ClassPath, class_at
    from orchestrator.spec.datasets import (
        digits,
        image_folder,
        parquet,
        pasted,
        torchvision_set,
        unseen,
        windows,
    )
    from orchestrator.spec.declarations import (
        Curve,
        Kept,
        MatrixSpec,
        Metric,
        Plot,
        Resources,
        SameFeatures,
        roles,
    )
    from orchestrator.spec.draws import Noise, noise, normal, randint
    from orchestrator.spec.grid import Grid, product, union, zipped
    from orchestrator.spec.method import Method
    from orchestrator.spec.preparation import Augmentation, augmentation_axis
    from orchestrator.spec.settings import axis
    from orchestrator.spec.sweep import Sweep
    from orchestrator.spec.sweep_file import load_sweep
    from orchestrator.spec.task import IGNORED, Data, Task, relabel
    from orchestrator.spec.trial import NetworkSpec, Trial
    from orchestrator.store.store import Store
    from orchestrator.training.local import local_run
    from orchestrator.training.optimisers import (
        Parameters,
        adam,
        all_of,
        constant,
        cosine,
        drops,
        one_cycle,
        sgd,
    )
    from orchestrator.training.run import Run
    from orchestrator.training.scoring import accuracy
    from orchestrator.training.stopping import Best, Plateau, Reached

__all__ = [
    "IGNORED",
    "Augmentation",
    "Batch",
    "Best",
    "BestSetting",
    "Blocks",
    "ClassPath",
    "Component",
    "CorruptError",
    "Curve",
    "Data",
    "DataError",
    "Estimate",
    "ExecutorError",
    "Features",
    "Grid",
    "Group",
    "Infeasible",
    "InputError",
    "Kept",
    "Matrix",
    "MatrixSpec",
    "MeanMatrix",
    "Method",
    "MethodError",
    "Metric",
    "Network",
    "NetworkSpec",
    "Noise",
    "PairScores",
    "Parameters",
    "Part",
    "PartWithBase",
    "Piece",
    "Plan",
    "PlanError",
    "Plateau",
    "Plot",
    "Reached",
    "Resources",
    "Result",
    "Results",
    "Run",
    "SameFeatures",
    "Scores",
    "Session",
    "SpoliaError",
    "StackedHeads",
    "Store",
    "StoreError",
    "Sweep",
    "SweepError",
    "Task",
    "Trial",
    "Verdicts",
    "accuracy",
    "adam",
    "all_of",
    "augmentation_axis",
    "axis",
    "claims",
    "class_at",
    "common_classes",
    "constant",
    "cosine",
    "data_root",
    "derive",
    "digits",
    "drops",
    "image_folder",
    "images",
    "in_order",
    "join",
    "load_sweep",
    "local_run",
    "make_plan",
    "nearest",
    "network_spec",
    "noise",
    "normal",
    "one_cycle",
    "parquet",
    "pasted",
    "product",
    "randint",
    "relabel",
    "resolve",
    "roles",
    "sgd",
    "show",
    "torchvision_set",
    "union",
    "unseen",
    "windows",
    "zipped",
]

_DEFINED_IN = {
    # A sweep file.
    "orchestrator.spec.sweep": ("Sweep",),
    "orchestrator.spec.sweep_file": ("load_sweep",),
    "orchestrator.spec.grid": ("Grid", "product", "union", "zipped"),
    "orchestrator.spec.datasets": (
        "digits",
        "image_folder",
        "parquet",
        "pasted",
        "torchvision_set",
        "unseen",
        "windows",
    ),
    # A method: what it declares, and what it works with.
    "orchestrator.spec.method": ("Method",),
    "orchestrator.spec.settings": ("axis",),
    "orchestrator.spec.preparation": ("Augmentation", "augmentation_axis"),
    "orchestrator.spec.declarations": (
        "Curve",
        "Kept",
        "MatrixSpec",
        "Metric",
        "Plot",
        "Resources",
        "SameFeatures",
        "roles",
    ),
    "orchestrator.spec.task": ("IGNORED", "Data", "Task", "relabel"),
    "orchestrator.spec.draws": ("Noise", "noise", "normal", "randint"),
    "orchestrator.spec.trial": ("NetworkSpec", "Trial"),
    "orchestrator.spec.canonical": ("derive", "show"),
    "orchestrator.spec.classes": ("ClassPath", "class_at"),
    "orchestrator.training.run": ("Run",),
    "orchestrator.training.optimisers": (
        "Parameters",
        "adam",
        "all_of",
        "constant",
        "cosine",
        "drops",
        "one_cycle",
        "sgd",
    ),
    "orchestrator.training.stopping": ("Best", "Plateau", "Reached"),
    "orchestrator.data.batches": ("Batch", "Features", "in_order"),
    "orchestrator.data.root": ("data_root",),
    # Networks and other parts.
    "orchestrator.parts.component": ("Part", "PartWithBase"),
    "orchestrator.parts.network": ("Blocks", "Network", "Piece", "network_spec"),
    "orchestrator.parts.recombination": ("PairScores", "Scores"),
    "orchestrator.parts.stacked_heads": ("StackedHeads",),
    # A notebook.
    "orchestrator.session.session": ("Session",),
    "orchestrator.parts.result": ("Component", "Result"),
    "orchestrator.parts.matrix": ("Matrix",),
    "orchestrator.parts.joining": ("join",),
    "orchestrator.training.scoring": ("accuracy",),
    "orchestrator.data.labelled_images": ("images",),
    "orchestrator.planning.plan": ("Plan", "make_plan"),
    "orchestrator.analysis.results": ("Results",),
    "orchestrator.analysis.groups": ("Group",),
    "orchestrator.analysis.estimates": ("Estimate",),
    "orchestrator.analysis.mean_matrix": ("MeanMatrix",),
    "orchestrator.analysis.best": ("BestSetting",),
    "orchestrator.analysis.verdicts": ("Verdicts",),
    "orchestrator.store.store": ("Store",),
    "orchestrator.training.local": ("local_run",),
    "orchestrator.data.resolve": ("common_classes", "resolve"),
    # What can go wrong.
    "orchestrator.errors": (
        "CorruptError",
        "DataError",
        "ExecutorError",
        "Infeasible",
        "InputError",
        "MethodError",
        "PlanError",
        "SpoliaError",
        "StoreError",
        "SweepError",
        "nearest",
    ),
}
_HOME_OF = {name: module for module, names in _DEFINED_IN.items() for name in names}
_HOME_OF["claims"] = "orchestrator.analysis.claims"  # the one module among the names


def __getattr__(name: str) -> Any:
    """Load a name of the front door when it is first asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOME_OF[name])
    value = module if name == "claims" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
