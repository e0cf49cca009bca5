"""Writes docs/reference/ from the docstrings: `python docs/generate_reference.py`. A test holds
that the pages are what this writes.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orchestrator
from orchestrator.spec.registry import discover

FOLDER = Path(__file__).parent / "reference"
OTHERS = {  # documented, and no names of the front door
    "NetworkMeasurement": "methods.pieces.recombined_networks",
    "TrainedNetworks": "methods.pieces.recombined_networks",
    "MethodContract": "orchestrator.testing",
    "smoke_trial": "orchestrator.testing",
    "LabelledImages": "orchestrator.data.labelled_images",
}
# Names that are for messages, other programs, and what is documented elsewhere.
FOR_INSIDE = {
    "Estimate",
    "Group",
    "IGNORED",
    "Plan",
    "Augmentation",
    "resolve",
    "derive",
    "data_root",
    "make_plan",
    "nearest",
    "show",
    "Infeasible",
    "Store",
}
NO_CLAIMS = {"Claim", "Entry", "Labels", "Verdict", "verdicts"}
SMALL = """\
from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Trial, digits, local_run

task = digits.classes(0, 1, 2).images(limit=60).named("t")
trial = Trial(method=FineTune(epochs=1), network=resnet8(width=4), tasks=(task,), seed=0)
"""


@dataclass(frozen=True)
class Page:
    """A page: what it is about, an example that a test executes, the names it documents."""

    title: str
    about: str
    example: str
    names: tuple[str, ...]


PAGES = {
    "run": Page(
        "Run",
        "What `train` is given. In a notebook, `local_run(trial)` makes one.",
        SMALL
        + """
run = local_run(trial)
task = run.tasks[0]
net = run.network("network", task)
x, y = run.images(task.train.few(6, seed=run.seed))  # outside a fit, too
layer = run.draw("layer", torch.nn.Linear, 8, 2)  # drawn by name
trial.method.train(run)  # all that the method does
accuracy = run.metrics["accuracy", (("task", "t"),)]
""",
        ("Run", "local_run"),
    ),
    "method": Page(
        "Method and what it declares",
        "The base of every method, its settings, and what it says of itself.",
        '''\
class Halved(Method):
    """Logs half of a number."""

    name = "halved"
    uses = frozenset({"seed"})
    metrics = (Metric("half", headline=True, help="Half of the number."),)

    number: float = axis(1.0, over=(1.0, 2.0), help="what is halved")

    def train(self, run: Run) -> None:
        run.log(half=self.number / 2)


assert Halved(number=3).settings() == {"number": 3.0}
assert len(Halved.grid(number=[1, 2])) == 2
''',
        (
            "Method",
            "axis",
            "augmentation_axis",
            "roles",
            "Metric",
            "Kept",
            "MatrixSpec",
            "Plot",
            "Curve",
            "SameFeatures",
            "Resources",
        ),
    ),
    "trial": Page(
        "Trial and NetworkSpec",
        "What is to be run, and a network by name, as a sweep writes it. `needs` is given a trial "
        "and makes others of it.",
        SMALL
        + """
other = trial.replace(seed=1)
first, second = trial.copies(2)  # independent of each other: nothing is drawn alike
assert first == trial and second.seed != trial.seed
assert "stage2" in trial.network.splits
""",
        ("Trial", "NetworkSpec", "class_at", "ClassPath"),
    ),
    "result": Page(
        "Result",
        "What a finished trial left. `run.need(name)` and `session.open(key)` give one.",
        SMALL
        + """
store = Store("some-home/store")
two = trial.replace(tasks=(task, digits.classes(3, 4).images(limit=60).named("u")))
result = local_run(two, store=store.address).need("before")
assert result.outcome == "done"
assert 0 <= result.metric("accuracy", task="t") <= 1
net = result.network(task="t")
""",
        ("Result",),
    ),
    "component": Page(
        "Part and Component",
        "A trained piece: how its class is written, and how it is read back. A part that depends "
        "on others is kept with `requires=`, and `joined` makes the network of all of them.",
        '''\
class Adapter(Part):
    """A layer between the front of a network and its back."""

    def __init__(self, *, split: str, channels: int) -> None:
        super().__init__()
        self.split = split
        self.conv = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return self.conv(x)

    def joined(self, front, back):  # kept with requires={"front": ..., "back": ...}
        return torch.nn.Sequential(front.extractor(self.split), self, back.head(self.split))


assert Adapter(split="stem", channels=4).config == {"split": "stem", "channels": 4}
''',
        ("Part", "Component", "PartWithBase", "join"),
    ),
    "network": Page(
        "Network",
        "A backbone cut into named stages. The two sides of a split point share its layers.",
        """\
from methods.networks import resnet8
from orchestrator import Network, class_at, network_spec

spec = resnet8(width=4)
net = class_at(spec.path, Network)(**dict(spec.settings), channels=1, classes=3).eval()
front, back = net.cut("stage2")
x = torch.zeros(2, 1, 8, 8)
assert torch.equal(back(front(x)), net(x))
assert net.shape("pool", (1, 8, 8)) == (16,)
""",
        ("Network", "Piece", "Blocks", "network_spec", "StackedHeads"),
    ),
    "task": Page(
        "Task and Data",
        "Something to learn, and a part of it as a fit reads it. See [data.md](../data.md).",
        """\
from orchestrator import digits, randint, resolve, torchvision_set

low = digits.classes(0, 1, 2).images(0, of=2).validation(0.2).named("low")
grey = torchvision_set("MNIST").images(limit=1000).rgb().resized(32)
few = low.train.few(20, seed=0).augmented("flip").drawing(rotation=randint(4))
""",
        (
            "Task",
            "Data",
            "relabel",
            "common_classes",
            "digits",
            "torchvision_set",
            "image_folder",
            "parquet",
            "pasted",
            "unseen",
            "windows",
        ),
    ),
    "images": Page(
        "Images, batches and draws",
        "Images as tensors, and what a loss is given of them.",
        """\
from orchestrator import digits, images, in_order, normal, randint

task = digits.classes(0, 1, 2).named("t")
seen = images(task.test)
x, y = seen
assert x.shape[1:] == (1, 8, 8) and len(x) == len(y) == len(seen)
data = task.train.drawing(rotation=randint(4), code=normal(16))  # batch.rotation, batch.code
""",
        (
            "Batch",
            "Features",
            "images",
            "LabelledImages",
            "in_order",
            "randint",
            "normal",
            "Noise",
            "noise",
        ),
    ),
    "optimisers": Page(
        "Optimisers, schedules, stopping",
        "What `run.fit` takes as `optimizer=`, `schedule=`, `select=` and `until=`. Each may be a "
        "function of your own.",
        """\
from orchestrator import Best, Parameters, Plateau, cosine, one_cycle, sgd


def two_rates(parameters: Parameters) -> torch.optim.Optimizer:
    # The head learns ten times as fast; each parameter is in one group.
    groups = [
        {"params": parameters.matching("head.*"), "lr": 0.1},
        {"params": parameters.other("head.*"), "lr": 0.01},
    ]
    return torch.optim.SGD(groups, momentum=0.9)


optimizer = sgd(0.1, weight_decay=5e-4)  # run.fit(..., optimizer=optimizer), or two_rates
schedule = one_cycle()
assert 0 < cosine()(0.5) < 1
select, until = Best("val_accuracy"), Plateau("val_accuracy", patience=5)
""",
        (
            "sgd",
            "adam",
            "all_of",
            "Parameters",
            "constant",
            "cosine",
            "one_cycle",
            "drops",
            "Best",
            "Plateau",
            "Reached",
        ),
    ),
    "matrices": Page(
        "Matrices and scores",
        "What `run.matrix` leaves and a result gives back, and the mean over seeds.",
        SMALL
        + """
run = local_run(trial)
net = run.network("network", run.tasks[0])
scores = run.recombine([net.extractor("pool")], [net.head("pool")], [run.tasks[0]])
assert scores.by_head.accuracy.shape == (1, 1)
""",
        ("Matrix", "MeanMatrix", "Scores", "PairScores"),
    ),
    "measuring": Page(
        "Networks of many settings, seeds and orders in one matrix",
        "The machinery of `methods/recombine.py`, for measurements of your own.",
        '''\
from methods.pieces.recombined_networks import NetworkMeasurement
from orchestrator import MatrixSpec, Run, roles


class SharedDirections(NetworkMeasurement):
    """The cosine between the classifiers' weights of any two networks."""

    name = "shared_directions"
    tasks = roles("tasks", at_least=1)
    matrices = (MatrixSpec("cosine", "network", "other", headline=True),)

    def train(self, run: Run) -> None:
        networks = self.trained_networks(run)
        rows = torch.stack([net.last_layer.weight.mean(0) for net in networks.modules])
        rows = torch.nn.functional.normalize(rows.detach())  # [networks, features]
        networks.measure(run, "cosine", rows @ rows.T)


assert "other_seeds" in SharedDirections().settings()
''',
        ("NetworkMeasurement", "TrainedNetworks"),
    ),
    "claims": Page(
        "Claims",
        "Statements of a paper as tests on a sweep's results. [claims.md](../claims.md) says what "
        "each tests, and when it is undecided. `where`, `than` and other names of sides are "
        "mappings of axes (and labels of the metric) to values; `metric` is a name or "
        "`claims.entry(...)`; `paper` says where the paper says it, for tables.",
        """\
from orchestrator import claims

stands = claims.Higher(
    metric="accuracy", where={"lr": 0.1}, than={"lr": 0.01}, by=0.02, paper="table 1"
)
of_an_entry = claims.Within(
    metric=claims.entry("accuracy", row="a", column="b"), where={"split": "pool"}, above=0.5
)
""",
        ("claims",),
    ),
    "sweep": Page(
        "Sweep and grids",
        "What a sweep file is made of.",
        """\
from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, digits, product, union, zipped

sweep = Sweep(
    question="Which rate trains better?",
    cells=product(
        union(FineTune.grid(lr=[0.1, 0.01]), FineTune.grid(epochs=0)),
        network=resnet8(width=4),
        tasks=digits,
        seed=range(2),
    ),
    expect=6,
)
""",
        ("Sweep", "Grid", "product", "union", "zipped", "load_sweep"),
    ),
    "session": Page(
        "Session and results",
        "Sweeps from Python: [session.md](../session.md) and [notebooks.md](../notebooks.md).",
        """\
from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Session, Sweep, digits, product

sweep = Sweep(
    question="How well?",
    cells=product(FineTune.grid(epochs=1), network=resnet8(width=4), tasks=digits, seed=0),
    expect=1,
)
session = Session(sweep, name="how_well", home="some-home")
assert len(session.plan().todo) == 1
""",
        ("Session", "Results", "BestSetting", "Verdicts", "accuracy"),
    ),
    "testing": Page(
        "The contract suite",
        "For tests of methods: inherit `MethodContract`.",
        """\
import pytest

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator.testing import MethodContract, smoke_trial


class TestMine(MethodContract):
    @pytest.fixture
    def trial(self):
        return smoke_trial(FineTune(epochs=1, lr=0.05), network=resnet8(width=4))
""",
        ("MethodContract", "smoke_trial"),
    ),
}


def find(name: str) -> Any:
    if name in OTHERS:
        return getattr(__import__(OTHERS[name], fromlist=[name]), name)
    return getattr(orchestrator, name)


def page_text(page: Page) -> str:
    """A page as it stands in the folder."""
    used = sorted(
        {name for name in orchestrator.__all__ if re.search(rf"\b{name}\b", page.example)}
    )
    example = page.example
    if used and "from orchestrator" not in example:
        example = f"from orchestrator import {', '.join(used)}\n\n\n{example}"
    elif "Store(" in example:
        example = example.replace(
            "import Trial, digits, local_run", "import Store, Trial, digits, local_run"
        )
    if "torch." in example:
        example = f"import torch\n\n{example}"
    parts = [f"# {page.title}", page.about, f"```python\n{example}```"]
    for name in page.names:
        parts += list(described(name, find(name)))
    return "\n\n".join(parts) + "\n"


def described(name: str, value: Any) -> Iterator[str]:
    """A name's heading, signature and docstring, and of a class its public members."""
    if name == "claims":
        for claim in sorted(set(value.__all__) - NO_CLAIMS):
            yield from described(f"claims.{claim}", getattr(value, claim))
        return
    yield f"## {name}"
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        yield NO_CLASSES[name]
        return
    if (shown := signature(name, value)) and "Literal" not in str(type(value)):
        yield f"```text\n{shown}\n```"
    if text := inspect.getdoc(value):
        yield markdown(text)
    if inspect.isclass(value):
        for member, function in members(value):
            yield f"### {name}.{member}"
            if not isinstance(function, property):
                yield f"```text\n{signature(member, function)}\n```"
            text = inspect.getdoc(function)
            yield markdown(text or "")


NO_CLASSES = {
    "ClassPath": "The type of an argument of a network that names the class of another network "
    "which it is made of, as `module:Class`.",
    "digits": "The task of telling scikit-learn's handwritten digits apart: 1,797 grey images of "
    "8 x 8 pixels, which come with scikit-learn. It has all verbs of `Task`.",
}


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Public functions and properties that a class defines itself and that say what they do."""
    for name, raw in vars(cls).items():
        value = raw.__func__ if isinstance(raw, classmethod | staticmethod) else raw
        is_shown = inspect.isfunction(value) or isinstance(value, property)
        if not name.startswith("_") and is_shown and inspect.getdoc(value):
            yield name, value


def signature(name: str, value: Any) -> str:
    """How it is called: without self, annotations and the values of defaults that nobody sees."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (ValueError, TypeError):
        return ""
    if dataclasses.is_dataclass(value) and [p.name for p in parameters] == ["unnamed", "given"]:
        fields = [_parameter(field) for field in dataclasses.fields(value) if field.init]
        # What has to be given first
        parameters = sorted(fields, key=lambda p: p.default is not p.empty)
    shown = [p.replace(annotation=p.empty) for p in parameters if p.name not in ("self", "cls")]
    text = str(inspect.Signature([*shown]))
    # What has no short form, such as a default of a dataclass, says no more than that it is one.
    text = re.sub(r"<[^<>]*>", "...", re.sub(r"mappingproxy\([^)]*\)", "{}", text))
    return f"{name}{text}"


def _parameter(field: dataclasses.Field[Any]) -> inspect.Parameter:
    """A field of a claim, which takes its fields by keyword and checks them itself."""
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    elif default is dataclasses.MISSING:
        default = inspect.Parameter.empty
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default)


def markdown(text: str) -> str:
    """A docstring as Markdown: what is indented is code."""
    lines: list[str] = []
    code: list[str] = []
    for line in [*text.splitlines(), "end"]:
        if line.startswith("    ") or (code and not line.strip()):
            code.append(line[4:])
            continue
        if code:
            while code and not code[-1].strip():
                code.pop()
            lines += ["", "```text", *code, "```", ""]
            code = []
        lines.append(re.sub(r"::$", ":", line))
    joined = "\n".join(lines[:-1])
    return re.sub(r"\n{3,}", "\n\n", joined).strip()


def glossary() -> str:
    """Every metric and matrix of the methods at hand, by name."""
    rows: dict[tuple[str, str], list[str]] = {}
    for method in discover().values():
        if not method.__module__.startswith("methods."):
            continue
        for declared in method.metrics:
            lower = "" if declared.higher_is_better else " Lower is better."
            about = (declared.help or "") + lower
            rows.setdefault((declared.name, about.strip()), []).append(method.name)
        for matrix in method.matrices:
            about = f"Matrix, {matrix.rows} x {matrix.columns}. {matrix.help}".strip()
            rows.setdefault((matrix.name, about), []).append(method.name)
    lines = [
        f"| `{name}` | {about} | {', '.join(dict.fromkeys(methods))} |"
        for (name, about), methods in sorted(rows.items())
    ]
    return "\n".join([GLOSSARY, *lines]) + "\n"


GLOSSARY = """\
# Metrics and matrices

What the methods that come with Spolia leave, by name. `spolia methods NAME` shows the same for one
method, yours included. An accuracy is a share of images, from 0 to 1. Where a task is named in a
table, as in `accuracy[task=a]`, the metric is logged by it.

| name | what it is | left by |
|---|---|---|"""


def index() -> str:
    lines = ["# Reference", "", INTRODUCTION, ""]
    for name, page in PAGES.items():
        listed = ", ".join(f"`{one}`" for one in page.names)
        lines.append(f"- [{page.title}]({name}.md): {listed}")
    lines.append("- [Metrics and matrices](metrics.md) of the methods that come with Spolia")
    return "\n".join(lines) + "\n"


INTRODUCTION = (
    "All names that are not written with a module come from `orchestrator`. These pages are made "
    "of the docstrings by `python docs/generate_reference.py`."
)


def pages() -> dict[str, str]:
    """All files of the folder, by name."""
    made = {f"{name}.md": page_text(page) for name, page in PAGES.items()}
    return {"README.md": index(), "metrics.md": glossary(), **made}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
