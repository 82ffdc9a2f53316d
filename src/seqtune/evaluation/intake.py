"""What a run is about: the items, who answers them, and the answers that are known; new, or kept in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from seqtune.data.reader import read
from seqtune.errors import RecipeError, RunFolderError
from seqtune.evaluation.answers import Answer, model_name
from seqtune.evaluation.ledger import read_records
from seqtune.evaluation.responses import find_data, match, read_responses
from seqtune.evaluation.run_folders import read_evaluation
from seqtune.evaluation.settings import EvaluateSettings
from seqtune.evaluation.suite import Suite, by_length, open_suite, takes_rows
from seqtune.training.model import Loaded


@dataclass(frozen=True)
class Task:
    """Items, who answers them, the longest answer in tokens, and the answers that are known.

    `responses` is the hash of answers that somebody else made.
    """

    model: str
    suite: Suite
    max_new_tokens: int
    answers: Mapping[str, Answer]
    notes: tuple[str, ...] = ()
    responses: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What makes two runs the same, what scoring them later needs, and what the suite was made with."""
        return {**self._identity, "options": self.suite.options}

    @property
    def fingerprint(self) -> str:
        """The hash of what makes two runs the same: of the suite its items, however they were asked for."""
        return xxhash.xxh3_128_hexdigest(msgspec.json.encode(self._identity))

    @property
    def _identity(self) -> dict[str, Any]:
        suite = {"suite": self.suite.name, "items": self.suite.hash, "scorer": self.suite.scorer}
        asked = {"responses": self.responses} if self.responses else {"max_new_tokens": self.max_new_tokens}
        return {"model": self.model, **suite, "headline": self.suite.headline, **asked}


def new_task(
    model: str | Path | Loaded | None, suite: str | Path | Suite, settings: EvaluateSettings, options: Mapping[str, Any]
) -> Task:
    """What is to be answered, or was by somebody else.

    Args:
        model, suite: see `evaluate`.
        settings: of the evaluation.
        options: of the suite.

    Raises:
        RecipeError: not exactly one of a model and responses, or a suite that cannot be made.
        DataError: data or responses that cannot be used.
    """
    if (model is None) == (settings.responses is None):
        what = "neither a model nor responses are given" if model is None else "both a model and responses are given"
        raise RecipeError(what, fix="give one of them: --model NAME, or --responses FILE")
    if model is not None:
        chosen = suite if isinstance(suite, Suite) else open_suite(suite, data=settings.data, options=options)
        task = Task(model_name(model), chosen, settings.max_new_tokens or chosen.max_new_tokens, {}, chosen.notes)
    else:
        task = _answered_by_others(suite, settings, options)
    return replace(task, suite=by_length(task.suite, settings.by_length)) if settings.by_length else task


def _answered_by_others(suite: str | Path | Suite, settings: EvaluateSettings, options: Mapping[str, Any]) -> Task:
    assert settings.responses is not None
    given = read_responses(settings.responses, settings.columns)
    rows = {"rows": given.rows} if takes_rows(suite) else {}
    near = find_data(settings.responses, str(suite)) if rows and not settings.data else None
    data = settings.data or near
    chosen = suite if isinstance(suite, Suite) else open_suite(suite, data=data, options={**rows, **options})
    answers, notes = match(given, chosen.items, from_rows=bool(rows))
    notes += [f"the suite's data were found in {near} (--data names others)"] if near else []
    told = xxhash.xxh3_128_hexdigest("".join(answer.key for answer in answers.values()).encode())
    longest = settings.max_new_tokens or chosen.max_new_tokens
    return Task(given.model, chosen, longest, answers, (*chosen.notes, *given.notes, *notes), told)


def kept_task(folder: Path) -> Task:
    """What a folder was made for, and the answers in it.

    Raises:
        RunFolderError: no run that was answered to the end stands there.
    """
    summary = read_evaluation(folder)
    settings = summary["settings"]
    items = tuple(read(str(folder / "items.jsonl")))
    made_with = settings.get("options", {})
    suite = Suite(settings["suite"], items, settings["scorer"], settings["headline"], options=made_with)
    if suite.hash != settings["items"]:
        fix = "run `seqtune eval` again from the start, into another folder"
        raise RunFolderError("items.jsonl was changed since the answers were made", where=str(folder), fix=fix)
    return Task(
        settings["model"],
        suite,
        settings.get("max_new_tokens", 0),
        read_answers(folder),
        tuple(summary.get("task_notes", ())),
        settings.get("responses", ""),
    )


def read_answers(folder: Path) -> dict[str, Answer]:
    """The answers of a run folder by item; of an item that was answered more than once, the last.

    Raises:
        DataError: a line that is no answer.
    """
    return {answer.item: answer for answer in read_records(folder / "answers.jsonl", Answer)}
