"""Run folders: everything one command made, in one place, never looking whole before it is."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from seqtune import __version__
from seqtune.data.lock import locked
from seqtune.errors import RunFolderError

SUMMARY = "run.json"
SEAL = "made_of.json"  # in each run folder of an experiment: the hash of all that its run was made of
PARTIAL = ".partial"


@contextmanager
def working_in(path: Path, command: str, fingerprint: str, *, overwrite: bool = False) -> Iterator[None]:
    """Claim the folder, see `claim_folder`, and have it to oneself until the run is over.

    Raises:
        RunFolderError: it is a file, it holds other things, or another process is at work there.
    """
    check_folder(path, command, fingerprint, overwrite=overwrite)  # before the lock, which makes the folder
    with locked(path):
        claim_folder(path, command, fingerprint, overwrite=overwrite)
        yield


def claim_folder(path: Path, command: str, fingerprint: str, *, overwrite: bool = False) -> None:
    """Make the folder ready for a run: it is new, or holds the same run, finished or not, which may be made again.

    Args:
        path: the run folder.
        command: what is run: "build", "train", ...
        fingerprint: says whether two runs of a command were asked for the same thing.
        overwrite: take the folder whatever it holds; only files of the run's own names are replaced.

    Raises:
        RunFolderError: it is a file, or it holds other things.
    """
    check_folder(path, command, fingerprint, overwrite=overwrite)
    with _said_of(path):
        path.mkdir(parents=True, exist_ok=True)
        for name in os.listdir(path):
            if name.endswith(PARTIAL):
                (path / name).unlink()
    write_summary(path, {"command": command, "fingerprint": fingerprint, "finished": False})


def check_folder(path: Path, command: str, fingerprint: str, *, overwrite: bool = False) -> None:
    """Say whether `claim_folder` would take the folder, and write nothing: before what costs time or money.

    Raises:
        RunFolderError: it is a file, or it holds other things.
    """
    if path.is_file():
        raise RunFolderError("this is a file, not a folder", where=str(path), fix="choose another --out")
    with _said_of(path):
        names = os.listdir(path) if path.is_dir() else []
    if not overwrite and any(not name.endswith(PARTIAL) for name in names):
        _refuse_other_run(path, command, fingerprint)


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"cannot be used: {error.strerror}", where=str(path), fix="choose another --out") from None


def _refuse_other_run(path: Path, command: str, fingerprint: str) -> None:
    summary = _decode_summary(path) if (path / SUMMARY).is_file() else {}
    if (summary.get("command"), summary.get("fingerprint")) == (command, fingerprint):
        return
    made_by = summary.get("command")
    what = f"another run of 'seqtune {made_by}' stands here" if made_by else "the folder holds files of something else"
    raise RunFolderError(what, where=str(path), fix="choose another --out, or pass --overwrite")


def read_summary(path: Path) -> dict[str, Any]:
    """What `run.json` of a finished run says.

    Raises:
        RunFolderError: there is none, it is not JSON, or the run did not finish.
    """
    if not (path / SUMMARY).is_file():
        raise RunFolderError("no run of seqtune stands here", where=str(path), fix="give the folder that a run wrote")
    summary = _decode_summary(path)
    if not summary.get("finished"):
        raise RunFolderError("the run here did not finish", where=str(path), fix="run its command again")
    return summary


def _decode_summary(path: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = msgspec.json.decode((path / SUMMARY).read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunFolderError(f"not a summary: {error}", where=str(path / SUMMARY), fix="remove the file") from None
    return summary


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write `run.json`; a run writes it last, with `finished: true`, so that a killed run never looks whole."""
    write_json(path / SUMMARY, dict(summary))


def write_json(path: Path, value: object) -> None:
    """Write one value as JSON to be read by people too."""
    with replacing(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def write_lines(path: Path, rows: Iterable[msgspec.Struct]) -> None:
    """Write rows as JSON lines."""
    with replacing(path) as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its place only when it is whole; after an error nothing of it is left.

    Raises:
        RunFolderError: the disk is full or the place cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    with _said_of(path):
        opened = partial.open("wb", buffering=1 << 18)
    try:
        with opened as file:
            yield file
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise RunFolderError(
                f"cannot be written: {error.strerror}", where=str(path), fix="free some space, or choose another --out"
            ) from error
        raise


def versions(*packages: str) -> dict[str, str]:
    """Versions of seqtune, Python and the named packages, for a run's summary."""
    found = {"seqtune": __version__, "python": platform.python_version()}
    if packages:
        from importlib import metadata

        found |= {package: metadata.version(package) for package in packages}
    return found
