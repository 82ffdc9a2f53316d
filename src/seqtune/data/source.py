"""Sources: where records come from (a file, a saved dataset, the Hugging Face hub, Python objects), told by content."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from seqtune.data.container import (
    Record,
    arrow_rows,
    cells_of,
    csv_rows,
    delimiter,
    holds_lines,
    json_document,
    json_lines,
    parquet_rows,
    plain_row,
)
from seqtune.data.failure import Fault
from seqtune.data.stream import peeked, pieces, utf8, utf16
from seqtune.errors import DataError, MissingExtraError, shorten

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
SourceLike: TypeAlias = str | os.PathLike[str] | Iterable[Mapping[str, Any]]

_PACKED = (".gz", ".zst")
_HUB_NAME = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:/(?P<config>[\w.-]+))?(?::(?P<split>[\w.+%\[\]:-]+))?")
_READABLE = "give a file of JSON, JSON Lines, CSV or Parquet, also packed as .gz or .zst"
_COLUMN_NAME = re.compile(r"[\w][\w .-]{0,40}")
_FOREIGN = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF file",
    b"PK\x03\x04": "a ZIP archive (or an Office file)",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"SQLite format 3": "an SQLite database",
    b"<!DOCTYPE": "a web page",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML file",
}


class Source(NamedTuple):
    """An opened source: its name as given, what holds its rows, and its records, which can be gone through once."""

    name: str
    container: str
    records: Iterator[Record]


def open_source(source: SourceLike) -> Source:
    """Open what the user named.

    Args:
        source: a file; a folder that `save_to_disk` wrote ("folder", "folder:split"); a dataset of the hub
            ("owner/name", "owner/name:split", "owner/name/config:split"); or rows in memory.

    Raises:
        DataError: there is no such file, or it is no data file.
    """
    if not isinstance(source, str | os.PathLike):
        return Source("rows", "rows in memory", _memory_rows(source))
    name = os.fspath(source)
    path = Path(name)
    if path.is_dir():
        return Source(name, "saved dataset", arrow_rows(_saved_files(path, name)))
    if path.exists():
        return _open_file(path, name)
    folder, _, split = name.rpartition(":")
    if folder and Path(folder).is_dir():
        return Source(name, "saved dataset", arrow_rows(_saved_files(Path(folder), name, split)))
    if "://" in name:
        raise DataError("is an address, and not a file", where=name, fix="download it, and name the file")
    if (hub := _HUB_NAME.fullmatch(name)) and not _looks_like_path(path):
        return Source(name, "hub dataset", _hub_rows(name, **hub.groupdict()))
    raise DataError("there is no such file" + _near(path), where=name, fix=f"working folder: {Path.cwd()}")


def _memory_rows(source: Iterable[Any]) -> Iterator[Record]:
    is_arrow = hasattr(source, "features")  # a Dataset of the datasets library
    for number, row in enumerate(source, 1):
        yield number, plain_row(row, padding=is_arrow) if isinstance(row, Mapping) else row


def _looks_like_path(path: Path) -> bool:
    return path.is_absolute() or path.parent.is_dir() or path.suffix in (*SUFFIXES, *_PACKED)


def _near(path: Path) -> str:
    names = os.listdir(path.parent) if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, n=3, cutoff=0.6)
    if not near:
        near = [name for name in sorted(names) if Path(name).stem.lower() == path.stem.lower()][:3]
    return f"; did you mean {' or '.join(str(path.parent / name) for name in near)}?" if near else ""


def _open_file(path: Path, name: str) -> Source:
    head, data = peeked(_readable(path, name))
    if head.startswith(b"PAR1"):
        return Source(name, "Parquet", _arrow_errors(_parquet(path, data), name))
    if head.startswith(b"\xff\xff\xff\xff"):
        return Source(name, "Arrow", _arrow_errors(arrow_rows([path]), name))
    foreign = _foreign(head)
    if foreign or not head.strip():
        _raise_if_torn(data, name)
        raise DataError(f"is {foreign or 'empty'}", where=name, fix=_READABLE)
    head, data = peeked(utf8(head, data))
    text = head.decode("utf-8", "replace").lstrip()
    if text.startswith(("{", "[")):
        if holds_lines(text):
            return Source(name, "JSON Lines", json_lines(data))
        return Source(name, "JSON", json_document(data))
    if _is_csv(path, text):
        return Source(name, "TSV" if delimiter(text) == "\t" else "CSV", csv_rows(data, text, name))
    what = f"is neither JSON nor CSV; it begins: {shorten(text[:200], 60)!r}" if text else "is empty"
    raise DataError(what, where=name, fix=_READABLE)


def _readable(path: Path, name: str) -> Iterator[bytes]:
    try:
        yield from pieces(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=name) from None


def _foreign(head: bytes) -> str:
    """What the file is, where it begins like no data file; "" otherwise."""
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            return what
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return "a binary file" if not utf16(head) and start not in (b"{", b"[") and b"\0" in head[:4096] else ""


def _raise_if_torn(data: Iterator[bytes], name: str) -> None:
    try:
        for _ in islice(data, 2):  # the first piece is what was looked at
            pass
    except Fault as fault:
        raise DataError(f"{fault.reason}: {fault.value}", where=name, fix=fault.fix) from None


def _is_csv(path: Path, head: str) -> bool:
    """By its suffix; else a CSV file begins with names, and as many cells stand below them."""
    if {".csv", ".tsv"} & {suffix.lower() for suffix in path.suffixes}:
        return True
    first, _, rest = head.partition("\n")
    mark = delimiter(head)
    names = cells_of(first, mark)
    alike = not rest.strip() or len(cells_of(rest.partition("\n")[0], mark)) == len(names) or '"' in rest
    return len(names) > 1 and alike and all(_COLUMN_NAME.fullmatch(name) for name in names)


def _parquet(path: Path, data: Iterator[bytes]) -> Iterator[Record]:
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            yield from parquet_rows(path)
            return
    with tempfile.TemporaryFile() as unpacked:  # Parquet is read from its end
        for piece in data:
            unpacked.write(piece)
        unpacked.seek(0)
        yield from parquet_rows(unpacked)


def _arrow_errors(records: Iterator[Record], name: str) -> Iterator[Record]:
    from pyarrow import ArrowException

    try:
        yield from records
    except (ArrowException, OSError) as error:
        what = f"is no whole Parquet or Arrow file: {shorten(str(error))}"
        raise DataError(what, where=name, fix="write or copy the file again") from None


def _saved_files(folder: Path, name: str, split: str = "") -> list[Path]:
    """The Arrow files of a folder that `save_to_disk` wrote; of a split, where it holds several."""
    if (folder / "dataset_dict.json").exists():
        splits = sorted(path.parent.name for path in folder.glob("*/state.json"))
        split = split or (splits[0] if len(splits) == 1 else "")
        if split not in splits:
            what = f"holds the splits {', '.join(splits)}" + (f", and no {split!r}" if split else "")
            raise DataError(what, where=name, fix=f"name one: {folder}:{'train' if 'train' in splits else splits[0]}")
        folder = folder / split
    try:
        state = msgspec.json.decode((folder / "state.json").read_bytes())
        return [folder / file["filename"] for file in state["_data_files"]]
    except (OSError, ValueError, LookupError, TypeError):
        raise DataError("is a folder, and not one that save_to_disk wrote", where=name, fix=_files_in(folder)) from None


def _files_in(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in (*SUFFIXES, *_PACKED))[:5]
    return f"name a file: {', '.join(map(str, files))}" if files else "name a file; this folder holds no data files"


def _hub_rows(name: str, id: str, config: str | None, split: str | None) -> Iterator[Record]:
    try:
        import datasets
    except ImportError:
        purpose = f"{name!r} is no file here; reading it from the Hugging Face hub"
        raise MissingExtraError("datasets", "hub", purpose) from None
    rows = _hub_dataset(datasets, name, id, config, split)
    if isinstance(rows, dict):
        if len(rows) > 1 and "train" not in rows:
            raise DataError(f"has the splits {', '.join(rows)}", where=name, fix=f"name one: {id}:{next(iter(rows))}")
        rows = rows["train"] if "train" in rows else next(iter(rows.values()))
    rows = rows.decode(False) if hasattr(rows, "decode") else rows  # images as they are stored
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            yield number, plain_row(row, padding=True)
    except Exception as error:  # the network, and whatever the hub's libraries raise
        what = f"the Hugging Face hub stopped before row {number + 1}: {shorten(str(error), 200)}"
        raise DataError(what, where=name, fix="check the connection, and run again") from None


def _hub_dataset(datasets: Any, name: str, id: str, config: str | None, split: str | None) -> Any:
    try:
        if not datasets.config.HF_HUB_OFFLINE:
            from huggingface_hub import HfApi

            HfApi().dataset_info(id, timeout=10)  # load_dataset retries for 23 s where the hub does not answer
        return datasets.load_dataset(id, config, split=split, streaming=True)
    except Exception as error:  # whatever these libraries raise, for the user the name cannot be read
        what = "there is no such file, and the Hugging Face hub does not give it either: "
        reason = shorten(str(error) or type(error).__name__, 200)
        fix = "check the name and the connection; or download the file, and name it"
        raise DataError(what + reason, where=name, fix=fix) from None
