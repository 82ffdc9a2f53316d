"""What of an answer only repeats the request: a copied task is not its result, whoever quotes it.

Not every word that the request holds too is an echo: the sentence that was to be repeated, or the label that was to be
chosen, stands in both. An echo is a run of words that begins where the request begins to ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from seqtune.building.evidence import find_quote, plain
from seqtune.building.tasks import split_tasks
from seqtune.data.example import Example, prompt_text

LEAST = 4  # words of a copy, or all of a shorter task: three words are common to many texts

_LONE = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"  # scripts without blanks: each sign counts as a word
_WORD = re.compile(rf"[{_LONE}]|[^\W{_LONE}]+")
_SOME = re.compile(r"\w")
_BLANK = "\0"


def without_echoes(answer: str, item: Example, tasks: Sequence[str] = ()) -> str:
    """The answer with the words of every echo blanked, by as many characters as its quotes are looked up in.

    A copy that begins in the instruction may go on into the input; one of the input alone may be what was asked for.

    Args:
        answer: any text.
        item: what was asked.
        tasks: the steps as a checklist words them, whose repetition is no result either.
    """
    return _without(answer, item.instruction, prompt_text(item), tuple(tasks))


@lru_cache(maxsize=256)  # looked into before the judge is asked, and again for each of its replies
def _without(answer: str, instruction: str, prompt: str, tasks: tuple[str, ...]) -> str:
    text, kept = _folded(answer), list(answer)
    for source, asks in [(prompt, split_tasks(instruction)), *((task, (task,)) for task in tasks)]:
        words = _WORD.findall(_folded(source))
        for start, length in _leads(words, asks):
            for begin, end in _copies(text, words[start:], min(LEAST, length)):
                kept[begin:end] = [_BLANK * len(sign.casefold()) for sign in answer[begin:end]]
    return "".join(kept)


def says_something(rest: str) -> bool:
    """Whether an answer `without_echoes` holds a word, or, where it echoes nothing, any sign."""
    return _SOME.search(rest) is not None if _BLANK in rest else bool(rest.strip())


def find_evidence(quote: str, answer: str, rest: str) -> int | None:
    """Where the quote stands in an answer, in characters of `plain(answer)`; None where it is no evidence.

    It is evidence where a word of it stands there beyond what the answer echoes.

    Args:
        quote: a judge's.
        answer: the whole text.
        rest: of it, `without_echoes`.
    """
    if spans := find_quote(quote, rest) or find_quote(quote, answer):
        left = plain(rest)
        if any(says_something(left[slice(*span)]) for span in spans):
            return spans[0][0]
    return None


def _folded(text: str) -> str:
    """The text in lower case, each sign still at its place."""
    folded = text.casefold()
    if len(folded) != len(text):
        folded = "".join([sign.casefold() if len(sign.casefold()) == 1 else sign for sign in text])
    return folded


def _leads(words: Sequence[str], asks: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each task begins among the words of its source, and how many words it has."""
    at = 0
    for ask in asks:
        wanted = _WORD.findall(_folded(ask))
        while wanted and wanted[0] in words[at:]:
            at = words.index(wanted[0], at) + 1
            if words[at - 1 : at - 1 + len(wanted)] == wanted:
                yield at - 1, len(wanted)
                break


def _copies(text: str, words: Sequence[str], least: int) -> Iterator[tuple[int, int]]:
    """The places of all words of a text that copy at least so many of the given ones, from the first on."""
    at = text.find(words[0])
    while at >= 0:
        run = [*_run(text, at, words)] if at == 0 or not _joined(text, at) else []
        if len(run) >= least:
            yield from run
        at = text.find(words[0], run[-1][1] if len(run) >= least else at + 1)


def _joined(text: str, at: int) -> bool:
    """Whether the sign at a place goes on with the word before it."""
    word = _WORD.match(text, at - 1)
    return word is not None and word.end() > at


def _run(text: str, at: int, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    for found, word in zip(_WORD.finditer(text, at), words, strict=False):
        if found[0] != word:
            return
        yield found.span()
