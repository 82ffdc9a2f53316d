"""seqtune train, seqtune preview, seqtune report"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqtune import console

if TYPE_CHECKING:
    from seqtune.training.outcome import Training
    from seqtune.training.preview import Preview

Recipe = Annotated[Path | None, typer.Argument(help="A recipe in YAML; options go over it.")]
Out = Annotated[str | None, typer.Option(help="The run folder.")]
Template = Annotated[str | None, typer.Option(help="auto (the model's own), alpaca, chatml or tulu.")]
TooLong = Annotated[str | None, typer.Option(help="Rows over max_length: drop, split or error.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Any key of the recipe, e.g. train.seed=1.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Use the folder whatever it holds.")]
Json = Annotated[bool, typer.Option("--json", help="End with one JSON object, print nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")]


def train(
    recipe: Recipe = None,
    dataset: Annotated[str | None, typer.Option(help="Rows, e.g. the examples.jsonl of a build.")] = None,
    model: Annotated[
        str | None, typer.Option(help="tiny (from scratch), the folder of a model or an adapter, or a hub id.")
    ] = None,
    out: Out = None,
    method: Annotated[str | None, typer.Option(help="full, lora or qlora; dpo or grpo (preference).")] = None,
    template: Template = None,
    seed: Annotated[int | None, typer.Option(help="Of the order of rows, and of the weights of tiny.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.")] = None,
    too_long: TooLong = None,
    packing: Annotated[bool, typer.Option("--packing", help="Pack rows into blocks without padding.")] = False,
    processes: Annotated[int | None, typer.Option(help="How many the launcher is to start; else an error.")] = None,
    track: Annotated[str | None, typer.Option(help="tensorboard, wandb, trackio or none.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Write the adapter into the model's weights.")] = False,
    push: Annotated[str | None, typer.Option(help="Send the model to this repository on the hub.")] = None,
    set_: Sets = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take; write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a model on rows, on their answers only, or let it learn to prefer them (--method dpo or grpo)."""
    from seqtune.recipe import section_options
    from seqtune.training import processes as together
    from seqtune.training.run import train as run_training
    from seqtune.training.settings import TrainSettings
    from seqtune.training.tracking import live_line

    console.set_mode(quiet=quiet or not together.is_main(), json=json)
    given: dict[str, Any] = {"dataset": dataset, "model": model, "out": out, "seed": seed, "epochs": epochs}
    given |= {"method": method, "template": template, "too_long": too_long, "push": push}
    given |= {"merge": merge or None, "overwrite": overwrite or None, "packing": packing or None}
    given |= {"processes": processes, "track": track}
    options = section_options("train", TrainSettings, recipe, set_ or (), given)
    if dry_run:
        _look_ahead(options)
        return
    with console.stages() as say:
        done = run_training(
            **options,
            say=lambda line: say("train", f"step {line.step:,} of {line.steps:,}, {live_line(line)}"),
            tell=console.note,
        )
    together.leave()
    if not together.is_main():
        return
    left_out = f", {done.unused:,} left out and {done.split:,} split (see unused.jsonl)"
    console.result(
        f"{done.rows:,} rows{left_out if done.unused or done.split else ''}, {done.trained_tokens:,} trained tokens"
        f" in {done.wall_s:.0f} s{_learnt(done)}; model in {done.model}"
    )
    console.result_json(done)


def _learnt(done: Training) -> str:
    """The first loss and the last, and scores where there are any; a finished run may have lost its losses.jsonl."""
    if not done.losses:
        return ""
    first, last = done.losses[0], done.losses[-1]
    scored = first.score is not None and last.score is not None
    score = f", score {first.score:.3f} -> {last.score:.3f}" if scored else ""
    return f", loss {first.loss:.3f} -> {last.loss:.3f}{score}"


def _look_ahead(options: dict[str, Any]) -> None:
    from seqtune.training.outlook import look_ahead

    found = look_ahead(**options)
    free = f"{found.unfilled:.1%} of the blocks free" if found.unfilled else f"{found.padding:.1%} padding"
    console.result(
        f"{found.rows:,} rows, {found.unused:,} left out, {found.split:,} split; {found.steps:,} steps,"
        f" {found.tokens:,} tokens, {found.trained_tokens:,} of them trained, {free}\n"
        f"{found.parameters:,} weights, {found.trained_parameters:,} of them trained"
    )
    for line in found.lines:
        console.result(line)
    console.result(f"nothing was written; the model would go to {Path(options['out']) / 'model'}")
    console.result_json(found)


def preview(
    recipe: Recipe = None,
    dataset: Annotated[str | None, typer.Option(help="Rows, e.g. the examples.jsonl of a build.")] = None,
    model: Annotated[str | None, typer.Option(help="tiny, a local folder, or a hub id; its tokenizer is read.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show; the totals are of all.")] = 3,
    template: Template = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens of the longest row.")] = None,
    too_long: TooLong = None,
    set_: Sets = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a training would see: rendered rows with the trained part marked, token counts, what is left out."""
    from seqtune.recipe import section_options
    from seqtune.training.preview import preview as look
    from seqtune.training.settings import TrainSettings

    console.set_mode(quiet=quiet, json=json)
    given: dict[str, Any] = {"dataset": dataset, "model": model, "out": "nowhere", "template": template}
    given |= {"max_length": max_length, "too_long": too_long}
    options = section_options("train", TrainSettings, recipe, set_ or (), given)
    done = look(**options, rows=rows)
    _show_preview(done)
    console.result_json(done)


def _show_preview(done: Preview) -> None:
    from seqtune.training.preview import marked

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for row in done.shown:
        console.result(f"--- row {row.id}: {row.tokens:,} tokens, {row.trained_tokens:,} of them trained")
        console.result(marked(row, colour=colour))
    for line in done.left_out:
        console.result(f"--- left out: row {line.id}: {line.reason} {f'({line.tokens:,} tokens)' * bool(line.tokens)}")
    own = "the model's own" if done.template == "auto" else done.template
    console.result(
        f"\ntemplate: {own}; an answer ends with {done.end}; the trained part is "
        f"{'green' if colour else 'between [[ and ]]'}\n"
        f"{done.examples:,} rows read, {done.unused:,} left out, {done.split:,} split; {done.rows:,} to train on\n"
        f"{done.tokens:,} tokens, {done.trained_tokens:,} of them trained ({done.trained_tokens / done.tokens:.1%});"
        f" the longest row has {done.longest:,}; {done.too_long:.1%} of the rows have more than {done.max_length:,}"
    )
    if done.fault:
        console.complain(f"train would refuse these rows: {done.fault}")


def report(
    folder: Annotated[Path, typer.Argument(help="A run folder, or a folder of run folders.")],
    out: Annotated[Path | None, typer.Option(help="The page; report.html in the folder by default.")] = None,
) -> None:
    """Write one self-contained page about the runs in a folder."""
    from seqtune.report import write_report

    console.result(f"report: {write_report(folder, out)}")
