"""How the runs were made: commands, seeds, versions, times, recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seqtune.report.runs import Run

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
        command=f"seqtune {run.command}" if run.command else "unknown",
        state=STATES[run.finished] if run.summary else "run.json cannot be read",
        seed=_seed(run.summary),
        seconds=_seconds(run.summary),
        recipe=_recipe(run),
    )


def _seed(summary: Mapping[str, Any]) -> str:
    settings = summary.get("settings")
    told = settings.get("seed") if isinstance(settings, Mapping) else None
    return str(summary.get("seed", "" if told is None else told))


def _seconds(summary: Mapping[str, Any]) -> float | None:
    result = summary.get("result")
    places = [summary, result if isinstance(result, Mapping) else {}]
    found = [place.get(name) for place in places for name in ("wall_s", "seconds")]
    return next((float(value) for value in found if isinstance(value, int | float)), None)


def _recipe(run: Run) -> str:
    """Its recipe.yaml, or its settings as JSON."""
    path = run.folder / "recipe.yaml"
    if path.is_file():
        return _read_start(path)
    settings = run.summary.get("settings")
    return msgspec.json.format(msgspec.json.encode(settings), indent=2).decode() if settings else ""


def _read_start(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(LONGEST_RECIPE + 1)
    return f"{text[:LONGEST_RECIPE]}\n…" if len(text) > LONGEST_RECIPE else text


def merge_versions(runs: Sequence[Run]) -> dict[str, str]:
    """Package -> version; where runs differ, all of them."""
    found: dict[str, list[str]] = {}
    for run in runs:
        versions = run.summary.get("versions")
        for package, version in versions.items() if isinstance(versions, Mapping) else ():
            if str(version) not in found.setdefault(str(package), []):
                found[str(package)].append(str(version))
    return {package: " and ".join(versions) for package, versions in sorted(found.items())}
