"""A checklist for a suite: its items taken apart by a model, and written to a file for somebody to read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from seqtune.errors import DataError, RunFolderError
from seqtune.evaluation.judging.checklist import Checklist, build_checklist, read_checklist, write_checklist
from seqtune.evaluation.responses import read_responses
from seqtune.evaluation.suite import Suite, open_suite, takes_rows
from seqtune.llm.asking import open_teacher


class MadeChecklist(msgspec.Struct, frozen=True):
    """What `make_checklist` wrote.

    Args:
        out: the file.
        items, steps: how many; `not_doable` steps no text model can do, `without` items have no steps.
        hash: of its content.
    """

    out: str
    items: int
    steps: int
    not_doable: int
    without: int
    hash: str


def make_checklist(
    suite: str | Path | Suite,
    judge: str,
    *,
    out: str | Path,
    data: str | Path | None = None,
    responses: str | Path | None = None,
    store: str | Path | None = None,
    concurrency: int = 64,
    say: Callable[[int], object] | None = None,
) -> MadeChecklist:
    """Have a model list the steps of every item; the same call again asks nothing twice.

    Args:
        suite: see `evaluate`.
        judge: the model; see `open_teacher`.
        out: the file. One that somebody approved is not written over.
        data, responses: see `evaluate`.
        store: the reply store; the user's own by default.
        concurrency: the most requests in flight.
        say: called with the number of items so far.

    Raises:
        RunFolderError: an approved checklist stands there.
        RecipeError, DataError: a suite that cannot be opened.
        TeacherError: this model can never answer.
    """
    _refuse_approved(Path(out))
    rows = {"rows": read_responses(responses).rows} if responses and takes_rows(suite) else {}
    chosen = suite if isinstance(suite, Suite) else open_suite(suite, data=data, options=rows)
    made = asyncio.run(_built(chosen, judge, store, concurrency, say))
    write_checklist(made, out)
    steps = [step for entry in made.entries for step in entry.steps]
    return MadeChecklist(
        out=str(out),
        items=len(made.entries),
        steps=len(steps),
        not_doable=sum(not step.doable for step in steps),
        without=sum(not entry.steps for entry in made.entries),
        hash=made.hash,
    )


def _refuse_approved(path: Path) -> None:
    try:
        approved = path.is_file() and read_checklist(path).is_approved
    except DataError:
        return
    if approved:
        what = "somebody approved the checklist that stands here"
        raise RunFolderError(what, where=str(path), fix="choose another --out, and compare the two: checklist diff")


async def _built(
    suite: Suite, judge: str, store: str | Path | None, concurrency: int, say: Callable[[int], object] | None
) -> Checklist:
    async with open_teacher(judge, store=store, concurrency=concurrency) as ask:
        return await build_checklist(suite.items, ask, suite=suite.name, in_flight=2 * concurrency, say=say)
