"""What an experiment found, as it says so itself: its table, what it took, and its notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from seqtune.report.runs import Run, read_object


class Table(msgspec.Struct, frozen=True):
    """A table as text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Compared(msgspec.Struct, frozen=True):
    """One experiment, as the page shows it."""

    name: str
    legend: str
    table: Table
    taken: Table
    notes: Sequence[str]


def describe_experiment(run: Run) -> Compared | None:
    """What the results.json of a run says; None where there is none that can be read."""
    found = read_object(run.folder / "results.json")
    shown: dict[str, Any] = {
        "name": found.get("name", run.name),
        "notes": found.get("notes", []),
        **found.get("text", {}),
    }
    try:
        return msgspec.convert(shown, Compared)
    except msgspec.ValidationError:
        return None
