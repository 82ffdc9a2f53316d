"""What the evaluations found: shares with intervals for each model, and answers of all models to the same items."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import msgspec
from markupsafe import Markup

from seqtune.data.folder import read_object
from seqtune.evaluation.comparison import by_position
from seqtune.evaluation.figures import ALL, Figures
from seqtune.evaluation.headline import Headline
from seqtune.evaluation.scoring import PROGRAM
from seqtune.evaluation.statistics.measure import Measure
from seqtune.evaluation.tax import ChainTax
from seqtune.report.attempts import Book, ShownItem, pick_items, read_book
from seqtune.report.plot import Dot, Group, draw_intervals, percent
from seqtune.report.runs import Run, read_number
from seqtune.report.sections import Section, find_aside, name_runs, read_figures, settings_of

FEWEST = 10  # items behind a mark of a plot that shows positions

# What measures are called in a table, in the order in which they stand there; others keep their own names.
TITLES = {
    "strict": "every step",
    "checked": "each step with a check",
    "soft": "each step",
    "exact": "exact",
    "order": "in order",
    "depth": "depth",
    "following": "followed all",
    "quality": "quality (1 to 5)",
}
IN_TABLE = ("strict", "checked", "soft", "exact", "order", "following", "quality")
FIRST = ("strict", "step_done")  # after the headline
MOST_MEASURES = 6  # in one table; of more, all but the first stand in a table that is folded away


Key = tuple[str, int | None, bool]  # a split, a number of steps, and whether it is the whole suite


class Column(NamedTuple):
    """One run: its name, its series in plots, and its figures."""

    name: str
    series: int
    figures: dict[Key, Figures]
    run: Run


class TableRow(NamedTuple):
    """One line of the table: a split, a number of steps, and each model's figures."""

    group: str
    steps: int | None
    items: int
    cells: Sequence[Figures | None]


class Quoted(NamedTuple):
    """The one figure of a run that may be quoted, or why none may.

    Args:
        name, series: of the run.
        measure: its name, "" where the run has no headline.
        figure: the measure; None where nothing was measured.
        refused: why it must not be quoted.
        answered, items: how many.
        unsupported: how often the judge called a step done with a quote that shows nothing.
        notes: what else the run has to say.
    """

    name: str
    series: int
    measure: str
    figure: Measure | None
    refused: str
    answered: int
    items: int
    unsupported: int | None
    notes: Sequence[str]


class Taxed(NamedTuple):
    """The chain tax of one model at one number of steps."""

    name: str
    series: int
    tax: ChainTax


class Followed(NamedTuple):
    """All evaluations over the same items that one judge (or program) scored, as the page shows them.

    `folded` are the measures that stand in a table of their own.
    """

    suite: str
    title: str
    judge: str
    columns: Sequence[Column]
    quoted: Sequence[Quoted]
    notes: Mapping[str, Sequence[str]]
    lines: Sequence[TableRow]
    measures: Mapping[str, str]
    folded: Sequence[str]
    headline: str
    plot: Markup
    positions: Markup
    taxes: Sequence[Taxed]
    unscored: int
    cut: int
    shown: Sequence[ShownItem]


def describe_following(
    sections: Sequence[Section], trainings: Sequence[Run], series: Mapping[str, int], items: int = 6
) -> list[Followed]:
    """One table, plot and set of answers for each section.

    Args:
        sections: of the evaluations.
        trainings: the runs that may have made the models.
        series: model name -> its series in plots; see `model_name`.
        items: how many to show with their answers.
    """
    found = [_followed(one, _columns(one.runs, trainings, series), items) for one in sections]
    return [one for one in found if one.lines]


def model_name(run: Run, trainings: Sequence[Run]) -> str:
    """What an evaluated model is called: the training run that made it, or the end of its path."""
    path = str(settings_of(run).get("model", "")).replace("\\", "/").rstrip("/")
    made = [training.name for training in trainings if f"/{path}".endswith(f"/{training.name}/model")]
    return max(made, key=len) if made else "/".join(path.removesuffix("/model").split("/")[-2:]) or run.name


def _columns(runs: Sequence[Run], trainings: Sequence[Run], series: Mapping[str, int]) -> list[Column]:
    named = name_runs(runs, [model_name(run, trainings) for run in runs], series)
    return [Column(*one, _figures(run), run) for one, run in zip(named, runs, strict=True)]


def _figures(run: Run) -> dict[Key, Figures]:
    return {(one.group, one.steps, one.whole): one for one in read_figures(run)}


def _followed(section: Section, columns: Sequence[Column], items: int) -> Followed:
    lines = [_line(key, columns) for key in _in_order(columns, find_aside(columns[0].run))]
    every = [figures for column in columns for figures in column.figures.values() if not figures.whole]
    books = [read_book(column.name, column.series, [column.run.folder]) for column in columns]
    quoted = [_quoted(column, book) for column, book in zip(columns, books, strict=True)]
    measures = _measures(every, next((run.measure for run in quoted if run.measure), ""))
    headline = next(iter(measures), "strict")
    return Followed(
        suite=section.suite,
        title=section.title,
        judge="" if section.judge == PROGRAM else section.judge,
        columns=columns,
        quoted=quoted,
        notes=_notes(quoted),
        lines=lines,
        measures=measures,
        folded=_folded(measures, headline),
        headline=measures.get(headline, headline),
        plot=_plot(lines, columns, headline, measures.get(headline, headline)),
        positions=_positions(columns),
        taxes=_taxes(columns),
        unscored=sum(figures.unscored_steps for figures in every),
        cut=sum(figures.cut for figures in every),
        shown=pick_items(books, [columns[0].run.folder], headline, items),
    )


def _in_order(columns: Sequence[Column], aside: Container[str]) -> list[Key]:
    """The whole suite; then split by split, each in order of steps; what stands aside last."""
    keys = dict.fromkeys(key for column in columns for key in column.figures)
    groups = [*dict.fromkeys(group for group, _, _ in keys)]
    return sorted(keys, key=lambda key: (not key[2], key[0] in aside, groups.index(key[0]), key[1] or 0))


def _quoted(column: Column, book: Book) -> Quoted:
    metrics = read_object(column.run.folder / "metrics.json")
    try:
        headline = msgspec.convert(metrics.get("headline"), Headline | None)
        notes = msgspec.convert(metrics.get("notes", []), list[str])
    except msgspec.ValidationError:
        headline, notes = None, []
    return Quoted(
        name=column.name,
        series=column.series,
        measure=headline.measure if headline else "",
        figure=headline.figure if headline else None,
        refused=headline.refused if headline else "",
        answered=int(read_number(metrics, "answered") or 0),
        items=int(read_number(metrics, "items") or 0),
        unsupported=book.unsupported(),
        notes=notes,
    )


def _notes(quoted: Sequence[Quoted]) -> dict[str, list[str]]:
    """Each note, and which runs have it."""
    found: dict[str, list[str]] = {}
    for run in quoted:
        for note in run.notes:
            found.setdefault(note, []).append(run.name)
    return found


def _positions(columns: Sequence[Column]) -> Markup:
    """Share of items whose first, second, ... step is done; as far as ten items go."""
    found = [by_position([*column.figures.values()]) for column in columns]
    kept = [[one for one in measures if one.of >= FEWEST] for measures in found]
    groups = [_position(place, kept, columns) for place in range(max(map(len, kept), default=0))]
    if len(groups) < 2:
        return Markup("")
    return draw_intervals(groups, x_label="done, 95 % interval", title="Share of items by position of the step")


def _position(place: int, found: Sequence[Sequence[Measure]], columns: Sequence[Column]) -> Group:
    ones = [measures[place] if place < len(measures) else None for measures in found]
    items = max(one.of for one in ones if one)
    return Group(f"step {place + 1}", items_label(items), _dots_of(ones, columns))


def _taxes(columns: Sequence[Column]) -> list[Taxed]:
    found = [Taxed(column.name, column.series, tax) for column in columns for tax in _read_taxes(column.run)]
    return sorted(found, key=lambda one: (one.tax.group, one.tax.steps))


def _read_taxes(run: Run) -> list[ChainTax]:
    try:
        return msgspec.convert(read_object(run.folder / "metrics.json").get("chain_taxes", []), list[ChainTax])
    except msgspec.ValidationError:
        return []


def _measures(every: Sequence[Figures], headline: str) -> dict[str, str]:
    """Measure -> its title, the headline first; "exact" only where it says something else than "every step"."""
    found = dict.fromkeys(name for figures in every for name in figures.measures)
    same = "strict" in found and all(figures.measures.get("exact") == figures.measures["strict"] for figures in every)
    if same and headline != "exact":
        found.pop("exact", None)
    known = [name for name in IN_TABLE if name in found]
    others = [name for name in found if name not in TITLES]
    first = [name for name in (headline, *FIRST) if name in found]
    return {name: TITLES.get(name, name.replace("_", " ")) for name in [*first, *known, *others]}


def _folded(measures: Mapping[str, str], headline: str) -> list[str]:
    return [name for name in measures if name not in (headline, *FIRST)] if len(measures) > MOST_MEASURES else []


def _line(key: Key, columns: Sequence[Column]) -> TableRow:
    group, steps, whole = key
    name = f"split {group!r}" if group == ALL and not whole else group
    cells = [column.figures.get(key) for column in columns]
    return TableRow(name, steps, max(cell.items for cell in cells if cell), cells)


def _plot(lines: Sequence[TableRow], columns: Sequence[Column], measure: str, title: str) -> Markup:
    if measure == "quality":  # no share
        return Markup("")
    groups = [Group(*row_labels(line.group, line.steps, line.items), _dots(line, columns, measure)) for line in lines]
    return draw_intervals(groups, x_label=f"{title}, 95 % interval", title=f"Share of items: {title}")


def _dots(line: TableRow, columns: Sequence[Column], measure: str) -> list[Dot]:
    return _dots_of([cell.measures.get(measure) if cell else None for cell in line.cells], columns)


def _dots_of(found: Sequence[Measure | None], columns: Sequence[Column]) -> list[Dot]:
    return [
        _dot(one, one.value, column)
        for one, column in zip(found, columns, strict=True)
        if one and one.value is not None
    ]


def _dot(measure: Measure, value: float, column: Column) -> Dot:
    title = f"{column.name}: {percent(value)} of {measure.of:,} ({percent(measure.low)} to {percent(measure.high)})"
    return Dot(column.series, value, measure.low, measure.high, title)


def items_label(items: int) -> str:
    """ "1 item", "2,000 items"."""
    return f"{items:,} item{'' if items == 1 else 's'}"


def row_labels(group: str, steps: int | None, items: int) -> tuple[str, str]:
    """What a row of a plot is called, and the note below: its split where it has a name, else how many items it has."""
    if not steps or not group:
        return place_label(group, steps), items_label(items)
    return place_label("", steps), group


def place_label(group: str, steps: int | None) -> str:
    """ "2 steps", "2 steps, unseen pairs", "unseen pairs", or "all items"."""
    told = f"{steps} step{'s' if steps > 1 else ''}" if steps else ""
    return ", ".join(filter(None, [told, "" if group == ALL else group])) or "all items"
