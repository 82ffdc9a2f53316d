"""`train`: rows in, a run folder with a model out."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from seqtune.data.example import Example, messages
from seqtune.errors import DataError, RecipeError, RunFolderError, shorten
from seqtune.training.batches import padding, plan
from seqtune.training.model import PACKAGES, TINY, Loaded, load, load_tokenizer, require_packages, save, tiny
from seqtune.training.rendering import Row, require_template, training_row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from seqtune.training.trainer import Loss


class Unused(msgspec.Struct, frozen=True):
    """A row that was not trained on, and why: a line of unused.jsonl."""

    id: str
    reason: str
    tokens: int = 0
    instruction: str = ""


@dataclass(frozen=True)
class TrainingRun:
    """What a training made.

    Args:
        folder: the run folder: model/, losses.jsonl, run.json and, where rows were left out, unused.jsonl.
        model: the folder of the trained model and its tokenizer, loadable by plain transformers.
        parameters: weights of the model.
        rows: rows trained on.
        unused: rows left out.
        steps: optimiser steps.
        tokens: tokens seen, prompts and answers together, padding not counted.
        trained_tokens: those of them that the loss was on.
        padding: share of slots that held padding.
        first_loss, last_loss: nats a trained token, means over the first and last logged steps.
        seconds, cpu_seconds: wall time, and processor time of all threads.
    """

    folder: Path
    model: Path
    parameters: int
    rows: int
    unused: int
    steps: int
    tokens: int
    trained_tokens: int
    padding: float
    first_loss: float
    last_loss: float
    seconds: float
    cpu_seconds: float


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
    batch_tokens: int = 4096,
    max_length: int = 2048,
    tokenizer: str | Path | None = None,
    strict: bool = False,
    say: Callable[[Loss], None] | None = None,
) -> TrainingRun:
    """Fine-tune a model on rows; the loss is on their answers and end tokens only.

    Args:
        dataset: Examples, or a file of rows.
        model: "tiny" (from scratch, with a tokenizer made from the rows), a local folder, or a hub id.
        out: the run folder; it must not hold a run yet.
        seed: of the weights (tiny) and of the order of rows.
        epochs: passes over the rows.
        max_tokens: stop after so many tokens, whatever `epochs` says.
        learning_rate: its peak; 2e-3 for "tiny" and 1e-5 for others where it is not given.
        batch_tokens: the most tokens of a batch, padding included.
        max_length: a longer row is left out and listed in unused.jsonl; no row is ever cut.
        tokenizer: folder of a tokenizer to use with "tiny" in place of one made from the rows.
        strict: an error in place of leaving a row out.
        say: called with a Loss every few steps.

    Raises:
        RecipeError: a setting or a model that cannot be used.
        DataError: no row to train on; with `strict`, any row that cannot be.
        RunFolderError: `out` holds a run already.
        SeqtuneError: the loss is no number any more.
        MissingExtraError: torch or transformers is not installed.
    """
    require_packages("training")
    folder = _fresh(Path(out))
    _check_numbers(epochs=epochs, max_tokens=max_tokens, learning_rate=learning_rate, batch_tokens=batch_tokens)
    started, cpu_started = time.perf_counter(), time.process_time()
    examples = _examples(dataset)
    loaded = _loaded(model, tokenizer, examples, seed)
    require_template(loaded.tokenizer, str(model))
    rows, unused = _rows(examples, loaded.tokenizer, max_length, strict)

    lengths = [len(row.ids) for row in rows]
    batches = plan(lengths, batch_tokens=batch_tokens, seed=seed, epochs=epochs, max_tokens=max_tokens)
    rate = learning_rate or (2e-3 if model == TINY else 1e-5)
    folder.mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "unused.jsonl", unused)
    losses = _optimised(loaded, rows, batches, (rate, weight_decay, seed), folder, say)
    save(loaded, folder / "model")

    run = TrainingRun(
        folder=folder,
        model=folder / "model",
        parameters=loaded.model.num_parameters(),
        rows=len(rows),
        unused=len(unused),
        steps=len(batches),
        tokens=sum(lengths[i] for batch in batches for i in batch),
        trained_tokens=sum(len(rows[i].trained) for batch in batches for i in batch),
        padding=padding(batches, lengths),
        first_loss=losses[0].loss,
        last_loss=losses[-1].loss,
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
    )
    settings = {
        "model": str(model), "seed": seed, "epochs": epochs, "max_tokens": max_tokens, "learning_rate": rate,
        "weight_decay": weight_decay, "batch_tokens": batch_tokens, "max_length": max_length,
    }  # fmt: skip
    _write_run(run, settings)
    return run


def _optimised(
    loaded: Loaded,
    rows: list[Row],
    batches: list[list[int]],
    settings: tuple[float, float, int],
    folder: Path,
    say: Callable[[Loss], None] | None,
) -> list[Loss]:
    from seqtune.training.trainer import Settings, optimise

    losses: list[Loss] = []
    with (folder / "losses.jsonl").open("wb") as file:

        def note(loss: Loss) -> None:
            losses.append(loss)
            file.write(msgspec.json.encode(loss) + b"\n")
            file.flush()
            if say:
                say(loss)

        optimise(loaded, rows, batches, Settings(*settings), folder, note)
    return losses


def _examples(dataset: Iterable[Example] | str | Path) -> list[Example]:
    if isinstance(dataset, (str, Path)):
        from seqtune.data.reader import read

        dataset = read(dataset)
    examples = list(dataset)
    if not examples:
        raise DataError("there is no row to train on", fix="give a file or a list with at least one row")
    return examples


def _loaded(model: str | Path, tokenizer: str | Path | None, examples: list[Example], seed: int) -> Loaded:
    if model != TINY:
        return load(model)
    words = load_tokenizer(tokenizer) if tokenizer else tiny_tokenizer(examples)
    return Loaded(tiny(words, seed=seed), words)


def tiny_tokenizer(examples: Iterable[Example]) -> PreTrainedTokenizerBase:
    """A word-level tokenizer that knows the words of the rows."""
    from seqtune.training.words import as_texts, word_tokenizer

    return word_tokenizer(as_texts(messages(example) for example in examples))


def _rows(
    examples: list[Example], tokenizer: PreTrainedTokenizerBase, max_length: int, strict: bool
) -> tuple[list[Row], list[Unused]]:
    """Every example ends in one of the two: as a row to train on, or unused with the reason."""
    rows: list[Row] = []
    unused: list[Unused] = []
    for example in examples:
        try:
            row = training_row(example, tokenizer)
            if len(row.ids) > max_length:
                raise _TooLong(len(row.ids), max_length)
        except DataError as error:
            if strict:
                raise DataError(error.what, where=f"row {example.id}", fix=error.fix) from None
            tokens = error.tokens if isinstance(error, _TooLong) else 0
            unused.append(Unused(example.id, error.what, tokens, shorten(example.instruction)))
        else:
            rows.append(row)
    if not rows:
        raise DataError(f"none of the {len(examples)} rows can be trained on: {unused[0].reason}", fix="see the rows")
    return rows, unused


class _TooLong(DataError):
    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the row has more than {limit} tokens", fix=f"raise max_length to {tokens}, or shorten it")
        self.tokens = tokens


def _fresh(folder: Path) -> Path:
    if (folder / "model").exists() or (folder / "run.json").exists():
        raise RunFolderError(
            "the folder holds a run already", where=str(folder), fix="give another folder, or remove it"
        )
    return folder


def _check_numbers(**settings: float | None) -> None:
    for name, value in settings.items():
        if value is not None and value <= 0:
            raise RecipeError(f"{name} is {value}", fix="give a number above 0")


def _write_lines(path: Path, lines: Iterable[Unused]) -> None:
    encoded = [msgspec.json.encode(line) + b"\n" for line in lines]
    if encoded:
        path.write_bytes(b"".join(encoded))


def _write_run(run: TrainingRun, settings: dict[str, Any]) -> None:
    """run.json is written last: a folder without it holds no finished run."""
    import torch

    figures = asdict(run) | {"folder": str(run.folder), "model": str(run.model)}
    versions = {package: version(package) for package in PACKAGES} | {"python": platform.python_version()}
    whole = {"settings": settings, "result": figures, "versions": versions, "threads": torch.get_num_threads()}
    encoded = msgspec.json.format(msgspec.json.encode(whole), indent=2)
    (run.folder / "run.json").write_bytes(encoded + b"\n")
