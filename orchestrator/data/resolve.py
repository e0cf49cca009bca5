"""From a task as written to one whose data is known: digest and class names from the store's
record.
"""

from __future__ import annotations

from dataclasses import replace

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
        # Imported late: it reads images, so it is needed only where no record of them exists.
        from orchestrator.data import sources

        record = sources.load(name).record
        store.put_data(record)
    return record
