"""The words of a text, and the language it is written in where that is beyond doubt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources

# Where words are not parted by blanks (Chinese, Japanese, Thai, Lao, Khmer, Burmese), each sign counts as a word.
SIGN = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{SIGN}]|(?:(?![{SIGN}])[^\W_])+(?:['’](?:(?![{SIGN}])[^\W_])+)*")
_SIGN = re.compile(f"[{SIGN}]")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")

_SCRIPTS = {
    "zh": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]"),
    "ja": re.compile(r"[\u3041-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "ar": re.compile(r"[\u0620-\u064a\u0671-\u06d3]"),
    "hi": re.compile(r"[\u0904-\u0939]"),
    "bn": re.compile(r"[\u0985-\u09b9]"),
    "ta": re.compile(r"[\u0b85-\u0bb9]"),
    "te": re.compile(r"[\u0c05-\u0c39]"),
    "th": re.compile(r"[\u0e01-\u0e33\u0e40-\u0e46]"),
    "he": re.compile(r"[\u05d0-\u05ea]"),
    "el": re.compile(r"[\u0370-\u03ff]"),
    "ka": re.compile(r"[\u10d0-\u10ff]"),
    "hy": re.compile(r"[\u0531-\u0587]"),
    "cyrillic": re.compile(r"[\u0400-\u04ff]"),
}
_OWN_LETTERS = {
    "ru": re.compile("[ыэё]", re.IGNORECASE),
    "uk": re.compile("[іїєґ]", re.IGNORECASE),
    "sr": re.compile("[јљњћђџ]", re.IGNORECASE),
}
_LETTER = re.compile(r"[^\W\d_]")

_LOOKED_AT = 100  # words: the language of a text shows in its beginning
_SCRIPT_SHARE = 0.7  # of the letters
_LEAST_LETTERS = 8
_LEAST_WORDS = 3  # that belong to the language, and not to the next best
_WORD_SHARE = 0.15  # of all words; 0.3 to 0.5 are usual
_LEAD = 3  # times as many as belong to the next best alone


@lru_cache(maxsize=64)
def words(text: str) -> tuple[str, ...]:
    """The words, case folded, without punctuation: "Don't stop!" -> ("don't", "stop").

    A row's texts are asked for by several gates in a row, so the last few are kept.
    """
    if text.isascii():
        return tuple(_ASCII_WORD.findall(text.lower()))
    return tuple(_WORD.findall(text.replace("’", "'").casefold()))


def is_sign(word: str) -> bool:
    """Whether the word is a sign of a script that does not part its words."""
    return len(word) == 1 and word > "\u0dff" and _SIGN.match(word) is not None


@lru_cache(maxsize=64)
def language(text: str) -> str | None:
    """The language's code ("en", "de", "zh", ...), or None where the text is short, mixed, or of no language we know.

    By script; in Latin script by function words, in Cyrillic by the letters that only one language has.
    """
    if text.isascii():
        return _by_words(text)
    letters = len(_LETTER.findall(text))
    if letters < _LEAST_LETTERS:
        return None
    shares = {script: len(signs.findall(text)) / letters for script, signs in _SCRIPTS.items()}
    if shares["zh"] + shares["ja"] >= _SCRIPT_SHARE:  # Japanese mixes in Chinese signs, Chinese no kana
        return "ja" if shares["ja"] > 0.1 else "zh"
    script, share = max(shares.items(), key=lambda item: item[1])
    if share >= _SCRIPT_SHARE:
        return _by_letters(text) if script == "cyrillic" else script
    return _by_words(text) if sum(shares.values()) < 1 - _SCRIPT_SHARE else None


def _by_letters(text: str) -> str | None:
    """The Cyrillic language whose own letters occur, where no other's do."""
    found = [code for code, own in _OWN_LETTERS.items() if own.search(text)]
    return found[0] if len(found) == 1 else None


def _by_words(text: str) -> str | None:
    """The language that has many of the words, of which few belong to another and not to it."""
    found = words(text)[:_LOOKED_AT]
    owners = function_words()
    known = Counter(owners[word] for word in found if word in owners)  # a few dozen groups of languages at most
    hits: Counter[str] = Counter()
    for codes, times in known.items():
        for code in codes:
            hits[code] += times
    if not hits:
        return None
    best, most = hits.most_common(1)[0]
    if most < max(_LEAST_WORDS, _WORD_SHARE * len(found)):
        return None
    # Mostly the others are so far behind that what they share with the best need not be told apart.
    near = (other for other, times in hits.items() if other != best and most - times < max(_LEAST_WORDS, _LEAD * times))
    leads = all(_leads(best, other, known) for other in near)
    return best if leads else None


def _leads(best: str, other: str, known: Mapping[tuple[str, ...], int]) -> bool:
    ours = sum(times for codes, times in known.items() if best in codes and other not in codes)
    theirs = sum(times for codes, times in known.items() if other in codes and best not in codes)
    return ours >= max(_LEAST_WORDS, _LEAD * theirs)


@cache
def function_words() -> dict[str, tuple[str, ...]]:
    """The languages in Latin script that a word is a function word of."""
    table: dict[str, tuple[str, ...]] = {}
    text = resources.files("seqtune.building").joinpath("function_words.txt").read_text("utf-8")
    for line in text.splitlines():
        code, *listed = line.split()
        for word in listed:
            table[word] = (*table.get(word, ()), code)
    return table
