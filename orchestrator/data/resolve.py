"""From a task as written to one whose data is known: digest and class names from the store's
record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.errors import StoreError
from orchestrator.spec import task as tasks_as_written
from orchestrator.spec.task import DataRecord, Task
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store


def resolve(trial: Trial, store: Store) -> Trial:
    """The trial with its tasks' data digests and class names; see `resolve_task`."""
    return replace(trial, tasks=tuple(resolve_task(task, store) for task in trial.tasks))


def resolve_task(task: Task, store: Store) -> Task:
    """The task with its data's digest from the store's record; at first sight the record is made
    from the data on this machine.
    """
    return task.resolve(data_record(task.data, store))


def data_record(name: str, store: Store) -> DataRecord:
    """The store's record of a data set, made and kept at first sight."""
    record = store.data(name)
    if record is None:
        record = record_made_here(name)
        store.put_data(record)
    return record


def known_record(name: str, store: Store) -> DataRecord:
    """The same for who only reads: kept where the store is there and can be written, so that
    looking at a sweep begins no store and needs no right to write to one. Raises MissingDataError
    where neither the store nor this machine has the data.
    """
    record = store.data(name)
    if record is None:
        record = record_made_here(name)
        if store.exists:
            with contextlib.suppress(StoreError):
                store.put_data(record)
    return record


def record_made_here(name: str) -> DataRecord:
    """The record of the data set as it lies on this machine."""
    # Imported late: it reads images, so it is needed only where no record of them exists.
    from orchestrator.data import sources

    return sources.load(name).record


def known(task: Task) -> Task:
    """The task as a plan would resolve it, from the images on this machine; one that comes from a
    result is resolved already.
    """
    return task if task.digest else task.resolve(record_made_here(task.data))


def common_classes(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Names of the classes that all tasks share, in the first task's order. A task may be one of a
    result or one just written, `digits.classes(0, 1)`, whose images are then on this machine.
    """
    return tasks_as_written.common_classes([known(task) for task in tasks])
