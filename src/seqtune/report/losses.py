"""What the training runs did: their losses and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seqtune.report.plot import Line, draw_lines
from seqtune.report.runs import Run, read_number, read_structs

LINES_READ = 200_000  # one stands for several optimiser steps


class Training(NamedTuple):
    """One training run as a row of the table: None for what its run.json does not say."""

    name: str
    series: int
    rows: float | None
    tokens: float | None
    parameters: float | None
    tokens_per_second: float | None
    seconds: float | None
    loss: float | None


def describe_training(run: Run, series: int) -> Training:
    """The figures of one training run."""
    rows, tokens, parameters, seconds = (
        read_number(run.summary, name) for name in ("rows", "tokens", "parameters", "wall_s")
    )
    points = _points(run)
    return Training(
        run.name,
        series,
        rows,
        tokens,
        parameters,
        tokens_per_second=tokens / seconds if tokens and seconds else None,
        seconds=seconds,
        loss=points[-1][1] if points else None,
    )


def draw_losses(runs: Sequence[Run], series: Mapping[str, int]) -> Markup:
    """The loss of all training runs in one plot, over the tokens that they have seen."""
    lines = [Line(run.name, _points(run), series[run.name]) for run in runs]
    return draw_lines(
        lines, x_label="tokens seen", y_label="loss, nats per trained token", title="Training loss over tokens seen"
    )


def _points(run: Run) -> list[tuple[float, float]]:
    return [
        (float(line["tokens"]), float(line["loss"]))
        for line in read_structs(run.folder / "losses.jsonl", dict[str, Any], LINES_READ)
        if isinstance(line.get("tokens"), int | float) and isinstance(line.get("loss"), int | float)
    ]
