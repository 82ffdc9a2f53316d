"""Detection: which format the first rows of a source have, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from seqtune.data.format import IMAGE_COLUMNS, Format, Made, Row, named_format, registered
from seqtune.errors import DataError, RecipeError, did_you_mean, shorten

# What others call our columns, the surest name first.
_SPELLINGS = {
    "instruction": ("instruction", "prompt", "question", "query", "input"),
    "output": ("output", "response", "answer", "completion", "target"),
    "input": ("input", "context"),
    "system": ("system", "system_prompt"),
}


class Detection(msgspec.Struct, frozen=True):
    """How a source is read.

    Args:
        source: its name as given.
        container: "JSON Lines", "JSON", "CSV", "Parquet", ...
        format: the format's name.
        seen: the columns of its first rows.
        columns: the format's name of a column -> the source's, where they differ.
        reason: why, as a line to show: "columns instruction, input, output: alpaca".
    """

    source: str
    container: str
    format: str
    seen: tuple[str, ...]
    columns: dict[str, str]
    reason: str


class Choice(msgspec.Struct, frozen=True):
    """A format, the columns to rename for it (its name -> the source's), and why."""

    format: Format
    columns: dict[str, str]
    reason: str


def choose_format(
    sample: Sequence[Row], format: str | Callable[[Row], Made], columns: Mapping[str, str], source: str
) -> Choice:
    """The format of rows that begin with `sample`.

    Raises:
        DataError: none fits, or not the one that was asked for.
        RecipeError: a format or a column that does not exist was asked for.
    """
    seen = tuple(dict.fromkeys(chain.from_iterable(sample)))
    _check_columns(columns, seen, source)
    if callable(format):
        name = getattr(format, "__name__", "function")
        own = Format(name, (), (), "", format, lambda row: True)
        return Choice(own, dict(columns), f"read by the function {name}")
    rows = [renamed(row, columns) for row in sample] if columns else list(sample)
    choice = _recognised(rows, columns) if format == "auto" else _asked(rows, named_format(format), columns, source)
    if choice is None:
        raise DataError(f"no format fits its columns: {_listed(seen)}", where=source, fix=_how_to_map(sample, seen))
    return choice


def renamed(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """The row with our names of its columns."""
    theirs = set(columns.values())
    view = {name: value for name, value in row.items() if name not in theirs and name not in columns}
    view.update((our, row[their]) for our, their in columns.items() if their in row)
    return view


def _check_columns(columns: Mapping[str, str], seen: Sequence[str], source: str) -> None:
    known = sorted({name for format in registered() for name in format.known})
    for our, their in columns.items():
        if our not in known:
            what = f"columns: {our!r} is no column of any format{did_you_mean(our, known)}"
            raise RecipeError(what, fix=f"our name comes first, then yours; known are {', '.join(known)}")
        if their not in seen:
            what = f"there is no column {their!r}{did_you_mean(their, seen)}"
            raise DataError(what, where=source, fix=f"its columns: {_listed(seen)}")


def _asked(rows: Sequence[Row], format: Format, columns: Mapping[str, str], source: str) -> Choice:
    if rows and not any(_has(row, format.columns) for row in rows):
        seen = dict.fromkeys(chain.from_iterable(rows))
        what = f"format {format.name!r} needs the columns {_listed(format.columns)}; here are {_listed(seen)}"
        example = ",".join(f"{name}=YOURS" for name in format.columns if name not in seen)
        raise DataError(what, where=source, fix=f"name yours: --columns {example}")
    return Choice(format, dict(columns), f"{format.name}, as asked for")


def _has(row: Row, columns: Sequence[str]) -> bool:
    return all(name in row for name in columns)


def _recognised(rows: Sequence[Row], columns: Mapping[str, str]) -> Choice | None:
    exact = _best(rows, [format for format in registered() if format.name != "prompts"], columns)
    return exact or _spelled(rows, columns)


def _best(rows: Sequence[Row], candidates: Sequence[Format], columns: Mapping[str, str]) -> Choice | None:
    """The format that most rows have; only one that has a place for every column that was mapped."""
    candidates = [format for format in candidates if columns.keys() <= set(format.known)]
    fitting = [sum(_has(row, format.columns) and format.fits(row) for row in rows) for format in candidates]
    if not any(fitting):
        return None
    most = max(fitting)
    format = candidates[fitting.index(most)]
    seen = dict.fromkeys(chain.from_iterable(rows))
    found = [_mapped(name, columns) for name in seen if name in (*format.columns, *format.optional, *IMAGE_COLUMNS)]
    share = "" if most == len(rows) else f" (in {most} of the first {len(rows)} rows)"
    return Choice(format, dict(columns), f"columns {', '.join(found)}: {format.name}{share}")


def _mapped(name: str, columns: Mapping[str, str]) -> str:
    return f"{columns[name]} (as {name})" if name in columns else name


def _spelled(rows: Sequence[Row], columns: Mapping[str, str]) -> Choice | None:
    """Alpaca, or prompts without answers, under the names that others use."""
    seen = {name.lower(): name for name in reversed(dict.fromkeys(chain.from_iterable(rows)))}
    spelled: dict[str, str] = {}
    for our, spellings in _SPELLINGS.items():
        free = (seen[name] for name in spellings if name in seen and seen[name] not in spelled.values())
        if (their := next(free, None)) is not None:
            spelled[our] = their
    if "instruction" not in spelled:
        return None
    found = {our: their for our, their in spelled.items() if our != their}
    together = {**columns, **{our: columns.get(their, their) for our, their in found.items()}}
    rows = [renamed(row, found) for row in rows]
    wanted = "alpaca" if "output" in spelled else "prompts"
    return _best(rows, [named_format(wanted)], together)


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return shorten(", ".join(names), 300) if names else "(none)"


def _how_to_map(sample: Sequence[Row], seen: Sequence[str]) -> str:
    """An example of `--columns` with the columns that hold text: the first may ask, the longest other may answer."""
    length = {name: sum(len(row[name]) for row in sample if isinstance(row.get(name), str)) for name in seen}
    asking = next((name for name in seen if length[name]), "YOURS")
    answering = max((name for name in seen if length[name] and name != asking), key=length.__getitem__, default="YOURS")
    mapping = f"instruction={shorten(asking, 40)},output={shorten(answering, 40)}"
    return f"say which column is which, for example --columns {mapping} (in Python: columns={{...}})"
