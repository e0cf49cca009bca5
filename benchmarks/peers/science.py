"""The experiment, in plain torch, for all peers: two small networks learn scikit-learn's digits
from disjoint images; cut in two, the front of one meets the back of the other.

How they are trained is the recipe: each by itself from its own first weights (`own`), from the
`same` first weights, or with a back end that both train together behind the split (`shared`). Only
the last depends on where the split is.
"""

import os
import time

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

RECIPES = ["own", "same", "shared"]
SPLITS = ["conv1", "conv2", "conv3", "pool"]
EPOCHS, BATCH, RATE = 2, 32, 0.1


def stages(channels=1, classes=10):
    """The network's stages by name; it may be cut behind each but the last."""
    sizes = [channels, 8, 16, 32]
    found = {
        f"conv{i}": nn.Sequential(
            nn.Conv2d(sizes[i - 1], sizes[i], 3, 1 if i == 1 else 2, 1),
            nn.BatchNorm2d(sizes[i]),
            nn.ReLU(),
        )
        for i in (1, 2, 3)
    }
    found["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found["classifier"] = nn.Linear(sizes[-1], classes)
    return found


def trace(what, *where):
    """A line in the file that says what was trained, whoever trains."""
    with open(os.environ["PEERS_TRACE"], "a") as file:
        print(what, *where, f"{time.time():.2f}", file=file, flush=True)


# The rest is what the peers need and Spolia brings along.


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(*stages().values())


def cut(net, split):
    place = SPLITS.index(split) + 1
    return net[:place], net[place:]


def images():
    """Training images of both networks, and test images for both."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(y)
    return (x[0:1200:2], y[0:1200:2]), (x[1:1200:2], y[1:1200:2]), (x[1200:], y[1200:])


def train_pair(recipe, split, seed):
    of_a, of_b, _ = images()
    a, b = network(seed), network(seed if recipe == "same" else seed + 1000)
    nets = [a, b]
    if recipe == "shared":
        nets.append(cut(network(seed + 2000), split)[1])
    optimizer = torch.optim.SGD([p for net in nets for p in net.parameters()], RATE, 0.9)
    for _ in range(EPOCHS):
        orders = torch.randperm(len(of_a[0])), torch.randperm(len(of_b[0]))
        for begin in range(0, len(of_a[0]), BATCH):
            loss = 0.0
            for net, (x, y), order in zip(nets, (of_a, of_b), orders, strict=False):
                chosen = order[begin : begin + BATCH]
                loss = loss + F.cross_entropy(net(x[chosen]), y[chosen])
                if recipe == "shared":
                    front, _ = cut(net, split)
                    loss = loss + F.cross_entropy(nets[2](front(x[chosen])), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return a.eval(), b.eval()


@torch.no_grad()
def joined_accuracy(a, b, split):
    """Of the fronts with the backs of the other network, the mean."""
    x, y = images()[2]
    (front_a, back_a), (front_b, back_b) = cut(a, split), cut(b, split)
    joined = [back_b(front_a(x)), back_a(front_b(x))]
    return sum((z.argmax(1) == y).float().mean().item() for z in joined) / 2


def cell(recipe, split, seed):
    """One cell of the experiment."""
    torch.set_num_threads(1)
    trace("begin", recipe, split, seed)
    score = joined_accuracy(*train_pair(recipe, split, seed), split)
    trace("end", recipe, split, seed)
    return score
