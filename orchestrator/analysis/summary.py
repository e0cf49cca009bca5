"""A sweep's results in Markdown: what MLflow shows as the description of the sweep's run."""

from __future__ import annotations

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.results import Results, Section


def summary(results: Results) -> str:
    """Question, means with 95 % intervals over distinct trials, and verdicts, in Markdown."""
    plan = results.plan
    if not results.groups():
        return plan.question
    lines = [plan.question]
    for section in results.sections():
        lines += ["", *_table(section)]
    lines += ["", "Means with the half-width of the 95 % interval over n distinct trials."]
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
    heads = [*section.axes, *section.metrics, "n"]
    lines = [f"**{section.title}**", ""] if section.common else []
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for group in section.groups:
        values = [str(group.labels[axis]) for axis in section.axes]
        values += [str(group.metric(name)) for name in section.metrics]
        lines.append("| " + " | ".join([*values, str(len(group.results))]) + " |")
    return lines
