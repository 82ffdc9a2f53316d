"""From answers to verdicts, a step at a time, and from verdicts to shares by number of steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from seqtune.building.checking import check_steps
from seqtune.building.gold import same_text
from seqtune.data.example import Example
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.statistics import Share, share
from seqtune.evaluation.suite import GROUP


class Verdict(msgspec.Struct, frozen=True):
    """Whether one step of one item was done: a line of verdicts.jsonl.

    Args:
        item: id of the item.
        step: its place, counted from 1.
        check: what decided.
        done: None where no check can tell (which is never counted as not done).
        found: the step's part of the answer; None where it is missing, which is not done.
        expected: the right part.
    """

    item: str
    step: int
    check: str
    done: bool | None
    found: str | None
    expected: str | None


class Scored(NamedTuple):
    """One item with its answer, a verdict a step, and whether the whole answer is exactly the right one."""

    item: Example
    answer: Answer
    verdicts: tuple[Verdict, ...]
    exact: bool


class Figures(msgspec.Struct, frozen=True):
    """The figures of the items of one split with the same number of steps.

    Args:
        group: the split.
        steps: how many steps the items have.
        items: how many items.
        exact: items whose whole answer is right, character by character but for blanks at line ends.
        all_steps: items whose every step is done, whatever else the answer holds; only items with all steps scored.
        per_step: steps done. Steps of an item hang together, so the interval takes an item, not a step, as a trial.
        by_position: the same for the first, the second, ... step.
        unscored: steps that no check can judge.
        cut: answers stopped at the token limit.
        mean_tokens: tokens an answer.
    """

    group: str
    steps: int
    items: int
    exact: Share
    all_steps: Share
    per_step: Share
    by_position: tuple[Share, ...]
    unscored: int
    cut: int
    mean_tokens: float


def score(item: Example, answer: Answer) -> Scored:
    """Check an answer step by step; a missing part is a step not done, never an error."""
    checked = check_steps(item.steps, answer.text)
    verdicts = tuple(
        [
            Verdict(item.id, place, step.check, found.done, found.part, step.expected)
            for place, (step, found) in enumerate(zip(item.steps, checked, strict=True), 1)
        ]
    )
    return Scored(item, answer, verdicts, same_text(answer.text, item.output))


def figures(scored: Iterable[Scored]) -> list[Figures]:
    """One line for each split and number of steps, in the order in which they come."""
    splits: dict[tuple[str, int], list[Scored]] = {}
    for one in scored:
        key = (str(one.item.meta.get(GROUP, "")), len(one.item.steps))
        splits.setdefault(key, []).append(one)
    return [_figures(group, steps, ones) for (group, steps), ones in splits.items()]


def _figures(group: str, steps: int, scored: Sequence[Scored]) -> Figures:
    rows = [[verdict.done for verdict in one.verdicts] for one in scored]
    whole = [row for row in rows if None not in row]
    judged = [[done for done in row if done is not None] for row in rows]
    judged = [row for row in judged if row]
    columns = [[row[i] for row in rows if row[i] is not None] for i in range(steps)]
    return Figures(
        group=group,
        steps=steps,
        items=len(scored),
        exact=share(sum(one.exact for one in scored), len(scored)),
        all_steps=share(sum(all(row) for row in whole), len(whole)),
        per_step=share(sum(sum(row) / len(row) for row in judged), len(judged)),
        by_position=tuple([share(sum(map(bool, column)), len(column)) for column in columns]),
        unscored=sum(row.count(None) for row in rows),
        cut=sum(one.answer.cut for one in scored),
        mean_tokens=sum(one.answer.tokens for one in scored) / len(scored),
    )
