"""Pictures of the terminal for `docs/terminal/`: the real output of real commands, as SVG.

It runs `sweeps/quickstart.py`, and a sweep whose trials partly fail, in a folder of its own, in a
terminal of tmux's, and takes a picture when the words that a state is known by are there. Some
minutes on two cores.

    python docs/screens.py                 all; later ones show what earlier ones ran
    python docs/screens.py failing failed  these alone
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs/terminal"
SOCKET, SESSION = "spolia-screens", "screens"
LIMIT = 900.0  # seconds until a state has to be there
COMMON, IDENTICAL = "ingredients=common split=pool", "ingredients=identical split=pool"
ONLY = '--only "ingredients=common,identical"'
RUN_FAILING = "spolia run failing.py --executor inline"
FAILED = "spolia status failing.py"
AT = '--only "ingredients=common seed=0"'


@dataclass(frozen=True)
class Screen:
    """A picture: of which command, in which size, the words by which its state is known, and those
    in the first line of it, where what stands above is left out.
    """

    name: str
    command: str
    size: tuple[int, int]
    words: str
    begins: str = ""


SCREENS = (
    Screen("plan", "spolia plan sweeps/quickstart.py", (80, 24), r"saved "),
    Screen("starting", f"spolia run sweeps/quickstart.py {ONLY}", (80, 24), "starting Ray"),
    # The same command goes on: no command is a look at what runs.
    Screen("running", "", (80, 24), r"left(.*\n)+.*\d/30 .*\n.*\d/30 "),
    Screen("running_wide", "", (120, 40), r"joint \d+/30(.*\n)+.*joint \d+/30"),
    # Behind what the changes of size have left of the picture that moved.
    Screen("ended", "", (80, 60), "These results again", "30 of 30 done"),
    Screen("status", "spolia status sweeps/quickstart.py", (80, 24), r"need .*\d"),
    Screen(
        "results",
        f"spolia results sweeps/quickstart.py {ONLY} --sort compatibility --columns compatibility",
        (80, 60),
        r"Guessing gives(.*\n)+\$\s*\Z",
    ),
    Screen("list", f"spolia list sweeps/quickstart.py {AT}", (80, 24), r"need(.*\n)+\$\s*\Z"),
    Screen(
        "compare",
        f'spolia compare sweeps/quickstart.py "{COMMON}" "{IDENTICAL}"',
        (80, 30),
        r"compatibility(.*\n)+\$\s*\Z",
    ),
    Screen("logs", "spolia logs KEY", (80, 40), r"open(.*\n)+\$\s*\Z"),
    Screen("wrong", "spolia plan sweeps/misspelt.py", (80, 24), r"error: (.*\n)+\$\s*\Z"),
    # Behind the traceback, whose paths are this machine's.
    Screen("failing", RUN_FAILING, (80, 40), r"blocked(.*\n)+\$\s*\Z", "8 of 12 done"),
    Screen("failed", FAILED, (80, 24), r"blocked(.*\n)+\$\s*\Z"),
    Screen("no_colour", f"NO_COLOR=1 {FAILED}", (80, 24), r"blocked(.*\n)+\$\s*\Z"),
)

# Beside a sweep of it: a training that fails for one seed, and a method that needs it.
UNLUCKY = """
from orchestrator import Method, Metric, axis


class Unlucky(Method):
    name = "unlucky"
    uses = frozenset({"seed"})
    metrics = (Metric("score"),)

    scale: float = axis(1.0)

    def train(self, run):
        if run.trial.seed == 1:
            raise ValueError(f"no luck at scale {self.scale}")
        run.log(score=self.scale * run.trial.seed)


class Judge(Method):
    name = "judge"
    uses = frozenset({"seed"})
    metrics = (Metric("verdict"),)

    of: Unlucky = axis(Unlucky())

    def needs(self, trial):
        return {"case": trial.replace(method=self.of)}

    def train(self, run):
        run.log(verdict=run.need("case").metric("score") + 1)
"""
FAILING = """
from orchestrator import Sweep, product
from unlucky import Judge, Unlucky

cells = product(Judge.grid(of=Unlucky.grid(scale=[1.0, 2.0])), seed=range(3))
sweep = Sweep(question="Who judges those without luck?", cells=cells, expect=6)
"""


def tmux(*words: str) -> str:
    command = ["tmux", "-L", SOCKET, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_for(words: str) -> str:
    """What the terminal shows, with its colours, once these words are there."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        shown = tmux("capture-pane", "-p", "-t", SESSION)
        if re.search(words, shown):
            return tmux("capture-pane", "-e", "-p", "-t", SESSION)
        time.sleep(0.2)
    raise SystemExit(f"{words!r} never came: {shown}")


def save(screen: Screen, shown: str) -> None:
    """A picture of a terminal's lines; nothing of it is drawn by hand."""
    console = Console(file=io.StringIO(), record=True, width=screen.size[0])
    has_begun = False
    # One decoder for all lines: a colour may last over several.
    for line in AnsiDecoder().decode(shown.rstrip()):
        has_begun = has_begun or screen.begins in line.plain
        if has_begun:
            line.rstrip()
            console.print(line, no_wrap=True, overflow="crop")
    OUT.mkdir(exist_ok=True)
    svg = console.export_svg(title=screen.name, unique_id=screen.name)
    (OUT / f"{screen.name}.svg").write_text(svg)


def lay_out(folder: Path) -> None:
    """The files that the commands name."""
    (folder / "sweeps").mkdir()
    quickstart = ROOT / "sweeps/quickstart.py"
    shutil.copy(quickstart, folder / "sweeps")
    misspelt = quickstart.read_text().replace("epochs=", "epoch=", 1)
    (folder / "sweeps/misspelt.py").write_text(misspelt)
    (folder / "unlucky.py").write_text(UNLUCKY)
    (folder / "failing.py").write_text(FAILING)


def first_need(folder: str, program: Path) -> str:
    """The key of a training that has ended."""
    command = [program / "spolia", "list", "sweeps/quickstart.py", "--role", "need"]
    command += ["--state", "done", "--json"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return str(json.loads(listed.stdout)[0]["key"])[:12]


def main() -> None:
    program = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        shell = f"cd {folder} && PATH={program}:$PATH PS1='$ ' bash --norc"
        tmux("new-session", "-d", "-s", SESSION, "-x", "80", "-y", "24", shell)
        try:
            chosen = sys.argv[1:]
            for screen in (one for one in SCREENS if not chosen or one.name in chosen):
                width, height = screen.size
                tmux("resize-window", "-t", SESSION, "-x", str(width), "-y", str(height))
                command = screen.command
                if "KEY" in command:
                    command = command.replace("KEY", first_need(folder, program))
                if command:
                    tmux("send-keys", "-t", SESSION, f"clear; {command}", "Enter")
                save(screen, wait_for(screen.words))
                print(screen.name, flush=True)
        finally:
            tmux("kill-session", "-t", SESSION)


if __name__ == "__main__":
    main()
