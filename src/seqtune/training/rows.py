"""Examples become rows to train on; those that cannot are listed with the reason, and none is cut in silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from seqtune.data.example import Example
from seqtune.errors import DataError, shorten
from seqtune.training.rendering import Row, training_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TooLong = Literal["drop", "split", "error"]


class Unused(msgspec.Struct, frozen=True):
    """A row that was not trained on, or not on all of its answers, and why: a line of unused.jsonl.

    Args:
        id: of the row.
        reason: what is wrong with it.
        tokens: that it has, where it has too many.
        instruction: its beginning, for reading.
        turns: answers that were left out; 0 where the whole row was.
    """

    id: str
    reason: str
    tokens: int = 0
    instruction: str = ""
    turns: int = 0


class Rendered(NamedTuple):
    """Rows to train on, the example of each, and what was left out."""

    rows: list[Row]
    examples: list[Example]
    unused: list[Unused]

    @property
    def left_out(self) -> int:
        """Examples of which nothing is trained."""
        return sum(not line.turns for line in self.unused)


def render(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    too_long: TooLong = "drop",
    strict: bool = False,
) -> Rendered:
    """Every example ends as rows to train on, as unused with the reason, or, where it is split, as both.

    Args:
        examples: what to render.
        tokenizer: whose template is used.
        max_length: tokens of the longest row.
        too_long: "drop" leaves a longer row out, "split" keeps its first turns that fit, "error" raises.
        strict: raise in place of leaving any row out.

    Raises:
        DataError: nothing is left, or a row that may not be left out.
        RecipeError: a template that cannot be trained with.
    """
    found = Rendered([], [], [])
    for example in examples:
        try:
            rows = training_rows(example, tokenizer)
        except DataError as error:
            named = DataError(error.what, where=f"row {example.id}", fix=error.fix)
            _leave_out(found, example, named, strict)
            continue
        if max(len(row.ids) for row in rows) > max_length:
            rows = _shortened(rows, example, max_length, too_long, strict, found)
        found.rows.extend(rows)
        found.examples.extend([example] * len(rows))
    if not found.rows:
        first = found.unused[0]
        raise DataError(f"none of the {len(examples)} rows can be trained on; the first: {first.reason} ({first.id})")
    return found


def _leave_out(found: Rendered, example: Example, error: DataError, strict: bool, tokens: int = 0) -> None:
    if strict:
        raise error
    found.unused.append(Unused(example.id, error.what, tokens, shorten(example.instruction)))


def _shortened(
    rows: Sequence[Row], example: Example, limit: int, too_long: TooLong, strict: bool, found: Rendered
) -> list[Row]:
    """What is kept of a row that is too long; notes what is not."""
    longest = max(len(row.ids) for row in rows)
    what = f"the row has more than {limit} tokens"
    kept = list(_cut(rows, limit)) if too_long == "split" else []
    if not kept:
        fix = f"it has {longest}: raise max_length, shorten the row, or set too_long to 'drop'"
        error = DataError(what, where=f"row {example.id}", fix=fix)
        _leave_out(found, example, error, strict or too_long == "error", longest)
        return []
    turns, left = (sum(len(row.ends) for row in some) for some in (rows, kept))
    reason = f"{what}: {turns - left} of its {turns} answers are left out"
    found.unused.append(Unused(example.id, reason, longest, shorten(example.instruction), turns - left))
    return kept


def _cut(rows: Sequence[Row], limit: int) -> Iterator[Row]:
    """Each row up to the last answer that ends within the limit; up to the first row that has to be cut."""
    for row in rows:
        ends = [end for end in row.ends if end <= limit]
        if ends:
            yield Row(row.id, row.ids[: ends[-1]], row.labels[: ends[-1]])
        if len(ends) < len(row.ends):
            return
