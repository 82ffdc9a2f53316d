"""seqtune build"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqtune import console

if TYPE_CHECKING:
    from seqtune.building.engine import Build, Counts, Plan


def build(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe in YAML; none with --from and --chain.")] = None,
    from_: Annotated[list[str] | None, typer.Option("--from", help="Rows: a file, a saved dataset, a hub id.")] = None,
    chain: Annotated[
        list[str] | None, typer.Option(help="A chain, an operation, or steps joined by '+'. Several: a mix.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="The run folder; runs/NAME by default.")] = None,
    parallel: Annotated[str | None, typer.Option(help="The same rows in another language (translate chains).")] = None,
    paraphrases: Annotated[str | None, typer.Option(help="Paraphrases of the inputs (chain paraphrase).")] = None,
    format: Annotated[str | None, typer.Option(help="What the rows are; found from the content by default.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(help="OURS=THEIRS, e.g. instruction=prompt,output=answer.")
    ] = None,
    unfit: Annotated[str | None, typer.Option(help="What becomes of rows no chain fits: skip or plain.")] = None,
    control: Annotated[str | None, typer.Option(help="The same rows unchained: none, rows or tokens.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every draw; 0 by default.")] = None,
    limit: Annotated[int | None, typer.Option(help="Read at most this many rows.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any key of the recipe, e.g. build.plain=0.2.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Use the folder whatever it holds.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built; write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="End with one JSON object, print nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
) -> None:
    """Turn instruction rows into sequential ones ("First ..., then ...")."""
    from seqtune.building import engine

    console.set_mode(quiet=quiet, json=json)
    options: dict[str, Any] = {
        "from": _one_or_many(from_),
        "chain": chain,
        "parallel": parallel,
        "paraphrases": paraphrases,
        "out": out,
        "format": format,
        "columns": _mapping(columns),
        "unfit": unfit,
        "control": control,
        "seed": seed,
        "limit": limit,
        "strict": strict or None,
    }
    sets = tuple(set_ or ())
    if dry_run:
        _preview(engine.plan(recipe, sets=sets, **options))
        return
    with console.progress("build", "rows") as report:
        built = engine.build(
            recipe,
            sets=sets,
            overwrite=overwrite,
            on_progress=lambda c: report(c.read, _so_far(c)),
            on_detect=lambda found: console.note(f"{found.source}: {found.container}, {found.reason}"),
            **options,
        )
    _show(built)
    console.result_json(engine.summarise(built))


def _one_or_many(values: list[str] | None) -> str | list[str] | None:
    return values[0] if values and len(values) == 1 else values or None


def _mapping(pairs: list[str] | None) -> dict[str, str] | None:
    named = [pair for given in pairs or () for pair in given.split(",")]
    for pair in named:
        if "=" not in pair:
            raise typer.BadParameter(f"{pair!r} is not of the form OURS=THEIRS", param_hint="--columns")
    return dict(pair.split("=", 1) for pair in named) or None


def _so_far(counts: Counts) -> str:
    return f"{counts.examples:,} examples, {counts.skipped.total():,} skipped, {counts.failed.total():,} failed"


def _show(built: Build) -> None:
    console.result(
        f"{built.read:,} rows read: {built.examples:,} examples, {built.skipped:,} skipped, {built.failed:,} failed"
    )
    for title, count in built.made.items():
        console.result(f"  {count:,} {title}: {count / built.examples:.1%}, asked {built.asked.get(title, 0):.1%}")
    _show_reasons(built.reasons)
    if built.failed:
        console.result(f"each with place, value and fix in {built.out / 'failed.jsonl'}")
    console.result(f"{built.wall_s:.1f} s; rows in {built.out / 'examples.jsonl'}")


def _show_reasons(reasons: Mapping[str, Mapping[str, int]]) -> None:
    for kind, counted in reasons.items():
        for reason, count in counted.items():
            console.result(f"  {count:,} {kind}: {reason}")


def _preview(plan: Plan) -> None:
    from itertools import islice

    from seqtune.building.engine import Chained, Counts, outcomes
    from seqtune.data.example import prompt_text

    counts = Counts()
    shown = 0
    for outcome in islice(outcomes(plan, counts), 1000):
        if isinstance(outcome, Chained) and shown < 3:
            shown += 1
            console.result(f"--- row {shown}\n{prompt_text(outcome.example)}\n>>>\n{outcome.example.output}\n")
    console.result(f"of the first {counts.read:,} rows: {_so_far(counts)}")
    reasons = {"skipped": dict(counts.skipped.most_common()), "failed": dict(counts.failed.most_common())}
    _show_reasons(reasons)
    console.result(f"nothing was written; the rows would go to {plan.out}")
    console.result_json(
        {
            "dry_run": True,
            "read": counts.read,
            "examples": counts.examples,
            "skipped": counts.skipped.total(),
            "failed": counts.failed.total(),
            "reasons": reasons,
            "out": str(plan.out),
        }
    )
