"""Whether the step before the answer was done: the text translated into English, or repeated."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seqtune.building.language import language
from seqtune.data.example import Example
from seqtune.evaluation.scoring import Findings, Verdict, measures_of
from seqtune.evaluation.tasks.items import Gold, gold_of
from seqtune.evaluation.tasks.parts import Parts
from seqtune.evaluation.tasks.text import chrf, has_chrf, rouge_l_of_beginning

REPEATED = 0.8  # ROUGE-L from which a text counts as repeated: a word in five may be lost
SAME = 0.5  # ROUGE-L above which a translated question is that question, as the authors have it for MGSM
LEAST_LENGTH = 0.5  # of a translation's letters; by that and the language alone 99 % of 4,760 answers are told alike

# Letters of English that a sign stands for, about; one in all other scripts.
_WEIGHTS = {"\u4e00-\u9fff": 3.0, "\u3040-\u30ff": 2.0, "\uac00-\ud7af": 2.0}
_OWN_SCRIPT = frozenset({"ar", "bn", "el", "hi", "ja", "ru", "te", "th", "zh"})  # none of them is written in ASCII

Measures = dict[str, float | None]


def translated(parts: Parts, gold: Gold, threshold: float) -> Measures:
    """Measures of a translation into English.

    `step_done` asks for English, for at least half of a translation's length, and, where the English side is known, for
    a ROUGE-L over the threshold with it. `step_partly` is there where a half of the step is known.

    Args:
        parts: of the answer.
        gold: of the item.
        threshold: of ROUGE-L.
    """
    english = _in_english(parts.step, gold)
    expected = _letters(gold.step[0]) if gold.step else _letters(gold.source)
    is_long = bool(parts.step) and _letters(parts.step) >= LEAST_LENGTH * expected
    if not gold.step:
        return {"step_done": english if is_long else 0.0, "in_english": english}
    wholes = (*gold.step, *[f"{gold.step[0]}\n{more}" for more in gold.partly])
    likeness = _likeness(parts.step, wholes)
    found: Measures = {
        "step_done": float(is_long and english != 0 and likeness > threshold),
        "in_english": english,
        "rouge_l": likeness,
    }
    if gold.partly:
        found["step_partly"] = float(bool(found["step_done"]) or _likeness(parts.step, gold.partly) > SAME)
    if has_chrf():
        found["chrf"] = max([chrf(parts.step, text) for text in wholes])
    return found


def repeated(parts: Parts, gold: Gold) -> Measures:
    """`overlap` with what was to be repeated (ROUGE-L), and `step_done` where that is nearly all of it."""
    overlap = _likeness(parts.step, gold.step)
    return {"step_done": float(overlap >= REPEATED), "overlap": overlap}


def verdicts(measures: Measures, parts: Parts, step: str) -> tuple[Verdict, ...]:
    """The step and the answer as two verdicts: what `by_position` is counted from.

    Args:
        measures: of the answer.
        parts: of it.
        step: the first step in words.
    """
    first, second = measures["step_done"], measures["exact_match"]
    return (
        Verdict(1, "step_done", None if first is None else bool(first), parts.step[:200] or None, text=step),
        Verdict(2, "exact_match", None if second is None else second == 1, parts.answer[:200] or None, text="answer"),
    )


def with_both(measures: Measures, steps: tuple[Verdict, ...], parts: Parts) -> Findings:
    """The findings with two measures more: `strict`, step and answer both right, and `order`, the step before it."""
    order = None if parts.in_order is None else float(parts.in_order)
    strict = measures_of([step.done for step in steps])["strict"]
    return Findings({**measures, "strict": strict, "order": order}, steps)


def notes_of(items: Sequence[Example]) -> tuple[str, ...]:
    """What the user is to know of how the step is looked at."""
    golds = [gold_of(item) for item in items]
    unknown = sum(not gold.step for gold in golds)
    notes = []
    if unknown:
        form = "of a translation only the language and the length are looked at, because the English side is not there"
        notes.append(f"in {unknown:,} of {len(golds):,} items {form}")
    if unknown < len(golds) and not has_chrf() and golds[0].own_language != "en":
        notes.append("chrF is left out, because sacrebleu is not installed: pip install 'seqtune[eval]'")
    return tuple(notes)


def _likeness(text: str, references: Sequence[str]) -> float:
    return max([rouge_l_of_beginning(text, reference) for reference in references], default=0.0)


def _in_english(text: str, gold: Gold) -> float | None:
    """1 or 0; None for a text too short to tell, unless its letters or its likeness to the English side tell it."""
    if not text:
        return 0.0
    found = language(text)
    if found is not None:
        return float(found == "en")
    if gold.own_language in _OWN_SCRIPT:
        letters = [sign for sign in text if sign.isalpha()]
        return float(sum(map(str.isascii, letters)) > 0.9 * len(letters))
    return 1.0 if _likeness(text, (*gold.step, *gold.partly)) > SAME else None


def _letters(text: str) -> float:
    """The letters of a text, weighed by how many of English they stand for."""
    heavy = {signs: len(re.findall(f"[{signs}]", text)) for signs in _WEIGHTS}
    return sum(map(str.isalpha, text)) + sum((_WEIGHTS[signs] - 1) * times for signs, times in heavy.items())
