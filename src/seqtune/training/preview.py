"""What a training would see, without training: rendered rows with the trained part marked, and totals over all rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from seqtune.building.checking import is_checkable
from seqtune.data.example import Example
from seqtune.errors import DataError
from seqtune.recipe import Document, check, refuse
from seqtune.training.intake import read_examples, tokenizer_of
from seqtune.training.model import require_packages
from seqtune.training.pairs import Pair
from seqtune.training.positions import within_positions
from seqtune.training.preferring import render_preferences
from seqtune.training.preflight import check_rows
from seqtune.training.rendering import IGNORED, Row, end_mark
from seqtune.training.rewards import Question
from seqtune.training.rows import Rendered, Unused, render
from seqtune.training.settings import TINY, TrainSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARKED = ("[[", "]]")
COLOURED = ("\x1b[32m", "\x1b[0m")  # green: this is learnt


class Span(msgspec.Struct, frozen=True):
    """Text of a row, marks of the template included, and whether the loss is on it."""

    text: str
    trained: bool


class Shown(msgspec.Struct, frozen=True):
    """One row as it would be trained on."""

    id: str
    tokens: int
    trained_tokens: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Preview:
    """What a training would see.

    Args:
        template: "auto" for the model's own, or the name of a shipped one; end: the token that ends an answer.
        rows: rows that would be trained on; a conversation is several where the template rewrites earlier turns. Of
            dpo they are pairs, shown as two texts each; of grpo questions, shown with their right answers.
        examples: rows that were read; unused: those of which nothing would be trained; split: those that would lose
            their last turns.
        too_long: share of the examples that have a row over `max_length`.
        tokens, trained_tokens: of one pass over the rows.
        longest: tokens of the longest row that would be trained on, max_length: the limit.
        fault: what the check before training says of the rows, "" where it finds nothing.
        shown: the first rows.
        left_out: the first lines of what would be unused.jsonl.
    """

    template: str
    end: str
    rows: int
    examples: int
    unused: int
    split: int
    too_long: float
    tokens: int
    trained_tokens: int
    longest: int
    max_length: int
    fault: str
    shown: tuple[Shown, ...]
    left_out: tuple[Unused, ...]


def preview(
    dataset: Iterable[Example] | str | Path, model: str | Path = TINY, *, rows: int = 3, **options: Any
) -> Preview:
    """Render every row as `train` would, and show the first; no weights are read and nothing is written.

    Args:
        dataset: Examples, or a file of rows.
        model: as for `train`; only its tokenizer is read.
        rows: how many to show.
        options: as for `train`; those that change rows are method, template, max_length, too_long and tokenizer, and
            of dpo seed and damages.

    Raises:
        RecipeError: a setting or a model that cannot be used.
        DataError: no row can be trained on.
        MissingExtraError: torch or transformers is not installed.
    """
    require_packages("a preview")
    values = {"dataset": "rows", "out": "nowhere", "model": str(model), **options}
    settings, problems = check(Document({}), ("train",), values, TrainSettings)
    refuse(problems)
    assert settings
    settings = within_positions(settings)
    examples = read_examples(dataset)
    tokenizer = tokenizer_of(settings, examples)
    rendered = _rendered(settings, examples, tokenizer)
    texts = [_texts(row) for row in rendered.rows]
    lengths = [len(text.ids) for some in texts for text in some]
    return Preview(
        template=settings.template,
        end=end_mark(tokenizer),
        rows=len(rendered.rows),
        examples=len(examples),
        unused=rendered.left_out,
        split=len(rendered.unused) - rendered.left_out,
        too_long=sum(line.tokens > 0 for line in rendered.unused) / len(examples),
        tokens=sum(lengths),
        trained_tokens=sum(len(text.trained) for some in texts for text in some),
        longest=max(lengths),
        max_length=settings.max_length,
        fault="" if settings.prefers else _fault(rendered, tokenizer),
        shown=tuple([_shown(text, tokenizer) for some in texts[:rows] for text in some]),
        left_out=tuple(rendered.unused[:rows]),
    )


def _rendered(
    settings: TrainSettings, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase
) -> Rendered[Any]:
    settings = settings.model_copy(update={"strict": False})  # what it would stop at is shown
    if settings.prefers:
        return render_preferences(settings, examples, tokenizer)
    return render(examples, tokenizer, max_length=settings.max_length, too_long=settings.too_long)


def _texts(row: Row | Pair | Question) -> list[Row]:
    """What the model sees of a row: both answers of a pair; a question with its right answer, which is not trained."""
    if isinstance(row, Pair):
        answers = {"the right answer": row.chosen, f"damaged by {row.kind}": row.rejected}
        return [_after(f"{row.row}, {name}", row.prompt, answer, answer) for name, answer in answers.items()]
    if isinstance(row, Question):
        steps = row.example.steps
        name = (
            f"{row.id}, a question with its right answer, {sum(map(is_checkable, steps))} of {len(steps)} steps checked"
        )
        return [_after(name, row.prompt, row.answer_ids, [IGNORED] * row.answer)]
    return [row]


def _after(name: str, prompt: list[int], answer: list[int], labels: list[int]) -> Row:
    return Row(name, prompt + answer, [IGNORED] * len(prompt) + labels)


def marked(shown: Shown, *, colour: bool) -> str:
    """A row as text: what is trained in green on a terminal, between double brackets elsewhere."""
    before, after = COLOURED if colour else MARKED
    return "".join(f"{before}{_visible(s.text)}{after}" if s.trained else _visible(s.text) for s in shown.spans)


def _fault(rendered: Rendered[Row], tokenizer: PreTrainedTokenizerBase) -> str:
    try:
        check_rows(rendered.rows, rendered.examples, tokenizer)
    except DataError as error:
        return f"{error.where}: {error.what}"
    return ""


def _shown(row: Row, tokenizer: PreTrainedTokenizerBase) -> Shown:
    return Shown(row.id, len(row.ids), len(row.trained), tuple(_spans(row, tokenizer)))


def _spans(row: Row, tokenizer: PreTrainedTokenizerBase) -> Iterator[Span]:
    """The text of each stretch of ids, so that all together are the text of the row.

    Each is what the text grows by: decoded alone, a stretch would lose the blank it begins with in some tokenizers.
    """
    at = 0
    text = ""
    for trained, labels in groupby(row.labels, lambda label: label != IGNORED):
        at += len(list(labels))
        whole = tokenizer.decode(row.ids[:at])
        yield Span(whole[len(text) :], trained)
        text = whole


def _visible(text: str) -> str:
    """Without control characters, which a terminal would obey."""
    return "".join(c if c in "\n\t" or c.isprintable() else repr(c)[1:-1] for c in text)
