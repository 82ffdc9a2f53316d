"""Verdicts in double brackets, as the original's [[Yes, 5]]: found where a judge wrote one, never where it echoes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from seqtune.building.parsing import after_thinking
from seqtune.evaluation.judging.asking import code


def read_marks(reply: str, inner: str, bound: str = "") -> set[tuple[str, ...]]:
    """All different marks in a reply, by their groups in lower case; reasoning that some models send first is skipped.

    Args:
        reply: the whole reply.
        inner: a pattern for what stands between the brackets.
        bound: the code that a mark must begin with, "" for none.
    """
    return {tuple(map(str.lower, found.groups())) for found in _mark(inner, bound).finditer(after_thinking(reply))}


def code_for(inner: str, texts: Sequence[str]) -> str:
    """The code that a mark must bear, "" where no text holds what could be taken for a mark."""
    poses = re.compile(inner, re.I)
    return code(*texts) if any(poses.search(text) for text in texts) else ""


@lru_cache(maxsize=256)
def _mark(inner: str, bound: str) -> re.Pattern[str]:
    lead = rf"{re.escape(bound)}\s{{0,4}},\s{{0,4}}" if bound else ""
    return re.compile(rf"\[\[\s{{0,4}}{lead}{inner}\s{{0,4}}\]\]", re.I)
