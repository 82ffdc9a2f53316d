"""Ledgers: files of JSON lines that only grow, each line under a key, so that a killed run does nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from seqtune.errors import DataError, RunFolderError


class Keyed(Protocol):
    """A record with a key."""

    @property
    def key(self) -> str: ...


Record = TypeVar("Record", bound=Keyed)


class Ledger(Generic[Record]):
    """The records of a file by their keys; `add` writes new ones before it returns. Made by `open_ledger`."""

    def __init__(self, path: Path, found: dict[str, Record]) -> None:
        self._path, self._found = path, found
        self._file = path.open("ab", buffering=0)  # a kill loses what is not written yet, and nothing else

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
        try:
            self._file.write(b"".join(msgspec.json.encode(record) + b"\n" for record in new.values()))
        except OSError as error:
            fix = "free some space and run the same command again: what is written stays"
            raise RunFolderError(f"cannot be written: {error.strerror}", where=str(self._path), fix=fix) from error
        self._found |= new

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def open_ledger(path: Path, type: type[Record]) -> Iterator[Ledger[Record]]:
    """The ledger in a file, which need not be there yet. A last line that a kill tore is cut off.

    Raises:
        DataError: another line is no record.
        RunFolderError: the file cannot be written.
    """
    found = {record.key: record for record in _read(path, type)} if path.is_file() else {}
    try:
        ledger = Ledger(path, found)
    except OSError as error:
        raise RunFolderError(
            f"cannot be written: {error.strerror}", where=str(path), fix="choose another --out"
        ) from None
    try:
        yield ledger
    finally:
        ledger.close()


def _read(path: Path, type: type[Record]) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(type)
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        with path.open("r+b") as file:
            file.truncate(whole)
    for number, line in enumerate(text[:whole].splitlines(), 1):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            where, fix = f"{path}:{number}", "remove the line: what it held is made again"
            raise DataError(f"not a line of this file: {error}", where=where, fix=fix) from None
