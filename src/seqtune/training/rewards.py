"""Rewards: what an answer that the model tries is worth, and the rows on which a program can tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from seqtune.building.checking import is_checkable, share_in_order
from seqtune.data.example import Example
from seqtune.errors import DataError
from seqtune.training.pairs import first_reason, split_row
from seqtune.training.rows import Rendered, TooLong, render_whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Question(NamedTuple):
    """A row to be answered by trial.

    Args:
        example: with the steps that a program checks.
        prompt: its token ids.
        answer_ids: those of the right answer, the end token included.
    """

    example: Example
    prompt: list[int]
    answer_ids: list[int]

    @property
    def id(self) -> str:
        """Of the row."""
        return self.example.id

    @property
    def answer(self) -> int:
        """Tokens of the right answer."""
        return len(self.answer_ids)

    @property
    def length(self) -> int:
        """Tokens of the prompt with its right answer."""
        return len(self.prompt) + self.answer


def step_reward(example: Example, answer: str, *, ended: bool) -> float:
    """Share of the row's checkable steps that the answer does in order, from 0 to 1: see `share_in_order`.

    An answer that does not end is worth nothing: in use it would run on to the limit. A step that no program can check,
    such as the row's own task, counts as done by any text in its place.
    """
    return (share_in_order(example.steps, answer) or 0.0) if ended else 0.0


def render_questions(
    examples: Iterable[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    too_long: TooLong = "drop",
    strict: bool = False,
    longest: int | None = None,
) -> Rendered[Question]:
    """A question for each row with a step that a program can check; the others with the reason.

    Args:
        examples: rows with steps and their expected results.
        tokenizer: with the chat template that the model is trained and asked with.
        max_length: tokens of the longest prompt with its right answer.
        too_long: "drop" leaves a longer one out, "error" raises.
        strict: raise in place of leaving any row out.
        longest: tokens after which a try is stopped; a row whose right answer has more could never be rewarded.

    Raises:
        DataError: no row has a step that a program can check, or one that may not be left out has none.
    """
    found = render_whole(
        examples,
        lambda example: _question(example, tokenizer, longest),
        max_length=max_length,
        too_long=too_long,
        strict=strict,
    )
    if not found.rows:
        raise DataError(
            f"no row can be rewarded{first_reason(found.unused)}",
            fix="give rows with checkable steps, e.g. those of `seqtune build --chain operations`, and room to answer",
        )
    return found


def unchecked_tasks(questions: Iterable[Question]) -> int:
    """How many questions have a part that counts as done whatever stands in its place."""
    return sum(not all(map(is_checkable, question.example.steps)) for question in questions)


def _question(example: Example, tokenizer: PreTrainedTokenizerBase, longest: int | None) -> Question:
    if example.turns:
        raise DataError("the row is a dialogue, whose parts stand in several turns")
    if not any(map(is_checkable, example.steps)):
        raise DataError("no step of the row can be checked by a program")
    if share_in_order(example.steps, example.output) != 1.0:
        raise DataError("the row's own answer does not do every step in order")
    prompt, answer = split_row(example, tokenizer)
    if longest and len(answer) > longest:
        what = f"the right answer has {len(answer)} tokens, and tries are stopped after {longest}"
        raise DataError(what, fix="raise max_new_tokens, or leave it out")
    return Question(example, prompt, answer)
