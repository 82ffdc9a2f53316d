"""The run folder of a training: the main process has it to itself while it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from seqtune.data.folder import SUMMARY, check_folder, claim_folder
from seqtune.data.lock import locked
from seqtune.training import processes
from seqtune.training.checkpoints import CHECKPOINTS


@contextmanager
def claimed_folder(folder: Path, fingerprint: str, overwrite: bool) -> Iterator[None]:
    """The run folder, for as long as the main process writes into it: no other may do so meanwhile.

    Raises:
        RunFolderError: it holds something else, or another process is at work there.
    """
    if not processes.is_main():
        yield
        return
    overwrite = overwrite or _holds_nothing(folder)
    check_folder(folder, "train", fingerprint, overwrite=overwrite)
    with locked(folder):
        claim_folder(folder, "train", fingerprint, overwrite=overwrite)
        yield


def _holds_nothing(folder: Path) -> bool:
    """Whether all that stands in a folder is a training that was stopped before its first checkpoint."""
    try:
        summary = msgspec.json.decode((folder / SUMMARY).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False
    begun = summary.get("command") == "train" and not summary.get("finished")
    return begun and not (folder / "model").exists() and not any((folder / CHECKPOINTS).glob("checkpoint-*"))
