"""Every question that only a GPU can answer, in one command of at most 8 minutes:

    python benchmarks/gpu.py                    # on a GPU where there is one, else small on a CPU
    python benchmarks/gpu.py --parts resume,speed --seconds 120

* networks: does a step of every network repeat, to the bit?
* resume: does a fit that was killed end with the bits of one that was not?
* speed: images/s of `run.fit` against the loop by hand and the DataLoader loop, and the share of
  the card's peak, in fp32 and bf16.
* memory: the peak of one trial, what it leaves, a set that is streamed.
* matrices: 64 x 64 extractors and heads over 10,000 images, against whole networks one by one.
* many: E models one after another, in one CUDA graph, under `vmap`, in E processes.
* contract: the contract suite of the methods on the device.

Needs torch, torchvision, pyarrow, scikit-learn, safetensors and pytest, and for `contract` also
what the store needs; neither Ray nor MLflow. Each part is a process of its own with its own time,
so that one that fails, or breaks the GPU, costs no other; it prints what it finds as it finds it.
The last lines are figures with their bars, and the exit status is 1 where one falls short or a part
does not come to its end. Bars on speed are for a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# By their share of the time. The contract comes last: it takes whatever is left.
PARTS = {"networks": 3, "resume": 4, "speed": 10, "memory": 4, "matrices": 6, "many": 14}
PARTS["contract"] = 7


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="which, and in which order")
    parser.add_argument(
        "--seconds", type=float, help="for all parts together; default: 480, on a CPU 3600"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument("--one-part", help=argparse.SUPPRESS)
    parser.add_argument("--figures", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one-of-many", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one_part or chosen.one_of_many:
        run_here(chosen)
        return 0
    names = chosen.parts.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    chosen.device = chosen.device or device_here()
    # On a CPU, which may have others to serve, it is only to be shown that everything runs.
    seconds = chosen.seconds or {"cuda": 480.0, "cpu": 3600.0}[chosen.device]
    print(about(chosen.device), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures"
        figures.touch()
        failed = run_all(names, seconds, chosen.device, figures)
        lines = [json.loads(line) for line in figures.read_text().splitlines()]
    return told(lines, failed)


def run_here(chosen: argparse.Namespace) -> None:
    """One part, or one of many processes, in this process."""
    import torch
    from gpu_parts import exact, many, matrices, memory, speed
    from gpu_parts.case import ON_CPU, ON_GPU, Bench

    works = {
        "contract": exact.contract,
        "networks": exact.networks,
        "resume": exact.resume,
        "speed": speed.speed,
        "memory": memory.memory,
        "matrices": matrices.matrices,
        "many": many.many,
    }
    if chosen.device == "cpu":
        torch.set_num_threads(1)  # small sizes; two threads wait for each other on a busy machine
    bench = Bench(
        device=torch.device(chosen.device),
        sizes=ON_GPU if chosen.device == "cuda" else ON_CPU,
        ends=time.monotonic() + (chosen.seconds or 3600),
        figures=chosen.figures,
    )
    work = many.one_of_many if chosen.one_of_many else works[chosen.one_part]
    work(bench)


def run_all(names: list[str], seconds: float, device: str, figures: Path) -> list[str]:
    """Run parts one after another; those that did not come to their end."""
    failed, ends = [], time.monotonic() + seconds
    for number, name in enumerate(names):
        # What earlier parts left over is shared by those to come.
        share = PARTS[name] / sum(PARTS[other] for other in names[number:])
        allowed = share * (ends - time.monotonic())
        print(f"\n== {name} ({allowed:.0f} s at most)", flush=True)
        command = [sys.executable, __file__, "--one-part", name, "--device", device]
        command += ["--seconds", str(allowed - 5), "--figures", str(figures)]
        began = time.monotonic()
        process = subprocess.Popen(command, start_new_session=True)
        try:
            status = process.wait(max(1.0, allowed))
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            # With what the part has started: processes of its own would go on.
            kill_group(process)
        print(f"-- {name}: {time.monotonic() - began:.0f} s", flush=True)
        if status:
            print(f"!! {name} {'took too long' if status == -1 else f'ended with {status}'}")
            failed.append(name)
    return failed


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def told(lines: list[dict[str, object]], failed: list[str]) -> int:
    """Print figures with their bars; the exit status."""
    print()
    is_fine = not failed
    for line in lines:
        value, least, most = (line[key] for key in ("value", "least", "most"))
        assert isinstance(value, float | int)
        bar, reached = "no bar", True
        if isinstance(least, float | int):
            # The worst of nothing is endless: what was not measured reaches no bar.
            bar, reached = f"bar {least:g}", math.isfinite(value) and value >= least
        if isinstance(most, float | int):
            bar, reached = f"bar at most {most:g}", value <= most
        is_fine &= reached
        print(f"{line['name']}: {value:.4g} ({bar}){'' if reached else '   falls short'}")
    if failed:
        print(f"did not come to their end: {', '.join(failed)}")
    return 0 if is_fine else 1


def device_here() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def about(device: str) -> str:
    import importlib.util
    import platform

    import torch

    name = platform.machine()
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        name = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    wanted = ("torchvision", "pyarrow", "sklearn", "safetensors", "pytest", "tenacity")
    missing = [package for package in wanted if importlib.util.find_spec(package) is None]
    cores = len(os.sched_getaffinity(0))
    line = f"{name}; {cores} cores; torch {torch.__version__}; Python {platform.python_version()}"
    return line + (f"; missing: {', '.join(missing)}" if missing else "")


if __name__ == "__main__":
    sys.exit(main())
