"""logs, data, gc, doctor: what lies in a store, and whether this site is ready for work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import (
    FAILED,
    AsJson,
    DataFolder,
    HomeFolder,
    SiteOption,
    StorePlace,
    Tracking,
    console,
    print_json,
    setting,
)

data_app = typer.Typer(help="Data sets that plans know: add, list, verify.", no_args_is_help=True)


Key = Annotated[
    str,
    typer.Argument(metavar="KEY", help="A trial's key, or its first digits.", show_default=False),
]


def logs(
    key: Key,
    as_json: AsJson = False,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    site_file: SiteOption = None,
) -> None:
    """Show what is known of one trial: outcome, traceback, timings, what it printed."""
    from orchestrator.cli.tables import print_trial
    from orchestrator.store.store import Store

    opened = Store(setting(home_folder, store, None, None, site_file).home.store)
    full = opened.resolve_key(key)
    record, failure = opened.find(full), opened.failure(full)
    if as_json:
        print_json(
            {
                "record": record,
                "failure": failure,
                "progress": opened.progress(full),
                "log": opened.log(full),
            }
        )
        return
    print_trial(console, full, record, failure, opened.log(full))
    if (now := opened.progress(full)) is not None:
        seen = time.strftime("%H:%M:%S", time.localtime(now["time"]))
        console.print(
            f"under way: {now['stage']}, epoch {now['epoch']} of {now['epochs']} (seen at {seen})",
            markup=False,
        )


def export(
    key: Key,
    to: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="The file to write, such as tailored.pt2.", show_default=False
        ),
    ],
    component: Annotated[
        str | None, typer.Option(help="Which one, where a trial kept several.", show_default=False)
    ] = None,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    site_file: SiteOption = None,
) -> None:
    """Write a component as a file that torch.export.load opens, without Spolia."""
    from orchestrator.parts.export import export as exported
    from orchestrator.parts.export import find_component, write
    from orchestrator.parts.result import Result
    from orchestrator.store.store import Store

    result = Result.open(key, Store(setting(home_folder, store, None, None, site_file).home.store))
    found = find_component(result, component)
    content = exported(found, result.store)
    write(content, to)
    console.print(
        f"{found.record.title} of {result.key[:12]}: {len(content) / 2**20:.2f} MiB in {to}",
        soft_wrap=True,
        markup=False,
    )
    console.print(
        f'torch.export.load("{to}").module()(images) gives logits', soft_wrap=True, markup=False
    )


@data_app.command("add")
def data_add(
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
            help="Put a new record in place of an old one: the images have changed on purpose."
        ),
    ] = False,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Read data sets here and record them in the store, so that machines without the images can
    plan.
    """
    from orchestrator.data import sources
    from orchestrator.errors import DataError
    from orchestrator.store.store import Store

    opened = Store(setting(home_folder, store, None, data, site_file).home.store)
    opened.prepare()
    for name in dict.fromkeys(n for given in names for n in _data_names(given)):
        record, known = sources.load(name).record, opened.data(name)
        if known is not None and known.digest != record.digest and not replace:
            raise DataError(
                f"{name} is recorded with other images ({known.digest[:12]}, here {record.digest[:12]}). --replace takes these from now on"
            )
        opened.put_data(record, replace=replace)
        console.print(_data_line(record), soft_wrap=True)


def _data_names(given: str) -> list[str]:
    """The data sets that an argument means: all of a sweep file's, or the one of this name."""
    from orchestrator.spec.sweep import load_sweep

    if not given.endswith(".py"):
        return [given]
    _, sweep = load_sweep(given)
    return list(dict.fromkeys(task.data for cell in sweep.trials() for task in cell.trial.tasks))


def _data_line(record: Any) -> Text:
    channels, height, width = record.shape
    size = f"{len(record.classes)} classes, {record.counts[0]:,} + {record.counts[1]:,} images, {channels}x{height}x{width}"
    return Text.assemble((record.name, "bold"), f"  {size}  {record.digest[:12]}")


@data_app.command("list")
def data_list(
    as_json: AsJson = False,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    site_file: SiteOption = None,
) -> None:
    """The data sets that are recorded in the store."""
    from orchestrator.store.store import Store

    records = Store(setting(home_folder, store, None, None, site_file).home.store).data_records()
    if as_json:
        print_json([record.to_json() for record in records])
        return
    for record in records:
        console.print(_data_line(record), soft_wrap=True)
    if not records:
        console.print(
            "No data set is recorded yet: spolia data add torchvision/MNIST --data FOLDER"
        )


@data_app.command("verify")
def data_verify(
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Read every recorded data set again and compare. Exit status 1 where one is missing or has
    changed.
    """
    from orchestrator.data import sources
    from orchestrator.errors import DataError
    from orchestrator.store.store import Store

    wrong = 0
    for record in Store(
        setting(home_folder, store, None, data, site_file).home.store
    ).data_records():
        try:
            found = sources.load(record.name).record.digest
            verdict = (
                "altered in the cache"
                if not sources.is_intact(record.name)
                else "as recorded"
                if found == record.digest
                else "has changed"
            )
        except DataError as error:
            verdict = f"missing: {error.summary}"
        wrong += verdict != "as recorded"
        console.print(
            Text(f"{record.name}: {verdict}", style="" if verdict == "as recorded" else "red"),
            soft_wrap=True,
        )
    if wrong:
        raise typer.Exit(FAILED)


def gc(
    remove: Annotated[
        bool, typer.Option(help="Remove it; without this, only say what would go.")
    ] = False,
    older_than: Annotated[
        float,
        typer.Option(min=0, help="Hours that a file must be old: trials put blobs before results."),
    ] = 24.0,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    site_file: SiteOption = None,
) -> None:
    """Find what no result names any more: blobs of retired results, left-over progress, probes."""
    from orchestrator.store.garbage import unneeded
    from orchestrator.store.store import Store

    opened = Store(setting(home_folder, store, None, None, site_file).home.store)
    found = list(unneeded(opened, before=time.time() - older_than * 3600))
    if remove:
        for entry in found:
            opened.discard(entry.path)
    size = sum(entry.size for entry in found)
    verb = "removed" if remove else "could go (add --remove)"
    console.print(
        f"{len(found)} files, {size / 2**20:.1f} MiB {verb}" if found else "Nothing to remove."
    )


def doctor(
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to look at: 'auto' or HOST:PORT.", show_default=False),
    ] = None,
    home_folder: HomeFolder = None,
    store: StorePlace = None,
    tracking: Tracking = None,
    data: DataFolder = None,
    site_file: SiteOption = None,
) -> None:
    """Check this site: versions, GPUs, store, tracking, data, and every node of a cluster."""
    from orchestrator.cli.doctor import examine
    from orchestrator.executors.site import find_site

    here = setting(home_folder, store, tracking, data, site_file)
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    file = find_site(Path(site_file) if site_file else None)
    healthy = True
    for check in examine(here, file, address or here.site.address):
        healthy &= check.fine
        table.add_row(
            Text("ok" if check.fine else "WRONG", style="green" if check.fine else "bold red"),
            check.what,
            Text(check.found),
        )
    console.print(table)
    if not healthy:
        raise typer.Exit(FAILED)
