"""Rewards: what an answer that the model tries is worth, and the rows on which a program can tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from seqtune.building.checking import is_checkable, share_in_order
from seqtune.data.example import Example
from seqtune.errors import DataError
from seqtune.training.pairs import first_reason, split_row
from seqtune.training.rows import Unused

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Question(NamedTuple):
    """A row to be answered by trial.

    Args:
        example: with the steps that a program checks.
        prompt: its token ids.
        answer: tokens of the right answer, the end token included.
    """

    example: Example
    prompt: list[int]
    answer: int


def step_reward(example: Example, answer: str, *, ended: bool) -> float:
    """Share of the row's checkable steps that the answer does in order, from 0 to 1: see `share_in_order`.

    An answer that does not end is worth nothing: in use it would run on to the limit.
    """
    return (share_in_order(example.steps, answer) or 0.0) if ended else 0.0


def render_questions(
    examples: Iterable[Example], tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> tuple[list[Question], list[Unused]]:
    """A question for each row with a step that a program can check; the others with the reason.

    Args:
        examples: rows with steps and their expected results.
        tokenizer: with the chat template that the model is trained and asked with.
        max_length: tokens of the longest prompt with its right answer.

    Raises:
        DataError: no row has a step that a program can check.
    """
    questions: list[Question] = []
    unused: list[Unused] = []
    for example in examples:
        made = _question(example, tokenizer)
        if isinstance(made, str):
            unused.append(Unused(example.id, made, instruction=example.instruction[:80]))
        elif (length := len(made.prompt) + made.answer) > max_length:
            unused.append(Unused(example.id, f"longer than {max_length} tokens", length, example.instruction[:80]))
        else:
            questions.append(made)
    if not questions:
        raise DataError(
            f"no row can be rewarded{first_reason(unused)}",
            fix="give rows with checkable steps, e.g. those of `seqtune build --chain operations`",
        )
    return questions, unused


def _question(example: Example, tokenizer: PreTrainedTokenizerBase) -> Question | str:
    if example.turns:
        return "the row is a dialogue, whose parts stand in several turns"
    if not any(map(is_checkable, example.steps)):
        return "no step of the row can be checked by a program"
    if share_in_order(example.steps, example.output) != 1.0:
        return "the row's own answer does not do every step in order"
    try:
        prompt, answer = split_row(example, tokenizer)
    except DataError as error:
        return error.what
    return Question(example, prompt, len(answer))
