"""A sweep's results in Markdown: what MLflow shows as the description of the sweep's run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.analysis.claims import verdicts
from orchestrator.analysis.groups import Section
from orchestrator.analysis.results import Results
from orchestrator.planning import standing
from orchestrator.planning.explain import first_lines, unmet


def summary(results: Results, longest: int | None = None) -> str:
    """Question, how many cells are done and how the others ended, verdicts, and means with 95 %
    intervals over distinct trials, in Markdown; at most so many characters, by whole lines.
    """
    plan = results.plan
    counts = standing.of_total(plan.cell_counts, "cells")
    lines = [plan.question, "", f"{counts}; {standing.of_total(plan.trial_counts, 'trials')}."]
    lines += [f"- {line}" for line in first_lines(unmet(plan))]
    # With nothing finished, tables would be dashes and every verdict undecided.
    if results.by_key:
        # First, since there may be a row for each of a hundred settings.
        lines += _verdicts(results)
        lines += [
            "",
            "Means with the half-width of the 95 % interval over the n distinct trials that are "
            "done.",
        ]
        for section in results.sections():
            lines += ["", *_table(section)]
    return "\n".join(lines if longest is None else _first(lines, longest))


def _first(lines: Sequence[str], longest: int) -> list[str]:
    """As many lines as fit, and where not all do, how many are left out."""
    lengths = [len(line) + 1 for line in lines]  # with their ends
    if sum(lengths) <= longest:
        return list(lines)
    note = "and {} more lines, which are in the tables and in the report."
    room, kept = longest - len(note) - len(str(len(lines))) - 2, 0
    while kept < len(lines) and lengths[kept] <= room:
        room -= lengths[kept]
        kept += 1
    return [*lines[:kept], "", note.format(len(lines) - kept)]


def _verdicts(results: Results) -> Iterator[str]:
    """A table of what came of each claim; nothing where there is none."""
    claims = results.plan.claims
    if claims:
        yield from (
            "",
            "| | claim | verdict | after Holm | evidence | n |",
            "|---|---|---|---|---|---|",
        )
    for found in verdicts(claims, results):
        cells = [found.paper, found.claim, f"**{found.verdict}**", found.after_holm]
        cells += [found.evidence, str(found.n)]
        yield f"| {' | '.join(cells)} |"


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
