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
    asked_in,
    data_file,
    gold_of,
    golds_in,
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
            one each.

    Raises:
        RecipeError: no such form.
        DataError: no such file, or no item in it.
    """
    if part not in FORMS:
        raise RecipeError(f"suite 'gsm8k' has no form {part!r}", fix=f"choose from {', '.join(FORMS)}")
    if rows is not None:
        items = items_from_rows(rows, part)
    else:
        items = apart([_item(row, part) for row in raw_rows(data_file(data, "test.jsonl") if data else HUB)])
    return Suite(f"gsm8k:{part}", items, "gsm8k", headline="exact_match", notes=unknown_golds(items))


def items_from_rows(rows: Sequence[Mapping[str, object]], part: str = "repeat") -> tuple[Example, ...]:
    """An item a row, in their order.

    Args:
        rows: with instruction (or prompt), input, and target (or answers, reference, ...).
        part: whether the question was to be repeated.
    """
    return apart(
        [new_item(*asked_in(row), _gold("\n".join(asked_in(row)), golds_in(row), part), group="en") for row in rows]
    )


def _item(row: Mapping[str, object], part: str) -> Example:
    question = str(row.get("question", ""))
    instruction = f"{REPEAT if part == 'repeat' else PLAIN} {END}"
    return new_item(instruction, f"Question: {question}", _gold(question, golds_in(row), part), group="en")


def _gold(asked: str, answers: Sequence[str], part: str) -> Gold:
    """The number behind "####", where the answer is a solution."""
    question = asked.rpartition("Question:")[2].strip()
    numbers = tuple([answer.rpartition("####")[2].strip() for answer in answers])
    return Gold(numbers, own_language="en", step=(question,) if part == "repeat" else ())


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
