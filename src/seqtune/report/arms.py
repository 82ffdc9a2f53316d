"""What an experiment found, as it says so itself: its table, what it took, and its notes."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import msgspec

from seqtune.data.folder import SEAL, read_object
from seqtune.report.runs import Run, split_seed


class Table(msgspec.Struct, frozen=True):
    """A table as text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class _Named(msgspec.Struct):
    """A training that the results name."""

    arm: str
    seed: int


class Compared(msgspec.Struct, frozen=True):
    """One experiment, as the page shows it."""

    name: str
    legend: str
    table: Table
    taken: Table
    notes: Sequence[str]


def left_over(runs: Sequence[Run]) -> list[Run]:
    """Runs of finished experiments that their results do not name: of arms and seeds that were taken out since."""
    return [run for one in runs if one.finished for run in _left_over(one, runs)]


def _left_over(experiment: Run, runs: Sequence[Run]) -> list[Run]:
    try:
        named = msgspec.convert(read_object(experiment.folder / "results.json").get("taken"), list[_Named])
    except msgspec.ValidationError:
        return []
    trials = {(one.arm, seed) for one in named for seed in ("", f"seed-{one.seed}")}
    return [run for run in runs if experiment.folder in run.folder.parents and _is_left_over(run, experiment, trials)]


def _is_left_over(run: Run, experiment: Run, trials: Container[tuple[str, str]]) -> bool:
    """Only what an experiment has sealed is its own; others may write into its folder too."""
    arm, seed = split_seed(run.folder.relative_to(experiment.folder).as_posix())
    return (run.folder / SEAL).is_file() and (arm.split("/")[-1], seed) not in trials


def describe_experiment(run: Run) -> Compared | None:
    """What the results.json of a run says; None where there is none that can be read."""
    found = read_object(run.folder / "results.json")
    shown: dict[str, Any] = {
        "name": found.get("name", run.name),
        "notes": found.get("notes", []),
        **found.get("text", {}),
    }
    try:
        return msgspec.convert(shown, Compared)
    except msgspec.ValidationError:
        return None
