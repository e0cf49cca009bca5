"""What the command line prints: plans, matrices, tables, at 80 columns."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.matrix_pictures import Panel, panels
from orchestrator.analysis.results import Group, Results, Section
from orchestrator.planning.explain import Explanation
from orchestrator.planning.plan import Plan
from orchestrator.spec.trial import Trial
from orchestrator.spec.wording import duration

MATRICES_SHOWN = 4
ENTRIES_SHOWN = 8  # rows and columns of each
ACROSS = 5  # values of an axis that fit beside each other


def print_plan(console: Console, plan: Plan) -> None:
    """Cells, distinct trials, sharing, what is done and what is left."""
    first = " ".join(plan.question.split("\n\n")[0].split())
    console.print(Text.assemble((plan.name, "bold"), f"  {first}"))
    failed = [trial for trial in plan.todo if trial.key in plan.failures]
    table = Table.grid(padding=(0, 2))
    dropped = "".join(f"; {d.count} left out: {d.reason}" for d in plan.dropped)
    table.add_row("cells", str(len(plan.cells)), "as written" + dropped)
    _add_trials(table, plan)
    _add_state(table, plan, len(failed))
    console.print(table, highlight=False)
    for trial in failed[:3]:
        reason = plan.failures[trial.key].splitlines()[0]
        console.print(Text(f"  failed: {trial.label}: {reason}", style="red"))


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


def _add_state(table: Table, plan: Plan, num_failed: int) -> None:
    """What is done, stale, left to run, and saved by sharing."""
    outcomes = Counter(plan.outcomes.values())
    others = ", ".join(f"{count} {kind}" for kind, count in outcomes.items() if kind != "done")
    table.add_row("done", str(outcomes.total()), others)
    if plan.stale:
        reasons = Counter(plan.stale.values()).most_common(3)
        listed = "; ".join(f"{count} {why}" for why, count in reasons)
        table.add_row("stale", str(len(plan.stale)), listed)
    failed = f"; {num_failed} failed last time" if num_failed else ""
    table.add_row("to run", str(len(plan.todo)), _cost(plan) + failed)
    unshared = plan.unshared()
    saved = unshared - len(plan.trials)
    if saved:
        table.add_row("saved", str(saved), f"trials by sharing: {unshared} without it")


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


def print_trial(
    console: Console,
    key: str,
    record: Mapping[str, Any] | None,
    failure: Mapping[str, Any] | None,
    log: str,
) -> None:
    """What is known of one trial."""
    stored = (record or failure or {}).get("trial")
    label = Trial.from_json(stored).label if stored else str((failure or {}).get("label", ""))
    console.print(Text.assemble((key, "bold")), soft_wrap=True)
    console.print(Text(label))
    if record is not None:
        _print_record(console, record)
    if failure is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(failure["time"]))
        console.print(
            Text(f"\nfailed on {when}: {failure['reason']}", style="bold red"), soft_wrap=True
        )
        console.print(Text(str(failure["traceback"]).rstrip(), style="red"), soft_wrap=True)
    if log.strip():
        console.print(Text("\nprinted", style="bold"))
        console.print(Text(log.rstrip()), soft_wrap=True)


def _print_record(console: Console, record: Mapping[str, Any]) -> None:
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
    """The headline matrix of some groups, means with intervals over seeds, and verdicts."""
    groups = results.groups()
    if not groups:
        console.print("No cell has a result yet.")
        return
    _print_matrices(console, results)
    for section in results.sections():
        _print_section(console, section)
    print_verdicts(console, results)
    _print_how_many(console, groups)


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
    """A table a metric with one axis down and one across, where there are two axes and it fits;
    else one table with a row a group.
    """
    if section.common:
        console.print(Text("\n" + section.title, style="bold"))
    pivots = []
    if len(section.axes) == 2:
        across = {group.labels[section.axes[1]] for group in section.groups}
        if len(across) <= ACROSS:
            pivots = [_pivot(section, metric) for metric in section.metrics]
    unlimited = console.options.update(width=1000)
    widths = [console.measure(pivot, options=unlimited).maximum for pivot in pivots]
    if pivots and max(widths) <= console.width:
        console.print(*pivots, sep="\n")
    else:
        console.print(_flat(section))


def _print_how_many(console: Console, groups: Sequence[Group]) -> None:
    """What n is, in a line below the tables."""
    sizes = sorted({len(group.results) for group in groups})
    n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    num_shared = sum(0 < group.num_needs < len(group.results) for group in groups)
    sharing = ""
    if num_shared:
        sharing = f"; {num_shared} settings have fewer distinct needs than trials"
    console.print(
        f"Mean ± half-width of the 95 % interval over n = {n} distinct trials{sharing}.",
        style="dim",
        highlight=False,
    )


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
    for found in verdicts(results.plan.claims, results):
        verdict = Text(found.verdict, style=colours.get(found.verdict, "yellow"))
        table.add_row(found.paper, Text(f"{found.claim}: {found.evidence}"), verdict, str(found.n))
    console.print(table)


def _spread(total: int, most: int) -> list[int]:
    """At most `most` places spread evenly over `total`."""
    if total <= most:
        return list(range(total))
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


def _pivot(section: Section, metric: str) -> Table:
    """Two axes: one down, the other across."""
    down, across = section.axes
    columns = list(dict.fromkeys(str(group.labels[across]) for group in section.groups))
    is_wide = len(columns) > 3  # then a digit less, to stay within 80 columns
    digits = 2 if is_wide else 3
    table = Table(
        title=f"\n{metric}",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1 if is_wide else 2, 0, 0),
    )
    table.add_column(down)
    for number, column in enumerate(columns):
        heading = column if number else f"{across}={column}"
        table.add_column(heading, justify="right", no_wrap=True)
    rows: dict[str, dict[str, str]] = {}
    for group in section.groups:
        row = rows.setdefault(str(group.labels[down]), {})
        row[str(group.labels[across])] = group.metric(metric).text(digits)
    for label, row in rows.items():
        table.add_row(label, *(row.get(column, "") for column in columns))
    return table


def _flat(section: Section) -> Table:
    """One row a group; long names fold, values never do."""
    is_crowded = len(section.axes) + len(section.metrics) > 5
    digits, width = (2, 10) if is_crowded else (3, 12)
    table = Table(box=None, padding=(0, 1 if is_crowded else 2, 0, 0))
    for axis in section.axes:
        table.add_column(axis, overflow="fold")
    for metric in section.metrics:
        table.add_column(metric, justify="right", overflow="fold", min_width=width)
    for group in section.groups:
        labels = [str(group.labels[axis]) for axis in section.axes]
        means = [group.metric(metric).text(digits) for metric in section.metrics]
        table.add_row(*labels, *(Text(mean, no_wrap=True) for mean in means))
    return table
