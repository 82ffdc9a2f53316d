"""The build: rows in, chains out; every row read ends in exactly one of examples, skipped and failed."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import msgspec
import xxhash

from seqtune.building.flow import (
    NO_MORE_THOUGHTS,
    Chained,
    Counts,
    Halt,
    OnDetect,
    OnProgress,
    Outcome,
    Skipped,
    outcomes,
    taught_outcomes,
)
from seqtune.building.mix import THOUGHTS, Mix
from seqtune.building.settings import ONLY_RUNNING, BuildSettings, check_build, describe, name_chains
from seqtune.building.tokens import count_tokens
from seqtune.data.example import Example
from seqtune.data.folder import check_folder, replacing, versions, working_in, write_summary
from seqtune.data.reader import read
from seqtune.errors import RecipeError
from seqtune.llm.endpoint import named_model
from seqtune.recipe import Document, check_sections, put, read_recipe, refuse, write_recipe

PROGRESS_EVERY = 1000  # rows, where no teacher is asked


@dataclass(frozen=True)
class Build:
    """A build that has ended.

    Args:
        out: the run folder.
        finished: False where the user stopped it: the rows that were not at their end are left out.
        examples, skipped, failed: numbers of rows; together the rows read.
        reasons: why rows were skipped or failed, by number of rows; and where chain-of-thought rows ran out, how many
            are "missing".
        made: rows of each part of the mix; `asked` holds the shares that the recipe asked for.
        steps: rows by number of steps.
        control: numbers of rows (and tokens) of the control set, where there is one.
        teacher: what the teacher was asked, by stage, what it chose, what the gates said, and what it cost; empty
            where there was none.
        seed: of every draw.
        wall_s: how long it took.
    """

    out: Path
    finished: bool
    read: int
    examples: int
    skipped: int
    failed: int
    reasons: Mapping[str, Mapping[str, int]]
    made: Mapping[str, int]
    asked: Mapping[str, float]
    steps: Mapping[str, int]
    control: Mapping[str, int]
    teacher: Mapping[str, Any]
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
    document.add("build", given)
    document.values["build"] = name_chains(document.values["build"])  # so that --set can go into each
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
    return f"{Path(settings.sources[0]).name.split('.')[0]}-{settings.chains[0]['chain']}"


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
        on_progress: called with the counts so far: every thousand rows, or twice a second where a teacher is asked.
        on_detect: called with how each source is read.

    Raises:
        RecipeError: a problem in the recipe.
        DataError: the source cannot be read; with `strict`, a bad row.
        TeacherError: the teacher cannot be asked, or the budget is spent; the rows that were finished are written.
        RunFolderError: the folder holds something else, or cannot be written.
    """
    planned = plan(recipe, sets=sets, **options)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _build(planned, overwrite, on_progress, on_detect)
    # In a notebook a loop runs already, and a build has one of its own.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_build, planned, overwrite, on_progress, on_detect).result()


def _build(planned: Plan, overwrite: bool, on_progress: OnProgress | None, on_detect: OnDetect | None) -> Build:
    settings = planned.settings
    started, counts, halt = time.perf_counter(), Counts(), Halt()
    if settings.llm:
        made = taught_outcomes(settings, planned.mix, counts, halt, on_detect, on_progress)
    else:
        made = _telling(outcomes(settings, planned.mix, counts, on_detect), counts, on_progress)
    values = settings.model_dump(by_alias=True, mode="json", exclude_none=True)
    claimed = {"command": "build", "fingerprint": _fingerprint(settings, values)}
    check_folder(planned.out, **claimed, overwrite=overwrite)
    with _collector_resting(), closing(made), ExitStack() as stack:
        first = [*islice(made, 1)]  # a source or a table that cannot be read is told before the folder is touched
        if halt.error and not first:
            raise halt.error
        stack.enter_context(working_in(planned.out, **claimed, overwrite=overwrite))
        _write_rows(planned, chain(first, made))
        control = _control(planned, counts, finished=not halt)
        built = _finish(planned, counts, control, time.perf_counter() - started, finished=not halt)
        write_recipe({"build": values}, planned.out / "recipe.yaml")
        write_summary(planned.out, {**claimed, **summarise(built)})
    if halt.error:
        raise halt.error
    return built


def _telling(made: Iterator[Outcome], counts: Counts, on_progress: OnProgress | None) -> Generator[Outcome, None, None]:
    for outcome in made:
        yield outcome
        if on_progress and counts.read % PROGRESS_EVERY == 0:
            on_progress(counts)


_encode = msgspec.json.Encoder().encode


def _write_rows(planned: Plan, made: Iterable[Outcome]) -> None:
    names = ("examples", "skipped", "failed", *(["control"] if planned.settings.control != "none" else []))
    with ExitStack() as stack:
        files = {name: stack.enter_context(replacing(planned.out / f"{name}.jsonl")) for name in names}
        for outcome in made:
            _file_away(outcome, files)


def _file_away(outcome: Outcome, files: Mapping[str, IO[bytes]]) -> None:
    if isinstance(outcome, Chained):
        files["examples"].write(_encode(outcome.example) + b"\n")
        if "control" in files:
            files["control"].write(_encode(outcome.control) + b"\n")
    elif isinstance(outcome, Skipped):
        files["skipped"].write(_encode({**msgspec.to_builtins(outcome.why), "example": outcome.example}) + b"\n")
    else:
        files["failed"].write(_encode(outcome) + b"\n")


def _control(planned: Plan, counts: Counts, *, finished: bool) -> dict[str, int]:
    """What the control set came to."""
    kind = planned.settings.control
    if kind == "tokens" and counts.examples and finished:
        return _match_tokens(planned)
    return {} if kind == "none" else {"rows": counts.examples}


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


def _finish(planned: Plan, counts: Counts, control: dict[str, int], wall_s: float, *, finished: bool) -> Build:
    return Build(
        out=planned.out,
        finished=finished,
        read=counts.done,
        examples=counts.examples,
        skipped=counts.skipped.total(),
        failed=counts.failed.total(),
        reasons=_reasons(counts),
        made=dict(counts.made.most_common()),
        asked=describe(planned.mix, planned.settings.thoughts),
        steps={str(steps): rows for steps, rows in sorted(counts.steps.items())},
        control=control,
        teacher=_taught(counts) if planned.settings.llm else {},
        seed=planned.settings.seed,
        wall_s=round(wall_s, 3),
    )


def _reasons(counts: Counts) -> dict[str, dict[str, int]]:
    reasons = {"skipped": dict(counts.skipped.most_common()), "failed": dict(counts.failed.most_common())}
    return {**reasons, "missing": {NO_MORE_THOUGHTS: counts.missing}} if counts.missing else reasons


def _taught(counts: Counts) -> dict[str, Any]:
    """What the teacher did and cost, as JSON."""
    tally, spent, kept = counts.tally, counts.spent, max(counts.examples - counts.made[THOUGHTS], 1)
    stages = {name: asdict(stage) for name, stage in tally.stages.items()}
    calls = sum(stage.calls for stage in tally.stages.values())
    tokens = sum(stage.prompt_tokens + stage.completion_tokens for stage in tally.stages.values())
    return {
        "model": counts.model,
        "judge": counts.judge,
        "stages": stages,
        "choices": {str(number): dict(chosen) for number, chosen in sorted(tally.choices.items())},
        "gates": [
            {"gate": gate, "reason": reason, "became": became, "rows": rows}
            for (gate, reason, became), rows in tally.gates.most_common()
        ],
        "words_a_kept_row": {name: round(words / kept, 1) for name, words in asdict(counts.words).items()},
        "calls_a_kept_row": round(calls / kept, 2),
        "tokens_a_kept_row": round(tokens / kept, 1),
        "left_out": sorted(set().union(*[meter.left_out for meter in counts.meters])),
        "sent": spent.sent,
        "retried": spent.retried,
        "from_store": spent.from_store,
        "prompt_tokens_paid": spent.prompt_tokens,
        "completion_tokens_paid": spent.completion_tokens,
        "cost_usd": counts.cost_usd,
    }


def summarise(built: Build) -> dict[str, Any]:
    """The counts of a build as one JSON object."""
    return {**msgspec.to_builtins(built, enc_hook=str), "versions": versions()}


def _fingerprint(settings: BuildSettings, values: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in values.items() if name not in ONLY_RUNNING}
    for name in ("llm", "judge"):  # the same model at another address is the same build
        kept[name] = named_model(getattr(settings, name)).model if getattr(settings, name) else ""
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
