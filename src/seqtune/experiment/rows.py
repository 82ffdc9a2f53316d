"""The rows of an experiment's arms: given, or built; with a tokenizer in common where the model has none of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from seqtune.building.engine import build
from seqtune.data.reader import read
from seqtune.data.writer import write
from seqtune.experiment.settings import Experiment
from seqtune.experiment.trials import content_hash, content_key, is_made, once
from seqtune.training.words import tiny_tokenizer

FILES = {"chains": "examples.jsonl", "control": "control.jsonl"}  # by what an arm takes of a build


class Planned(NamedTuple):
    """A build of an experiment: its `build:` section, and the name of its folder, which is that of its first arm."""

    section: Mapping[str, Any]
    name: str

    @property
    def key(self) -> str:
        """The same for the same section and the same files in it."""
        return content_key("build", self.section, [content_hash(text) for text in _texts(self.section)])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def planned_builds(experiment: Experiment, seed: int) -> dict[str, Planned]:
    """By arm, its build; arms whose sections are the same share one."""
    own = experiment.settings.build_each_seed
    found: dict[str, Planned] = {}
    for arm, section in experiment.builds.items():
        whole = {**section, "seed": seed} if own else section
        same = next((one for one in found.values() if one.section == whole), None)
        found[arm] = same or Planned(whole, f"{arm}/seed-{seed}" if own else arm)
    return found


def is_known(experiment: Experiment, seed: int) -> bool:
    """Whether the rows can be had without asking a teacher."""
    builds = planned_builds(experiment, seed).values()
    return all(not one.section.get("llm") or is_made(_folder(experiment.out, one), one.key) for one in builds)


def make_rows(experiment: Experiment, seed: int, root: Path, tell: Callable[[str], object] | None) -> dict[str, str]:
    """By arm, the file of its rows, built where they are not there yet, and as many as the others' where that is asked.

    Args:
        experiment: with arms that have rows or are built.
        seed: whose rows, where each has its own.
        root: where to write; what stands finished in the experiment's own folder is taken from there.
        tell: called before a build starts.
    """
    rows = {name: arm.dataset for name, arm in experiment.arms.items()}
    for arm, planned in planned_builds(experiment, seed).items():
        rows[arm] = str(_made(planned, experiment, root, tell) / FILES[experiment.arms[arm].take])
    counts = {arm: sum(1 for _ in read(path)) for arm, path in rows.items()}  # told now what cannot be read
    if experiment.settings.match != "rows":
        return rows
    fewest = min(counts[arm] for arm in experiment.matched)
    larger = [arm for arm in experiment.matched if counts[arm] > fewest]
    own = f"seed-{seed}" if experiment.settings.build_each_seed else "all-seeds"
    return rows | {arm: _sample(rows[arm], counts[arm], fewest, root / "rows" / own / f"{arm}.jsonl") for arm in larger}


def _folder(root: Path, planned: Planned) -> Path:
    return root / "build" / planned.name


def _made(planned: Planned, experiment: Experiment, root: Path, tell: Callable[[str], object] | None) -> Path:
    """The folder of a build, which is made unless it is there."""
    if is_made(_folder(experiment.out, planned), planned.key):
        return _folder(experiment.out, planned)
    folder = _folder(root, planned)
    if tell:
        tell(f"build {planned.name}")
    once(folder, planned.key, lambda: _build(planned.section, folder), tell)
    return folder


def _build(section: Mapping[str, Any], folder: Path) -> None:
    """A build whose teacher is being asked ends in good order when the user stops it; the experiment stops with it."""
    if not build({"build": dict(section)}, out=str(folder), overwrite=True).finished:
        raise KeyboardInterrupt


def _sample(path: str, rows: int, wanted: int, out: Path) -> str:
    """A file of `wanted` rows of another, in their order, drawn in the same way whenever it runs."""
    kept = {*Random(wanted).sample(range(rows), wanted)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write((example for i, example in enumerate(read(path)) if i in kept), out)
    return str(out)


def make_tokenizer(datasets: Mapping[str, str], folder: Path) -> str:
    """One word-level tokenizer that knows the words of all arms, so that they differ in nothing but their rows."""
    rows = (row for path in dict.fromkeys(datasets.values()) for row in read(path))
    tiny_tokenizer(rows).save_pretrained(folder)
    return str(folder)
