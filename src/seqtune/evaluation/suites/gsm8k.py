"""The suite `gsm8k`: repeat a school problem, then solve it (GSM8K, Cobbe et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from seqtune.data.example import Example
from seqtune.errors import RecipeError
from seqtune.evaluation.scoring import Findings, scorer
from seqtune.evaluation.suite import Suite, suite
from seqtune.evaluation.tasks.intermediate import repeated, verdicts, with_both
from seqtune.evaluation.tasks.items import (
    Gold,
    apart,
    asked_as,
    asked_in,
    data_file,
    gold_of,
    golds_in,
    joined,
    new_item,
    raw_rows,
    unknown_golds,
)
from seqtune.evaluation.tasks.numerals import number_measures
from seqtune.evaluation.tasks.parts import parts

HUB = "openai/gsm8k/main:test"
FORMS = ("repeat", "plain")

REPEAT = "First, repeat the question below. Then, solve it step by step."
PLAIN = "Solve the problem below step by step."
END = 'Write the number that answers it, and nothing else, after "Answer:".'


@suite("gsm8k")
def gsm8k(
    part: str = "repeat", data: str | Path | None = None, *, rows: Sequence[Mapping[str, object]] | None = None
) -> Suite:
    """GSM8K, solved after a repetition of the question, or without one ("gsm8k:plain").

    Args:
        part: "repeat" or "plain".
        data: test.jsonl or the folder with it; the Hugging Face hub by default.
        rows: rows that somebody answered, with instruction, input and target: the items come from them, in their order,
            one each. With data, they are joined to it by their question, or else by their id or place; then its answers
            are the right ones.

    Raises:
        RecipeError: no such form.
        DataError: no such file, or no item in it.
    """
    if part not in FORMS:
        raise RecipeError(f"suite 'gsm8k' has no form {part!r}", fix=f"choose from {', '.join(FORMS)}")
    items = apart(_items(data, part)) if rows is None else items_from_rows(rows, part, data)
    return Suite(f"gsm8k:{part}", items, "gsm8k", headline="exact_match", notes=unknown_golds(items))


def items_from_rows(
    rows: Sequence[Mapping[str, object]], part: str = "repeat", data: str | Path | None = None
) -> tuple[Example, ...]:
    """An item a row, in their order.

    Args:
        rows: with instruction (or prompt), input, and target (or answers, reference, ...).
        part: whether the question was to be repeated.
        data: where the right answers lie; without it, they are those of the rows.
    """
    known = joined(rows, _items(data, part), lambda item: [_question(item.input)]) if data else [None] * len(rows)
    return apart([asked_as(one, row) if one else _row_item(row, part) for row, one in zip(rows, known, strict=True)])


def _row_item(row: Mapping[str, object], part: str) -> Example:
    asked = asked_in(row)
    return new_item(*asked, _gold("\n".join(asked), golds_in(row), part), group="en")


def _items(data: str | Path | None, part: str) -> list[Example]:
    return [_item(row, part) for row in raw_rows(data_file(data, "test.jsonl") if data else HUB)]


def _item(row: Mapping[str, object], part: str) -> Example:
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
