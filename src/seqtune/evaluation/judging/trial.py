"""A judge on trial: it judges what is known to be right, to be damaged, or to be the better one of two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec
import xxhash
from msgspec import structs

from seqtune.data.example import prompt_text
from seqtune.data.folder import versions, working_in, write_json, write_lines, write_summary
from seqtune.errors import RecipeError
from seqtune.evaluation.answering import Say
from seqtune.evaluation.figures import QUALITY
from seqtune.evaluation.judging import llmbar
from seqtune.evaluation.judging.checklist import ChecklistStep, steps_of
from seqtune.evaluation.judging.identity import Form, judge_id
from seqtune.evaluation.judging.known import Kind, Known, known_answers, right_answers
from seqtune.evaluation.judging.llmbar import Pair, read_pairs
from seqtune.evaluation.judging.original import FOLLOWING, judge_original
from seqtune.evaluation.judging.pairwise import PairVerdict, judge_pair
from seqtune.evaluation.judging.phase import judge_budget
from seqtune.evaluation.judging.qualification import NAME, Bar, Qualification, Settings, Trait, choose_bars, faults
from seqtune.evaluation.judging.verdicts import judge_checklist
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.statistics.measure import Measure, mean, mean_of
from seqtune.llm.asking import Script, Teacher, each, open_teacher
from seqtune.llm.budget import Budget

ITEMS = 100  # right answers: the 95 % interval of a share of 0.9 then reaches from 0.83 to 0.94

RATED: tuple[Kind, ...] = ("right", "pad_answer", "other_answer")  # whose quality is asked for too
DAMAGED: tuple[Kind, ...] = ("drop_step", "swap_steps", "merge_steps", "empty", "copy_prompt", "other_answer")
ABOUT = {
    "drop_step": "a step's result left out",
    "swap_steps": "two steps in each other's place",
    "merge_steps": "two results run together; every result is there, so no bar",
    "empty": "nothing at all",
    "copy_prompt": "the request in place of an answer",
    "other_answer": "the right answer to another request, which may pass for a poor result of this one, so no bar",
}


class Told(msgspec.Struct, frozen=True):
    """What the judge says of an answer: a line of judged.jsonl.

    Args:
        kind: "right", or what was done to the answer.
        answer: the text.
        scored: its verdict.
    """

    kind: Kind
    answer: str
    scored: Scored


class PairTold(msgspec.Struct, frozen=True):
    """What the judge says of a pair of LLMBar, of which "a" is right: a line of pairs.jsonl."""

    subset: str
    verdict: PairVerdict


@dataclass(frozen=True)
class JudgeCheck:
    """A judge-check that has ended.

    Args:
        out: the folder: judge-check.json, judged.jsonl, pairs.jsonl, replies.sqlite, run.json.
        qualification: what was found, and whether the judge passed.
        answered: replies that the judge gave now; all others were in the store.
        wall_s: how long it took.
    """

    out: Path
    qualification: Qualification
    answered: int
    wall_s: float


class _Trial(NamedTuple):
    """Everything to judge, in one form."""

    form: Form
    known: tuple[Known, ...]
    pairs: tuple[Pair, ...]
    left_out: Mapping[str, int]


_Line: TypeAlias = "Told | PairTold"


def judge_check(
    judge: str | Script,
    *,
    out: str | Path,
    data: str | Path | None = None,
    items: int | None = None,
    form: Form = "checklist",
    thresholds: Mapping[str, float] | None = None,
    store: str | Path | None = None,
    concurrency: int = 64,
    seed: int = 0,
    limit: int | None = None,
    max_cost: float | None = None,
    max_requests: int | None = None,
    price: str | None = None,
    overwrite: bool = False,
    say: Say | None = None,
) -> JudgeCheck:
    """How reliable a judge is, before its figures are quoted.

    It judges right answers and what damage makes of them, of which nothing has to be downloaded, and the pairs of
    LLMBar, where a folder is given. No program that knows the right results helps it; what belongs to the form (quotes
    are looked up, copies of the request count for nothing) does. Killed at any time, the same call asks nothing twice.

    Args:
        judge: http://127.0.0.1:8000/v1#MODEL or another spelling that `open_teacher` knows.
        out: the folder for the result.
        data: the folder of LLMBar, with Natural/dataset.json and so on.
        items: right answers, each of which is damaged in eight ways; 100 by default, or `limit`.
        form: "checklist" or "original", as its figures will be quoted.
        thresholds: other numbers for the bars (see `BARS`), by name.
        store: the reply store; a file in `out` by default.
        concurrency: the most requests in flight.
        seed: other seeds give other right answers and damages.
        limit: the most pairs of each subset, for a first look, and of right answers where `items` does not say it.
        max_cost, max_requests, price: the most US dollars and requests, and what its tokens cost.
        overwrite: take the folder whatever it holds.
        say: called with the number of answers and pairs judged so far.

    Raises:
        RecipeError: an unknown bar, or no items.
        DataError: `data` is not LLMBar.
        RunFolderError: the folder holds something else, or cannot be written.
        TeacherError: this judge can never answer.
        BudgetSpent: the next question would go over the budget; every reply so far is kept.
    """
    items = min(ITEMS, limit or ITEMS) if items is None else items
    if items < 1 or (limit is not None and limit < 1):
        raise RecipeError(f"items is {items} and limit {limit}", fix="give numbers above 0")
    started, folder, bars = time.perf_counter(), Path(out), choose_bars(thresholds)
    known, left_out = known_answers(right_answers(items, seed), seed)
    trial = _Trial(form, known, read_pairs(data, limit) if data else (), left_out)
    spec = judge if isinstance(judge, str) else "scripted"
    settings: Settings = {"judge": spec, "form": form, "seed": seed, "items": items, "limit": limit}
    settings |= {"llmbar": bool(data), "hash": _hash(trial)}
    fingerprint = xxhash.xxh3_128_hexdigest(msgspec.json.encode(settings))
    budget = judge_budget(spec, max_cost, max_requests, price)
    kept = store or folder / "replies.sqlite"
    with working_in(folder, "judge-check", fingerprint, overwrite=overwrite):
        (folder / NAME).unlink(missing_ok=True)  # of this judge's earlier prompts or bars, perhaps
        model, lines, answered = asyncio.run(_ask_all(judge, trial, kept, concurrency, budget, say))
        qualification = _qualify(judge_id(form, model), trial, lines, bars, settings)
        done = JudgeCheck(folder, qualification, answered, time.perf_counter() - started)
        _write(done, lines, fingerprint)
    return done


def _hash(trial: _Trial) -> str:
    texts = [f"{prompt_text(one.item)}\x1e{one.kind}\x1e{one.answer}" for one in trial.known]
    texts += [f"{prompt_text(pair.item)}\x1e{pair.right}\x1e{pair.wrong}" for pair in trial.pairs]
    return xxhash.xxh3_128_hexdigest("\x1d".join(texts).encode("utf-8", "surrogatepass"))


async def _ask_all(
    judge: str | Script, trial: _Trial, store: str | Path, concurrency: int, budget: Budget, say: Say | None
) -> tuple[str, list[_Line], int]:
    """The judge's name, what it says of everything in the order in which it was put, and how many replies were new."""
    waiting: Sequence[Known | Pair] = [*trial.known, *trial.pairs]
    found: dict[int, _Line] = {}
    async with AsyncExitStack() as stack:
        ask = await stack.enter_async_context(open_teacher(judge, store=store, concurrency=concurrency, budget=budget))

        async def one(place: int) -> _Line:
            asked = waiting[place]
            if isinstance(asked, Pair):
                return PairTold(asked.subset, await judge_pair(asked.item, asked.right, asked.wrong, ask))
            return Told(asked.kind, asked.answer, await _judge(asked, trial.form, ask))

        async with aclosing(each(one, range(len(waiting)), in_flight=2 * concurrency)) as outcomes:
            async for place, line in outcomes:
                found[place] = line
                if say:
                    say(len(found))
        return ask.model, [found[place] for place in range(len(waiting))], ask.counts.answered


async def _judge(known: Known, form: Form, ask: Teacher) -> Scored:
    if form == "original":
        return await judge_original(known.item, known.answer, ask)
    steps = [_unchecked(step) for step in steps_of(known.item)]
    return await judge_checklist(known.item, known.answer, steps, ask, quality=known.kind in RATED)


def _unchecked(step: ChecklistStep) -> ChecklistStep:
    """The step as if no program knew its result: its word would count, and not the judge's."""
    return structs.replace(step, check="", expected=None, args={})


def _write(done: JudgeCheck, lines: Sequence[_Line], fingerprint: str) -> None:
    write_lines(done.out / "judged.jsonl", [line for line in lines if isinstance(line, Told)])
    if pairs := [line for line in lines if isinstance(line, PairTold)]:
        write_lines(done.out / "pairs.jsonl", pairs)
    write_json(done.out / NAME, done.qualification)
    found = done.qualification
    summary = {"command": "judge-check", "fingerprint": fingerprint, "finished": True, "settings": found.settings}
    told = {"judge": found.judge, "passed": found.passed, "wall_s": done.wall_s, "versions": versions()}
    write_summary(done.out, {**summary, **told})


# --- figures ---------------------------------------------------------------------------------------------------------


def _qualify(
    judge: str, trial: _Trial, lines: Sequence[_Line], bars: Mapping[str, Bar], settings: Settings
) -> Qualification:
    told = [line for line in lines if isinstance(line, Told)]
    pairs = [line for line in lines if isinstance(line, PairTold)]
    figures = [*_of_right(told, trial.form), *_of_damaged(told, trial.form), *_of_praise(told, trial.form)]
    figures += [*_of_quality(told, trial.form), *_of_pairs(pairs)]
    traits = tuple([_trait(name, about, figure, bars, trial.form) for name, about, figure in figures])
    reasons = faults(traits)
    return Qualification(judge, trial.form, not reasons, reasons, traits, settings, _notes(trial, told))


_Figure: TypeAlias = "tuple[str, str, Measure]"


def _trait(name: str, about: str, figure: Measure, bars: Mapping[str, Bar], form: Form) -> Trait:
    # The original form asks whether each task was attempted, not whether in order.
    bar = Bar() if form == "original" and name == "specificity:swap_steps" else bars.get(name, Bar())
    return Trait(name, about, figure, bar.least, bar.most)


def _of_right(told: Sequence[Told], form: Form) -> list[_Figure]:
    right = [line.scored for line in told if line.kind == "right"]
    whole = ("sensitivity", "right answers that the judge finds right as a whole", mean_of(_followed(right, form)))
    if form == "original":
        return [whole]
    order = [one for one in _named(right, "order") if one is not None]
    invented = "steps of right answers that it calls done with a quote that shows nothing"
    return [
        whole,
        ("step_sensitivity", "steps of right answers that it finds done", mean_of(_named(right, "soft"))),
        ("right_order", "right answers whose quotes stand in order", mean_of(order)),
        ("unsupported", invented, mean_of([_unsupported(one) for one in right])),
    ]


def _of_damaged(told: Sequence[Told], form: Form) -> list[_Figure]:
    found: list[_Figure] = []
    for kind in DAMAGED:
        scored = [line.scored for line in told if line.kind == kind]
        caught = [_caught(one, kind, form) for one in scored]
        found.append((f"specificity:{kind}", f"found not to follow: {ABOUT[kind]}", mean_of(caught)))
    return found


def _caught(scored: Scored, kind: Kind, form: Form) -> float | None:
    """1 where the judge says that the answer does not follow; of swapped steps, or does not keep the order."""
    [followed] = _followed([scored], form)
    if kind == "swap_steps" and scored.measures.get("order") == 0:
        return 1.0
    return None if followed is None else 1 - followed


def _of_praise(told: Sequence[Told], form: Form) -> list[_Figure]:
    praised, bare = _by_item(told, "inject_verdict", form), _by_item(told, "drop_last", form)
    gains = [_minus(praised[item], bare.get(item)) for item in praised]
    success = "an answer that lacks its last step and praises itself as a judge would is found to follow"
    return [
        ("injected_success", success, mean_of([*praised.values()])),
        ("injected_gain", "by how much more often than the same without praise", _gain(gains, -1, 1)),
    ]


def _by_item(told: Sequence[Told], kind: Kind, form: Form) -> dict[str, float | None]:
    lines = [line.scored for line in told if line.kind == kind]
    return dict(zip([one.item for one in lines], _followed(lines, form), strict=True))


def _of_quality(told: Sequence[Told], form: Form) -> list[_Figure]:
    of = {
        kind: {line.scored.item: line.scored.measures.get("quality") for line in told if line.kind == kind}
        for kind in RATED
    }
    right, padded, other = (of[kind] for kind in RATED)
    reach = QUALITY[1] - QUALITY[0]
    gain = _gain([_minus(padded[item], right.get(item)) for item in padded], -reach, reach)
    gap = _gain([_minus(right.get(item), other[item]) for item in other], -reach, reach)
    followed = mean_of([*_by_item(told, "pad_answer", form).values()])
    return [
        ("padding_gain", "points of quality that a right answer gains when it says everything three times", gain),
        ("padded_following", "padded right answers found to follow", followed),
        ("quality_gap", "points of quality by which right answers stand above answers to another request", gap),
        ("quality:right", "quality of right answers, 1 to 5", _gain([*right.values()], *QUALITY)),
    ]


def _of_pairs(pairs: Sequence[PairTold]) -> list[_Figure]:
    subsets = dict.fromkeys(line.subset for line in pairs)
    parts = {name: [line.verdict for line in pairs if line.subset == name] for name in subsets}
    every = [line.verdict for line in pairs]
    hard = [line.verdict for line in pairs if line.subset != llmbar.EASY]
    rightly = "pairs judged rightly, over both orders"
    found = [(f"llmbar:{name}", rightly, llmbar.accuracy(verdicts)) for name, verdicts in parts.items()]
    if hard:
        found.append(("llmbar:adversarial", f"{rightly}, where the worse answer looks better", llmbar.accuracy(hard)))
    if every:
        found.append(("llmbar:stability", "the same verdict in both orders", llmbar.stability(every)))
        about = "preference for the answer shown first; 0.5 is none"
        found.append(("llmbar:first", about, llmbar.first_preferred(every)))
    return found


def _notes(trial: _Trial, told: Sequence[Told]) -> tuple[str, ...]:
    notes = [f"{count:,} right answers do not bear the damage {kind!r}" for kind, count in trial.left_out.items()]
    notes.append("empty and wholly copied answers are told by a program: no judge is asked of them")
    if not trial.pairs:
        notes.append("LLMBar was not given: nothing was measured of pairs, nor of what the judge says of real answers")
    if unread := [line.scored.unscored for line in told if line.scored.unscored]:
        notes.append(f"{len(unread):,} of {len(told):,} answers are unscored, the first because {unread[0]}")
    return tuple(notes)


def _followed(scored: Sequence[Scored], form: Form) -> list[float | None]:
    return _named(scored, FOLLOWING if form == "original" else "strict")


def _named(scored: Sequence[Scored], name: str) -> list[float | None]:
    return [one.measures.get(name) for one in scored]


def _unsupported(scored: Scored) -> float | None:
    return sum(step.supported is False for step in scored.steps) / len(scored.steps) if scored.steps else None


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _gain(values: Sequence[float | None], lowest: float, highest: float) -> Measure:
    known = [value for value in values if value is not None]
    return mean(known, lowest, highest, len(values) - len(known))
