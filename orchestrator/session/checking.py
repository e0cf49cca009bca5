"""Results that were made with other code: run one of each kind again to see whether the bits agree,
and keep them from being mixed with new ones unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from orchestrator.errors import InputError, option
from orchestrator.executors.by_name import executor
from orchestrator.executors.site import Site
from orchestrator.planning.kinds import Kind, one_of_each
from orchestrator.planning.plan import Plan
from orchestrator.planning.queue import Queue
from orchestrator.session.choices import Stale
from orchestrator.session.display import Display
from orchestrator.spec.trial import Cell, Trial
from orchestrator.store.code import code_of
from orchestrator.store.content import content_digest
from orchestrator.store.heartbeat import alive
from orchestrator.store.home import Home
from orchestrator.store.store import Store
from orchestrator.training.outcome import Outcome

REASONS = 5  # that are told of stale results


def settle_stale(
    make: Callable[[], Plan], stale: Stale | None, check: Callable[[Plan], Sequence[str]]
) -> Plan:
    """The plan that `make` makes, once stale results have been dealt with as `stale` says; `check`
    runs one of each kind again and says which come out otherwise. Raises InputError where stale
    results would be mixed with new ones.
    """
    plan = make()
    problems: Sequence[str] = ()
    if stale is Stale.check and plan.kinds:
        problems = check(plan)
        # Planned anew: what the check found equal is not stale any more.
        plan = make()
    if stale is not Stale.keep:
        refuse_stale(plan, problems)
    return plan


def refuse_stale(plan: Plan, problems: Sequence[str] = ()) -> None:
    """Raise InputError where results would be mixed that different code made. `problems` are what
    a check has found.
    """
    if not plan.stale:
        return
    ways = f"Say {option('stale', 'keep')}, or {option('stale', 'rerun')}"
    if not problems and plan.kinds:
        # Without kinds, results are stale only because what they need has changed, which no check
        # could settle.
        ways = (
            f"Say {option('stale', 'check')} to run one of each kind again, "
            f"{option('stale', 'keep')}, or {option('stale', 'rerun')}"
        )
    reasons = problems or list(dict.fromkeys(plan.stale.values()))
    raise InputError(
        f"{len(plan.stale)} results are stale and would be mixed with new ones. {ways}",
        reasons[:REASONS],
    )


def check_stale_and_say(
    plan: Plan, home: Home, site: Site, executor_name: str, display: Display
) -> Sequence[str]:
    """`check_stale`, with what it does and finds on the display; what was found of the kinds that
    do not agree.
    """
    num_kinds = len(set(plan.kinds.values()))
    display.say(f"\nChecking {num_kinds} of {len(plan.kinds)} stale results, one of each kind.")
    check = check_stale(plan, home, site, executor_name, display)
    display.say(
        f"{check.num_equal} of {num_kinds} kinds come out the same to the bit with the code of "
        "today; their results are kept.\n"
    )
    return check.problems


@dataclass(frozen=True)
class StaleCheck:
    """What came of `--stale check`: how many kinds of results the code of today computes to the
    same bits, and of each other kind what was found.
    """

    num_equal: int
    problems: tuple[str, ...]


def check_stale(
    plan: Plan, home: Home, site: Site, executor_name: str, display: Display
) -> StaleCheck:
    """Run one result of each kind that was made with other code again, with its needs as the store
    has them, and remember in the store for which kinds the bits agree. No result changes.
    """
    store = Store(home.store)
    chosen = one_of_each(plan.kinds, plan.seconds)
    with alive(store) as run:
        # Named by a run that is alive, so that `gc` leaves it alone until the check has ended.
        layer = f"checks/{run}"
        queue = Queue(_once_more(plan, list(chosen)))
        try:
            layered = store.layer(layer)
            with display.follow(queue, layered) as progress:
                executor(executor_name).run(queue, layered, site, progress)
            made_now = Store(store.folder(layer))
            problems = [
                _compare(plan.trials[key], kind, store, made_now, queue.ended.get(key))
                for key, kind in chosen.items()
            ]
        finally:
            store.clear(layer)
    found = tuple(problem for problem in problems if problem)
    return StaleCheck(len(chosen) - len(found), found)


def _once_more(plan: Plan, keys: Sequence[str]) -> Plan:
    """A plan that runs these trials again and nothing else."""
    cells = [Cell(i, {}, plan.trials[key]) for i, key in enumerate(keys)]
    # Without an outcome a trial is to run; as outdated, the record that is there is not taken for
    # its result. What it needs keeps its outcome, and is read as it is.
    outcomes = {key: outcome for key, outcome in plan.outcomes.items() if key not in keys}
    outdated = {key: plan.records[key].digest for key in keys if key in plan.records}
    return replace(plan, cells=tuple(cells), outcomes=outcomes, outdated=outdated)


def _compare(
    trial: Trial, kind: Kind, store: Store, made_now: Store, outcome: Outcome | None
) -> str:
    """Remember that a kind's bits agree, or say what was found instead."""
    record, again = store.find(trial.key), made_now.find(trial.key)
    if record is None or again is None:
        reason = outcome.reason.splitlines()[0] if outcome and outcome.reason else "it did not run"
        return f"{kind.label}: not checked; {trial.label}: {reason}"
    # What was found, to the bit, and not times or hosts.
    if content_digest(record) == content_digest(again):
        store.put_equal(kind.equal_to(code_of(trial).digest))
        return ""
    now = again["provenance"]
    elsewhere = ""
    if (kind.device, kind.torch) != (now["device"], now["torch"]):
        elsewhere = (
            f" (made on {kind.device} with torch {kind.torch}, checked on {now['device']} with "
            f"torch {now['torch']}, which may be the reason)"
        )
    return f"{kind.label}: {trial.label} comes out otherwise{elsewhere}"
