"""What the evaluations found: shares with intervals for each model, and answers of all models to the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup

from seqtune.evaluation.comparison import by_position
from seqtune.evaluation.figures import ALL, Figures
from seqtune.evaluation.headline import Headline
from seqtune.evaluation.run import PROGRAM
from seqtune.evaluation.statistics.measure import Measure
from seqtune.evaluation.tax import ChainTax
from seqtune.report.attempts import Book, Trial, pick_trials, read_book
from seqtune.report.plot import Dot, Group, draw_intervals, percent
from seqtune.report.runs import Run, read_mapping, read_number, read_object

FEWEST = 10  # items behind a mark of a plot that shows positions

# What measures are called in a table, in the order in which they stand there; others keep their own names.
TITLES = {
    "strict": "every step",
    "soft": "each step",
    "exact": "exact",
    "order": "in order",
    "depth": "depth",
    "following": "followed all",
    "quality": "quality (1 to 5)",
}
IN_TABLE = ("strict", "soft", "exact", "order", "following", "quality")


Key = tuple[str, int | None, bool]  # a split, a number of steps, and whether it is the whole suite


class Column(NamedTuple):
    """One model: its name, its series in plots, its figures, and the runs they come from."""

    name: str
    series: int
    figures: dict[Key, Figures]
    runs: list[Run]


class Line(NamedTuple):
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
    """All evaluations with one suite that one judge (or program) scored, as the page shows them."""

    suite: str
    judge: str
    columns: Sequence[Column]
    quoted: Sequence[Quoted]
    notes: Mapping[str, Sequence[str]]
    lines: Sequence[Line]
    measures: Mapping[str, str]
    headline: str
    plot: Markup
    positions: Markup
    taxes: Sequence[Taxed]
    unscored: int
    cut: int
    trials: Sequence[Trial]


def describe_following(
    runs: Sequence[Run], trainings: Sequence[Run], series: Mapping[str, int], trials: int = 6
) -> list[Followed]:
    """One table, plot and set of answers for each suite that models were tested with, and each judge of it.

    Args:
        runs: evaluations.
        trainings: the runs that may have made the models.
        series: model name -> its series in plots; see `model_name`.
        trials: how many items to show with their answers.
    """
    suites: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        judge = str(read_object(run.folder / "metrics.json").get("judge", ""))
        suites.setdefault((str(_settings(run).get("suite", "")), judge), []).append(run)
    found = [_followed(*key, _columns(ones, trainings, series), trials) for key, ones in suites.items()]
    return [one for one in found if one.lines]


def model_name(run: Run, trainings: Sequence[Run]) -> str:
    """What an evaluated model is called: the training run that made it, or the end of its path."""
    path = str(_settings(run).get("model", "")).replace("\\", "/").rstrip("/")
    made = [training.name for training in trainings if f"/{path}".endswith(f"/{training.name}/model")]
    return max(made, key=len) if made else "/".join(path.removesuffix("/model").split("/")[-2:]) or run.name


def _settings(run: Run) -> Mapping[str, Any]:
    return read_mapping(run.summary, "settings")


def _columns(runs: Sequence[Run], trainings: Sequence[Run], series: Mapping[str, int]) -> list[Column]:
    """A column for each model; a second run of a model over the same split has its own."""
    columns: dict[str, Column] = {}
    for run in runs:
        figures = _figures(run)
        name = model_name(run, trainings)
        clashes = name in columns and not columns[name].figures.keys().isdisjoint(figures)
        title = f"{name} ({run.name})" if clashes else name
        column = columns.setdefault(title, Column(title, series.get(name, 0), {}, []))
        column.figures.update(figures)
        column.runs.append(run)
    return list(columns.values())


def _figures(run: Run) -> dict[Key, Figures]:
    try:
        found = msgspec.convert(read_object(run.folder / "metrics.json").get("figures", []), list[Figures])
    except msgspec.ValidationError:
        return {}
    return {(one.group, one.steps, one.whole): one for one in found}


def _followed(suite: str, judge: str, columns: Sequence[Column], trials: int) -> Followed:
    keys = dict.fromkeys(key for column in columns for key in column.figures)
    lines = [_line(key, columns) for key in sorted(keys, key=lambda key: not key[2])]
    every = [figures for column in columns for figures in column.figures.values() if not figures.whole]
    measures = _measures(every)
    headline = next(iter(measures), "strict")
    books = [read_book(column.name, column.series, [run.folder for run in column.runs]) for column in columns]
    folders = [run.folder for run in columns[0].runs]
    quoted = [_quoted(run, column, book) for column, book in zip(columns, books, strict=True) for run in column.runs]
    return Followed(
        suite=suite,
        judge="" if judge == PROGRAM else judge,
        columns=columns,
        quoted=quoted,
        notes=_notes(quoted),
        lines=lines,
        measures=measures,
        headline=measures.get(headline, headline),
        plot=_plot(lines, columns, headline, measures.get(headline, headline)),
        positions=_positions(columns),
        taxes=_taxes(columns),
        unscored=sum(figures.unscored_steps for figures in every),
        cut=sum(figures.cut for figures in every),
        trials=pick_trials(books, folders, headline, trials),
    )


def _quoted(run: Run, column: Column, book: Book) -> Quoted:
    metrics = read_object(run.folder / "metrics.json")
    try:
        headline = msgspec.convert(metrics.get("headline"), Headline | None)
        notes = msgspec.convert(metrics.get("notes", []), list[str])
    except msgspec.ValidationError:
        headline, notes = None, []
    return Quoted(
        name=column.name if len(column.runs) == 1 else f"{column.name} ({run.name})",
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
    found = [
        Taxed(column.name, column.series, tax) for column in columns for run in column.runs for tax in _read_taxes(run)
    ]
    return sorted(found, key=lambda one: (one.tax.group, one.tax.steps))


def _read_taxes(run: Run) -> list[ChainTax]:
    try:
        return msgspec.convert(read_object(run.folder / "metrics.json").get("chain_taxes", []), list[ChainTax])
    except msgspec.ValidationError:
        return []


def _measures(every: Sequence[Figures]) -> dict[str, str]:
    """Measure -> what the table calls it; "exact" only where it says something else than "every step"."""
    found = dict.fromkeys(name for figures in every for name in figures.measures)
    if "strict" in found and all(figures.measures.get("exact") == figures.measures["strict"] for figures in every):
        found.pop("exact", None)
    known = [name for name in IN_TABLE if name in found]
    others = [name for name in found if name not in TITLES]
    return {name: TITLES.get(name, name.replace("_", " ")) for name in [*known, *others]}


def _line(key: Key, columns: Sequence[Column]) -> Line:
    group, steps, whole = key
    name = f"split {group!r}" if group == ALL and not whole else group
    cells = [column.figures.get(key) for column in columns]
    return Line(name, steps, max(cell.items for cell in cells if cell), cells)


def _plot(lines: Sequence[Line], columns: Sequence[Column], measure: str, title: str) -> Markup:
    if measure == "quality":  # no share
        return Markup("")
    groups = [Group(*row_labels(line.group, line.steps, line.items), _dots(line, columns, measure)) for line in lines]
    return draw_intervals(groups, x_label=f"{title}, 95 % interval", title=f"Share of items: {title}")


def _dots(line: Line, columns: Sequence[Column], measure: str) -> list[Dot]:
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
