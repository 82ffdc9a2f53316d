"""Answers of all models to the same items, each with what was said of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seqtune.data.example import Example
from seqtune.data.folder import read_object
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.scoring import Scored, Verdict
from seqtune.evaluation.suite import GROUP
from seqtune.report.runs import read_structs
from seqtune.report.steps import Message, Segment, find_answers, shorten_segments, show_row

Key = tuple[str, int | None]  # a split and a number of steps
JUDGE = "judge"  # the check of a verdict that no program gave


class Miss(NamedTuple):
    """A step of an answer that was not done: what is wrong, the step in words, and what it should be."""

    step: int
    wrong: str
    asked: Segment
    expected: Segment


class Attempt(NamedTuple):
    """One model's answer to an item, by step; `said` is what the measures say where no step was judged."""

    model: str
    series: int
    segments: Sequence[Segment]
    misses: Mapping[int, Miss]
    unscored: int
    said: str
    words: int
    tokens: int | None
    cut: bool


class ShownItem(NamedTuple):
    """An item and what each model answered; `steps` is how many were judged."""

    group: str
    steps: int | None
    item: Sequence[Message]
    attempts: Sequence[Attempt]


class Book(NamedTuple):
    """One model's answers, and what the judge of its figures said of them, by item."""

    model: str
    series: int
    answers: Mapping[str, Answer]
    scored: Mapping[str, Scored]

    def unsupported(self) -> int | None:
        """How often the judge called a step done with a quote that shows nothing; None where no quotes were asked."""
        quotes = [step.supported for one in self.scored.values() for step in one.steps if step.supported is not None]
        return quotes.count(False) if quotes else None


def read_book(model: str, series: int, folders: Sequence[Path]) -> Book:
    """The answers and verdicts of one model's run folders; of an item that stands in several, those of the first.

    Args:
        model, series: what it is called, and its colour.
        folders: its runs.
    """
    answers: dict[str, Answer] = {}
    scored: dict[str, Scored] = {}
    for folder in folders:
        answers = {one.item: one for one in read_structs(folder / "answers.jsonl", Answer)} | answers
        scored = _read_scored(folder) | scored
    return Book(model, series, answers, scored)


def _read_scored(folder: Path) -> dict[str, Scored]:
    """What the judge of metrics.json said, of an item the last: a ledger may hold other judges' verdicts too."""
    judge = read_object(folder / "metrics.json").get("judge")
    found = read_structs(folder / "verdicts.jsonl", Scored)
    return {one.item: one for one in found if judge is None or one.judge == judge}


def pick_items(books: Sequence[Book], folders: Sequence[Path], measure: str, count: int) -> list[ShownItem]:
    """Items that all models answered, of each split and number of steps; those where they differ come first.

    Args:
        books: one a model.
        folders: where the items stand.
        measure: what the models are to differ in.
        count: how many at most.
    """
    shared = [item for item in _items(folders) if all(item.id in book.answers for book in books)]
    groups: dict[Key, list[Example]] = {}
    for item in sorted(shared, key=lambda item: _interest(item.id, books, measure)):
        groups.setdefault(_key(item), []).append(item)
    each = max(1, count // len(groups)) if groups else 0
    picked = [item for items in groups.values() for item in items[:each]][:count]
    return [_shown(item, books) for item in picked]


def _interest(item: str, books: Sequence[Book], measure: str) -> tuple[bool, int]:
    """Less for what shows more: all outcomes known, and different ones."""
    outcomes = {_outcome(book, item, measure) for book in books}
    return None in outcomes, -len(outcomes)


def _outcome(book: Book, item: str, measure: str) -> float | bool | None:
    scored = book.scored.get(item, Scored(item))
    return scored.measures[measure] if measure in scored.measures else all(step.done for step in scored.steps)


def _key(item: Example) -> Key:
    return str(item.meta.get(GROUP, "")), len(item.steps) or None


def _items(folders: Sequence[Path]) -> Iterator[Example]:
    seen: set[str] = set()
    for folder in folders:
        for item in read_structs(folder / "items.jsonl", Example):
            if item.id not in seen:
                seen.add(item.id)
                yield item


def _shown(item: Example, books: Sequence[Book]) -> ShownItem:
    group, steps = _key(item)
    judged = (len(book.scored[item.id].steps) for book in books if item.id in book.scored)
    asked = [message for message in show_row(item) if message.role != "answer"]
    return ShownItem(group, next(filter(None, judged), steps), asked, [_attempt(item, book) for book in books])


def _attempt(item: Example, book: Book) -> Attempt:
    answer, scored = book.answers[item.id], book.scored.get(item.id, Scored(item.id, unscored="it was not scored"))
    return Attempt(
        model=book.model,
        series=book.series,
        segments=find_answers(answer.text, item.steps),
        misses={verdict.step: _miss(verdict) for verdict in scored.steps if verdict.done is False},
        unscored=sum(verdict.done is None for verdict in scored.steps),
        said="" if scored.steps else _said(scored),
        words=len(answer.text.split()),
        tokens=answer.tokens,
        cut=answer.cut,
    )


def _said(scored: Scored) -> str:
    """The measures in words, and why what is missing could not be told."""
    told = [f"{name.replace('_', ' ')} {value:g}" for name, value in scored.measures.items() if value is not None]
    return ", ".join([*told, *([f"unscored: {scored.unscored}"] if scored.unscored else [])])


def _miss(verdict: Verdict) -> Miss:
    asked, expected = shorten_segments([Segment(verdict.text), Segment(verdict.expected or "")])
    return Miss(verdict.step, _wrong(verdict), asked if verdict.check == JUDGE else Segment(""), expected)


def _wrong(verdict: Verdict) -> str:
    if verdict.supported is False:
        return "✗ yes without support"
    if verdict.check == JUDGE:
        return "✗ not done"
    return "✗ missing" if verdict.found is None else "✗ wrong"
