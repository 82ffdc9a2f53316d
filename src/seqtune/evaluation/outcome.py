"""What an evaluation found, whoever asked and scored."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import msgspec

from seqtune.data.folder import versions, write_json, write_summary
from seqtune.evaluation.figures import Figures, figures
from seqtune.evaluation.headline import JUDGED, Headline, choose_headline
from seqtune.evaluation.intake import Task
from seqtune.evaluation.judging.phase import Judged
from seqtune.evaluation.judging.qualification import UNCHECKED, Qualification, withhold
from seqtune.evaluation.scoring import PROGRAM, find_pooling
from seqtune.evaluation.tax import ChainTax, chain_taxes
from seqtune.training.model import PACKAGES


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


def outcome_of(folder: Path, task: Task, judged: Judged | None, started: tuple[float, float]) -> Evaluation:
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


def gated(done: Evaluation, qualification: Qualification | None) -> Evaluation:
    """The same, without a headline if the judge failed its check, and with a note if it had none."""
    if qualification is None:
        return replace(done, notes=(*done.notes, UNCHECKED))
    return replace(done, headline=withhold(done.headline, qualification, done.judge) if done.headline else None)


def write_outcome(done: Evaluation, task: Task) -> None:
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
