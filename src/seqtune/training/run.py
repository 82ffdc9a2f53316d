"""`train`: rows in, a run folder with a model out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from seqtune.data.example import Example
from seqtune.data.folder import write_lines, write_summary
from seqtune.errors import RecipeError, RunFolderError
from seqtune.training import processes
from seqtune.training.adapters import require_adapter_packages
from seqtune.training.checkpoints import CHECKPOINTS, last_whole, losses_until, step_of
from seqtune.training.claim import claimed_folder
from seqtune.training.continuation import notes_on_adapter
from seqtune.training.fingerprint import fingerprint_of
from seqtune.training.intake import rendered_rows
from seqtune.training.loading import computes_in_16_bits, form_of, load_to_train
from seqtune.training.loss import Loss
from seqtune.training.model import TRAINERS, Loaded, require_packages
from seqtune.training.outcome import Training, finished_training, outcome_of, summary_of
from seqtune.training.plan import Plan
from seqtune.training.planning import check_settings, planned
from seqtune.training.positions import notes_on_length, within_positions
from seqtune.training.preferring import warnings_after, warnings_before
from seqtune.training.resolution import resolve
from seqtune.training.saving import push, require_token, save_training
from seqtune.training.settings import TINY, TrainSettings
from seqtune.training.tracking import require_tracker

Say = Callable[[Loss], object]
Tell = Callable[[str], object]


def train(
    dataset: Iterable[Example] | str | Path,
    model: str | Path = TINY,
    *,
    out: str | Path,
    say: Say | None = None,
    tell: Tell | None = None,
    **options: Any,
) -> Training:
    """Fine-tune a model on rows: on their answers and end tokens only, or by preference (methods dpo and grpo).

    A training that was killed goes on from its last checkpoint; one that is finished is not done again.

    Args:
        dataset: Examples, or a file of rows.
        model: "tiny" (from scratch, with a tokenizer made from the rows), the folder of a model or of a LoRA adapter,
            which is trained further, or a hub id.
        out: the run folder.
        say: called with a Loss every few steps.
        tell: called with what the user should know besides: a checkpoint that is torn, rows that cannot be packed.
        options: any other setting of a recipe's `train:` section: method, epochs, seed, ...; see `TrainSettings`.

    Raises:
        RecipeError: a setting or a model that cannot be used.
        DataError: no row to train on, or a row that would be trained wrongly; with `strict`, any row left out.
        RunFolderError: the folder holds something else, or cannot be written.
        SeqtuneError: the loss is no number any more, or memory ran out.
        MissingExtraError: torch, transformers, TRL, PEFT or bitsandbytes is needed and not installed.
    """
    require_packages("training", TRAINERS)
    settings = resolve(dataset, model, out, options)
    require_adapter_packages(settings)
    require_tracker(settings.track)
    if settings.push:
        require_token(settings.push)
    _join(settings)
    silent = not processes.is_main()
    return _run(settings, dataset, None if silent else say, _ignore if silent or tell is None else tell)


def _join(settings: TrainSettings) -> None:
    """Meet the other processes, where the method can share its work.

    Raises:
        RecipeError: it cannot, or the launcher started another number than was asked for.
    """
    if settings.prefers and processes.count() > 1:
        _require_shares(settings)
    processes.join(settings.processes)


def _require_shares(settings: TrainSettings) -> None:
    """Raises RecipeError where several processes cannot share the steps of a method of preference."""
    among, sharding = processes.count(), processes.sharding()
    if settings.method == "grpo":
        raise RecipeError(f"{among} processes started, and method grpo runs in one", fix="start it without a launcher")
    if sharding:
        raise RecipeError(f"method {settings.method} does not run with {sharding}", fix="start it with torchrun alone")
    if settings.step_size % (settings.accumulate * among):
        parts = f" in {settings.accumulate} parts" if settings.accumulate > 1 else ""
        raise RecipeError(
            f"{among} processes started, and cannot share a step of {settings.step_size} pairs{parts} equally",
            fix="set rows_per_step to a multiple of processes and accumulate",
        )


def _run(settings: TrainSettings, dataset: Iterable[Example] | str | Path, say: Say | None, tell: Tell) -> Training:
    """Render, check, plan, optimise, save; nothing is written before the rows and the settings are known to be good."""
    began = time.perf_counter()
    folder, settings = Path(settings.out), within_positions(settings)
    bfloat16 = computes_in_16_bits(settings)
    tokenizer, rendered = rendered_rows(settings, dataset)
    fingerprint = fingerprint_of(settings, rendered.rows)
    if done := None if settings.overwrite else finished_training(folder, fingerprint, tell):
        return _given_again(done, settings, tell)
    loaded = load_to_train(settings, tokenizer, bfloat16)
    plan = planned(settings, rendered, form_of(settings, loaded, rendered.rows, tell))
    check_settings(settings, rendered, plan, bfloat16)
    _each(tell, (*notes_on_adapter(settings), *notes_on_length(settings), *warnings_before(settings, rendered.rows)))
    optimise = _optimiser(settings)
    with claimed_folder(folder, fingerprint, settings.overwrite):
        if processes.is_main():
            write_lines(folder / "unused.jsonl", rendered.unused)
        processes.wait()
        wall, cpu = time.perf_counter(), time.process_time()
        loaded, losses, resumed = _optimised(
            optimise, loaded, rendered.rows, plan, settings, bfloat16, fingerprint, say, tell
        )
        spent = time.perf_counter() - wall, time.process_time() - cpu, wall - began
        training = outcome_of(settings, loaded, rendered, plan, losses, resumed, *spent)
        if processes.is_main():
            save_training(loaded, settings, training, rendered.examples)
            write_summary(folder, summary_of(training, settings, fingerprint))
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        processes.wait()
    _each(tell, warnings_after(settings, losses))
    return training


def _given_again(done: Training, settings: TrainSettings, tell: Tell) -> Training:
    """A training that is finished, which may still have to be sent to the hub."""
    tell(f"{done.out}: this training is finished already; overwrite makes it again")
    if settings.push and processes.is_main():
        push(done.model, settings.push)
    return done


def _optimised(
    optimise: Callable[..., Loaded],
    loaded: Loaded,
    rows: Sequence[Any],
    plan: Plan,
    settings: TrainSettings,
    bfloat16: bool,
    fingerprint: str,
    say: Say | None,
    tell: Tell,
) -> tuple[Loaded, list[Loss], int]:
    """Train to the end, from the last whole checkpoint if any; gives the model, all losses, that checkpoint's step."""
    folder = Path(settings.out)
    checkpoint = last_whole(folder / CHECKPOINTS, fingerprint, tell)
    if checkpoint:
        tell(f"{checkpoint}: the run goes on from here")
    losses = losses_until(folder / "losses.jsonl", step_of(checkpoint), tell)
    before_s = losses[-1].wall_s if losses else 0.0
    with _lines_after(folder / "losses.jsonl", losses) as write:

        def note(loss: Loss) -> None:
            losses.append(loss)
            write(loss)
            if say:
                say(loss)

        trained = optimise(
            loaded,
            rows,
            plan,
            settings,
            bfloat16=bfloat16,
            folder=folder,
            say=note,
            fingerprint=fingerprint,
            checkpoint=checkpoint,
            before_s=before_s,
        )
    return trained, losses, step_of(checkpoint)


def _optimiser(settings: TrainSettings) -> Callable[..., Loaded]:
    """What trains by the method; importing it imports torch, transformers and TRL."""
    if settings.prefers:
        from seqtune.training.preference import optimise_preference

        return optimise_preference
    from seqtune.training.trainer import optimise

    return optimise


@contextmanager
def _lines_after(path: Path, losses: Sequence[Loss]) -> Iterator[Say]:
    """What writes lines after those that a file is to begin with; only the main process does."""
    if not processes.is_main():
        yield _ignore
        return
    write_lines(path, losses)
    with path.open("ab", buffering=0) as file:  # unbuffered, for whoever watches the run
        yield lambda loss: _append(file, loss, path)


def _append(file: BinaryIO, loss: Loss, path: Path) -> None:
    """Raises RunFolderError where the disk is full."""
    try:
        file.write(msgspec.json.encode(loss) + b"\n")
    except OSError as error:
        raise RunFolderError(
            f"the loss of step {loss.step} cannot be written: {error.strerror}",
            where=str(path),
            fix="free some space, and run the same command again",
        ) from None


def _each(tell: Tell, lines: Iterable[str]) -> None:
    for line in lines:
        tell(line)


def _ignore(_: object) -> None:
    """What nobody wants to be told."""
