"""Run: the handle that a method is given while its trial executes. It has what every method needs
and nothing of any one of them.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar, overload

import torch
from torch import nn

from orchestrator.data import sources
from orchestrator.data.batches import Batch, Features, Feed, in_order, tensors
from orchestrator.data.labelled_images import LabelledImages, images_on, part_of
from orchestrator.errors import Infeasible, MethodError, nearest
from orchestrator.parts.as_it_was import in_eval_mode
from orchestrator.parts.component import ComponentRecord, Part, state_bytes
from orchestrator.parts.matrix import Matrix, make_matrix
from orchestrator.parts.network import Network
from orchestrator.parts.recombination import Scores, recombine
from orchestrator.parts.result import Component, Result
from orchestrator.spec.canonical import derive
from orchestrator.spec.classes import class_at
from orchestrator.spec.declarations import Kept, MatrixSpec, Metric
from orchestrator.spec.draws import Noise
from orchestrator.spec.task import Data, Task, Tasks
from orchestrator.spec.trial import NetworkSpec, Trial
from orchestrator.training.checkpoints import Checkpoints
from orchestrator.training.evaluation import Evaluation, Watch
from orchestrator.training.feeds import Feeds, FitData, LastBatch, Span, refuse_test_part
from orchestrator.training.fit import fit
from orchestrator.training.kernels import without_faulty_kernels
from orchestrator.training.learner import Learner, Loss, Nets
from orchestrator.training.loop_variables import LoopVariables
from orchestrator.training.optimisers import OptimizerOf, Schedule, constant
from orchestrator.training.own_loop import OwnLoop
from orchestrator.training.scoring import outputs_for, share_correct, shares_correct
from orchestrator.training.stage import CurvePoint, Fit, Moment, OnEpoch, Stage
from orchestrator.training.stopping import Best, Until

Labels = Mapping[str, str]
LabelPairs = tuple[tuple[str, str], ...]  # labels in the order of their declaration
Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


class Run:
    """Given to `Method.train`. What is logged, kept and measured under the same name and labels
    again replaces what was there, so that executing `train` twice leaves the same as once.

    `tasks` are the trial's, with their images: by role (`run.tasks.source`), by place
    (`run.tasks[0]`), by name (`run.tasks["a"]`), or in turn (`for task in run.tasks`,
    `*earlier, last = run.tasks`). `needs` are the results of its needs by name, and `need` gives
    one. `trial` is what is run, `seed` its seed, `device` where it computes. `metrics`, `kept` and
    `matrices` hold what it has left so far.
    """

    def __init__(
        self,
        trial: Trial,
        needs: Mapping[str, Result],
        *,
        checkpoints: Checkpoints | None = None,
        device: str | torch.device = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self.trial, self.needs = trial, dict(needs)
        self.tasks = Tasks(trial.tasks, trial.method.tasks.names)
        self.seed = trial.seed
        self.device = torch.device(device)
        self.fits: dict[str, Fit] = {}
        self.metrics: dict[tuple[str, LabelPairs], float] = {}
        self.kept: dict[tuple[str, LabelPairs], tuple[ComponentRecord, bytes]] = {}
        self.matrices: dict[str, Matrix] = {}
        self._checkpoints = checkpoints or Checkpoints(None)
        self._on_epoch = on_epoch
        self._stage: Stage | None = None  # the one under way
        self._entered_stages: dict[str, Stage] = {}
        self._own_loop: OwnLoop | None = None
        # What a method draws before its first stage is the trial's seed's, not the process's.
        torch.manual_seed(derive(self.seed, "start"))

    # ------------------------------------------------------------------ what there is to work with

    def network(
        self,
        name: str,
        task: Task | None = None,
        *,
        start: str | None = None,
        classes: int | None = None,
        spec: NetworkSpec | None = None,
        trained_classifier: bool = False,
    ) -> Network:
        """The trial's network (or `spec`), freshly drawn, for the images and classes of `task`
        (default: the first task), or for `classes` outputs.

        Weights come from `derive(seed, "init", start or name)`: the same `start` gives the same
        weights. Each row of the classifier is drawn by its class's name, so networks with one start
        agree on the classes they share and differ on the others. With `trained_classifier` the
        classifier is that of the trained weights, for a task whose classes are theirs; raises
        InputError where the network starts from none, or they are for another number of classes.

        Neither the task nor the method is in that name: networks of two trials of one seed are not
        independent of each other. `Trial.copies` gives trials whose networks are.
        """
        spec = spec or self.trial.network
        if spec is None:
            raise MethodError(
                f"{self.trial.method.name} has no network; list 'network' in its `uses`"
            )
        task = task or self.tasks[0]
        if classes is None:
            class_names = list(task.class_names)
        else:
            class_names = [f"output {number}" for number in range(classes)]
        stream = start or name
        # Drawing a network moves nobody's random numbers: what is drawn
        # next does not depend on how many networks were drawn before.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(derive(self.seed, "init", stream))
            channels = self.image(task)[0]
            settings = dict(spec.settings)
            cls = class_at(spec.path, Network)
            net = cls(**settings, channels=channels, classes=len(class_names))
            trained = net.pretrained()
            if trained:
                net.take(trained)
            if trained_classifier:
                net.take_classifier(trained or {})
            else:
                self._draw_classifier(net.last_layer, stream, class_names)
        return net

    @torch.no_grad()
    def _draw_classifier(self, layer: nn.Linear, stream: str, class_names: Sequence[str]) -> None:
        bound = 1 / math.sqrt(layer.in_features)  # as torch draws a linear layer
        for row, class_name in enumerate(class_names):
            seed = derive(self.seed, "init", stream, "class", class_name)
            generator = torch.Generator().manual_seed(seed)
            layer.weight[row].uniform_(-bound, bound, generator=generator)
            layer.bias[row].uniform_(-bound, bound, generator=generator)

    @overload
    def draw(self, name: str, /) -> torch.Generator: ...

    @overload
    def draw(
        self,
        name: str,
        make: Callable[Arguments, Made],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Made: ...

    def draw(
        self, name: str, make: Callable[..., Any] | None = None, /, *args: Any, **kwargs: Any
    ) -> Any:
        """Randomness by name: equal names give equal numbers in every trial of this seed, whatever
        was drawn before.

        `run.draw("anchors")` is a generator on the CPU, a new one at its beginning each time:
        `torch.randperm(n, generator=run.draw("anchors"))`. `run.draw("stitch", Stitch, channels=8)`
        is `Stitch(channels=8)` with weights that are drawn so; the generators of the process stand
        afterwards where they stood. As with `run.network`, neither the task nor the method is in
        the name: put into it what is to make a difference.
        """
        seed = derive(self.seed, "draw", name)
        if make is None:
            return torch.Generator().manual_seed(seed)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            return make(*args, **kwargs)

    def images(self, data: Data) -> LabelledImages:
        """All images of a part of a task and their labels, in their own order, on this run's
        device, as networks take them: `x, y = run.images(task.train.few(50, seed=run.seed))`. Not
        augmented. For a part too large to lie there at once, go through
        `in_order(data, run.device)`.

        For what is no training: anchors, statistics, a measurement. It may stand anywhere in
        `train`; the test part is refused during a fit. Raises InputError for a part without images.
        """
        data = part_of(data)
        self._refuse_test_part(data)
        return images_on(data, self.device)

    def image(self, task: Task) -> tuple[int, int, int]:
        """Shape of a task's images: (channels, height, width)."""
        return task.image(sources.load(task.data).record)

    def count(self, data: Data) -> int:
        """How many images a part of a task has."""
        return len(tensors(data, self.device)[1])

    def need(self, name: str) -> Result:
        """The result of a need. Raises MethodError for a name that `needs` does not give."""
        if name not in self.needs:
            raise MethodError(
                f"{self.trial.method.name} has no need {name!r}. {nearest(name, self.needs)}"
            )
        return self.needs[name]

    # ------------------------------------------------------------------ training and measuring

    def fit(
        self,
        stage: str,
        nets: Nets,
        loss: Loss,
        data: FitData,
        *,
        optimizer: OptimizerOf,
        epochs: int | None = None,
        steps: int | None = None,
        batch: int = 128,
        length: Literal["longest", "shortest"] = "longest",
        last_batch: LastBatch = "drop",
        schedule: Schedule | None = None,
        frozen: Nets | None = None,
        watch: Watch | None = None,
        every: int = 1,
        select: Best | None = None,
        until: Until | None = None,
    ) -> Fit:
        """Train `nets` in place and return what happened.

        `loss(nets, batch)` gives a scalar tensor or named ones, which are summed and logged; `nets`
        holds the trained and the frozen nets by name, `batch` is a `Batch`, or a mapping of them
        where `data` is a mapping. Everything reaches it through its arguments. Data are parts of
        tasks, `run.features(...)` or `noise(...)`; each data set is read in an order of its own,
        those with the same `.ordered(name)` in the same. Nets may share layers, which are trained
        once, under their first net's name; a frozen net may share none with a trained one. Names
        of nets, data and stages are free. `epochs` count
        passes through the longest (or shortest) data set, `steps` optimiser steps; the other data
        sets cycle. Images that fill no batch at the end of an epoch are left out of it, or with
        `last_batch="keep"` are a smaller one. `frozen` nets stay in eval mode, get no gradient, and
        their bits are compared afterwards. `watch` is evaluated every `every` epochs and at the
        end; `select=Best("val_accuracy")` ends with the best state on that curve,
        `until=Plateau(...)` or any pure function of the curves stops early. With the trial's
        numerics at bf16 the loss is computed under autocast, weights and optimiser stay in fp32.
        Stage names are unique within a trial.
        """
        span = Span(epochs=epochs, steps=steps, batch=batch, length=length, last_batch=last_batch)
        schedule = schedule or constant()
        with self._entered(stage) as entered:
            evaluation = Evaluation(entered, watch=watch, every=every, select=select, until=until)
            feeds = Feeds(entered, data, span, self.device)
            learner = Learner(
                stage,
                nets,
                loss,
                optimizer=optimizer,
                schedule=schedule,
                frozen=frozen or {},
                numerics=self.trial.numerics,
                device=self.device,
            )
            all_nets = [*nets.values(), *(frozen or {}).values()]
            with without_faulty_kernels(all_nets, self.device):
                self.fits[stage] = fit(entered, feeds, learner, evaluation)
        return self.fits[stage]

    @contextlib.contextmanager
    def _entered(self, name: str) -> Iterator[Stage]:
        if name in self.fits or (self._stage is not None and self._stage.name == name):
            raise MethodError(
                f"stage {name!r} is used twice; every fit of a trial needs a name of its own"
            )
        if self._stage is not None:
            raise MethodError(
                f"stage {name!r} begins inside stage {self._stage.name!r}; "
                "end the first before the second begins"
            )
        self._stage = self._entered_stages[name] = Stage(
            name, seed=self.seed, checkpoints=self._checkpoints, on_epoch=self._tell
        )
        try:
            yield self._stage
        finally:
            self._stage = None

    @property
    def curves(self) -> list[CurvePoint]:
        """Every point so far, each once: those of the stages that have reported, then those of a
        stage that is under way or did not come to its end.
        """
        reported = [point for fitted in self.fits.values() for point in fitted.curves]
        others = [stage for name, stage in self._entered_stages.items() if name not in self.fits]
        return [*reported, *(point for stage in others for point in stage.curves)]

    def _tell(self, stage: Stage) -> None:
        """Tell the listener of the end of an epoch."""
        if self._on_epoch is not None:
            moment = Moment(stage.name, stage.epoch, stage.num_epochs, self.curves, stage.loss)
            self._on_epoch(moment)

    def epochs(self, stage: str, count: int, **state: Any) -> Iterator[int]:
        """An own loop, for what `fit` cannot express: `for epoch in run.epochs("train", 10,
        net=net, optimizer=optimizer): ...`

        `state` is all that changes from epoch to epoch: modules, optimisers, tensors and arrays
        that are changed in place, dictionaries and lists of tensors and plain values. It is saved
        and restored, so that a resumed trial goes on with the same bits. A trial that is resumed
        behind the loop does not execute its body at all. So MethodError is raised for a variable
        that the body sets or changes, that is read later, and that is not in `state`. Read data by
        `run.batches`, leave values by `run.curve`.
        """
        modules = [part for part in state.values() if isinstance(part, nn.Module)]
        variables = LoopVariables(sys._getframe(1), state)
        with self._entered(stage) as entered, without_faulty_kernels(modules, self.device):
            loop = self._own_loop = OwnLoop(entered, count, state, variables)
            try:
                yield from loop
            finally:
                self.fits[stage] = loop.report()
                self._own_loop = None

    def _inside_own_loop(self, call: str) -> OwnLoop:
        if self._own_loop is None:
            raise MethodError(f"{call} belongs inside `for epoch in run.epochs(...)`")
        return self._own_loop

    def batches(
        self, data: Data | Noise, *, batch: int = 128, name: str = "data"
    ) -> Iterator[Batch]:
        """Inside `epochs`: this epoch's batches, in the order that `fit` would read them. Two data
        sets of a stage need two names.
        """
        loop = self._inside_own_loop("run.batches(...)")
        stage = loop.stage.name
        refuse_test_part(stage, name, data)
        feed = Feed(data, name=name, seed=self.seed, stage=stage, device=self.device)
        size = min(batch, len(feed))
        num_steps = len(feed) // size
        loop.images += num_steps * size
        return feed.epoch(loop.stage.epoch, num_steps, size)

    def curve(self, **values: float) -> None:
        """Inside `epochs`: values of this epoch on the stage's curves; one that is not finite ends
        the trial as diverged.
        """
        loop = self._inside_own_loop("run.curve(...)")
        loop.curve({name: float(value) for name, value in values.items()})

    def accuracy(
        self,
        net: nn.Module,
        data: Data,
        *,
        among: Sequence[int] | None = None,
        outputs_of: Task | None = None,
    ) -> float:
        """Share of images (where labels are masks: of pixels) whose largest logit is the label's;
        `among` restricts the choice to these outputs. With `outputs_of` the outputs are that task's
        classes, and only images of these count; NaN where there are none. Leaves the net's mode as
        it was."""
        self._refuse_test_part(data)
        net.to(self.device)
        table = None if outputs_of is None else outputs_for(data.task, outputs_of, self.device)
        outputs = None if among is None else torch.tensor(list(among), device=self.device)
        return share_correct(net, in_order(data, self.device), table=table, among=outputs)

    def accuracies(self, net: nn.Module, data: Data, *, top: Sequence[int]) -> list[float]:
        """For each number in `top`, the share of images whose label is among so many outputs of
        largest logit, in one pass: `run.accuracies(net, task.test, top=(1, 5))`.
        """
        self._refuse_test_part(data)
        net.to(self.device)
        return shares_correct(net, in_order(data, self.device), top)

    def _refuse_test_part(self, data: Data) -> None:
        if self._stage is not None and data.part == "test" and not data.because:
            raise MethodError(
                f"stage {self._stage.name!r}: the test part is not measured during a fit; "
                "watch task.validation_part"
            )

    @torch.no_grad()
    def features(self, net: nn.Module, data: Data) -> Features:
        """What a net makes of each image of a part, in eval mode, computed once, as the net is now.
        A fit takes it as data: alone in place of the images, `batch.x` being [B, ...] as the net's
        outputs are and `batch.y` the labels; or beside the images, in one order with them:

            images = task.train.ordered(task.name)
            data = {"images": images, "answers": run.features(net, images)}

        `batch["answers"].x` then holds the answers for `batch["images"].x`, whatever the fit makes
        of the net: what it said before is kept. As features for a net behind it, they are right
        only while nothing changes the net. Raises MethodError for images that are augmented, which
        are others in each epoch. All of it lies on the device.
        """
        if data.augmentation != "none":
            raise MethodError(
                f"features of {data.task.name}: images that are augmented are others in each "
                "epoch, so nothing can be computed once"
            )
        net.to(self.device)
        with in_eval_mode(net):
            # `in_order` reads a part as it is; of `few`, the batches are its own.
            pieces = [net(x) for x, _ in in_order(data, self.device)]
        return Features(data, torch.cat(pieces))

    def recombine(
        self, extractors: Sequence[nn.Module], heads: Sequence[nn.Module], tasks: Sequence[Task]
    ) -> Scores:
        """Every extractor with every head on the test images; see
        `orchestrator.parts.recombination.recombine`.
        """
        return recombine(extractors, heads, tasks, self.device)

    # ------------------------------------------------------------------ what a trial leaves

    def log(self, *, by: Labels | None = None, **metrics: float) -> None:
        """Declared metrics, under the labels that their declaration names. NaN says that there is
        no value: it enters no mean, and claims say so; the trial is done all the same.
        """
        for name, value in metrics.items():
            labels = self._declared("metric", name, self.trial.method.metrics, by)
            self.metrics[name, labels] = float(value)

    def keep(
        self,
        name: str,
        part: Part,
        *,
        by: Labels | None = None,
        requires: Component | Mapping[str, Component] | None = None,
    ) -> None:
        """A declared component, as it is now. `requires` names the component that it cannot be used
        without, or several by name: `requires={"front": one, "back": other}` for a part with
        `joined(self, front, back)`. See `Part.joined`.
        """
        labels = self._declared("component", name, self.trial.method.components, by)
        if not isinstance(part, Part):
            raise MethodError(
                f"keep({name!r}): {type(part).__name__} is not a Part and could not be rebuilt; "
                "derive it from orchestrator.Part"
            )
        # A class that no other process can import is refused now, not when somebody wants the
        # component.
        class_at(part.path, Part)
        record = ComponentRecord(
            name, dict(labels), part.path, part.config, "", pinned(part, requires)
        )
        self.kept[name, labels] = (record, state_bytes(part))

    def matrix(
        self,
        name: str,
        *,
        rows: Sequence[str],
        columns: Sequence[str],
        values: Any,
        count: Any = None,
        chance: Any = None,
        notes: Mapping[tuple[int, int], str] | None = None,
        components: Sequence[Sequence[Component | None]] = (),
    ) -> None:
        """A declared matrix: labels of its rows and columns, `values` [rows, columns], how many
        images stand behind an entry (`count`) and what guessing scores (`chance`), each a number
        or an array that numpy broadcasts to [rows, columns]. An entry without value is NaN, and
        `notes` say why, by place: `{(0, 1): "not learned yet"}`. `components` are what rows and
        columns stand for, where these are stored components.
        """
        declared = {m.name: m for m in self.trial.method.matrices}
        if name not in declared:
            raise MethodError(
                f"{self.trial.method.name} declares no matrix {name!r}. {nearest(name, declared)}"
            )
        references = [[c.reference if c else "" for c in side] for side in components]
        self.matrices[name] = make_matrix(
            name,
            axes=(declared[name].rows, declared[name].columns),
            rows=rows,
            columns=columns,
            values=values,
            count=count,
            chance=chance,
            notes=notes,
            components=references,
        )

    def adopt(self, *needs: str) -> None:
        """Pass on what these needs left: their metrics and components, as far as this method
        declares them under the same names and labels.
        """
        metrics = {m.name: m.by for m in self.trial.method.metrics}
        components = {c.name: c.by for c in self.trial.method.components}
        for need in map(self.need, needs):
            for entry in need.metrics:
                name, labels = entry["name"], entry["labels"]
                if metrics.get(name) == tuple(labels):
                    value = math.nan if entry["value"] is None else entry["value"]
                    self.log(by=labels, **{name: value})
            for component in need.every_component():
                record = component.record
                if components.get(record.name) == tuple(record.labels):
                    # The very bytes: adopted components have the digests of those they come from.
                    weights = need.store.blob(record.blob, of=need.key)
                    self.kept[record.name, tuple(record.labels.items())] = (record, weights)

    def infeasible(self, reason: str) -> NoReturn:
        """End the trial with the outcome `infeasible`: what was asked for does not exist, and that
        is the answer.
        """
        raise Infeasible(reason)

    def _declared(
        self, what: str, name: str, declarations: Sequence[Metric | Kept], by: Labels | None
    ) -> LabelPairs:
        """The labels in the order of their declaration. Raises MethodError for a name or labels
        that the class does not declare.
        """
        declared = {d.name: d.by for d in declarations}
        if name not in declared:
            raise MethodError(
                f"{self.trial.method.name} declares no {what} {name!r}. "
                f"{nearest(name, declared)} Declare it in the class"
            )
        given = dict(by or {})
        if set(given) != set(declared[name]):
            wanted = ", ".join(declared[name]) or "no labels"
            raise MethodError(
                f"{what} {name!r} is declared by {wanted}, got {', '.join(given) or 'no labels'}"
            )
        return tuple((label, str(given[label])) for label in declared[name])

    def missing(self) -> list[str]:
        """What is declared (and not optional) but was not left, for the check at the end of a
        trial.
        """
        method = self.trial.method
        checked: list[tuple[str, Sequence[Metric | Kept | MatrixSpec], set[str]]] = [
            ("metric", method.metrics, {name for name, _ in self.metrics}),
            ("component", method.components, {name for name, _ in self.kept}),
            ("matrix", method.matrices, set(self.matrices)),
        ]
        return [
            f"{what} {declared.name!r}"
            for what, declarations, left in checked
            for declared in declarations
            if not declared.optional and declared.name not in left
        ]


def pinned(part: Part, requires: Component | Mapping[str, Component] | None) -> dict[str, Any]:
    """What a component keeps of those that it requires. Raises MethodError for names of several
    that its `joined` does not take.
    """
    if not isinstance(requires, Mapping):
        return requires.pin() if requires else {}
    try:
        inspect.signature(part.joined).bind(**requires)
    except TypeError as error:
        names = ", ".join(requires)
        raise MethodError(
            f"{type(part).__name__} is kept with requires={{{names}}}, and cannot be joined with "
            f"these: {error}. Define joined(self, {names})"
        ) from error
    if type(part).joined is Part.joined:
        part.joined(**requires)  # says that it has to be defined
    return {name: component.pin() for name, component in requires.items()}
