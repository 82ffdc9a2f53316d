"""How the parts of an answer are marked, and how a marked answer is taken apart again."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, get_args

Style = Literal["labelled", "numbered", "steps", "plain"]
STYLES: tuple[Style, ...] = get_args(Style)

_BLANK = re.compile(r"[^\S\r\n]")
_FENCE = re.compile(r"\s*`{3,}\w*\s*")
_ROW = re.compile(r"\s*\|(.+)\|\s*")

# What shows nothing and yet is called a letter, a mark or a symbol: fillers of Hangul, an empty Braille cell, joiners.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(at) for at in range(0xFE00, 0xFE10)}


def marks(style: Style, labels: Sequence[str]) -> list[str]:
    """The mark before each part: "Word count:", "1.", "Step 1:", or nothing."""
    if style == "labelled":
        return [f"{label}:" for label in labels]
    if style == "numbered":
        return [f"{i}." for i in range(1, len(labels) + 1)]
    if style == "steps":
        return [f"Step {i}:" for i in range(1, len(labels) + 1)]
    return [""] * len(labels)


def join(marks: Sequence[str], results: Sequence[str]) -> str:
    """One answer from its parts: short parts on a line each, longer ones as blocks with an empty line between."""
    blocks = any("\n" in result for result in results)
    parts = [
        f"{mark}\n{result}" if mark and "\n" in result else f"{mark} {result}" if mark else result
        for mark, result in zip(marks, results, strict=True)
    ]
    return ("\n\n" if blocks else "\n").join(parts)


def split(answer: str, marks: Sequence[str]) -> list[str | None]:
    """The part of each mark, in order; None for a mark that does not stand at the start of a line after the one before.

    An answer without marks ("plain") is split at empty lines, or else at line ends, if that gives the right count.
    """
    if not any(marks):
        return _split_plain(answer, len(marks))
    text = "\n" + answer.strip()
    found: list[tuple[int, int]] = []
    for mark in marks:
        after = max([0, *(end for _, end in found)])
        start = _find_mark(text, mark, after)
        found.append((start, start + len(mark)) if start >= 0 else (-1, -1))
    starts = [start for start, _ in found if start >= 0]
    return [
        None if start < 0 else text[end : next((later for later in starts if later > start), len(text))].strip()
        for start, end in found
    ]


def places(answer: str, marks: Sequence[str]) -> list[int | None]:
    """Where each mark stands at the start of a line, wherever the others stand; None for one that does not."""
    text = "\n" + answer.strip()
    found = [_find_mark(text, mark, 0) if mark else -1 for mark in marks]
    return [at if at >= 0 else None for at in found]


def ambiguous(marks: Sequence[str], results: Sequence[str]) -> bool:
    """Whether a result holds text that reads like one of the marks, so that the answer could not be taken apart."""
    if not any(marks):
        blocks = any("\n" in result for result in results)
        return any("\n\n" in result if blocks else "\n" in result for result in results)
    return any(mark in result and _find_mark("\n" + result, mark, 0) >= 0 for mark in marks for result in results)


def _find_mark(text: str, mark: str, start: int) -> int:
    """Where `mark` stands at the start of a line at or after `start`, followed by a blank or the end; else -1."""
    at = text.find("\n" + mark, start)
    while at >= 0:
        after = at + 1 + len(mark)
        if after == len(text) or text[after].isspace():
            return at + 1
        at = text.find("\n" + mark, at + 1)
    return -1


def visible(text: str) -> str:
    """The text without the signs that show nothing: to compare texts, or to tell whether there is anything.

    Never to be shown or sent instead of the text: joiners are parts of words in Persian and Hindi, and of emoji.
    """
    return text.translate({ord(sign): None for sign in set(text) if not sign.isspace() and _is_unseen(sign)})


def legible(text: str) -> str:
    """The text with plain blanks and colons, without unseen signs and fences; a row of a table as "label: result"."""
    lines = ["" if _FENCE.fullmatch(line) else _untabled(line) for line in visible(text).splitlines()]
    return _BLANK.sub(" ", "\n".join(lines).replace("：", ": "))


def _untabled(line: str) -> str:
    row = _ROW.fullmatch(line)
    if not row:
        return line
    *names, result = [cell.strip(" *`") for cell in row[1].split("|")]
    return "" if not result.strip("-: ") else f"{' '.join(names).rstrip(':')}: {result}" if names else result


def _is_unseen(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cf") or sign in _UNSEEN


def _split_plain(answer: str, count: int) -> list[str | None]:
    for gap in ("\n\n", "\n"):
        parts = [part.strip() for part in answer.strip().split(gap) if part.strip()]
        if len(parts) == count:
            return list(parts)
    return [None] * count
