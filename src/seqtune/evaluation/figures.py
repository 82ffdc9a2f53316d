"""From scores to figures: each measure with its interval, by split and number of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from seqtune.data.example import Example
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.statistics.measure import Measure, mean, share
from seqtune.evaluation.suite import ASIDE, GROUP

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
        mean_tokens: tokens an answer, None where they were not counted; mean_words: what stands between blanks.
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
    mean_words: float = 0.0


def figures(
    items: Sequence[Example],
    answers: Mapping[str, Answer],
    scored: Iterable[Scored],
    lengths: Mapping[str, int] | None = None,
) -> list[Figures]:
    """One line for each split, in the order in which they come, and number of steps, and one for all together but those
    that stand aside.

    Args:
        items: of the suite.
        answers: by item; an item without one is unscored.
        scored: what was said of the answers.
        lengths: how many steps an item has, by item, where it does not bring them itself.
    """
    by_item = {one.item: one for one in scored}
    splits: dict[tuple[str, int | None], list[Example]] = {}
    for item in items:
        steps = (lengths or {}).get(item.id) or len(item.steps) or None
        splits.setdefault((str(item.meta.get(GROUP, "")), steps), []).append(item)
    groups = [*dict.fromkeys(group for group, _ in splits)]
    in_order = sorted(splits, key=lambda key: (groups.index(key[0]), key[1] or 0))
    lines = [_figures(*key, splits[key], answers, by_item) for key in in_order]
    counted = [item for item in items if not item.meta.get(ASIDE)]
    return lines if len(lines) == 1 else [*lines, _figures(ALL, None, counted, answers, by_item)]


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
        mean_words=sum(len(answer.text.split()) for answer in given) / len(given) if given else 0.0,
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
