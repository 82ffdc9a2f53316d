"""The 25 kinds of constraint of IFEval (Zhou et al. 2023, arXiv 2311.07911, table 1), each checked by a program.

Where the paper's words leave room, the published checker's reading is kept, so that figures can be compared: a rule of
dashes counts as a bullet, any part of a word as its keyword. It is left where it is plainly wrong:

* the number of a list's point is no sentence, and Chinese ones end too (where they end is told by rule, without the
  model that the published checker downloads);
* the language of a text in capitals is told from its small letters: of 700 English texts in capitals langdetect takes
  93 % for English, of 500 others 26 %; in small letters 99 % and 0.2 %;
* blank lines, however many, part two paragraphs; an asterisk alone on its line is no bullet;
* a sign that is no letter ("#") is counted as asked for, and not a letter drawn at random in its place.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from inspect import signature
from typing import Any

from seqtune.errors import DataError, MissingExtraError, did_you_mean

Holds = Callable[..., bool]

LEAST = "at least"  # the other relation is "less than"
CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


@dataclass(frozen=True)
class Constraint:
    """One kind of constraint.

    Args:
        kind: its published name, e.g. "keywords:existence".
        words: what it asks for, with the names of its arguments in braces.
        holds: from an answer and the arguments to whether it is followed.
    """

    kind: str
    words: str
    holds: Holds

    def says(self, args: Mapping[str, Any]) -> str:
        """What it asks for with these arguments, in words."""
        return self.words.format(**{name: _spoken(value) for name, value in args.items()})


def _spoken(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


CONSTRAINTS: dict[str, Constraint] = {}


def _constraint(kind: str, words: str) -> Callable[[Holds], Holds]:
    def register(holds: Holds) -> Holds:
        CONSTRAINTS[kind] = Constraint(kind, words, holds)
        return holds

    return register


def find_constraint(kind: str, args: Mapping[str, Any]) -> Constraint:
    """The constraint of that name, if it can be checked with these arguments.

    Raises:
        DataError: there is none, or it takes other arguments.
    """
    if kind not in CONSTRAINTS:
        hint = did_you_mean(kind, CONSTRAINTS)
        raise DataError(f"IFEval has no constraint {kind!r}{hint}", fix="give its input_data.jsonl as it was published")
    wanted = [*signature(CONSTRAINTS[kind].holds).parameters][1:]
    if sorted(args) != sorted(wanted):
        raise DataError(f"{kind} has the arguments {sorted(args)}", fix=f"it takes {wanted or 'none'}")
    return CONSTRAINTS[kind]


def is_followed(kind: str, args: Mapping[str, Any], text: str) -> bool:
    """Whether an answer follows a constraint, taken as it stands (the paper's strict reading); an empty one never does.

    Raises:
        DataError: there is no such constraint.
        MissingExtraError: it is about languages, and langdetect is not installed.
    """
    return bool(text.strip()) and find_constraint(kind, args).holds(text, **args)


def is_loosely_followed(kind: str, args: Mapping[str, Any], text: str) -> bool:
    """Whether one of the answer's eight `variants` follows the constraint (the paper's loose reading)."""
    return any(is_followed(kind, args, one) for one in variants(text))


def variants(text: str) -> list[str]:
    """The text, and without its first line, its last, or both; each as it is and without asterisks (section 2.3)."""
    lines = text.split("\n")
    cuts = [text, *["\n".join(cut).strip() for cut in (lines[1:], lines[:-1], lines[1:-1])]]
    return [*cuts, *[cut.replace("*", "") for cut in cuts]]


def _compared(count: int, relation: str, bound: int) -> bool:
    return count >= bound if relation == LEAST else count < bound


# --- keywords


@_constraint("keywords:existence", "use the words: {keywords}")
def _uses(text: str, keywords: Sequence[str]) -> bool:
    return all(_count(keyword, text) for keyword in keywords)


@_constraint("keywords:frequency", "use the word {keyword} {relation} {frequency} times")
def _uses_often(text: str, keyword: str, relation: str, frequency: int) -> bool:
    return _compared(_count(keyword, text), relation, frequency)


@_constraint("keywords:forbidden_words", "do not use the words: {forbidden_words}")
def _avoids(text: str, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


@_constraint("keywords:letter_frequency", "use the letter {letter} {let_relation} {let_frequency} times")
def _uses_letter(text: str, letter: str, let_relation: str, let_frequency: int) -> bool:
    return _compared(text.lower().count(letter.lower()), let_relation, let_frequency)


def _count(keyword: str, text: str) -> int:
    return len(re.findall(re.escape(keyword.strip()), text, re.IGNORECASE))


# --- language and case


@_constraint("language:response_language", "answer in the language {language} only")
def _is_in(text: str, language: str) -> bool:
    return detected(text) in (language, None)


@_constraint("change_case:english_capital", "write English, in capital letters only")
def _is_shouted(text: str) -> bool:
    return text.isupper() and detected(text.lower()) in ("en", None)


@_constraint("change_case:english_lowercase", "write English, in small letters only")
def _is_low(text: str) -> bool:
    return text.islower() and detected(text) in ("en", None)


@_constraint("change_case:capital_word_frequency", "use {capital_relation} {capital_frequency} words in capitals")
def _shouts_often(text: str, capital_relation: str, capital_frequency: int) -> bool:
    return _compared(sum(map(str.isupper, _WORD.findall(text))), capital_relation, capital_frequency)


# "mother-in-law", "U.S." and "AT&T" are a word each, "I'm" and "DON'T" two, as the published tokenizer parts them.
_WORD = re.compile(r"[^\W_]+(?:[-’.&/+][^\W_]+)*")


def detected(text: str) -> str | None:
    """The language that langdetect, which the published checker uses, takes a text for; None where it has no letters.

    Raises:
        MissingExtraError: langdetect is not installed.
    """
    detector = _detectors().create()
    # Language models of short texts are drawn from at random; a seed makes the same text the same language always.
    detector.seed = 0
    detector.append(text)
    from langdetect import LangDetectException

    try:
        return str(detector.detect())
    except LangDetectException:
        return None


@cache
def _detectors() -> Any:
    if find_spec("langdetect") is None:
        raise MissingExtraError("langdetect", "eval", "telling the language of an answer (IFEval)")
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    return factory


# --- length


@_constraint("length_constraints:number_words", "write {relation} {num_words} words")
def _has_words(text: str, relation: str, num_words: int) -> bool:
    return _compared(count_words(text), relation, num_words)


def count_words(text: str) -> int:
    """How many words, parted by whatever is no letter or digit; a vowel's mark (Hindi, Bengali, ...) parts none."""
    bare = text if text.isascii() else "".join([sign for sign in text if not _is_joined(sign)])
    return len(re.findall(r"\w+", bare))


def _is_joined(sign: str) -> bool:
    return unicodedata.category(sign).startswith("M") or sign in "\u200c\u200d"


@_constraint("length_constraints:number_sentences", "write {relation} {num_sentences} sentences")
def _has_sentences(text: str, relation: str, num_sentences: int) -> bool:
    return _compared(count_sentences(text), relation, num_sentences)


@_constraint("length_constraints:number_paragraphs", "write {num_paragraphs} paragraphs, parted by ***")
def _has_paragraphs(text: str, num_paragraphs: int) -> bool:
    found = _parted(text, "***")
    return found is not None and len(found) == num_paragraphs


@_constraint(
    "length_constraints:nth_paragraph_first_word",
    "write {num_paragraphs} paragraphs, parted by blank lines, number {nth_paragraph} beginning with {first_word}",
)
def _opens(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    found = [part.strip() for part in text.split("\n\n") if part.strip()]
    if len(found) != num_paragraphs or not 1 <= nth_paragraph <= len(found):
        return False
    word = found[nth_paragraph - 1].split()[0].lstrip("'\"")
    return re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def _parted(text: str, rule: str) -> list[str] | None:
    """The parts between rules, which may stand before the first and behind the last too; None where one is empty."""
    parts = [part.strip() for part in text.split(rule)]
    inner = parts[1:-1] if len(parts) > 1 else []
    return [part for part in parts if part] if all(inner) else None


_TITLE = re.compile(r"mrs?|ms|dr|prof|st|sgt|capt|lt|maj|rev|hon|sen|rep|gov|gen|col|vs|fig|vol|mt|approx|est")
_SHORT = re.compile(r"etc|inc|ltd|corp?|sr|jr|jan|feb|mar|apr|aug|sept?|oct|nov|dec|ave|dept|(?:\w{1,2}\.)+\w{1,2}")
_NUMBER = re.compile(r"\d{1,3}|[a-z]")  # of a list's point, or an initial
_END = re.compile(r"(?:[.!?…]+[\"'”’»)\]*_]*(?=\s|\Z)|[。！？]+[”’」』）]*)")
_LONGEST = 12  # letters of an abbreviation, with what may stand before it


def count_sentences(text: str) -> int:
    """How many sentences, by rule: they end at . ! ? and at the end of the text, not at a line's end.

    A title ("Dr."), an initial and the number of a list's point end none; other abbreviations ("etc.", "p.m.") do
    before a capital letter.
    """
    ends, last = 0, 0
    for found in _END.finditer(text):
        if not _goes_on(found, text):
            ends, last = ends + 1, found.end()
    return ends + bool(re.search(r"\w", text[last:]))


def _goes_on(found: re.Match[str], text: str) -> bool:
    """Whether what looks like an end is none."""
    after = text[found.end() :].lstrip()
    if not found[0].startswith((".", "…")) or not after:
        return False
    if found[0].startswith(("..", "…")):
        return after[0].islower()
    word = re.split(r"\s", text[max(0, found.start() - _LONGEST) : found.start()])[-1].lower().lstrip("(\"'“‘*_[#")
    return any(kind.fullmatch(word) for kind in (_TITLE, _NUMBER)) or bool(
        _SHORT.fullmatch(word) and not after[0].isupper()
    )


# --- what the answer holds


@_constraint("detectable_content:number_placeholders", "write at least {num_placeholders} [placeholders]")
def _has_placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[[^\n]*?\]", text)) >= num_placeholders


@_constraint("detectable_content:postscript", "add a postscript that begins with {postscript_marker}")
def _has_postscript(text: str, postscript_marker: str) -> bool:
    return re.search(_after_script(postscript_marker), text.lower()) is not None


def _after_script(marker: str) -> str:
    """What finds a marker, its letters together or apart; of "P.P.S" the last full stop is left open."""
    letters = [re.escape(part) for part in marker.lower().split(".") if part]
    known = marker in ("P.P.S", "P.S.")
    return r"\.\s?".join(letters) + (r"\." if marker.endswith(".") else "") if known else re.escape(marker.lower())


# --- form


@_constraint("detectable_format:number_bullet_lists", "write exactly {num_bullets} bullet points")
def _has_bullets(text: str, num_bullets: int) -> bool:
    return sum(_is_bullet(line.lstrip()) for line in text.split("\n")) == num_bullets


def _is_bullet(line: str) -> bool:
    return line.startswith("-") or (line.startswith("*") and line[1:2] not in ("*", ""))


@_constraint("detectable_format:constrained_response", "answer with one of: " + " ".join(CHOICES))
def _chooses(text: str) -> bool:
    return any(choice in text for choice in CHOICES)


@_constraint("detectable_format:number_highlighted_sections", "highlight at least {num_highlights} *sections*")
def _highlights(text: str, num_highlights: int) -> bool:
    once = [inside for inside in re.findall(r"\*([^\n*]*)\*", text) if inside.strip()]
    twice = [inside for inside in re.findall(r"\*\*([^\n*]*)\*\*", text) if inside.strip()]
    return len(once) + len(twice) >= num_highlights


@_constraint(
    "detectable_format:multiple_sections", "write at least {num_sections} sections, headed {section_spliter} 1, 2, ..."
)
def _has_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)) >= num_sections


_FENCE = re.compile(r"\A\s*(?:```(?:json|Json|JSON)?)?(.*?)(?:```)?\s*\Z", re.DOTALL)


@_constraint("detectable_format:json_format", "answer in JSON only")
def _is_json(text: str) -> bool:
    inside = _FENCE.match(text)
    try:
        json.loads(inside[1] if inside else text)
    except (ValueError, RecursionError):
        return False
    return True


@_constraint("detectable_format:title", "give a title in <<double angular brackets>>")
def _has_title(text: str) -> bool:
    return any(title.strip("<> \t") for title in re.findall(r"<<([^\n]+)>>", text))


# --- several parts


@_constraint("combination:repeat_prompt", "first repeat the request word for word, then answer it")
def _repeats(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


@_constraint("combination:two_responses", "give two different answers, parted by ******")
def _has_two(text: str) -> bool:
    found = _parted(text, "******")
    return found is not None and len(found) == 2 and found[0] != found[1]


@_constraint("startend:end_checker", "end with: {end_phrase}")
def _ends(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@_constraint("startend:quotation", "wrap the whole answer in double quotation marks")
def _is_quoted(text: str) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


@_constraint("punctuation:no_comma", "do not use any commas")
def _has_no_comma(text: str) -> bool:
    return "," not in text
