"""A sweep and where its things lie: what the command line does, as one object."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from orchestrator.data.root import choose_root, reading_from
from orchestrator.errors import InputError, StoreError, option
from orchestrator.session.choices import (
    ExecutorName,
    Retry,
    Stale,
    chosen,
    refuse_beside_smoke,
    refuse_no_count,
    refuse_no_labels,
)
from orchestrator.session.places import Places, places
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.sweep_file import load_sweep
from orchestrator.store.home import Home
from orchestrator.store.store import Store

# What is imported for types only is imported again where it is used: much of it loads torch, which
# takes seconds, and `spolia logs` needs none of it.
if TYPE_CHECKING:
    from orchestrator.analysis.results import Results
    from orchestrator.executors.shares import Wanted
    from orchestrator.parts.result import Result
    from orchestrator.planning.explain import Explanation
    from orchestrator.planning.plan import Plan
    from orchestrator.session.cells import KnownCells
    from orchestrator.session.contrast import Contrast
    from orchestrator.session.display import Display
    from orchestrator.session.following import Tracked
    from orchestrator.session.running import RunSummary
    from orchestrator.session.status import Status
    from orchestrator.session.trial_log import TrialLog
    from orchestrator.session.trials import TrialRow, Trials
    from orchestrator.spec.claim import Entry, Labels

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def _on_own_data(
    method: Callable[Concatenate[Session, Given], Answer],
) -> Callable[Concatenate[Session, Given], Answer]:
    """A method that reads from the data folder of its own session, whichever sessions were made
    since, and so do the processes that it starts.
    """

    @wraps(method)
    def called(session: Session, /, *given: Given.args, **named: Given.kwargs) -> Answer:
        with reading_from(session.places.data):
            return method(session, *given, **named)

    return called


class Session:
    """A sweep, held against a store.

    `sweep` is a sweep file or a `Sweep`, which then needs a `name`; without one, the session only
    opens and looks up trials of the store. `home`, `store`, `tracking`, `data` and `site` are the
    options of the command line that are called so, with the same defaults: variables such as
    SPOLIA_HOME, then the site file, then a folder `spolia-home` here.

    A session reads images from its own `data`. What is called outside of one, such as
    `accuracy(network, task)`, reads from that of the session made last that has one.

    `only`, wherever it is asked for, chooses a part of the sweep: `"split=pool seed=0,1"`, or the
    same as a mapping, `{"split": "pool", "seed": [0, 1]}`.

    All but `run`, `report` and `track` only read. They need no right to write to the store, and no
    image where it has records of the data sets.

    Example:
        >>> session = Session("sweeps/quickstart.py")  # doctest: +SKIP
        >>> session.run(slots=2)  # doctest: +SKIP
        >>> session.trials(where={"split": "pool"}).frame()  # doctest: +SKIP
        >>> session.compare({"split": "stem"}, {"split": "pool"})  # doctest: +SKIP
    """

    def __init__(
        self,
        sweep: str | Path | Sweep | None = None,
        *,
        name: str | None = None,
        home: str | Path | Home | None = None,
        store: str | Path | Store | None = None,
        tracking: str | None = None,
        data: str | Path | None = None,
        site: str | Path | None = None,
    ) -> None:
        self.places: Places = places(
            home_folder=_place("home", home.root if isinstance(home, Home) else home),
            store=_place("store", store.address if isinstance(store, Store) else store),
            tracking=None if tracking is None else str(_place("tracking", tracking)),
            data=_place("data", data),
            site_file=_place("site", site),
        )
        self.file: Path | None = None
        if sweep is None or isinstance(sweep, Sweep):
            self._sweep, self._name = sweep, name
        else:
            _refuse_no_file(sweep)
            self.file = Path(sweep)
            with reading_from(self.places.data):
                own_name, self._sweep = load_sweep(self.file)
            self._name = name or own_name
        if name is not None and not _is_name(name):
            raise InputError(
                f"name={name!r}: tables and MLflow go by it, so it has letters, digits, dots, "
                "dashes and underscores, and begins with none of the signs"
            )
        if self._sweep is not None and not self._name:
            raise InputError(
                "a Sweep has no name, and tables and MLflow go by it: "
                "write Session(sweep, name='my_sweep')"
            )
        # Last: what is no session leaves nothing behind.
        if self.places.data is not None:
            choose_root(self.places.data)

    def __repr__(self) -> str:
        subject = f"{self.name}, {len(self.sweep.cells)} cells" if self._sweep else "no sweep"
        return f"Session({subject}, store {self.store.name})"

    @property
    def sweep(self) -> Sweep:
        """The whole sweep. Raises InputError for a session without one."""
        if self._sweep is None:
            raise InputError("this session has no sweep: write Session('sweeps/quickstart.py')")
        return self._sweep

    @property
    def name(self) -> str:
        """What the sweep is called: its file without `.py`, or what it was named here."""
        return self._name or "no sweep"

    @property
    def where(self) -> str:
        """The sweep and its store, in words."""
        return f"{self.name} in {self.store.name}"

    @property
    def home(self) -> Home:
        """Where store, MLflow database, tables and scratch lie."""
        return self.places.home

    @cached_property
    def store(self) -> Store:
        """The store; nothing is made by asking."""
        return Store(self.home.store)

    def part(self, only: str | Labels | None) -> Sweep:
        """The sweep, or the part of it that `only` names."""
        from orchestrator.planning import choose
        from orchestrator.session.cells import part_like

        # Not for an empty text, a variable of a shell that is not set, say: who names a part does
        # not mean the whole.
        if only is None or only == {}:
            return self.sweep
        if isinstance(only, str):
            return choose.only(self.sweep, only)
        refuse_no_labels("only", only)
        return part_like(self.sweep, only)

    # ------------------------------------------------------------------ reading

    def plan(self, only: str | Labels | None = None) -> Plan:
        """What would run, what is shared, what is done; see `spolia plan`. Cells whose data is not
        known here have no keys and are left out with a warning; then the plan is that of a part.
        Raises PlanError that lists every other reason why cells cannot run, InputError where no
        cell is left.
        """
        return self._plan_of_known(only)

    @_on_own_data
    def known_cells(self, only: str | Labels | None = None) -> KnownCells:
        """The plan of those cells whose data sets are known here or to the store, and what is
        missing. Raises PlanError for whatever else keeps cells from being planned.
        """
        from orchestrator.session.cells import known_cells

        return known_cells(self.name, self.part(only), self.store)

    def shares(self, only: str | Labels | None = None) -> list[Wanted]:
        """What trials like those of this sweep took of a GPU, in this sweep or any other of the
        store, and the share of one that follows; see `spolia plan --shares`. Reads every result of
        the store.
        """
        from orchestrator.executors.shares import wanted

        return wanted(self._plan_of_known(only), self.store.find_all(self.store.finished()))

    @_on_own_data
    def status(self, only: str | Labels | None = None) -> Status:
        """How many cells and trials stand how, by method; what is under way, what failed and why.
        Shows itself as a table; `status().frame()` has it as one.
        """
        from orchestrator.session.cells import known_cells
        from orchestrator.session.status import status_of

        part = self.part(only)
        known = known_cells(self.name, part, self.store)
        return status_of(self.name, len(part.cells), known, self.store)

    def results(self, only: str | Labels | None = None) -> Results:
        """Tables of every value, means over seeds, matrices, verdicts. Cells whose data is not
        known here are left out with a warning; raises InputError where no other is left.
        """
        from orchestrator.analysis.results import Results

        return Results(self._plan_of_known(only), self.store)

    def _plan_of_known(self, only: str | Labels | None) -> Plan:
        """The plan of the cells whose data is known, with a warning of what is left out."""
        known = self.known_cells(only)
        plan = known.plan_of(self.name)
        if known.missing:
            missing = "; ".join(map(str, known.missing))
            warnings.warn(f"{self.name}: these are left out: {missing}", stacklevel=3)
        return plan

    def trials(self, where: Labels | None = None, *, only: str | Labels | None = None) -> Trials:
        """Every distinct trial, cells and the trainings that they need, with its key: those of the
        cells with these values of their axes, and what they need. `role` (`cell` or `need`),
        `method`, `state` and `key` choose among them. `only` is the part of the sweep that is
        looked at, as everywhere.

        Example: `session.trials(where={"split": "pool", "role": "need"}).frame()`.
        """
        from orchestrator.session.trials import trials_of

        if where is not None:
            refuse_no_labels("where", where)
        return trials_of(self._plan_of_known(only), where or {})

    def open(self, key: str | TrialRow) -> Result:
        """The result of the one trial whose key begins so, or of a row of `trials`. Raises
        StoreError where there is none.
        """
        from orchestrator.parts.result import Result

        if isinstance(key, str):
            return Result.open(key, self.store)
        _refuse_no_row(key)
        # A row knows its whole key, so the store's keys need not be listed to complete it.
        record = self.store.find(key.key)
        if record is None:
            raise StoreError(f"{key.label} ({key.key[:12]}) has no result: it is {key.state}")
        return Result(self.store, record)

    def log(self, key: str | TrialRow) -> TrialLog:
        """What is known of one trial: its result, how it failed, how far it is, what it printed."""
        from orchestrator.session.trial_log import log_of

        if not isinstance(key, str):
            _refuse_no_row(key)
            key = key.key
        return log_of(key, self.store)

    def explain(self, key: str | TrialRow, only: str | Labels | None = None) -> Explanation:
        """Why a trial of the sweep stands as it does, and how it differs from the nearest result;
        see `spolia plan --why`.
        """
        from orchestrator.planning.explain import explain

        if not isinstance(key, str):
            _refuse_no_row(key)
            key = key.key
        # No warning of what is left out: a trial that has a key is not among it.
        return explain(self.known_cells(only).plan_of(self.name), self.store, key)

    def compare(
        self,
        first: Labels | str | TrialRow | Result | Session,
        second: Labels | str | TrialRow | Result | Session | None = None,
        *,
        metric: str | Entry | None = None,
    ) -> Contrast:
        """How much two sides differ, in one metric (or matrix entry), or in all headline metrics.

        Two settings, `{"split": "stem"}` and `{"split": "pool"}`, are paired by seed as claims pair
        them. Two keys, rows or results are two trials, value by value; a single one is held against
        the result whose place it took (`stale="rerun"`). Two sessions, or one and
        this one, are compared in every setting that both sweeps have, be it two sweeps or one in
        two homes. Raises InputError where a side is held against itself, and for two seeds of a
        setting, which can be compared as two trials.
        """
        from orchestrator.parts.result import Result
        from orchestrator.session import contrast

        # One session is held against this one, which then is the first side.
        if isinstance(first, Session) and (second is None or isinstance(second, Session)):
            sides = (self, first) if second is None else (first, second)
            names = (sides[0].where, sides[1].where)
            return contrast.of_sweeps(sides[0].results(), sides[1].results(), metric, names)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            return contrast.of_settings(self.results(), first, second, metric)
        if isinstance(first, Session | Mapping) or isinstance(second, Session | Mapping):
            raise InputError("compare(...) takes two settings, two keys, or one or two sessions")
        one = first if isinstance(first, Result) else self.open(first)
        if second is None:
            return contrast.of_replaced(one, metric)
        other = second if isinstance(second, Result) else self.open(second)
        return contrast.of_trials(one, other, metric)

    # ------------------------------------------------------------------ writing

    @_on_own_data
    def run(
        self,
        only: str | Labels | None = None,
        *,
        executor: ExecutorName | str = ExecutorName.ray,
        slots: int | None = None,
        limit: int | None = None,
        stale: Stale | str | None = None,
        retry: Retry | str | Sequence[Retry | str] = (),
        smoke: bool = False,
        seeds_first: bool = False,
        address: str | None = None,
        checkpoint_every: float | None = None,
        display: Display | None = None,
    ) -> RunSummary:
        """Run what the sweep lacks, and track it to MLflow; see `spolia run`. The same call again
        goes on where it stopped. Raises nothing for trials that fail: they are in the summary.

        With `seeds_first`, one seed of every setting is run before the next seed of any. With
        `smoke`, every method runs at its smoke values on 256 images, in a store that goes away with
        the summary. Interrupted, it keeps what is done, and says so in the summary.
        """
        from orchestrator.session.display import LineDisplay
        from orchestrator.session.running import run_sweep
        from orchestrator.session.smoke import run_smoke

        where = chosen(ExecutorName, executor, "executor")
        display = display or LineDisplay()
        wanted: dict[str, Any] = {"limit": limit, "stale": stale, "retry": retry}
        if smoke:
            is_timed = checkpoint_every is not None
            refuse_beside_smoke(
                **wanted, seeds_first=seeds_first, address=address, checkpoint_every=is_timed
            )
            return run_smoke(self.name, self.part(only), self.places, where, slots, display)
        plan = self.prepare(
            only, executor=where, slots=slots, address=address, display=display, **wanted
        )
        site = self.places.site_of_run(
            where, address=address, slots=slots, checkpoint_every=checkpoint_every
        )
        return run_sweep(
            plan, self.sweep, self.home, site, where.value, display, seeds_first=seeds_first
        )

    @_on_own_data
    def prepare(
        self,
        only: str | Labels | None = None,
        *,
        executor: ExecutorName | str = ExecutorName.ray,
        slots: int | None = None,
        limit: int | None = None,
        stale: Stale | str | None = None,
        retry: Retry | str | Sequence[Retry | str] = (),
        address: str | None = None,
        display: Display | None = None,
    ) -> Plan:
        """The plan of what `run` would run, with the store ready for it: made, claimed for this
        sweep's name, and with stale results dealt with as `stale` says. Raises InputError where
        these would be mixed with new ones.
        """
        from orchestrator.session.checking import check_stale_and_say, settle_stale
        from orchestrator.session.display import LineDisplay

        if limit is not None:
            refuse_no_count("limit", limit, "how many cells to run at most")
        part = self.part(only)
        display = display or LineDisplay()
        where = chosen(ExecutorName, executor, "executor")
        how = None if stale is None else chosen(Stale, stale, "stale")
        again = [chosen(Retry, one, "retry").value for one in _each(retry)]
        self.home.prepare()
        self.store.prepare()
        self._take_name()
        # What cannot work is told before the plan is made, which may take long.
        site = self.places.site_of_run(where, address=address, slots=slots)
        make = partial(self._plan_to_run, part, limit, how is Stale.rerun, again, display)

        def check(plan: Plan) -> Sequence[str]:
            return check_stale_and_say(plan, self.home, site, where.value, display)

        return settle_stale(make, how, check)

    def _take_name(self) -> None:
        """Claim the name of a sweep file. A sweep without a file claims none: in a notebook it is
        made anew and changes as one goes. But it takes none from a file: raises InputError.
        """
        if self.file is None:
            self.store.refuse_claimed(self.name)
        else:
            self.store.claim_sweep(self.name, self.file)

    def _plan_to_run(
        self,
        part: Sweep,
        limit: int | None,
        rerun_stale: bool,
        retry: Sequence[str],
        display: Display,
    ) -> Plan:
        """The plan of what is asked for, shown."""
        from orchestrator.planning import choose
        from orchestrator.planning.plan import make_plan

        make = partial(make_plan, self.name, store=self.store, rerun_stale=rerun_stale, retry=retry)
        plan = make(part)
        if limit is not None:
            # Planned twice: which cells are the first without a result is known from the first
            # plan.
            plan = make(choose.limit(part, plan, limit), known=plan.records)
        display.planned(plan)
        return plan

    def report(self, path: str | Path | None = None, *, results: Results | None = None) -> Path:
        """Write one HTML page (default: `report.html` beside the sweep's tables), of `results`
        where they have been read already; its path. Raises InputError, and writes nothing, where no
        cell has a result yet.
        """
        from orchestrator.analysis.report import write
        from orchestrator.planning.standing import of_total

        told = results or self.results()
        if not told.by_key:
            counts = of_total(told.plan.cell_counts, "cells")
            raise InputError(f"{self.name}: no cell has a result yet ({counts})")
        if path is None and self.file is None:
            self.store.refuse_claimed(self.name)  # the page there is that file's
        target = Path(path) if path else self.home.tables(self.name) / "report.html"
        try:
            write(told, target)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{target} cannot be written: {reason}. Name another file") from error
        return target

    @_on_own_data
    def track(self, *, display: Display | None = None) -> Tracked:
        """Bring MLflow level with the store. Raises InputError where nothing is to be tracked."""
        from orchestrator.planning.plan import make_plan
        from orchestrator.session.display import LineDisplay
        from orchestrator.session.following import track

        if self.home.tracking is None:
            raise InputError(
                f"{option('tracking', 'none')} says to track nothing; name an MLflow address, or "
                "leave it out"
            )
        if self.file is None:
            self.store.refuse_claimed(self.name)
        self.home.prepare()
        # All of the sweep or nothing: MLflow would show the rest as what the sweep never had.
        plan = make_plan(self.name, self.sweep, self.store)
        return track(plan, self.home, display or LineDisplay())


def _is_name(name: object) -> bool:
    """Whether something can be what a sweep is called: one file's name, and readable."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) is not None


def _place(argument: str, given: object) -> str | Path | None:
    if given is None or isinstance(given, str | Path):
        return given
    raise InputError(
        f"Session({argument}=...) takes a folder or an address, not a {type(given).__name__}"
    )


def _each(given: Any) -> Iterable[Any]:
    """What was given as one or as several, or not at all."""
    if given is None:
        return ()
    # A text is a sequence, too: of letters.
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    return [given] if is_one else given


def _refuse_no_file(sweep: object) -> None:
    if not sweep or not isinstance(sweep, str | Path):
        given = f"not {sweep!r}" if isinstance(sweep, str) else f"not a {type(sweep).__name__}"
        raise InputError(
            "Session(...) takes a sweep file, such as 'sweeps/quickstart.py', or a Sweep with a "
            f"name, {given}"
        )


def _refuse_no_row(key: object) -> None:
    from orchestrator.session.trials import TrialRow

    if not isinstance(key, TrialRow):
        raise InputError(
            f"a trial is named by how its key begins, or by a row of trials(), not by {key!r}"
        )
