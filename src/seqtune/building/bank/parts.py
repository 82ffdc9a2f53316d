"""What a word, a sentence, a line and a number is, and when a text is left alone.

Each `*_in` function reads a text's parts, or says why they are debatable: a reader must never be able to dispute a
gold answer, so a text that two careful people could take apart differently is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec, TypeVar
from unicodedata import category

from seqtune.building.operation import Skip

Parts = tuple[str, ...]
Read = TypeVar("Read", str, Parts)
Args = ParamSpec("Args")

MOST_WORDS = 60  # a rewrite of more than this teaches patience rather than the step
MOST_CHARACTERS = 4_000  # longer texts are not read at all, which also bounds the time of every pattern below

_NUMERALS = ("no", "two", "three", "four", "five")


def on(
    read: Callable[[str], Read | Skip], *, least: int = 1, most: int | None = None
) -> Callable[[Callable[Concatenate[Read, Args], str | Skip]], Callable[Concatenate[str, Args], str | Skip]]:
    """Let a function of a text's parts be an operation on the text: `@on(words_in, least=2)`.

    It is skipped where the parts are debatable or not `least` to `most`, and where it leaves nothing or the same text.
    """
    noun = read.__name__.removesuffix("_in").rpartition("_")[2]  # "marked_words_in" reads words
    too_few = Skip(f"no {noun}" if least == 1 else f"fewer than {_NUMERALS[least - 1]} {noun}")
    too_many = Skip(f"too many {noun}")

    def wrap(run: Callable[Concatenate[Read, Args], str | Skip]) -> Callable[Concatenate[str, Args], str | Skip]:
        @wraps(run)
        def run_on_text(text: str, /, *args: Args.args, **kwargs: Args.kwargs) -> str | Skip:
            parts = read(text)
            if isinstance(parts, Skip):
                return parts
            if len(parts) < least:
                return too_few
            if most and len(parts) > most:
                return too_many
            result = run(parts, *args, **kwargs)
            if isinstance(result, Skip):
                return result
            if not result.strip():
                return Skip("nothing would be left")
            return Skip("nothing would change") if result == text.strip() else result

        return run_on_text

    return wrap


# --- whole texts

_MARKUP_SIGN = re.compile(
    r"[{}<>|\\=_`^~@#*+§\[\]\t\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|://|\w\(|\)\.\w|\.(?:com|org|net|edu|gov|io)\b"
)
_MARKUP_LINE = re.compile(r";[ \t]*$|^ {2,}\S|\bwww\.", re.MULTILINE)
_UNSPACED = re.compile(  # Thai to Tibetan, Burmese, Khmer, Kana, Han; and Vietnamese, whose blanks part syllables
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff\u1ea0-\u1ef9\u01a0\u01a1\u01af\u01b0]"
)
LIST_MARK = re.compile(r"^[ \t]*(?:\(?\d{1,3}[.):]|\(?[a-zA-Z][.)]|[-–—•*·])(?:\s|$)", re.MULTILINE)
FOREIGN_LETTER = re.compile(r"(?![a-zA-Z])[^\W\d_]")
BREAK = re.compile(r"\r\n|\r|\n")


def text_in(text: str) -> str | Skip:
    """Any text but a blank one, without the blanks around it."""
    return text.strip() or Skip("no text")


@lru_cache(maxsize=64)  # several operations are tried on one text, and drawing their args reads it once more
def is_marked_up(text: str) -> bool:
    """Whether a text is, or holds, code, a table, a web address or marks of markup."""
    return bool(_MARKUP_SIGN.search(text) or _MARKUP_LINE.search(text.strip()))


def bounded_text_in(text: str) -> str | Skip:
    """Any text of at most 4,000 characters."""
    return text_in(text) if len(text) <= MOST_CHARACTERS else Skip("too long")


def short_text_in(text: str) -> str | Skip:
    """A text of at most 60 words, of any kind."""
    if len(text) > 10 * MOST_WORDS or len(text.split()) > MOST_WORDS:
        return Skip("too long to rewrite")
    return text_in(text)


def short_line_in(text: str) -> str | Skip:
    """One line of at most 60 words that is neither code nor marked up, in any script."""
    text = text.strip()
    if BREAK.search(text):
        return Skip("more than one line")
    return Skip("code, a table or markup") if is_marked_up(text) else short_text_in(text)


@lru_cache(maxsize=64)
def prose_in(text: str) -> str | Skip:
    """A text that is neither code nor a table nor marked up, in a script that puts blanks between words."""
    if len(text) > MOST_CHARACTERS:
        return Skip("too long")
    if not text.isascii() and _UNSPACED.search(text):
        return Skip("a script without blanks between words")
    if is_marked_up(text):
        return Skip("code, a table or markup")
    return text_in(text)


def short_prose_in(text: str) -> str | Skip:
    """Prose of at most 60 words."""
    prose = prose_in(text)
    return prose if isinstance(prose, Skip) else short_text_in(prose)


@lru_cache(maxsize=64)
def plain_characters_in(text: str) -> str | Skip:
    """One line of characters that everybody counts alike: no emoji, no accents as characters of their own."""
    text = text.strip()
    if len(text) > MOST_WORDS:
        return Skip("too long to count or turn letter by letter")
    if BREAK.search(text):
        return Skip("more than one line")
    if "  " in text or any(category(c)[0] in "MC" or category(c) in ("So", "Sk") for c in text):
        return Skip("characters that are debatable to count")
    if any((c.isspace() and c != " ") or "\u1100" <= c <= "\u11ff" for c in text):
        return Skip("characters that are debatable to count")
    return text


# --- words: what stands between blanks, with at most the usual marks before and after it

_MARKS = '.,;:!?()"“”„«»¿¡…'
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_WORD = re.compile(r"[$€£]?\d+(?:[.,]\d+)*%?|[^\W_]+(?:['’-][^\W_]+){0,2}")
_ABBREVIATION = re.compile(
    r"(?<!['’])\b(?:[^\W\d_]|[B-DF-HJ-NP-TV-Zb-df-hj-np-tv-zß]{2,4}|Prof|Gen|Gov|Sen|Rep|Rev|Hon|Capt|Col|Sra|Dra|Srta|Inc|Corp|"
    r"Assoc|Univ|Dept|Ave|Blvd|Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Fig|Figs|Vol|Ed|Eds|Art|Abs|Op|"
    r"[Aa]pprox|[Ee]st|[Ee]tc|[Ee]t al|[Cc]a|[Aa]vg|[Mm]in|[Mm]ax|[Pp]ág|[Ee]j|[Uu]sw|[Ii]nkl|[Ss]og|"
    r"др|гг|вв|тыс|млн|млрд|руб|коп|ул|им|св|см|стр|рис|проф|акад|напр)\."
)


@lru_cache(maxsize=64)
def marked_words_in(text: str) -> Parts | Skip:
    """The words of a prose text, with the marks on them: "Hello, (dear) world!" has three."""
    prose = prose_in(text)
    if isinstance(prose, Skip):
        return prose
    if LIST_MARK.search(prose):
        return Skip("items with list marks")
    words = prose.split()
    plain = 0
    for word in words:
        bare = word.strip(_MARKS)
        if not _WORD.fullmatch(bare):
            return Skip("a word that is debatable" if _LETTER_OR_DIGIT.search(bare) else "a mark that stands alone")
        plain += not bare[-1].isdigit()
    return tuple(words) if 2 * plain > len(words) else Skip("more numbers than words")


@lru_cache(maxsize=64)
def words_in(text: str) -> Parts | Skip:
    """The words of a prose text without the marks on them: "Hello, (dear) world!" has Hello, dear and world."""
    words = marked_words_in(text)
    if isinstance(words, Skip):
        return words
    if _ABBREVIATION.search(text):
        return Skip("an abbreviation")
    return tuple(word.strip(_MARKS) for word in words)


@lru_cache(maxsize=64)
def plain_words_in(text: str) -> Parts | Skip:
    """The words of a text that holds nothing else: no marks whose place would be debatable, and one line."""
    words = marked_words_in(text)
    if isinstance(words, Skip):
        return words
    if BREAK.search(text.strip()):
        return Skip("more than one line")
    if not all(map(is_bare, words)):
        return Skip("punctuation between the words")
    return words if len(words) <= MOST_WORDS else Skip("too long to rewrite")


def is_bare(word: str) -> bool:
    """Whether a word of `marked_words_in` has no mark on it."""
    return word == word.strip(_MARKS)


def alphabetical(items: Parts) -> list[str] | Skip:
    """The items in alphabetical order, upper and lower case alike, where every way of sorting agrees on it."""
    if not all(item[0].isalpha() and item.isascii() for item in items):
        return Skip("an alphabetical order that is debatable")
    if len({item.casefold() for item in items}) < len(set(items)):
        return Skip("an alphabetical order that is debatable")
    order = sorted(items, key=str.casefold)
    by_letters = sorted(items, key=lambda item: re.sub(r"[^a-z0-9]", "", item.casefold()))
    by_words = sorted(items, key=lambda item: re.findall(r"[a-z0-9]+", item.casefold()))
    return order if order == by_letters == by_words else Skip("an alphabetical order that is debatable")


# --- sentences: one paragraph in which every full stop, question or exclamation mark ends a sentence

_END = re.compile(r"(?<=[.!?])\s+")
_NOT_AN_END = re.compile(r"[.!?][^\s.!?]|\d\.\s|\.\.|…|[\"“”„«»:;]|[.!?]\s+(?![^\W\d_]|[¿¡])")


@lru_cache(maxsize=64)
def sentences_in(text: str) -> Parts | Skip:
    """The sentences of one paragraph; skipped with abbreviations, decimals, quotations, colons and list marks."""
    words = words_in(text)
    if isinstance(words, Skip):
        return words
    text = text.strip()
    if BREAK.search(text):
        return Skip("more than one line")
    sentences = _END.split(text)
    if _NOT_AN_END.search(text) or text[-1] not in ".!?" or any(s.lstrip("¿¡")[:1].islower() for s in sentences[1:]):
        return Skip("ends of sentences that are debatable")
    return tuple(sentences)


# --- lines

_HALF_QUOTED = re.compile("“[^”]*$|«[^»]*$")


@lru_cache(maxsize=64)
def lines_in(text: str) -> Parts | Skip:
    """The lines of a text, each without the blanks around it; no empty ones between, no paragraphs, code or tables."""
    if len(text) > MOST_CHARACTERS:
        return Skip("too long")
    if is_marked_up(text):
        return Skip("code, a table or markup")
    lines = [line.strip() for line in BREAK.split(text.strip())]
    if lines == [""]:
        return ()
    if max(map(len, lines)) > 100:
        return Skip("paragraphs rather than lines")
    if any(line.count('"') % 2 or _HALF_QUOTED.search(line) for line in lines):
        return Skip("a quotation over several lines")
    return tuple(lines) if all(lines) else Skip("empty lines between the lines")


# --- numbers: written in digits, and standing alone

_DIGIT = re.compile(r"\d")
_WITH_DIGIT = re.compile(r"\S*\d\S*")
_NUMBER = re.compile(r"-?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?")
_DOT_THOUSAND = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")  # 1.200 is 1200 in half of the world
_BLANK_THOUSAND = re.compile(r"(?<!\d)\d{1,3}[ \u00a0\u202f]\d{3}(?!\d)")
_OTHER_NUMERAL = re.compile("[²³¹¼-¾\u2070-\u209f\u2150-\u218b\u2460-\u24ff]")
_SIGN = re.compile(r"(?:^|\s)[-–−+*/=×÷^<>≤≥±x](?=\s|$)|\d\s+-\d|\n\s*-\d|^-\d[^\n]*\n", re.MULTILINE)
_SCALE = re.compile(
    r"\d\s*(?:hundred|thousand|million|billion|trillion|dozen|percent|mil\b|mill|tausend|hundert|милли|миллиард|тыс|млн|"
    r"млрд|[万亿億萬千百])",
    re.IGNORECASE,
)


@lru_cache(maxsize=64)
def numbers_in(text: str) -> Parts | Skip:
    """The numbers written in digits, as written but without currency and percent signs: "$1,200" is 1,200.

    Skipped as a whole where any digit is part of something else: dates, times, ranges, ordinals, versions, phone
    numbers, names such as R2-D2, list marks, arithmetic; or where a comma or a dot may be read in two ways.
    """
    if len(text) > MOST_CHARACTERS:
        return Skip("too long")
    if not _DIGIT.search(text):
        return ()
    if _OTHER_NUMERAL.search(text) or LIST_MARK.search(text) or _SIGN.search(text) or _SCALE.search(text):
        return Skip("digits that are not plain numbers")
    numbers = tuple(chunk.lstrip("([$€£").rstrip(")].,;:!?%€£") for chunk in _WITH_DIGIT.findall(text))
    if not all(_NUMBER.fullmatch(n) and not _DOT_THOUSAND.fullmatch(n) for n in numbers):
        return Skip("digits that are not plain numbers")
    if FOREIGN_LETTER.search(text) and (any("," in n for n in numbers) or _BLANK_THOUSAND.search(text)):
        return Skip("digits that are not plain numbers")
    return numbers
