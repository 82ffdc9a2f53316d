"""Our form: a verdict a step with a quote that a program looks up, and quality in a call of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import pairwise

from seqtune.building import parsing
from seqtune.building.checking import find_result
from seqtune.building.evidence import find_quote, plain
from seqtune.building.parsing import VERDICTS_SCHEMA, Said
from seqtune.building.prompting import render
from seqtune.data.example import Example, prompt_text
from seqtune.data.example import Verdict as Found
from seqtune.evaluation.judging.asking import (
    PROMPTS,
    Judge,
    NotRead,
    ask_until_read,
    code_for_json,
    fence,
    own_json,
    sendable,
    with_code,
)
from seqtune.evaluation.judging.checklist import ChecklistStep, as_step
from seqtune.evaluation.judging.echoes import find_evidence, says_something, without_echoes
from seqtune.evaluation.judging.identity import judge_id, key_of
from seqtune.evaluation.judging.marks import code_for, read_marks
from seqtune.evaluation.scoring import Scored, Verdict, in_order, measures_of

MAX_TOKENS = 2048
NOT_DOABLE = "no step of it can be done by a model that only writes text"

_QUOTE = re.compile(r'"quote"\s{0,9}:\s{0,9}"(?:[^"\\]|\\.)*"', re.I | re.S)
_SCORE = r"([1-4](?:\.\d{1,2})?|5(?:\.0{1,2})?)"


async def judge_checklist(
    item: Example,
    answer_text: str,
    steps: Sequence[ChecklistStep],
    ask: Judge,
    *,
    checklist: str = "",
    quality: bool = True,
    max_tokens: int = MAX_TOKENS,
) -> Scored:
    """What a judge says of each step of an answer: strict, soft, depth, order, and quality in a call of its own.

    Steps that no text model can do are left out. Where a program knows a step's result, its word counts and not the
    judge's. An empty answer does no step, nor does one that only repeats the request, declines or praises itself; no
    judge is asked of it.

    Args:
        item: what was asked.
        answer_text: any text.
        steps: of the item's checklist.
        ask: the judge.
        checklist: its hash (`Checklist.label`), for the judge's identity.
        quality: whether to ask for the quality as well.
        max_tokens: of a reply.

    Raises:
        TeacherError: this judge can never answer.
    """
    judge = judge_id("checklist", ask.model, checklist)
    key = key_of(item, answer_text, judge)
    if not any(step.doable for step in steps):
        return Scored(item.id, key, judge=judge, unscored=NOT_DOABLE)
    asked = _judge_steps(item, answer_text, steps, ask, max_tokens)
    if quality:
        verdicts, score = await asyncio.gather(asked, judge_quality(item, answer_text, ask, max_tokens=max_tokens))
    else:
        verdicts, score = await asked, None
    measures = _measures(verdicts, steps, answer_text)
    if quality:
        measures["quality"] = None if isinstance(score, NotRead) else score
    if isinstance(verdicts, NotRead):
        return Scored(item.id, key, measures, judge=judge, unscored=verdicts.reason)
    return Scored(item.id, key, measures, tuple(verdicts), judge)


def verdicts_prompt(item: Example, answer_text: str, steps: Sequence[ChecklistStep]) -> tuple[str, str]:
    """The question for the steps, and the code that the reply must bear: "" unless the texts could pose as one."""
    request, answer = sendable(prompt_text(item)), sendable(answer_text)
    tasks = [" ".join(sendable(step.text).split()) for step in steps if step.doable]
    bound = code_for_json(request, answer, *tasks)
    mark = fence(request, answer, *tasks)
    prompt = render("verdicts", package=PROMPTS, request=request, answer=answer, tasks=tasks, mark=mark, code=bound)
    return prompt, bound


def read_verdicts(
    reply: str, steps: Sequence[ChecklistStep], answer: str, item: Example, bound: str = ""
) -> list[Verdict] | NotRead:
    """A verdict for each step that can be done, from a judge's reply.

    A yes counts only where its quote stands in the answer, and not merely in what the answer repeats of the request
    or says of itself: else the step is not done, and `supported` False. A step that a program can check gets the
    program's verdict; where that finds the result nowhere, it looks for it in the quote of a judge who says yes.

    Args:
        reply: the whole reply, in JSON as models write it.
        steps: all of the checklist.
        answer: the text that was judged.
        item: what was asked.
        bound: the code that the reply must bear, "" for none.
    """
    doable = [(place, step) for place, step in enumerate(steps, 1) if step.doable]
    said = parsing.read_verdicts(_shielded(own_json(_shielded(reply), bound)), len(doable))
    if said is None:
        code = f', or not under the key "code": "{bound}"' if bound else ""
        what = 'exactly once, each with a "quote" that is a text and a "done" that is true or false'
        return NotRead(f"it does not judge each of the {len(doable)} tasks {what}{code}")
    rest = without_echoes(answer, item, [step.text for step in steps])
    by_judge = [_verdict(place, step, one, answer, rest) for (place, step), one in zip(doable, said, strict=True)]
    known = _checked(doable, answer, item, [one.found or "" if one.done else "" for one in by_judge])
    return [by_program or one for by_program, one in zip(known, by_judge, strict=True)]


def _shielded(reply: str) -> str:
    """The reply with the marks of thoughts escaped that stand in its quotes, where they neither begin nor end any."""
    return _QUOTE.sub(lambda found: found[0].replace("think>", "think\\u003e"), reply)


def _verdict(place: int, step: ChecklistStep, said: Said, answer: str, rest: str) -> Verdict:
    held = find_evidence(said.quote, answer, rest) is not None if said.done else None
    return Verdict(
        place, "judge", said.done and bool(held), said.quote or None, step.expected, supported=held, text=step.text
    )


def _checked(
    doable: Sequence[tuple[int, ChecklistStep]], answer: str, item: Example, quotes: Sequence[str]
) -> list[Verdict | None]:
    """The program's verdict of each step, which the judge's quotes tell where to look; None where it has none."""
    found = [
        find_result(as_step(step), answer, given=item.input, steps=len(doable), quote=quote)
        for (_, step), quote in zip(doable, quotes, strict=True)
    ]
    return [
        None if one is None else _by_program(place, step, one) for (place, step), one in zip(doable, found, strict=True)
    ]


def _by_program(place: int, step: ChecklistStep, found: Found) -> Verdict:
    shown = sendable(found.evidence) if found.done else None
    return Verdict(place, step.check, found.done, shown, step.expected, text=step.text)


async def _judge_steps(
    item: Example, answer: str, steps: Sequence[ChecklistStep], ask: Judge, max_tokens: int
) -> list[Verdict] | NotRead:
    doable = [(place, step) for place, step in enumerate(steps, 1) if step.doable]
    if not says_something(without_echoes(answer, item, [step.text for step in steps])):
        return [
            Verdict(place, step.check or "judge", False, None, step.expected, text=step.text) for place, step in doable
        ]
    known = [one for one in _checked(doable, answer, item, [""] * len(doable)) if one and one.done]
    if len(known) == len(doable):
        return known
    prompt, bound = verdicts_prompt(item, answer, steps)
    return await ask_until_read(
        ask,
        prompt,
        lambda reply: read_verdicts(reply, steps, answer, item, bound),
        max_tokens=max_tokens,
        schema=with_code(VERDICTS_SCHEMA) if bound else VERDICTS_SCHEMA,
    )


def _measures(
    verdicts: list[Verdict] | NotRead, steps: Sequence[ChecklistStep], answer: str
) -> dict[str, float | None]:
    if isinstance(verdicts, NotRead):
        return {**measures_of([]), "order": None}
    return {**measures_of([one.done for one in verdicts]), "order": order_of(verdicts, steps, answer)}


def order_of(verdicts: Sequence[Verdict], steps: Sequence[ChecklistStep], answer: str) -> float | None:
    """1 where the steps that were done stand in their order, by the places of their quotes; None where nothing tells.

    Only what depends on each other has an order, where the checklist says so of any step; else all have.
    """
    places = _places(verdicts, answer)
    pairs = [(before, step) for step, one in enumerate(steps, 1) for before in one.depends_on]
    pairs = pairs or [*pairwise(sorted(places))]
    told = [in_order([places[before], places[step]]) for before, step in pairs if {before, step} <= places.keys()]
    return 0.0 if 0.0 in told else None if None in told or not told else 1.0


def _places(verdicts: Sequence[Verdict], answer: str) -> dict[int, int]:
    """Where each done step's quote stands: after that of the step before, if it stands there too ("week" may twice)."""
    text, at, found = plain(answer), 0, dict[int, int]()
    for one in verdicts:
        spans = find_quote(one.found, answer) if one.done and one.found else ()
        if spans:
            start, end = spans[0]
            later = text.find(text[start:end], at)
            found[one.step] = start if later < 0 else later
            at = max(at, found[one.step] + 1)
    return found


def quality_prompt(item: Example, answer_text: str) -> tuple[str, str]:
    """The question for the quality, and the code that the reply's mark must bear, "" for none."""
    request, answer = sendable(prompt_text(item)), sendable(answer_text)
    bound = code_for(r"\[\[\s*\d", [request, answer])
    mark = fence(request, answer)
    return render("quality", package=PROMPTS, request=request, answer=answer, mark=mark, code=bound), bound


def read_quality(reply: str, bound: str = "") -> float | None:
    """The score of 1 to 5 in a reply [[4]]; None where it does not say, or says two things."""
    marks = read_marks(reply, _SCORE, bound)
    return float(marks.pop()[0]) if len(marks) == 1 else None


async def judge_quality(
    item: Example, answer_text: str, ask: Judge, *, max_tokens: int = MAX_TOKENS
) -> float | NotRead:
    """How good an answer is, 1 to 5; one that says nothing of substance is 1, and no judge is asked.

    Raises:
        TeacherError: this judge can never answer.
    """
    if not says_something(without_echoes(answer_text, item)):
        return 1.0
    prompt, bound = quality_prompt(item, answer_text)

    def read(reply: str) -> float | NotRead:
        found = read_quality(reply, bound)
        return NotRead("it does not hold one score in the form asked for") if found is None else found

    return await ask_until_read(ask, prompt, read, max_tokens=max_tokens)
