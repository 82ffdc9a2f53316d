"""Which step takes which rows by the settings, what that comes to, and whether TRL takes what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqtune.training import processes
from seqtune.training.arguments import check_arguments, trainer_arguments
from seqtune.training.packing import Form
from seqtune.training.plan import Plan, plan_run, steps_of
from seqtune.training.preferring import figures_of, longest_try, plan_preference
from seqtune.training.rendering import Row
from seqtune.training.rows import Rendered
from seqtune.training.settings import TrainSettings


def planned(settings: TrainSettings, rendered: Rendered[Any], form: Form | None) -> Plan:
    """The plan of a run by its settings.

    Args:
        settings: resolved.
        rendered: the rows.
        form: how they are packed, None for padded batches.

    Raises:
        DataError: fewer rows than a step of dpo or grpo takes.
    """
    if settings.prefers:
        return plan_preference(len(rendered.rows), settings)
    return plan_run(
        [len(row.ids) for row in rendered.rows],
        batch_tokens=settings.batch_tokens or 0,
        seed=settings.seed,
        epochs=settings.epochs,
        max_tokens=settings.max_tokens,
        rows_per_step=settings.rows_per_step,
        accumulate=settings.accumulate,
        form=form,
        first=[*map(steps_of, rendered.examples)] if settings.order == "short_chains_first" else None,
    )


def check_settings(settings: TrainSettings, rendered: Rendered[Any], plan: Plan, bfloat16: bool) -> None:
    """Raises RecipeError for a value in `trl:` that TRL, transformers or torch refuses."""
    if settings.trl:
        steps, longest = len(plan.steps), longest_try(settings, rendered.rows) if settings.method == "grpo" else None
        arguments = trainer_arguments(
            settings, steps=steps, bfloat16=bfloat16, folder=Path(settings.out), longest_try=longest
        )
        check_arguments(arguments, settings, steps)


def plan_figures(settings: TrainSettings, rendered: Rendered[Any], plan: Plan) -> dict[str, Any]:
    """What a run takes, by the names that `Training` and `Outlook` have for it."""
    figures = figures_of if settings.prefers else _token_figures
    tokens = figures(shared_among(settings, settings.processes or processes.count()), rendered.rows, plan)
    return {
        "rows": len(rendered.rows),
        "unused": rendered.left_out,
        "split": len(rendered.unused) - rendered.left_out,
        "steps": len(plan.steps),
        "chains": tuple(plan.chains(rendered.examples)),
        **tokens,
    }


def shared_among(settings: TrainSettings, among: int) -> TrainSettings:
    """Settings by which one process does what several do: of dpo, each step in the parts that all of them compute."""
    return settings.model_copy(update={"accumulate": settings.accumulate * among}) if settings.prefers else settings


def _token_figures(settings: TrainSettings, rows: Sequence[Row], plan: Plan) -> dict[str, Any]:
    lengths = [len(row.ids) for row in rows]
    seen = [rows[i] for batch in plan.batches for i in batch]
    return {
        "tokens": sum(len(row.ids) for row in seen),
        "trained_tokens": sum(len(row.trained) for row in seen),
        "padding": plan.padding(lengths),
        "unfilled": plan.unfilled(lengths, settings.batch_tokens or 0),
    }
