"""Which evaluations stand side by side: those over the same items by one judge, and what sections are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from seqtune.data.example import Example
from seqtune.data.folder import read_object
from seqtune.evaluation.figures import ALL, Figures, whole_of
from seqtune.evaluation.suite import ASIDE, GROUP
from seqtune.report.plot import SERIES
from seqtune.report.runs import Run, read_mapping, read_structs

Items = tuple[object, ...]  # what is the same for runs over the same items


class Section(NamedTuple):
    """Runs of one suite over the same items, scored by one judge.

    Args:
        suite, judge: of all runs.
        title: the suite, and what tells these items from those of its other sections.
        runs: in order of their paths.
    """

    suite: str
    judge: str
    title: str
    runs: Sequence[Run]


class Named(NamedTuple):
    """What a run is called in its section, and its series in plots."""

    name: str
    series: int


def find_sections(runs: Sequence[Run]) -> list[Section]:
    """The evaluations, told apart by suite, judge and items: shares of different items say nothing beside each other.

    Args:
        runs: evaluations.
    """
    found: dict[tuple[str, str, Items], list[Run]] = {}
    for run in runs:
        judge = str(read_object(run.folder / "metrics.json").get("judge", ""))
        found.setdefault((str(settings_of(run).get("suite", "")), judge, _items(run)), []).append(run)
    beside: dict[tuple[str, str], list[list[Run]]] = {}
    for (suite, judge, _), ones in found.items():
        beside.setdefault((suite, judge), []).append(ones)
    return [
        Section(*key, _title(key[0], told), ones)
        for key, groups in beside.items()
        for told, ones in zip(_told_apart(groups), groups, strict=True)
    ]


def name_runs(runs: Sequence[Run], models: Sequence[str], series: Mapping[str, int]) -> list[Named]:
    """Each by its model, and by its run as well where the model has several; no two of them look alike.

    Args:
        runs: of a section.
        models: what their models are called.
        series: model -> its series in plots.
    """
    several, known = Counter(models), {*series.values()}
    found: list[Named] = []
    for run, model in zip(runs, models, strict=True):
        wanted, used = series.get(model, 0), {one.series for one in found}
        look = _free(wanted, known | used) if wanted in used else wanted
        found.append(Named(f"{model} ({run.name})" if several[model] > 1 else model, look))
    return found


def _free(wanted: int, taken: Container[int]) -> int:
    """A colour that nobody has, or the same colour with another mark, or any series that is free."""
    colours = [colour for colour in range(SERIES) if all(colour + SERIES * i not in taken for i in range(SERIES))]
    marks = [(wanted + SERIES * i) % SERIES**2 for i in range(SERIES)]
    return next((series for series in [*colours, *marks, *range(SERIES**2)] if series not in taken), wanted)


def settings_of(run: Run) -> Mapping[str, Any]:
    """What the run was asked to do."""
    return read_mapping(run.summary, "settings")


def read_figures(run: Run) -> list[Figures]:
    """The figures of a run; none where they cannot be read."""
    try:
        return msgspec.convert(read_object(run.folder / "metrics.json").get("figures", []), list[Figures])
    except msgspec.ValidationError:
        return []


def find_aside(run: Run) -> set[str]:
    """The splits of which the figures of the whole suite leave out all items."""
    found: dict[str, set[bool]] = {}
    for item in read_structs(run.folder / "items.jsonl", Example):
        found.setdefault(str(item.meta.get(GROUP, "")), set()).add(bool(item.meta.get(ASIDE)))
    return {split for split, aside in found.items() if aside == {True}}


def _items(run: Run) -> Items:
    """Their hash; where the run knows none, how many stand in each split."""
    if known := settings_of(run).get("items"):
        return (str(known),)
    return tuple(sorted((one.group, one.steps or 0, one.items) for one in read_figures(run)))


def _told_apart(groups: Sequence[Sequence[Run]]) -> list[str]:
    """What differs between the groups: splits, steps, number of items; the runs' names where that is not enough."""
    facts = [_facts(runs[0]) for runs in groups]
    differs = [len({*ones}) > 1 for ones in zip(*facts, strict=True)]
    told = [", ".join(fact for fact, apart in zip(one, differs, strict=True) if apart and fact) for one in facts]
    alike = Counter(told)
    return [
        one if len(groups) == 1 or (one and alike[one] == 1) else ", ".join(filter(None, [one, _names(runs)]))
        for one, runs in zip(told, groups, strict=True)
    ]


def _facts(run: Run) -> tuple[str, str, str]:
    lines, aside = read_figures(run), find_aside(run)
    counted = [one for one in lines if not one.whole and one.group not in aside]
    splits = dict.fromkeys(one.group for one in counted if one.group not in ("", ALL))
    steps = sorted({one.steps for one in counted if one.steps})
    ends = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else f"{steps[0]}" if steps else ""
    apart = ", ".join(sorted(split for split in aside if split))
    told = f"{ends} step{'' if ends == '1' else 's'}" if ends else ""
    items = f"{whole_of(lines).items:,} items" if lines else ""
    return _few([*splits]), " and ".join(filter(None, [told, apart])), items


def _few(splits: Sequence[str]) -> str:
    return ", ".join(splits) if len(splits) <= 3 else f"{len(splits)} splits"


def _names(runs: Sequence[Run]) -> str:
    first, rest = runs[0].name, len(runs) - 1
    return f"{first} and {rest} more" if rest > 1 else f"{first} and {runs[1].name}" if rest else first


def _title(suite: str, told: str) -> str:
    return ": ".join(filter(None, [suite or "a suite without a name", told]))
