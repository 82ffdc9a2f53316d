"""What the training runs did: their losses, their speed, the memory that they took, and their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from posixpath import commonpath, dirname
from typing import Any, NamedTuple

from markupsafe import Markup

from seqtune.report.plot import Line, draw_lines
from seqtune.report.runs import Run, read_mapping, read_number, read_structs

LINES_READ = 200_000  # one stands for several optimiser steps
SPEEDS = 60  # of a plot: each over a stretch of the run, since two neighbouring lines are a few noisy steps apart


# What the loss of a method is in; of all others it is in nats per trained token.
LOSSES = {"dpo": "loss of dpo: preference and likelihood, nats", "grpo": "loss of grpo, by reward"}
USUAL = "loss, nats per trained token"


class Training(NamedTuple):
    """One training run as a row of the table: None for what its run.json does not say."""

    name: str
    series: int
    method: str
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
        _method(run),
        rows,
        tokens,
        parameters,
        tokens_per_second=tokens / seconds if tokens and seconds else None,
        seconds=seconds,
        loss=points[-1][1] if points else None,
    )


def draw_losses(runs: Sequence[Run], series: Mapping[str, int]) -> list[Markup]:
    """The loss of all training runs over the tokens that they have seen; a plot for each kind of loss."""
    kinds: dict[str, list[Run]] = {}
    labels = _labels(runs)
    for run in runs:
        kinds.setdefault(LOSSES.get(_method(run), USUAL), []).append(run)
    drawn = [
        draw_lines(
            [Line(labels[run.name], _points(run, "tokens", "loss"), series[run.name]) for run in ones],
            x_label="tokens seen",
            y_label=label,
            title="Training loss over tokens seen",
        )
        for label, ones in kinds.items()
    ]
    return [plot for plot in drawn if plot]


def _method(run: Run) -> str:
    return str(read_mapping(run.summary, "settings").get("method", ""))


def _labels(runs: Sequence[Run]) -> dict[str, str]:
    """Names without the folders that all of them stand in."""
    names = [run.name for run in runs]
    shared = len(commonpath(map(dirname, names))) if len(names) > 1 else 0
    return {name: name[shared:].lstrip("/") for name in names}


def draw_speeds(runs: Sequence[Run], series: Mapping[str, int]) -> Markup:
    """The tokens per second of all training runs in one plot, over their optimiser steps."""
    labels = _labels(runs)
    lines = [Line(labels[run.name], _speeds(run), series[run.name]) for run in runs]
    return draw_lines(lines, x_label="optimiser steps", y_label="tokens per second", title="Tokens per second by step")


def draw_memory(runs: Sequence[Run], series: Mapping[str, int]) -> Markup:
    """The memory in use of all training runs in one plot, over their optimiser steps; empty where nobody noted it."""
    labels = _labels(runs)
    lines = [Line(labels[run.name], _memory(run), series[run.name]) for run in runs]
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
