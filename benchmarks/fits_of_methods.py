"""Whether the methods whose steps do more than fine-tuning's are as fast as that lets them be:
images/s of Network Transplanting's adapters by gradients at noise, beside adapters by labels, and
of NetTailor's students, beside fine-tuning.

On scikit-learn's digits, one thread. In each round everything runs once, each in a store of its
own; medians of the rounds' shares. A student's step has a second network, the teacher, and proxies
besides the blocks; an adapter's by noise has the gradients of two task modules.

    python benchmarks/fits_of_methods.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import warnings

import torch

from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.network_transplanting import NetworkTransplanting
from methods.networks import cifar_resnet, small_vgg
from orchestrator import Method, NetworkSpec, Store, Task, Trial, digits, resolve
from orchestrator.training.execute import execute, run_with_needs

SHORT = FineTune(epochs=1)
BACKGROUND = (5, 6, 7, 8, 9)
# The least share of the images/s of what stands beside it.
BARS = {"noise": 0.5, "student without teacher": 0.5, "student": 0.35}


def category(number: int) -> Task:
    whole = digits.classes(number, *BACKGROUND).binary(number, called="category")
    return whole.validation(0.2).named(f"digit{number}")


PARTS = (digits.classes(*BACKGROUND).validation(0).named("others"), category(0), category(1))
TAILORED = tuple(
    digits.classes(*classes).resized(16).validation(0.2).named(name)
    for name, classes in (("source", (0, 1, 2, 3, 4)), ("target", (5, 6, 7, 8, 9)))
)


def adapters(**settings: object) -> Method:
    return NetworkTransplanting(depth=3, steps=300, specific=SHORT, **settings)


def students(**settings: object) -> Method:
    return NetTailor(epochs=5, batch=32, base=SHORT, teacher=SHORT, **settings)


def images_per_second(method: Method, network: NetworkSpec, tasks: tuple[Task, ...]) -> float:
    """Of the only fit of a trial, whose needs have run before."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.prepare()
        trial = resolve(Trial(method=method, network=network, tasks=tasks, seed=0), store)
        run_with_needs(trial, store)
        outcome = execute(trial, store)
        assert outcome.is_result, outcome
        record = store.find(trial.key)
        assert record is not None
        (fit,) = record["timings"]["fits"].values()
        return float(fit["images"] / fit["seconds"])


def one_round() -> dict[str, float]:
    """Images/s of each."""
    vgg, resnet = small_vgg(), cifar_resnet(2)
    tuned = FineTune(epochs=5, batch=32, base=SHORT)
    return {
        "labels": images_per_second(
            adapters(gradients="none", labels="direct", samples=100), vgg, PARTS
        ),
        "noise": images_per_second(adapters(gradients="noise"), vgg, PARTS),
        "fine-tuning": images_per_second(tuned, resnet, TAILORED),
        "student without teacher": images_per_second(
            students(teacher_weight=0.0), resnet, TAILORED
        ),
        "student": images_per_second(students(), resnet, TAILORED),
    }


BESIDE = {"noise": "labels", "student without teacher": "fine-tuning", "student": "fine-tuning"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    num_rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of short trainings
    rounds = [one_round() for _ in range(num_rounds)]
    print(f"{'':26}{'images/s':>10}{'share':>8}{'bar':>8}")
    is_met = True
    for name in rounds[0]:
        line = f"{name:26}{statistics.median(one[name] for one in rounds):>10,.0f}"
        if name in BESIDE:
            share = statistics.median(one[name] / one[BESIDE[name]] for one in rounds)
            line += f"{share:>8.2f}{BARS[name]:>8.2f}"
            is_met = is_met and share >= BARS[name]
        print(line)
    share = statistics.median(one["student"] / one["fine-tuning"] for one in rounds)
    print(f"fits_of_methods: {share:.2f} (bar {BARS['student']:.2f})")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
