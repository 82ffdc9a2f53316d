"""Examples become rows to train on; those that cannot are listed with the reason, and none is cut in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

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


class Sized(Protocol):
    """What is rendered from one example, as a whole or not at all."""

    @property
    def length(self) -> int:
        """Tokens of its longest text."""


R = TypeVar("R")
S = TypeVar("S", bound=Sized)


@dataclass(frozen=True)
class Rendered(Generic[R]):
    """Rows to train on (or pairs, or questions), the example of each, and what was left out."""

    rows: list[R] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)

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
) -> Rendered[Row]:
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
    found = Rendered[Row]()
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
        what = f"none of the {len(examples)} rows can be trained on; the first: {first.reason} ({first.id})"
        raise DataError(what, fix="look at them with seqtune preview; give rows with answers, or mend what it names")
    return found


def render_whole(
    examples: Iterable[Example],
    make: Callable[[Example], S],
    *,
    max_length: int,
    too_long: TooLong = "drop",
    strict: bool = False,
) -> Rendered[S]:
    """Every example ends as one thing to train on, or as unused with the reason.

    Args:
        examples: what to render.
        make: renders one, and raises DataError for one that is of no use.
        max_length: tokens of the longest text.
        too_long: "drop" leaves a longer one out, "error" raises.
        strict: raise in place of leaving any out.

    Raises:
        DataError: an example that may not be left out.
    """
    found = Rendered[S]()
    for example in examples:
        try:
            made = make(example)
        except DataError as error:
            _leave_out(found, example, DataError(error.what, where=f"row {example.id}", fix=error.fix), strict)
            continue
        if made.length > max_length:
            too_much = _too_long(example, max_length, made.length)
            _leave_out(found, example, too_much, strict, made.length, too_long)
            continue
        found.rows.append(made)
        found.examples.append(example)
    return found


def _too_long(example: Example, limit: int, length: int) -> DataError:
    fix = f"it has {length}: raise max_length, shorten the row"
    return DataError(f"the row has more than {limit} tokens", where=f"row {example.id}", fix=fix)


def _leave_out(
    found: Rendered[Any],
    example: Example,
    error: DataError,
    strict: bool,
    tokens: int = 0,
    too_long: TooLong = "drop",
) -> None:
    bars = ["set strict to false"] * strict + ["set too_long to 'drop'"] * (too_long == "error")
    if bars:
        fix = f"{error.fix or 'mend the row'}, or {' and '.join(bars)}"
        raise DataError(error.what, where=error.where, fix=fix)
    found.unused.append(Unused(example.id, error.what, tokens, shorten(example.instruction)))


def _shortened(
    rows: Sequence[Row], example: Example, limit: int, too_long: TooLong, strict: bool, found: Rendered[Row]
) -> list[Row]:
    """What is kept of a row that is too long; notes what is not."""
    longest = max(len(row.ids) for row in rows)
    error = _too_long(example, limit, longest)
    kept = list(_cut(rows, limit)) if too_long == "split" else []
    if not kept:
        _leave_out(found, example, error, strict, longest, too_long)
        return []
    turns, left = (sum(len(row.ends) for row in some) for some in (rows, kept))
    reason = f"{error.what}: {turns - left} of its {turns} answers are left out"
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
