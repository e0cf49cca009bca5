"""What keeps the sides of a claim from being compared, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.analysis.averages import LoggedBy, are_shared, in_words
from orchestrator.analysis.claims.places import Aligned, Place, Setting, trials_of
from orchestrator.analysis.claims.sides import Measured, Side, first_of
from orchestrator.spec.few import few_in_words

SAME_TRIALS = "are the same trials"


def mismatches(aligned: Aligned) -> list[str]:
    """All that is missing or does not match, each once; empty where the sides may be compared."""
    found = [problem for side in aligned.sides for problem in side.missing()]
    # Seeds are looked at on one side for all, which takes sides that are balanced.
    found += _unbalanced(aligned) or _uneven_seeds(aligned)
    found += _uneven(aligned)
    found += _lost_labels(aligned)
    found += _other_labels(aligned)
    found += _same_trials(aligned)
    return list(dict.fromkeys(found))


def _unbalanced(aligned: Aligned) -> list[str]:
    """Settings or seeds that one side has and another has not: the axes whose values differ, or,
    where these are the same, combinations of them.
    """
    # `Side.missing` tells of an empty side; every setting of the others would be another line.
    if not all(side.cells for side in aligned.sides):
        return []
    apart = list(_axes_apart(aligned))
    if apart:
        return apart
    found = []
    # Each axis has the same values on all sides here; combinations of them may still differ.
    everywhere = set(aligned.common)
    for number, held in enumerate(aligned.held, start=1):
        alone = [aligned.in_words(*place) for place in held if place not in everywhere]
        if alone:
            found.append(
                f"side {number} covers settings that another side does not: {first_of(alone)}"
            )
    return found


def _axes_apart(aligned: Aligned) -> Iterator[str]:
    """Axes that the sides do not name, and have other values of."""
    results = aligned.results
    values: dict[str, list[dict[str, str]]] = {}  # by axis, by side: texts by key
    for number, held in enumerate(aligned.held):
        for place in held:
            named = {}
            for axis, key in place.setting:
                named[results.axes[axis]] = (key, results.text_of(axis, key))
            if place.seed is not None:
                named["seed"] = (str(place.seed), str(place.seed))
            for axis, (key, text) in named.items():
                values.setdefault(axis, [{} for _ in aligned.held])[number][key] = text
    for axis, sides in values.items():
        if axis == "seed" and axis in aligned.compared:
            yield "seeds are what the sides are paired by, so that they cannot be what is compared"
        elif any(set(side) != set(sides[0]) for side in sides):
            everywhere = set.intersection(*map(set, sides))
            told = [few_in_words(side, everywhere, side.__getitem__) for side in sides]
            listed = " against ".join(" or ".join(words) or "none" for words in told)
            yield f"{axis} is not the same on all sides: {listed}; name it if that is meant"


def _uneven(aligned: Aligned) -> Iterator[str]:
    """A side that is averaged over other settings of its own at one place than at another."""
    for number, held in enumerate(aligned.held, start=1):
        own: dict[Place, set[Setting]] = {}
        for place, cells in held.items():
            own[place] = {aligned.setting(one.cell, aligned.own) for one in cells}
        yield from _first_uneven(aligned, own, f"side {number} is uneven")


def _uneven_seeds(aligned: Aligned) -> Iterator[str]:
    """Seeds whose means are over other settings than those of other seeds: they would not be
    values of one quantity. The sides are balanced here, so that one speaks for all.
    """
    settings: dict[Place, set[Setting]] = {}
    for place in aligned.held[0]:
        settings.setdefault(Place(place.seed, ()), set()).add(place.setting)
    yield from _first_uneven(aligned, settings, "seeds cover other settings")


def _first_uneven(
    aligned: Aligned, settings: Mapping[Place, set[Setting]], what: str
) -> Iterator[str]:
    """`what`, with a setting that is at one place and not at another; nothing where all places have
    the same settings.
    """
    fullest = max(settings, key=lambda place: len(settings[place]), default=None)
    if fullest is None:
        return
    for place, found in settings.items():
        if found != settings[fullest]:
            # In one of the two and not the other; the least by name, as sets have no order.
            lacking = min(settings[fullest] ^ found, key=str)
            has, lacks = (place, fullest) if lacking in found else (fullest, place)
            where = f"at {aligned.in_words(*has)}, not at {aligned.in_words(*lacks)}"
            yield f"{what}: {aligned.in_words(None, lacking)} is {where}"
            return


def _lost_labels(aligned: Aligned) -> Iterator[str]:
    """A metric that some cells of a side log by a label and others do not, or that none logs by a
    label which the side names.
    """
    for side, held in zip(aligned.sides, aligned.held, strict=True):
        yield from _never_logged(side)
        labels: dict[Setting, dict[LoggedBy, LoggedBy]] = {}  # as they are, by place of the task
        for place, cells in held.items():
            # What any seed of a setting has logged, all of them should have.
            known = labels.setdefault(place.setting, {})
            for one in cells:
                for label in one.values:
                    known.setdefault(one.placed(label), label)
        for place, cells in held.items():
            for one in cells:
                lost = set(labels[place.setting]) - {one.placed(label) for label in one.values}
                # Cells without any value are told by `Side.missing`.
                if one.values and lost:
                    words = in_words(sorted(labels[place.setting][label] for label in lost))
                    where = aligned.in_words(*place)
                    yield f"{side.metric} for {words or 'nothing'} has no value at {where}"


def _never_logged(side: Side) -> Iterator[str]:
    """Of several labels that a side names, those that none of its cells has."""
    for name, wanted in side.logged_by.items():
        labels = [dict(label) for one in side.cells for label in one.values]
        used = {label[name] for label in labels if name in label}
        never = [one for one in wanted if one not in used]
        # A metric that is by no such label at all loses nothing where a side names one.
        if used and never:
            yield f"no cell has {side.metric} for {name}={' or '.join(never)}"


def _other_labels(aligned: Aligned) -> Iterator[str]:
    """Sides whose metric is logged by other labels: a mean over two tasks is not held against one
    over three, nor one task against another that nobody named. A side that stands alone is held
    against itself: what is logged by other labels in one setting than in another has no mean over
    both. Labels that all sides name are what they are about.
    """
    # What only some sides name stays in: there the labels have to match.
    named = set.intersection(*({*side.logged_by} for side in aligned.sides))
    metric = aligned.sides[0].metric
    if len(aligned.sides) == 1:
        (held,) = aligned.held
        told = _labels_apart([cells for cells in held.values() if _with_values(cells)], named)
        if told is not None:
            yield f"{metric} is averaged over {told}, in other settings; name the one that is meant"
        return
    for place in aligned.common:
        told = _labels_apart([held[place] for held in aligned.held], named)
        if told is not None:
            yield f"{metric} is averaged over {told}; name the one that is meant"
            return


def _labels_apart(many: Sequence[Sequence[Measured]], named: set[str]) -> str | None:
    """In words, what several groups of cells have their values by, where that is not the same."""
    groups = [_with_values(cells) for cells in many]
    if not all(groups):
        return None
    # Either way of calling tasks will do, as long as it is one for all.
    as_called = [_labels_of(cells, named, by_place=False) for cells in groups]
    placed = [_labels_of(cells, named, by_place=True) for cells in groups]
    if are_shared(as_called) or are_shared(placed):
        return None
    distinct = list(dict.fromkeys(as_called))
    everywhere = frozenset.intersection(*distinct)
    words = []
    for labels in distinct:
        told = few_in_words(sorted(labels), everywhere, lambda label: in_words([label]))
        # The label of a value that is logged by nothing has no words.
        words.append(", ".join(filter(None, told)) or "a single value")
    return " against ".join(few_in_words(words, (), str))


def _with_values(cells: Sequence[Measured]) -> list[Measured]:
    return [one for one in cells if one.values]


def _labels_of(cells: list[Measured], without: set[str], *, by_place: bool) -> frozenset[LoggedBy]:
    """What the cells of one side at one place have their values by, without what is named."""
    found = set()
    for one in cells:
        for label in one.values:
            told = one.placed(label) if by_place else label
            found.add(tuple(pair for pair in told if pair[0] not in without))
    return frozenset(found)


def _same_trials(aligned: Aligned) -> Iterator[str]:
    """Two sides that are one: the same label of the same trials. Whatever tells them apart made no
    difference to what was run, and their difference is 0 by itself.
    """
    known: list[tuple[object, dict[Place, frozenset[str]]]] = []
    for side, held in zip(aligned.sides, aligned.held, strict=True):
        trials = {place: trials_of(cells) for place, cells in held.items()}
        # Other labels of the same trials are other values: accuracies on two tasks, say.
        if trials and (side.logged_by, trials) in known:
            earlier = known.index((side.logged_by, trials))
            yield f"sides {earlier + 1} and {len(known) + 1} {SAME_TRIALS}"
        known.append((side.logged_by, trials))
