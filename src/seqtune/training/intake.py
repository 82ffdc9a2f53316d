"""The rows of a training: read, given a tokenizer, rendered, and checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqtune.data.example import Example
from seqtune.data.reader import read
from seqtune.errors import DataError
from seqtune.training.model import load_tokenizer
from seqtune.training.positions import within_positions
from seqtune.training.preferring import render_preferences
from seqtune.training.preflight import check_rows
from seqtune.training.rendering import end_mark
from seqtune.training.rows import Rendered, render
from seqtune.training.settings import TINY, TrainSettings
from seqtune.training.templates import use_template
from seqtune.training.words import tiny_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def rendered_rows(
    settings: TrainSettings, dataset: Iterable[Example] | str | Path
) -> tuple[PreTrainedTokenizerBase, Rendered[Any]]:
    """The tokenizer of a training, and its rows, known to be good: `Row`s, or what `render_preferences` makes of them.

    Raises:
        RecipeError: no model there, or a template that it cannot use.
        DataError: no row to train on, or a row that would be trained wrongly; with `strict`, any row left out.
    """
    settings = within_positions(settings)  # again, for who only wants the rows
    examples = read_examples(dataset)
    tokenizer = tokenizer_of(settings, examples)
    if settings.prefers:
        return tokenizer, render_preferences(settings, examples, tokenizer)
    rendered = render(
        examples, tokenizer, max_length=settings.max_length, too_long=settings.too_long, strict=settings.strict
    )
    check_rows(rendered.rows, rendered.examples, tokenizer)
    return tokenizer, rendered


def read_examples(dataset: Iterable[Example] | str | Path) -> list[Example]:
    """The rows of a file, or those given.

    Raises:
        DataError: there are none.
    """
    examples = list(read(str(dataset)) if isinstance(dataset, (str, Path)) else dataset)
    if not examples:
        raise DataError("there is no row to train on", fix="give a file or a list with at least one row")
    return examples


def tokenizer_of(settings: TrainSettings, examples: Sequence[Example]) -> PreTrainedTokenizerBase:
    """The tokenizer that a training's rows go through, with the chat template that was asked for.

    Raises:
        RecipeError: no model there, or a template that it cannot use.
    """
    if settings.model != TINY:
        tokenizer = load_tokenizer(settings.model)
    elif settings.tokenizer:
        tokenizer = load_tokenizer(settings.tokenizer)
    else:
        tokenizer = tiny_tokenizer(examples)
    use_template(tokenizer, settings.template, settings.tokenizer or settings.model)
    end_mark(tokenizer)  # raises where there is none
    return tokenizer
