"""What a teacher made of a row in one round, before the gates have looked at it."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from seqtune.data.example import Example, Step

Choice = Literal["decompose", "before", "after", "keep"]
CHOICES: tuple[Choice, ...] = get_args(Choice)


class Draft(msgspec.Struct, frozen=True):
    """One row's next form.

    Args:
        row: the row as it was before this round.
        choice: what the teacher chose to do with it: split its task in two, put a task before or after it, or keep it.
        instruction: the new instruction; the row's input, system prompt and images stay as they are.
        steps: the new instruction's tasks in order; the row's own tasks among them keep their kind "seed".
        output: the teacher's answer to the new instruction, "" before it was asked.
    """

    row: Example
    choice: Choice
    instruction: str
    steps: tuple[Step, ...]
    output: str = ""
