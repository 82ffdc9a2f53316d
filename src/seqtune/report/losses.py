"""What the training runs did: their losses and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seqtune.report.plot import Line, draw_lines
from seqtune.report.runs import Run, read_structs

LINES_READ = 200_000  # one stands for several optimiser steps


class Training(NamedTuple):
    """One training run as a row of the table: None for what its run.json does not say."""

    name: str
    series: int
    rows: int | None
    tokens: int | None
    parameters: int | None
    tokens_per_second: float | None
    seconds: float | None
    loss: float | None


def describe_training(run: Run, series: int) -> Training:
    """The figures of one training run."""
    figures: Mapping[str, Any] = run.summary.get("result") or run.summary
    tokens, seconds = _number(figures, "tokens"), _number(figures, "seconds", "wall_s")
    rate = _number(figures, "tokens_per_second") or (tokens / seconds if tokens and seconds else None)
    return Training(
        run.name,
        series,
        rows=_whole(_number(figures, "rows")),
        tokens=_whole(tokens),
        parameters=_whole(_number(figures, "parameters")),
        tokens_per_second=rate,
        seconds=seconds,
        loss=_number(figures, "last_loss"),
    )


def _number(figures: Mapping[str, Any], *names: str) -> float | None:
    values = (figures.get(name) for name in names)
    return next((float(value) for value in values if isinstance(value, int | float)), None)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


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
