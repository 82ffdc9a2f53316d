"""Ledgers: files of JSON lines that only grow, each line under a key, so that a killed run does nothing twice."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from seqtune.errors import DataError, RunFolderError


class Keyed(Protocol):
    """A record with a key."""

    @property
    def key(self) -> str: ...


Record = TypeVar("Record", bound=Keyed)
Struct = TypeVar("Struct", bound=msgspec.Struct)


class Ledger(Generic[Record]):
    """The records of a file by their keys; `add` writes new ones before it returns. Made by `open_ledger`."""

    def __init__(self, path: Path, file: Any, found: dict[str, Record]) -> None:
        self._path, self._file, self._found = path, file, found

    def __iter__(self) -> Iterator[Record]:
        return iter(self._found.values())

    def find(self, key: str) -> Record | None:
        """The record under that key."""
        return self._found.get(key)

    def add(self, records: Iterable[Record]) -> None:
        """Write records that are new or say something new, all at once; of a key, the last counts.

        Raises:
            RunFolderError: the disk is full or the file cannot be written.
        """
        new = {record.key: record for record in records if record != self.find(record.key)}
        self._write(b"".join(msgspec.json.encode(record) + b"\n" for record in new.values()))
        self._found |= new

    def _write(self, lines: bytes) -> None:
        """All of it or nothing: a full disk may take a part."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
        except OSError as error:
            self._file.truncate(before)
            fix = "free some space and run the same command again: what is written stays"
            raise RunFolderError(f"cannot be written: {error.strerror}", where=str(self._path), fix=fix) from error


@contextmanager
def open_ledger(path: Path, kind: type[Record]) -> Iterator[Ledger[Record]]:
    """The ledger in a file, which need not be there yet. A last line that a kill tore is cut off.

    Raises:
        DataError: another line is no record.
        RunFolderError: the file cannot be written.
    """
    try:
        file = path.open("ab", buffering=0)  # a kill loses what is not written yet, and nothing else
    except OSError as error:
        what, fix = f"cannot be written: {error.strerror}", "choose another --out"
        raise RunFolderError(what, where=str(path), fix=fix) from None
    with file:
        text = path.read_bytes()
        file.truncate(text.rfind(b"\n") + 1)
        yield Ledger(path, file, {record.key: record for record in _decoded(text, path, kind)})


def read_records(path: Path, kind: type[Struct]) -> Iterator[Struct]:
    """The lines of a file; nothing is written, and a last line that a kill tore is passed over.

    Raises:
        RunFolderError: it cannot be read.
        DataError: a line that is none of this kind.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        fix = "give a whole run folder, or run seqtune eval again"
        raise RunFolderError(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from None
    yield from _decoded(text, path, kind)


def _decoded(text: bytes, path: Path, kind: type[Any]) -> Iterator[Any]:
    decoder = msgspec.json.Decoder(kind)
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), 1):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            fix = "remove the line and run the same seqtune eval again: it makes what is missing"
            raise DataError(f"not a line of this file: {error}", where=f"{path}:{number}", fix=fix) from None
