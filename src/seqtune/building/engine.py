"""The build: rows in, chains out; every row read ends in exactly one of examples, skipped and failed."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import xxhash

from seqtune.building.gold import Skip
from seqtune.building.mix import Mix, transform
from seqtune.building.settings import BuildSettings, check_build, describe
from seqtune.building.tokens import count_tokens
from seqtune.data.detection import Detection
from seqtune.data.example import Example
from seqtune.data.failure import Failure
from seqtune.data.folder import claim_folder, replacing, versions, write_summary
from seqtune.data.ids import IdSet
from seqtune.data.reader import read, rows
from seqtune.errors import DataError, RecipeError
from seqtune.recipe import Document, check_sections, put, read_recipe, refuse, write_recipe

DUPLICATE = "the same row, with the same own id, stands earlier"
PROGRESS_EVERY = 1000  # rows

OnProgress = Callable[["Counts"], None]
OnDetect = Callable[[Detection], object]


@dataclass
class Counts:
    """What became of the rows so far."""

    read: int = 0
    examples: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Build:
    """A finished build.

    Args:
        out: the run folder.
        examples, skipped, failed: numbers of rows; together the rows read.
        reasons: why rows were skipped or failed, by number of rows.
        made: rows of each part of the mix; `asked` holds the shares that the recipe asked for.
        steps: rows by number of steps.
        control: numbers of rows (and tokens) of the control set, where there is one.
        seed: of every draw.
        wall_s: how long it took.
    """

    out: Path
    read: int
    examples: int
    skipped: int
    failed: int
    reasons: Mapping[str, Mapping[str, int]]
    made: Mapping[str, int]
    asked: Mapping[str, float]
    steps: Mapping[str, int]
    control: Mapping[str, int]
    seed: int
    wall_s: float

    def rows(self) -> Iterator[Example]:
        """The examples, read back from the run folder."""
        return read(str(self.out / "examples.jsonl")) if self.examples else iter(())


@dataclass(frozen=True)
class Plan:
    """A checked build: its settings, its mix, and where the rows go."""

    settings: BuildSettings
    mix: Mix
    out: Path


def plan(recipe: str | Path | Mapping[str, Any] | None = None, *, sets: tuple[str, ...] = (), **options: Any) -> Plan:
    """Check a recipe, and options put over it, without touching the data.

    Args:
        recipe: a YAML file, or the same as a mapping with a section "build"; None where options say everything.
        sets: "build.seed=7" and the like.
        options: fields of `BuildSettings`; `chain` (a name or several) stands for `chains`.

    Raises:
        RecipeError: with every problem at once.
    """
    document = _document(recipe)
    given = {name.rstrip("_"): value for name, value in options.items() if value is not None}
    if one_or_more := given.pop("chain", None):
        given["chains"] = [one_or_more] if isinstance(one_or_more, str | dict) else [*one_or_more]
    section = document.values.get("build")
    section = {**section, **given} if isinstance(section, dict) else given
    if isinstance(names := section.get("chains"), list):
        section["chains"] = [{"chain": entry} if isinstance(entry, str) else entry for entry in names]
    document.values["build"] = section
    document = put(document, sets)
    settings, mix, problems = check_build(document)
    refuse([*check_sections(document), *problems])
    if settings is None or mix is None:
        raise RecipeError("the recipe holds no build")
    name = str(document.values.get("name") or _default_name(settings))
    return Plan(settings, mix, Path(settings.out or f"runs/{name}"))


def _document(recipe: str | Path | Mapping[str, Any] | None) -> Document:
    if recipe is None or isinstance(recipe, Mapping):
        return Document(dict(recipe or {}), "the recipe" if recipe else "options")
    return read_recipe(recipe)


def _default_name(settings: BuildSettings) -> str:
    source = settings.from_ if isinstance(settings.from_, str) else settings.from_[0]
    return f"{Path(source).name.split('.')[0]}-{settings.chains[0]['chain']}"


def build(
    recipe: str | Path | Mapping[str, Any] | None = None,
    *,
    sets: tuple[str, ...] = (),
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    on_detect: OnDetect | None = None,
    **options: Any,
) -> Build:
    """Turn instruction rows into sequential ones, and write a run folder.

    Args:
        recipe, sets, options: see `plan`; for example `build(from_="rows.json", chain="repeat", out="runs/first")`.
        overwrite: replace what stands in the folder, whatever it is.
        on_progress: called with the counts so far every thousand rows.
        on_detect: called with how each source is read.

    Raises:
        RecipeError: a problem in the recipe.
        DataError: the source cannot be read; with `strict`, a bad row.
        RunFolderError: the folder holds something else, or cannot be written.
    """
    planned = plan(recipe, sets=sets, **options)
    values = planned.settings.model_dump(by_alias=True, mode="json", exclude_none=True)
    started = time.perf_counter()
    counts = Counts()
    made = outcomes(planned, counts, on_detect)
    first = [*islice(made, 1)]  # a source or a table that cannot be read is told before the folder is touched
    fingerprint = _fingerprint(values)
    claim_folder(planned.out, "build", fingerprint, overwrite=overwrite)
    with _collector_resting(), ExitStack() as stack:
        files = {
            name: stack.enter_context(replacing(planned.out / f"{name}.jsonl"))
            for name in ("examples", "skipped", "failed", *(["control"] if planned.settings.control != "none" else []))
        }
        for outcome in chain(first, made):
            _file_away(outcome, files)
            if on_progress and counts.read % PROGRESS_EVERY == 0:
                on_progress(counts)
    control = _match_tokens(planned) if planned.settings.control == "tokens" and counts.examples else {}
    built = _finish(planned, counts, control, time.perf_counter() - started)
    write_recipe({"build": values}, planned.out / "recipe.yaml")
    write_summary(planned.out, {"command": "build", "fingerprint": fingerprint, **summarise(built)})
    return built


class Chained(NamedTuple):
    """A row of the result, and the row it was made from."""

    example: Example
    parent: Example


class Skipped(NamedTuple):
    """A row that no chain fits, and why."""

    reason: str
    example: Example


def outcomes(planned: Plan, counts: Counts, on_detect: OnDetect | None = None) -> Iterator[Chained | Skipped | Failure]:
    """What becomes of each row, in the order of the source; counts along.

    Raises:
        DataError: the source cannot be read; with `strict`, at the first bad row.
    """
    settings, mix = planned.settings, planned.mix
    seen = IdSet() if settings.duplicates == "skip" else None
    for row in _rows(settings, on_detect):
        counts.read += 1
        if isinstance(row, Failure):
            counts.failed[row.reason] += 1
            yield row
        elif seen is not None and not seen.add(row.id):
            counts.skipped[DUPLICATE] += 1
            yield Skipped(DUPLICATE, row)
        elif isinstance(made := transform(row, mix), Skip):
            counts.skipped[made.reason] += 1
            yield Skipped(made.reason, row)
        else:
            counts.examples += 1
            counts.made[made.title] += 1
            counts.steps[len(made.example.steps) or 1] += 1
            yield Chained(made.example, row)


def _rows(settings: BuildSettings, on_detect: OnDetect | None) -> Iterator[Example | Failure]:
    sources = [settings.from_] if isinstance(settings.from_, str) else settings.from_
    found = chain.from_iterable(
        rows(source, format=settings.format, columns=settings.columns, on_detect=on_detect) for source in sources
    )
    for row in islice(found, settings.limit):
        if settings.strict and isinstance(row, Failure):
            raise DataError(str(row), fix=f"{row.fix or 'mend the row'}; without --strict it is counted and left out")
        yield row


_encode = msgspec.json.Encoder().encode


def _file_away(outcome: Chained | Skipped | Failure, files: Mapping[str, IO[bytes]]) -> None:
    if isinstance(outcome, Chained):
        files["examples"].write(_encode(outcome.example) + b"\n")
        if "control" in files:
            files["control"].write(_encode(outcome.parent) + b"\n")
    elif isinstance(outcome, Skipped):
        files["skipped"].write(_encode({"reason": outcome.reason, "example": outcome.example}) + b"\n")
    else:
        files["failed"].write(_encode(outcome) + b"\n")


def _match_tokens(planned: Plan) -> dict[str, int]:
    """Repeat the control rows, in their order, until they have as many tokens as the examples."""
    path = planned.out / "control.jsonl"
    wanted = sum(count_tokens(example) for example in read(str(planned.out / "examples.jsonl")))
    count = tokens = 0
    with replacing(path) as file:
        while tokens < wanted:
            for example in read(str(path)):
                file.write(_encode(example) + b"\n")
                count, tokens = count + 1, tokens + count_tokens(example)
                if tokens >= wanted:
                    break
    return {"rows": count, "tokens": tokens, "wanted_tokens": wanted}


def _finish(planned: Plan, counts: Counts, control: dict[str, int], wall_s: float) -> Build:
    if planned.settings.control == "rows":
        control = {"rows": counts.examples}
    return Build(
        out=planned.out,
        read=counts.read,
        examples=counts.examples,
        skipped=counts.skipped.total(),
        failed=counts.failed.total(),
        reasons={"skipped": dict(counts.skipped.most_common()), "failed": dict(counts.failed.most_common())},
        made=dict(counts.made.most_common()),
        asked=describe(planned.mix),
        steps={str(steps): rows for steps, rows in sorted(counts.steps.items())},
        control=control,
        seed=planned.settings.seed,
        wall_s=round(wall_s, 3),
    )


def summarise(built: Build) -> dict[str, Any]:
    """The counts of a build as one JSON object."""
    return {"finished": True, **msgspec.to_builtins(built, enc_hook=str), "versions": versions()}


def _fingerprint(values: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in values.items() if name != "out"}
    return xxhash.xxh3_64_hexdigest(msgspec.json.encode(kept, order="deterministic"))


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Let the garbage collector look rarely: rows make no cycles, and its looks cost a tenth of a build."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
