"""A few varied rows of a build, each with the row it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from seqtune.data.example import Example
from seqtune.report.runs import read_structs

GROUP_ROWS = 24  # rows kept of each kind and step count, to choose from
LONG_ROW = 900  # characters: where there is a choice, shorter rows are easier to read
PLAIN = "plain"


class Pair(NamedTuple):
    """A row of the build and its parent, where the control set holds it."""

    kind: str
    row: Example
    parent: Example | None


def pick_pairs(rows: Path, parents: Path | None, count: int = 12) -> list[Pair]:
    """Varied rows among the first thousands of a build: each kind, step count and form in turn, always the same ones.

    Args:
        rows: the file of examples.
        parents: the file of the control set.
        count: how many at most.
    """
    picked = _varied(_grouped(rows), count)
    wanted = {parent_id(row) for row in picked}
    first = read_structs(parents, Example) if parents else ()
    found = {row.id: row for row in first if row.id in wanted}
    return [Pair(kind_of(row), row, found.get(parent_id(row))) for row in picked]


def kind_of(row: Example) -> str:
    """The chain that made a row, or "plain"."""
    return row.origin[-1].transform if row.steps and row.origin else PLAIN


def parent_id(row: Example) -> str:
    """The id of the row it was made from; its own for a plain row."""
    return (row.origin[-1].parent if row.origin else "") or row.id


Groups = dict[tuple[str, int, bool], list[Example]]  # kind, steps, whether it is a dialogue


def _grouped(path: Path) -> Groups:
    groups: Groups = {}
    for row in read_structs(path, Example):
        rows = groups.setdefault((kind_of(row), len(row.steps), bool(row.turns)), [])
        if len(rows) < GROUP_ROWS:
            rows.append(row)
    return dict(sorted(groups.items(), key=lambda item: (item[0][0] == PLAIN, item[0])))


def _varied(groups: Groups, count: int) -> list[Example]:
    """One row of each group in turn, the one that shows most that was not shown yet; one plain row is enough."""
    picked: list[Example] = []
    shown: set[str] = set()
    while len(picked) < count and any(groups.values()):
        for group, rows in groups.items():
            if not rows or len(picked) == count:
                continue
            best = min(rows, key=lambda row: (-len(_features(row) - shown), _length(row) > LONG_ROW))
            shown |= _features(best)
            picked.append(best)
            rows[:] = [] if group[0] == PLAIN else [row for row in rows if row.id != best.id]
    return sorted(picked, key=lambda row: (kind_of(row) == PLAIN, kind_of(row), len(row.steps), bool(row.turns)))


def _features(row: Example) -> set[str]:
    """What a reader would see as different: the operations, how the row is worded, how its answer is marked."""
    marks = "".join(step.mark[:1] for step in row.steps)
    wording = " ".join(row.instruction.split()[:1])
    return {*(step.check for step in row.steps), f"marks {marks}", f"wording {wording}"}


def _length(row: Example) -> int:
    return len(row.instruction) + len(row.input) + len(row.output)
