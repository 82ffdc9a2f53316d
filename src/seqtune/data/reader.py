"""Reading: from any source to Examples, one row at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import msgspec

from seqtune.data.chat import json_value
from seqtune.data.container import Record
from seqtune.data.detection import Choice, Detection, choose_format, renamed
from seqtune.data.example import Example, Origin
from seqtune.data.failure import Failure, Fault
from seqtune.data.format import IMAGE_COLUMNS, Fields, Made, Row, row_images
from seqtune.data.source import SourceLike, open_source
from seqtune.errors import DataError

# How many rows a format is told from; where the first are broken, the next are looked at, up to a limit.
SAMPLE_ROWS = 20
SAMPLE_RECORDS = 1000

FormatLike = str | Callable[[Row], Made]


def read(
    source: SourceLike,
    *,
    format: FormatLike = "auto",
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    on_failure: Callable[[Failure], object] | None = None,
    on_detect: Callable[[Detection], object] | None = None,
) -> Iterator[Example]:
    """The Examples of a source, read while they are gone through: memory stays flat.

    Args:
        source: a file (JSON, JSON Lines, CSV, TSV, Parquet; also .gz, .zst), a folder of `save_to_disk`, a dataset of
            the Hugging Face hub ("owner/name", "owner/name:split"), or an iterable of dicts.
        format: one of `formats()`; "auto" to tell it from the columns; or a function from a row to a dict of fields.
        columns: our name of a column -> the source's, e.g. {"instruction": "prompt", "output": "answer"}.
        limit: how many rows at most, good and bad.
        on_failure: is given each row that cannot be read, which is then left out: `on_failure=failures.append`.
        on_detect: is told how the source is read, before the first row.

    Raises:
        DataError: the source cannot be read; or a row cannot be read, and `on_failure` is not given.
        RecipeError: a format or column that does not exist.
    """
    for row in rows(source, format=format, columns=columns, limit=limit, on_detect=on_detect):
        if type(row) is Example:
            yield row
        elif isinstance(row, Failure):
            if on_failure is None:
                raise _as_error(row)
            on_failure(row)


def _as_error(failure: Failure) -> DataError:
    what = f"{failure.reason}: {failure.value}" if failure.value else failure.reason
    skip = "to leave such rows out, give on_failure=print"
    fix = f"{failure.fix}; {skip}" if failure.fix else skip
    return DataError(what, where=f"{failure.source}:{failure.row}", fix=fix)


def rows(
    source: SourceLike,
    *,
    format: FormatLike = "auto",
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    on_detect: Callable[[Detection], object] | None = None,
) -> Iterator[Example | Failure]:
    """As `read`, with a Failure in the place of each row that cannot be read."""
    everything = _rows(source, format, columns or {}, on_detect)
    return everything if limit is None else islice(everything, limit)


def detect(source: SourceLike, *, format: FormatLike = "auto", columns: Mapping[str, str] | None = None) -> Detection:
    """How `read` would read the source; looks at its first rows only."""
    found: list[Detection] = []
    for _ in rows(source, format=format, columns=columns, on_detect=found.append):
        break
    return found[0]


def _rows(
    source: SourceLike,
    format: FormatLike,
    columns: Mapping[str, str],
    on_detect: Callable[[Detection], object] | None,
) -> Iterator[Example | Failure]:
    name, container, records = open_source(source)
    sample, records = _sampled(_until_torn(records))
    found = [record for _, record in sample if isinstance(record, dict)]
    if not sample:
        raise DataError("holds no rows", where=name, fix="check the file: was its writing finished?")
    if not found:
        raise _nothing_readable(name, container, sample[0])
    choice = choose_format(found, format, columns, name)
    if on_detect:
        seen = tuple(dict.fromkeys(chain.from_iterable(found)))
        on_detect(Detection(name, container, choice.format.name, seen, choice.columns, choice.reason))
    make = _maker(name, choice)
    for number, record in records:
        made = make(number, record)
        if isinstance(made, Example):
            yield made
        else:
            yield from made


def _until_torn(records: Iterator[Record]) -> Iterator[Record]:
    """The records; where a packed file is cut short, the Fault as the last."""
    number = 0
    try:
        for number, record in records:
            yield number, record
    except Fault as fault:
        yield number + 1, fault


def _sampled(records: Iterator[Record]) -> tuple[list[Record], Iterator[Record]]:
    sample: list[Record] = []
    good = 0
    for record in islice(records, SAMPLE_RECORDS):
        sample.append(record)
        good += isinstance(record[1], dict)
        if good == SAMPLE_ROWS:
            break
    return sample, chain(sample, records)


def _nothing_readable(source: str, container: str, first: Record) -> DataError:
    fault = first[1] if isinstance(first[1], Fault) else _not_an_object(first[1])
    what = f"none of its first rows can be read ({container}); row {first[0]}: {fault.reason}: {fault.value}"
    return DataError(what, where=source, fix=fault.fix)


def _not_an_object(value: Any) -> Fault:
    return Fault("not an object", value, 'a row is an object: {"instruction": "...", "input": "...", "output": "..."}')


# Example or Failure by themselves in the common case, several of them otherwise: a list for each row would cost more.
Maker = Callable[[int, Any], "Example | Iterable[Example | Failure]"]


def _maker(source: str, choice: Choice) -> Maker:
    """The function that makes a source's records Examples."""
    convert, columns = choice.format.convert, choice.columns
    used = frozenset(columns.get(name, name) for name in choice.format.known)
    # A function given as `format` says itself what goes to `meta`: which columns it used is not known.
    keeps_meta = bool(choice.format.columns)
    # Most rows hold nothing but text in columns that have a place: for them, a fifth of the time is saved.
    texts = used - {columns.get(name, name) for name in ("meta", *IMAGE_COLUMNS)}

    def finished(made: object, record: Row, row: Row, number: int) -> Example:
        origin = (Origin("read", 1, source, number),)
        if not isinstance(made, dict):
            return _given(made, origin)
        fields: Fields = made
        if not fields["instruction"].strip():
            raise Fault("empty instruction", record, "write what is to be done, or take the row out")
        if record.keys() <= texts and "meta" not in fields:
            return Example(**fields, origin=origin)
        meta = _meta(record, row, used, fields.pop("meta", None)) if keeps_meta else fields.pop("meta", {})
        if ("images" in row or "image" in row) and "images" not in fields:
            fields["images"] = row_images(row)
        return Example(**fields, origin=origin, meta=meta)

    def several(made: Iterable[Any], record: Row, row: Row, number: int) -> Iterator[Example | Failure]:
        try:
            for one in made:
                try:
                    yield finished(one, record, row, number)
                except Fault as fault:
                    yield _failure(source, number, fault)
        except (Fault, KeyError, RecursionError) as error:
            yield _failure(source, number, error)

    def make(number: int, record: Any) -> Example | Iterable[Example | Failure]:
        if type(record) is not dict:
            return (_failure(source, number, record if isinstance(record, Fault) else _not_an_object(record)),)
        try:
            row = renamed(record, columns) if columns else record
            made = convert(row)
            if isinstance(made, dict | Example):
                return finished(made, record, row, number)
            return several(made, record, row, number)
        except (Fault, KeyError, RecursionError) as error:
            return (_failure(source, number, error),)

    return make


def _given(made: object, origin: tuple[Origin, ...]) -> Example:
    """What a format made that is no fields: an Example, which may have lineage, or a Fault."""
    if isinstance(made, Example):
        return made if made.origin else msgspec.structs.replace(made, origin=origin)
    if isinstance(made, Fault):
        raise made
    raise TypeError(f"a format gives a dict of fields, an Example or several of them, and not {made!r}")


def _failure(source: str, number: int, error: Fault | KeyError | RecursionError) -> Failure:
    if isinstance(error, KeyError):  # a format's function that takes row["column"]
        error = Fault("missing column", str(error.args[0]), "name the columns with --columns")
    elif isinstance(error, RecursionError):
        error = Fault("nested too deep", "", "take the row out")
    return Failure(source, number, error.reason, error.value, error.fix)


def _meta(record: Row, row: Row, used: frozenset[str], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The columns without a place; what a "meta" column holds where it is an object; and what the format gave."""
    meta = {name: value for name, value in record.items() if name not in used}
    nested = json_value(row.get("meta"))
    if nested is not None:
        is_free = isinstance(nested, Mapping) and not (nested.keys() & meta.keys())
        meta.update(nested if is_free else {"meta": nested})
    if given:
        meta.update(given)
    return meta
