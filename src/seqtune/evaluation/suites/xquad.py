"""The suite `xquad`: translate a context and a question into English, then answer (XQuAD, Artetxe et al. 2020)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seqtune.data.example import Example
from seqtune.data.failure import Failure
from seqtune.data.reader import read
from seqtune.errors import DataError
from seqtune.evaluation.scoring import Findings, scorer
from seqtune.evaluation.suite import LONG, Suite, suite
from seqtune.evaluation.tasks.intermediate import notes_of, repeated, translated, verdicts, with_both
from seqtune.evaluation.tasks.items import (
    Gold,
    Places,
    Row,
    Rows,
    asked_in,
    choose_language,
    gold_of,
    golds_in,
    id_in,
    items_of,
    language_file,
    new_item,
)
from seqtune.evaluation.tasks.parts import parts
from seqtune.evaluation.tasks.text import exact_match, lenient, marked, word_f1

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
HUB = "google/xquad/xquad.{language}:validation"
SIZE = 1_190

# ROUGE-L of a translation with the English side. The recorded answers fall in two heaps: no translation, and some
# translation, however free; of those in between, the ones of a translation's length over 0.3 are translations.
TRANSLATED = 0.3

TRANSLATE = (
    "First, translate the context and the question below into English. Then, answer the question in English, with no "
    'more words than it needs, all of them taken from the translated context. Write the answer after "Answer:".'
)
REPEAT = (
    "First, repeat the context and the question below. Then, answer the question with no more words than it needs, all "
    'of them taken from the context. Write the answer after "Answer:".'
)
_QUESTION = re.compile(r"\n?\s*Question:\s*")
_CONTEXT = re.compile(r"\A(?:.*?\n)??\s*Context:\s*", re.DOTALL)  # with the instruction before it


class Asked(NamedTuple):
    """One question of XQuAD in one language."""

    context: str
    question: str
    answers: tuple[str, ...] = ()
    id: str = ""


@suite("xquad")
def xquad(part: str = "", data: str | Path | None = None, *, rows: Rows | None = None) -> Suite:
    """XQuAD in one language, answered in English after a translation; in English ("xquad:en") after a repetition.

    Args:
        part: the language.
        data: the folder with xquad.LANGUAGE.json and xquad.en.json, or one such file with the other beside it; the
            Hugging Face hub by default.
        rows: rows that somebody answered, with instruction, input and target: see `items_of`. With data the
            English answers are the right ones, as the prompt asks, and translations are compared with the English side.

    Raises:
        RecipeError: no such language.
        DataError: no such file, or no item in it.
    """
    language = choose_language("xquad", part, LANGUAGES)
    own, left_out = ([], ()) if rows is not None and data is None else _side(data, language)
    items, notes = items_of(
        rows,
        data,
        SIZE,
        read=lambda: _items(own, data, language),
        alone=lambda row: _row_item(row, language),
        places=lambda rows, _: _joined([_row_asked(row) for row in rows], own),
    )
    unlike = _language_notes(items, language) if rows is not None and language != "en" else ()
    notes = (*left_out, *notes, *unlike, *notes_of(items))
    return Suite(f"xquad:{language}", items, "xquad", headline="exact_match", max_new_tokens=LONG, notes=notes)


def _items(own: Sequence[Asked], data: str | Path | None, language: str) -> list[Example]:
    english = _english_side(data, own) if language != "en" else own
    instruction = REPEAT if language == "en" else TRANSLATE
    return [
        new_item(instruction, _input(one), _gold(language, one, other), group=language, own_id=one.id)
        for one, other in zip(own, english, strict=True)
    ]


def _row_item(row: Row, language: str) -> Example:
    return new_item(*asked_in(row), _gold(language, _row_asked(row), None), group=language)


def _row_asked(row: Row) -> Asked:
    return _asked(*asked_in(row), golds_in(row), id_in(row))


def _language_notes(items: Sequence[Example], language: str) -> tuple[str, ...]:
    own = sum(gold_of(item).language != "en" for item in items)
    if not own:
        return ()
    return (
        f"{own:,} of {len(items):,} right answers are in {language!r}; the "
        "prompt asks for English, and recorded figures compare with that: give --data with xquad.en.json",
    )


def _gold(language: str, own: Asked, english: Asked | None) -> Gold:
    if english is None:
        return Gold(own.answers, language, language, source=_input(own))
    return Gold(
        answers=english.answers,
        own_language=language,
        own_answers=own.answers,
        step=(english.context,),
        partly=(english.question,),
    )


def _input(one: Asked) -> str:
    return f"Context: {one.context}\nQuestion: {one.question}"


def _asked(instruction: str, input: str, answers: tuple[str, ...] = (), id: str = "") -> Asked:
    """Context and question of a text that marks the question."""
    *before, question = _QUESTION.split(input or instruction)
    return Asked(_CONTEXT.sub("", "\n".join(before)), question.strip(), answers, id)


def _side(data: str | Path | None, language: str) -> tuple[list[Asked], tuple[str, ...]]:
    """All questions in one language, in the order of the file."""
    source = HUB.format(language=language)
    if data is not None:
        file = language_file(data, f"xquad.{language}.json")
        if file is None:
            fix = f"give the folder with xquad.{language}.json"
            raise DataError(f"there is no xquad.{language}.json", where=str(data), fix=fix)
        source = str(file)
    failures: list[Failure] = []
    examples = [*read(source, on_failure=failures.append)]
    if not examples:
        raise DataError("no question in it", where=source, fix="give a file of XQuAD")
    asked = [_asked("", one.input, (one.output,), str(one.meta.get("id", ""))) for one in examples]
    return asked, tuple([f"{failure} (left out)" for failure in failures])


def _english_side(data: str | Path | None, own: Sequence[Asked]) -> list[Asked | None]:
    """The English question to each; None for all where the user gave no English file."""
    if data is not None and language_file(data, "xquad.en.json") is None:
        return [None] * len(own)
    by_id = {one.id: one for one in _side(data, "en")[0]}
    return [by_id.get(one.id) for one in own]


def _joined(rows: Sequence[Asked], own: Sequence[Asked]) -> list[Places]:
    """Where each row's item stands: by its question and context, or else by its id; by its place if most are near."""
    by_id = {one.id: (place,) for place, one in enumerate(own)}
    if not any(row.question for row in rows):
        return [by_id.get(row.id, ()) for row in rows]
    if len(rows) == len(own):
        near = sum(row.question == one.question for row, one in zip(rows, own, strict=True))
        if near > len(own) / 2:
            return [(place,) for place in range(len(own))]
    by_question: dict[tuple[str, str], Places] = defaultdict(tuple)
    for place, one in enumerate(own):
        by_question[_plain(one)] += (place,)
    return [by_question.get(_plain(row), ()) for row in rows]


def _plain(one: Asked) -> tuple[str, str]:
    """What tells a question from all others, without its blanks: the same question is asked of several contexts."""
    return "".join(one.question.split()), "".join(one.context.split())[:80]


@scorer("xquad")
def score_xquad(item: Example, text: str) -> Findings:
    """The answer by SQuAD's measures and by the authors' lenient rule, and whether the translation is there.

    `f1_own` compares with the answer in the question's own language: what a model gets that leaves out the translation.
    """
    gold, found = gold_of(item), parts(text)
    if not gold.answers:
        return Findings(dict.fromkeys(("exact_match", "f1", "lenient"), None))
    is_repeat = gold.own_language == "en"
    measures = {
        "exact_match": exact_match(found.answer, gold.answers, gold.language),
        "f1": word_f1(found.answer, gold.answers, gold.language),
        "lenient": lenient(text, gold.answers),
        "marked": marked(text),
        **(repeated(found, gold) if is_repeat else translated(found, gold, TRANSLATED)),
    }
    if gold.own_answers and not is_repeat:
        measures["f1_own"] = word_f1(found.answer, gold.own_answers, gold.own_language)
    steps = verdicts(measures, found, "repeat the input" if is_repeat else "translate the input into English")
    return with_both(measures, steps, found)
