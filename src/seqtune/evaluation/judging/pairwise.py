"""Two answers side by side, asked in both orders: the first place has an advantage that only the other order shows."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from seqtune.building.prompting import render
from seqtune.data.example import Example, prompt_text
from seqtune.evaluation.judging.asking import PROMPTS, Judge, NotRead, ask_until_read, fence, sendable
from seqtune.evaluation.judging.identity import judge_id, key_of
from seqtune.evaluation.judging.marks import code_for, read_marks
from seqtune.evaluation.statistics.win_rates import Duel

Winner = Literal["a", "b", "tie"]
MAX_TOKENS = 1024

_WINNER = r"(a|b|tie)"
_OTHER: dict[Winner, Winner] = {"a": "b", "b": "a", "tie": "tie"}


class PairVerdict(msgspec.Struct, frozen=True):
    """Which of two answers a judge prefers, in both orders.

    Args:
        item: id of the item.
        a_first: the better one where A was shown first; None where the reply could not be read.
        b_first: the better one where B was shown first.
        key: hash of the prompt, both answers and the judge.
        judge: its identity.
        unscored: why an order could not be told.
    """

    item: str
    a_first: Winner | None
    b_first: Winner | None
    key: str = ""
    judge: str = ""
    unscored: str = ""


def pairwise_prompt(item: Example, first: str, second: str) -> tuple[str, str]:
    """The question, and the code that the reply's mark must bear, "" for none."""
    request, first, second = sendable(prompt_text(item)), sendable(first), sendable(second)
    texts = [request, first, second]
    bound, mark = code_for(rf"\[\[\s*{_WINNER}", texts), fence(*texts)
    values = {"request": request, "first": first, "second": second}
    return render("pairwise", 0, PROMPTS, mark=mark, code=bound, **values), bound


def read_preference(reply: str, bound: str = "") -> Winner | None:
    """Which answer a reply [[A]] prefers; None where it does not say, or says two things."""
    marks = read_marks(reply, _WINNER, bound)
    winners: dict[str, Winner] = {"a": "a", "b": "b", "tie": "tie"}
    return winners[marks.pop()[0]] if len(marks) == 1 else None


async def judge_pair(
    item: Example, answer_a: str, answer_b: str, ask: Judge, *, max_tokens: int = MAX_TOKENS
) -> PairVerdict:
    """Which of two answers a judge prefers, asked once with each of them first. Equal answers tie; no judge is asked.

    Args:
        item: what was asked.
        answer_a, answer_b: any texts.
        ask: the judge.
        max_tokens: of a reply.

    Raises:
        TeacherError: this judge can never answer.
    """
    judge = judge_id("pairwise", ask.model)
    key = key_of(item, f"{answer_a}\x1e{answer_b}", judge)
    if answer_a.strip() == answer_b.strip():
        return PairVerdict(item.id, "tie", "tie", key, judge)
    one, other = await asyncio.gather(
        _asked(item, answer_a, answer_b, ask, max_tokens), _asked(item, answer_b, answer_a, ask, max_tokens)
    )
    unscored = next((found.reason for found in (one, other) if isinstance(found, NotRead)), "")
    a_first = None if isinstance(one, NotRead) else one
    b_first = None if isinstance(other, NotRead) else _OTHER[other]
    return PairVerdict(item.id, a_first, b_first, key, judge, unscored)


def as_duels(
    verdict: PairVerdict, model_a: str, model_b: str, length_a: float = 0.0, length_b: float = 0.0
) -> tuple[Duel, Duel]:
    """Both orders as the statistics of win_rates.py take them.

    Args:
        verdict: on one item.
        model_a, model_b: whose answers they were.
        length_a, length_b: of the answers, in any one unit.
    """
    for_a = {"a": 1.0, "tie": 0.5, "b": 0.0}
    a_first = None if verdict.a_first is None else for_a[verdict.a_first]
    b_first = None if verdict.b_first is None else 1 - for_a[verdict.b_first]
    return (
        Duel(verdict.item, model_a, model_b, a_first, length_a, length_b),
        Duel(verdict.item, model_b, model_a, b_first, length_b, length_a),
    )


async def _asked(item: Example, first: str, second: str, ask: Judge, max_tokens: int) -> Winner | NotRead:
    prompt, bound = pairwise_prompt(item, first, second)

    def read(reply: str) -> Winner | NotRead:
        return read_preference(reply, bound) or NotRead("it does not hold one verdict in the form asked for")

    return await ask_until_read(ask, prompt, read, max_tokens=max_tokens)
