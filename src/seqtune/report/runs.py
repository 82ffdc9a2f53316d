"""The runs under a folder: what each command wrote, told apart by its run.json."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from seqtune.data.folder import SUMMARY, read_object
from seqtune.errors import RunFolderError

DEEPEST = 6  # folders below the given one
ROWS_READ = 20_000  # a file may hold millions; the first thousands show every kind of row
LONGEST_LINE = 1 << 18  # bytes

Struct = TypeVar("Struct")
_SEED = re.compile(r"seed--?\d+")


class Run(NamedTuple):
    """A run folder.

    Args:
        folder: where it stands.
        name: its path below the folder that was searched.
        command: "build", "train", "eval", "demo" or whatever else wrote it.
        summary: what its run.json says.
    """

    folder: Path
    name: str
    command: str
    summary: Mapping[str, Any]

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.summary.get("finished"))


def find_runs(folder: Path) -> list[Run]:
    """All runs in a folder and below it, in order of their paths; links are not followed.

    Raises:
        RunFolderError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise RunFolderError("no such folder", where=str(folder), fix="give the folder that runs were written to")
    runs = [_open(path, folder) for path in sorted(_summaries(folder))]
    if not runs:
        raise RunFolderError(
            "no run of seqtune in this folder or below it",
            where=str(folder),
            fix="run 'seqtune build' or 'train' first",
        )
    return runs


def split_seed(name: str) -> tuple[str, str]:
    """A run's name without the folder of its seed, and that: "train/it/seed-0", "seed-0/it"."""
    parts = name.split("/")
    seed = next((part for part in parts if _SEED.fullmatch(part)), "")
    return "/".join(part for part in parts if part != seed), seed


def _summaries(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        if len(Path(at).relative_to(folder).parts) >= DEEPEST:
            folders.clear()
        folders[:] = [name for name in folders if name != "model" and not name.startswith(".")]
        if SUMMARY in names:
            yield Path(at)


def _open(path: Path, root: Path) -> Run:
    name = path.relative_to(root).as_posix() if path != root else path.resolve().name
    summary = read_object(path / SUMMARY)
    return Run(path, name, str(summary.get("command", "")), summary)


def read_number(values: Mapping[str, Any], name: str) -> float | None:
    """The number of that name; None where there is none."""
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else None


def read_mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object of that name; empty where there is none."""
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}


def read_structs(path: Path, type: type[Struct], count: int = ROWS_READ) -> Iterator[Struct]:
    """The first rows of a file of JSON lines; a broken or very long one is passed over, a missing file has none."""
    decoder = msgspec.json.Decoder(type)
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in islice(file, count):
            if len(line) > LONGEST_LINE:
                continue
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
