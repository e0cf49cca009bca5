"""A sweep's results in Markdown: what MLflow shows as the description of the sweep's run."""

from __future__ import annotations

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.groups import Section
from orchestrator.analysis.results import Results
from orchestrator.planning import standing
from orchestrator.planning.explain import first_lines, unmet


def summary(results: Results) -> str:
    """Question, how many cells are done and how the others ended, means with 95 % intervals over
    distinct trials, and verdicts, in Markdown.
    """
    plan = results.plan
    counts = standing.of_total(plan.cell_counts, "cells")
    lines = [plan.question, "", f"{counts}; {standing.of_total(plan.trial_counts, 'trials')}."]
    lines += [f"- {line}" for line in first_lines(unmet(plan))]
    # With nothing finished, tables would be dashes and every verdict undecided.
    if not results.by_key:
        return "\n".join(lines)
    for section in results.sections():
        lines += ["", *_table(section)]
    lines += [
        "",
        "Means with the half-width of the 95 % interval over the n distinct trials that are done.",
    ]
    if plan.claims:
        lines += [
            "",
            "| | claim | verdict | after Holm | evidence | n |",
            "|---|---|---|---|---|---|",
        ]
    for found in verdicts(plan.claims, results):
        cells = [found.paper, found.claim, f"**{found.verdict}**", found.after_holm]
        cells += [found.evidence, str(found.n)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _table(section: Section) -> list[str]:
    """The lines of one section's table, under its title where there are several."""
    heads = [*section.axes, *(c.title for c in section.columns), *section.counting_heads]
    lines = [f"**{section.title}**", ""] if section.common else []
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for group in section.groups:
        values = [str(group.labels[axis]) for axis in section.axes]
        values += [group.text(column) for column in section.columns]
        lines.append("| " + " | ".join([*values, *section.counting(group)]) + " |")
    notes = list(section.notes())
    return [*lines, "", *notes] if notes else lines
