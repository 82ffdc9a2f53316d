"""The suite `seqeval`: the paper's 805 prompts that ask for several tasks in order (arXiv 2403.07794, section 4).

The prompts are read where the user has them and are no part of this package: some of the seeds that they grew from
may not be used commercially.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xxhash
from msgspec import structs

from seqtune.data.example import Example
from seqtune.errors import RecipeError
from seqtune.evaluation.suite import GROUP, LONG, Suite, suite
from seqtune.evaluation.suites.prompts import OWN_ID, prompt_items
from seqtune.evaluation.tasks.items import Rows, size_note, without_repeats

ROUND = "iteration"  # the column that says how many rounds a prompt went through
SIZE = 804
NOT_IN_DATA = "not in the file"
# Of the 804 prompts that are not empty, with their rounds, in order: the same for a copy in another kind of file.
PUBLISHED = "b87045a0091c1839e8ac6102c328305a"


@suite("seqeval")
def seqeval(data: str | Path | None = None, *, rows: Rows | None = None) -> Suite:
    """The prompts of SeqEval, in the order of their construction rounds, or any that `seqtune eval build-seqeval` made.

    Args:
        data: seqEval.json, a copy of it as any kind of file, or a dataset of the hub ("owner/name:split").
        rows: rows that somebody's model answered: the items are their prompts, in their order. With data the items are
            all of its prompts, and behind them those that are not in it, as a split of their own; where these are the
            most, only those of its prompts that are answered.

    Raises:
        RecipeError: neither is given.
        DataError: the source cannot be read, or no row of it holds a prompt.
    """
    if data is None and rows is None:
        raise RecipeError(
            "the prompts of SeqEval are not part of seqtune",
            fix="give --data seqEval.json (from github.com/hanxuhu/SeqIns), or --data OWNER/NAME:SPLIT on the hub",
        )
    items, notes = _read(str(data)) if data is not None else ([], [])
    notes += _strange(items) if items else []
    items.sort(key=lambda item: (len(item.meta[GROUP]), item.meta[GROUP]))
    if rows is not None:
        items, more = _with_rows(items, rows)
        notes += more
    return Suite("seqeval", tuple(items), scorer="", max_new_tokens=2 * LONG, notes=tuple(notes))


def _with_rows(items: list[Example], rows: Rows) -> tuple[list[Example], list[str]]:
    """All items of the data and behind them the prompts of rows that are not in it; of rows alone, theirs."""
    asked, notes = _read(rows)
    if not items:
        found = asked if len(asked) == SIZE else without_repeats(asked)
        return found, [*notes, *size_note(found, None, SIZE)]
    known = {one.instruction for one in items}
    others = [one for one in asked if one.instruction not in known]
    if others:
        notes.append(f"{len(others):,} of {len(asked):,} prompts are not in the data: their split is {NOT_IN_DATA!r}")
    strangers = [structs.replace(one, meta=one.meta | {GROUP: NOT_IN_DATA}) for one in without_repeats(others)]
    if 2 * len(others) > len(asked):  # answers to another collection, which nobody expects to hold all of this one
        wanted = {one.instruction for one in asked}
        items = [one for one in items if one.instruction in wanted]
        notes.append("most prompts are not in the data: those of the data that no row answers are left out")
    return items + strangers, notes


def _read(source: str | Rows) -> tuple[list[Example], list[str]]:
    items, notes = prompt_items(source, answered=True)
    return [_grouped(item) for item in items], notes


def _grouped(item: Example) -> Example:
    """The item with its round as its split, and no other column but its own id."""
    number = item.meta.get(ROUND)
    group = "" if number in (None, "") else f"round {number}"
    own = {OWN_ID: item.meta[OWN_ID]} if OWN_ID in item.meta else {}
    return structs.replace(item, meta={GROUP: group} | own)


def _strange(items: Sequence[Example]) -> list[str]:
    """A note where the prompts are not the published ones."""
    if (found := content_hash(items)) == PUBLISHED:
        return []
    return [f"these are not the published prompts: {len(items):,} with checksum {found}, and not 804 with {PUBLISHED}"]


def content_hash(items: Sequence[Example]) -> str:
    """The same for the same prompts with the same rounds in the same order, whatever file they stand in."""
    return xxhash.xxh3_128_hexdigest("\n".join(f"{item.id} {item.meta[GROUP]}" for item in items).encode())
