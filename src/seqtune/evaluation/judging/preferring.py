"""Whose answers a judge prefers: runs against the first of them, every pair asked in both orders, resumable."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import xxhash

from seqtune.data.example import Example
from seqtune.data.folder import versions, working_in, write_json, write_summary
from seqtune.errors import RecipeError
from seqtune.evaluation.answering import Say
from seqtune.evaluation.headline import ENOUGH
from seqtune.evaluation.judging.identity import judge_id, key_of
from seqtune.evaluation.judging.pairwise import PairVerdict, as_duels, judge_pair
from seqtune.evaluation.judging.phase import judge_budget
from seqtune.evaluation.judging.qualification import BARS
from seqtune.evaluation.ledger import Ledger, open_ledger
from seqtune.evaluation.run_folders import RunFolder, check_alike, open_runs
from seqtune.evaluation.scoring import said
from seqtune.evaluation.statistics.win_rates import Duel, LengthControlled, WinRate, length_controlled, win_rate
from seqtune.llm.asking import each, open_teacher
from seqtune.llm.budget import Budget

STABLE = BARS["llmbar:stability"].least or 0.0  # of the pairs, below which a judge does not pass its check either


@dataclass(frozen=True)
class Preferred:
    """Whose answers a judge prefers.

    Args:
        out: the folder: pairs.jsonl, preferences.json, run.json.
        judge: its identity.
        against: the first run, with which the others are compared.
        items: of which all runs have an answer.
        rates: of each other run, raw.
        at_equal_length: of all of them, as if all answers were of one length in characters; None without a verdict.
        refused: why none of it must be quoted; "" where it may.
        warnings: what makes the runs unlike each other, where they were compared by force.
        notes: of runs whose pairs the judge found unlike in the two orders, so that its rates say little.
    """

    out: Path
    judge: str
    against: str
    items: int
    rates: tuple[WinRate, ...]
    at_equal_length: LengthControlled | None
    refused: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


class _Asking(NamedTuple):
    """How the judge is asked; see `prefer`."""

    judge: str
    store: str | Path
    concurrency: int
    budget: Budget


class _Pair(NamedTuple):
    """An item, and the answers of another run and of the first."""

    item: Example
    run: RunFolder
    answer: str
    first_answer: str


def prefer(
    runs: Sequence[str | Path],
    *,
    judge: str,
    out: str | Path,
    force: bool = False,
    seed: int = 0,
    store: str | Path | None = None,
    concurrency: int = 64,
    max_cost: float | None = None,
    max_requests: int | None = None,
    price: str | None = None,
    overwrite: bool = False,
    say: Say | None = None,
) -> Preferred:
    """Ask a judge which of two answers is better, in both orders, for each other run against the first.

    Killed at any time, the same call goes on where it stopped. Whether and how the runs were scored does not matter
    here.

    Args:
        runs: two or more run folders of `seqtune eval`, of the same items.
        judge: http://127.0.0.1:8000/v1#MODEL or another spelling that `open_teacher` knows.
        out: the folder to write.
        force: compare runs though their items differ: those that all of them answered are asked about.
        seed: of the bootstrap.
        store: the reply store; a file in the folder by default.
        concurrency: the most requests in flight.
        max_cost, max_requests, price: the most US dollars and requests, and what its tokens cost.
        overwrite: take the folder whatever it holds.
        say: called with the number of pairs judged so far.

    Raises:
        RecipeError: runs that are not comparable, or without a common item.
        RunFolderError: a folder that is no finished run, or one that cannot be written.
        TeacherError: this judge can never answer.
        BudgetSpent: the next question would go over the budget; every verdict so far is kept.
    """
    read, folder = open_runs(runs, scored=False), Path(out)
    warnings = check_alike(read, force=force, judged=False)
    pairs = _pairs(read)
    fingerprint = xxhash.xxh3_128_hexdigest(msgspec.json.encode([judge, *[_told(run) for run in read]]))
    how = _Asking(
        judge, store or folder / "replies.sqlite", concurrency, judge_budget(judge, max_cost, max_requests, price)
    )
    with working_in(folder, "compare", fingerprint, overwrite=overwrite):
        with open_ledger(folder / "pairs.jsonl", PairVerdict) as ledger:
            name, verdicts = asyncio.run(_judge_all(pairs, ledger, how, say))
        done = _described(folder, name, read, pairs, verdicts, warnings, seed)
        _write(done, fingerprint, judge, read)
    return done


def _told(run: RunFolder) -> list[str]:
    return [run.metrics.model, run.name, str(run.summary.get("fingerprint", ""))]


def _pairs(runs: Sequence[RunFolder]) -> list[_Pair]:
    first, *others = runs
    common = [item for item in first.items if all(item in run.answers for run in runs)]
    if not common:
        raise RecipeError("there is no item that all these runs answered", fix="compare runs of the same suite")
    return [
        _Pair(first.items[item], run, said(run.answers[item].text), said(first.answers[item].text))
        for run in others
        for item in common
    ]


async def _judge_all(
    pairs: Sequence[_Pair], ledger: Ledger[PairVerdict], how: _Asking, say: Say | None
) -> tuple[str, list[PairVerdict]]:
    """The judge's identity, and a verdict a pair, in their order; each is in the ledger before the next counts."""
    found: dict[int, PairVerdict] = {}
    async with AsyncExitStack() as stack:
        ask = await stack.enter_async_context(
            open_teacher(how.judge, store=how.store, concurrency=how.concurrency, budget=how.budget)
        )
        name = judge_id("pairwise", ask.model)

        async def one(place: int) -> PairVerdict:
            pair = pairs[place]
            old = ledger.find(key_of(pair.item, f"{pair.answer}\x1e{pair.first_answer}", name))
            # What could not be told is asked again, its good replies being in the store.
            return old if old and not old.unscored else await judge_pair(pair.item, pair.answer, pair.first_answer, ask)

        async with aclosing(each(one, range(len(pairs)), in_flight=2 * how.concurrency)) as outcomes:
            async for place, verdict in outcomes:
                ledger.add([verdict])
                found[place] = verdict
                if say:
                    say(len(found))
    return name, [found[place] for place in range(len(pairs))]


def _described(
    folder: Path,
    judge: str,
    runs: Sequence[RunFolder],
    pairs: Sequence[_Pair],
    verdicts: Sequence[PairVerdict],
    warnings: Sequence[str],
    seed: int,
) -> Preferred:
    first, *others = runs
    duels = [one for pair, verdict in zip(pairs, verdicts, strict=True) for one in _duels(pair, verdict, first)]
    rates = tuple([win_rate(duels, run.name, first.name, seed=seed) for run in others])
    scored = any(rate.rate.of for rate in rates)
    return Preferred(
        out=folder,
        judge=judge,
        against=first.name,
        items=len(pairs) // len(others),
        rates=rates,
        at_equal_length=length_controlled(_known(duels, rates), first.name) if scored else None,
        refused=_refusal(rates),
        warnings=tuple(warnings),
        notes=tuple([_unstable(rate) for rate in rates if rate.stable is not None and rate.stable < STABLE]),
    )


def _unstable(rate: WinRate) -> str:
    return (
        f"the judge names the same winner in both orders for {rate.stable:.1%} of the pairs with {rate.model}, a coin"
        f" for half of them: under {STABLE:.0%} it goes by the place more than by the answers"
    )


def _duels(pair: _Pair, verdict: PairVerdict, first: RunFolder) -> tuple[Duel, Duel]:
    # In characters: models do not cut text into the same tokens, nor do all languages put blanks between words.
    lengths = len(pair.answer), len(pair.first_answer)
    return as_duels(verdict, pair.run.name, first.name, *map(float, lengths))


def _known(duels: Sequence[Duel], rates: Sequence[WinRate]) -> list[Duel]:
    """Without runs of which nothing could be told, which no fit can place."""
    unknown = {rate.model for rate in rates if not rate.rate.of}
    return [one for one in duels if not {one.first, one.second} & unknown]


def _refusal(rates: Sequence[WinRate]) -> str:
    thin: Mapping[str, tuple[int, int]] = {
        rate.model: (rate.rate.of, rate.rate.of + rate.unscored)
        for rate in rates
        if rate.rate.of < ENOUGH * (rate.rate.of + rate.unscored)
    }
    counts = ", ".join(f"{of:,} of the {items:,} pairs with {model}" for model, (of, items) in thin.items())
    return f"only {counts} have a verdict in both orders, at least {ENOUGH:.0%} are needed" if thin else ""


def _write(done: Preferred, fingerprint: str, judge: str, runs: Sequence[RunFolder]) -> None:
    """preferences.json, and run.json, which is written last."""
    names = ("judge", "against", "items", "rates", "at_equal_length", "refused", "warnings", "notes")
    write_json(done.out / "preferences.json", {name: getattr(done, name) for name in names})
    settings = {"judge": judge, "runs": [str(run.folder) for run in runs]}
    told = {"command": "compare", "fingerprint": fingerprint, "finished": True, "settings": settings}
    write_summary(done.out, {**told, "items": done.items, "versions": versions()})
