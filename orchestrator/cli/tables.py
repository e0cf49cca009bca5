"""What the command line prints: plans, matrices, tables, at 80 columns."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.groups import Column, Section
from orchestrator.analysis.matrix_pictures import Panel, panels
from orchestrator.analysis.results import Results
from orchestrator.cli.data_sets import print_warnings
from orchestrator.cli.options import STYLES
from orchestrator.planning import standing
from orchestrator.planning.explain import Explanation, unmet
from orchestrator.planning.plan import Plan
from orchestrator.session.looked import TrialLog
from orchestrator.session.status import Status
from orchestrator.spec.wording import duration

MATRICES_SHOWN = 4
ENTRIES_SHOWN = 8  # rows and columns of each
ACROSS = 5  # values of an axis that fit beside each other


def print_plan(console: Console, plan: Plan) -> None:
    """Cells, distinct trials, sharing, what is done and what is left."""
    first = " ".join(plan.question.split("\n\n")[0].split())
    console.print(Text.assemble((plan.name, "bold"), f"  {first}"))
    table = Table.grid(padding=(0, 2))
    dropped = "".join(f"; {d.count} left out: {d.reason}" for d in plan.dropped)
    table.add_row("cells", str(len(plan.cells)), "as written" + dropped)
    _add_trials(table, plan)
    _add_state(table, plan)
    console.print(table, highlight=False)
    for note in plan.notes:
        console.print(Text(f"note: {note}"))
    print_warnings(console, plan.warnings)
    failed = [trial for trial in plan.todo if trial.key in plan.failures]
    for trial in failed[:3]:
        words = f"  {plan.standing(trial.key)}: {trial.label}: {plan.reason(trial.key)}"
        console.print(Text(words, style="red"))


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


def _add_state(table: Table, plan: Plan) -> None:
    """How trials stand, what is stale, left to run, and saved by sharing."""
    counts = {"done": 0, **plan.trial_counts}
    for state, number in counts.items():
        if state != "open":  # it is to run
            style = STYLES[state] if number else ""
            table.add_row(state, Text(str(number), style=style), _when_tried_again(state))
    if plan.stale:
        reasons = Counter(plan.stale.values()).most_common(3)
        listed = "; ".join(f"{count} {why}" for why, count in reasons)
        table.add_row("stale", str(len(plan.stale)), listed)
    table.add_row("to run", str(len(plan.todo)), _cost(plan))
    unshared = plan.unshared()
    saved = unshared - len(plan.trials)
    if saved:
        table.add_row("saved", str(saved), f"trials by sharing: {unshared} without it")


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
    part = f" (a part: {len(plan.cells)} of {plan.num_whole} cells)" if plan.is_part else ""
    cells, trials = _counts(plan.cell_counts, "cells"), _counts(plan.trial_counts, "trials")
    console.print(Text.assemble(f"{plan.name}{part}: ", cells, "; ", trials))
    reasons = [found for found in unmet(plan) if found.state not in ("failed", "lost")]
    for found in reasons[:most]:
        console.print(Text(f"  {found.line}", style=STYLES[found.state]))
    if most is not None and len(reasons) > most:
        console.print(f"  and {len(reasons) - most} more; `spolia status` lists them")


def _counts(counts: Mapping[str, int], noun: str) -> Text:
    """`standing.of_total` in colours."""
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


def print_status(console: Console, status: Status) -> None:
    """Counts, why cells are not done, every trial that failed, every trial under way."""
    if status.plan is None:
        console.print(Text(status.headline))
    else:
        print_standing(console, status.plan)
    for one in status.failed:
        console.print(Text(f"  {one.state}: {one.label}\n    {one.reason}", style="red"))
        console.print(f"    spolia logs {one.key[:12]}")
    for trial in status.under_way:
        epoch = f"epoch {trial.epoch} of {trial.epochs}"
        console.print(Text(f"  under way: {trial.label}\n    {trial.stage}: {epoch}"))
    for missing in status.missing:
        console.print(Text(f"  {missing}", style="yellow"))


def print_log(console: Console, log: TrialLog) -> None:
    """What is known of one trial."""
    console.print(Text.assemble((log.key, "bold")), soft_wrap=True)
    console.print(Text(log.label))
    if log.record is not None:
        _print_record(console, log)
    if log.failure is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(log.failure["time"]))
        console.print(
            Text(f"\nfailed on {when}: {log.failure['reason']}", style="bold red"), soft_wrap=True
        )
        console.print(Text(str(log.failure["traceback"]).rstrip(), style="red"), soft_wrap=True)
    if log.printed.strip():
        console.print(Text("\nprinted", style="bold"))
        console.print(Text(log.printed.rstrip()), soft_wrap=True)
    if log.progress is not None:
        seen = time.strftime("%H:%M:%S", time.localtime(log.progress["time"]))
        epoch = f"epoch {log.progress['epoch']} of {log.progress['epochs']}"
        console.print(f"under way: {log.progress['stage']}, {epoch} (seen at {seen})")


def _print_record(console: Console, log: TrialLog) -> None:
    record = log.record
    assert record is not None
    timings, memory, about = record["timings"], record.get("memory", {}), record["provenance"]
    table = Table.grid(padding=(0, 2))
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
    for component in record["components"]:
        table.add_row("kept", Text(" ".join([component["name"], *component["labels"].values()])))
    console.print(table)


def _cost(plan: Plan) -> str:
    costs = [plan.cost(t) for t in plan.todo]
    known = [c for c in costs if c is not None]
    if not costs:
        return "nothing"
    if not known:
        return "no timings yet"
    rest = f" and {len(costs) - len(known)} of unknown cost" if len(known) < len(costs) else ""
    return f"about {duration(sum(known))} of compute{rest}"


def print_results(console: Console, results: Results) -> None:
    """The headline matrix of some groups, means with intervals over seeds, and verdicts; of a part
    of a sweep, that it is one.
    """
    plan = results.plan
    if plan.is_part:
        print_part(console, plan)
    _print_matrices(console, results)
    for section in results.sections():
        _print_section(console, section)
    print_verdicts(console, results)
    console.print(
        "Mean ± half-width of the 95 % interval over the n distinct trials that are done.",
        style="dim",
        highlight=False,
    )


def print_part(console: Console, plan: Plan) -> None:
    """That this is a part of a sweep, and why no claim has a verdict."""
    words = f"\nA part of {plan.name}: {len(plan.cells)} of its {plan.num_whole} cells."
    if plan.num_claims:
        count = "Its claim is" if plan.num_claims == 1 else f"Its {plan.num_claims} claims are"
        words += f" {count} undecided: verdicts are on the whole sweep."
    console.print(words, style="bold", highlight=False)


def _print_matrices(console: Console, results: Results) -> None:
    """The headline matrix of a few groups, spread over all of them."""
    name = results.headline_matrix()
    all_panels = panels(results, name) if name else []
    if not all_panels:
        return
    shown = [all_panels[i] for i in _spread(len(all_panels), MATRICES_SHOWN)]
    down, across = shown[0].mean.axes
    how_many = f"({len(shown)} of {len(all_panels)} settings; all are in the tables)"
    about = f": {down} down, {across} across, mean over trials {how_many}"
    console.print(Text.assemble("\n", (str(name), "bold"), about))
    console.print(Columns([_matrix(panel) for panel in shown], padding=(1, 3)))


def _print_section(console: Console, section: Section) -> None:
    """A table a metric with one axis down and one across, where there are two axes, every row is
    whole and it fits; else tables with a row a group.
    """
    if section.common:
        console.print(Text("\n" + section.title, style="bold"))
    pivots = _pivots(section)
    if pivots and max(_width(console, pivot) for pivot in pivots) <= console.width:
        console.print(*pivots, sep="\n")
    else:
        _print_rows(console, section)
    for note in section.notes():
        console.print(Text(note, style="dim"))


def _pivots(section: Section) -> list[Table]:
    """Two axes against each other, a table a column. None where trials are missing, or means rest
    on other numbers of trials: then each row has to say so.
    """
    if len(section.axes) != 2:
        return []
    across = {group.labels[section.axes[1]] for group in section.groups}
    values = [group.value(column).n for group in section.groups for column in section.columns]
    is_whole = not section.has_missing and not section.has_shared_needs
    if len(across) > ACROSS or not is_whole or len(set(values)) > 1:
        return []
    return [_pivot(section, column) for column in section.columns]


def _print_rows(console: Console, section: Section) -> None:
    """One row a group: as many columns in a table as the width allows, the others in tables of
    their own below.
    """
    left = list(section.columns)
    while left:
        fitting = len(left)
        while fitting > 1 and _width(console, _flat(section, left[:fitting])) > console.width:
            fitting -= 1
        console.print(_flat(section, left[:fitting]))
        left = left[fitting:]


def _width(console: Console, table: Table) -> int:
    """The least width in which no value is cut or folded."""
    return console.measure(table, options=console.options.update(width=1000)).minimum


def print_verdicts(console: Console, results: Results) -> None:
    """Every claim of the sweep and what became of it."""
    if not results.plan.claims:
        return
    colours = {"reproduced": "green", "not reproduced": "red"}
    table = Table(
        title="\nclaims", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0)
    )
    for column in ("", "claim", "verdict", "n"):
        table.add_column(column, overflow="fold", justify="right" if column == "n" else "left")
    found = verdicts(results.plan.claims, results)
    for one in found:
        verdict = Text(one.verdict, style=colours.get(one.verdict, "yellow"))
        if one.after_holm != one.verdict:
            verdict.append("\n(alone)", style="dim")
        # What is missing or does not match stands on lines of its own.
        words = Text(f"{one.claim}:\n" + "\n".join(one.evidence.split("; ")))
        table.add_row(one.paper, words, verdict, str(one.n))
    console.print(table)
    console.print(
        f"n counts seeds. {found[0].num_tested} of {len(found)} claims were tested; (alone): not "
        "after Holm's correction for all of them.",
        style="dim",
        highlight=False,
    )


def _spread(total: int, most: int) -> list[int]:
    """At most `most` places spread evenly over `total`."""
    if total <= most:
        return list(range(total))
    # The first and the last among them.
    return [round(i * (total - 1) / (most - 1)) for i in range(most)]


def _matrix(panel: Panel) -> Table:
    """The first rows and columns of a matrix."""
    matrix = panel.mean
    num_rows, num_columns = matrix.values.shape
    title = panel.heading
    if max(num_rows, num_columns) > ENTRIES_SHOWN:
        title += f" (the first {ENTRIES_SHOWN} of {num_rows} x {num_columns})"
    table = Table(
        title=title, title_justify="left", title_style="", box=None, padding=(0, 1), show_edge=False
    )
    rows = list(matrix.rows[:ENTRIES_SHOWN])
    columns = list(matrix.columns[:ENTRIES_SHOWN])
    if rows == columns and max(map(len, rows)) > 9:
        # Long names stand once, with a number, and columns go by it.
        columns = [str(number) for number in range(1, len(rows) + 1)]
        rows = [f"{number} {label}" for number, label in enumerate(rows, 1)]
    table.add_column("", no_wrap=True, min_width=min(12, max(map(len, rows))))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for label, values in zip(rows, matrix.values, strict=False):
        table.add_row(label, *(_shade(value) for value in values[:ENTRIES_SHOWN]))
    return table


def _shade(value: float) -> Text:
    if np.isnan(value):
        return Text("–", style="dim")
    style = "green" if value >= 0.8 else "yellow" if value >= 0.4 else "red"
    return Text(f"{value:.2f}", style=style)


def _pivot(section: Section, column: Column) -> Table:
    """Two axes: one down, the other across, and n, which is the same everywhere."""
    down, across = section.axes
    columns = list(dict.fromkeys(str(group.labels[across]) for group in section.groups))
    is_wide = len(columns) > 3  # then a digit less, to stay within 80 columns
    digits = 2 if is_wide else 3
    table = Table(
        title=f"\n{column.title}",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1 if is_wide else 2, 0, 0),
    )
    table.add_column(down, no_wrap=True)
    for number, value in enumerate(columns):
        heading = value if number else f"{across}={value}"
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    rows: dict[str, dict[str, str]] = {}
    for group in section.groups:
        row = rows.setdefault(str(group.labels[down]), {})
        row[str(group.labels[across])] = group.text(column, digits)
    n = str(section.groups[0].n)  # the same in all groups, or there would be no such table
    for label, row in rows.items():
        table.add_row(label, *(row.get(value, "") for value in columns), n)
    return table


def _flat(section: Section, columns: Sequence[Column]) -> Table:
    """One row a group; long names fold, values never do."""
    is_crowded = len(section.axes) + len(columns) > 5
    digits, width = (2, 10) if is_crowded else (3, 12)
    table = Table(box=None, padding=(0, 1 if is_crowded else 2, 0, 0))
    for axis in section.axes:
        table.add_column(axis, overflow="fold")
    for column in columns:
        heading = column.title.split()  # the label below the name
        least = max(width, *map(len, heading))
        table.add_column("\n".join(heading), justify="right", min_width=least)
    for head in section.counting_heads:
        table.add_column(head, justify="left" if head == "missing" else "right", overflow="fold")
    for group in section.groups:
        labels = [str(group.labels[axis]) for axis in section.axes]
        means = [group.text(column, digits) for column in columns]
        counting = section.counting(group)
        table.add_row(*labels, *(Text(mean, no_wrap=True) for mean in means), *counting)
    return table
