"""What is wrong with one row, as data: the rest of the file is still read."""

from __future__ import annotations

import msgspec

from seqtune.errors import shorten


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row that could not be read, or that a teacher failed on.

    Args:
        source: the file (or dataset) as it was given.
        row: its number there, counted from 1: the line in a line-based file, the element elsewhere.
        reason: constant text, so that failures can be counted by it.
        value: what stands there, shortened.
        fix: what to do about it.
        reply: what the teacher wrote, whole, where it was its reply that could not be used.
        key: the reply's key in the reply store.
    """

    source: str
    row: int
    reason: str
    value: str = ""
    fix: str = ""
    reply: str = ""
    key: str = ""

    def __str__(self) -> str:
        value = f": {self.value}" if self.value else ""
        return f"{self.source}:{self.row}: {self.reason}{value}"


class Fault(Exception):
    """Raised (or yielded) by what reads one row; becomes a Failure when the row's place is added."""

    def __init__(self, reason: str, value: object = "", fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        # A row may be 32 MB long: cut it before it is made into one line.
        self.value = shorten(value[:400] if isinstance(value, str) else value)
        self.fix = fix
