"""What a program can say of an answer: which steps it does, and whether it does them in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from seqtune.building import style
from seqtune.building.gold import Skip, find_operation, same_text
from seqtune.data.example import Step, Verdict

_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)]|[Ss]tep \d{1,2}[.:])\s+")
# What is no result: "Reversed words:", "**Step 1:**", "1.", a heading, a fence; or all bold, which a result may be too.
_LABEL = re.compile(r"(?:[^\n]{0,200}[:：][*_`]{0,3}|#{1,6}\s[^\n]*|[-*•]|\(?\d{1,2}[.)]|`{3}\w*)")
_BOLD = re.compile(r"(?:[-*•]\s+|\d{1,2}[.)]\s+)?\*\*[^*\n]+\*\*")


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

    A line counts, or what follows a number, a bullet or a colon in it, and only after the line of the step before. No
    line counts unless there are about as many as steps: who writes all that could be right has given no answer. Not
    counted are empty lines, labels on a line of their own, an introduction and a closing line.

    Args:
        steps: with their right results; one that no program can check is not told.
        answer: the model's text, which may be anything.
    """
    whole = [line.strip() for line in answer.splitlines()]
    lines = [line for line in whole if line and not _LABEL.fullmatch(line)]
    without_bold = [line for line in lines if not _BOLD.fullmatch(line)]
    kept = [part for some in (lines, without_bold) for part in _without_talk(some, len(steps))]
    return max([_found_in(some, steps) for some in kept], key=lambda found: sum(one.done is True for one in found))


def _without_talk(lines: list[str], steps: int) -> list[list[str]]:
    """The lines without what is too many: one is an introduction or a closing line, two are both, of more none counts.

    Returns:
        Lines, no more than there are steps, in as many ways as they can be read.
    """
    readings = {1: [lines[1:], lines[:-1]], 2: [lines[1:-1]]}
    return [lines] if len(lines) <= steps else readings.get(len(lines) - steps, [[]])


def _found_in(lines: Sequence[str], steps: Sequence[Step]) -> tuple[Checked, ...]:
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
    that is rewarded so would learn to leave it out. Steps after the row's own task work on its answer: where that is
    not checked, they are compared with what they make of the answer that stands there, not of the row's.
    """
    if not any(map(is_checkable, steps)):
        return None
    found = check_steps(_on_own_answer(steps, answer), answer)
    judged = [bool(done) for done, part in found if done is not None or not part]
    return sum(judged) / len(judged)


def _on_own_answer(steps: Sequence[Step], answer: str) -> list[Step]:
    """The steps with the results that those after an unchecked own task have on the answer to it."""
    own = next((i for i, step in enumerate(steps) if step.kind == "seed" and not is_checkable(step)), None)
    said = None if own is None else style.split(answer, [step.mark for step in steps])[own]
    if own is None or not said or same_text(said, steps[own].expected or ""):
        return list(steps)
    return [_redone(step, said) if step.kind == "after" and is_checkable(step) else step for step in steps]


def _redone(step: Step, text: str) -> Step:
    try:
        result = find_operation(step.check).run(text, **step.args)
    except (ArithmeticError, LookupError, ValueError):  # its arguments were drawn for another text
        return step
    return step if isinstance(result, Skip) else structs.replace(step, expected=result)


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
