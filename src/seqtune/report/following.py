"""What the evaluations found: shares with intervals for each model, and answers of all models to the same items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup

from seqtune.data.example import Example
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.scoring import Figures, Verdict
from seqtune.evaluation.statistics import Share
from seqtune.evaluation.suite import GROUP
from seqtune.report.plot import Dot, Group, draw_intervals, percent
from seqtune.report.runs import Run, read_mapping, read_object, read_structs
from seqtune.report.steps import Message, Segment, find_answers, shorten_segments, show_row

Key = tuple[str, int]  # a split and a number of steps


class Column(NamedTuple):
    """One model: its name, its series in plots, its figures, and the runs they come from."""

    name: str
    series: int
    figures: dict[Key, Figures]
    runs: list[Run]


class Line(NamedTuple):
    """One line of the table: a split, a number of steps, and each model's figures."""

    group: str
    steps: int
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
    steps: int
    item: Sequence[Message]
    attempts: Sequence[Attempt]


class Followed(NamedTuple):
    """All evaluations with one suite, as the page shows them."""

    suite: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    measures: Mapping[str, str]
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
    every = [figures for column in columns for figures in column.figures.values()]
    return Followed(
        suite=suite,
        columns=columns,
        lines=lines,
        measures=_measures(every),
        plot=_plot(lines, columns),
        unscored=sum(figures.unscored for figures in every),
        cut=sum(figures.cut for figures in every),
        trials=_pick_trials(columns, trials),
    )


def _measures(every: Sequence[Figures]) -> dict[str, str]:
    """Field of Figures -> what the table calls it; "exact" only where it says something else than "every step"."""
    differ = any(figures.exact != figures.all_steps for figures in every)
    return {"all_steps": "every step", "per_step": "each step"} | ({"exact": "exact"} if differ else {})


def _line(key: Key, columns: Sequence[Column]) -> Line:
    cells = [column.figures.get(key) for column in columns]
    return Line(*key, max(cell.items for cell in cells if cell), cells)


def _plot(lines: Sequence[Line], columns: Sequence[Column]) -> Markup:
    groups = [Group(steps_label(line.steps), line.group, _dots(line, columns)) for line in lines]
    return draw_intervals(
        groups, x_label="items with every step done, 95 % interval", title="Items with every step done"
    )


def _dots(line: Line, columns: Sequence[Column]) -> list[Dot]:
    return [
        _dot(cell.all_steps, cell.all_steps.value, column)
        for cell, column in zip(line.cells, columns, strict=True)
        if cell and cell.all_steps.value is not None
    ]


def _dot(share: Share, value: float, column: Column) -> Dot:
    title = f"{column.name}: {percent(value)} of {share.of:,} ({percent(share.low)} to {percent(share.high)})"
    return Dot(column.series, value, share.low, share.high, title)


def steps_label(steps: int) -> str:
    """ "1 step", "2 steps"."""
    return f"{steps} step{'s' if steps > 1 else ''}"


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
    return str(item.meta.get(GROUP, "")), len(item.steps)


class _Book(NamedTuple):
    """One model's answers and verdicts, by item."""

    answers: Mapping[str, Answer]
    verdicts: Mapping[str, list[Verdict]]

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
    verdicts: dict[str, list[Verdict]] = {}
    for run in column.runs:
        for answer in read_structs(run.folder / "answers.jsonl", Answer):
            answers.setdefault(answer.item, answer)
        for verdict in read_structs(run.folder / "verdicts.jsonl", Verdict):
            verdicts.setdefault(verdict.item, []).append(verdict)
    return _Book(answers, verdicts)


def _trial(item: Example, columns: Sequence[Column], books: Sequence[_Book]) -> Trial:
    group, steps = _key(item)
    attempts = [_attempt(item, column, book) for column, book in zip(columns, books, strict=True)]
    return Trial(group, steps, [message for message in show_row(item) if message.role != "answer"], attempts)


def _attempt(item: Example, column: Column, book: _Book) -> Attempt:
    answer, verdicts = book.answers[item.id], book.verdicts.get(item.id, [])
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
