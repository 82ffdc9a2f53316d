"""From scores to figures: each measure with its interval, by split and number of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from seqtune.data.example import Example
from seqtune.errors import RecipeError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.statistics.measure import Measure, mean_of
from seqtune.evaluation.suite import ASIDE, GROUP

QUALITY = (1.0, 5.0)  # what `quality` runs from and to
SHARE = (0.0, 1.0)  # what every other measure runs from and to
JUDGE = "judge"  # the check of a step that a judge was asked of
ALL = "all"  # what the figures of a whole suite are called; a split may be called so too


class Figures(msgspec.Struct, frozen=True):
    """The figures of the items of one split with the same number of steps.

    Args:
        group: the split; "all" for the whole suite.
        steps: how many steps the items have; None for items of any number, or without steps.
        items: how many items.
        measures: by name. Steps of an item hang together, so an interval takes an item, not a step, as a trial.
        by_position: share of items whose first, second, ... step is done; none where no step was judged.
        answered: items that the model answered; of the others nothing is scored.
        cut: answers stopped at the token limit.
        mean_tokens: tokens an answer, None where they were not counted; mean_words: what stands between blanks.
        unscored_steps: steps of which nothing could be told, those of unscored items included.
        whole: whether they are of the whole suite, which has a line of its own where there are several.
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
    whole: bool = False


def whole_of(lines: Sequence[Figures]) -> Figures:
    """The line of the whole suite: where there is but one line, that."""
    return next((line for line in lines if line.whole), lines[-1])


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

    Raises:
        RecipeError: a scorer gave a measure that is beyond what it can be.
    """
    by_item = {one.item: one for one in scored}
    known = {item.id: len(item.steps) for item in items} | {
        item: steps for item, steps in (lengths or {}).items() if steps
    }
    splits: dict[tuple[str, int | None], list[Example]] = {}
    for item in items:
        splits.setdefault((str(item.meta.get(GROUP, "")), known[item.id] or None), []).append(item)
    groups = [*dict.fromkeys(group for group, _ in splits)]
    in_order = sorted(splits, key=lambda key: (groups.index(key[0]), key[1] or 0))
    lines = [_figures(*key, splits[key], answers, by_item, known) for key in in_order]
    counted = [item for item in items if not item.meta.get(ASIDE)]
    if len(lines) == 1:
        return lines
    return [*lines, msgspec.structs.replace(_figures(ALL, None, counted, answers, by_item, known), whole=True)]


def _figures(
    group: str,
    steps: int | None,
    items: Sequence[Example],
    answers: Mapping[str, Answer],
    scored: Mapping[str, Scored],
    lengths: Mapping[str, int],
) -> Figures:
    given = [answers[item.id] for item in items if item.id in answers]
    found = [scored.get(item.id, Scored(item.id, unscored="no answer")) for item in items]
    names = dict.fromkeys(name for one in found for name in one.measures)
    rows = _rows(found, lengths)
    counted = [answer.tokens for answer in given if answer.tokens is not None]
    return Figures(
        group=group,
        steps=steps,
        items=len(items),
        measures={name: _measure(name, found, lengths) for name in names},
        by_position=tuple([_position(rows, i) for i in range(max(map(len, rows), default=0))]),
        answered=len(given),
        cut=sum(answer.cut for answer in given),
        mean_tokens=sum(counted) / len(counted) if counted else None,
        mean_words=sum(len(answer.text.split()) for answer in given) / len(given) if given else 0.0,
        unscored_steps=sum(row.count(None) for row in rows),
    )


def _rows(found: Sequence[Scored], lengths: Mapping[str, int]) -> list[list[bool | None]]:
    """Whether each step of each item is done; of an unscored item, each of its steps is open.

    Where nobody said how many steps an item has, it has as many as the others, if these are alike.
    """
    judged = {len(one.steps) for one in found if one.steps}
    if not judged:
        return []
    usual = judged.pop() if len(judged) == 1 else 0
    return [[verdict.done for verdict in one.steps] or [None] * (lengths.get(one.item) or usual) for one in found]


def _measure(name: str, found: Sequence[Scored], lengths: Mapping[str, int]) -> Measure:
    made = measure(name, [_value(one, name) for one in found if is_of_figure(name, one, lengths.get(one.item))])
    return _with_open_steps(made, found) if name == "soft" else made


def is_of_figure(name: str, one: Scored, steps: int | None) -> bool:
    """Whether an item counts for a measure: all do, but no order can be told of one step, nor of an answer's one part.

    Args:
        name: of the measure.
        one: the item, scored.
        steps: how many it has, where that is known.
    """
    if name != "order":
        return True
    if one.measures.get("order") is not None or not one.steps:
        return steps != 1
    return sum(step.found is not None and (step.done is True or step.check != JUDGE) for step in one.steps) > 1


def _with_open_steps(made: Measure, found: Sequence[Scored]) -> Measure:
    """The share of steps with the bounds that steps of which nothing could be told leave it."""
    rows = [[step.done for step in one.steps] for one in found if one.measures.get("soft") is not None]
    partly = [row for row in rows if None in row]
    if not partly or made.worst is None or made.best is None:
        return made
    items = made.of + made.unscored
    told = [
        (row.count(True) / len(row), row.count(True) / (len(row) - row.count(None)), 1 - row.count(False) / len(row))
        for row in partly
    ]
    down, up = sum(share - low for low, share, _ in told), sum(high - share for _, share, high in told)
    return msgspec.structs.replace(
        made, partly=len(partly), worst=max(0.0, made.worst - down / items), best=min(1.0, made.best + up / items)
    )


def _ends(name: str) -> tuple[float, float]:
    return QUALITY if name == "quality" else SHARE


def _value(one: Scored, name: str) -> float | None:
    value, (low, high) = one.measures.get(name), _ends(name)
    if value is None or low <= value <= high:
        return value
    raise RecipeError(
        f"the scorer's measure {name!r} of item {one.item!r} is {value:g}, which is not between {low:g} and {high:g}",
        fix="divide it in the scorer by the most that it can be, or give None where it cannot be told",
    )


def measure(name: str, values: Sequence[float | None]) -> Measure:
    """A measure of items, None for those of which it could not be told.

    Args:
        name: of the measure; `quality` runs from 1 to 5, all others from 0 to 1.
        values: one an item.
    """
    return mean_of(values, *_ends(name))


def _position(rows: Sequence[Sequence[bool | None]], place: int) -> Measure:
    column = [row[place] for row in rows if place < len(row)]
    return measure("", [None if done is None else float(done) for done in column])
