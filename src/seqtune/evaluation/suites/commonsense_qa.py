"""The suite `commonsense_qa`: repeat a question, then choose the answer (CommonsenseQA, Talmor et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqtune.data.example import Example
from seqtune.errors import DataError
from seqtune.evaluation.scoring import Findings, scorer
from seqtune.evaluation.suite import LONG, Suite, suite
from seqtune.evaluation.tasks.intermediate import repeated, verdicts, with_both
from seqtune.evaluation.tasks.items import (
    Gold,
    Row,
    Rows,
    asked_as,
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
from seqtune.evaluation.tasks.parts import parts
from seqtune.evaluation.tasks.text import plain_words

HUB = "tau/commonsense_qa:validation"  # the test split has no answers
SIZE = 1_221

REPEAT = "First, repeat the question below. Then, answer it with the best of the choices."
PLAIN = "Answer the question below with the best of the choices."
END = 'Write its letter after "Answer:".'

_CHOICE = re.compile(r"^[ \t]*\(?([A-H])[.):][ \t]*(\S[^\n]*)$", re.MULTILINE)
_LETTER = re.compile(
    r"\W*(?:(?:option|choice|letter)\W+)?([A-H])(?:\W*\Z|\s*[).:\]*–—-]|,?\s+(?:because|since|as|is)\b"
    r"(?!\s+(?:not|wrong|incorrect|false)\b))",
    re.IGNORECASE,
)
# "A is wrong, so B", "I think it is a bench", "\boxed{\text{B}}"
_AFTER_SO = re.compile(r"\b(?:so|thus|hence|therefore)\b[\s,]*(.+)\Z", re.IGNORECASE)
_OPENING = re.compile(
    r"\A(?:\W*\b(?:i (?:think|believe|guess|choose|pick|say)|that|it(?: is|['’]s| would be| must be|)"
    r"|(?:the|my) (?:best |correct |right )?(?:answer|choice|option) is)\b)+\s*:?",
    re.IGNORECASE,
)
_LATEX = re.compile(r"\\[a-z]+\{([^{}]*)\}")


@suite("commonsense_qa")
def commonsense_qa(part: str = "repeat", data: str | Path | None = None, *, rows: Rows | None = None) -> Suite:
    """CommonsenseQA, answered after a repetition of the question, or without one ("commonsense_qa:plain").

    Args:
        part: "repeat" or "plain".
        data: a file of rows in the authors' form ({"question": {"stem", "choices"}, "answerKey"}) or in the hub's
            (question, choices, answerKey), or the folder with dev_rand_split.jsonl; the Hugging Face hub by default.
        rows: rows that somebody answered, with instruction, input and target, the choices a line each ("A. ..."): see
            `items_of`.

    Raises:
        RecipeError: no such form.
        DataError: no such file, or no item in it.
    """
    part = choose_form("commonsense_qa", part)
    items, notes = items_of(
        rows,
        data,
        SIZE,
        read=lambda: _items(data, part),
        alone=lambda row: _row_item(row, part),
        places=lambda rows, items: joined(rows, items, _questions),
        asked=lambda item, row: _asked_as(item, row, part),
    )
    name = f"commonsense_qa:{part}"
    return Suite(name, items, "commonsense_qa", headline="exact_match", max_new_tokens=LONG, notes=notes)


def _row_item(row: Row, part: str) -> Example:
    asked, choices = _choices(row)
    named = [chosen(answer, choices) or answer for answer in golds_in(row)]
    return new_item(*asked_in(row), _gold(_stem(asked), choices, named, part), group="en")


def _choices(row: Row) -> tuple[str, dict[str, str]]:
    """What a row asks, and the choices in it."""
    asked = "\n".join(asked_in(row))
    return asked, {letter: text.strip() for letter, text in _CHOICE.findall(asked)}


def _asked_as(known: Example, row: Row, part: str) -> Example:
    """The item as a row asks it, whose choices may stand in another order than those of the data."""
    choices = _choices(row)[1]
    if not choices:
        return asked_as(known, row)
    gold = gold_of(known)
    right = [plain_words(gold.choices.get(answer, "")) for answer in gold.answers]
    named = [letter for letter, text in choices.items() if plain_words(text) in right]
    own_id = str(known.meta.get("id") or "")
    return new_item(*asked_in(row), _gold(_stem(known.input), choices, named, part), group="en", own_id=own_id)


def _stem(asked: str) -> str:
    return _CHOICE.split(asked)[0].rpartition("Question:")[2].strip()


def _questions(item: Example) -> tuple[str, str]:
    """The question with its choices, and alone."""
    return item.input.removeprefix("Question: "), _stem(item.input)


def _items(data: str | Path | None, part: str) -> list[Example]:
    source = str(data_file(data, "dev_rand_split.jsonl")) if data else HUB
    return [_item(row, part, f"{source}:{i}") for i, row in enumerate(raw_rows(source), 1)]


def _item(row: Mapping[str, Any], part: str, where: str) -> Example:
    stem, choices = _question(row, where)
    listed = "\n".join(f"{letter}. {text}" for letter, text in choices.items())
    key = str(row.get("answerKey") or "")
    gold = _gold(stem, choices, [key] if key else [], part)
    instruction = f"{REPEAT if part == 'repeat' else PLAIN} {END}"
    return new_item(instruction, f"Question: {stem}\n{listed}", gold, group="en", own_id=str(row.get("id") or ""))


def _question(row: Mapping[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """Stem and choices: of the authors' nested form, or of the hub's columns."""
    asked = row.get("question")
    stem, choices = (
        (asked.get("stem"), asked.get("choices")) if isinstance(asked, Mapping) else (asked, row.get("choices"))
    )
    try:
        if isinstance(choices, Mapping):
            pairs = [*zip(choices["label"], choices["text"], strict=True)]
        else:
            pairs = [(choice["label"], choice["text"]) for choice in choices or ()]
    except (KeyError, TypeError, ValueError):
        pairs = []
    if not isinstance(stem, str) or not pairs:
        fix = 'write {"question": {"stem": ..., "choices": [{"label": "A", "text": ...}]}, "answerKey": "A"}'
        raise DataError("is no question with choices", where=where, fix=fix)
    return stem, {str(letter): str(text) for letter, text in pairs}


def _gold(stem: str, choices: dict[str, str], answers: Sequence[str], part: str) -> Gold:
    listed = "\n".join([stem, *[f"{letter}. {text}" for letter, text in choices.items()]])
    step = (stem, listed) if part == "repeat" else ()
    return Gold(tuple(answers), own_language="en", step=step, choices=choices)


def chosen(answer: str, choices: Mapping[str, str]) -> str | None:
    """The letter of the choice that an answer names: "C", "(c) a bench", "I think it is a bench"; None for none."""
    answer = _LATEX.sub(r"\1", _LATEX.sub(r"\1", answer))
    after = _AFTER_SO.search(answer)
    ways = [answer, _OPENING.sub("", answer), *([_OPENING.sub("", after[1])] if after else [])]
    return next((letter for way in ways if (letter := _named(way, choices))), None)


def _named(answer: str, choices: Mapping[str, str]) -> str | None:
    said = plain_words(answer)
    for letter, text in choices.items():
        if said and said in (plain_words(text), plain_words(f"{letter} {text}")):
            return letter
    found = _LETTER.match(answer)
    return found.group(1).upper() if found and (not choices or found.group(1).upper() in choices) else None


@scorer("commonsense_qa")
def score_commonsense_qa(item: Example, text: str) -> Findings:
    """The choice, and whether the question was repeated where that was asked for."""
    gold, found = gold_of(item), parts(text)
    if not gold.answers:
        return Findings({"exact_match": None})
    choice = chosen(found.answer, gold.choices)
    measures: dict[str, float | None] = {"exact_match": float(choice in gold.answers)}
    if not gold.step:
        return Findings(measures)
    measures |= repeated(found, gold)
    return with_both(measures, verdicts(measures, found, "repeat the question"), found)
