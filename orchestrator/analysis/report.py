"""One HTML page a sweep: the question, verdicts on its claims, results, matrices, and how the
machines were used. It needs no other file.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.groups import Section
from orchestrator.analysis.matrix_pictures import others, overview, unscored
from orchestrator.analysis.plots import plots
from orchestrator.analysis.results import Results
from orchestrator.planning import standing
from orchestrator.planning.explain import first_lines, unmet
from orchestrator.spec.wording import duration
from orchestrator.store.files import appears_whole
from orchestrator.store.store import Store


def report(results: Results, store: Store, figure: bytes | None) -> str:
    """The page; `figure` is the overview of matrices as a PNG (see
    `orchestrator.analysis.matrix_pictures`).
    """
    # Loaded late: commands that write no page do without it.
    from jinja2 import Environment

    source = Path(__file__).with_name("report.html.j2").read_text()
    plan = results.plan
    return (
        Environment(autoescape=True)  # labels and errors are text, whatever they look like
        .from_string(source)
        .render(
            name=plan.name,
            question=" ".join(plan.question.split()),
            counts=standing.of_total(plan.cell_counts, "cells"),
            trial_counts=standing.of_total(plan.trial_counts, "trials"),
            causes=first_lines(unmet(plan)),
            verdicts=list(verdicts(plan.claims, results)),
            tables=[_table(section) for section in results.sections()],
            matrix=(results.headline_matrix() or "").replace("_", " "),
            overview=_as_base64(figure) if figure else "",
            unscored=unscored(results),
            others=[(title, _as_base64(picture)) for title, picture in others(results)],
            plots=[(title, _as_base64(picture)) for title, picture in plots(results)],
            use=machine_use(results),
            made=time.strftime("%Y-%m-%d"),
            store=store.name,
        )
    )


def _table(section: Section) -> dict[str, Any]:
    """A section of the results as the template takes it: a row a group."""
    metric_heads = [column.title.replace("_", " ") for column in section.columns]
    rows = []
    for group in section.groups:
        means = [group.text(column) for column in section.columns]
        rows.append(
            {
                "texts": [str(group.labels[axis]) for axis in section.axes],
                "numbers": [*means, *section.counting(group)],
            }
        )
    heads = [*section.axes, *metric_heads, *section.counting_heads]
    return {"title": section.title, "heads": heads, "rows": rows, "notes": list(section.notes())}


def _as_base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def machine_use(results: Results) -> str:
    """Compute of all finished trials against the time from the first one's start to the last one's
    end.
    """
    plan = results.plan
    # All times are seconds; outdated results took theirs, too, and are in both.
    compute, (began, ended) = sum(plan.seconds.values()), plan.span
    if not plan.seconds or ended <= began:
        return "Nothing has run yet."
    unshared = plan.unshared()
    saved = unshared - len(plan.trials)
    sharing = f" Sharing spared {saved} of {unshared} trainings and measurements." if saved else ""
    return (
        f"{len(plan.seconds)} trials took {duration(compute)} of compute "
        f"between {_when(began)} and {_when(ended)} ({duration(ended - began)}, pauses included): "
        f"{compute / (ended - began):.1f} at once on average.{sharing}"
    )


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def write(results: Results, store: Store, path: Path) -> None:
    """Write the page; it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = report(results, store, overview(results))
    with appears_whole(path) as temporary:  # somebody may be looking at the page that is there
        temporary.write_text(page)
