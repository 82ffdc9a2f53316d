"""Runs beside the first of them: differences with intervals, preferences, and the items that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from markupsafe import Markup

from seqtune.data.folder import read_object, replacing
from seqtune.errors import SeqtuneError
from seqtune.evaluation.comparison import Change, Comparison, Difference, Length, Slice, compare, pick_changes
from seqtune.evaluation.judging.preferring import Preferred
from seqtune.evaluation.statistics.win_rates import LengthControlled, WinRate
from seqtune.report.following import FEWEST, TITLES, model_name, place_label, row_labels
from seqtune.report.plot import SERIES, Dot, Group, draw_differences
from seqtune.report.runs import Run
from seqtune.report.sections import Section, name_runs, settings_of
from seqtune.report.steps import Segment, shorten_segments
from seqtune.report.templates import open_template

CHANGES = 6  # items shown
MOST_RUNS = SERIES  # more in one group are an experiment, which has a table of its own


class Row(NamedTuple):
    """One run's difference to the first in one measure, with the lengths of both runs' answers."""

    title: str
    series: int
    difference: Difference
    first_length: Length
    length: Length


class Part(NamedTuple):
    """A split and a number of steps, and the rows of it."""

    group: str
    steps: int | None
    items: int
    rows: Sequence[Row]


class Side(NamedTuple):
    """One run's answer to an item that changed."""

    name: str
    series: int
    segments: Sequence[Segment]
    words: int


class Card(NamedTuple):
    """An item that changed, and both answers to it."""

    title: str
    asked: Sequence[Segment]
    sides: Sequence[Side]
    gained: Sequence[Segment]
    lost: Sequence[Segment]


class Preferences(NamedTuple):
    """What a judge said of pairs, with the series of each run."""

    judge: str
    against: str
    items: int
    rates: Sequence[WinRate]
    at_equal_length: LengthControlled | None
    refused: str


class Shown(NamedTuple):
    """A comparison as the page shows it; `series` is by the runs' names, and `title` what the measure is called.

    `heading` says of which items it is, where the page has others.
    """

    comparison: Comparison
    series: Mapping[str, int]
    title: str
    whole: Part
    parts: Sequence[Part]
    plot: Markup
    cards: Sequence[Card]
    preferences: Preferences | None
    heading: str = ""


def write_comparison(found: Comparison, out: str | Path, preferred: Preferred | None = None) -> Path:
    """Write one HTML page about a comparison. It needs no script, no network and no other file.

    Args:
        found: of `compare`.
        out: the page.
        preferred: what a judge prefers, where one was asked.

    Returns:
        The path of the page.

    Raises:
        RunFolderError: the page cannot be written.
    """
    path = Path(out)
    series = {run.name: i for i, run in enumerate(found.runs)}
    fields = {name: getattr(preferred, name) for name in Preferences._fields} if preferred else None
    shown = show_comparison(found, series, Preferences(**fields) if fields else None)
    title = ", ".join(run.name for run in found.runs)
    html = open_template("comparison.html").render(title=title, comparisons=[shown])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        # An answer may hold half of a surrogate pair, which UTF-8 has no bytes for.
        file.write(html.encode("utf-8", "replace"))
    return path


def describe_comparisons(
    sections: Sequence[Section], trainings: Sequence[Run], series: Mapping[str, int], asked: Sequence[Run] = ()
) -> list[Shown]:
    """A comparison for each set of items that one judge scored several runs of.

    Args:
        sections: of the evaluations.
        trainings: the runs that may have made the models.
        series: model name -> its series in plots.
        asked: runs of `seqtune compare` with a judge.
    """
    kept = [one._replace(runs=[run for run in one.runs if _comparable(run)]) for one in sections]
    found = [_described(one, trainings, series, asked) for one in kept if 1 < len(one.runs) <= MOST_RUNS]
    return [one for one in found if one]


def _comparable(run: Run) -> bool:
    """Whether it tells which items it has, and what stands for it."""
    return bool(settings_of(run).get("items") and read_object(run.folder / "metrics.json").get("headline"))


def _described(
    section: Section, trainings: Sequence[Run], series: Mapping[str, int], asked: Sequence[Run]
) -> Shown | None:
    named = name_runs(section.runs, [model_name(run, trainings) for run in section.runs], series)
    try:
        found = compare([run.folder for run in section.runs], names=[one.name for one in named])
    except SeqtuneError:  # a folder that lacks a file is shown as far as it goes, and not compared
        return None
    shown = show_comparison(found, dict(named), _preferences(section.runs, asked))
    return shown._replace(heading=section.title)


def _preferences(runs: Sequence[Run], asked: Sequence[Run]) -> Preferences | None:
    """What a judge said of these very runs."""
    folders = [str(run.folder.resolve()) for run in runs]
    for one in asked:
        given = settings_of(one).get("runs")
        if isinstance(given, list) and sorted(str(Path(str(folder)).resolve()) for folder in given) == sorted(folders):
            return _read_preferences(one)
    return None


def _read_preferences(run: Run) -> Preferences | None:
    try:
        return msgspec.convert(read_object(run.folder / "preferences.json"), Preferences)
    except msgspec.ValidationError:
        return None


def show_comparison(found: Comparison, series: Mapping[str, int], preferences: Preferences | None = None) -> Shown:
    """What the page shows of a comparison.

    Args:
        found: of `compare`.
        series: of the runs, by name.
        preferences: what a judge said of the same runs.
    """
    whole, *splits = found.slices
    parts = [_part(one, found, series, [found.measure]) for one in splits]
    title = TITLES.get(found.measure, found.measure.replace("_", " "))
    return Shown(
        comparison=found,
        series=series,
        title=title,
        whole=_part(whole, found, series, _told(whole)),
        parts=parts,
        plot=_plot([_part(whole, found, series, [found.measure]), *parts], found.measure, title),
        cards=[_card(one, found, series) for one in pick_changes(found.changes, CHANGES)],
        preferences=preferences,
    )


def _told(whole: Slice) -> list[str]:
    """The measures; "exact" only where it says something else than "strict"."""
    by_name: dict[str, list[Difference]] = {}
    for one in whole.differences:
        by_name.setdefault(one.measure, []).append(msgspec.structs.replace(one, measure=""))
    return [name for name, ones in by_name.items() if name != "exact" or ones != by_name.get("strict")]


def _part(one: Slice, found: Comparison, series: Mapping[str, int], measures: Sequence[str]) -> Part:
    first = one.lengths[found.runs[0].name]
    rows = [
        Row(TITLES.get(measure, measure.replace("_", " ")), series[gap.run], gap, first, one.lengths[gap.run])
        for measure in measures
        for gap in one.differences
        if gap.measure == measure
    ]
    return Part(one.group, one.steps, one.items, rows)


def _plot(parts: Sequence[Part], measure: str, title: str) -> Markup:
    """Splits of few items are left to the table: their intervals would hide all others."""
    groups = [
        Group(
            *row_labels(part.group, part.steps, part.items),
            [_dot(row) for row in part.rows if row.difference.difference.of >= FEWEST],
        )
        for part in parts
    ]
    told, points = ("points of 1 to 5", 1) if measure == "quality" else ("points of 100", 100)
    label = f"{told}, 95 % interval"
    return draw_differences(groups, x_label=label, title=f"Difference to the first run: {title}", points=points)


def _dot(row: Row) -> Dot:
    found = row.difference.difference
    value = found.value or 0.0
    low, high = value if found.low is None else found.low, value if found.high is None else found.high
    return Dot(row.series, value, low, high, f"{row.difference.run}: {value:+.3f} ({low:+.3f} to {high:+.3f})")


def _card(change: Change, found: Comparison, series: Mapping[str, int]) -> Card:
    names = (found.runs[0].name, change.run)
    better = "better" if change.after > change.before else "worse"
    where = place_label(change.group, change.steps) if change.group or change.steps else ""
    return Card(
        title=f"{change.run} does {better}: {change.before:.3g} → {change.after:.3g}{f' ({where})' if where else ''}",
        asked=shorten_segments([Segment(change.asked)]),
        sides=[
            Side(name, series[name], shorten_segments([Segment(text)] if text else []), len(text.split()))
            for name, text in zip(names, change.answers, strict=True)
        ],
        gained=shorten_segments([Segment(step) for step in change.gained]),
        lost=shorten_segments([Segment(step) for step in change.lost]),
    )
