"""Sweep files and stores that were changed at random: a clear error, or a right result."""

from __future__ import annotations

import functools
import io
import json
import keyword
import os
import re
import shutil
import tokenize
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from disturbed import sweeps
from disturbed.children import Ended, in_child
from disturbed.ledger import Case, Ledger
from disturbed.verdicts import results_of

MOST_TRIALS = 60  # what plans as more is planned only
LONGEST = 60.0  # seconds, planned and run; longer counts as hanging
MOST_TEXT = 6000  # characters of an error
MOST_MEMORY = 4 * 2**30  # bytes of address space beyond what a child begins with


def run_part(part: str, folder: Path, ledger: Ledger, num_cases: int, number: int) -> None:
    """So many mutated sweep files (`part` is "sweeps") or stores, those that were not tried yet."""
    text = sweeps.COUNTED
    file = sweeps.write(folder / "sweep", "disturbed_counts", text)
    if part == "sweeps":
        changes = st.lists(_edits(text), min_size=1, max_size=3)
        # Most changes of a program are no program; what is one goes further.
        programs = changes.filter(lambda edits: _is_program(edited(text, edits)))
        either = st.one_of(programs, programs, programs, changes)
        disturb = functools.partial(_disturb_sweep, text, folder)
        _each(either, num_cases, number, ledger, "sweep")(disturb)
        return
    whole = folder / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    trained = in_child(lambda: _run(file, whole), folder / "log.txt")
    assert trained.value, trained
    expected = in_child(lambda: results_of(file, whole), folder / "log.txt").value
    table = in_child(lambda: _table(file, whole), folder / "log.txt").value
    paths = sorted(
        str(path.relative_to(whole / "store"))
        for path in (whole / "store").rglob("*")
        if path.is_file() and path.parts[-2] not in ("runs", "probes")
    )
    damages = st.lists(_damages(paths), min_size=1, max_size=3)
    disturb = functools.partial(_disturb_store, file, folder, expected, table)
    _each(damages, num_cases, number, ledger, "store")(disturb)


def _each(
    strategy: st.SearchStrategy[Any], num_cases: int, number: int, ledger: Ledger, word: str
) -> Callable[[Callable[[str, Any], Case]], None]:
    """Calls a function with the name of each case and what was drawn for it, and notes what it
    returns. The same number draws the same cases.
    """

    def call(disturb: Callable[[str, Any], Case]) -> None:
        count = 0

        @seed(number)
        @settings(
            max_examples=num_cases,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def case(drawn: Any) -> None:
            nonlocal count
            count += 1
            name = f"changed {word} {count}"
            if name not in ledger:
                ledger.add(disturb(name, drawn))

        case()

    return call


# ---------------------------------------------------------------------------- sweep files


def _pieces(text: str) -> list[str]:
    """A text as gaps and tokens in turn: gap, token, gap, ..., token, gap."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    pieces, at = [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.string.strip():
            begin = starts[token.start[0] - 1] + token.start[1]
            pieces += [text[at:begin], token.string]
            at = begin + len(token.string)
    return [*pieces, text[at:]]


def _edits(text: str) -> st.SearchStrategy[tuple[Any, ...]]:
    """Changes of a text: of one token, of two, of one line."""
    words = {piece for piece in _pieces(text)[1::2] if piece.isidentifier()}
    names = sorted(word for word in words if not keyword.iskeyword(word))
    number = st.one_of(
        st.integers(-3, 5).map(str),
        st.sampled_from(["10**9", "1e400", "-0.0", "float('nan')", "True", "0.1", "2**70"]),
    )
    odd = st.sampled_from(["None", "''", "[]", "()", "{}", "'é'", "lambda: 0", "object()", "[[]]"])
    name = st.one_of(st.sampled_from(names), st.sampled_from(names).map(lambda n: n[:-1] + "x"))
    signs = st.text(alphabet="abc_(),[]='\"1 \n\\\0", max_size=3)
    anything = st.one_of(number, odd, name, signs)
    place = st.integers(0, 10**6)
    return st.one_of(
        st.tuples(st.sampled_from(["delete", "double", "delete line", "double line"]), place),
        st.tuples(st.sampled_from(["replace", "insert"]), place, anything),
        st.tuples(st.just("swap"), place, place),
    )


def edited(text: str, edits: Sequence[tuple[Any, ...]]) -> str:
    """A text after some changes. One that is no Python any more is changed no further."""
    for what, place, *more in edits:
        if what.endswith("line"):
            lines = text.splitlines(keepends=True)
            copies = 0 if what == "delete line" else 2
            lines[place % len(lines)] *= copies
            text = "".join(lines)
            continue
        try:
            pieces = _pieces(text)
        except (tokenize.TokenError, SyntaxError):
            return text
        if len(pieces) < 2:
            return text
        at = 1 + 2 * (place % (len(pieces) // 2))
        if what == "swap":
            other = 1 + 2 * (more[0] % (len(pieces) // 2))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        else:
            token = pieces[at]
            pieces[at] = {
                "delete": "",
                "double": f"{token} {token}",
                "replace": more[0] if more else "",
                "insert": f"{token} {more[0]}" if more else "",
            }[what]
        text = "".join(pieces)
    return text


def _is_program(text: str) -> bool:
    try:
        compile(text, "sweep", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _disturb_sweep(text: str, folder: Path, name: str, edits: Sequence[tuple[Any, ...]]) -> Case:
    changed = edited(text, edits)
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    file = sweeps.write(folder / "changed", "disturbed_counts", changed)
    ended = in_child(lambda: _plan_and_run(file, home), folder / "log.txt", LONGEST)
    detail = json.dumps([list(edit) for edit in edits])
    defects = _defects(ended)
    if ended.value is not None:
        defects += ended.value["wrong"]
    return Case("sweeps", name, _ending(ended), f"{detail} {ended.error[:300]}", 0, 0, 0, defects)


def _plan_and_run(file: Path, home: Path) -> dict[str, Any]:
    """What a sweep file comes to: planned, and run where it is small; which values are wrong."""
    from disturbed.counted import Counted, expected
    from orchestrator import Session

    _limit_memory()
    session = Session(file, home=home, tracking="none")
    plan = session.plan()
    if len(plan.trials) > MOST_TRIALS:
        return {"after": "planned", "wrong": []}
    ended = session.run(executor="inline")
    results = ended.results
    frame, verdicts = results.frame(long=True), results.verdicts()
    print(ended, verdicts)
    wrong = [] if ended.is_complete or ended.problems or ended.blocked else ["not complete"]
    num_found = 0
    for cell, result in results.cells():
        if isinstance(cell.trial.method, Counted) and result.outcome == "done":
            num_found += 1
            value = result.metric("value")
            if abs(value - expected(cell.trial)) > 1e-9 * max(1.0, abs(value)):
                wrong.append(f"{cell.trial.label} has {value}")
    if len(frame) < num_found:
        wrong.append("the table lacks cells")
    return {"after": "run" if ended.is_complete else "run, incomplete", "wrong": wrong}


def _limit_memory() -> None:
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _defects(ended: Ended) -> list[str]:
    """What is wrong with how a command ended, whatever it found."""
    if ended.hung:
        return [f"hung for {LONGEST:g} s"]
    if ended.signal:
        return ["killed itself"]
    if ended.error and not ended.is_ours:
        return [f"a bare {ended.error_type}: {ended.error[:200]}"]
    if ended.error and len(ended.error) > MOST_TEXT:
        return [f"an error of {len(ended.error)} characters"]
    return []


def _ending(ended: Ended) -> str:
    if ended.value is not None:
        return str(ended.value["after"])
    return "hung" if ended.hung else "error told"


# ---------------------------------------------------------------------------- stores


def _damages(paths: Sequence[str]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Damages of files: what a disk, a copy that was cut short or a hand may do."""
    path, place = st.sampled_from(paths), st.integers(0, 10**6)
    return st.one_of(
        st.tuples(st.sampled_from(["flip a bit", "cut off", "one value"]), path, place),
        st.tuples(st.sampled_from(["empty", "remove", "replace by a folder"]), path),
        st.tuples(st.just("append"), path, st.binary(min_size=1, max_size=8).map(bytes.hex)),
        st.tuples(st.just("replace"), path, st.binary(max_size=40).map(bytes.hex)),
        st.tuples(st.sampled_from(["copy over", "copy beside"]), path, path),
    )


def damage(root: Path, what: str, path: str, *more: Any) -> None:
    """Damage a file below a folder. Nothing happens to one that is no file any more."""
    file = root / path
    if not file.is_file():
        return
    content = file.read_bytes()
    os.chmod(file, 0o644)
    match what:
        case "flip a bit" if content:
            changed = bytearray(content)
            changed[more[0] % len(content)] ^= 1 << (more[0] % 8)
            file.write_bytes(bytes(changed))
        case "cut off" if content:
            file.write_bytes(content[: more[0] % len(content)])
        case "one value":
            file.write_bytes(_with_another_value(content, more[0]))
        case "empty":
            file.write_bytes(b"")
        case "remove":
            file.unlink()
        case "replace by a folder":
            file.unlink()
            file.mkdir()
        case "append":
            file.write_bytes(content + bytes.fromhex(more[0]))
        case "replace":
            file.write_bytes(bytes.fromhex(more[0]))
        case "copy over" if (root / more[0]).is_file():
            file.write_bytes((root / more[0]).read_bytes())
        case "copy beside":
            (file.parent / f"{file.name}~").write_bytes(content)


def _with_another_value(content: bytes, place: int) -> bytes:
    """JSON with one number or text of it changed; other bytes as they are."""
    try:
        value = json.loads(content)
    except ValueError:
        return content
    leaves: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        items = node.items() if isinstance(node, Mapping) else enumerate(node)
        for key, child in list(items):
            if isinstance(child, dict | list):
                collect(child)
            else:
                leaves.append((node, key))

    if isinstance(value, dict | list):
        collect(value)
    if leaves:
        node, key = leaves[place % len(leaves)]
        old = node[key]
        is_number = isinstance(old, int | float) and not isinstance(old, bool)
        node[key] = old + 1 if is_number else f"{old}x"
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _disturb_store(
    file: Path, folder: Path, expected: Any, table: Any, name: str, damages: Sequence[Any]
) -> Case:
    home, log = folder / "home", folder / "log.txt"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(folder / "whole", home)
    for what, path, *more in damages:
        damage(home / "store", what, path, *more)
    read = in_child(lambda: _table(file, home), log, LONGEST)
    ran = in_child(lambda: _run_and_read(file, home), log, LONGEST)
    defects = _defects(read) + _defects(ran)
    if read.value is not None and not _is_part_of(read.value["rows"], table["rows"]):
        defects.append("the table has values that were never measured")
    after = "right" if ran.value is not None else "error told"
    if ran.value is None and not defects:
        ran, problems = _follow_advice(file, home, log, ran.error)
        after = "error told, and mended as it says"
        defects += problems
    lost = 0
    if ran.value is not None:
        found = in_child(lambda: results_of(file, home), log, LONGEST).value
        # A training that was removed and that no cell lacks is not made again.
        lost = sum(one["cell"] for key, one in expected.items() if key not in found)
        other = [key for key, one in found.items() if one["bits"] != expected[key]["bits"]]
        defects += [f"other bits: {key[:12]}" for key in other]
        defects += [] if ran.value["complete"] else ["incomplete"]
    detail = f"{json.dumps(damages)} | {read.error[:300]} | {ran.error[:300]}"
    return Case("stores", name, after, detail, lost, 0, 0, defects)


MOST_STEPS = 12  # pieces of advice to follow until all is well


def _follow_advice(file: Path, home: Path, log: Path, error: str) -> tuple[Ended, list[str]]:
    """Do what errors say, one after another, and run again each time: how that ended, and what was
    wrong with it.
    """
    ended = Ended(error=error, is_ours=True)
    for _ in range(MOST_STEPS):
        named = re.findall(re.escape(f"{home / 'store'}/") + r"[\w./-]*\w", ended.error)
        there = [path for path in map(Path, dict.fromkeys(named)) if path.exists()]
        if "is a store of format" in ended.error:
            return ended, []  # of another version: the way is another store
        if not there:
            return ended, [f"no way out: {ended.error[:300]}"]
        for path in there:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        ended = in_child(lambda: _run_and_read(file, home), log, LONGEST)
        if ended.value is not None:
            return ended, []
    return ended, [f"no end of advice: {ended.error[:300]}"]


def _run_and_read(file: Path, home: Path) -> dict[str, Any]:
    ended = _run(file, home)
    _table(file, home)
    return ended


def _is_part_of(rows: list[Any], of: list[Any]) -> bool:
    """Whether all rows are among others: values that are missing are no lie."""
    have = {json.dumps(row) for row in of}
    return all(json.dumps(row) in have or row[-1] is None for row in rows)


def _table(file: Path, home: Path) -> dict[str, Any]:
    """What `results` and `status` say of a sweep: values and matrices, by key."""
    from orchestrator import Session

    session = Session(file, home=home, tracking="none")
    print(session.status())
    results = session.results()
    rows = []
    for cell, result in results.cells():
        if result.outcome == "done":
            rows.append(["value", cell.trial.key, result.metric("value")])
            rows.append(["table", cell.trial.key, result.matrix("table").values.tolist()])
    results.frame(long=True)
    return {"rows": rows}


def _run(file: Path, home: Path) -> dict[str, Any]:
    from orchestrator import Session

    ended = Session(file, home=home, tracking="none").run(executor="inline")
    print(ended)
    return {"complete": ended.is_complete}
