"""`evaluate`: a model and a suite in, a run folder with answers, verdicts and figures out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from seqtune.data.folder import claim_folder, versions, write_json, write_lines, write_summary
from seqtune.data.writer import write
from seqtune.errors import RecipeError, did_you_mean
from seqtune.evaluation.answers import Answer, answer
from seqtune.evaluation.scoring import Figures, Scored, figures, score
from seqtune.evaluation.suite import Suite, chains, rows_suite
from seqtune.training.model import PACKAGES, Loaded

SUITES: dict[str, Callable[..., Suite]] = {"chains": chains}


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        out: the run folder: items.jsonl, answers.jsonl, verdicts.jsonl, metrics.json, run.json.
        model, suite: what was asked, and with what.
        items: how many items.
        figures: a line for each split and number of steps.
        wall_s: how long it took; cpu_s: processor seconds of all threads.
    """

    out: Path
    model: str
    suite: str
    items: int
    figures: tuple[Figures, ...]
    wall_s: float
    cpu_s: float


def evaluate(
    model: str | Path | Loaded,
    suite: str | Path | Suite = "chains",
    *,
    out: str | Path,
    batch_size: int = 100,
    max_new_tokens: int = 256,
    overwrite: bool = False,
    say: Callable[[int], object] | None = None,
    **options: Any,
) -> Evaluation:
    """Let a model answer a suite, check every step of every answer, and write a run folder.

    Args:
        model: a local folder, a hub id, or a loaded model.
        suite: the name of a suite, a file of rows with steps, or a Suite.
        out: the run folder.
        batch_size, max_new_tokens, say: see `answer`.
        overwrite: take the folder whatever it holds.
        options: of the named suite; for `chains`: steps, per_length, seed, maker.

    Raises:
        RecipeError: a suite, an option or a model that cannot be used.
        DataError: the file has no row with steps.
        RunFolderError: the folder holds something else, or cannot be written.
        MissingExtraError: torch or transformers is not installed.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    chosen = _suite(suite, options)
    settings = {"model": _name(model), "suite": chosen.name, "items": _hash(chosen), "max_new_tokens": max_new_tokens}
    folder = Path(out)
    fingerprint = xxhash.xxh3_128_hexdigest(msgspec.json.encode(settings))
    claim_folder(folder, "eval", fingerprint, overwrite=overwrite)
    write(chosen.items, folder / "items.jsonl")
    answers = answer(model, chosen.items, batch_size=batch_size, max_new_tokens=max_new_tokens, say=say)
    write_lines(folder / "answers.jsonl", answers)
    found = judge(chosen, answers, folder)
    done = Evaluation(
        folder, _name(model), chosen.name, len(chosen.items), tuple(found),
        time.perf_counter() - wall, time.process_time() - cpu,
    )  # fmt: skip
    summary = {"command": "eval", "fingerprint": fingerprint, "finished": True, "settings": settings}
    result = {"items": done.items, "wall_s": done.wall_s, "cpu_s": done.cpu_s, "versions": versions(*PACKAGES)}
    write_summary(folder, summary | result)
    return done


def judge(suite: Suite, answers: Iterable[Answer], folder: Path) -> list[Figures]:
    """Verdicts and figures of answers that are there already, written to verdicts.jsonl and metrics.json."""
    by_item = {one.item: one for one in answers}
    scored: list[Scored] = [score(item, by_item[item.id]) for item in suite.items]
    write_lines(folder / "verdicts.jsonl", (verdict for one in scored for verdict in one.verdicts))
    found = figures(scored)
    write_json(folder / "metrics.json", {"suite": suite.name, "figures": found})
    return found


def _suite(suite: str | Path | Suite, options: dict[str, Any]) -> Suite:
    if isinstance(suite, Suite):
        return suite
    if str(suite) in SUITES:
        return _made(str(suite), options)
    if Path(suite).is_file():
        return rows_suite(suite)
    raise RecipeError(
        f"there is no suite {str(suite)!r}{did_you_mean(str(suite), SUITES)}",
        fix=f"choose from {', '.join(SUITES)}, or give a file of rows with steps",
    )


def _made(name: str, options: dict[str, Any]) -> Suite:
    known = signature(SUITES[name]).parameters
    for option in options:
        if option not in known:
            hint = did_you_mean(option, known)
            raise RecipeError(f"suite {name!r} has no option {option!r}{hint}", fix=f"choose from {', '.join(known)}")
    return SUITES[name](**options)


def _name(model: str | Path | Loaded) -> str:
    return str(model.model.name_or_path) if isinstance(model, Loaded) else str(model)


def _hash(suite: Suite) -> str:
    return xxhash.xxh3_128_hexdigest("".join(item.id for item in suite.items).encode())
