"""Whether a quote stands in a text: what a judge says counts only where its evidence is there."""

from __future__ import annotations

import re
from functools import lru_cache

from rapidfuzz import fuzz

NEAR = 90.0  # per cent of rapidfuzz's partial ratio: a letter or a mark changed in copying, not a word of substance
SHORT = 12  # characters; a shorter quote must be there exactly, since anything short is near to something

_BLANKS = re.compile(r"\s+")
_CUT = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\])\s*")
_PLAIN = str.maketrans("“”„«»‘’‚`´–—\u00a0", "\"\"\"\"\"'''''-- ")
_MARKUP = re.compile(r"[*_#>]+")


def supported(quote: str, text: str) -> bool:
    """Whether the quote stands in the text: exactly but for blanks, case and markup, or nearly.

    A quote cut with "..." is supported where each of its pieces is.
    """
    plain = _plain(text)
    pieces = [_plain(piece).strip("\"' ") for piece in _CUT.split(quote)]
    wanted = [piece for piece in pieces if piece]
    return bool(wanted) and all(_found(piece, plain) for piece in wanted)


def _found(piece: str, text: str) -> bool:
    if piece in text:
        return True
    return SHORT <= len(piece) <= len(text) and fuzz.partial_ratio(piece, text) >= NEAR


@lru_cache(maxsize=64)  # an answer is looked into once for each of its steps
def _plain(text: str) -> str:
    return _BLANKS.sub(" ", _MARKUP.sub("", text.translate(_PLAIN))).strip().casefold()
