"""logs, export, data, gc, doctor: what is in a store, and whether this site is ready for work."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from orchestrator.cli.data_sets import (
    print_cache,
    print_data_line,
    print_data_set,
    readable_size,
)
from orchestrator.cli.options import (
    FAILED,
    AsJson,
    Where,
    console,
    finite,
    print_json,
    with_places,
)
from orchestrator.spec.formatting import counted

data_app = typer.Typer(
    help="Data sets recorded in the store. Add, list, verify, and clean their cache.",
    no_args_is_help=True,
)

Remove = Annotated[
    bool, typer.Option("--remove", help="Remove them; without this, only list what would go.")
]
Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="A trial's key, or the first digits of it.", show_default=False
    ),
]


@with_places("home", "store", "site")
def logs(where: Where, key: Key, as_json: AsJson = False) -> None:
    """Show what is known of one trial. Settings, needs, outcome, traceback, timings, what it kept
    and how to load it, what it printed.
    """
    log = where.session().log(key)
    # Late: they load what prints plans and results, too.
    from orchestrator.cli.json_values import log_view
    from orchestrator.cli.plans import print_log

    if as_json:
        print_json(log_view(log))
    else:
        print_log(console, log)


@with_places("home", "store", "site")
def export(
    where: Where,
    key: Key,
    to: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="The file to write, such as tailored.pt2.", show_default=False
        ),
    ],
    component: Annotated[
        str | None,
        typer.Option(help="Which component, where the trial kept several.", show_default=False),
    ] = None,
) -> None:
    """Write a component as a file of its own. `torch.export.load` opens it, without Spolia."""
    from orchestrator.parts import export as exporting

    result = where.session().open(key)
    chosen = exporting.find_component(result, component)
    content = exporting.export(chosen, result.store)
    exporting.write(content, to)
    size = f"{len(content) / 2**20:.2f} MiB"
    for line in (
        f"{chosen.record.title} of {result.key[:12]}: {size} in {to}",
        f'torch.export.load("{to}").module()(images) gives logits',
    ):
        console.print(line, soft_wrap=True)


@data_app.command("add")
@with_places("home", "store", "data", "site")
def data_add(
    where: Where,
    names: Annotated[
        list[str],
        typer.Argument(
            help="Names such as torchvision/MNIST or parquet/cifar10, or sweep files.",
            show_default=False,
        ),
    ],
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Replace the record of a data set whose images changed on purpose."
        ),
    ] = False,
) -> None:
    """Read data sets and record them in the store. Machines without the images can then plan."""
    from orchestrator.data import sources
    from orchestrator.errors import DataError

    data_store = where.session().store
    data_store.prepare()
    # Each once, in order.
    for name in dict.fromkeys(name for given in names for name in _data_names(given)):
        record, recorded = sources.load(name).record, data_store.data(name)
        # Keys hold the digest: other images under one name would quietly make other trials.
        is_other = recorded is not None and recorded.digest != record.digest
        if recorded is not None and is_other and not replace:
            raise DataError(
                f"{name} is recorded with other images ({recorded.digest[:12]}, "
                f"here {record.digest[:12]}). --replace takes these from now on"
            )
        # A record of the same images from an older version says less of them.
        data_store.put_data(record, replace=replace or record != recorded)
        print_data_set(console, record)


def _data_names(given: str) -> list[str]:
    """The data sets that an argument means: all of a sweep file's, or the one of this name."""
    from orchestrator.spec.datasets import as_written
    from orchestrator.spec.sweep_file import load_sweep

    if not given.endswith(".py"):
        return [as_written(given)]
    _, sweep = load_sweep(given)
    return list(dict.fromkeys(task.data for cell in sweep.trials() for task in cell.trial.tasks))


@data_app.command("list")
@with_places("home", "store", "data", "site")
def data_list(
    where: Where,
    as_json: AsJson = False,
) -> None:
    """List the data sets of the store. Of each it says where its decoded images are."""
    records = where.session().store.data_records()
    if as_json:
        print_json([record.to_json() for record in records])
        return
    for record in records:
        print_data_line(console, record)
    if not records:
        console.print(
            "No data set is recorded yet: spolia data add torchvision/MNIST --data FOLDER"
        )
    print_cache(console)


@data_app.command("verify")
@with_places("home", "store", "data", "site")
def data_verify(
    where: Where,
) -> None:
    """Read every recorded data set again, and compare. Exit status 1 where one is
    missing, has changed, or is altered in the cache.
    """
    from orchestrator.data.verification import verify

    num_wrong = 0
    for record in where.session().store.data_records():
        verdict = verify(record)
        is_right = verdict.state == "as recorded"
        line = Text(f"{record.name}: {verdict.state}", style="" if is_right else "red")
        console.print(line, soft_wrap=True)
        for detail in verdict.details:
            console.print(Text(f"  {detail}"), soft_wrap=True)
        num_wrong += not is_right
    if num_wrong:
        raise typer.Exit(FAILED)


@data_app.command("gc")
@with_places("home", "data", "site")
def data_gc(
    where: Where,
    remove: Remove = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also those that are in order; they can be decoded again."),
    ] = False,
) -> None:
    """Clean the cache of decoded images. What was decoded from files that have changed since, by
    older versions, or only half. Nothing that a process on this machine uses.
    """
    from orchestrator.data.cache import can_go, generations
    from orchestrator.data.decoded import discard

    where.session()  # what the site file says of this machine holds here, too
    print_cache(console)
    chosen = [g for g in generations() if can_go(g, everything=everything)]
    if not chosen:
        console.print("Nothing to remove.")
        return
    gone = []
    for generation in chosen:
        # What a process has begun to use since it was listed is not removed, and not counted.
        if not remove or discard(generation.folder):
            gone.append(generation)
            line = f"  {readable_size(generation.size):>9}  {generation.use:10}  {generation.name}"
            console.print(Text(line), soft_wrap=True)
    size = readable_size(sum(generation.size for generation in gone))
    verb = "removed" if remove else "could go (add --remove)"
    console.print(f"{counted(len(gone), 'decoded set')}, {size} {verb}")


@with_places("home", "store", "site")
def gc(
    where: Where,
    remove: Remove = False,
    older_than: Annotated[
        float,
        typer.Option(min=0, callback=finite, help="Only files older than this many hours."),
    ] = 24.0,
) -> None:
    """Find files that nothing uses any more. Blobs of retired results, old progress, probes, and in
    this home checkpoints of trials that failed.
    """
    from orchestrator.store.garbage import abandoned, unneeded

    session, before = where.session(), time.time() - older_than * 3600
    files = list(unneeded(session.store, before=before))
    folders = list(abandoned(session.home.scratch, session.store, before=before))
    if not files and not folders:
        console.print("Nothing to remove.")
        return
    if remove:
        # What was written again since it was listed is being used.
        files = [file for file in files if session.store.discard_unchanged(file)]
        for folder, _ in folders:
            shutil.rmtree(folder, ignore_errors=True)
    verb = "removed" if remove else "could go (add --remove)"
    if files:
        size = sum(file.size for file in files) / 2**20
        console.print(f"{counted(len(files), 'file')}, {size:.1f} MiB {verb}")
    if folders:
        size = sum(size for _, size in folders) / 2**20
        trials = counted(len(folders), "trial")
        console.print(f"checkpoints of {trials}, {size:.1f} MiB {verb}")


@with_places("home", "store", "tracking", "data", "site")
def doctor(
    where: Where,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to look at: 'auto' or HOST:PORT.", show_default=False),
    ] = None,
) -> None:
    """Check this site. Versions, GPUs, store, tracking, data, and every node of a cluster."""
    from orchestrator.cli.doctor import examine

    places = where.session().places
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    is_ready = True
    for check in examine(places, address or places.site.address):
        is_ready = is_ready and check.is_fine
        verdict = Text("ok", style="green") if check.is_fine else Text("WRONG", style="bold red")
        table.add_row(verdict, check.subject, Text(check.finding))
    console.print(table)
    if not is_ready:
        raise typer.Exit(FAILED)
