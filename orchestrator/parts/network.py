"""Networks: a backbone cut into named stages, so that it can be split into an extractor and a head
at every split point.
"""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from orchestrator.errors import InputError, MethodError, nearest
from orchestrator.parts.component import Part
from orchestrator.parts.outputs import remember, remembered
from orchestrator.spec.classes import ClassPath, class_at, is_class_path
from orchestrator.spec.naming import former_paths
from orchestrator.spec.trial import NetworkSpec

Side = Literal["extractor", "head"]
# Functions of torch whose result is as large as their first argument.
KEEP_SHAPES = {
    functional.batch_norm,
    functional.dropout,
    functional.elu,
    functional.gelu,
    functional.hardsigmoid,
    functional.hardswish,
    functional.hardtanh,
    functional.leaky_relu,
    functional.relu,
    functional.relu6,
    functional.silu,
    torch.relu,
    torch.sigmoid,
    torch.tanh,
    Tensor.relu,
    Tensor.sigmoid,
    Tensor.tanh,
}
SUMS = {torch.add, Tensor.add, Tensor.__add__}
BUILT_FOR = ("channels", "classes")  # what a task decides of a network; all else is a setting


class Blocks(nn.Sequential):
    """A stage made of blocks: it offers a split point behind each of them."""


class Network(Part):
    """A network as an ordered list of named stages; the last is the classifier, and behind every
    other one lies a split point.

    A subclass builds its stages in `__init__` and hands them to `set_stages`. A stage of type
    `Blocks` also offers a split point behind each block: `stage2.block1`. Nothing may bypass a
    split point. A network shows itself in a line; `print(*net.children())` shows all its layers.
    """

    stage_names: tuple[str, ...] = ()
    """Names of the stages in order; `set_stages` writes them."""

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        return (
            f"{type(self).__name__}({settings}): {num_weights(self):,} weights, "
            f"split points {', '.join(self.splits) or 'none'}"
        )

    def set_stages(self, stages: Mapping[str, nn.Module]) -> None:
        """Register the stages in order. Split point names come from the stages' names."""
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.stage_names = tuple(stages)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """Trained weights to start from, by this network's names; None (the default) starts from
        what `__init__` drew. The classifier may be among them: it is used only where a method asks
        for it. Called where a network is drawn for training, never where one is rebuilt from a
        store."""
        return None

    def take(self, trained: Mapping[str, Tensor]) -> None:
        """Load weights of everything but the classifier. Raises InputError where a name or a shape
        does not fit.
        """
        classifier = f"{self.stage_names[-1]}."
        # The classifier belongs to the classes of a task, and another task has others.
        names = {name for name in self.state_dict() if not name.startswith(classifier)}
        trained_names = {name for name in trained if not name.startswith(classifier)}
        if wrong := sorted(names ^ trained_names):
            raise InputError(
                f"{type(self).__name__}: the trained weights are of another network; "
                f"{wrong[0]} is in only one of them"
            )
        try:
            self.load_state_dict({name: trained[name] for name in trained_names}, strict=False)
        except RuntimeError as error:
            raise InputError(
                f"{type(self).__name__}: the trained weights are of another network: {error}"
            ) from error

    def take_classifier(self, trained: Mapping[str, Tensor]) -> None:
        """Load the classifier of trained weights. Raises InputError where they have none, or one
        for another number of classes.
        """
        classifier = f"{self.stage_names[-1]}."
        wanted = {name: v for name, v in self.state_dict().items() if name.startswith(classifier)}
        found = {name: trained[name] for name in wanted if name in trained}
        if len(found) < len(wanted):
            raise InputError(
                f"{type(self).__name__} starts from no trained classifier; say what the network "
                "starts from, such as torchvision_network(..., weights=...), or let the classifier "
                "be drawn"
            )
        for name, value in found.items():
            if value.shape != wanted[name].shape:
                raise InputError(
                    f"{type(self).__name__}: the trained classifier is for {len(value)} classes, "
                    f"the task has {len(wanted[name])}; let it be drawn"
                )
        self.load_state_dict(found, strict=False)

    def pieces(self) -> dict[str, nn.Module]:
        """Every stage, those of blocks taken apart, by the name of the split point behind it (the
        classifier comes last).
        """
        pieces: dict[str, nn.Module] = {}
        for name in self.stage_names:
            stage = getattr(self, name)
            blocks = list(stage.children()) if isinstance(stage, Blocks) else [stage]
            for number, block in enumerate(blocks[:-1], start=1):
                pieces[f"{name}.block{number}"] = block
            pieces[name] = blocks[-1]  # the split point behind the last block is the stage's
        return pieces

    @property
    def splits(self) -> tuple[str, ...]:
        """Split points, first to last."""
        return tuple(self.pieces())[:-1]

    @property
    def last_layer(self) -> nn.Linear:
        """The last layer: one row a class."""
        return cast(nn.Linear, getattr(self, self.stage_names[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        for name in self.stage_names:
            x = getattr(self, name)(x)  # [B, C, H, W] until a pooling makes it [B, C]
        return x

    def borrow(self, other: Network, split: str) -> None:
        """Take over another network's own layers up to a split point: training one trains both.

        One body with a head for each task is several networks that have borrowed all but their
        heads: `net.borrow(first, net.splits[-1])`. Each can be measured, kept and cut by itself;
        in a fit, give the body once, `net.extractor(split)`, and the heads beside it.
        """
        pieces = other.pieces()
        num_borrowed = len(self.extractor(split).layers)
        for name in list(pieces)[:num_borrowed]:
            # The very module of the other: one set of weights.
            self.set_submodule(self._submodule_of(name), pieces[name])

    def _submodule_of(self, piece: str) -> str:
        """The name, as torch has it, of a piece: `stage2.block1` is the submodule `stage2.0`."""
        stage_name, _, block = piece.partition(".block")
        stage = getattr(self, stage_name)
        if not isinstance(stage, Blocks):
            return stage_name
        number = int(block) if block else len(stage)
        return f"{stage_name}.{number - 1}"

    def cut(self, split: str) -> tuple[Piece, Piece]:
        """Extractor and head at a split point. They share this network's layers: training one
        trains it.
        """
        return self.extractor(split), self.head(split)

    def extractor(self, split: str) -> Piece:
        """Images to features at the split point."""
        return Piece.of(self, split, "extractor")

    def head(self, split: str) -> Piece:
        """Features at the split point to logits."""
        return Piece.of(self, split, "head")

    @torch.no_grad()
    def shape(self, split: str, image: tuple[int, int, int]) -> tuple[int, ...]:
        """Shape of one image's features at a split point, for images [C, H, W]."""
        # A copy on the meta device: nothing is computed, and the network stays where it is.
        probe = copy.deepcopy(self.extractor(split)).to("meta").eval()
        with _WithoutWhatKeepsShapes():
            return tuple(probe(torch.zeros(1, *image, device="meta")).shape[1:])


class _WithoutWhatKeepsShapes(TorchFunctionMode):
    """Leaves out functions of torch that change no shape, which it works out in Python on the meta
    device: batch norm takes it 10 ms, all others together one; the first ReLU or sum imports its
    compiler, two seconds.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function in KEEP_SHAPES and _is_plain(args[:1], kwargs):
            return torch.empty_like(args[0])
        if function in SUMS and len(args) == 2 and not kwargs and _is_plain(args, None):
            return torch.empty_like(args[0])
        return function(*args, **(kwargs or {}))


def _is_plain(terms: Sequence[Any], kwargs: Mapping[str, Any] | None) -> bool:
    """Whether what comes out is certainly like each of these terms: all are tensors of fractions,
    of one shape and type, and nothing says where else the result goes.
    """
    if not terms or "out" in (kwargs or {}):
        return False
    if not all(isinstance(term, Tensor) and term.is_floating_point() for term in terms):
        return False
    return len({(term.shape, term.dtype) for term in terms}) == 1


def network_spec(
    network: type[Network],
    *,
    revision: int = 1,
    trained_with: Literal["", "imagenet"] = "",
    **settings: Any,
) -> NetworkSpec:
    """What a sweep writes for a network of your own: `network=network_spec(MyNetwork, width=32)`.
    Split points are those of its definition.

    The class takes `channels` and `classes` besides its settings, all by keyword, and lives in a
    module that workers can import. `revision` goes up when the same settings build another network.
    `trained_with` says by what the images were normalised on which its `pretrained` weights were
    trained: tasks that say nothing are then normalised so, too. Where the class moved to another
    module, it says so: `moved_from = ("old.module:MyNet",)`. An argument that names the class of
    another network is annotated as `ClassPath`. Raises InputError for a setting that the class does
    not have, and for a network without stages or whose last stage is no linear layer.
    """
    _check_class(network)
    parameters = _setting_parameters(network)
    if unknown := [name for name in settings if name not in parameters]:
        raise InputError(
            f"{network.__name__} has no setting {unknown[0]!r}. {nearest(unknown[0], parameters)}"
        )
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    spec = NetworkSpec(
        name=network.__name__,
        path=f"{network.__module__}:{network.__qualname__}",
        settings=tuple({**defaults, **settings}.items()),
        defaults=tuple(defaults.items()),
        splits=_splits_of(network, settings),
        revision=revision,
        class_places=_class_places(network),
        trained_with=trained_with,
    )
    return replace(spec, moved_from=_former_paths_of(network, spec))


def _check_class(network: type[Network]) -> None:
    """Raises InputError for what is no network's class, cannot be built for a task, or has former
    paths that are none.
    """
    if not (inspect.isclass(network) and issubclass(network, Network)):
        raise InputError(f"network_spec: {network!r} is no subclass of orchestrator.Network")
    parameters = inspect.signature(network.__init__).parameters
    if missing := [name for name in BUILT_FOR if name not in parameters]:
        raise InputError(
            f"{network.__name__} takes no {' and no '.join(missing)}; "
            "a network is built for a task's images and classes"
        )
    moved = former_paths(network)
    if not isinstance(moved, tuple) or not all(map(is_class_path, moved)):
        raise InputError(
            f"{network.__name__}.moved_from = {moved!r} is not a tuple of paths such as "
            f"('package.module:Class',)"
        )


def _setting_parameters(network: type[Network]) -> dict[str, inspect.Parameter]:
    """The arguments of a network's class that are its settings, by name."""
    parameters = dict(inspect.signature(network.__init__).parameters)
    parameters.pop("self")
    return {name: p for name, p in parameters.items() if name not in BUILT_FOR}


def _splits_of(network: type[Network], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The split points of a network of these settings. Raises InputError where it cannot be cut."""
    with torch.device("meta"):  # its weights take no memory
        built = network(**settings, channels=3, classes=2)
    if problems := problems_of_form(built):
        raise InputError(f"{network.__name__} cannot be cut into extractor and head:", problems)
    return built.splits


def _former_paths_of(network: type[Network], spec: NetworkSpec) -> tuple[str, ...]:
    """Paths that the class had before, and those of the networks that this one is made of."""
    inside = [class_at(path, Network) for path in spec.classes_in(spec.settings)]
    return tuple(path for cls in (network, *inside) for path in former_paths(cls))


def _class_places(network: type[Network]) -> tuple[str, ...]:
    """The arguments that are annotated as paths of classes, alone or within a union or a tuple."""
    try:
        hints = get_type_hints(network.__init__)
    except NameError:  # something that is imported for type checkers only; planning tells the rest
        return ()
    return tuple(name for name, hint in hints.items() if ClassPath in (hint, *get_args(hint)))


def problems_of_form(network: Network) -> list[str]:
    """What a network lacks to be cut into stages and given classes, each with what to do."""
    name = type(network).__name__
    if not network.stage_names:
        return [f"{name} has no stages: call self.set_stages({{...}}) at the end of its __init__"]
    problems = []
    last, layer = network.stage_names[-1], network.last_layer
    if not isinstance(layer, nn.Linear):
        problems.append(
            f"{name}: the last stage, {last!r}, is {type(layer).__name__} and must be one "
            "nn.Linear, since its rows are drawn by class; put what comes before it, such as "
            "pooling, into a stage of its own"
        )
    elif layer.bias is None:
        problems.append(f"{name}: the last stage, {last!r}, has no bias; leave out bias=False")
    if len(network.stage_names) < 2:
        problems.append(f"{name} has one stage only, so there is no place to cut it")
    return problems


class Piece(Part):
    """One side of a network at a split point; it can be kept and rebuilt by itself. `network` is
    `{"path": ..., "config": ...}`.
    """

    def __init__(self, *, network: dict[str, Any], split: str, side: Side) -> None:
        super().__init__()
        uncut = class_at(network["path"], Network)(**network["config"])
        self._take_layers(uncut, split, side)

    @classmethod
    def of(cls, network: Network, split: str, side: Side) -> Piece:
        """A view of a network's own layers."""
        # Without `__init__`, which would build a network; so `config` is not captured but written.
        piece = cls.__new__(cls)
        nn.Module.__init__(piece)
        piece.__dict__["config"] = {
            "network": {"path": network.path, "config": network.config},
            "split": split,
            "side": side,
        }
        piece._take_layers(network, split, side)
        if side == "head":
            remember(piece, remembered(network))
        return piece

    def _take_layers(self, network: Network, split: str, side: Side) -> None:
        pieces = network.pieces()
        names = list(pieces)
        splits = names[:-1]
        if split not in splits:
            raise InputError(
                f"{type(network).__name__} has no split point {split!r}. {nearest(split, splits)}"
            )
        cut = names.index(split) + 1
        chosen = names[:cut] if side == "extractor" else names[cut:]
        # No dots in names.
        layers = OrderedDict((name.replace(".", "_"), pieces[name]) for name in chosen)
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Images to features, or features to logits."""
        return cast(Tensor, self.layers(x))

    def joined(self, other: Part) -> nn.Module:
        """This side of a network with the other side of another one: with a piece of it, or with
        the whole, which is then cut at this piece's own split point. See `join`.
        """
        side, split = self.config["side"], self.config["split"]
        if isinstance(other, Network):
            other = other.extractor(split) if side == "head" else other.head(split)
        if not isinstance(other, Piece):
            return super().joined(other)
        if other.config["side"] == side:
            raise MethodError(
                f"two {side}s make no network; join(a, b, split={split!r}) takes the extractor of "
                "a and the head of b"
            )
        return nn.Sequential(other, self) if side == "head" else nn.Sequential(self, other)

    def __repr__(self) -> str:
        side, split = self.config["side"], self.config["split"]
        name = self.config["network"]["path"].rpartition(":")[2]
        where = "up to" if side == "extractor" else "behind"
        return f"{side} of {name} {where} {split!r}: {num_weights(self):,} weights"


def num_weights(module: nn.Module) -> int:
    """How many numbers a module's parameters hold."""
    return sum(parameter.numel() for parameter in module.parameters())
