"""How several tasks are asked for in one instruction: a bank of frames ("First ..., then ...") in our own words.

The original lower-cased whole instructions, which broke names and code. Here only the first letter of a known
imperative verb is lowered; whatever else an instruction starts with is kept as it is, in a frame that needs none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from random import Random

_SENTENCE_END_INSIDE = re.compile(r"[.?!][\"')\]]?\s+\S")
_CODE_OR_LINK = re.compile(r"[`{}<>\\=_|]|://")
_QUESTION_WORDS = frozenset(
    {"what", "which", "who", "whom", "whose", "where", "when", "why", "how", "is", "are", "was", "were", "do", "does"}
    | {"did", "can", "could", "should", "would", "will", "has", "have"}
)


@dataclass(frozen=True)
class Clause:
    """One task, in the forms in which frames can take it; None where a form would read wrong.

    Args:
        text: the task as it was given.
        last: for the end of a sentence: "summarise the text. Use one sentence." (its own punctuation kept).
        inside: for the middle of a sentence: "summarise the text" (one sentence, no final punctuation).
        sentence: for the middle of a paragraph: "Summarise the text."
        line: for an item of a numbered list; None for a task of several lines.
    """

    text: str
    last: str
    inside: str | None
    sentence: str | None
    line: str | None


@cache
def verbs() -> frozenset[str]:
    """Words that start an imperative sentence and are no names, so that their first letter may be lowered."""
    text = resources.files("seqtune.building").joinpath("verbs.txt").read_text("utf-8")
    return frozenset(text.split())


def operation_clause(ask: str) -> Clause:
    """The forms of an operation's wording, e.g. "count the words in the input"."""
    sentence = f"{ask[0].upper()}{ask[1:]}."
    return Clause(ask, f"{ask}.", ask, sentence, sentence)


def task_clause(instruction: str) -> Clause:
    """The forms of a row's own instruction, whatever it looks like."""
    text = instruction.strip()
    one_line = "\n" not in text
    word = text.split(None, 1)[0].rstrip(",:;.!?")
    imperative = one_line and word.lower() in verbs() and (word.istitle() or word.islower())
    several = _SENTENCE_END_INSIDE.search(text) is not None
    closable = text[-1].isalnum() and not _CODE_OR_LINK.search(text.rsplit(None, 1)[-1])
    ends = text[-1] in ".?!"

    if imperative:
        last = text[0].lower() + text[1:]
    elif one_line and not several and text.endswith("?") and word.lower().partition("'")[0] in _QUESTION_WORDS:
        last = f"answer this question: {text}"
    else:
        last = f"follow this instruction: {text}" if one_line else ""
    inside = None
    if imperative and not several and (ends or closable) and not text.endswith(("?", "!")):
        inside = last.rstrip(".")
    sentence = (text if ends else f"{text}." if closable else None) if one_line else None
    if last and closable and not ends:
        last += "."
    return Clause(text, last, inside, sentence, text if one_line else None)


Frame = Callable[[Sequence[Clause], int], str]


def phrase(clauses: Sequence[Clause], task: int | None, rng: Random) -> str:
    """One instruction that asks for all the clauses in order.

    Args:
        clauses: what to do, in order; at least one.
        task: which of them is the row's own instruction, or None where all are operations.
        rng: draws one of the frames that these clauses fit.
    """
    at = len(clauses) - 1 if task is None else task
    own = clauses[at]
    if len(clauses) == 1:
        return own.sentence or own.text
    last = at == len(clauses) - 1
    frames = _fitting(
        task is not None, last, bool(own.last), own.inside is not None, own.sentence is not None, own.line is not None,
        len(clauses),
    )  # fmt: skip
    frame = frames[int(rng.random() * len(frames))]
    return frame(clauses, at)


@cache
def _fitting(
    has_task: bool, last: bool, has_last: bool, has_inside: bool, has_sentence: bool, has_line: bool, count: int
) -> tuple[Frame, ...]:
    if not has_task:
        return (first_then, next_sentences, numbered, step_lines)
    if last:
        flowing = (first_then, first_sentence_then, next_sentences, before_that) if has_last else ()
        listed = (numbered, step_lines) if has_line else ()
        short = (before_you,) if has_inside and count == 2 else ()
        return (*flowing, *listed, *short, before_answering, *(() if has_last else (task_below,)))
    return (
        *((first_then,) if has_inside else ()),
        *((next_sentences, once_done) if has_sentence else ()),
        *((numbered, step_lines) if has_line else ()),
        *(() if has_sentence else (paragraph_after,)),
    )


def first_then(clauses: Sequence[Clause], at: int) -> str:
    """First A, then B[, then C], [and finally] D"""
    *middle, end = clauses
    first, *rest = [clause.inside or clause.text for clause in middle]
    joined = "".join(f", then {text}" for text in rest)
    return f"First {first}{joined}, {'and finally' if rest else 'then'} {end.last}"


def first_sentence_then(clauses: Sequence[Clause], at: int) -> str:
    """First, A. [Next, B.] Then C"""
    *middle, end = clauses
    first, *rest = [clause.inside or clause.text for clause in middle]
    return f"First, {first}. " + "".join(f"Next, {text}. " for text in rest) + f"Then {end.last}"


def next_sentences(clauses: Sequence[Clause], at: int) -> str:
    """A. After that, B. [Finally, C]"""
    sentences = [clauses[0].sentence or clauses[0].text]
    links = ["After that", "Next", "Then", "And then"]
    for i, clause in enumerate(clauses[1:-1]):
        own = clause.inside is None
        link = links[i % len(links)]
        sentences.append(f"{link}, follow this instruction: {clause.sentence}" if own else f"{link}, {clause.inside}.")
    link = "After that" if len(clauses) == 2 else "Finally"
    return " ".join([*sentences, f"{link}, {clauses[-1].last}"])


def before_that(clauses: Sequence[Clause], at: int) -> str:
    """Your first task is to A[, your second is to B]. Once that is done, C"""
    tasks = [clause.inside or clause.text for clause in clauses[:-1]]
    listed = ", and then to ".join(tasks)
    return f"Your first task is to {listed}. Once that is done, {clauses[-1].last}"


def numbered(clauses: Sequence[Clause], at: int) -> str:
    """Do the following in order: a numbered list."""
    lines = [f"{i}. {clause.line}" for i, clause in enumerate(clauses, 1)]
    return "\n".join([f"Do the following {_COUNT.get(len(lines), 'several')} things in order:", *lines])


def step_lines(clauses: Sequence[Clause], at: int) -> str:
    """Step 1: A / Step 2: B"""
    return "\n".join(f"Step {i}: {clause.line}" for i, clause in enumerate(clauses, 1))


def before_you(clauses: Sequence[Clause], at: int) -> str:
    """Before you B, A."""
    return f"Before you {clauses[1].inside}, {clauses[0].inside}."


def before_answering(clauses: Sequence[Clause], at: int) -> str:
    """Before answering, A [and then B]. / the task in a paragraph of its own"""
    asks = " and then ".join(clause.inside or clause.text for clause in clauses[:-1])
    return f"Before answering, {asks}.\n\n{clauses[-1].text}"


def task_below(clauses: Sequence[Clause], at: int) -> str:
    """First, A. [Next, B.] Then do the task below. / the task"""
    first, *rest = [clause.inside or clause.text for clause in clauses[:-1]]
    middle = "".join(f"Next, {text}. " for text in rest)
    return f"First, {first}. {middle}Then do the task below.\n\n{clauses[-1].text}"


def once_done(clauses: Sequence[Clause], at: int) -> str:
    """[First, A.] The task. Once you have done that, B[, and then C]."""
    before = "".join(f"{'Then' if i else 'First'}, {c.inside}. " for i, c in enumerate(clauses[:at]))
    own = clauses[at]
    task = f"Then {own.last.rstrip('.')}." if before and own.inside else own.sentence
    after = ", and then ".join(clause.inside or clause.text for clause in clauses[at + 1 :])
    return f"{before}{task} Once you have done that, {after}."


def paragraph_after(clauses: Sequence[Clause], at: int) -> str:
    """[First, A, then do the task below.] / the task / When you have done this, B."""
    before = ", then ".join(clause.inside or clause.text for clause in clauses[:at])
    head = f"First {before}, then do the task below.\n\n" if before else ""
    after = ", and then ".join(clause.inside or clause.text for clause in clauses[at + 1 :])
    return f"{head}{clauses[at].text}\n\nWhen you have done this, {after}."


_COUNT = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}
