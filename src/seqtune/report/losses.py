"""What the training runs did: their losses, their speed, the memory that they took, and their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup

from seqtune.report.plot import Line, draw_lines
from seqtune.report.runs import Run, read_number, read_structs

LINES_READ = 200_000  # one stands for several optimiser steps
SPEEDS = 60  # of a plot: each over a stretch of the run, since two neighbouring lines are a few noisy steps apart


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
    points = _points(run, "tokens", "loss")
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
    lines = [Line(run.name, _points(run, "tokens", "loss"), series[run.name]) for run in runs]
    return draw_lines(
        lines, x_label="tokens seen", y_label="loss, nats per trained token", title="Training loss over tokens seen"
    )


def draw_speeds(runs: Sequence[Run], series: Mapping[str, int]) -> Markup:
    """The tokens per second of all training runs in one plot, over their optimiser steps."""
    lines = [Line(run.name, _speeds(run), series[run.name]) for run in runs]
    return draw_lines(lines, x_label="optimiser steps", y_label="tokens per second", title="Tokens per second by step")


def draw_memory(runs: Sequence[Run], series: Mapping[str, int]) -> Markup:
    """The memory in use of all training runs in one plot, over their optimiser steps; empty where nobody noted it."""
    lines = [Line(run.name, _memory(run), series[run.name]) for run in runs]
    return draw_lines(lines, x_label="optimiser steps", y_label="memory in use, bytes", title="Memory in use by step")


def _speeds(run: Run) -> list[tuple[float, float]]:
    """Tokens per second of each stretch of the run, at its end; without the first line, which holds the start-up."""
    lines = list(_numbers(run, "step", "tokens", "wall_s"))
    stretch = -(-len(lines) // SPEEDS) or 1
    ends = lines[::-stretch][::-1]
    return [
        (step, (tokens - tokens_before) / (seconds - before))
        for (_, tokens_before, before), (step, tokens, seconds) in pairwise(ends)
        if seconds > before
    ]


def _memory(run: Run) -> list[tuple[float, float]]:
    return [(step, memory) for step, memory in _points(run, "step", "memory_bytes") if memory]  # 0: nobody knows


def _points(run: Run, x: str, y: str) -> list[tuple[float, float]]:
    return [(at, value) for at, value in _numbers(run, x, y)]


def _numbers(run: Run, *names: str) -> Iterator[tuple[float, ...]]:
    """These numbers of each line of losses.jsonl that has them all."""
    for line in read_structs(run.folder / "losses.jsonl", dict[str, Any], LINES_READ):
        found = [read_number(line, name) for name in names]
        if None not in found:
            yield tuple(value for value in found if value is not None)
