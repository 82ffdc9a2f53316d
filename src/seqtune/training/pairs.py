"""Preference pairs: a row's right answer, and the same answer with a step dropped or added, swapped or merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from seqtune.building.damage import STEP_DAMAGES, spoil
from seqtune.building.gold import Skip
from seqtune.data.example import Example
from seqtune.errors import DataError
from seqtune.training.rendering import IGNORED, training_row
from seqtune.training.rows import Rendered, TooLong, Unused, render_whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Pair(NamedTuple):
    """One prompt and two answers to it, each with its end token and nothing after it.

    Args:
        row: its id.
        kind: what was done to the rejected answer.
        prompt, chosen, rejected: token ids; prompt + answer is what the model sees.
    """

    row: str
    kind: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def id(self) -> str:
        """Of the row and what was done to it."""
        return f"{self.row}/{self.kind}"

    @property
    def length(self) -> int:
        """Tokens of the longer of the two."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


def render_pairs(
    examples: Iterable[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    max_length: int,
    too_long: TooLong = "drop",
    strict: bool = False,
    kinds: Sequence[str] = STEP_DAMAGES,
) -> Rendered[Pair]:
    """A pair for each row that bears one; the others with the reason.

    Args:
        examples: rows whose outputs are right, e.g. what a build with the chain "operations" wrote. A row of fewer than
            two steps bears no damage of steps but "add_step".
        tokenizer: with the chat template that the model is trained and asked with.
        seed: draws what is done to each row, together with the row's id.
        max_length: tokens of the longest prompt with answer; none is cut.
        too_long: "drop" leaves a longer one out, "error" raises.
        strict: raise in place of leaving any row out.
        kinds: what may be done to the rejected answers: names of damages.

    Raises:
        DataError: no row bears a pair, or one that may not be left out does not.
    """
    found = render_whole(
        examples,
        lambda example: _pair(example, tokenizer, seed, kinds),
        max_length=max_length,
        too_long=too_long,
        strict=strict,
    )
    if not found.rows:
        raise DataError(
            f"no row bears a preference pair{first_reason(found.unused)}",
            fix="give rows of two steps or more, e.g. those of `seqtune build --chain operations`, or allow add_step",
        )
    return found


def _pair(example: Example, tokenizer: PreTrainedTokenizerBase, seed: int, kinds: Sequence[str]) -> Pair:
    damaged = spoil(example, seed=seed, kinds=kinds)
    if isinstance(damaged, Skip):
        raise DataError(damaged.reason)
    prompt, chosen = split_row(example, tokenizer)
    if not damaged.answer.strip():  # no answer that could be trained on, yet one that a model may give: its end
        return Pair(example.id, damaged.kind, prompt, chosen, chosen[-1:])
    same_prompt, rejected = split_row(structs.replace(example, output=damaged.answer), tokenizer)
    if same_prompt != prompt:
        raise DataError("the chat template writes the prompt differently for another answer")
    return Pair(example.id, damaged.kind, prompt, chosen, rejected)


def split_row(example: Example, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """A row of one exchange as the ids of its prompt and those of its answer, the end token included.

    Raises:
        DataError: the row has no answer, or cannot be rendered.
    """
    row = training_row(example, tokenizer)
    start = next(i for i, label in enumerate(row.labels) if label != IGNORED)
    return row.ids[:start], row.ids[start:]


def first_reason(unused: Sequence[Unused]) -> str:
    """Why rows were left out, by the first of them, as the end of a message."""
    return f": {unused[0].reason}" if unused else ", because there is none"
