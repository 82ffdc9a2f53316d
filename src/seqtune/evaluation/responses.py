"""Answers that somebody else made: the rows of a file, each put to the item that it answers."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from seqtune.data.example import Example
from seqtune.data.failure import Fault
from seqtune.data.source import open_source
from seqtune.errors import DataError, RecipeError, did_you_mean, shorten
from seqtune.evaluation.answering import prompts_of
from seqtune.evaluation.answers import Answer

# The first of these that the rows have is taken, where nothing else was said.
ANSWER_COLUMNS = ("output", "response", "completion", "generation", "prediction", "text", "answer")
ID_COLUMNS = ("item", "item_id", "id")
PROMPT_COLUMNS = ("prompt", "instruction", "question")
OURS = ("answer", "id", "prompt")  # what --columns may name

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Responses:
    """Rows with answers as they were read.

    Args:
        source: the file.
        rows: its rows, as they stand there.
        columns: which of their columns hold the answer, and the item's id and the prompt, where there are some.
        notes: rows that cannot be used, with the reason.
    """

    source: str
    rows: tuple[Row, ...]
    columns: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """What whoever answered is called: the file's name."""
        return Path(self.source).name


def read_responses(path: str | Path, columns: Mapping[str, str] | None = None) -> Responses:
    """The rows of a file with their answers.

    Args:
        path: any file that `read` reads.
        columns: our name -> the file's column: answer, id, prompt; found by their usual names by default.

    Raises:
        DataError: no row with an answer.
        RecipeError: a column that is not known, here or in the file.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for number, record in open_source(str(path)).records:
        if isinstance(record, Mapping):
            rows.append(record)
        else:
            why = f"{record.reason}: {shorten(record.value)}" if isinstance(record, Fault) else "it is no object"
            notes.append(f"{path}:{number}: this row cannot be read ({why})")
    if not rows:
        fix = "give a file of rows, each with its prompt and its answer"
        raise DataError("no row can be read", where=str(path), fix=fix)
    return Responses(str(path), tuple(rows), _columns(str(path), rows, columns or {}), tuple(notes))


def _columns(path: str, rows: Sequence[Row], given: Mapping[str, str]) -> dict[str, str]:
    known = dict.fromkeys(name for row in rows for name in row)
    for ours, theirs in given.items():
        if ours not in OURS:
            raise RecipeError(f"responses have no {ours!r}{did_you_mean(ours, OURS)}", fix=f"map {', '.join(OURS)}")
        if theirs not in known:
            near = did_you_mean(theirs, known)
            raise RecipeError(
                f"no column is called {theirs!r}{near}", where=path, fix=f"choose from {', '.join(known)}"
            )
    usual = {"answer": ANSWER_COLUMNS, "id": ID_COLUMNS, "prompt": PROMPT_COLUMNS}
    found = {ours: column for ours, names in usual.items() for column in reversed(names) if column in known}
    found |= given
    if "answer" not in found:
        fix = "name the column that holds the answers: --columns answer=NAME"
        raise DataError(f"no column of {', '.join(known)} holds answers", where=path, fix=fix)
    return found


def find_data(responses: str | Path, suite: str) -> Path | None:
    """The folder with a suite's data that stands near somebody's answers: X/xquad/xquad.en.json for X/answers/it.jsonl.

    Args:
        responses: the file of answers.
        suite: its name, with its part.
    """
    name = suite.partition(":")[0]
    for folder in Path(responses).resolve().parents[:3]:
        if any((folder / name).glob(f"{name}[._]*")):
            return folder / name
    return None


def match(responses: Responses, items: Sequence[Example], *, from_rows: bool) -> tuple[dict[str, Answer], list[str]]:
    """Answers by item, and what the user is to know of those that fit no item.

    A row belongs to the item of its id, else to the next item with its prompt; where neither is known, to the item at
    its place, if there are as many.

    Args:
        responses: as read.
        items: of the suite.
        from_rows: the items were made from these rows, in their order.

    Raises:
        DataError: no answer fits any item.
    """
    if from_rows and len(items) == len(responses.rows):
        pairs = {item.id: row for item, row in zip(items, responses.rows, strict=True)}
        return _answers(responses, pairs), []
    pairs = _by_id_or_prompt(responses, items)
    notes = []
    if not pairs and len(items) == len(responses.rows):
        pairs = {item.id: row for item, row in zip(items, responses.rows, strict=True)}
        notes.append("no id and no prompt of the answers is one of the suite's: they were put to its items in order")
    if not pairs:
        what = f"none of the {len(responses.rows):,} answers fits one of the suite's {len(items):,} items"
        fix = "give rows with the items' ids or prompts (--columns id=NAME or prompt=NAME)"
        raise DataError(what, where=responses.source, fix=fix)
    if spare := len(responses.rows) - len(pairs):
        notes.append(f"{spare:,} of the {len(responses.rows):,} answers fit no item of the suite and are left out")
    return _answers(responses, pairs), notes


def _by_id_or_prompt(responses: Responses, items: Sequence[Example]) -> dict[str, Row]:
    by_id = {str(item.meta.get("id", item.id)): item for item in items} | {item.id: item for item in items}
    by_prompt: dict[str, deque[Example]] = defaultdict(deque)
    for item, prompt in zip(items, prompts_of(items), strict=True):
        by_prompt[_plain(prompt)].append(item)
    found: dict[str, Row] = {}
    for row in responses.rows:
        same = by_prompt[_plain(_prompt(row, responses.columns))]
        if named := by_id.get(str(row.get(responses.columns.get("id", ""), ""))):
            found.setdefault(named.id, row)
        elif same:
            found.setdefault(same.popleft().id, row)
    return found


def _prompt(row: Row, columns: Mapping[str, str]) -> str:
    asked = str(row.get(columns.get("prompt", ""), ""))
    return f"{asked}\n\n{row['input']}" if row.get("input") and columns.get("prompt") == "instruction" else asked


def _plain(text: str) -> str:
    return " ".join(text.split())


def _answers(responses: Responses, pairs: Mapping[str, Row]) -> dict[str, Answer]:
    found = {}
    for item, row in pairs.items():
        text = row.get(responses.columns["answer"])
        if isinstance(text, str):  # null is no answer, and so unscored; "" is one, and wrong
            key = xxhash.xxh3_128_hexdigest(msgspec.json.encode([item, responses.model, text]))
            found[item] = Answer(item, responses.model, text, key=key)
    return found
