"""`evaluate`: a model (or its answers) and a suite in, a run folder with answers, verdicts and figures out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import xxhash

from seqtune.building.checking import is_checkable
from seqtune.data.folder import (
    SUMMARY,
    claim_folder,
    read_object,
    read_summary,
    versions,
    write_json,
    write_lines,
    write_summary,
)
from seqtune.data.lock import locked
from seqtune.data.reader import read
from seqtune.data.writer import write
from seqtune.errors import RecipeError, RunFolderError, did_you_mean
from seqtune.evaluation.answering import Answering, Say, answer_suite
from seqtune.evaluation.answers import Answer, model_name
from seqtune.evaluation.figures import figures
from seqtune.evaluation.headline import JUDGED, choose_headline
from seqtune.evaluation.judging.identity import Form
from seqtune.evaluation.judging.phase import Judged, Judging, judge_budget, judge_suite, require_steps
from seqtune.evaluation.judging.qualification import UNCHECKED, Qualification, find_qualification, gate
from seqtune.evaluation.ledger import open_ledger, read_records
from seqtune.evaluation.outcome import Evaluation
from seqtune.evaluation.responses import find_data, match, read_responses
from seqtune.evaluation.scoring import Scored, find_pooling, find_scorer, said
from seqtune.evaluation.standard import HARNESS, evaluate_by_harness
from seqtune.evaluation.suite import Suite, open_suite, takes_rows
from seqtune.evaluation.suite import by_length as split_by_length
from seqtune.evaluation.tax import chain_taxes
from seqtune.training.model import PACKAGES, Loaded

Phase = Literal["both", "answer", "judge"]

STEPS = "steps"  # the scorer of items with steps
PROGRAM = "program"  # who scored where no judge did


@dataclass(frozen=True)
class Task:
    """Items, who answers them, the longest answer in tokens, and the answers that are known.

    `responses` is the hash of answers that somebody else made.
    """

    model: str
    suite: Suite
    max_new_tokens: int
    answers: Mapping[str, Answer]
    notes: tuple[str, ...] = ()
    responses: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What makes two runs the same, and what scoring them later needs."""
        suite = {"suite": self.suite.name, "items": self.suite.hash, "scorer": self.suite.scorer}
        return {"model": self.model, **suite, "headline": self.suite.headline, **self._asked}

    @property
    def _asked(self) -> dict[str, Any]:
        return {"responses": self.responses} if self.responses else {"max_new_tokens": self.max_new_tokens}

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
    max_new_tokens: int | None = None,
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
            Where "both" is stopped in its second half, "judge" goes on as well.
        by_length: split the items by the length of their prompts, into so many ranges.
        batch_size, max_new_tokens (by default the suite's), store, concurrency: see `Answering`.
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
    if phase not in get_args(Phase):
        near = did_you_mean(phase, get_args(Phase))
        raise RecipeError(f"phase is {phase!r}{near}", fix=f"choose from {', '.join(get_args(Phase))}")
    started = time.perf_counter(), time.process_time()
    folder, options = Path(out), {**(options or {}), **more}
    if isinstance(suite, str) and suite.startswith(HARNESS):
        _refuse_for_harness(responses=responses, judge=judge, by_length=by_length, phase=phase != "both")
        return evaluate_by_harness(
            model, suite, folder, {**options, "batch_size": batch_size, "data": data}, overwrite=overwrite
        )
    judging = None
    if judge:
        kept, budget = store or folder / "replies.sqlite", judge_budget(judge, max_cost, max_requests, price)
        judging = Judging(judge, form, checklist, unapproved, quality, kept, concurrency, budget)
    qualification = find_qualification(judge_check) if judge_check else None
    if phase == "judge":
        task = _kept_task(folder)
    else:
        task = _new_task(model, suite, responses, columns, data, options, max_new_tokens)
        task = replace(task, suite=split_by_length(task.suite, by_length)) if by_length else task
    if phase != "answer":
        require_steps(task.suite, judging)  # before anything is asked
    with locked(folder):
        if phase != "judge":
            how = Answering(task.max_new_tokens, batch_size, store, concurrency)
            task = _answered(task, model, folder, how, say, overwrite=overwrite)
            done = _described(folder, task, None, started)
            _write(done, task)  # so that "judge" can go on from here, whatever stops the rest
        if phase != "answer":
            done = _described(folder, task, _judged(folder, task, judging, say), started)
            done = _gated(done, qualification) if judging else done
            _write(done, task)
    return done


def _refuse_for_harness(**given: object) -> None:
    if unfit := [name for name, value in given.items() if value]:
        raise RecipeError(f"{unfit[0]} is not for {HARNESS}...", fix="leave it out: the harness asks and scores itself")


def _answered(
    task: Task, model: str | Path | Loaded | None, folder: Path, how: Answering, say: Say | None, *, overwrite: bool
) -> Task:
    """The task with all answers, which are written."""
    _claim(folder, task, overwrite=overwrite)
    if model is not None:
        return replace(task, answers=answer_suite(model, task.suite, folder, how, say))
    write_lines(folder / "answers.jsonl", task.answers.values())
    return task


def _claim(folder: Path, task: Task, *, overwrite: bool) -> None:
    """Make the folder this run's: what another one left in it is gone, and figures of earlier answers are, too.

    Raises:
        RunFolderError: it holds something else, and is not to be overwritten.
    """
    summary, answers = read_object(folder / SUMMARY), folder / "answers.jsonl"
    before = summary.get("fingerprint")
    came_to_nothing = summary.get("command") == "eval" and not (answers.is_file() and answers.stat().st_size)
    claim_folder(folder, "eval", task.fingerprint, overwrite=overwrite or came_to_nothing)
    ledgers = ("answers.jsonl", "verdicts.jsonl", "unanswered.jsonl") if before != task.fingerprint else ()
    for name in ("metrics.json", *ledgers):
        (folder / name).unlink(missing_ok=True)
    write(task.suite.items, folder / "items.jsonl")


def _new_task(
    model: str | Path | Loaded | None,
    suite: str | Path | Suite,
    responses: str | Path | None,
    columns: Mapping[str, str] | None,
    data: str | Path | None,
    options: dict[str, Any],
    max_new_tokens: int | None,
) -> Task:
    if (model is None) == (responses is None):
        what = "neither a model nor responses are given" if model is None else "both a model and responses are given"
        raise RecipeError(what, fix="give one of them: --model NAME, or --responses FILE")
    if responses is None:
        assert model is not None
        chosen = suite if isinstance(suite, Suite) else open_suite(suite, data=data, options=options)
        return Task(model_name(model), chosen, max_new_tokens or chosen.max_new_tokens, {}, chosen.notes)
    given = read_responses(responses, columns)
    rows = {"rows": given.rows} if takes_rows(suite) else {}
    found = find_data(responses, str(suite)) if rows and not data else None
    chosen = suite if isinstance(suite, Suite) else open_suite(suite, data=data or found, options=rows | options)
    answers, notes = match(given, chosen.items, from_rows=bool(rows))
    notes += [f"the suite's data were found in {found} (--data names others)"] if found else []
    told = xxhash.xxh3_128_hexdigest("".join(answer.key for answer in answers.values()).encode())
    return Task(
        given.model,
        chosen,
        max_new_tokens or chosen.max_new_tokens,
        answers,
        (*chosen.notes, *given.notes, *notes),
        told,
    )


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
        settings["model"],
        suite,
        settings.get("max_new_tokens", 0),
        read_answers(folder),
        tuple(summary.get("task_notes", ())),
        settings.get("responses", ""),
    )


def read_answers(folder: Path) -> dict[str, Answer]:
    """The answers of a run folder by item; of an item that was answered more than once, the last.

    Raises:
        DataError: a line that is no answer.
    """
    return {answer.item: answer for answer in read_records(folder / "answers.jsonl", Answer)}


def _judged(folder: Path, task: Task, judging: Judging | None, say: Say | None) -> Judged:
    """What the judge says, or else the suite's own program; verdicts.jsonl holds it."""
    with open_ledger(folder / "verdicts.jsonl", Scored) as ledger:
        if judging:
            return judge_suite(task.suite, task.answers, ledger, judging, say)
        scored = score_suite(task.suite, task.answers)
        ledger.add(scored)
        return Judged(PROGRAM, task.suite.items, tuple(scored), {}, _open_steps(task.suite))


def _open_steps(suite: Suite) -> tuple[str, ...]:
    """A note of the steps that no program can check."""
    count = sum(not is_checkable(step) for item in suite.items for step in item.steps) if suite.scorer == STEPS else 0
    why = "whether all steps of an item are done can only be told by a judge"
    return (f"{count:,} steps have no check: {why}",) if count else ()


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
            found = run(item, said(answer.text))
            key = xxhash.xxh3_128_hexdigest(f"{answer.key}\x1e{suite.scorer}".encode())
            scored.append(Scored(item.id, key, found.measures, found.steps, PROGRAM))
    return scored


def _described(folder: Path, task: Task, judged: Judged | None, started: tuple[float, float]) -> Evaluation:
    """What was found; `started` is the wall and the processor clock at the start."""
    items = judged.items if judged else task.suite.items
    scored = judged.scored if judged else ()
    lines = figures(items, task.answers, scored, judged.lengths if judged else None)
    by_program = judged is not None and judged.judge == PROGRAM
    measure = task.suite.headline if by_program else JUDGED
    if by_program and (pooled := find_pooling(task.suite.scorer)):
        lines[-1] = msgspec.structs.replace(lines[-1], measures={**lines[-1].measures, **pooled(scored, items)})
    return Evaluation(
        out=folder,
        model=task.model,
        suite=task.suite.name,
        judge=judged.judge if judged else "",
        items=len(task.suite.items),
        answered=len(task.answers),
        headline=choose_headline(measure, lines) if judged else None,
        figures=tuple(lines),
        chain_taxes=tuple(chain_taxes(items, scored)),
        notes=task.notes + (judged.notes if judged else ()),
        wall_s=time.perf_counter() - started[0],
        cpu_s=time.process_time() - started[1],
    )


def _gated(done: Evaluation, qualification: Qualification | None) -> Evaluation:
    """The same, without a headline if the judge failed its check, and with a note if it had none."""
    if qualification is None:
        return replace(done, notes=(*done.notes, UNCHECKED))
    return replace(done, headline=gate(done.headline, qualification, done.judge) if done.headline else None)


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
