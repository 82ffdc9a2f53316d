"""Rows that stand beside the input rows, by their own id or by their place: translations, paraphrases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from seqtune.data.example import Example
from seqtune.data.reader import read
from seqtune.errors import DataError


@dataclass(frozen=True)
class RowTable:
    """The rows of one file, held in memory (about 1 kB a row)."""

    path: str
    by_id: Mapping[str, Example]
    by_row: Mapping[int, Example]

    def match(self, example: Example) -> Example | None:
        """The row with the same own id; where either file has no ids, the row at the same place."""
        own_id = example.meta.get("id")
        if self.by_id and own_id is not None:
            return self.by_id.get(str(own_id))
        return self.by_row.get(example.origin[0].row) if example.origin else None


@cache
def open_table(path: str) -> RowTable:
    """Read a file of rows to match others with.

    Raises:
        DataError: no row can be read, or two rows have the same own id, so that a match could be the wrong one.
    """
    by_id: dict[str, Example] = {}
    by_row: dict[int, Example] = {}
    for example in read(path):
        by_row[example.origin[0].row] = example
        own_id = example.meta.get("id")
        if own_id is None:
            continue
        if (before := by_id.setdefault(str(own_id), example)) is not example:
            raise DataError(
                f"the id {own_id!r} stands in row {before.origin[0].row} as well",
                where=f"{path}:{example.origin[0].row}",
                fix="rows are matched by id: make the ids unique, or remove the column so that places are matched",
            )
    if not by_row:
        raise DataError("no row could be read", where=path, fix="check the file; it must hold instruction rows")
    return RowTable(path, by_id, by_row)
