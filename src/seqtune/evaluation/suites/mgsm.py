"""The suite `mgsm`: translate a school problem into English, then reason (MGSM, Shi et al. 2022)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import msgspec

from seqtune.data.example import Example
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.scoring import Findings, scorer
from seqtune.evaluation.suite import LONG, Suite, suite
from seqtune.evaluation.tasks.intermediate import SAME, notes_of, repeated, translated, verdicts, with_both
from seqtune.evaluation.tasks.items import (
    Gold,
    Row,
    Rows,
    asked_in,
    choose_language,
    gold_of,
    golds_in,
    items_of,
    joined,
    language_file,
    new_item,
    raw_rows,
)
from seqtune.evaluation.tasks.numerals import number_measures
from seqtune.evaluation.tasks.parts import parts

LANGUAGES = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
HUB = "juletxara/mgsm/{language}:test"
SIZE = 250
SHOTS = (0, 8)

TRANSLATE = "First, translate the question below into English. Then, solve it step by step."
REPEAT = "First, repeat the question below. Then, solve it step by step."
END = 'Write the number that answers it, and nothing else, after "Answer:".'

Problem = tuple[str, str]  # a question and its number
_NEXT_QUESTION = re.compile(r"\n\s*\n\s*Question:")


class _Shot(msgspec.Struct, frozen=True):
    answer: str
    solution: str
    question: dict[str, str]


@suite("mgsm")
def mgsm(
    part: str = "",
    data: str | Path | None = None,
    *,
    shots: int = 0,
    rows: Rows | None = None,
) -> Suite:
    """MGSM in one language, solved in English after a translation; in English ("mgsm:en") after a repetition.

    Args:
        part: the language.
        data: the folder with mgsm_LANGUAGE.tsv and mgsm_en.tsv, or one such file with the other beside it; the Hugging
            Face hub by default.
        shots: examples in the prompt, 0 or 8. They are our own, and not those of MGSM; of rows, they stand there.
        rows: rows that somebody answered, with instruction, input and target: see `items_of`.

    Raises:
        RecipeError: no such language, or another number of shots.
        DataError: no such file, or no item in it.
    """
    language = choose_language("mgsm", part, LANGUAGES)
    if shots not in SHOTS:
        raise RecipeError(f"shots is {shots}", where="suite 'mgsm'", fix=f"choose {' or '.join(map(str, SHOTS))}")
    items, notes = items_of(
        rows,
        data,
        SIZE,
        read=lambda: _items(data, language, shots),
        alone=lambda row: _row_item(row, language, shots),
        places=lambda rows, items: joined(rows, items, lambda item: [_question("", item.input)]),
    )
    name, notes = f"mgsm:{language}", (*notes, *notes_of(items))
    return Suite(name, items, "mgsm", headline="exact_match", max_new_tokens=LONG, notes=notes)


def _items(data: str | Path | None, language: str, shots: int) -> list[Example]:
    own = _side(data, language)
    english = _english_side(data, own, language)
    prompt = _prompt(language, shots)
    return [
        new_item(prompt, f"Question: {problem[0]}", _gold(language, problem, other, shots), group=language)
        for problem, other in zip(own, english, strict=True)
    ]


def _row_item(row: Row, language: str, shots: int) -> Example:
    question = _question(*asked_in(row))
    english = question if language == "en" else ""
    return new_item(*asked_in(row), _gold(language, (question, *golds_in(row)), english, shots), group=language)


def _gold(language: str, problem: tuple[str, ...], english: str, shots: int) -> Gold:
    question, *answers = problem
    step = (english,) if english else ()
    return Gold(tuple(answers), own_language=language, step=step, source="" if step else question, shots=shots)


def _question(instruction: str, input: str) -> str:
    """The question of a row: its input, or what its instruction marks as the (last) question."""
    return (input or instruction).rpartition("Question:")[2].strip()


def _side(data: str | Path | None, language: str) -> list[Problem]:
    """All problems in one language, in the order of the file."""
    if data is None:
        rows = raw_rows(HUB.format(language=language))
        return [(str(row["question"]), str(row["answer_number"])) for row in rows]
    file = language_file(data, f"mgsm_{language}.tsv")
    if file is None:
        name = f"mgsm_{language}.tsv"
        raise DataError(f"there is no {name}", where=str(data), fix=f"give the folder with {name}")
    return _problems(file)


def _problems(file: Path) -> list[Problem]:
    """The lines of MGSM's own files: a question, a tab, a number."""
    try:
        lines = file.read_text("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 ({error.reason})", where=str(file), fix="take MGSM's own file") from None
    problems = []
    for number, line in enumerate(lines, 1):
        question, tab, answer = line.strip().rpartition("\t")
        if line.strip() and not tab:
            raise DataError("has no tab", where=f"{file}:{number}", fix="write a question, a tab and a number a line")
        if tab:
            problems.append((question.strip(), answer.strip()))
    if not problems:
        raise DataError("holds no problem", where=str(file), fix="take MGSM's own file")
    return problems


def _english_side(data: str | Path | None, own: Sequence[Problem], language: str) -> list[str]:
    """The English question to each, by its place; "" for all where there is none."""
    if language == "en":
        return [question for question, _ in own]
    if data is not None and language_file(data, "mgsm_en.tsv") is None:
        return [""] * len(own)
    english = _side(data, "en")
    return [question for question, _ in english] if len(english) == len(own) else [""] * len(own)


def _prompt(language: str, shots: int) -> str:
    task = REPEAT if language == "en" else TRANSLATE
    return "\n\n".join([f"{task} {END}", *_examples(language)]) if shots else f"{task} {END}"


def _examples(language: str) -> list[str]:
    lines = resources.files("seqtune.evaluation.suites").joinpath("mgsm_shots.jsonl").read_text("utf-8").splitlines()
    first = "Repeated" if language == "en" else "Translation"
    shots = [msgspec.json.decode(line, type=_Shot) for line in lines]
    return [
        f"Question: {shot.question[language]}\n{first}: {shot.question['en']}\n{shot.solution}\nAnswer: {shot.answer}"
        for shot in shots
    ]


@scorer("mgsm")
def score_mgsm(item: Example, text: str) -> Findings:
    """The number, and whether the question was translated: ROUGE-L over 0.5 with the English one, as the authors say.

    After examples a model may go on with a question of its own: what follows is not looked at.
    """
    gold = gold_of(item)
    text = _NEXT_QUESTION.split(text.lstrip())[0] if gold.shots else text
    found = parts(text)
    if not gold.answers:
        return Findings({"exact_match": None})
    is_repeat = gold.own_language == "en"
    step = repeated(found, gold) if is_repeat else translated(found, gold, SAME)
    measures = {**number_measures(found, text, gold.answers), **step}
    words = "repeat the question" if is_repeat else "translate the question into English"
    return with_both(measures, verdicts(measures, found, words), found)
