"""One self-contained page about the runs in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from seqtune.data.folder import replacing
from seqtune.report.arms import describe_experiment, left_over
from seqtune.report.built import describe_build, describe_demo, read_caveat
from seqtune.report.compared import describe_comparisons
from seqtune.report.following import describe_following, model_name
from seqtune.report.losses import describe_training, draw_losses, draw_memory, draw_speeds
from seqtune.report.plot import SERIES, series_of
from seqtune.report.provenance import describe_run, merge_versions
from seqtune.report.runs import Run, find_runs, split_seed
from seqtune.report.sections import find_sections
from seqtune.report.templates import open_template

NAME = "report.html"


def write_report(
    folder: str | Path, out: str | Path | None = None, *, caveat: str = "", title: str = "", samples: int = 12
) -> Path:
    """Write one HTML page about all runs in a folder and below it. It needs no script, no network and no other file.

    Args:
        folder: searched for run folders of `seqtune build`, `train`, `eval` and `demo`.
        out: the page; report.html in the folder by default.
        caveat: what a reader of the results must know; it stands beside them. By default that of `seqtune demo`.
        title: of the page; the folder's name by default.
        samples: rows shown of each build.

    Returns:
        The path of the page.

    Raises:
        RunFolderError: there is no such folder, no run in it, or the page cannot be written.
    """
    folder = Path(folder)
    runs = find_runs(folder)
    path = Path(out) if out else folder / NAME
    html = _render(runs, caveat=caveat, title=title or folder.resolve().name, samples=samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        # A row may hold half of a surrogate pair, which UTF-8 has no bytes for.
        file.write(html.encode("utf-8", "replace"))
    return path


def pick_series(names: Iterable[str]) -> dict[str, int]:
    """Which series each run is in the plots: colours tell arms apart, dashes and marks their seeds.

    Args:
        names: of runs.
    """
    parts = {name: split_seed(name) for name in names}
    arms, seeds = ([*dict.fromkeys(ones)] for ones in zip(*parts.values(), strict=True)) if parts else ([], [])
    if len(seeds) == 1 or len(seeds) * -(-len(arms) // SERIES) > SERIES:
        return {name: i for i, name in enumerate(parts)}
    places = {name: (arms.index(arm), seeds.index(seed)) for name, (arm, seed) in parts.items()}
    # Beyond six arms colours come again, with the marks that no seed has taken yet.
    return {name: series_of(arm, seed + len(seeds) * (arm // SERIES)) for name, (arm, seed) in places.items()}


def _render(runs: Sequence[Run], *, caveat: str, title: str, samples: int) -> str:
    old = left_over(runs)
    whole = [run for run in runs if run.finished and run not in old]
    builds, trainings, evaluations, demos, asked = (
        [run for run in whole if run.command == command] for command in ("build", "train", "eval", "demo", "compare")
    )
    names = [run.name for run in trainings] + [model_name(run, trainings) for run in evaluations]
    series, sections = pick_series(names), find_sections(evaluations)
    built = [describe_build(run, samples) for run in builds]
    built += [one for run in demos for one in describe_demo(run, samples)]
    return open_template("page.html").render(
        title=title,
        caveat=caveat or next(filter(None, map(read_caveat, demos)), ""),
        builds=built,
        compared=any(card.before for one in built for card in one.cards),
        trainings=[describe_training(run, series[run.name]) for run in trainings],
        losses=draw_losses(trainings, series),
        speeds=draw_speeds(trainings, series),
        memory=draw_memory(trainings, series),
        experiments=[one for run in whole if (one := describe_experiment(run))],
        followed=describe_following(sections, trainings, series),
        comparisons=describe_comparisons(sections, trainings, series, asked),
        left_over=[run.name for run in old],
        made=[describe_run(run) for run in runs if run not in old],
        versions=merge_versions(runs),
    )
