"""The commands in one place, and what happens when one fails or is stopped."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from seqtune import __version__, console
from seqtune.cli.building import build
from seqtune.cli.comparing import compare
from seqtune.cli.evaluation import evaluation
from seqtune.cli.experiments import demo, experiment
from seqtune.cli.models import preview, report, train
from seqtune.cli.replies import cache, mock_server
from seqtune.cli.rows import convert, ls
from seqtune.errors import SeqtuneError


class Stoppable(TyperGroup):
    """Says that it was stopped: Typer itself ends a command in silence then, or with a word of its own."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            console.complain("stopped; the same command goes on from what is done")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="seqtune",
    cls=Stoppable,
    help="Turn instruction data into sequential instructions, tune models on it, measure whether every step is done.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo)
app.command()(build)
app.command()(train)
app.command()(preview)
app.add_typer(evaluation, name="eval")
app.command()(compare)
app.command()(experiment)
app.command()(report)
app.command()(ls)
app.command()(convert)
app.add_typer(cache, name="cache")
app.command()(mock_server)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Options of all commands."""
    if show:
        console.result(f"seqtune {__version__}")
        raise typer.Exit()


def main() -> None:
    """Run the command line.

    Exit 0; 1 where a build made no example; 2 for what the user can mend; 3 where an evaluation has no headline; 130
    when stopped; 141 where the reader of the output is gone.
    """
    console.set_mode()
    try:
        app()
    except SeqtuneError as error:
        console.complain(f"seqtune: {error}")
        console.result_json({"error": {"where": error.where, "what": error.what, "fix": error.fix}})
        sys.exit(2)
    except BrokenPipeError:
        # The reader (head, less) is gone: nothing to say, and nothing to flush at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
