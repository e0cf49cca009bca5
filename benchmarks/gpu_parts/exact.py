"""Is it exact? The contract suite, one step of every network twice, and a fit that is killed."""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gpu_parts.case import Bench, built, made_up, run_of, table
from methods.networks import (
    projected,
    resnet20,
    small_fcn,
    small_mobilenet,
    small_vgg,
    torchvision_network,
)
from methods.pieces.losses import cross_entropy
from orchestrator import normal, sgd
from orchestrator.training.checkpoints import Checkpoints

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/methods/test_contract.py"
BESIDE = 8  # processes
SMALL = "two_fits"  # a method of the tests' own


def contract(bench: Bench) -> None:
    """The contract suite of methods, in processes beside each other."""
    from orchestrator.spec.registry import methods_in

    methods = [SMALL, *(m.name for m in methods_in("methods") if bench.is_gpu)]
    groups = [methods[n::BESIDE] for n in range(min(BESIDE, len(methods)))]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        running, environment = {}, _environment(Path(folder))
        for number, group in enumerate(groups):
            log = Path(folder) / f"{number}.txt"
            with open(log, "w") as file:
                command = _command(bench, group)
                running[log] = subprocess.Popen(
                    command, cwd=ROOT, stdout=file, stderr=file, env=environment
                )
        num_late = 0
        for process in running.values():
            try:
                process.wait(max(1, bench.left - 5))
            except subprocess.TimeoutExpired:
                print("time is up")
                process.kill()
                process.wait()
                num_late += 1
        text = "".join(log.read_text() for log in running)
    counts = {word: text.count(f" {word} ") for word in ("PASSED", "FAILED", "ERROR")}
    for line in text.splitlines():
        if line.startswith(("FAILED", "ERROR", "E  ", "ModuleNotFound")):
            print(line[:300])
    if not counts["PASSED"]:
        print(text[-3000:])
    print(f"{counts} in {time.monotonic() - began:.0f} s, of {len(methods)} methods")
    bench.figure("contract, tests failed", counts["FAILED"] + counts["ERROR"], most=0)
    bench.figure("contract, tests passed", counts["PASSED"], least=1)
    # Their tests that did not run have not passed.
    bench.figure("contract, processes that ran out of time", num_late, most=0)


def _environment(folder: Path) -> dict[str, str]:
    """Variables for the tests' own methods and caches, and for a checkout that is not installed:
    methods are found by its metadata.
    """
    samples = ROOT / "tests" / "samples"
    paths = [str(ROOT), str(samples), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        importlib.metadata.version("spolia")
    except importlib.metadata.PackageNotFoundError:
        about = folder / "metadata" / "spolia-0.1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: spolia\nVersion: 0.1.0\n")
        (about / "entry_points.txt").write_text("[spolia.methods]\nspolia = methods\n")
        paths.append(str(about.parent))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "SPOLIA_PACKAGES": ",".join(sorted(path.stem for path in samples.glob("*.py"))),
        "SPOLIA_CACHE": str(folder / "cache"),
    }


def _command(bench: Bench, methods: list[str]) -> list[str]:
    from orchestrator.testing import MethodContract

    tests = [name for name in dir(MethodContract) if name.startswith("test_")]
    classes = {SMALL: "TestContractOfSmallMethods"}
    names = [
        f"{TESTS}::{classes.get(method, 'TestContract')}::{test}[{method}]"
        for method in methods
        for test in tests
    ]
    # The suite's own conftest.py needs Ray and MLflow; these tests do not.
    pytest = [sys.executable, "-m", "pytest", "-vv", "--noconftest"]
    pytest += ["-p", "orchestrator.testing.plugin", "--device", bench.device.type]
    return [*pytest, *names]


def networks(bench: Bench) -> None:
    """One step of every kind of network, twice: the gradients' bits."""
    specs = {
        "resnet20": resnet20(width=8),
        "small_vgg": small_vgg(),
        "small_mobilenet": small_mobilenet(),
        "small_fcn, masks": small_fcn(),
        "projected to 3 x 3": projected(small_vgg(), behind="stage2", size=3),
    }
    if bench.is_gpu:
        for name in ("resnet18", "vgg11", "densenet121", "mobilenet_v2"):
            specs[name] = torchvision_network(name)
    row, num_apart = table("network             ", "apart by", "says"), 0
    for name, spec in specs.items():
        apart, says = float("nan"), ""
        try:
            with bench.computing("fp32"):
                first, second = (_gradients(bench, spec) for _ in range(2))
            apart = largest_difference(first, second)
        except Exception as error:  # an operation without a kernel that repeats
            says = str(error)[:120]
        num_apart += apart != 0
        row(name, f"{apart:.1e}", says)
    bench.figure("networks whose gradients do not repeat", num_apart, most=0)


def _gradients(bench: Bench, spec: Any) -> dict[str, Tensor]:
    net = built(spec).to(bench.device)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(bench.sizes.batch, 3, 32, 32, generator=generator)
    x = x.to(bench.device).contiguous(memory_format=torch.channels_last)
    torch.manual_seed(2)  # dropout
    logits = net(x)
    shape = (len(x), *logits.shape[2:])
    labels = torch.randint(10, shape, generator=generator).to(bench.device)
    cross_entropy(logits, labels).backward()
    return {name: p.grad.cpu() for name, p in net.named_parameters() if p.grad is not None}


def largest_difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((a.double() - second[name].double()).abs().max()) for name, a in first.items())


class Killed(BaseException):
    """Stands for the end of the process."""


def resume(bench: Bench) -> None:
    """A fit with noise, run twice, and killed after its second epoch of four: the weights."""
    task = made_up(32 * bench.sizes.batch if bench.is_gpu else 3 * bench.sizes.batch)
    spec = resnet20() if bench.is_gpu else next(iter(bench.sizes.networks.values()))
    row = table("numerics", "again, apart by", "killed, apart by")
    for numerics in ("fp32", "tf32", "bf16"):
        whole = _trained(bench, task, spec, numerics)
        again = largest_difference(whole, _trained(bench, task, spec, numerics))
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.suppress(Killed):
                _trained(bench, task, spec, numerics, Path(folder), kill=True)
            # Without one the fit begins anew, and ends with the same bits as well.
            assert list(Path(folder).glob("*.pt")), "the killed fit left no checkpoint"
            killed = largest_difference(whole, _trained(bench, task, spec, numerics, Path(folder)))
        row(numerics, f"{again:.1e}", f"{killed:.1e}")
        if numerics == "fp32":
            bench.figure("fp32 trained again, largest difference", again, most=0)
            bench.figure("fp32 killed and resumed, largest difference", killed, most=0)


def _trained(
    bench: Bench,
    task: Any,
    spec: Any,
    numerics: str,
    folder: Path | None = None,
    *,
    kill: bool = False,
) -> dict[str, Tensor]:
    def stop(moment: Any) -> None:
        if kill and moment.epoch == 2:
            raise Killed

    net = built(spec)
    with bench.computing(numerics):
        run = run_of(bench, task, numerics, Checkpoints(folder, every=0), on_epoch=stop)
        # The checkpoint of an epoch is written behind what listens to it: of the first, here.
        run.fit(
            "train",
            {"net": net},
            _noisy_loss,
            task.train.augmented("crop and flip").drawing(jitter=normal(3, 32, 32)),
            optimizer=sgd(0.05),
            epochs=4,
            batch=bench.sizes.batch,
        )
    return copy.deepcopy({name: value.cpu() for name, value in net.state_dict().items()})


def _noisy_loss(nets: Any, batch: Any) -> Tensor:
    return F.cross_entropy(nets["net"](batch.x + 0.1 * batch.jitter), batch.y)
