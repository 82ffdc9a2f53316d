"""One process at a time in a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqtune.errors import RunFolderError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where there is none; the system lets go of it whatever becomes of the process.

    The folder itself is locked, so no file is left in it. Where that cannot be done (Windows, some file systems of a
    network), nothing is held.

    Raises:
        RunFolderError: another process holds it, or it cannot be made.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
    except OSError as error:
        what = f"cannot be used: {error.strerror}"
        raise RunFolderError(what, where=str(folder), fix="choose another --out") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        what = "another process is at work here"
        raise RunFolderError(what, where=str(folder), fix="wait for its end, or choose another --out") from None
    except OSError:  # not on this file system
        pass
    try:
        yield
    finally:
        os.close(held)
