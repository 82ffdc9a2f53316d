"""Rows that stand beside the input rows, by their own id or by their place: translations, paraphrases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
        """The row with the same own id; where either has none, the row at the same place, of one source."""
        own_id = example.meta.get("id")
        if self.by_id and own_id is not None:
            return self.by_id.get(str(own_id))
        return self.by_row.get(example.origin[0].row) if example.origin else None


def open_table(path: str, *, sources: int = 1) -> RowTable:
    """Read a file of rows to match others with.

    Args:
        path: of the file.
        sources: of the rows to match; where there are several, places start again in each and tell nothing.

    Raises:
        DataError: no row can be read, or a match could be the wrong one: two rows have the same own id, or none has
            one and there are several sources.
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
    if sources > 1 and not by_id:
        what = f"its rows have no id, and by place they cannot be matched with the rows of {sources} sources"
        raise DataError(what, where=path, fix="give both files an 'id' column")
    return RowTable(path, by_id, by_row if sources == 1 else {})
