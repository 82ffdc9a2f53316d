"""Whether a quote stands in a text: what a judge says counts only where its evidence is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from rapidfuzz import fuzz

NEAR = 90.0  # per cent of rapidfuzz's partial ratio: a letter or a mark changed in copying, not a word of substance
SHORT = 12  # characters; a shorter quote must be there exactly and as words: anything short is near to something
LONG = 200  # characters of an answer, in which "the" or "1" stand somewhere: there they must be all of a line

_BLANKS = re.compile(r"\s+")
_CUT = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\])\s*")
_PLAIN = str.maketrans("“”„«»‘’‚`´–—\u00a0", "\"\"\"\"\"'''''-- ")
_MARKUP = re.compile(r"[*_#>]+")
_LETTER = r"[0-9a-z_\u00c0-\u052f]"  # of scripts with blanks between words; in others a few signs may say much
_EDGE = re.compile(_LETTER)
_WORD = re.compile(r"\w+")
# What an invented quote may hit by chance: the words that hold sentences together, or that speak of an answer as such.
_HOLLOW = frozenset(
    _WORD.findall("""
    a an the and or but nor so if then than as of in on at to by for from with without into over under about after
    before between through up down out off is are was were be been being am do does did done has have had having can
    could will would shall should may might must not no yes true false it its this that these those there here he
    she they we you i me him her them us my your his our their who whom whose which what when where why how all any
    each every both some most more less many much few other another such own same very too also just only now one
    two three first second third last next new good well right made make say said show shown see given get use ok
    okay sure answer answers task tasks step steps result results request response question text output input
    complete completed finished follow followed following instruction instructions example
    """)
)


def supported(quote: str, text: str) -> bool:
    """Whether the quote stands in the text: exactly but for blanks, case and markup, or nearly.

    A quote cut with "..." is supported where each of its pieces is.
    """
    return bool(find_quote(quote, text))


def find_quote(quote: str, text: str) -> tuple[tuple[int, int], ...]:
    """Where the quote stands in a text, a span for each of its pieces; empty where it is not `supported`.

    Lines that are quoted as "one / two" are pieces too, where they stand in this order.

    Returns:
        Spans of characters in `plain(text)`, each the first place that holds the piece, or the likest one.
    """
    spans = _spans(_CUT.split(quote), text)
    if not spans and " / " in quote:
        lines = _spans(quote.split(" / "), text)
        return lines if [*lines] == sorted(lines) else ()
    return spans


def _spans(pieces: Sequence[str], text: str) -> tuple[tuple[int, int], ...]:
    """Where each of the pieces stands; empty where one of them does not."""
    spans = [_found(piece, text) for piece in (plain(piece).strip("\"' ") for piece in pieces) if piece]
    return () if None in spans else tuple([span for span in spans if span])


def _found(piece: str, text: str) -> tuple[int, int] | None:
    whole = plain(text)
    exact = whole.find(piece)
    if len(piece) >= SHORT:
        return _span(exact, piece) if exact >= 0 else _near(piece, whole)
    if len(whole) >= LONG and not _tells(piece):
        return _as_value(piece, text, whole)
    if not _EDGE.search(piece):
        return _span(exact, piece)
    word = re.search(rf"(?<!{_LETTER}){re.escape(piece)}(?!{_LETTER})", whole)  # "3" does not stand in "13"
    return word.span() if word else None


def _tells(piece: str) -> bool:
    """Whether a word or a number stands in a short piece that no long text holds by chance: "1969", "the USA"."""
    return any(len(word) > 1 and word not in _HOLLOW for word in _WORD.findall(piece))


def _span(at: int, piece: str) -> tuple[int, int] | None:
    return (at, at + len(piece)) if at >= 0 else None


def _as_value(piece: str, text: str, whole: str) -> tuple[int, int] | None:
    """Where a line of a long text holds the piece and nothing else but a mark before it."""
    at = 0
    for line in text.splitlines(keepends=True):
        if piece in _values(line):
            return _span(max(0, whole.find(piece, len(plain(text[:at])))), piece)
        at += len(line)
    return None


def _near(piece: str, whole: str) -> tuple[int, int] | None:
    if len(piece) > len(whole):
        return None
    found = fuzz.partial_ratio_alignment(piece, whole, score_cutoff=NEAR)
    return (found.dest_start, found.dest_end) if found else None


def _values(line: str) -> tuple[str, ...]:
    """A line, and what follows the mark that it may begin with: "Word count: 3" holds "3"."""
    whole = plain(line).strip("\"'. ")
    return whole, whole.partition(":")[2].strip("\"'. "), whole.partition(". ")[2].strip("\"'. ")


@lru_cache(maxsize=64)  # an answer is looked into once for each of its steps
def plain(text: str) -> str:
    """The text as quotes are looked up in it: in lower case, without markup, with single blanks and plain marks."""
    return _BLANKS.sub(" ", _MARKUP.sub("", text.translate(_PLAIN))).strip().casefold()
