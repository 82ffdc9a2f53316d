"""The suite `prompts`: any prompts, to be answered as they stand; what an answer must do, a judge's checklist says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec import structs

from seqtune.data.example import Example
from seqtune.data.failure import Failure
from seqtune.data.reader import rows as read_rows
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.suite import LONG, Suite, suite
from seqtune.evaluation.tasks.items import ASKED_COLUMNS, Rows

KEPT = ("id", "group", "iteration")  # of the rows that somebody answered, beside what they ask
OWN_ID = "id"  # the column of `meta` that an item's id is made of as well


@suite("prompts")
def prompts(data: str | Path | None = None, *, rows: Rows | None = None) -> Suite:
    """Prompts of any format that seqtune reads, an item each, twice where a prompt stands there twice.

    Args:
        data: a file, or a dataset of the hub ("owner/name:split"); its outputs stay with the items, as references.
        rows: where there is none, rows that somebody's model answered already; their outputs are no part of the items.

    Raises:
        RecipeError: neither is given.
        DataError: the source cannot be read, or no row of it holds a prompt.
    """
    if data is None and rows is None:
        fix = "give --data FILE, or --responses FILE with what was asked"
        raise RecipeError("the suite 'prompts' has no prompts of its own", fix=fix)
    items, notes = prompt_items(rows, answered=True) if data is None and rows is not None else prompt_items(str(data))
    return Suite("prompts", tuple(items), scorer="", max_new_tokens=2 * LONG, notes=tuple(notes))


def prompt_items(source: str | Rows, *, answered: bool = False) -> tuple[list[Example], list[str]]:
    """The prompts of a source, told apart from each other, and a note for every row that is none.

    Args:
        source: what `seqtune.read` takes.
        answered: the outputs are a model's answers, and not what is right.

    Raises:
        DataError: the source cannot be read, or no row of it holds a prompt.
    """
    found, notes, times = list[Example](), list[str](), Counter[str]()
    for row in read_rows(source) if isinstance(source, str) else _read_answered(source):
        if why := _unfit(row):
            notes.append(why)
        elif isinstance(row, Example):
            found.append(told_apart(structs.replace(row, output="") if answered else row, times))
    if not found:
        where = source if isinstance(source, str) else "rows"
        raise DataError("no row holds a prompt", where=where, fix="name the prompts' column 'instruction'")
    return found, notes


def _read_answered(given: Rows) -> Iterator[Example | Failure]:
    """Rows that somebody answered: by the columns that ask, where they are texts, whatever else a row holds."""
    asking = [next((name for name in ASKED_COLUMNS if row.get(name)), "") for row in given]
    if not any(asking) or any(name and not isinstance(row[name], str) for name, row in zip(asking, given, strict=True)):
        return read_rows(given)
    # What was said of an answer is no part of its prompt, and must not be taken for a column of a format.
    kept = ("input", "system", *KEPT)
    return read_rows(
        [
            {"instruction": row.get(name, "")} | {column: row[column] for column in kept if column in row}
            for name, row in zip(asking, given, strict=True)
        ],
        format="prompts",
    )


def _unfit(row: Example | Failure) -> str:
    """Why a row is no item, "" where it is one."""
    if isinstance(row, Failure):
        # Counted from 1 as everywhere here; people who count from 0 (the paper's row 547) are told so.
        return f"row {row.row} (row {row.row - 1} counted from 0) is no item: {row.reason}"
    place = row.origin[0].row if row.origin else 0
    return f"row {place} is no item: a dialogue, whose answers stand in many turns" if row.turns else ""


def told_apart(one: Example, times: Counter[str]) -> Example:
    """The same Example; where an equal one came before, with an id of its own.

    Args:
        times: how often each id came so far; counts along.
    """
    times[one.id] += 1
    if (number := times[one.id]) == 1:
        return one
    return structs.replace(one, meta=one.meta | {OWN_ID: f"{one.meta.get(OWN_ID, '')}#{number}"})
