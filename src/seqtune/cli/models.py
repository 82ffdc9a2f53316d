"""seqtune train, seqtune eval, seqtune report, seqtune demo"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqtune import console

if TYPE_CHECKING:
    from seqtune.evaluation.run import Evaluation
    from seqtune.evaluation.statistics import Share
    from seqtune.training.loss import Loss

Recipe = Annotated[Path | None, typer.Argument(help="A recipe in YAML; options go over it.")]
Out = Annotated[str | None, typer.Option(help="The run folder.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Any key of the recipe, e.g. train.seed=1.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Use the folder whatever it holds.")]
Json = Annotated[bool, typer.Option("--json", help="End with one JSON object, print nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")]


def train(
    recipe: Recipe = None,
    dataset: Annotated[str | None, typer.Option(help="Rows, e.g. the examples.jsonl of a build.")] = None,
    model: Annotated[str | None, typer.Option(help="tiny (from scratch), a local folder, or a hub id.")] = None,
    out: Out = None,
    seed: Annotated[int | None, typer.Option(help="Of the order of rows, and of the weights of tiny.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.")] = None,
    set_: Sets = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a model on rows; the loss is on their answers only."""
    from seqtune.recipe import section_options
    from seqtune.training.run import train as run_training
    from seqtune.training.settings import TrainSettings

    console.set_mode(quiet=quiet, json=json)
    given: dict[str, Any] = {"dataset": dataset, "model": model, "out": out, "seed": seed, "epochs": epochs}
    given["overwrite"] = overwrite or None
    options = section_options("train", TrainSettings, recipe, set_ or (), given)
    with console.progress("train", "steps") as report:
        done = run_training(**options, say=lambda line: report(line.step, f"loss {line.loss:.3f}"))
    console.result(
        f"{done.rows:,} rows, {done.trained_tokens:,} trained tokens in {done.wall_s:.0f} s,"
        f" loss {done.losses[0].loss:.3f} -> {done.losses[-1].loss:.3f}; model in {done.model}"
    )
    console.result_json(done)


def evaluate(
    recipe: Recipe = None,
    model: Annotated[str | None, typer.Option(help="A local folder or a hub id.")] = None,
    suite: Annotated[str | None, typer.Option(help="chains, or a file of rows with steps.")] = None,
    out: Out = None,
    steps: Annotated[list[int] | None, typer.Option(help="Of chains: numbers of steps to test.")] = None,
    per_length: Annotated[int | None, typer.Option(help="Of chains: items for each number of steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of chains: other seeds give other items.")] = None,
    set_: Sets = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let a model answer a suite, and check every step of every answer."""
    from seqtune.evaluation.run import evaluate as run_evaluation
    from seqtune.evaluation.settings import EvaluateSettings
    from seqtune.recipe import section_options

    console.set_mode(quiet=quiet, json=json)
    given: dict[str, Any] = {"model": model, "suite": suite, "out": out, "overwrite": overwrite or None}
    given |= {"steps": steps or None, "per_length": per_length, "seed": seed}
    options = section_options("evaluate", EvaluateSettings, recipe, set_ or (), given)
    with console.progress("eval", "items") as report:
        done = run_evaluation(**options, say=lambda items: report(items))
    _show(done)
    console.result_json(done)


def _show(done: Evaluation) -> None:
    rows = [[f.group, f.steps, f.items, _percent(f.all_steps), _percent(f.per_step), f.cut] for f in done.figures]
    columns = ["split", "steps", "items", "every step done (95 %)", "steps done (95 %)", "cut"]
    console.result(console.table("", columns, rows))


def _percent(share: Share) -> str:
    return "-" if share.value is None else f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def report(
    folder: Annotated[Path, typer.Argument(help="A run folder, or a folder of run folders.")],
    out: Annotated[Path | None, typer.Option(help="The page; report.html in the folder by default.")] = None,
) -> None:
    """Write one self-contained page about the runs in a folder."""
    from seqtune.report import write_report

    console.result(f"report: {write_report(folder, out)}")


def demo(
    out: Annotated[Path, typer.Option(help="The folder for everything.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Of the rows, the weights and the items.")] = 0,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole loop in a few minutes: build, train two small models on the CPU, score every step, report."""
    from seqtune.demo import demo as run_demo
    from seqtune.report import write_report

    console.set_mode(quiet=quiet, json=json)
    with console.stages() as say:
        done = run_demo(out, seed=seed, overwrite=overwrite, say=lambda stage, at: say(stage, _so_far(at)))
    page = write_report(out, caveat=done.caveat, title="seqtune demo")
    rows = [[c.group, c.steps, c.items, _percent(c.it), _percent(c.sit)] for c in done.table]
    columns = ["items", "steps", "number", "IT: whole chain right (95 %)", "SIT: whole chain right (95 %)"]
    console.result(console.table("", columns, rows))
    console.result(f"\n{done.caption}\n\n{done.caveat}\n\nreport: {page}")
    console.result_json({"out": out, "report": page, "table": done.table, "caveat": done.caveat})


def _so_far(at: Loss | int) -> str:
    if isinstance(at, int):
        return f"{at:,} items"
    return f"step {at.step:,} of {at.steps:,}, loss {at.loss:.3f}, {at.tokens_per_s:,.0f} tokens/s"
