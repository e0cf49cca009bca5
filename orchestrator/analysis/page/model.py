"""All that is on the page of a sweep, as plain JSON values."""

from __future__ import annotations

import time
from typing import Any

from orchestrator.analysis.best import BestSetting
from orchestrator.analysis.groups import Column
from orchestrator.analysis.page import about, curves, matrices, plots, tables
from orchestrator.analysis.results import Results
from orchestrator.planning import standing
from orchestrator.planning.explain import first_lines, unmet
from orchestrator.spec.claim import Verdict
from orchestrator.spec.wording import duration


def page_model(results: Results) -> dict[str, Any]:
    """What the page shows. Its numbers are those of the terminal and of the tables, since they come
    from the same functions.
    """
    plan = results.plan
    families, references = matrices.families(results)
    found, notes = curves.training_curves(results)
    return {
        "name": plan.name,
        "question": " ".join(plan.question.split()),
        "counts": standing.of_total(plan.cell_counts, "cells"),
        "trial_counts": standing.of_total(plan.trial_counts, "trials"),
        "causes": first_lines(unmet(plan)),
        "answer": {
            "plots": [
                {"metric": metric, "axis": axis, **plot}
                for metric, axis, plot in plots.answers(results)
            ],
            "best": [_best(column, best) for column, best in best_settings(results)],
        },
        "verdicts": [_verdict(one) for one in results.verdicts()],
        "num_tested": next((one.num_tested for one in results.verdicts()), 0),
        "tables": tables.settings_tables(results),
        "trials": tables.trials_table(results),
        "matrices": families,
        "references": references,
        "plots": list(plots.declared(results)),
        "curves": {"plots": found, "notes": notes},
        "about": {
            "command": about.command(results),
            "dropped": [[one.reason, one.count] for one in plan.dropped],
            "grid": about.grid(results),
            "constant": about.constant(results),
            "methods": about.methods(plan),
            "made_with": about.made_with(results),
            "use": machine_use(results),
            "metrics": about.metrics(results),
            "matrices": about.matrices(results),
        },
        "made": time.strftime("%Y-%m-%d"),
        "store": results.store.name,
    }


def best_settings(results: Results) -> list[tuple[Column, BestSetting]]:
    """The best setting in each headline column that has one."""
    columns = [column for name in results.headline() for column in results.columns(name)]
    found = [(column, plots.best_setting(results, column)) for column in columns]
    return [(column, best) for column, best in found if best is not None]


def _best(column: Column, best: BestSetting) -> dict[str, Any]:
    """The best setting in words, and whether these seeds tell it from the next."""
    told = {
        "metric": plots.words(column.title),
        "setting": best.title,
        "value": best.value.text(3),
        "n": best.value.n,
    }
    if best.next_value is None:
        return {**told, "next": "", "apart": ""}
    apart = {
        None: "there is no interval to tell them apart by",
        True: "the intervals overlap",
        False: "the intervals do not overlap",
    }[best.overlaps]
    following = f"{best.next_title}, {best.next_value.text(3)} (n = {best.next_value.n})"
    return {**told, "next": following, "apart": apart}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """A verdict with the pairs that it rests on: a row a seed, and where two sides stand against
    each other their difference.
    """
    pairs = verdict.pairs
    rows: list[list[str]] = []
    heads: list[str] = []
    if pairs is not None and pairs.seeds:
        is_difference = len(pairs.sides) == 2
        heads = ["seed", *pairs.sides, *(["difference"] if is_difference else [])]
        for seed, *values in zip(pairs.seeds, *pairs.values, strict=True):
            row = ["any" if seed is None else str(seed), *(f"{value:z.3f}" for value in values)]
            rows.append([*row, *([f"{values[0] - values[1]:+z.3f}"] if is_difference else [])])
    return {
        "paper": verdict.paper,
        "claim": verdict.claim,
        "verdict": verdict.verdict,
        "after_holm": verdict.after_holm,
        "evidence": verdict.evidence,
        "n": verdict.n,
        "p": "" if verdict.p is None else f"{verdict.p:.2g}",
        "heads": heads,
        "rows": rows,
    }


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
