"""What the evaluations found: shares with intervals for each model, and answers of all models to the same items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup

from seqtune.data.example import Example
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.figures import ALL, Figures
from seqtune.evaluation.scoring import Scored, Verdict
from seqtune.evaluation.statistics import Measure
from seqtune.evaluation.suite import GROUP
from seqtune.report.plot import Dot, Group, draw_intervals, percent
from seqtune.report.runs import Run, read_mapping, read_object, read_structs
from seqtune.report.steps import Message, Segment, find_answers, shorten_segments, show_row

Key = tuple[str, int | None]  # a split and a number of steps

# What measures are called in a table, in the order in which they stand there; others keep their own names.
TITLES = {
    "strict": "every step",
    "soft": "each step",
    "exact": "exact",
    "order": "in order",
    "depth": "depth",
    "followed": "followed",
    "quality": "quality (1 to 5)",
}
IN_TABLE = ("strict", "soft", "exact", "order", "followed", "quality")


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


class Miss(NamedTuple):
    """A step of an answer that was not done: whether its part is there at all, and what it should be."""

    step: int
    missing: bool
    expected: Segment


class Attempt(NamedTuple):
    """One model's answer to an item, by step."""

    model: str
    series: int
    segments: Sequence[Segment]
    misses: Mapping[int, Miss]
    unscored: int
    cut: bool


class Trial(NamedTuple):
    """An item and what each model answered."""

    group: str
    steps: int | None
    item: Sequence[Message]
    attempts: Sequence[Attempt]


class Followed(NamedTuple):
    """All evaluations with one suite, as the page shows them."""

    suite: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    measures: Mapping[str, str]
    headline: str
    plot: Markup
    unscored: int
    cut: int
    trials: Sequence[Trial]


def describe_following(
    runs: Sequence[Run], trainings: Sequence[Run], series: Mapping[str, int], trials: int = 6
) -> list[Followed]:
    """One table, plot and set of answers for each suite that models were tested with.

    Args:
        runs: evaluations.
        trainings: the runs that may have made the models.
        series: model name -> its series in plots; see `model_name`.
        trials: how many items to show with their answers.
    """
    suites: dict[str, list[Run]] = {}
    for run in runs:
        suites.setdefault(str(_settings(run).get("suite", "")), []).append(run)
    found = [_followed(suite, _columns(ones, trainings, series), trials) for suite, ones in suites.items()]
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
    return {(one.group, one.steps): one for one in found}


def _followed(suite: str, columns: Sequence[Column], trials: int) -> Followed:
    keys = dict.fromkeys(key for column in columns for key in column.figures)
    lines = [_line(key, columns) for key in keys]
    every = [figures for column in columns for key, figures in column.figures.items() if key[0] != ALL]
    measures = _measures(every)
    headline = next(iter(measures), "strict")
    return Followed(
        suite=suite,
        columns=columns,
        lines=lines,
        measures=measures,
        headline=measures.get(headline, headline),
        plot=_plot(lines, columns, headline, measures.get(headline, headline)),
        unscored=sum(figures.unscored_steps for figures in every),
        cut=sum(figures.cut for figures in every),
        trials=_pick_trials(columns, trials),
    )


def _measures(every: Sequence[Figures]) -> dict[str, str]:
    """Measure -> what the table calls it; "exact" only where it says something else than "every step"."""
    found = dict.fromkeys(name for figures in every for name in figures.measures)
    if "strict" in found and all(figures.measures.get("exact") == figures.measures["strict"] for figures in every):
        found.pop("exact", None)
    known = [name for name in IN_TABLE if name in found]
    others = [name for name in found if name not in TITLES]
    return {name: TITLES.get(name, name.replace("_", " ")) for name in [*known, *others]}


def _line(key: Key, columns: Sequence[Column]) -> Line:
    cells = [column.figures.get(key) for column in columns]
    return Line(*key, max(cell.items for cell in cells if cell), cells)


def _plot(lines: Sequence[Line], columns: Sequence[Column], measure: str, title: str) -> Markup:
    if measure == "quality":  # no share
        return Markup("")
    groups = [Group(steps_label(line.steps), line.group, _dots(line, columns, measure)) for line in lines]
    return draw_intervals(groups, x_label=f"{title}, 95 % interval", title=f"Share of items: {title}")


def _dots(line: Line, columns: Sequence[Column], measure: str) -> list[Dot]:
    found = [cell.measures.get(measure) if cell else None for cell in line.cells]
    return [
        _dot(one, one.value, column)
        for one, column in zip(found, columns, strict=True)
        if one and one.value is not None
    ]


def _dot(measure: Measure, value: float, column: Column) -> Dot:
    title = f"{column.name}: {percent(value)} of {measure.of:,} ({percent(measure.low)} to {percent(measure.high)})"
    return Dot(column.series, value, measure.low, measure.high, title)


def steps_label(steps: int | None) -> str:
    """ "1 step", "2 steps"; "items" of any number."""
    return "items" if steps is None else f"{steps} step{'s' if steps > 1 else ''}"


def _pick_trials(columns: Sequence[Column], count: int) -> list[Trial]:
    """Items that all models answered, of each split and number of steps; those where they differ come first."""
    books = [_read_book(column) for column in columns]
    shared = [item for item in _items(columns) if all(item.id in book.answers for book in books)]
    groups: dict[Key, list[Example]] = {}
    for item in sorted(shared, key=lambda item: -len({book.is_done(item.id) for book in books})):
        groups.setdefault(_key(item), []).append(item)
    each = max(1, count // len(groups)) if groups else 0
    picked = [item for items in groups.values() for item in items[:each]][:count]
    return [_trial(item, columns, books) for item in picked]


def _key(item: Example) -> Key:
    return str(item.meta.get(GROUP, "")), len(item.steps) or None


class _Book(NamedTuple):
    """One model's answers and verdicts, by item."""

    answers: Mapping[str, Answer]
    verdicts: Mapping[str, Sequence[Verdict]]

    def is_done(self, item: str) -> bool:
        return all(verdict.done for verdict in self.verdicts.get(item, ()))


def _items(columns: Sequence[Column]) -> Iterator[Example]:
    seen: set[str] = set()
    for run in columns[0].runs if columns else ():
        for item in read_structs(run.folder / "items.jsonl", Example):
            if item.id not in seen and item.steps:
                seen.add(item.id)
                yield item


def _read_book(column: Column) -> _Book:
    answers: dict[str, Answer] = {}
    verdicts: dict[str, Sequence[Verdict]] = {}
    for run in column.runs:
        for answer in read_structs(run.folder / "answers.jsonl", Answer):
            answers.setdefault(answer.item, answer)
        for scored in read_structs(run.folder / "verdicts.jsonl", Scored):
            verdicts.setdefault(scored.item, scored.steps)
    return _Book(answers, verdicts)


def _trial(item: Example, columns: Sequence[Column], books: Sequence[_Book]) -> Trial:
    group, steps = _key(item)
    attempts = [_attempt(item, column, book) for column, book in zip(columns, books, strict=True)]
    return Trial(group, steps, [message for message in show_row(item) if message.role != "answer"], attempts)


def _attempt(item: Example, column: Column, book: _Book) -> Attempt:
    answer, verdicts = book.answers[item.id], book.verdicts.get(item.id, ())
    misses = {verdict.step: _miss(verdict) for verdict in verdicts if verdict.done is False}
    return Attempt(
        model=column.name,
        series=column.series,
        segments=find_answers(answer.text, item.steps),
        misses=misses,
        unscored=sum(verdict.done is None for verdict in verdicts),
        cut=answer.cut,
    )


def _miss(verdict: Verdict) -> Miss:
    [expected] = shorten_segments([Segment(verdict.expected or "")])
    return Miss(verdict.step, verdict.found is None, expected)
