"""How data sets and their cache are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.spec.formatting import counted

if TYPE_CHECKING:
    from orchestrator.spec.task import DataRecord

CLASSES_SHOWN = 12


def print_data_line(console: Console, record: DataRecord) -> None:
    """A data set in a line, and what to know before training on it."""
    channels, height, width = record.shape
    num_train, num_test = record.counts
    num_classes = len(record.classes)
    size = (
        f"{num_classes} {'class' if num_classes == 1 else 'classes'}, "
        f"{num_train:,} + {num_test:,} images, {channels}x{height}x{width}"
    )
    line = Text.assemble((record.name, "bold"), f"  {size}  {record.digest[:12]}")
    console.print(line, soft_wrap=True)
    print_warnings(console, record.warnings)


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """What to know before training, each in a paragraph of its own."""
    for warning in warnings:
        console.print(Padding(Text(f"! {warning}", style="yellow"), (0, 0, 0, 2)))


def print_data_set(console: Console, record: DataRecord) -> None:
    """A data set with its classes, and what its files hold."""
    print_data_line(console, record)
    table = Table.grid(padding=(0, 2))
    # Records of older versions do not say what the files hold.
    if record.modes:
        table.add_row("  mode", _listed(record.modes))
        table.add_row("  size", _listed(record.sizes))
    if record.mask_names:
        table.add_row("  pixels", Text(", ".join(record.mask_names)))
    table.add_row("  mean, std", Text(f"{_numbers(record.mean)}, {_numbers(record.std)}"))
    console.print(table, highlight=False)
    classes = Table.grid(padding=(0, 2))
    pairs = list(zip(record.classes, record.class_counts, strict=True))
    for name, (num_train, num_test) in pairs[:CLASSES_SHOWN]:
        classes.add_row(f"  {num_train:>8,} + {num_test:,}", Text(name))
    console.print(classes, highlight=False)
    if len(pairs) > CLASSES_SHOWN:
        rest = f"  and {len(pairs) - CLASSES_SHOWN} more classes (spolia data list --json)"
        console.print(Text(rest, style="dim"))


def _listed(counts: tuple[tuple[str, int], ...]) -> Text:
    """What there is, and of how much: `RGB (5,500), L (12)`."""
    return Text(", ".join(f"{what} ({count:,})" for what, count in counts))


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def print_cache(console: Console) -> None:
    """Where decoded images are kept, how large that is, and how much of it is of no use."""
    from orchestrator.data.cache import can_go, generations
    from orchestrator.data.decoded import home

    found = generations()
    old = [generation for generation in found if can_go(generation, everything=False)]
    total = readable_size(sum(generation.size for generation in found))
    line = f"Decoded images: {total} of {counted(len(found), 'set')} in {home()}"
    if old:
        useless = readable_size(sum(generation.size for generation in old))
        line += f"; {useless} of no use (spolia data gc)"
    console.print(Text(line, style="dim"), soft_wrap=True)


def readable_size(size: int) -> str:
    """Bytes as people read them."""
    for power, unit in ((30, "GiB"), (20, "MiB")):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}"
    return f"{size / 2**10:.1f} KiB"
