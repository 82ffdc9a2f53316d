"""What a program can say of an answer: which steps it does, and whether it does them in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from seqtune.building import style
from seqtune.building.gold import find_operation
from seqtune.data.example import Step, Verdict

_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)]|[Ss]tep \d{1,2}[.:])\s+")


class Checked(NamedTuple):
    """One step of an answer.

    Args:
        done: None where no check can tell (which is never counted as not done).
        part: the step's part of the answer; None where it is missing, which is not done.
    """

    done: bool | None
    part: str | None


def check_steps(steps: Sequence[Step], answer: str) -> tuple[Checked, ...]:
    """Check an answer step by step. A part counts only after the part of the step before it, so order is checked too.

    Args:
        steps: with the marks that their parts stand behind.
        answer: the model's text, which may be anything.
    """
    parts = style.split(answer, [step.mark for step in steps])
    return tuple([Checked(is_done(step, part), part) for step, part in zip(steps, parts, strict=True)])


def check_lines(steps: Sequence[Step], answer: str) -> tuple[Checked, ...]:
    """Check an answer whose parts bear no marks, or others than the steps': by lines that hold the right results.

    A line counts, or what follows a number, a bullet or a colon in it, and only after the line of the step before.

    Args:
        steps: with their right results; one that no program can check is not told.
        answer: the model's text, which may be anything.
    """
    lines = answer.splitlines()
    found: list[Checked] = []
    at = 0
    for step in steps:
        place = next((i for i in range(at, len(lines)) if _holds(lines[i], step)), None) if is_checkable(step) else None
        found.append(
            Checked(place is not None if is_checkable(step) else None, None if place is None else lines[place])
        )
        at = at if place is None else place + 1
    return tuple(found)


def _holds(line: str, step: Step) -> bool:
    same, expected = find_operation(step.check).same, step.expected or ""
    bare = _LIST_MARK.sub("", line.replace("**", "").replace("`", "")).strip()
    return any(same(one, expected) for one in (line.strip(), bare, bare.partition(":")[2].strip()) if one)


def is_done(step: Step, part: str | None) -> bool | None:
    """Whether a part of an answer is the step's right result; None for a step that no program can check."""
    if not is_checkable(step):
        return None
    return part is not None and find_operation(step.check).same(part, step.expected or "")


def is_checkable(step: Step) -> bool:
    """Whether a program knows the step's right result and how to compare with it."""
    return bool(step.check) and step.expected is not None


def share_in_order(steps: Sequence[Step], answer: str) -> float | None:
    """Share of the checkable steps that an answer does, each in its place; None where there are none.

    A step that no program can check counts only where nothing stands in its place: then it is not done. Else a model
    that is rewarded so would learn to leave it out.
    """
    if not any(map(is_checkable, steps)):
        return None
    judged = [bool(done) for done, part in check_steps(steps, answer) if done is not None or not part]
    return sum(judged) / len(judged)


def find_result(step: Step, answer: str) -> Verdict | None:
    """Whether the step's right result stands anywhere in an answer: for free text, whose parts have no marks.

    The whole answer counts, a line of it, or what follows a colon in a line; order is not looked at.

    Returns:
        The verdict with its evidence; None for a step that no program can check.
    """
    if not is_checkable(step):
        return None
    same, expected = find_operation(step.check).same, step.expected or ""
    for line in [answer, *answer.splitlines()]:
        value = line.partition(":")[2] or line
        if same(line, expected) or same(value, expected):
            return Verdict(True, line.strip())
    return Verdict(False, f"no line is {expected!r}")
