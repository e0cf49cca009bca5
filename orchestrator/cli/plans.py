"""What the command line prints of plans, statuses and single trials, at 80 columns."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.data_sets import print_warnings
from orchestrator.cli.options import STYLES, again
from orchestrator.executors.shares import Wanted, proposals
from orchestrator.planning import standing
from orchestrator.planning.explain import Explanation, unmet
from orchestrator.planning.plan import Plan
from orchestrator.planning.rounds import rounds_of
from orchestrator.session.trial_log import TrialLog, progress_in_words
from orchestrator.spec.canonical import show
from orchestrator.spec.labels import short_names
from orchestrator.spec.naming import reference_of
from orchestrator.spec.trial import Trial
from orchestrator.spec.wording import duration, first_few

VALUES_SHOWN = 8  # of an axis


def print_plan(console: Console, plan: Plan, slots: int = 1, *, seeds_first: bool = False) -> None:
    """The grid, distinct trials, sharing, what is done, and what is left on so many slots; with
    `seeds_first`, how much of that each round of seeds is.
    """
    # Its first paragraph, on one line: what follows is for the report.
    first = " ".join(plan.question.split("\n\n")[0].split())
    console.print(Text.assemble((plan.name, "bold"), f"  {first}"))
    table = Table.grid(padding=(0, 2))
    dropped = "".join(f"; {d.count} left out: {d.reason}" for d in plan.dropped)
    table.add_row("cells", str(len(plan.cells)), "as written" + dropped)
    _add_axes(table, plan)
    _add_trials(table, plan)
    _add_state(table, plan, slots)
    if seeds_first:
        _add_rounds(table, plan, slots)
    console.print(table, highlight=False)
    for note in plan.notes:
        console.print(Text(f"note: {note}"))
    print_warnings(console, plan.warnings)
    failed = [trial for trial in plan.todo if trial.key in plan.failures]
    for trial in failed[:3]:
        words = f"  {plan.standing(trial.key)}: {trial.label}: {plan.reason(trial.key)}"
        console.print(Text(words, style="red"))


def _add_axes(table: Table, plan: Plan) -> None:
    """A row for each axis along which the cells differ, with its values."""
    for axis, name in short_names(plan.axes).items():
        texts = [value.text for value in plan.values.values(axis)]
        if len(texts) > 1:
            table.add_row("", str(len(texts)), Text(f"{name}: {first_few(texts, VALUES_SHOWN)}"))


def _add_trials(table: Table, plan: Plan) -> None:
    """A row for each method of the cells' trials and of what they need, with how it is shared."""
    cell_keys = plan.cell_keys
    of_cells = [trial for key, trial in plan.trials.items() if key in cell_keys]
    needs = [trial for key, trial in plan.trials.items() if key not in cell_keys]
    for title, trials in (("trials", of_cells), ("needs", needs)):
        for method, count in Counter(trial.method.name for trial in trials).items():
            uses = sum(plan.users[t.key] for t in trials if t.method.name == method)
            sharing = ""
            if uses > count:
                sharing = f", used {uses} times (shared {uses / count:.1f}x)"
            table.add_row(title, str(count), f"{method}{sharing}")


def _add_state(table: Table, plan: Plan, slots: int) -> None:
    """How trials stand, what is stale, left to run, and saved by sharing."""
    # Also where nothing is done: the line that everybody looks for is always there.
    counts = {"done": 0, **plan.trial_counts}
    for state, number in counts.items():
        if state != "open":  # it is to run
            style = STYLES[state] if number else ""
            table.add_row(state, Text(str(number), style=style), _when_tried_again(state))
    if plan.stale:
        reasons = Counter(plan.stale.values()).most_common(3)
        listed = "; ".join(f"{count} {why}" for why, count in reasons)
        table.add_row("stale", str(len(plan.stale)), listed)
    table.add_row("to run", str(len(plan.todo)), _cost(plan, plan.todo, slots))
    unshared = plan.unshared()
    saved = unshared - len(plan.trials)
    if saved:
        table.add_row("saved", str(saved), f"trials by sharing: {unshared} without it")


def _add_rounds(table: Table, plan: Plan, slots: int) -> None:
    """A row for what the first seed of every setting takes, the second, and so on."""
    rounds: dict[int, list[Trial]] = {}
    by_key = rounds_of(plan)
    for trial in plan.todo:
        rounds.setdefault(by_key[trial.key], []).append(trial)
    for number, trials in sorted(rounds.items())[:VALUES_SHOWN]:
        words = f"for seed no. {number + 1} of every setting: {_cost(plan, trials, slots)}"
        table.add_row("", str(len(trials)), words)


def _when_tried_again(state: str) -> str:
    """What the next run makes of trials that stand so."""
    if state in ("diverged", "infeasible"):
        return f"a result, kept (--retry {state} runs it again)"
    if state in ("failed", "lost"):
        return "last time, to run again"
    return "by a need that is not done" if state == "blocked" else ""


def print_standing(console: Console, plan: Plan, most: int | None = None) -> None:
    """How many cells and trials stand how, and why cells that did not fail themselves are not done:
    which need, or what; `most` reasons of them.
    """
    for line in standing_lines(plan, most):
        console.print(line)


def standing_lines(plan: Plan, most: int | None = None) -> list[Text]:
    """The lines of `print_standing`."""
    part = f" (a part: {len(plan.cells)} of {plan.num_whole} cells)" if plan.is_part else ""
    cells, trials = _counts(plan.cell_counts, "cells"), _counts(plan.trial_counts, "trials")
    lines = [Text.assemble(f"{plan.name}{part}: ", cells, "; ", trials)]
    reasons = [found for found in unmet(plan) if found.state not in ("failed", "lost")]
    lines += [Text(f"  {found.line}", style=STYLES[found.state]) for found in reasons[:most]]
    if most is not None and len(reasons) > most:
        lines.append(Text(f"  and {len(reasons) - most} more; `spolia status` lists them"))
    return lines


def _counts(counts: Mapping[str, int], noun: str) -> Text:
    """`standing.of_total` in colours."""
    # The words are taken apart again, so that the colours change nothing of what is said everywhere
    # else. The second word of each is its state.
    total, *others = standing.of_total(counts, noun).split(", ")
    parts = [Text(total), *(Text(words, style=STYLES[words.split()[1]]) for words in others)]
    return Text(", ").join(parts)


def print_explanation(console: Console, explanation: Explanation) -> None:
    """One trial, its state, and what differs from the nearest result."""
    trial, num_differences = explanation.trial, len(explanation.differences)
    console.print(Text.assemble((trial.key[:12], "bold"), f"  {trial.label}"))
    console.print(Text(explanation.state))
    if explanation.modules:
        console.print("\nCode that has changed since its result was made:")
        for module in explanation.modules:
            console.print(Text(f"  {module}"))
        console.print()
    if explanation.nearest is None:
        console.print(f"The store has no result of another {trial.method.name}.")
        return
    console.print(
        f"\nNearest result {explanation.nearest[:12]} differs in {num_differences} fields:"
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("field", "this trial", "that result"):
        table.add_column(column, overflow="fold")
    for difference in explanation.differences:
        values = (difference.field, difference.ours, difference.theirs)
        words = ["-" if value is None else str(value)[:200] for value in values]
        table.add_row(*(Text(word) for word in words))
    console.print(table)


def print_log(console: Console, log: TrialLog) -> None:
    """What is known of one trial."""
    console.print(Text.assemble((log.key, "bold")), soft_wrap=True)
    console.print(Text(log.label))
    table = Table.grid(padding=(0, 2))
    for name, value in log.settings().items():
        table.add_row("setting", Text(f"{name} = {show(value)}"))
    for name, need in log.needs().items():
        table.add_row("needs", Text(f"{name}: {need[:12]}"))
    if log.record is not None:
        _add_record(table, log)
    if table.row_count:
        console.print(table)
    _print_how_to_load(console, log)
    if log.failure is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(log.failure["time"]))
        told = f"\n{log.failure.get('kind', 'failed')} on {when}: {log.failure['reason']}"
        console.print(Text(told, style="bold red"), soft_wrap=True)
        console.print(Text(str(log.failure["traceback"]).rstrip(), style="red"), soft_wrap=True)
        if reached := log.failure.get("progress"):
            console.print(f"it had reached: {progress_in_words(reached)}")
    if log.printed.strip():
        console.print(Text("\nprinted", style="bold"))
        console.print(Text(log.printed.rstrip()), soft_wrap=True)
    if log.progress is not None:
        seen = time.strftime("%H:%M:%S", time.localtime(log.progress["time"]))
        console.print(f"under way: {progress_in_words(log.progress)} (seen at {seen})")


def _add_record(table: Table, log: TrialLog) -> None:
    """Rows for what a result says of itself."""
    record = log.record
    assert record is not None
    # Records of before do not say how much memory was used.
    timings, memory, about = record["timings"], record.get("memory", {}), record["provenance"]
    reason = f": {record['reason']}" if record["reason"] else ""
    table.add_row("outcome", Text(record["outcome"] + reason))
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timings["began"]))
    lasted = duration(timings["seconds"])
    table.add_row("ran", f"{began}, {lasted}, on {about['host']} ({about['device']})")
    for stage, fit in timings["fits"].items():
        rate = f", {fit['images'] / fit['seconds']:,.0f} images/s" if fit["seconds"] else ""
        steps = f"{duration(fit['seconds'])}, {fit['steps']} steps{rate}"
        table.add_row("fit", Text(f"{stage}: {steps}"))
    peaks = ", ".join(f"{what} {size / 2**20:,.0f} MiB" for what, size in memory.items())
    table.add_row("peak memory", peaks or "not known")
    packages = [name for name in ("spolia", "python", "torch", "torchvision") if name in about]
    table.add_row("versions", ", ".join(f"{name} {about[name]}" for name in packages))
    for metric in record["metrics"]:
        name = " ".join([metric["name"], *metric["labels"].values()])
        value = "not finite" if metric["value"] is None else f"{metric['value']:.6g}"
        table.add_row("metric", Text(f"{name} = {value}"))
    for reference in _kept(log):
        table.add_row("kept", Text(reference))


def _kept(log: TrialLog) -> list[str]:
    """References to what a trial kept."""
    components = [] if log.record is None else log.record["components"]
    return [reference_of(log.key[:12], one["name"], one["labels"]) for one in components]


def _print_how_to_load(console: Console, log: TrialLog) -> None:
    kept = _kept(log)
    if not kept:
        return
    first = f"import {log.module_to_import}; " if log.module_to_import else ""
    console.print(Text(f"\nIn Python: {first}Component.open({kept[0]!r}).ready()"), soft_wrap=True)
    if first:
        console.print(
            f"{log.module_to_import} has to be imported first: it is in no package that is known "
            "here. For the command below name it in the site file: packages = [...]"
        )
    export = again("export", f"{log.key[:12]} --to FILE")
    console.print(Text(f"As a file: {export}"), soft_wrap=True)


def print_shares(console: Console, found: Sequence[Wanted]) -> None:
    """What trials took of a GPU, by workload, and the lines for the site file that follow."""
    if not found:
        console.print("No method of this sweep asks for a GPU.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("method", "network", "images"):
        table.add_column(name, overflow="fold")
    for name in ("batch", "runs", "peak", "share", "to run"):
        table.add_column(name, justify="right")
    for one in found:
        of = one.workload
        numerics = "" if of.numerics == "fp32" else f" {of.numerics}"
        measured = ["-", "-"]
        if one.share is not None:
            measured = [_in_gib(one.peak), f"{one.share:g}"]
        row = [of.method + numerics, of.network or "-", of.images or "-", of.batch or "-"]
        row += [str(one.num_measured), *measured, str(one.num_todo)]
        table.add_row(*map(Text, row))
    console.print(table)
    shares = proposals(found)
    if not shares:
        console.print(
            "\nNo trial like these has run on a GPU yet. Until one has, give each a whole one:\n"
            "[gpus] default = 1.0; then a few trials show the rest (spolia run --limit 4)."
        )
        return
    smallest = _in_gib(found[0].gpu_memory)
    console.print(f"\nFor spolia.toml, and GPUs of {smallest} or more:\n")
    for line in ("[gpus]", *(f"{name} = {share:g}" for name, share in shares.items())):
        console.print(Text(line))


def _in_gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _cost(plan: Plan, trials: Sequence[Trial], slots: int) -> str:
    costs = [plan.cost(t) for t in trials]
    known = [c for c in costs if c is not None]
    if not costs:
        return "nothing"
    if not known:
        return "no timings yet"
    rest = f" and {len(costs) - len(known)} of unknown cost" if len(known) < len(costs) else ""
    # No shorter than the longest of them takes.
    lasts = max(sum(known) / slots, *known)
    on_slots = f", {duration(lasts)} on {slots} slots" if slots > 1 else ""
    return f"about {duration(sum(known))} of compute{on_slots}{rest}"
