"""Which part of an instruction asks for which step, and which part of an answer does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from seqtune.building.style import split
from seqtune.data.example import Example, Step

LONGEST_PART = 320  # characters of one part shown in a page
CLOSINGS = ".?! "


class Segment(NamedTuple):
    """A piece of text that belongs to one step (counted from 1), or to none (0).

    Args:
        text: the piece; where `cut` is above 0, its beginning.
        step: the step's number.
        mark: what stands before it in an answer: "1.", "Word count:".
        cut: how many characters are left out after `text`.
        tail: what comes after the cut.
    """

    text: str
    step: int = 0
    mark: str = ""
    cut: int = 0
    tail: str = ""


class Message(NamedTuple):
    """One side of an exchange: who speaks, and what, by step; None where the role says all."""

    role: str
    segments: Sequence[Segment] | None


def show_row(example: Example) -> list[Message]:
    """A row as messages whose pieces know their steps: the instruction, the input, the answer; or the turns."""
    if example.turns:
        return _show_turns(example)
    shown = [Message("system", shorten_segments([Segment(example.system)]))] if example.system else []
    shown.append(Message("instruction", find_asks(example.instruction, example.steps)))
    if example.images:
        names = [image.path or f"{len(image.data):,} bytes" for image in example.images]
        shown.append(Message("images", [Segment(", ".join(names))]))
    if example.input:
        shown.append(Message("input", shorten_segments([Segment(example.input)])))
    shown.append(Message("answer", find_answers(example.output, example.steps)))
    return shown


def show_parent(parent: Example, row: Example) -> list[Message]:
    """The row before: what became a step of `row` has that step's number, where it is there word for word."""
    own = {i: step for i, step in enumerate(row.steps, 1) if step.kind == "seed" and not step.check}
    shown = show_row(msgspec.structs.replace(parent, steps=()))
    if len(own) != 1 or parent.turns:
        return shown
    [(number, step)] = own.items()
    same = {"instruction": parent.instruction.strip() == step.text.strip(), "answer": parent.output == step.expected}
    return [
        Message(role, [segment._replace(step=number) for segment in segments or ()] if same.get(role) else segments)
        for role, segments in shown
    ]


def _show_turns(example: Example) -> list[Message]:
    answers = [turn for turn in example.turns if turn.role == "assistant"]
    by_turn = len(answers) == len(example.steps)  # a dialogue that `converse` made: a turn a task
    shown: list[Message] = []
    step = 0
    for turn in example.turns:
        text = as_text(turn.content)
        if turn.role == "assistant":
            step += 1
            segments = [Segment(text, step if by_turn else 0)]
        else:
            segments = find_asks(text, example.steps)
        shown.append(Message(turn.role, shorten_segments(segments)))
    return shown


def as_text(content: str | list[Any] | None) -> str:
    """The text of a message; a part that is no text by its type: "[image_url]"."""
    if not isinstance(content, list):
        return content or ""
    parts = [part if isinstance(part, dict) else {"text": str(part)} for part in content]
    return "\n".join(str(part.get("text") or f"[{part.get('type', 'part')}]") for part in parts)


def find_asks(text: str, steps: Sequence[Step]) -> list[Segment]:
    """The text cut where the steps' wordings stand in it; a step whose wording is not there has no piece."""
    taken: list[tuple[int, int, int]] = []
    # The longest first: a short wording may stand inside a long one, never the other way round.
    for number, step in sorted(enumerate(steps, 1), key=lambda pair: -len(pair[1].text)):
        if place := _find_wording(text, step.text, taken):
            taken.append((*place, number))
    return shorten_segments(_cut_at(text, sorted(taken)))


def _find_wording(text: str, wording: str, taken: Sequence[tuple[int, int, int]]) -> tuple[int, int] | None:
    wording = wording.strip()
    for form in (wording, wording.rstrip(CLOSINGS)):
        if not form:
            continue
        first = f"[{re.escape(form[0].lower())}{re.escape(form[0].upper())}]" if form[0].isalpha() else ""
        pattern = first + re.escape(form[1:]) if first else re.escape(form)
        for match in re.finditer(pattern, text):
            if all(match.end() <= start or match.start() >= end for start, end, _ in taken):
                return match.span()
    return None


def find_answers(answer: str, steps: Sequence[Step]) -> list[Segment]:
    """The answer cut where each step's part stands in it; a part that is not there has no piece."""
    answer = answer.strip()
    if len(steps) == 1 and not steps[0].mark:
        return shorten_segments([Segment(answer, 1)])
    taken: list[tuple[int, int, int]] = []
    marks: dict[int, str] = {}
    after = 0
    for number, (step, part) in enumerate(zip(steps, _parts(answer, steps), strict=True), 1):
        if part is None:
            continue
        start = _find_mark(answer, step.mark, after)
        at = answer.find(part, start + len(step.mark))
        if start < 0 or at < 0:
            continue
        if not step.mark:
            start = at
        taken.append((start, at + len(part), number))
        marks[number] = step.mark
        after = at + len(part)
    segments = _cut_at(answer, taken)
    return shorten_segments([_without_mark(segment, marks.get(segment.step, "")) for segment in segments])


def _parts(answer: str, steps: Sequence[Step]) -> list[str | None]:
    written = [step.mark for step in steps]
    # Rows of others may mark some steps and not the rest: such an answer cannot be taken apart.
    return split(answer, written) if all(written) or not any(written) else [None] * len(steps)


def _find_mark(answer: str, mark: str, after: int) -> int:
    """Where a mark stands at the start of a line, as `style.split` wants it."""
    if not mark:
        return after
    found = re.compile(rf"^{re.escape(mark)}(?=\s|\Z)", re.MULTILINE).search(answer, after)
    return found.start() if found else -1


def _without_mark(segment: Segment, mark: str) -> Segment:
    return segment._replace(text=segment.text[len(mark) :], mark=mark) if mark else segment


def _cut_at(text: str, taken: Sequence[tuple[int, int, int]]) -> list[Segment]:
    segments: list[Segment] = []
    end = 0
    for start, stop, number in taken:
        segments += [Segment(text[end:start]), Segment(text[start:stop], number)]
        end = stop
    segments.append(Segment(text[end:]))
    return [segment for segment in segments if segment.text]


def shorten_segments(segments: Sequence[Segment], limit: int = LONGEST_PART) -> list[Segment]:
    """Each piece no longer than the limit, its middle left out and the left out characters counted."""
    return [_shorten(segment, limit) for segment in segments]


def _shorten(segment: Segment, limit: int) -> Segment:
    text = segment.text
    if len(text) <= limit * 1.2:  # to leave out a word or two helps nobody
        return segment
    head, tail = text[: limit * 3 // 4], text[-limit // 4 :]
    # End and start at a blank where one is near.
    head = head[:cut] if (cut := head.rfind(" ")) > limit // 2 else head
    tail = tail[cut + 1 :] if 0 <= (cut := tail.find(" ")) < limit // 8 else tail
    return segment._replace(text=head, cut=len(text) - len(head) - len(tail), tail=tail)
