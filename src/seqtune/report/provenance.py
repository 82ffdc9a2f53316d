"""How the runs were made: commands, seeds, versions, times, recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seqtune.report.runs import Run, read_mapping, read_number

LONGEST_RECIPE = 20_000  # characters
STATES = {True: "", False: "did not finish"}


class Made(NamedTuple):
    """One run as a line of the table, and what it was told."""

    name: str
    command: str
    state: str
    seed: str
    seconds: float | None
    recipe: str


def describe_run(run: Run) -> Made:
    """What the run's folder says about how it was made."""
    return Made(
        name=run.name,
        command=f"seqtune {run.command}" if run.command else "",
        state=STATES[run.finished] if run.summary else "run.json cannot be read",
        seed=_seed(run.summary),
        seconds=read_number(run.summary, "wall_s"),
        recipe=_recipe(run),
    )


def _seed(summary: Mapping[str, Any]) -> str:
    return str(summary.get("seed", read_mapping(summary, "settings").get("seed", "")))


def _recipe(run: Run) -> str:
    """Its recipe.yaml, or its settings as JSON."""
    path = run.folder / "recipe.yaml"
    if path.is_file():
        return _read_start(path)
    settings = read_mapping(run.summary, "settings")
    return msgspec.json.format(msgspec.json.encode(settings), indent=2).decode() if settings else ""


def _read_start(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(LONGEST_RECIPE + 1)
    return f"{text[:LONGEST_RECIPE]}\n…" if len(text) > LONGEST_RECIPE else text


def merge_versions(runs: Sequence[Run]) -> dict[str, str]:
    """Package -> version; where runs differ, all of them."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for package, version in read_mapping(run.summary, "versions").items():
            if str(version) not in found.setdefault(str(package), []):
                found[str(package)].append(str(version))
    return {package: " and ".join(versions) for package, versions in sorted(found.items())}
