"""The second phase with a judge: every answer judged once by each judge, whatever stops the run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import NamedTuple

from seqtune.data.example import Example
from seqtune.errors import RecipeError
from seqtune.evaluation.answering import Say
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.judging.checklist import (
    ChecklistStep,
    open_checklist,
    own_checklist,
    steps_by_item,
    steps_of,
)
from seqtune.evaluation.judging.echoes import says_something, without_echoes
from seqtune.evaluation.judging.identity import Form, judge_id, key_of
from seqtune.evaluation.judging.original import judge_original
from seqtune.evaluation.judging.verdicts import NOT_DOABLE, judge_checklist
from seqtune.evaluation.ledger import Ledger
from seqtune.evaluation.scoring import Scored, said
from seqtune.evaluation.suite import Suite
from seqtune.llm.asking import Teacher, each, open_teacher
from seqtune.llm.budget import Budget
from seqtune.llm.prices import price_of

LEAST_SHOWN = 20  # steps called done, before a judge is said to invent most of its quotes


class Judging(NamedTuple):
    """Who judges, and how.

    Args:
        judge: http://127.0.0.1:8000/v1#MODEL or another spelling that `open_teacher` knows.
        form: "checklist" gives a verdict a step, each with a quote; "original" asks once whether all was followed.
        checklist: the file with each item's steps; items that bring steps of their own need none.
        unapproved: use the file though nobody approved it.
        quality: of "checklist": ask for the quality as well, in a call of its own.
        store: the reply store; a file in the run folder by default.
        concurrency: the most requests in flight.
        budget: the most that may be spent.
    """

    judge: str
    form: Form = "checklist"
    checklist: str | Path | None = None
    unapproved: bool = False
    quality: bool = True
    store: str | Path | None = None
    concurrency: int = 64
    budget: Budget = Budget()


class Judged(NamedTuple):
    """What a judge said of a suite's answers.

    Args:
        judge: its identity: model, prompts with their versions, checklist.
        items: those that can be judged; of the others no step can be done by a model that only writes text.
        scored: one for each of these that was answered.
        lengths: how many steps each item's checklist has that a text model can do.
        notes: what the reader has to know.
    """

    judge: str
    items: tuple[Example, ...]
    scored: tuple[Scored, ...]
    lengths: Mapping[str, int]
    notes: tuple[str, ...]


def judge_budget(judge: str, max_cost: float | None, max_requests: int | None, price: str | None) -> Budget:
    """The most that a judge may cost, at the price that was given, or else the one in the table.

    Raises:
        RecipeError: the price is not two numbers.
    """
    found = price_of(judge, price) if price or max_cost is not None else None  # the table takes a moment to load
    return Budget(requests=max_requests, cost_usd=max_cost, price=found)


def require_steps(suite: Suite, how: Judging | None) -> None:
    """Say before anything is asked whether these items can be judged so.

    Raises:
        RecipeError, DataError: items without steps and no checklist, one that cannot be read, or nobody approved.
    """
    if how:
        _steps(suite, how)


def judge_suite(
    suite: Suite, answers: Mapping[str, Answer], ledger: Ledger[Scored], how: Judging, say: Say | None = None
) -> Judged:
    """Ask the judge of each answer that it has not judged yet; every verdict is in the ledger before the next counts.

    Args:
        suite: what was answered.
        answers: by item.
        ledger: verdicts.jsonl of the run folder.
        how: who judges.
        say: called with the number of answers judged so far.

    Raises:
        RecipeError: items without steps and no checklist, or one that nobody approved.
        TeacherError: this judge can never answer.
        BudgetSpent: the next question would go over the budget; every verdict so far is kept.
    """
    steps, label = _steps(suite, how)
    known = suite.items if how.form == "original" else [item for item in suite.items if item.id in steps]
    doable = tuple([item for item in known if any(step.doable for step in steps.get(item.id, _ONE))])
    waiting = [item for item in doable if item.id in answers]
    judge, scored = asyncio.run(_judge_all(waiting, answers, steps, label, ledger, how, say))
    notes = []
    if len(known) < len(suite.items):
        notes.append(f"{len(suite.items) - len(known):,} items are not judged: the checklist leaves them out")
    if len(doable) < len(known):
        notes.append(f"{len(known) - len(doable):,} items are not judged: {NOT_DOABLE}")
    notes += [*_unsupported(scored)]
    if how.form == "original":
        silent = sum(not says_something(without_echoes(said(answers[item.id].text), item)) for item in waiting)
        if silent:
            why = "empty, or nothing but the request, a refusal or a verdict on itself"
            notes.append(f"{silent:,} answers follow nothing ({why}): no judge was asked, the paper's was asked of all")
    if open_items := [one for one in scored if one.unscored]:
        notes.append(f"{len(open_items):,} answers are unscored, the first because {open_items[0].unscored}")
    lengths = {item: sum(step.doable for step in found) for item, found in steps.items()}
    return Judged(judge, doable, tuple(scored), lengths, tuple(notes))


def _unsupported(scored: Sequence[Scored]) -> Iterator[str]:
    """A note of what was called done without a quote that shows it, and of a judge that mostly does so.

    The headline stays: such a judge scores next to nothing, as it should, and `strict` is not flattered by it.
    """
    shown = [step.supported for one in scored for step in one.steps if step.supported is not None]
    unsupported = shown.count(False)
    if unsupported:
        yield f"{unsupported:,} times the judge called a step done with a quote that shows nothing: not done"
    if len(shown) >= LEAST_SHOWN and unsupported > len(shown) / 2:
        why = "it invents quotes, or cannot copy them, and the answers may be better than these figures"
        yield f"{unsupported / len(shown):.0%} of what the judge called done has no quote in the answer: {why}"


_ONE = (ChecklistStep("do what is asked"),)  # of the original form, which knows no steps


def _steps(suite: Suite, how: Judging) -> tuple[Mapping[str, Sequence[ChecklistStep]], str]:
    """Each item's steps, and what the checklist is called in the judge's identity."""
    if how.form == "original":
        if how.checklist:
            raise RecipeError("the original form knows no checklist", fix="leave it out, or choose --form checklist")
        return {}, ""
    own = {item.id: steps_of(item) for item in suite.items if item.steps}
    if not how.checklist:
        if without := len(suite.items) - len(own):
            fix = "make them: seqtune eval checklist build --suite SUITE --judge JUDGE; or choose --form original"
            raise RecipeError(f"{without:,} items have no steps to judge, and no checklist was given", fix=fix)
        return own, own_checklist(suite.items).hash
    checklist = open_checklist(how.checklist, unapproved=how.unapproved)
    return steps_by_item(suite.items, checklist, str(how.checklist)), checklist.label


async def _judge_all(
    items: Sequence[Example],
    answers: Mapping[str, Answer],
    steps: Mapping[str, Sequence[ChecklistStep]],
    label: str,
    ledger: Ledger[Scored],
    how: Judging,
    say: Say | None,
) -> tuple[str, list[Scored]]:
    found: dict[str, Scored] = {}
    async with AsyncExitStack() as stack:
        ask = await stack.enter_async_context(
            open_teacher(how.judge, store=how.store, concurrency=how.concurrency, budget=how.budget)
        )
        judge = judge_id(how.form, ask.model, label)

        async def one(item: Example) -> Scored:
            text = said(answers[item.id].text)
            old = ledger.find(key_of(item, text, judge))
            return old if old and _is_whole(old, how) else await _judge(item, text, steps, label, ask, how)

        async with aclosing(each(one, items, in_flight=2 * how.concurrency)) as outcomes:
            async for item, scored in outcomes:
                ledger.add([scored])
                found[item.id] = scored
                if say:
                    say(len(found))
    return judge, [found[item.id] for item in items]


def _is_whole(old: Scored, how: Judging) -> bool:
    """Whether nothing is left to ask: what could not be told is asked again, its good replies being in the store."""
    asked_quality = how.quality and how.form == "checklist"
    return not old.unscored and not (asked_quality and old.measures.get("quality") is None)


async def _judge(
    item: Example,
    text: str,
    steps: Mapping[str, Sequence[ChecklistStep]],
    label: str,
    ask: Teacher,
    how: Judging,
) -> Scored:
    if how.form == "original":
        return await judge_original(item, text, ask)
    return await judge_checklist(item, text, steps[item.id], ask, checklist=label, quality=how.quality)
