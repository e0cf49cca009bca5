"""What the authors' own code computes on small inputs, as numbers: `recorded.json`, against which
`tests/methods/test_authors_code.py` holds ours. None of that code is part of this project.

    python tests/methods/authors/record.py PIGGYBACK PACKNET NETTAILOR

with a clone of each (arunmallya/piggyback at 5a6094c, arunmallya/packnet at 7b6032c,
pedro-morgado/nettailor at 2611d23). They were written for PyTorch 0.3 and 1.0; what today's refuses
is given to them here in its present form, and says so.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from waves import fill, put, wave

CLASSES, BATCH = 5, 8


def imported(path, name):
    """A module of theirs by its file."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def images(name, size, channels=1):
    return wave(name, (BATCH, channels, size, size))


def labels(step):
    return (torch.arange(BATCH) + step) % CLASSES


# ---------------------------------------------------------------------------------- Piggyback


def straight(theirs):
    """Their function of scores with its own forward and backward, called as today's torch wants
    it; theirs are methods of an object, which torch no longer takes.
    """
    plain = type(theirs.__name__, (), dict(theirs.__dict__))

    class Called(torch.autograd.Function):
        @staticmethod
        def forward(ctx, scores, one):
            ctx.one = one
            return plain.forward(one, scores)

        @staticmethod
        def backward(ctx, gradient):
            return plain.backward(ctx.one, gradient), None

    def make(threshold):
        one = object.__new__(plain)
        one.threshold = threshold
        return lambda scores: Called.apply(scores, one)

    return make


class Masked(nn.Module):
    """Their masked convolutions in the layout of our `SmallVGG(width=4, channels=1)`."""

    def __init__(self, layers, kind, start):
        super().__init__()
        self.shared = nn.ModuleList()
        before = 1
        for stage in (1, 2, 3):
            after = 4 * 2 ** (stage - 1)
            for place, channels in ((0, before), (2, after)):
                conv = layers.ElementWiseConv2d(
                    channels, after, 3, 1, 1, mask_init="1s", mask_scale=1e-2, threshold_fn=kind
                )
                put(conv.weight, f"stage{stage}.{place}.weight")
                put(conv.bias, f"stage{stage}.{place}.bias")
                if start == "weight_based_1s":  # as their main.py does
                    conv.mask_real.data.fill_(conv.weight.data.abs().mean())
                self.shared.append(conv)
            before = after
        self.classifier = fill(nn.Linear(before, CLASSES), "head.")

    def forward(self, x):
        for number, conv in enumerate(self.shared):
            x = F.relu(conv(x))
            x = F.max_pool2d(x, 2) if number % 2 else x
        return self.classifier(x.mean((2, 3)))


class MaskedResidual(nn.Module):
    """Their masked convolutions and plain batch norms in the layout of our `resnet8(width=4)` for
    one channel. (Their own `BasicBlock` swaps two arguments and cannot be built.)
    """

    def __init__(self, layers):
        super().__init__()
        parts = {}

        def conv(name, channels, width, kernel, stride):
            made = layers.ElementWiseConv2d(
                channels, width, kernel, stride, kernel // 2, bias=False, threshold_fn="binarizer"
            )
            put(made.weight, f"{name}.weight")
            parts[name.replace(".", " ")] = made

        def norm(name, width):
            parts[name.replace(".", " ")] = fill(nn.BatchNorm2d(width), f"{name}.")

        conv("stem.0", 1, 4, 3, 1)
        norm("stem.1", 4)
        before = 4
        for stage in (1, 2, 3):
            after, stride, block = 4 * 2 ** (stage - 1), 1 + (stage > 1), f"stage{stage}.0"
            conv(f"{block}.conv1", before, after, 3, stride)
            norm(f"{block}.bn1", after)
            conv(f"{block}.conv2", after, after, 3, 1)
            norm(f"{block}.bn2", after)
            if stage > 1:
                conv(f"{block}.shortcut.0", before, after, 1, stride)
                norm(f"{block}.shortcut.1", after)
            before = after
        self.shared = nn.ModuleDict(parts)
        self.classifier = fill(nn.Linear(before, CLASSES), "head.")

    def forward(self, x):
        of = {name.replace(" ", "."): part for name, part in self.shared.items()}
        x = F.relu(of["stem.1"](of["stem.0"](x)))
        for stage in (1, 2, 3):
            block = f"stage{stage}.0"
            y = F.relu(of[f"{block}.bn1"](of[f"{block}.conv1"](x)))
            y = of[f"{block}.bn2"](of[f"{block}.conv2"](y))
            if stage > 1:
                x = of[f"{block}.shortcut.1"](of[f"{block}.shortcut.0"](x))
            x = F.relu(y + x)
        return self.classifier(x.mean((2, 3)))


class MaskedHidden(nn.Module):
    """Their masked convolution and masked linear layer in the layout of `support/hidden.py`."""

    def __init__(self, layers):
        super().__init__()
        conv = layers.ElementWiseConv2d(1, 4, 3, 2, 1, threshold_fn="binarizer")
        hidden = layers.ElementWiseLinear(64, 16, threshold_fn="binarizer")
        for layer, name in ((conv, "stage1.0"), (hidden, "hidden.0")):
            put(layer.weight, f"{name}.weight")
            put(layer.bias, f"{name}.bias")
        self.shared = nn.ModuleList([conv, hidden])
        self.classifier = fill(nn.Linear(16, CLASSES), "head.")

    def forward(self, x):
        conv, hidden = self.shared
        return self.classifier(F.relu(hidden(F.relu(conv(x)).flatten(1))))


def forty_steps(net, *, train_bn=False):
    """As their main.py trains: two optimisers in one, both of which step; batch norms in eval mode
    and their gradients 0 without `train_bn`.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    masked = [module for module in net.modules() if hasattr(module, "mask_real")]
    optimizers = [
        torch.optim.Adam(net.shared.parameters(), lr=1e-3),
        torch.optim.Adam(net.classifier.parameters(), lr=1e-3),
    ]
    losses = []
    for step in range(40):
        net.train()
        for norm in norms:
            norm.train(train_bn)
        net.zero_grad()
        loss = F.cross_entropy(net(images(f"step {step}", 8)), labels(step))
        loss.backward()
        if not train_bn:
            for parameter in (p for norm in norms for p in norm.parameters()):
                parameter.grad.fill_(0)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(float(loss.detach()))
    return {
        "losses": losses[::8],
        "zeroed": [int((m.threshold_fn(m.mask_real) == 0).sum()) for m in masked],
        "scores": [float(m.mask_real.detach().double().sum()) for m in masked],
        "norms": [
            [
                float(value.detach().double().sum())
                for value in (n.weight, n.bias, n.running_mean, n.running_var)
            ]
            for n in norms
        ],
        "logits": net.eval()(images("test", 8)).flatten().tolist(),
    }


def piggyback(folder):
    layers = imported(folder / "src/modnets/layers.py", "authors_layers")
    layers.Binarizer = straight(layers.Binarizer)
    layers.Ternarizer = straight(layers.Ternarizer)
    found = {
        f"{kind} {start}": forty_steps(Masked(layers, kind, start))
        for kind, start in (
            ("binarizer", "1s"),
            ("ternarizer", "1s"),
            ("binarizer", "weight_based_1s"),
        )
    }
    found["batch norm frozen"] = forty_steps(MaskedResidual(layers))
    found["batch norm trained"] = forty_steps(MaskedResidual(layers), train_bn=True)
    found["linear layer"] = forty_steps(MaskedHidden(layers))
    return found


# ---------------------------------------------------------------------------------- PackNet


class Packed(nn.Module):
    """Plain layers in the layout of our `SmallVGG(width=4, channels=1)`, a classifier a task."""

    def __init__(self):
        super().__init__()
        layers, before = [], 1
        for stage in (1, 2, 3):
            after = 4 * 2 ** (stage - 1)
            for place, channels in ((0, before), (2, after)):
                conv = fill(nn.Conv2d(channels, after, 3, 1, 1), f"stage{stage}.{place}.")
                layers += [conv, nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            before = after
        self.shared = nn.Sequential(*layers)
        self.classifiers = nn.ModuleList(
            fill(nn.Linear(before, CLASSES), f"heads.{n}.") for n in (0, 1)
        )

    def forward(self, x, task):
        return self.classifiers[task](self.shared(x).mean((2, 3)))


def packnet(folder):
    # They wrote for a GPU, and for numbers that are tensors of one element.
    torch.Tensor.cuda = lambda self: self
    kthvalue = torch.Tensor.kthvalue
    torch.Tensor.kthvalue = lambda self, k: tuple(v.reshape(1) for v in kthvalue(self, k))
    prune = imported(folder / "src/prune.py", "authors_prune")
    net, found = Packed(), {}

    def trained(pruner, task, stage, *, bias):
        parameters = [*net.shared.parameters(), *net.classifiers[task].parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
        pruner.train_bias = bias
        for step in range(5):
            net.zero_grad()
            F.cross_entropy(net(images(f"{stage} {step}", 8), task), labels(step)).backward()
            pruner.make_grads_zero()
            optimizer.step()
            pruner.make_pruned_zero()

    def told(task):
        return net(images("test", 8), task).flatten().tolist()

    masks = {
        number: torch.ones_like(module.weight, dtype=torch.uint8)
        for number, module in enumerate(net.shared.modules())
        if isinstance(module, nn.Conv2d)
    }
    pruner = prune.SparsePruner(net, 0.5, masks, train_bias=True, train_bn=False)
    pruner.prune()
    found["first, pruned"] = told(0)
    trained(pruner, 0, "retrain first", bias=True)
    found["first"] = told(0)
    pruner = prune.SparsePruner(net, 0.75, pruner.current_masks, train_bias=False, train_bn=False)
    pruner.make_finetuning_mask()
    trained(pruner, 1, "second", bias=False)
    found["second, all free weights"] = told(1)
    pruner.current_masks = None
    pruner.prune()
    trained(pruner, 1, "retrain second", bias=False)
    found["second"] = told(1)
    found["owned"] = [
        [int((mask == owner).sum()) for owner in (0, 1, 2)]
        for mask in pruner.current_masks.values()
    ]
    pruner.apply_mask(1)
    found["first, at the end"] = told(0)
    return found


# ---------------------------------------------------------------------------------- NetTailor


def our_name(theirs, layers):
    """The name in our networks of one of their universal tensors, or in our graph of one of the
    task's.
    """
    first, *rest = theirs.split(".")
    if first in ("conv1", "bn1"):
        return ".".join([f"stem.{int(first == 'bn1')}", *rest])
    if first == "classifier":
        return ".".join(["head", *rest])
    number, kind, *rest = rest
    number = int(number)
    if kind == "alphas_params":
        return f"scores into {number + 1}"
    if kind == "proxies":
        place, layer, tensor = rest
        source = number - int(place)
        return f"proxies.{source}-{number + 1}.{layer}.{tensor}"
    stage, block = 1, number
    while block >= layers[stage - 1]:
        block -= layers[stage - 1]
        stage += 1
    rest = ".".join(rest).replace("conv_res", "downsample.0").replace("bn_res", "downsample.1")
    return f"stage{stage}.{block}.{rest}"


def nettailor(folder):
    sys.path.insert(0, str(folder))
    theirs = imported(folder / "models/student_resnet.py", "authors_student")
    theirs.NetTailor.load_pretrained = lambda self, backbone: None  # weights by formula instead
    return {name: tailored(theirs, name) for name in ("resnet18", "resnet34", "resnet50")}


def tailored(theirs, name):
    """Two steps of their student with proxies that bridge up to three blocks, and a pruning."""
    model = theirs.create_model(name, CLASSES, max_skip=3)
    with torch.no_grad():
        for tensor, value in model.state_dict().items():
            put(value, our_name(tensor, model.num_layers))
        for number, layer in enumerate(model.layers, start=1):
            layer.alphas_params.copy_(wave(f"scores into {number}", layer.alphas_params.shape))
    x, y = wave("images", (4, 3, 64, 64)), torch.arange(4)
    found = {"eval": model.eval()(x)[0].flatten().tolist()}
    model.train()
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9
    )
    for step in (1, 2):
        logits, ends = model(x)
        # Omega as their main_student.py adds it up, with teachers by formula
        omega = F.mse_loss(logits, wave("teacher logits", logits.shape))
        for number, end in enumerate(ends, start=1):
            omega = omega + F.mse_loss(end, wave(f"teacher {number}", end.shape))
        omega = omega / float(len(ends))
        complexity = model.expected_complexity()
        optimizer.zero_grad()
        (F.cross_entropy(logits, y) + 0.3 * complexity + 10.0 * omega).backward()
        found[f"step {step}"] = {
            "logits": logits.flatten().tolist(),
            "omega": float(omega),
            "complexity": float(complexity),
            "scores": [g for layer in model.layers for g in layer.alphas_params.grad.tolist()],
            "proxies": {
                our_name(tensor, model.num_layers): float(p.grad.norm())
                for tensor, p in model.named_parameters()
                if "proxies" in tensor and "conv" in tensor
            },
        }
        if step == 1:
            found["stem"] = [
                float(model.bn1.running_mean.sum()),
                float(model.bn1.running_var.sum()),
            ]
        optimizer.step()
    model.threshold_alphas(num_global=3, thr_proxies=0.2)
    found["pruned"] = [[bool(flag) for flag in layer.keep_flag] for layer in model.layers]
    return found


def main():
    torch.set_num_threads(1)
    folders = [Path(argument) for argument in sys.argv[1:]]
    # Their modules import what nothing here needs.
    sys.modules.setdefault("torchnet", types.ModuleType("torchnet"))
    recorded = {
        make.__name__: make(folder)
        for make, folder in zip((piggyback, packnet, nettailor), folders, strict=True)
    }
    file = Path(__file__).with_name("recorded.json")
    file.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
