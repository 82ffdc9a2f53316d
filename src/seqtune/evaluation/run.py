"""`evaluate`: a model (or its answers) and a suite in, a run folder with answers, verdicts and figures out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import msgspec
import xxhash

from seqtune.data.folder import claim_folder, read_summary, versions, write_json, write_lines, write_summary
from seqtune.data.reader import read
from seqtune.data.writer import write
from seqtune.errors import RecipeError, RunFolderError, did_you_mean
from seqtune.evaluation.answering import Answering, answer_suite
from seqtune.evaluation.answers import Answer, model_name
from seqtune.evaluation.figures import Figures, figures
from seqtune.evaluation.harness import run_harness
from seqtune.evaluation.headline import Headline, choose_headline
from seqtune.evaluation.judging.phase import Form, Judged, Judging, judge_budget, judge_suite
from seqtune.evaluation.judging.qualification import UNCHECKED, find_qualification, gate
from seqtune.evaluation.ledger import open_ledger
from seqtune.evaluation.responses import find_data, match, read_responses
from seqtune.evaluation.scoring import Scored, find_pooling, find_scorer
from seqtune.evaluation.suite import Suite, open_suite, takes_rows
from seqtune.evaluation.suite import by_length as split_by_length
from seqtune.evaluation.tax import ChainTax, chain_taxes
from seqtune.training.model import PACKAGES, Loaded

Phase = Literal["both", "answer", "judge"]
Say = Callable[[int], object]

HARNESS = "lm_eval:"  # what names the tasks of lm-evaluation-harness
PROGRAM = "program"  # who scored where no judge did


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        out: the run folder: items.jsonl, answers.jsonl, verdicts.jsonl, metrics.json, run.json.
        model, suite: what was asked, and with what.
        judge: who scored the answers: "program", or a judge with its form and checklist; "" where nobody did yet.
        items, answered: how many items there are, and how many of them the model answered.
        headline: the one figure to quote, or why none may be; None where nothing was scored yet.
        figures: a line for each split and number of steps, and one for all.
        chain_taxes: of the suite `chains` with `singles`: what steps lose by standing in a chain.
        notes: what the reader has to know.
        wall_s: how long it took; cpu_s: processor seconds of all threads.
    """

    out: Path
    model: str
    suite: str
    judge: str
    items: int
    answered: int
    headline: Headline | None
    figures: tuple[Figures, ...]
    chain_taxes: tuple[ChainTax, ...]
    notes: tuple[str, ...]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Task:
    """Items, who answers them, the longest answer in tokens, and the answers that are known."""

    model: str
    suite: Suite
    max_new_tokens: int
    answers: Mapping[str, Answer]
    notes: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """What makes two runs the same, and what scoring them later needs."""
        suite = {"suite": self.suite.name, "items": self.suite.hash, "scorer": self.suite.scorer}
        return {"model": self.model, **suite, "headline": self.suite.headline, "max_new_tokens": self.max_new_tokens}

    @property
    def fingerprint(self) -> str:
        """Their hash."""
        return xxhash.xxh3_128_hexdigest(msgspec.json.encode(self.settings))


def evaluate(
    model: str | Path | Loaded | None = None,
    suite: str | Path | Suite = "chains",
    *,
    out: str | Path,
    responses: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    data: str | Path | None = None,
    phase: Phase = "both",
    by_length: int | None = None,
    judge: str | None = None,
    form: Form = "checklist",
    checklist: str | Path | None = None,
    unapproved: bool = False,
    quality: bool = True,
    judge_check: str | Path | None = None,
    max_cost: float | None = None,
    max_requests: int | None = None,
    price: str | None = None,
    batch_size: int = 100,
    max_new_tokens: int = 256,
    store: str | Path | None = None,
    concurrency: int = 64,
    overwrite: bool = False,
    say: Say | None = None,
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> Evaluation:
    """Let a model answer a suite once, have every answer scored, and write a run folder.

    Killed at any time, the same call goes on where it stopped: answers that are written are not asked for again.

    Args:
        model: a local folder, a hub id, a loaded model, or one that is served (http://HOST/v1#MODEL).
        suite: the name of a suite, a file of rows with steps, a Suite, or "lm_eval:TASK,TASK" for tasks of
            lm-evaluation-harness; their options are those of `run_harness`.
        out: the run folder.
        responses: a file of answers that somebody else made, in place of a model.
        columns: of `responses`: which column holds the answer, the id, the prompt.
        data: where the suite's own data lie.
        judge: who scores the answers, in place of the suite's own program; http://HOST/v1#MODEL.
        form, checklist, unapproved, quality: of the judge, see `Judging`.
        judge_check: what `judge_check` wrote of this judge; one that failed gives no headline.
        max_cost, max_requests, price: the most US dollars and requests for the judge, and what its tokens cost.
        phase: "answer" stops before anything is scored; "judge" scores what the folder holds, whatever else is given.
        by_length: split the items by the length of their prompts, into so many ranges.
        batch_size, max_new_tokens, store, concurrency: see `Answering`.
        overwrite: take the folder whatever it holds.
        say: called with the number of answers so far.
        options, more: of the named suite; for `chains`: steps, per_length, seed, ...

    Raises:
        RecipeError: a suite, an option or a model that cannot be used.
        DataError: the file has no row with steps, or no answer to an item.
        RunFolderError: the folder holds something else, or cannot be written.
        BudgetSpent: the judge would go over its budget; the same call with a larger one goes on.
        MissingExtraError: torch or transformers is not installed.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    folder = Path(out)
    if str(suite).startswith(HARNESS):
        tasks = str(suite).removeprefix(HARNESS).split(",")
        given = {"batch_size": batch_size, "data": data, **(options or {}), **more}
        return _through_harness(model, tasks, folder, given, overwrite=overwrite)
    kept = store or folder / "replies.sqlite"
    budget = judge_budget(judge or "", max_cost, max_requests, price)
    judging = Judging(judge, form, checklist, unapproved, quality, kept, concurrency, budget) if judge else None
    if phase == "judge":
        task = _kept_task(folder)
    else:
        task = _new_task(model, suite, responses, columns, data, {**(options or {}), **more}, max_new_tokens)
        task = replace(task, suite=split_by_length(task.suite, by_length)) if by_length else task
        claim_folder(folder, "eval", task.fingerprint, overwrite=overwrite)
        write(task.suite.items, folder / "items.jsonl")
        if model is None:
            write_lines(folder / "answers.jsonl", task.answers.values())
        else:
            how = Answering(max_new_tokens, batch_size, store, concurrency)
            task = replace(task, answers=answer_suite(model, task.suite, folder, how, say))
    judged = None if phase == "answer" else _judged(folder, task, judging, say)
    done = _described(folder, task, judged, time.perf_counter() - wall, time.process_time() - cpu)
    if judge and done.headline:
        done = _gated(done, done.headline, judge_check)
    _write(done, task)
    return done


def _through_harness(
    model: str | Path | Loaded | None, tasks: list[str], folder: Path, options: dict[str, Any], *, overwrite: bool
) -> Evaluation:
    """Standard benchmarks as lm-evaluation-harness asks and scores them; only the figures are of our form."""
    if model is None:
        raise RecipeError("the harness asks a model itself", fix="give --model NAME")
    wall, cpu = time.perf_counter(), time.process_time()
    known = signature(run_harness).parameters
    for option in options:
        if option not in known:
            hint = did_you_mean(option, known)
            raise RecipeError(f"suite 'lm_eval' has no option {option!r}{hint}", fix="leave it out")
    name, suite = model_name(model), f"{HARNESS}{','.join(tasks)}"
    settings = {"model": name, "suite": suite, "options": options}
    fingerprint = xxhash.xxh3_128_hexdigest(msgspec.json.encode(settings, enc_hook=str))
    claim_folder(folder, "eval", fingerprint, overwrite=overwrite)
    lines = run_harness(model, tasks, out=folder, **options)
    done = Evaluation(
        out=folder,
        model=name,
        suite=suite,
        judge="lm_eval",
        items=sum(line.items for line in lines),
        answered=sum(line.answered for line in lines),
        headline=None,
        figures=tuple(lines),
        chain_taxes=(),
        notes=(),
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
    )
    summary = {"command": "eval", "fingerprint": fingerprint, "finished": True, "settings": settings}
    spent = {"items": done.items, "wall_s": done.wall_s, "cpu_s": done.cpu_s}
    write_summary(folder, {**summary, **spent, "versions": {**_versions(), **versions("lm_eval")}})
    return done


def _new_task(
    model: str | Path | Loaded | None,
    suite: str | Path | Suite,
    responses: str | Path | None,
    columns: Mapping[str, str] | None,
    data: str | Path | None,
    options: dict[str, Any],
    max_new_tokens: int,
) -> Task:
    if (model is None) == (responses is None):
        raise RecipeError("one of model and responses is needed", fix="give --model NAME, or --responses FILE")
    if responses is None:
        assert model is not None
        chosen = suite if isinstance(suite, Suite) else open_suite(suite, data=data, options=options)
        return Task(model_name(model), chosen, max_new_tokens, {}, chosen.notes)
    given = read_responses(responses, columns)
    rows = {"rows": given.rows} if takes_rows(suite) else {}
    found = find_data(responses, str(suite)) if rows and not data else None
    chosen = suite if isinstance(suite, Suite) else open_suite(suite, data=data or found, options=rows | options)
    answers, notes = match(given, chosen.items, from_rows=bool(rows))
    notes += [f"the suite's data were found in {found} (--data names others)"] if found else []
    return Task(given.model, chosen, max_new_tokens, answers, (*chosen.notes, *given.notes, *notes))


def _kept_task(folder: Path) -> Task:
    """What a folder was made for, and the answers in it.

    Raises:
        RunFolderError: no run that was answered to the end stands there.
    """
    summary = read_summary(folder)
    if summary.get("command") != "eval":
        raise RunFolderError("this is no run of 'seqtune eval'", where=str(folder), fix="give the folder of one")
    settings = summary["settings"]
    items = tuple(read(str(folder / "items.jsonl")))
    suite = Suite(settings["suite"], items, settings["scorer"], settings["headline"])
    if suite.hash != settings["items"]:
        fix = "run `seqtune eval` again from the start, into another folder"
        raise RunFolderError("items.jsonl was changed since the answers were made", where=str(folder), fix=fix)
    return Task(
        settings["model"], suite, settings["max_new_tokens"], read_answers(folder), tuple(summary.get("task_notes", ()))
    )


def read_answers(folder: Path) -> dict[str, Answer]:
    """The answers of a run folder by item; of an item that was answered more than once, the last.

    Raises:
        DataError: a line that is no answer.
    """
    with open_ledger(folder / "answers.jsonl", Answer) as ledger:
        return {answer.item: answer for answer in ledger}


def _judged(folder: Path, task: Task, judging: Judging | None, say: Say | None) -> Judged:
    """What the judge says, or else the suite's own program; verdicts.jsonl holds it."""
    with open_ledger(folder / "verdicts.jsonl", Scored) as ledger:
        if judging:
            return judge_suite(task.suite, task.answers, ledger, judging, say)
        scored = score_suite(task.suite, task.answers)
        ledger.add(scored)
        return Judged(PROGRAM, task.suite.items, tuple(scored), {}, ())


def score_suite(suite: Suite, answers: Mapping[str, Answer]) -> list[Scored]:
    """What the suite's own program says of each answer.

    Raises:
        RecipeError: no program can score this suite.
    """
    if not suite.scorer:
        fix = "name a judge: --judge http://127.0.0.1:8000/v1#MODEL"
        raise RecipeError(f"no program can score the answers to {suite.name!r}", fix=fix)
    run = find_scorer(suite.scorer)
    scored = []
    for item in suite.items:
        if answer := answers.get(item.id):
            found = run(item, answer.text)
            key = xxhash.xxh3_128_hexdigest(f"{answer.key}\x1e{suite.scorer}".encode())
            scored.append(Scored(item.id, key, found.measures, found.steps, PROGRAM))
    return scored


def _described(folder: Path, task: Task, judged: Judged | None, wall_s: float, cpu_s: float) -> Evaluation:
    items = judged.items if judged else task.suite.items
    scored = judged.scored if judged else ()
    lines = figures(items, task.answers, scored, judged.lengths if judged else None)
    if judged and judged.judge == PROGRAM and (pooled := find_pooling(task.suite.scorer)):
        lines[-1] = msgspec.structs.replace(lines[-1], measures={**lines[-1].measures, **pooled(scored)})
    return Evaluation(
        out=folder,
        model=task.model,
        suite=task.suite.name,
        judge=judged.judge if judged else "",
        items=len(task.suite.items),
        answered=len(task.answers),
        headline=choose_headline(task.suite.headline, lines) if judged else None,
        figures=tuple(lines),
        chain_taxes=tuple(chain_taxes(items, scored)),
        notes=task.notes + (judged.notes if judged else ()),
        wall_s=wall_s,
        cpu_s=cpu_s,
    )


def _gated(done: Evaluation, headline: Headline, judge_check: str | Path | None) -> Evaluation:
    """The same, without a headline if the judge failed its check, and with a note if it had none."""
    if judge_check is None:
        return replace(done, notes=(*done.notes, UNCHECKED))
    return replace(done, headline=gate(headline, find_qualification(judge_check), done.judge))


def _write(done: Evaluation, task: Task) -> None:
    """metrics.json, and run.json, which is written last."""
    counts = {"judge": done.judge, "items": done.items, "answered": done.answered, "notes": done.notes}
    if done.headline:
        found = {"headline": done.headline, "figures": done.figures, "chain_taxes": done.chain_taxes}
        write_json(done.out / "metrics.json", {"suite": done.suite, "model": done.model, **counts, **found})
    summary = {"command": "eval", "fingerprint": task.fingerprint, "finished": True, "settings": task.settings}
    spent = {"task_notes": task.notes, "wall_s": done.wall_s, "cpu_s": done.cpu_s}
    write_summary(done.out, {**summary, **counts, **spent, "versions": _versions()})


def _versions() -> dict[str, str]:
    return versions(*[package for package in PACKAGES if find_spec(package)])
