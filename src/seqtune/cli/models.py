"""seqtune train, seqtune eval, seqtune report, seqtune demo"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqtune import console

if TYPE_CHECKING:
    from seqtune.evaluation.run import Evaluation
    from seqtune.evaluation.statistics import Share

Recipe = Annotated[Path | None, typer.Argument(help="A recipe in YAML; options go over it.")]
Out = Annotated[str | None, typer.Option(help="The run folder.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Any key of the recipe, e.g. train.seed=1.")]
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
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a model on rows; the loss is on their answers only."""
    from seqtune.recipe import section_options
    from seqtune.training.run import train as run_training
    from seqtune.training.settings import TrainSettings

    console.set_mode(quiet=quiet, json=json)
    given = {"dataset": dataset, "model": model, "out": out, "seed": seed, "epochs": epochs}
    options = section_options("train", TrainSettings, recipe, set_ or (), given)
    with console.progress("train", "steps") as report:
        done = run_training(**options, say=lambda line: report(line.step, f"loss {line.loss:.3f}"))
    console.result(
        f"{done.rows:,} rows, {done.trained_tokens:,} trained tokens, loss {done.first_loss:.3f} -> {done.last_loss:.3f}"
        f" in {done.wall_s:.0f} s; model in {done.model}"
    )
    console.result_json(done)


def evaluate(
    recipe: Recipe = None,
    model: Annotated[str | None, typer.Option(help="A local folder or a hub id.")] = None,
    suite: Annotated[str | None, typer.Option(help="chains, or a file of rows with steps.")] = None,
    out: Out = None,
    set_: Sets = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let a model answer a suite, and check every step of every answer."""
    from seqtune.evaluation.run import evaluate as run_evaluation
    from seqtune.evaluation.settings import EvaluateSettings
    from seqtune.recipe import section_options

    console.set_mode(quiet=quiet, json=json)
    given = {"model": model, "suite": suite, "out": out}
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
