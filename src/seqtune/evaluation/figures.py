"""From scores to figures: each measure with its interval, by split and number of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from seqtune.data.example import Example
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.statistics import Measure, mean, share
from seqtune.evaluation.suite import GROUP

QUALITY = (1.0, 5.0)  # what `quality` runs from and to; every other measure runs from 0 to 1
ALL = "all"  # what the figures of a whole suite are called


class Figures(msgspec.Struct, frozen=True):
    """The figures of the items of one split with the same number of steps.

    Args:
        group: the split; "all" for the whole suite.
        steps: how many steps the items have; None for items of any number, or without steps.
        items: how many items.
        measures: by name. Steps of an item hang together, so an interval takes an item, not a step, as a trial.
        by_position: share of items whose first, second, ... step is done.
        answered: items that the model answered; of the others nothing is scored.
        cut: answers stopped at the token limit.
        mean_tokens: tokens an answer, None where they were not counted.
        unscored_steps: steps of which nothing could be told.
    """

    group: str
    steps: int | None
    items: int
    measures: dict[str, Measure]
    by_position: tuple[Measure, ...]
    answered: int
    cut: int
    mean_tokens: float | None
    unscored_steps: int


def figures(items: Sequence[Example], answers: Mapping[str, Answer], scored: Iterable[Scored]) -> list[Figures]:
    """One line for each split and number of steps, in the order in which they come, and one for all together.

    Args:
        items: of the suite.
        answers: by item; an item without one is unscored.
        scored: what was said of the answers.
    """
    by_item = {one.item: one for one in scored}
    splits: dict[tuple[str, int | None], list[Example]] = {}
    for item in items:
        splits.setdefault((str(item.meta.get(GROUP, "")), len(item.steps) or None), []).append(item)
    lines = [_figures(group, steps, ones, answers, by_item) for (group, steps), ones in splits.items()]
    return lines if len(lines) == 1 else [*lines, _figures(ALL, None, items, answers, by_item)]


def _figures(
    group: str,
    steps: int | None,
    items: Sequence[Example],
    answers: Mapping[str, Answer],
    scored: Mapping[str, Scored],
) -> Figures:
    given = [answers[item.id] for item in items if item.id in answers]
    found = [scored.get(item.id, Scored(item.id, unscored="no answer")) for item in items]
    names = dict.fromkeys(name for one in found for name in one.measures)
    rows = [[verdict.done for verdict in one.steps] for one in found]
    counted = [answer.tokens for answer in given if answer.tokens is not None]
    return Figures(
        group=group,
        steps=steps,
        items=len(items),
        measures={name: measure(name, [one.measures.get(name) for one in found]) for name in names},
        by_position=tuple([_position(rows, i) for i in range(max(map(len, rows), default=0))]),
        answered=len(given),
        cut=sum(answer.cut for answer in given),
        mean_tokens=sum(counted) / len(counted) if counted else None,
        unscored_steps=sum(row.count(None) for row in rows),
    )


def measure(name: str, values: Sequence[float | None]) -> Measure:
    """A measure of items, None for those of which it could not be told.

    Args:
        name: of the measure; `quality` runs from 1 to 5, all others from 0 to 1.
        values: one an item.
    """
    told = [value for value in values if value is not None]
    unscored = len(values) - len(told)
    return mean(told, *QUALITY, unscored) if name == "quality" else share(sum(told), len(told), unscored)


def _position(rows: Sequence[Sequence[bool | None]], place: int) -> Measure:
    column = [row[place] for row in rows if place < len(row)]
    return measure("", [None if done is None else float(done) for done in column])
