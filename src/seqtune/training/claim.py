"""The run folder of a training: the main process has it to itself while it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqtune.data.folder import SUMMARY, read_object, working_in, write_summary
from seqtune.errors import RunFolderError
from seqtune.training import processes
from seqtune.training.checkpoints import CHECKPOINTS
from seqtune.training.finite import Diverged


@contextmanager
def claimed_folder(folder: Path, fingerprint: str, overwrite: bool) -> Iterator[None]:
    """The run folder, for as long as the main process writes into it: no other may do so meanwhile.

    Raises:
        RunFolderError: it holds something else, or another process is at work there.
    """
    if not processes.is_main():
        yield
        return
    if not overwrite:
        _require_readable(folder)
    with working_in(folder, "train", fingerprint, overwrite=overwrite or _holds_nothing(folder)):
        try:
            yield
        except Diverged as error:
            begun = {"command": "train", "fingerprint": fingerprint, "finished": False}
            write_summary(folder, {**begun, "diverged": error.what})
            raise


def _require_readable(folder: Path) -> None:
    """Raises RunFolderError for a run.json that says nothing, which a machine that went down may leave."""
    path = folder / SUMMARY
    if path.is_file() and not read_object(path):
        fix = "pass --overwrite, or choose another --out"
        raise RunFolderError("it cannot be read, so nobody knows whose folder this is", where=str(path), fix=fix)


def _holds_nothing(folder: Path) -> bool:
    """Whether all that stands in a folder is a training that diverged, or was stopped before its first checkpoint."""
    summary = read_object(folder / SUMMARY)
    begun = summary.get("command") == "train" and not summary.get("finished")
    bare = "diverged" in summary or not any((folder / CHECKPOINTS).glob("checkpoint-*"))
    return begun and bare and not (folder / "model").exists()
