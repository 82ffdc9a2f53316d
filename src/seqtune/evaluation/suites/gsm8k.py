"""The suite `gsm8k`: repeat a school problem, then solve it (GSM8K, Cobbe et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqtune.data.example import Example
from seqtune.evaluation.scoring import Findings, scorer
from seqtune.evaluation.suite import LONG, Suite, suite
from seqtune.evaluation.tasks.intermediate import repeated, verdicts, with_both
from seqtune.evaluation.tasks.items import (
    Gold,
    Row,
    Rows,
    asked_in,
    choose_form,
    data_file,
    gold_of,
    golds_in,
    items_of,
    joined,
    new_item,
    raw_rows,
)
from seqtune.evaluation.tasks.numerals import number_measures
from seqtune.evaluation.tasks.parts import parts

HUB = "openai/gsm8k/main:test"
SIZE = 1_319

REPEAT = "First, repeat the question below. Then, solve it step by step."
PLAIN = "Solve the problem below step by step."
END = 'Write the number that answers it, and nothing else, after "Answer:".'


@suite("gsm8k")
def gsm8k(part: str = "repeat", data: str | Path | None = None, *, rows: Rows | None = None) -> Suite:
    """GSM8K, solved after a repetition of the question, or without one ("gsm8k:plain").

    Args:
        part: "repeat" or "plain".
        data: test.jsonl or the folder with it; the Hugging Face hub by default.
        rows: rows that somebody answered, with instruction, input and target: see `items_of`.

    Raises:
        RecipeError: no such form.
        DataError: no such file, or no item in it.
    """
    part = choose_form("gsm8k", part)
    items, notes = items_of(
        rows,
        data,
        SIZE,
        read=lambda: _items(data, part),
        alone=lambda row: _row_item(row, part),
        places=lambda rows, items: joined(rows, items, lambda item: [_question(item.input)]),
    )
    return Suite(f"gsm8k:{part}", items, "gsm8k", headline="exact_match", max_new_tokens=LONG, notes=notes)


def _row_item(row: Row, part: str) -> Example:
    asked = asked_in(row)
    return new_item(*asked, _gold("\n".join(asked), golds_in(row), part), group="en")


def _items(data: str | Path | None, part: str) -> list[Example]:
    return [_item(row, part) for row in raw_rows(data_file(data, "test.jsonl") if data else HUB)]


def _item(row: Row, part: str) -> Example:
    question = str(row.get("question", ""))
    instruction = f"{REPEAT if part == 'repeat' else PLAIN} {END}"
    return new_item(instruction, f"Question: {question}", _gold(question, golds_in(row), part), group="en")


def _gold(asked: str, answers: Sequence[str], part: str) -> Gold:
    """The number behind "####", where the answer is a solution."""
    question = _question(asked)
    numbers = tuple([answer.rpartition("####")[2].strip() for answer in answers])
    return Gold(numbers, own_language="en", step=(question,) if part == "repeat" else ())


def _question(asked: str) -> str:
    return asked.rpartition("Question:")[2].strip()


@scorer("gsm8k")
def score_gsm8k(item: Example, text: str) -> Findings:
    """The number, and whether the question was repeated where that was asked for."""
    gold, found = gold_of(item), parts(text)
    if not gold.answers:
        return Findings({"exact_match": None})
    measures = number_measures(found, text, gold.answers)
    if not gold.step:
        return Findings(measures)
    measures |= repeated(found, gold)
    return with_both(measures, verdicts(measures, found, "repeat the question"), found)
