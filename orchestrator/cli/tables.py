"""What the command line prints: plans, matrices, tables, at 80 columns."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.matrix_pictures import Panel, panels
from orchestrator.analysis.results import Estimate, Results, Section
from orchestrator.planning.explain import Explanation
from orchestrator.planning.plan import Plan
from orchestrator.spec.trial import Trial
from orchestrator.spec.wording import duration

MATRICES_SHOWN = 4
ACROSS = 5  # values of an axis that fit beside each other


def print_plan(console: Console, plan: Plan) -> None:
    """Cells, distinct trials, sharing, what is done and what is left."""
    first = " ".join(plan.question.split("\n\n")[0].split())
    console.print(Text.assemble((plan.name, "bold"), f"  {first}"))
    cell_keys = plan.cell_keys
    needs = [t for key, t in plan.trials.items() if key not in cell_keys]
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "cells",
        str(len(plan.cells)),
        "as written" + "".join(f"; {d.count} left out: {d.reason}" for d in plan.dropped),
    )
    for title, trials in (
        ("trials", [plan.trials[k] for k in plan.trials if k in cell_keys]),
        ("needs", needs),
    ):
        for method, count in Counter(t.method.name for t in trials).items():
            uses = sum(plan.users[t.key] for t in trials if t.method.name == method)
            shared = f"{method}" + (
                f", used {uses} times (shared {uses / count:.1f}x)" if uses > count else ""
            )
            table.add_row(title, str(count), shared)
    todo = plan.todo
    counts = Counter(plan.outcomes.values())
    table.add_row(
        "done",
        str(sum(counts.values())),
        ", ".join(f"{n} {kind}" for kind, n in counts.items() if kind != "done"),
    )
    if plan.stale:
        reasons = Counter(plan.stale.values())
        table.add_row(
            "stale",
            str(len(plan.stale)),
            "; ".join(f"{n} {why}" for why, n in reasons.most_common(3)),
        )
    failed = [t for t in todo if t.key in plan.failures]
    table.add_row(
        "to run",
        str(len(todo)),
        _cost(plan) + (f"; {len(failed)} failed last time" if failed else ""),
    )
    saved = plan.unshared() - len(plan.trials)
    if saved:
        table.add_row("saved", str(saved), f"trials by sharing: {plan.unshared()} without it")
    console.print(table, highlight=False)
    for trial in failed[:3]:
        console.print(
            Text(
                f"  failed: {trial.label}: {plan.failures[trial.key].splitlines()[0]}", style="red"
            )
        )


def print_explanation(console: Console, found: Explanation) -> None:
    """One trial, its state, and what differs from the nearest result."""
    console.print(Text.assemble((found.trial.key[:12], "bold"), f"  {found.trial.label}"))
    console.print(Text(found.state))
    if found.nearest is None:
        console.print(f"The store has no result of another {found.trial.method.name}.")
        return
    console.print(
        f"\nNearest result {found.nearest[:12]} differs in {len(found.differences)} fields:"
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("field", "this trial", "that result"):
        table.add_column(column, overflow="fold")
    for d in found.differences:
        table.add_row(
            *(Text(str("-" if v is None else v)[:200]) for v in (d.field, d.ours, d.theirs))
        )
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
        console.print("\n[bold]printed[/]")
        console.print(Text(log.rstrip()), soft_wrap=True)


def _print_record(console: Console, record: Mapping[str, Any]) -> None:
    timings, memory, about = record["timings"], record.get("memory", {}), record["provenance"]
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "outcome", Text(record["outcome"] + (f": {record['reason']}" if record["reason"] else ""))
    )
    table.add_row(
        "ran",
        f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(timings['began']))}, {duration(timings['ended'] - timings['began'])}, "
        f"on {about['host']} ({about['device']})",
    )
    for stage, fit in timings["fits"].items():
        rate = f", {fit['images'] / fit['seconds']:,.0f} images/s" if fit["seconds"] else ""
        table.add_row(
            "fit", Text(f"{stage}: {duration(fit['seconds'])}, {fit['steps']} steps{rate}")
        )
    table.add_row(
        "peak memory",
        ", ".join(f"{what} {size / 2**20:,.0f} MiB" for what, size in memory.items())
        or "not known",
    )
    table.add_row(
        "versions",
        ", ".join(
            f"{k} {about[k]}" for k in ("spolia", "python", "torch", "torchvision") if k in about
        ),
    )
    for metric in record["metrics"]:
        label = "".join(f" {v}" for v in metric["labels"].values())
        table.add_row(
            "metric",
            Text(
                f"{metric['name']}{label} = {'not finite' if metric['value'] is None else format(metric['value'], '.6g')}"
            ),
        )
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
    """The headline matrix of some groups, then means with intervals over seeds."""
    groups = results.groups()
    if not groups:
        console.print("No cell has a result yet.")
        return
    name = results.headline_matrix()
    if name and (found := panels(results, name)):
        chosen = [found[i] for i in _spread(len(found), MATRICES_SHOWN)]
        down, across = chosen[0].mean.axes
        console.print(
            f"\n[bold]{name}[/]: {down} down, {across} across, mean over trials "
            f"({len(chosen)} of {len(found)} settings; all are in the tables)",
            highlight=False,
        )
        console.print(Columns([_matrix(panel) for panel in chosen], padding=(1, 3)))
    for section in results.sections():
        if section.common:
            console.print(Text("\n" + section.title, style="bold"))
        two = (
            len(section.axes) == 2
            and len({g.labels[section.axes[1]] for g in section.groups}) <= ACROSS
        )
        pivots = [_pivot(section, metric) for metric in section.metrics] if two else []
        if pivots and all(
            console.measure(p, options=console.options.update(width=1000)).maximum <= console.width
            for p in pivots
        ):
            console.print(*pivots, sep="\n")
        else:
            console.print(_flat(section))
    print_verdicts(console, results)
    sizes = sorted({len(g.results) for g in groups})
    seeds = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    shared = [g for g in groups if 0 < g.num_needs < len(g.results)]
    tail = f"; {len(shared)} settings have fewer distinct needs than trials" if shared else ""
    console.print(
        f"Mean ± half-width of the 95 % interval over n = {seeds} distinct trials{tail}.",
        style="dim",
        highlight=False,
    )


def print_verdicts(console: Console, results: Results) -> None:
    """Every claim of the sweep and what became of it."""
    if not results.plan.claims:
        return
    from orchestrator.analysis.claims import verdicts

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
    return (
        list(range(total))
        if total <= most
        else [round(i * (total - 1) / (most - 1)) for i in range(most)]
    )


def _matrix(panel: Panel) -> Table:
    matrix, limit = panel.mean, 8
    size = matrix.values.shape
    title = panel.heading + (
        f" (the first {limit} of {size[0]} x {size[1]})" if max(size) > limit else ""
    )
    table = Table(
        title=title, title_justify="left", title_style="", box=None, padding=(0, 1), show_edge=False
    )
    rows, columns = list(matrix.rows[:limit]), list(matrix.columns[:limit])
    if (
        rows == columns and max(map(len, rows)) > 9
    ):  # long names stand once, with a number, and columns go by it
        rows, columns = (
            [f"{number} {label}" for number, label in enumerate(rows, 1)],
            [str(number) for number in range(1, len(rows) + 1)],
        )
    table.add_column("", no_wrap=True, min_width=min(12, max(map(len, rows))))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for label, row in zip(rows, matrix.values, strict=False):
        table.add_row(label, *(_shade(v) for v in row[:limit]))
    return table


def _shade(value: float) -> Text:
    if np.isnan(value):
        return Text("–", style="dim")
    return Text(
        f"{value:.2f}", style="green" if value >= 0.8 else "yellow" if value >= 0.4 else "red"
    )


def _pivot(section: Section, metric: str) -> Table:
    """Two axes: one down, the other across."""
    down, across = section.axes
    columns = list(dict.fromkeys(str(g.labels[across]) for g in section.groups))
    wide = len(columns) > 3  # then a digit less, to stay within 80 columns
    table = Table(
        title=f"\n{metric}",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1 if wide else 2, 0, 0),
    )
    table.add_column(down)
    for column in columns:
        table.add_column(
            f"{across}={column}" if column == columns[0] else column, justify="right", no_wrap=True
        )
    cells: dict[str, dict[str, Estimate]] = {}
    for g in section.groups:
        cells.setdefault(str(g.labels[down]), {})[str(g.labels[across])] = g.metric(metric)
    for row, values in cells.items():
        table.add_row(
            row, *(values[c].text(2 if wide else 3) if c in values else "" for c in columns)
        )
    return table


def _flat(section: Section) -> Table:
    """One row a group; long names fold, values never do."""
    crowded = len(section.axes) + len(section.metrics) > 5
    table = Table(box=None, padding=(0, 1 if crowded else 2, 0, 0))
    for axis in section.axes:
        table.add_column(axis, overflow="fold")
    for metric in section.metrics:
        table.add_column(metric, justify="right", overflow="fold", min_width=10 if crowded else 12)
    for group in section.groups:
        values = (
            Text(group.metric(m).text(2 if crowded else 3), no_wrap=True) for m in section.metrics
        )
        table.add_row(*(str(group.labels[a]) for a in section.axes), *values)
    return table
