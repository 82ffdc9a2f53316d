"""What a word, a sentence, a line and a number is, and when a text is left alone.

Each `*_in` function reads a text's parts, or says why they are debatable: a reader must never be able to dispute a
gold answer, so a text that two careful people could take apart differently is skipped.

A chain tries dozens of operations on each row, so these functions must be fast. What each says of a text is remembered
while they are tried. Signs are looked for by `in`, which is far faster than a pattern. Where a pattern must read a
whole text, each of its branches begins with the sign to look for, from one of which to the next `re` then leaps; what
must stand before it comes after it, as in `w(?<!\\w.)ww` for `\\bwww`. Rare patterns are compiled at their first use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from itertools import filterfalse
from typing import Concatenate, ParamSpec, TypeVar
from unicodedata import category

from seqtune.building.gold import Skip

Parts = tuple[str, ...]
Read = TypeVar("Read", str, Parts)
Args = ParamSpec("Args")

MOST_WORDS = 60  # a rewrite of more than this teaches patience rather than the step
MOST_CHARACTERS = 4_000  # longer texts are not read at all, which also bounds the time of every pattern below

_NUMERALS = ("no", "two", "three", "four", "five")
_NOTHING_LEFT = Skip("nothing would be left")
_NO_CHANGE = Skip("nothing would change")

remembered = lru_cache(maxsize=16)  # a row has few texts, and long ones should not be kept


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
                return _NOTHING_LEFT
            return _NO_CHANGE if result == text.strip() else result

        return run_on_text

    return wrap


# --- whole texts

_MARKUP_SIGNS = "{}<>|\\=_`^~@#*+§[]\t\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_MARKUP = re.compile(
    r"\((?<=\w.)|\)\.\w|\.(?:com|org|net|edu|gov|io)\b|://|w(?<!\w.)ww\.|;[ \t]*$|\n {2,}\S", re.MULTILINE
)
_UNSPACED = (  # Thai to Tibetan, Burmese, Khmer, Kana, Han; and Vietnamese, whose blanks part syllables
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff\u1ea0-\u1ef9\u01a0\u01a1\u01af\u01b0]"
)
_LIST_MARK = re.compile(r"[ \t]*(?:\(?\d{1,3}[.):]|\(?[a-zA-Z][.)]|[-–—•*·])(?:\s|$)")
_DIGIT = re.compile(r"\d")
_FOREIGN_LETTER = re.compile(r"[^\W\d_a-zA-Z]")


def holds_any(text: str, signs: Iterable[str]) -> bool:
    """Whether at least one of the signs stands in a text."""
    return any(map(text.__contains__, signs))


def is_one_line(text: str) -> bool:
    """Whether a text has no line break but at its ends."""
    return not holds_any(text.strip(), "\r\n")


def split_lines(text: str) -> list[str]:
    """The lines of a text; unlike `str.splitlines`, it parts them at line breaks alone."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@remembered
def is_long(text: str) -> bool:
    """Whether a text has more than 60 words."""
    return len(text.split(None, MOST_WORDS)) > MOST_WORDS


@remembered
def has_list_marks(text: str) -> bool:
    """Whether a line of a text begins with a number, a letter or a bullet as in a list."""
    return any(map(_LIST_MARK.match, text.split("\n")))


@remembered
def chunks_with_digits(text: str) -> Parts:
    """What stands between blanks and holds a digit, in any script: "on 5/12, 10:30" has "5/12," and "10:30"."""
    if text.isascii() and not holds_any(text, "0123456789"):
        return ()
    return tuple(filter(_DIGIT.search, filterfalse(str.isalpha, text.split())))


def has_letters(text: str) -> bool:
    """Whether a text has a letter of any script."""
    return any(map(str.isalpha, text))


@remembered
def has_foreign_letters(text: str) -> bool:
    """Whether a text has letters beyond a to z."""
    return not text.isascii() and bool(_FOREIGN_LETTER.search(text))


def text_in(text: str) -> str | Skip:
    """Any text but a blank one, without the blanks around it."""
    return text.strip() or Skip("no text")


@remembered
def is_marked_up(text: str) -> bool:
    """Whether a text is, or holds, code, a table, a web address or marks of markup."""
    return holds_any(text, _MARKUP_SIGNS) or bool(_MARKUP.search(text.strip()))


@remembered
def bounded_text_in(text: str) -> str | Skip:
    """Any text of at most 4,000 characters."""
    return text_in(text) if len(text) <= MOST_CHARACTERS else Skip("too long")


@remembered
def short_text_in(text: str) -> str | Skip:
    """A text of at most 60 words, of any kind."""
    if len(text) > 10 * MOST_WORDS or is_long(text):
        return Skip("too long to rewrite")
    return text_in(text)


@remembered
def short_line_in(text: str) -> str | Skip:
    """One line of at most 60 words that is neither code nor marked up, in any script."""
    text = text.strip()
    if not is_one_line(text):
        return Skip("more than one line")
    return Skip("code, a table or markup") if is_marked_up(text) else short_text_in(text)


@remembered
def prose_in(text: str) -> str | Skip:
    """A text that is neither code nor a table nor marked up, in a script that puts blanks between words."""
    if len(text) > MOST_CHARACTERS:
        return Skip("too long")
    if not text.isascii() and re.search(_UNSPACED, text):
        return Skip("a script without blanks between words")
    if is_marked_up(text):
        return Skip("code, a table or markup")
    return text_in(text)


@remembered
def short_prose_in(text: str) -> str | Skip:
    """Prose of at most 60 words."""
    prose = prose_in(text)
    return prose if isinstance(prose, Skip) else short_text_in(prose)


@remembered
def plain_characters_in(text: str) -> str | Skip:
    """One line of characters that everybody counts alike: no emoji, no accents as characters of their own."""
    text = text.strip()
    if len(text) > MOST_WORDS:
        return Skip("too long to count or turn letter by letter")
    if not is_one_line(text):
        return Skip("more than one line")
    if "  " in text or any(category(c)[0] in "MC" or category(c) in ("So", "Sk") for c in text):
        return Skip("characters that are debatable to count")
    if any((c.isspace() and c != " ") or "\u1100" <= c <= "\u11ff" for c in text):
        return Skip("characters that are debatable to count")
    return text


# --- words: what stands between blanks, with at most the usual marks before and after it

_MARKS = '.,;:!?()"“”„«»¿¡…'
_LETTER_OR_DIGIT = r"[^\W_]"
_WORD = re.compile(r"[$€£]?\d+(?:[.,]\d+)*%?|[^\W_]+(?:['’-][^\W_]+){0,2}")
_ABBREVIATION = re.compile(
    r"(?<!['’])\b(?:[^\W\d_]|[B-DF-HJ-NP-TV-Zb-df-hj-np-tv-zß]{2,4}|Prof|Gen|Gov|Sen|Rep|Rev|Hon|Capt|Col|Sra|Dra|Srta|Inc|Corp|"
    r"Assoc|Univ|Dept|Ave|Blvd|Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Fig|Figs|Vol|Ed|Eds|Art|Abs|Op|"
    r"[Aa]pprox|[Ee]st|[Ee]tc|[Cc]a|[Aa]vg|[Mm]in|[Mm]ax|[Pp]ág|[Ee]j|[Uu]sw|[Ii]nkl|[Ss]og|"
    r"др|гг|вв|тыс|млн|млрд|руб|коп|ул|им|св|см|стр|рис|проф|акад|напр)\."
)
_ET_AL = re.compile(r"(?<!['’])\b[Ee]t al\.")  # the only one of two words


@remembered
def marked_words_in(text: str) -> Parts | Skip:
    """The words of a prose text, with the marks on them: "Hello, (dear) world!" has three."""
    prose = prose_in(text)
    if isinstance(prose, Skip):
        return prose
    if has_list_marks(prose):
        return Skip("items with list marks")
    words = prose.split()
    numbers = 0
    for word in filterfalse(str.isalpha, words):  # letters alone, as most words are, need no second look
        bare = word.strip(_MARKS)
        if not (bare.isalpha() or _WORD.fullmatch(bare)):
            return Skip("a word that is debatable" if re.search(_LETTER_OR_DIGIT, bare) else "a mark that stands alone")
        numbers += bare[-1].isdigit()
    if 2 * numbers >= len(words):
        return Skip("more numbers than words")
    return tuple(words) if has_letters(prose) else Skip("no letters")


@remembered
def words_in(text: str) -> Parts | Skip:
    """The words of a prose text without the marks on them: "Hello, (dear) world!" has Hello, dear and world."""
    words = marked_words_in(text)
    if isinstance(words, Skip):
        return words
    dotted = "\n".join([word for word in words if "." in word])  # the pattern is too slow for the whole text
    if _ABBREVIATION.search(dotted) or ("t al." in text and _ET_AL.search(text)):
        return Skip("an abbreviation")
    return tuple([word.strip(_MARKS) for word in words])


@remembered
def plain_words_in(text: str) -> Parts | Skip:
    """The words of a text that holds nothing else: no marks whose place would be debatable, and one line."""
    words = marked_words_in(text)
    if isinstance(words, Skip):
        return words
    if not is_one_line(text):
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
_NO_PLAIN_SENTENCES = '…"“”„«»:;'
_NOT_AN_END = re.compile(r"[.!?](?:[^\s.!?]|(?<=\d\.)\s|(?<=\.)\.|\s+(?![^\W\d_]|[¿¡]))")


@remembered
def sentences_in(text: str) -> Parts | Skip:
    """The sentences of one paragraph; skipped with abbreviations, decimals, quotations, colons and list marks."""
    words = words_in(text)
    if isinstance(words, Skip):
        return words
    text = text.strip()
    if not is_one_line(text):
        return Skip("more than one line")
    if text[-1] not in ".!?" or holds_any(text, _NO_PLAIN_SENTENCES) or _NOT_AN_END.search(text):
        return Skip("ends of sentences that are debatable")
    sentences = tuple(_END.split(text))
    if any(sentence.lstrip("¿¡")[:1].islower() for sentence in sentences[1:]):
        return Skip("ends of sentences that are debatable")
    return sentences


# --- lines


def _is_half_quoted(line: str) -> bool:
    return line.count('"') % 2 == 1 or line.rfind("“") > line.rfind("”") or line.rfind("«") > line.rfind("»")


@remembered
def lines_in(text: str) -> Parts | Skip:
    """The lines of a text, each without the blanks around it; no empty ones between, no paragraphs, code or tables."""
    if len(text) > MOST_CHARACTERS:
        return Skip("too long")
    if is_marked_up(text):
        return Skip("code, a table or markup")
    lines = [line.strip() for line in split_lines(text.strip())]
    if lines == [""]:
        return ()
    if max(map(len, lines)) > 100:
        return Skip("paragraphs rather than lines")
    if any(map(_is_half_quoted, lines)):
        return Skip("a quotation over several lines")
    return tuple(lines) if all(lines) else Skip("empty lines between the lines")


# --- numbers: written in digits, and standing alone

_NUMBER = re.compile(r"-?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?")
_DOT_THOUSAND = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")  # 1.200 is 1200 in half of the world
_BLANK_THOUSAND = r"(?<!\d)\d{1,3}[ \u00a0\u202f]\d{3}(?!\d)"
_OTHER_NUMERAL = "[²³¹¼-¾\u2070-\u209f\u2150-\u218b\u2460-\u24ff]"
_SIGN = re.compile(r"[-–−+*/=×÷^<>≤≥±x](?<!\S.)(?!\S)")
_MINUS = re.compile(r"\d\s+-\d|\n\s*-\d|^-\d[^\n]*\n", re.MULTILINE)
_SCALE = re.compile(
    r"\d\s*(?:hundred|thousand|million|billion|trillion|dozen|percent|mil\b|mill|tausend|hundert|милли|миллиард|тыс|млн|"
    r"млрд|[万亿億萬千百])",
    re.IGNORECASE,
)


@remembered
def numbers_in(text: str) -> Parts | Skip:
    """The numbers written in digits, as written but without currency and percent signs: "$1,200" is 1,200.

    Skipped as a whole where any digit is part of something else: dates, times, ranges, ordinals, versions, phone
    numbers, names such as R2-D2, list marks, arithmetic; or where a comma or a dot may be read in two ways.
    """
    if len(text) > MOST_CHARACTERS:
        return Skip("too long")
    chunks = chunks_with_digits(text)
    if not chunks:
        return ()
    numbers = tuple([chunk.lstrip("([$€£").rstrip(")].,;:!?%€£") for chunk in chunks])
    if not all(_NUMBER.fullmatch(n) and not _DOT_THOUSAND.fullmatch(n) for n in numbers):
        return Skip("digits that are not plain numbers")
    if has_list_marks(text) or _SIGN.search(text) or _SCALE.search(text):
        return Skip("digits that are not plain numbers")
    if any(n[0] == "-" for n in numbers) and _MINUS.search(text):
        return Skip("digits that are not plain numbers")
    if not text.isascii() and re.search(_OTHER_NUMERAL, text):
        return Skip("digits that are not plain numbers")
    if has_foreign_letters(text) and (any("," in n for n in numbers) or re.search(_BLANK_THOUSAND, text)):
        return Skip("digits that are not plain numbers")
    return numbers
