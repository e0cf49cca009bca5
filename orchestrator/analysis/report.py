"""One HTML page a sweep: the question, verdicts on its claims, results, matrices, and how the
machines were used. It needs no other file.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from pathlib import Path
from typing import Any

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.matrix_pictures import others, overview, unscored
from orchestrator.analysis.plots import plots
from orchestrator.analysis.results import Results, Section
from orchestrator.planning.plan import Plan
from orchestrator.spec.wording import duration
from orchestrator.store.store import Store


def report(results: Results, store: Store, figure: bytes | None) -> str:
    """The page; `figure` is the overview of matrices as a PNG (see
    `orchestrator.analysis.matrix_pictures`).
    """
    from jinja2 import Environment

    source = Path(__file__).with_name("report.html.j2").read_text()
    plan = results.plan
    return (
        Environment(autoescape=True)
        .from_string(source)
        .render(
            name=plan.name,
            question=" ".join(plan.question.split()),
            cells=len(plan.cells),
            done=sum(cell.trial.key in plan.outcomes for cell in plan.cells),
            outcomes=_other_outcomes(plan),
            verdicts=list(verdicts(plan.claims, results)),
            tables=[_table(section) for section in results.sections()] if results.by_key else [],
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


def _other_outcomes(plan: Plan) -> str:
    """How many cells ended otherwise than done: `2 diverged, 1 infeasible`."""
    outcomes = Counter(plan.outcomes.get(cell.trial.key, "done") for cell in plan.cells)
    return ", ".join(f"{count} {kind}" for kind, count in outcomes.items() if kind != "done")


def _table(section: Section) -> dict[str, Any]:
    """A section of the results as the template takes it: a row a group."""
    metric_heads = [metric.replace("_", " ") for metric in section.metrics]
    rows = []
    for group in section.groups:
        means = [str(group.metric(metric)) for metric in section.metrics]
        rows.append(
            {
                "texts": [str(group.labels[axis]) for axis in section.axes],
                "numbers": [*means, len(group.results), group.num_needs],
            }
        )
    heads = [*section.axes, *metric_heads, "n", "distinct needs"]
    return {"title": section.title, "heads": heads, "rows": rows}


def _as_base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def machine_use(results: Results) -> str:
    """Compute of all finished trials against the time from the first one's start to the last one's
    end.
    """
    plan = results.plan
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
    temporary = path.with_suffix(".part")
    temporary.write_text(report(results, store, overview(results)))
    temporary.replace(path)
