"""Run folders of finished evaluations, read to be compared, and whether they may be: nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seqtune.data.example import Example
from seqtune.data.folder import read_summary
from seqtune.errors import DataError, RecipeError, RunFolderError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.figures import Figures
from seqtune.evaluation.headline import Headline
from seqtune.evaluation.ledger import read_records
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.suite import GOLD, GROUP
from seqtune.evaluation.tax import ChainTax

METRICS = "metrics.json"


class Metrics(msgspec.Struct, frozen=True):
    """What of metrics.json is read."""

    suite: str = ""
    model: str = ""
    judge: str = ""
    items: int = 0
    answered: int = 0
    headline: Headline | None = None
    figures: tuple[Figures, ...] = ()
    chain_taxes: tuple[ChainTax, ...] = ()


class RunFolder(NamedTuple):
    """A run folder of `seqtune eval`, read; `scored` holds what the judge of metrics.json said, of an item the last."""

    name: str
    folder: Path
    summary: Mapping[str, Any]
    metrics: Metrics
    items: Mapping[str, Example]
    answers: Mapping[str, Answer]
    scored: Mapping[str, Scored]


def open_runs(
    folders: Sequence[str | Path], names: Sequence[str] | None = None, *, scored: bool = True
) -> list[RunFolder]:
    """Run folders of finished evaluations, read and named.

    Args:
        folders, names: see `compare`.
        scored: whether they must have been scored, and not merely answered.

    Raises:
        RecipeError: less than two, or the same twice.
        RunFolderError, DataError: see `compare`.
    """
    places = [Path(folder).resolve() for folder in folders]
    if len(places) < 2:
        raise RecipeError(f"{len(places)} run to compare", fix="give two run folders of seqtune eval, or more")
    for twice in [place for i, place in enumerate(places) if place in places[:i]][:1]:
        raise RecipeError("the same run is given twice", where=str(twice), fix="name each run once")
    called = names or _names(places)
    return [_read_run(Path(folder), name, scored) for folder, name in zip(folders, called, strict=True)]


def unscored(folders: Sequence[str | Path]) -> list[Path]:
    """Those of the run folders that hold no figures yet."""
    return [Path(folder) for folder in folders if not (Path(folder) / METRICS).is_file()]


def read_evaluation(folder: Path) -> dict[str, Any]:
    """What the run.json of a finished evaluation says whose items and answers stand beside it.

    Raises:
        RunFolderError: no finished evaluation stands there, or one of lm-evaluation-harness, which keeps its own files.
    """
    summary = read_summary(folder)
    if summary.get("command") != "eval":
        raise RunFolderError("this is no run of 'seqtune eval'", where=str(folder), fix="give the folder of one")
    if summary.get("harness"):
        what = "this is a run of lm-evaluation-harness, which has no items of ours: metrics.json holds all its figures"
        raise RunFolderError(what, where=str(folder), fix="give the folder of a run of another suite")
    return summary


def _names(places: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    tails = (["/".join(place.parts[-length:]) for place in places] for length in count(1))
    return next(names for names in tails if len({*names}) == len(names))


def _read_run(folder: Path, name: str, needs_scores: bool) -> RunFolder:
    summary = read_evaluation(folder)
    metrics = _read_metrics(folder, summary, needs_scores)
    items = {item.id: item for item in read_records(folder / "items.jsonl", Example)}
    answers = {answer.item: answer for answer in read_records(folder / "answers.jsonl", Answer)}
    verdicts = read_records(folder / "verdicts.jsonl", Scored) if metrics.headline else ()
    scored = {one.item: one for one in verdicts if one.judge == metrics.judge}
    return RunFolder(name, folder, summary, metrics, items, answers, scored)


def _read_metrics(folder: Path, summary: Mapping[str, Any], needs_scores: bool) -> Metrics:
    path, fix = folder / METRICS, f"score it: seqtune eval --phase judge --out {folder}"
    if not path.is_file() and needs_scores:
        raise RunFolderError("the answers were not scored yet", where=str(folder), fix=fix)
    if not path.is_file():
        return Metrics(model=str(summary.get("settings", {}).get("model", "")))
    try:
        return msgspec.json.decode(path.read_bytes(), type=Metrics)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not what seqtune eval writes: {error}", where=str(path), fix=fix) from None


# --- what may be compared


def check_alike(runs: Sequence[RunFolder], *, force: bool, judged: bool = True) -> list[str]:
    """What makes the runs unlike the first; with `force` it is told, else refused.

    Args:
        runs: of `open_runs`.
        force: whether unlike runs may pass.
        judged: whether it matters who scored them.

    Raises:
        RecipeError: they are unlike and not forced, or have no item in common.
    """
    unlike = {run.name: ", ".join(_unlike(runs[0], run, judged)) for run in runs[1:]}
    told = [f"{name} and {runs[0].name} differ in {parts}" for name, parts in unlike.items() if parts]
    if told and not force:
        raise RecipeError("; ".join(told), fix="compare runs of the same items, judge and checklist, or pass --force")
    for run in runs[1:]:
        if runs[0].items.keys().isdisjoint(run.items):
            raise RecipeError(f"{run.name} and {runs[0].name} have no item in common", fix="compare runs of one suite")
    return told


def _unlike(first: RunFolder, other: RunFolder, judged: bool) -> Iterator[str]:
    settings = [run.summary.get("settings", {}) for run in (other, first)]
    for what in ("suite", "scorer") if judged else ("suite",):
        yield from _difference_of(what, *[str(one.get(what, "")) for one in settings])
    if settings[0].get("items") != settings[1].get("items"):
        common = len(first.items.keys() & other.items.keys())
        counts = f"{len(other.items):,} and {len(first.items):,}, of which {common:,} are the same"
        yield f"items ({counts}{_unlike_items(first.items, other.items)})"
    if judged:
        yield from _unlike_judges(other.metrics.judge, first.metrics.judge)


def _unlike_items(first: Mapping[str, Example], other: Mapping[str, Example]) -> str:
    """In what the items differ that both have, and in how many."""
    pairs = [(first[item], other[item]) for item in first.keys() & other.keys()]
    counts = {
        "split": sum(one.meta.get(GROUP) != two.meta.get(GROUP) for one, two in pairs),
        "right answer": sum((one.meta.get(GOLD), one.steps) != (two.meta.get(GOLD), two.steps) for one, two in pairs),
    }
    told = [f"{count:,} with another {what}" for what, count in counts.items() if count]
    if not told and first.keys() == other.keys() and [*first] != [*other]:
        told = ["in another order"]
    return f", {' and '.join(told)}" if told else ""


def _unlike_judges(one: str, two: str) -> Iterator[str]:
    """As a whole where they are two models, else in what differs: MODEL | prompts | checklist."""
    parts = [*zip_longest(one.split(" | "), two.split(" | "), fillvalue="")]
    if parts[0][0] != parts[0][1]:
        yield from _difference_of("judge", one, two)
        return
    for name, part in zip(("prompts of the judge", "checklist"), parts[1:], strict=False):
        yield from _difference_of(name, *part)


def _difference_of(what: str, one: str, two: str) -> Iterator[str]:
    if one != two:
        yield f"{what} ({one or 'none'} and {two or 'none'})"
