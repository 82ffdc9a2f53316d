"""Checkpoints that are whole or not there: written aside, sealed with a manifest, and checked before they are used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

from seqtune.data.folder import write_json
from seqtune.errors import RunFolderError
from seqtune.training import processes
from seqtune.training.adapters import base_model
from seqtune.training.finite import largest_weight, require_finite
from seqtune.training.loss import Loss

if TYPE_CHECKING:
    from transformers import Trainer
else:
    Trainer = object  # so that looking for a checkpoint loads neither torch nor transformers

CHECKPOINTS = "checkpoints"  # their folder in that of a run
HALF = "half-saved"  # in the folder of checkpoints: what is being written, or deleted
MANIFEST = "manifest.json"
CHUNK = 1 << 22  # bytes


class File(msgspec.Struct, frozen=True):
    """A file of a checkpoint: its length in bytes and its xxh3-128."""

    bytes: int
    xxh3: str


class Manifest(msgspec.Struct, frozen=True):
    """What makes a checkpoint whole: the last file that is written into it.

    Args:
        fingerprint: of the run, its settings and rows; a checkpoint of another run is never gone on from.
        files: every other file, by its path in the checkpoint.
        sharding: what spread the weights over the processes, "" where each had all of them.
    """

    fingerprint: str
    files: dict[str, File]
    sharding: str = ""


class WholeCheckpoints(Trainer):  # type: ignore[misc]
    """A mixin that stands before a Trainer of transformers or TRL: `class Planned(WholeCheckpoints, SFTTrainer)`.

    A checkpoint takes its place only when all of it is on the disk. It holds more than transformers' own: the losses
    since the last log line, without which the first line after a resume would be the mean of other steps.
    `save_total_limit` is honoured here, after a checkpoint is whole.
    """

    fingerprint = ""
    _aside: Path | None = None

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder, step = Path(self._get_output_dir(trial)), self.state.global_step
        main, wait = self.args.should_save, self.accelerator.wait_for_everyone
        if main:
            _discard_half(folder)
        wait()  # no process may write before the rest of a killed save is gone
        self._aside = folder / HALF
        try:
            with _errors_told(folder, step):
                self.require_finite()
                super()._save_checkpoint(model, trial)
                wait()  # every process has written its part
                if main:
                    _seal(folder, step, self.fingerprint)
                    _prune(folder, step, self.args.save_total_limit)
        finally:
            self._aside = None
        wait()

    def require_finite(self) -> None:
        """Raises Diverged, in every process, where the loss or the trained weights are no numbers any more."""
        weights = (weight for weight in self.model.parameters() if weight.requires_grad)
        here = self._tr_loss.new_tensor([[abs(self._tr_loss.item()), largest_weight(weights)]])
        loss, weight = self.accelerator.gather(here).amax(0).tolist()  # one that is NaN is passed on
        when = f"after step {self.state.global_step:,} of {self.state.max_steps:,}"
        require_finite("loss", loss, when, self.args.learning_rate)
        require_finite("trained weights", weight, when, self.args.learning_rate)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._aside or super()._get_output_dir(trial))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        unlogged = {
            "since": self._globalstep_last_logged,
            "sum": self._tr_loss.item(),
            "total": self._total_loss_scalar,
        }
        _unlogged(Path(output_dir), self.args.process_index).write_bytes(msgspec.json.encode(unlogged))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Not of weights that are shared with others, which are read."""
        tied = getattr(base_model(self.model), "all_tied_weights_keys", None) or {}
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)  # called once a run, after the loop has set its counters to zero
        path = _unlogged(Path(checkpoint or ""), self.args.process_index)
        if checkpoint and path.is_file():
            unlogged = msgspec.json.decode(path.read_bytes())
            self._globalstep_last_logged, self._total_loss_scalar = unlogged["since"], unlogged["total"]
            self._tr_loss += unlogged["sum"]


def last_whole(folder: Path, fingerprint: str, say: Callable[[str], object]) -> Path | None:
    """The newest checkpoint of this run that is whole, or None.

    Args:
        folder: where the checkpoints are.
        fingerprint: of the run.
        say: is told of every checkpoint that is passed over, and why.

    Raises:
        RunFolderError: it was written by processes that spread the weights otherwise.
    """
    if (folder / HALF).is_dir():
        say(f"{folder}: the run ended while a checkpoint was being written; what there is of it is not used")
    for checkpoint in reversed(_checkpoints(folder)):
        fault = _fault(checkpoint, fingerprint)
        if fault is None:
            _require_same_sharding(checkpoint)
            return checkpoint
        say(f"{checkpoint}: {fault}; it is not used")
    return None


def step_of(checkpoint: Path | None) -> int:
    """The optimiser steps that were done when it was written; 0 for none."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def losses_until(path: Path, step: int, tell: Callable[[str], object] = str) -> list[Loss]:
    """The lines of a losses.jsonl up to a step; later ones come again, and a last line that was cut off is left out.

    Args:
        path: of the file.
        step: the last one that is wanted.
        tell: is told of lines that cannot be read, which are left out.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().rpartition(b"\n")[0].split(b"\n")
    losses = [_loss(line) for line in lines if line]
    if damaged := losses.count(None):
        tell(f"{path}: {damaged} of {len(losses)} lines cannot be read; they are left out, and the run goes on")
    return [loss for loss in losses if loss and loss.step <= step]


def _loss(line: bytes) -> Loss | None:
    try:
        return msgspec.json.decode(line, type=Loss)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _unlogged(checkpoint: Path, process: int) -> Path:
    return checkpoint / f"unlogged_{process}.json"


def _checkpoints(folder: Path) -> list[Path]:
    """By rising step."""
    found = (path for path in folder.glob("checkpoint-*") if path.is_dir() and path.name[11:].isdecimal())
    return sorted(found, key=step_of)


def _fault(checkpoint: Path, fingerprint: str) -> str | None:
    """Why a checkpoint cannot be used."""
    try:
        manifest = _manifest(checkpoint)
    except FileNotFoundError:
        return f"it has no {MANIFEST}, so it was not written to its end"
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"its {MANIFEST} cannot be read ({error})"
    if manifest.fingerprint != fingerprint:
        return "it is of a run with other rows or settings"
    return fault_of_files(checkpoint, manifest.files) or _fault_of_loss(checkpoint)


def fault_of_files(folder: Path, files: Mapping[str, File]) -> str | None:
    """Why files in a folder are not what they were when they were noted, by the first that is not."""
    return next((fault for name, file in files.items() if (fault := _file_fault(folder / name, file))), None)


def files_in(folder: Path) -> dict[str, File]:
    """Every file in a folder and below, to be noted."""
    return {str(path.relative_to(folder)): File(path.stat().st_size, _hash(path)) for path in _files(folder)}


def _fault_of_loss(checkpoint: Path) -> str | None:
    """JSON has no NaN: a loss that is none was written as null."""
    sums = [msgspec.json.decode(path.read_bytes()) for path in sorted(checkpoint.glob("unlogged_*.json"))]
    return "its loss is no number any more" if any(None in sum.values() for sum in sums) else None


def _require_same_sharding(checkpoint: Path) -> None:
    written, now = _manifest(checkpoint).sharding, processes.sharding()
    if written != now:
        raise RunFolderError(
            f"its weights were {_spread(written)}, and now they are {_spread(now)}, so it cannot be gone on from",
            where=str(checkpoint),
            fix="start the run with the launcher and the configuration that it was begun with, or set overwrite",
        )


def _spread(sharding: str) -> str:
    return f"spread over processes by {sharding}" if sharding else "whole in every process"


def _manifest(checkpoint: Path) -> Manifest:
    return msgspec.json.decode((checkpoint / MANIFEST).read_bytes(), type=Manifest)


def _file_fault(path: Path, expected: File) -> str | None:
    try:
        length = path.stat().st_size
        if length != expected.bytes:
            return f"its {path.name} has {length} of {expected.bytes} bytes"
        return None if _hash(path) == expected.xxh3 else f"its {path.name} is not what was written"
    except OSError as error:
        return f"its {path.name} cannot be read ({error.strerror})"


def _seal(folder: Path, step: int, fingerprint: str) -> None:
    """Give a checkpoint that was written aside its manifest, wait for the disk to have it, and put it in its place."""
    aside, place = folder / HALF / f"checkpoint-{step}", folder / f"checkpoint-{step}"
    write_json(aside / MANIFEST, Manifest(fingerprint, files_in(aside), processes.sharding()))
    for path in [*_files(aside), *(path for path in aside.rglob("*") if path.is_dir()), aside]:
        _sync(path)
    if place.exists():  # a torn one that was passed over
        _discard(place)
    aside.rename(place)
    _sync(folder)
    shutil.rmtree(folder / HALF)


def _prune(folder: Path, step: int, keep: int | None) -> None:
    """Delete all but the last `keep` checkpoints, and any after `step`: they were passed over when the run went on."""
    for checkpoint in _checkpoints(folder):
        if step_of(checkpoint) > step:
            _discard(checkpoint)
    for checkpoint in _checkpoints(folder)[: -keep if keep else 0]:
        _discard(checkpoint)


def _discard(checkpoint: Path) -> None:
    """Delete a checkpoint, which is out of its place before it begins to be torn."""
    aside = checkpoint.parent / HALF / f"old-{checkpoint.name}"
    aside.parent.mkdir(exist_ok=True)
    checkpoint.rename(aside)
    shutil.rmtree(aside)
    if not any(aside.parent.iterdir()):
        aside.parent.rmdir()


def _discard_half(folder: Path) -> None:
    if (folder / HALF).is_dir():
        shutil.rmtree(folder / HALF)
    (folder / HALF).unlink(missing_ok=True)  # somebody's file


@contextmanager
def _errors_told(folder: Path, step: int) -> Iterator[None]:
    """Raises RunFolderError for a disk that is full; what was written until then is removed."""
    try:
        yield
    except BaseException as error:  # torch's CheckpointException is no Exception
        shutil.rmtree(folder / HALF, ignore_errors=True)
        failure = _first_failure(error)
        if not _is_of_the_disk(failure):
            raise
        free = shutil.disk_usage(folder).free / 1e9
        raise RunFolderError(
            f"the checkpoint of step {step} cannot be written ({free:.1f} GB are free): {failure}",
            where=str(folder),
            fix=f"free some space, and run the same command again: {_beginning(folder)}",
        ) from error


def _beginning(folder: Path) -> str:
    """Where the next run would begin."""
    whole = _checkpoints(folder)
    return f"it goes on from {whole[-1].name}" if whole else "it begins anew, as there is no checkpoint yet"


def _first_failure(error: BaseException) -> BaseException:
    """Of the processes that wrote shares of a checkpoint, where it is an error of them together."""
    failures = getattr(error, "failures", None)
    return next(iter(failures.values()))[0] if failures else error


def _is_of_the_disk(error: BaseException) -> bool:
    """torch reports a failed write as a RuntimeError of its file writer, safetensors as an error of its own."""
    of_torch = isinstance(error, RuntimeError) and ("inline_container" in str(error) or "iostream" in str(error))
    return isinstance(error, OSError) or type(error).__name__ == "SafetensorError" or of_torch


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hash(path: Path) -> str:
    found = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
