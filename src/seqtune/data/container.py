"""Containers: how JSON Lines, JSON, CSV and Arrow files hold records. Each yields (number, record or Fault)."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec

from seqtune.data.failure import Fault
from seqtune.data.plain import plain, plain_text
from seqtune.data.stream import ROW_LIMIT, has_bad_bytes, lines, not_utf8, text_pieces, too_long
from seqtune.errors import DataError, shorten

# The number of a record, counted from 1 (the line, in JSON Lines; the element elsewhere), and the record: any JSON
# value, or the Fault that keeps it from being one.
Record = tuple[int, Any]

# Python's json is kept for what msgspec refuses (NaN, lone surrogates), and because it can start inside of a text.
_scanner = json.JSONDecoder(parse_constant=lambda _: None)
_SPACE = re.compile(r"[ \t\n\r]*")
_DATA_LIST = re.compile(r'\s*\{(?:\s*"\w+"\s*:\s*(?:"[^"\\]*"|[\w.+-]+)\s*,)*\s*"data"\s*:\s*(?=\[)')


def json_lines(data: Iterator[bytes]) -> Iterator[Record]:
    """A JSON value on each line; blank lines are passed over."""
    decode = msgspec.json.Decoder().decode
    for number, line in enumerate(lines(data), 1):
        try:
            value = decode(line)  # type: ignore[arg-type]  # a Fault is a TypeError: no test in the common case
        except (ValueError, RecursionError, TypeError):
            if isinstance(line, bytes) and not line.strip():
                continue
            value = line if isinstance(line, Fault) else _decoded(line)
        yield number, value


def _decoded(line: bytes) -> Any:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return not_utf8(line)
    try:
        return plain(_scanner.decode(text))
    except (ValueError, RecursionError) as error:
        return _not_json(text.rstrip(), error)


def _not_json(text: str, error: Exception) -> Fault:
    if not isinstance(error, json.JSONDecodeError):
        return Fault("not JSON", f"{error}: {text[:80]}", "take the row out")
    # The text ends inside of a string, between two values, or inside of an escape or a word ("tru").
    in_word = error.pos >= len(text) - 6 and not text.endswith(("}", "]"))
    if in_word or error.pos >= len(text) or error.msg.startswith("Unterminated string"):
        return Fault("row is cut short", text[-60:], "its writing was broken off: write the row again, or take it out")
    near = f"{error.msg} at character {error.pos + 1}: {text[max(0, error.pos - 20) : error.pos + 20]}"
    return Fault("not JSON", near, "a row is one JSON object with its quotes and commas")


def holds_lines(head: str) -> bool:
    """Whether a JSON text that begins so is JSON Lines, and not one document."""
    first, _, rest = head.lstrip().partition("\n")
    whole = _is_json(first)
    if whole and rest.lstrip().startswith("{"):
        return True
    if first.startswith("[") or _DATA_LIST.match(first):
        return False
    return whole or "\n" not in head.strip() or rest.startswith("{")


def _is_json(text: str) -> bool:
    try:
        _scanner.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Window:
    """The part of a long text that is looked at: `text[at:]` is not parsed yet, `grow` adds the next piece."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self.text, self.at, self._pieces = "", 0, pieces

    def grow(self) -> bool:
        piece = next(self._pieces, "")
        self.text, self.at = self.text[self.at :] + piece, 0
        return bool(piece)

    def next_character(self) -> str:
        """The next character that is no white space, where `at` then stands; "" at the end."""
        while True:
            space = _SPACE.match(self.text, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow():
                return ""

    def value(self) -> Any:
        """The JSON value that starts at `at`, or the Fault that there is none: then `at` stays."""
        while True:
            try:
                value, end = _scanner.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, json.JSONDecodeError):
                    error.pos -= self.at
                if self._is_broken(error):
                    return _not_json(self.text[self.at :].rstrip(), error)
                if len(self.text) - self.at > ROW_LIMIT:
                    return too_long()
                if not self.grow():
                    return _not_json(self.text[self.at :].rstrip(), error)
                continue
            if end == len(self.text) and self.grow():  # a number may go on
                continue
            raw, self.at = self.text[self.at : end], end
            return not_utf8(raw) if has_bad_bytes(raw) else _writable(value)

    def _is_broken(self, error: Exception) -> bool:
        # Near the end of the window the value may only not be there yet; a string may end anywhere.
        if not isinstance(error, json.JSONDecodeError) or error.msg.startswith("Unterminated string"):
            return False
        return len(self.text) - self.at - error.pos > 4096

    def skip_to(self, mark: re.Pattern[str]) -> bool:
        """Go to the next place where `mark` stands; whether there is one."""
        while not (found := mark.search(self.text, self.at)):
            self.at = max(self.at, len(self.text) - 1000)  # a mark may lie across two pieces
            if not self.grow():
                return False
        self.at = found.start()
        return True


def _writable(value: Any) -> Any:
    # Unlike msgspec, Python's json lets lone surrogates through; encoding is the cheapest way to find them.
    try:
        msgspec.json.encode(value)
    except (UnicodeEncodeError, RecursionError):
        return plain(value)
    return value


def json_document(data: Iterator[bytes]) -> Iterator[Record]:
    """The elements of an array, or of an object's "data" list; else the values, which stand one after another."""
    window = _Window(text_pieces(data))
    window.grow()
    number = 0
    if match := _DATA_LIST.match(window.text):
        window.at = match.end()
        yield from _elements(window)
        return
    if window.next_character() == "[":
        yield from _elements(window)
        return
    while window.next_character():
        value = window.value()
        for record in _nested(value):
            number += 1
            yield number, record
        if isinstance(value, Fault):
            return


def _nested(value: Any) -> Iterable[Any]:
    rows = value.get("data") if isinstance(value, dict) else None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else [value]


_NUMBER = re.compile(r"[-+]?[\d.,]+%?")
_NEXT_OBJECT = re.compile(r",\s*(?=\{)")


def _elements(window: _Window) -> Iterator[Record]:
    """The elements of the array at the window's place; after a broken one, from the next that begins as others do."""
    window.at += 1
    number, between, mark = 0, False, _NEXT_OBJECT
    while (character := window.next_character()) != "]":
        if between and character == ",":
            window.at += 1
            between = False
            continue
        value = _no_comma(window, character) if between else window.value()
        number += 1
        yield number, value
        between = True
        if mark is _NEXT_OBJECT and isinstance(value, dict) and value:
            mark = _beginning(next(iter(value)))
        stuck = isinstance(value, Fault) and window.next_character() not in (",", "]")
        if stuck and not window.skip_to(mark):
            return


def _no_comma(window: _Window, character: str) -> Fault:
    if not character:
        return Fault("row is cut short", "the array has no end", "the file may be torn: write or copy it again")
    near = window.text[window.at : window.at + 60]
    return Fault("not JSON", f"no comma before {near}", "put a comma between the rows")


def _beginning(key: str) -> re.Pattern[str]:
    # Objects inside of rows (chat messages) begin with other keys than the rows, as good as always.
    spellings = "|".join(re.escape(json.dumps(key, ensure_ascii=ascii_only)) for ascii_only in (True, False))
    return re.compile(r",\s*(?=\{\s*(?:" + spellings + r")\s*:)")


def csv_rows(data: Iterator[bytes], head: str, source: str) -> Iterator[Record]:
    """The rows of a CSV or TSV file as objects of text; the first line names the columns, or else they are 1, 2, ..."""
    csv.field_size_limit(max(csv.field_size_limit(), ROW_LIMIT))
    rows = csv.reader(_csv_lines(data), delimiter=delimiter(head))
    names, first = _csv_header(rows, source)
    for number, cells in enumerate(_csv_cells(rows, first), 1):
        yield number, _csv_record(names, cells) if isinstance(cells, list) else cells


def _csv_header(rows: Iterator[list[str]], source: str) -> tuple[list[str], list[str]]:
    """The names of the columns, and the cells of the first line where that is a row already."""
    try:
        cells = next(rows, [])
    except csv.Error as error:
        raise DataError(f"its first line is not CSV: {error}", where=source, fix="name the columns there") from None
    if any(len(cell) > 80 or _NUMBER.fullmatch(cell) for cell in cells):  # nobody names a column like this
        return [str(place) for place, _ in enumerate(cells, 1)], cells
    names = [plain(name.strip()) or f"column {place}" for place, name in enumerate(cells, 1)]
    if twice := {name for name in names if names.count(name) > 1}:
        fix = "give every column a name of its own"
        raise DataError(f"the column {shorten(min(twice))!r} is there twice", where=source, fix=fix)
    return names, []


def _csv_cells(rows: Iterator[list[str]], first: list[str]) -> Iterator[list[str] | Fault]:
    """The cells of each row that is not blank."""
    if first:
        yield first
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault("not CSV", str(error), "look for a quote that is not closed before this row")
        else:
            if cells:
                yield cells


def _csv_lines(data: Iterator[bytes]) -> Iterator[str]:
    for line in lines(data):
        if isinstance(line, Fault):
            raise line
        yield line.decode("utf-8", "surrogateescape") + "\n"


def _csv_record(names: list[str], cells: list[str]) -> Any:
    if len(cells) != len(names):
        value = f"{len(cells)} cells in place of {len(names)}: {', '.join(cells)[:60]}"
        return Fault("wrong number of cells", value, "put text that holds commas, quotes or line ends in quotes")
    if any(map(has_bad_bytes, cells)):
        return not_utf8(",".join(cells))
    return dict(zip(names, cells, strict=True))


def delimiter(head: str) -> str:
    """What parts the cells of the first line: a comma, tab, semicolon or bar."""
    first = head.partition("\n")[0]
    if len(cells_of(first, "\t")) > 1:  # text holds commas, but hardly ever tabs
        return "\t"
    return max(",;|", key=lambda mark: len(cells_of(first, mark)))


def cells_of(line: str, mark: str) -> list[str]:
    """The cells of one line where they are parted by `mark`."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark), [])]
    except csv.Error:
        return []


def parquet_rows(file: Any) -> Iterator[Record]:
    """The rows of a Parquet file, a thousand at a time."""
    from pyarrow import parquet

    # By default all of a row group (often the whole file) is fetched and kept: 580 MB in place of 145 MB for 900 MB.
    with parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as table:
        yield from _arrow_rows(table.iter_batches(batch_size=1000))


def arrow_rows(paths: Iterable[Any]) -> Iterator[Record]:
    """The rows of Arrow stream files, one after another: what `save_to_disk` of the datasets library writes."""
    yield from _arrow_rows(chain.from_iterable(map(_arrow_batches, paths)))


def _arrow_batches(path: Any) -> Iterator[Any]:
    import pyarrow

    with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as batches:
        for batch in batches:
            for start in range(0, len(batch), 1000):
                yield batch.slice(start, 1000)


def _arrow_rows(batches: Iterable[Any]) -> Iterator[Record]:
    number = 0
    for batch in batches:
        for row in _batch_rows(batch):
            number += 1
            yield number, row


def _batch_rows(batch: Any) -> Iterator[Any]:
    names = batch.schema.names
    try:
        cells = [_cells(batch.column(at)) for at in range(len(names))]
    except (ValueError, OverflowError):  # one value that Python cannot hold must not cost a thousand rows
        if len(batch) == 1:
            yield Fault("unreadable value", "", "a text that is not UTF-8, or a date out of range")
            return
        for at in range(len(batch)):
            yield from _batch_rows(batch.slice(at, 1))
        return
    for row in zip(*cells, strict=True):
        yield dict(zip(names, row, strict=True))


def _cells(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if str(column.type) in ("string", "large_string", "bool", "int64", "int32"):
        return values
    return [plain(value, padding=True) for value in values]


def plain_row(row: Mapping[str, Any], *, padding: bool) -> dict[str, Any]:
    """A row of Python objects as JSON holds it; `padding` as in `plain`, a missing column stays None either way."""
    return {plain_text(str(name)): plain(value, padding=padding) for name, value in row.items()}
