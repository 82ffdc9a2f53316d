"""`evaluate`: a model (or its answers) and a suite in, a run folder with answers, verdicts and figures out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqtune.building.checking import is_checkable
from seqtune.data.folder import SUMMARY, claim_folder, read_object, write_lines
from seqtune.data.lock import locked
from seqtune.data.writer import write
from seqtune.errors import RecipeError
from seqtune.evaluation.answering import Answering, Say, answer_suite
from seqtune.evaluation.intake import Task, kept_task, new_task
from seqtune.evaluation.judging.phase import Judged, Judging, judge_budget, judge_suite, require_steps
from seqtune.evaluation.judging.qualification import find_qualification
from seqtune.evaluation.ledger import open_ledger
from seqtune.evaluation.outcome import Evaluation, gated, outcome_of, write_outcome
from seqtune.evaluation.resolution import resolve
from seqtune.evaluation.scoring import CHECKABLE, PROGRAM, STEPS, Scored, score_suite
from seqtune.evaluation.settings import EvaluateSettings
from seqtune.evaluation.standard import HARNESS, evaluate_by_harness
from seqtune.evaluation.suite import Suite
from seqtune.training.model import Loaded


def evaluate(
    model: str | Path | Loaded | None = None,
    suite: str | Path | Suite = "chains",
    *,
    out: str | Path,
    say: Say | None = None,
    **options: Any,
) -> Evaluation:
    """Let a model answer a suite once, have every answer scored, and write a run folder.

    Killed at any time, the same call goes on where it stopped: answers that are written are not asked for again. Where
    phase "both" is stopped in its second half, "judge" goes on as well.

    Args:
        model: a local folder, a hub id, a loaded model, or one that is served (http://HOST/v1#MODEL); None where
            `responses` name a file of answers that somebody else made.
        suite: the name of a suite, a file of rows with steps, a Suite, or "lm_eval:TASK,TASK" for tasks of
            lm-evaluation-harness; their options are those of `run_harness`.
        out: the run folder.
        say: called with the number of answers so far.
        options: any other setting of a recipe's `evaluate:` section: responses, judge, phase, ...; see
            `EvaluateSettings`. And any option of the suite, of `chains`: steps, per_length, seed, ...

    Raises:
        RecipeError: a setting, a suite, an option of it or a model that cannot be used.
        DataError: the file has no row with steps, or no answer to an item.
        RunFolderError: the folder holds something else, or cannot be written.
        BudgetSpent: the judge would go over its budget; the same call with a larger one goes on.
        MissingExtraError: torch or transformers is not installed.
    """
    started = time.perf_counter(), time.process_time()
    settings, own = resolve(model, suite, out, options)
    if settings.suite.startswith(HARNESS):
        return _evaluate_by_harness(model, settings, own)
    folder, judging = Path(out), _judging(settings)
    qualification = find_qualification(settings.judge_check) if settings.judge_check else None
    task = kept_task(folder) if settings.phase == "judge" else new_task(model, suite, settings, own)
    if settings.phase != "answer":
        require_steps(task.suite, judging)  # before anything is asked
    with locked(folder):
        if settings.phase != "judge":
            task = _answered(task, model, settings, say)
            done = outcome_of(folder, task, None, started)
            write_outcome(done, task)  # so that "judge" can go on from here, whatever stops the rest
        if settings.phase != "answer":
            done = outcome_of(folder, task, _judged(folder, task, judging, say), started)
            done = gated(done, qualification) if judging else done
            write_outcome(done, task)
    return done


def _evaluate_by_harness(
    model: str | Path | Loaded | None, settings: EvaluateSettings, own: dict[str, Any]
) -> Evaluation:
    unfit = [name for name in ("responses", "judge", "by_length") if getattr(settings, name)]
    if unfit := [*unfit, *(["phase"] if settings.phase != "both" else [])]:
        raise RecipeError(f"{unfit[0]} is not for {HARNESS}...", fix="leave it out: the harness asks and scores itself")
    options = {**own, "batch_size": settings.batch_size, "data": settings.data}
    return evaluate_by_harness(model, settings.suite, Path(settings.out), options, overwrite=settings.overwrite)


def _judging(settings: EvaluateSettings) -> Judging | None:
    """Who judges, and how; None where the suite's own program scores."""
    if not settings.judge:
        return None
    return Judging(
        settings.judge,
        settings.form,
        settings.checklist,
        settings.unapproved,
        settings.quality,
        settings.store or Path(settings.out) / "replies.sqlite",
        settings.concurrency,
        judge_budget(settings.judge, settings.max_cost, settings.max_requests, settings.price),
    )


def _answered(task: Task, model: str | Path | Loaded | None, settings: EvaluateSettings, say: Say | None) -> Task:
    """The task with all answers, which are written."""
    folder = Path(settings.out)
    _claim(folder, task, overwrite=settings.overwrite)
    if model is None:
        write_lines(folder / "answers.jsonl", task.answers.values())
        return task
    how = Answering(task.max_new_tokens, settings.batch_size, settings.store, settings.concurrency)
    return replace(task, answers=answer_suite(model, task.suite, folder, how, say))


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
    by_steps = suite.scorer in (STEPS, CHECKABLE)
    count = sum(not is_checkable(step) for item in suite.items for step in item.steps) if by_steps else 0
    why = "whether all steps of an item are done can only be told by a judge"
    return (f"{count:,} steps have no check: {why}",) if count else ()
