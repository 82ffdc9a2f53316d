"""Standard benchmarks through lm-evaluation-harness, as a run folder like any other."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from seqtune import console
from seqtune.data.folder import SUMMARY, read_object, versions, working_in, write_summary
from seqtune.errors import RecipeError
from seqtune.evaluation.answers import model_name
from seqtune.evaluation.harness import run_harness
from seqtune.evaluation.options import fit_options, parameters_of
from seqtune.evaluation.outcome import Evaluation
from seqtune.training.model import Loaded

HARNESS = "lm_eval:"  # what names the tasks of lm-evaluation-harness


def check_harness_options(options: Mapping[str, Any], *, settings: Iterable[str] = ()) -> None:
    """Raises RecipeError for what is no option of `run_harness`, or a value that it cannot take.

    Args:
        options: by name.
        settings: other names that may have been meant.
    """
    known = {name: one for name, one in parameters_of(run_harness).items() if name not in ("model", "tasks", "out")}
    fit_options("lm_eval", known, options, settings=settings)


def _came_to_nothing(folder: Path) -> bool:
    """Whether all that stands in a folder is that an evaluation began there."""
    made = any((folder / name).exists() for name in ("answers.jsonl", "metrics.json"))
    return read_object(folder / SUMMARY).get("command") == "eval" and not made


@contextmanager
def _kept_quiet() -> Iterator[None]:
    """What the harness prints goes to standard error, and nowhere with --quiet and --json, also from what it starts."""
    with ExitStack() as stack:
        if not console.shows_progress():
            null = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            before = os.dup(2)
            stack.callback(os.close, before)
            stack.callback(os.dup2, before, 2)
            os.dup2(null.fileno(), 2)
            stack.enter_context(redirect_stderr(null))
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def evaluate_by_harness(
    model: str | Path | Loaded | None, suite: str, folder: Path, options: Mapping[str, Any], *, overwrite: bool
) -> Evaluation:
    """Standard benchmarks as lm-evaluation-harness asks and scores them; only the figures are of our form.

    Args:
        model, out, overwrite: see `evaluate`.
        suite: "lm_eval:TASK,TASK".
        options: see `run_harness`.

    Raises:
        RecipeError: no model, a task that there is not, or an option that the harness does not have.
        MissingExtraError: lm-eval is not installed.
    """
    if model is None:
        raise RecipeError("the harness asks a model itself", fix="give --model NAME")
    tasks = suite.removeprefix(HARNESS).split(",")
    wall, cpu = time.perf_counter(), time.process_time()
    check_harness_options(options)
    name = model_name(model)
    settings = {"model": name, "suite": suite, "options": dict(options)}
    fingerprint = xxhash.xxh3_128_hexdigest(msgspec.json.encode(settings, enc_hook=str))
    with working_in(folder, "eval", fingerprint, overwrite=overwrite or _came_to_nothing(folder)), _kept_quiet():
        lines = run_harness(model, tasks, out=folder, **options)
        done = Evaluation(
            out=folder,
            model=name,
            suite=suite,
            judge="lm_eval",
            items=sum(line.items for line in lines),
            answered=sum(line.answered for line in lines),
            headline=None,
            figures=tuple(lines),
            chain_taxes=(),
            notes=(),
            wall_s=time.perf_counter() - wall,
            cpu_s=time.process_time() - cpu,
        )
        summary = {"command": "eval", "fingerprint": fingerprint, "finished": True, "settings": settings}
        spent = {"harness": True, "items": done.items, "wall_s": done.wall_s, "cpu_s": done.cpu_s}
        write_summary(folder, {**summary, **spent, "versions": versions("lm_eval")})
    return done
