"""One HTML page a sweep: the question, verdicts on its claims, results, matrices, and how the
machines were used. It needs no other file.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from pathlib import Path

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.matrix_pictures import others, overview, unscored
from orchestrator.analysis.plots import plots
from orchestrator.analysis.results import Results
from orchestrator.spec.wording import duration
from orchestrator.store.store import Store


def report(results: Results, store: Store, figure: bytes | None) -> str:
    """The page; `figure` is the overview of matrices as a PNG (see
    `orchestrator.analysis.matrix_pictures`).
    """
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(
        Path(__file__).with_name("report.html.j2").read_text()
    )
    plan = results.plan
    outcomes = Counter(plan.outcomes.get(cell.trial.key, "not done") for cell in plan.cells)
    tables = [
        {
            "title": s.title,
            "heads": [*s.axes, *(m.replace("_", " ") for m in s.metrics), "n", "distinct needs"],
            "rows": [
                {
                    "texts": [str(g.labels[a]) for a in s.axes],
                    "numbers": [
                        *(str(g.metric(m)) for m in s.metrics),
                        len(g.results),
                        g.num_needs,
                    ],
                }
                for g in s.groups
            ],
        }
        for s in (results.sections() if results.by_key else ())
    ]
    return template.render(
        name=plan.name,
        question=" ".join(plan.question.split()),
        cells=len(plan.cells),
        done=sum(c.trial.key in plan.outcomes for c in plan.cells),
        outcomes=", ".join(
            f"{n} {kind}" for kind, n in outcomes.items() if kind not in ("done", "not done")
        ),
        verdicts=list(verdicts(plan.claims, results)),
        tables=tables,
        matrix=(results.headline_matrix() or "").replace("_", " "),
        overview=base64.b64encode(figure).decode() if figure else "",
        unscored=unscored(results),
        others=[(title, base64.b64encode(picture).decode()) for title, picture in others(results)],
        plots=[(title, base64.b64encode(picture).decode()) for title, picture in plots(results)],
        use=machine_use(results),
        made=time.strftime("%Y-%m-%d"),
        store=store.name,
    )


def machine_use(results: Results) -> str:
    """Compute of all finished trials against the time from the first one's start to the last one's
    end.
    """
    plan = results.plan
    compute, (began, ended) = sum(plan.seconds.values()), plan.span
    if not plan.seconds or ended <= began:
        return "Nothing has run yet."
    saved = plan.unshared() - len(plan.trials)
    shared = (
        f" Sharing spared {saved} of {plan.unshared()} trainings and measurements." if saved else ""
    )
    return (
        f"{len(plan.seconds)} trials took {duration(compute)} of compute between {_when(began)} and {_when(ended)} ({duration(ended - began)}, "
        f"pauses included): {compute / (ended - began):.1f} at once on average.{shared}"
    )


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def write(results: Results, store: Store, path: Path) -> None:
    """Write the page; it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(report(results, store, overview(results)))
    temporary.replace(path)
