"""`train`: rows in, a run folder with a model out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

from seqtune.data.example import Example, messages
from seqtune.data.folder import claim_folder, versions, write_lines, write_summary
from seqtune.data.reader import read
from seqtune.errors import DataError, RecipeError, shorten
from seqtune.training.batches import padding, plan
from seqtune.training.loss import Loss
from seqtune.training.model import PACKAGES, TINY, Loaded, load, load_tokenizer, require_packages, save, tiny
from seqtune.training.rendering import Row, require_template, training_row
from seqtune.training.words import word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Unused(msgspec.Struct, frozen=True):
    """A row that was not trained on, and why: a line of unused.jsonl."""

    id: str
    reason: str
    tokens: int = 0
    instruction: str = ""


@dataclass(frozen=True)
class Training:
    """What a training made.

    Args:
        out: the run folder: model/, losses.jsonl, unused.jsonl, run.json.
        model: the folder of the trained model and its tokenizer, which plain transformers loads.
        parameters: weights of the model.
        rows: rows that could be trained on; unused: rows that could not.
        steps: optimiser steps.
        tokens: tokens seen, prompts and answers together, padding not counted.
        trained_tokens: those of them that the loss was on.
        padding: share of slots that held padding.
        losses: what was said on the way, as in losses.jsonl.
        seed: of the weights (where they were made here) and of the order of rows.
        wall_s: how long it took; cpu_s: processor seconds of all threads.
    """

    out: Path
    model: Path
    parameters: int
    rows: int
    unused: int
    steps: int
    tokens: int
    trained_tokens: int
    padding: float
    losses: tuple[Loss, ...]
    seed: int
    wall_s: float
    cpu_s: float


class Resolved(msgspec.Struct, frozen=True):
    """The settings with their defaults filled in: all that the result depends on besides the rows. In run.json."""

    model: str
    tokenizer: str
    seed: int
    epochs: int
    max_tokens: int | None
    learning_rate: float
    weight_decay: float
    batch_tokens: int
    max_length: int


def train(
    dataset: Iterable[Example] | str | Path,
    model: str | Path = TINY,
    *,
    out: str | Path,
    seed: int = 0,
    epochs: int = 1,
    max_tokens: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    batch_tokens: int | None = None,
    max_length: int = 2048,
    tokenizer: str | Path = "",
    strict: bool = False,
    overwrite: bool = False,
    say: Callable[[Loss], object] | None = None,
) -> Training:
    """Fine-tune a model on rows; the loss is on their answers and end tokens only.

    Args:
        dataset: Examples, or a file of rows.
        model: "tiny" (from scratch, with a tokenizer made from the rows), a local folder, or a hub id.
        out: the run folder.
        seed: of the weights (tiny) and of the order of rows.
        epochs: passes over the rows.
        max_tokens: stop after so many tokens in place of after `epochs`.
        learning_rate: its peak; by default 1.5e-3 for "tiny" and 1e-5 for others.
        weight_decay: of AdamW.
        batch_tokens: the most tokens of a batch, padding included; by default 512 for "tiny" and 8192 for others.
        max_length: a row of more tokens is left out and listed in unused.jsonl; no row is ever cut.
        tokenizer: folder of a tokenizer for "tiny", in place of one made from the rows.
        strict: raise an error in place of leaving a row out.
        overwrite: take the folder whatever it holds.
        say: called with a Loss every few steps.

    Raises:
        RecipeError: a setting or a model that cannot be used.
        DataError: no row to train on; with `strict`, any row that cannot be.
        RunFolderError: the folder holds something else, or cannot be written.
        SeqtuneError: the loss is no number any more.
        MissingExtraError: torch or transformers is not installed.
    """
    require_packages("training")
    is_tiny = str(model) == TINY
    settings = Resolved(
        model=str(model),
        tokenizer=str(tokenizer),
        seed=seed,
        epochs=epochs,
        max_tokens=max_tokens,
        learning_rate=(1.5e-3 if is_tiny else 1e-5) if learning_rate is None else learning_rate,
        weight_decay=weight_decay,
        batch_tokens=(512 if is_tiny else 8192) if batch_tokens is None else batch_tokens,
        max_length=max_length,
    )
    _check(settings)
    return _run(settings, dataset, Path(out), strict, overwrite, say)


def _run(
    settings: Resolved,
    dataset: Iterable[Example] | str | Path,
    folder: Path,
    strict: bool,
    overwrite: bool,
    say: Callable[[Loss], object] | None,
) -> Training:
    """Render, plan, optimise, save; nothing is written before the rows are known to be good."""
    wall, cpu = time.perf_counter(), time.process_time()
    examples = _examples(dataset)
    loaded = _loaded(settings, examples)
    rows, unused = _rows(examples, loaded.tokenizer, settings.max_length, strict)
    lengths = [len(row.ids) for row in rows]
    batches = plan(
        lengths,
        batch_tokens=settings.batch_tokens,
        seed=settings.seed,
        epochs=settings.epochs,
        max_tokens=settings.max_tokens,
    )
    fingerprint = _fingerprint(settings, rows)
    claim_folder(folder, "train", fingerprint, overwrite=overwrite)
    write_lines(folder / "unused.jsonl", unused)
    losses = _optimise(loaded, rows, batches, settings, folder, say)
    save(loaded, folder / "model")
    training = Training(
        out=folder,
        model=folder / "model",
        parameters=loaded.model.num_parameters(),
        rows=len(rows),
        unused=len(unused),
        steps=len(batches),
        tokens=sum(lengths[i] for batch in batches for i in batch),
        trained_tokens=sum(len(rows[i].trained) for batch in batches for i in batch),
        padding=padding(batches, lengths),
        losses=tuple(losses),
        seed=settings.seed,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
    )
    write_summary(folder, _summary(training, settings, fingerprint))
    return training


def _optimise(
    loaded: Loaded,
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    settings: Resolved,
    folder: Path,
    say: Callable[[Loss], object] | None,
) -> list[Loss]:
    from seqtune.training.trainer import optimise  # imports torch and transformers

    losses: list[Loss] = []
    with (folder / "losses.jsonl").open("wb") as file:

        def note(loss: Loss) -> None:
            losses.append(loss)
            file.write(msgspec.json.encode(loss) + b"\n")
            file.flush()  # for whoever watches the run
            if say:
                say(loss)

        optimise(
            loaded,
            rows,
            batches,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            seed=settings.seed,
            folder=folder,
            say=note,
        )
    return losses


def _examples(dataset: Iterable[Example] | str | Path) -> list[Example]:
    examples = list(read(str(dataset)) if isinstance(dataset, (str, Path)) else dataset)
    if not examples:
        raise DataError("there is no row to train on", fix="give a file or a list with at least one row")
    return examples


def _loaded(settings: Resolved, examples: Sequence[Example]) -> Loaded:
    if settings.model != TINY:
        loaded = load(settings.model, for_training=True)
        require_template(loaded.tokenizer, settings.model)
        return loaded
    words = load_tokenizer(settings.tokenizer) if settings.tokenizer else tiny_tokenizer(examples)
    require_template(words, settings.tokenizer)
    return Loaded(tiny(words, seed=settings.seed, longest=settings.max_length), words)


def tiny_tokenizer(examples: Iterable[Example]) -> PreTrainedTokenizerBase:
    """A word-level tokenizer that knows the words of the rows."""
    texts = (message["content"] for example in examples for message in messages(example))
    return word_tokenizer(text for text in texts if isinstance(text, str))


def _rows(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_length: int, strict: bool
) -> tuple[list[Row], list[Unused]]:
    """Every example ends in one of the two: as a row to train on, or unused with the reason."""
    rows: list[Row] = []
    unused: list[Unused] = []
    for example in examples:
        row = _row_or_error(example, tokenizer, max_length)
        if isinstance(row, Row):
            rows.append(row)
        elif strict:
            raise row
        else:
            tokens = row.tokens if isinstance(row, _TooLong) else 0
            unused.append(Unused(example.id, row.what, tokens, shorten(example.instruction)))
    if not rows:
        first = unused[0]
        raise DataError(f"none of the {len(examples)} rows can be trained on; the first: {first.reason} ({first.id})")
    return rows, unused


def _row_or_error(example: Example, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Row | DataError:
    try:
        row = training_row(example, tokenizer)
    except DataError as error:
        return DataError(error.what, where=f"row {example.id}", fix=error.fix)
    return row if len(row.ids) <= max_length else _TooLong(row, max_length)


class _TooLong(DataError):
    def __init__(self, row: Row, limit: int) -> None:
        self.tokens = len(row.ids)
        fix = f"it has {self.tokens}: raise max_length, or shorten the row"
        super().__init__(f"the row has more than {limit} tokens", where=f"row {row.id}", fix=fix)


def _check(settings: Resolved) -> None:
    for name in ("epochs", "max_tokens", "learning_rate", "batch_tokens", "max_length"):
        value = getattr(settings, name)
        if value is not None and not 0 < value < float("inf"):
            raise RecipeError(f"{name} is {value}", fix="give a number above 0")


def _fingerprint(settings: Resolved, rows: Iterable[Row]) -> str:
    """The same for the same settings and the same rows in the same order."""
    found = xxhash.xxh3_128(msgspec.json.encode(settings))
    for row in rows:
        found.update(row.id.encode())
    return found.hexdigest()


def _summary(training: Training, settings: Resolved, fingerprint: str) -> dict[str, Any]:
    """What run.json says; it is written last, so a killed run never looks finished."""
    import torch

    result = msgspec.to_builtins(training, enc_hook=str)
    del result["losses"]  # they have a file of their own
    head = {"command": "train", "fingerprint": fingerprint, "finished": True}
    tail = {"threads": torch.get_num_threads(), "versions": versions(*PACKAGES)}
    return {**head, "settings": msgspec.to_builtins(settings), **result, **tail}
