"""The suite `seqeval`: the paper's 805 prompts that ask for several tasks in order (arXiv 2403.07794, section 4).

The prompts are read where the user has them and are no part of this package: some of the seeds that they grew from
may not be used commercially.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import xxhash
from msgspec import structs

from seqtune.data.example import Example
from seqtune.errors import RecipeError
from seqtune.evaluation.suite import GROUP, Suite, suite
from seqtune.evaluation.suites.prompts import OWN_ID, Rows, prompt_items

ROUND = "iteration"  # the column that says how many rounds a prompt went through
# Of the 804 prompts that are not empty, with their rounds, in order: the same for a copy in another kind of file.
PUBLISHED = "b87045a0091c1839e8ac6102c328305a"


@suite("seqeval")
def seqeval(data: str | Path | None = None, *, rows: Rows | None = None) -> Suite:
    """The prompts of SeqEval, by construction round, or any that `seqtune eval build-seqeval` made.

    Args:
        data: seqEval.json, a copy of it as any kind of file, or a dataset of the hub ("owner/name:split").
        rows: rows that somebody's model answered: the items are their prompts, in their order, twice where a prompt
            stands there twice. They mostly do not tell the rounds; those come from `data` where that is given too.

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
    notes = [*notes, *_strange(items)] if items else []
    if rows is not None:
        known = {one.instruction: one.meta[GROUP] for one in items}
        items, notes = _read(rows, known)
    return Suite("seqeval", tuple(items), scorer="", notes=tuple(notes))


def _read(source: str | Rows, known: Mapping[str, str] | None = None) -> tuple[list[Example], list[str]]:
    items, notes = prompt_items(source, answered=True)
    return [_grouped(item, known or {}) for item in items], notes


def _grouped(item: Example, known: Mapping[str, str]) -> Example:
    """The item with its round as its split, and no other column but its own id."""
    number = item.meta.get(ROUND)
    group = known.get(item.instruction, "") if number in (None, "") else f"round {number}"
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
