"""seqtune experiment, seqtune demo"""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqtune import console

if TYPE_CHECKING:
    from seqtune.evaluation.statistics.measure import Measure
    from seqtune.experiment.results import Results
    from seqtune.experiment.run import Prospect
    from seqtune.training.loss import Loss

SEEDS = 3  # of the long demo

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Use the folder whatever it holds; finished runs are kept.")
]
Json = Annotated[bool, typer.Option("--json", help="End with one JSON object, print nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")]


def experiment(
    recipe: Annotated[Path, typer.Argument(help="A recipe with a section 'experiment:'; options go over it.")],
    from_: Annotated[str | None, typer.Option("--from", help="Rows to build from.")] = None,
    model: Annotated[str | None, typer.Option(help="tiny (from scratch), a local folder, or a hub id.")] = None,
    out: Annotated[str | None, typer.Option(help="The folder for everything.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Several: each arm is trained with each.")] = None,
    match: Annotated[str | None, typer.Option(help="What arms are equal in: rows, tokens or steps.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any key of the recipe, e.g. train.epochs=2.")] = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and test several arms (such as IT and SIT) with several seeds, and say how far they differ."""
    from seqtune.experiment.run import look_ahead, plan_experiment, run_experiment

    console.set_mode(quiet=quiet, json=json)
    options: dict[str, Any] = {"from_": from_, "model": model, "out": out, "seeds": seed or None, "match": match}
    if dry_run:
        planned = plan_experiment(recipe, sets=set_ or (), **options)
        _show_prospects(look_ahead(planned), planned.settings.match, planned.out)
        return
    with console.stages() as say:
        done = run_experiment(
            recipe,
            sets=set_ or (),
            overwrite=overwrite,
            say=lambda stage, at: say(stage, _so_far(at)),
            tell=console.note,
            **options,
        )
    _show_results(done.results)
    console.result(f"\n{done.out / 'results.md'} has the table; seqtune report {done.out} makes a page of all runs")
    console.result_json(done)


def _show_prospects(found: list[Prospect], match: str, out: Path) -> None:
    columns = ["arm", "seed", "after", "rows", "left out", "tokens", "steps", "training", "evaluation"]
    console.result(console.table("", columns, [_prospect_row(one) for one in found]))
    if any(one.size is None and not one.after for one in found):
        console.result("? is known once the rows are built, which asks a teacher: see seqtune build RECIPE --dry-run")
    elif any(one.size is None for one in found):
        console.result("? is known once the arm that it goes on from is trained")
    console.result(f"arms are matched in {match}; nothing was written; everything would go to {out}")
    console.result_json(found)


def _prospect_row(one: Prospect) -> list[object]:
    sizes = [f"{n:,}" for n in astuple(one.size)] if one.size else ["?"] * 4
    done = ["finished" if made else "to do" for made in (one.trained, one.tested)]
    return [one.arm, one.seed, one.after, *sizes, *done]


def _show_results(results: Results) -> None:
    from seqtune.experiment.table import legend, table_rows, taken_rows

    console.result(console.table("", *table_rows(results)))
    console.result(f"\n{legend(results)}\n")
    console.result(console.table("", *taken_rows(results)))
    for text in results.notes:
        console.result(f"\n{text}")


def demo(
    out: Annotated[Path | None, typer.Option(help="The folder; runs/demo, or runs/demo-long, by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the rows, the weights and the items; with --long the first of 3.")] = 0,
    long: Annotated[bool, typer.Option("--long", help="Seven arms and three seeds; about ten minutes.")] = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole loop in a few minutes: build, train two small models on the CPU, score every step, report."""
    console.set_mode(quiet=quiet, json=json)
    if long:
        _long_demo(out or Path("runs/demo-long"), seed, overwrite)
    else:
        _demo(out or Path("runs/demo"), seed, overwrite)


def _demo(out: Path, seed: int, overwrite: bool) -> None:
    from seqtune.demo import demo as run_demo
    from seqtune.report import write_report

    with console.stages() as say:
        done = run_demo(out, seed=seed, overwrite=overwrite, say=lambda stage, at: say(stage, _so_far(at)))
    page = write_report(out, caveat=done.caveat, title="seqtune demo")
    rows = [[c.group, c.steps, c.items, _percent(c.it), _percent(c.sit)] for c in done.table]
    columns = ["items", "steps", "number", "IT: whole chain right (95 %)", "SIT: whole chain right (95 %)"]
    console.result(console.table("", columns, rows))
    console.result(f"\n{done.caption}\n\n{done.caveat}\n\nreport: {page}")
    console.result_json({"out": out, "report": page, "table": done.table, "caveat": done.caveat})


def _long_demo(out: Path, seed: int, overwrite: bool) -> None:
    from seqtune.demo import long_demo
    from seqtune.report import write_report

    seeds = range(seed, seed + SEEDS)
    with console.stages() as say:
        done = long_demo(out, seeds=seeds, overwrite=overwrite, say=lambda stage, at: say(stage, _so_far(at)))
    page = write_report(out, caveat=done.caveat, title="seqtune demo --long")
    _show_results(done.results)
    console.result(f"\n{done.caption}\n\nreport: {page}")
    console.result_json({"out": out, "report": page, "results": done.results})


def _percent(share: Measure) -> str:
    return "-" if share.value is None else f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _so_far(at: Loss | int) -> str:
    if isinstance(at, int):
        return f"{at:,} items"
    return f"step {at.step:,} of {at.steps:,}, loss {at.loss:.3f}, {at.tokens_per_s:,.0f} tokens/s"
