"""The two parts of an answer to "first do this, then answer": what was done first, and the answer itself."""

from __future__ import annotations

import re
from typing import NamedTuple

# "answer" in the languages of XQuAD and MGSM: a model may answer in that of the question.
_NAMES = (
    "answers?|results?|antwort|ergebnis|respuesta|réponse|ответ|răspuns(?:ul)?|απάντηση|cevap|yanıt|đáp án|câu trả lời"
    "|jibu"
)
_SIGNS = "答案|回答|答え|คำตอบ|الإجابة|الجواب|उत्तर|উত্তর|సమాధానం"
_TO_WHAT = r"(?:\s+(?:to|for|of)\b[^\n]{1,300}?)?"  # 'The answer to the question "Who was it?" is: ...'
_WITH_COLON = re.compile(
    rf"(?:\b(?:{_NAMES})|(?:{_SIGNS}))[*_]*{_TO_WHAT}(?:\s*(?:is|ist|es|est|是|为|は))?\s*[*_]*[:：][*_]*|####",
    re.IGNORECASE,
)
# "The answer is taken from the context", "the answer is a single entity" tell of an answer and give none.
_NO_ANSWER = r"(?!\s+(?:not|directly|extracted|taken|found|given|provided|based|translated|a single|a number)\b)"
_WITHOUT = re.compile(rf"\b(?:answer|result){_TO_WHAT}\s+is\b{_NO_ANSWER}", re.IGNORECASE)
_LEAD = re.compile(
    r"\A[^\n:：.]{0,120}\b(?:translat|context|question|input|repeat|english)[^\n:：.]{0,120}[:：]", re.IGNORECASE
)
_NOTE = re.compile(r"^[ \t*_(\[]*note\b[*_]*[:：]", re.IGNORECASE | re.MULTILINE)
# 'Answer: The answer is four.', 'Answer: "four" (from the context)'
_AGAIN = re.compile(
    rf"\A(?:the|my)\s+(?:\w+\s+)?(?:answer|result){_TO_WHAT}\s+is\b{_NO_ANSWER}[:：]?\s*", re.IGNORECASE
)
_REMARK = re.compile(r"[\"”»“]\s*[.,]?\s*\((?:from|as|based|in|according|taken|found|see)\b[^()]*\)\W*\Z", re.I)
_QUOTES = "\"'“”„«»‘’`*_ \t\r\n"


class Parts(NamedTuple):
    """An answer taken apart.

    Args:
        step: what stands before the answer, or, where nothing does, behind it; without "The translation is:".
        answer: one line; "" where none is given.
        in_order: whether the step stands before the answer; None where one of them is missing.
        is_marked: whether something marks the answer as such.
    """

    step: str
    answer: str
    in_order: bool | None
    is_marked: bool


def parts(text: str) -> Parts:
    """Take an answer apart at its last "Answer:" (or "the answer is"); where there is none, at its last line."""
    text = _without_note(text)
    found = _mark(text)
    if found is None:
        return _unmarked(text.strip())
    before, behind = text[: found.start()], text[found.end() :].lstrip(_QUOTES)
    line, _, rest = behind.partition("\n")
    step = _without_lead(_without_stub(before))
    answer = _REMARK.sub("", _AGAIN.sub("", line)).strip(_QUOTES)
    if step:
        return Parts(step, answer, True if answer else None, True)
    later = _without_lead(rest.strip())
    return Parts(later, answer, False if later and answer else None, True)


def _without_note(text: str) -> str:
    """Without the notes behind it, in which models talk about their answer."""
    note = _NOTE.search(text)
    return text[: note.start()] if note and text[: note.start()].strip() else text


def _mark(text: str) -> re.Match[str] | None:
    """The last mark with a colon, or else the last without."""
    found = [*_WITH_COLON.finditer(text)] or [*_WITHOUT.finditer(text)]
    return found[-1] if found else None


def _unmarked(text: str) -> Parts:
    """Without a mark the last line is the answer, unless it is a translation, or a question, and all that there is."""
    lead = _LEAD.match(text)
    body = _without_lead(text)
    before, _, last = body.rpartition("\n")
    if (lead and not before.strip()) or _LEAD.match(last) or last.rstrip(_QUOTES).endswith(("?", "？")):
        return Parts(body, "", None, False)
    step = before.strip(_QUOTES)
    return Parts(step, last.strip(_QUOTES), True if step else None, False)


def _without_stub(text: str) -> str:
    """Without what leads to the answer on its own line: "The correct", "So the"."""
    head, _, last = text.rpartition("\n")
    return (head if len(last.split()) <= 4 else text).strip()


def _without_lead(text: str) -> str:
    """Without what announces it, once or twice: 'The translated context is:' 'Context:'."""
    for _ in range(2):
        lead = _LEAD.match(text)
        text = text[lead.end() :].lstrip(_QUOTES) if lead else text
    return text.strip(_QUOTES)
