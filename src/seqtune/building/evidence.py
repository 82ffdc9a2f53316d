"""Whether a quote stands in a text: what a judge says counts only where its evidence is there."""

from __future__ import annotations

import re
from functools import lru_cache

from rapidfuzz import fuzz

NEAR = 90.0  # per cent of rapidfuzz's partial ratio: a letter or a mark changed in copying, not a word of substance
SHORT = 12  # characters; a shorter quote must be there exactly and as words: anything short is near to something
LONG = 200  # characters of an answer, in which a word or two stand anywhere ("the"): there they must be all of a line

_BLANKS = re.compile(r"\s+")
_CUT = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\])\s*")
_PLAIN = str.maketrans("“”„«»‘’‚`´–—\u00a0", "\"\"\"\"\"'''''-- ")
_MARKUP = re.compile(r"[*_#>]+")


def supported(quote: str, text: str) -> bool:
    """Whether the quote stands in the text: exactly but for blanks, case and markup, or nearly.

    A quote cut with "..." is supported where each of its pieces is.
    """
    pieces = [_plain(piece).strip("\"' ") for piece in _CUT.split(quote)]
    wanted = [piece for piece in pieces if piece]
    return bool(wanted) and all(_found(piece, text) for piece in wanted)


def _found(piece: str, text: str) -> bool:
    plain = _plain(text)
    if len(piece) >= SHORT:
        return piece in plain or (len(piece) <= len(plain) and fuzz.partial_ratio(piece, plain) >= NEAR)
    if not piece.isascii():  # a few signs may say much, and scripts without blanks have no words to look for
        return piece in plain
    if len(plain) >= LONG:
        return any(piece in _values(line) for line in text.splitlines())
    return re.search(rf"(?<!\w){re.escape(piece)}(?!\w)", plain) is not None  # "3" does not stand in "13"


def _values(line: str) -> tuple[str, ...]:
    """A line, and what follows the mark that it may begin with: "Word count: 3" holds "3"."""
    whole = _plain(line).strip("\"'. ")
    return whole, whole.partition(":")[2].strip("\"'. "), whole.partition(". ")[2].strip("\"'. ")


@lru_cache(maxsize=64)  # an answer is looked into once for each of its steps
def _plain(text: str) -> str:
    return _BLANKS.sub(" ", _MARKUP.sub("", text.translate(_PLAIN))).strip().casefold()
