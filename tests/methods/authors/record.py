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


def piggyback(folder):
    layers = imported(folder / "src/modnets/layers.py", "authors_layers")
    layers.Binarizer = straight(layers.Binarizer)
    layers.Ternarizer = straight(layers.Ternarizer)
    found = {}
    for kind, start in (
        ("binarizer", "1s"),
        ("ternarizer", "1s"),
        ("binarizer", "weight_based_1s"),
    ):
        net = Masked(layers, kind, start)
        scores = [conv.mask_real for conv in net.shared]
        # The two optimisers of their main.py, in one call of which both step.
        optimizers = [
            torch.optim.Adam(scores, lr=1e-3),
            torch.optim.Adam(net.classifier.parameters(), lr=1e-3),
        ]
        losses = []
        for step in range(40):
            net.zero_grad()
            loss = F.cross_entropy(net(images(f"step {step}", 8)), labels(step))
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(float(loss))
        found[f"{kind} {start}"] = {
            "losses": losses[::8],
            "zeroed": [int((conv.threshold_fn(conv.mask_real) == 0).sum()) for conv in net.shared],
            "scores": [float(score.double().sum()) for score in scores],
            "logits": net(images("test", 8)).flatten().tolist(),
        }
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
    model = theirs.create_model("resnet18", CLASSES, max_skip=3)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            put(value, our_name(name, model.num_layers))
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
                our_name(name, model.num_layers): float(p.grad.norm())
                for name, p in model.named_parameters()
                if "proxies" in name and "conv" in name
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
