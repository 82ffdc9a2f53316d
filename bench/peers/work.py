"""What every client is to do, and what comes of it when it is done right; standard library only, for any Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

MODEL = "mock"
CALLS = 3
IN_FLIGHT = 128
MAX_TOKENS = 300
# Where a client is tuned for a bad server: tries of a call, and seconds of one.
TRIES = 8
TIMEOUT_S = 15
WORDS = ("ash", "bay", "cove", "dune", "elm", "fern", "glen", "heath", "isle", "jetty", "knoll", "lake", "moor", "oak")


class Task(NamedTuple):
    """What a client's process is told.

    Args:
        url: of the server, up to /v1.
        folder: for its replies, and for whatever else it writes.
        rows: how many.
        tuned: for a bad server; its defaults otherwise.
    """

    url: str
    folder: Path
    rows: int
    tuned: bool


def told() -> Task:
    """The task in the words of the command line."""
    url, folder, rows, tuned = sys.argv[1:]
    return Task(url, Path(folder), int(rows), tuned == "tuned")


def first_text(row: int) -> str:
    """What a row starts with."""
    return f"row {row}: " + "name the colours of the rainbow in order and say why each is where it is. " * 6


def prompt(step: int, text: str) -> str:
    """What is asked about the text of the step before."""
    return f"step {step}: {text}"


def reply_to(asked: str) -> str:
    """The one right reply to a prompt."""
    random = Random(asked)
    return " ".join(random.choices(WORDS, k=random.randint(4, 24)))


def last_reply(row: int) -> str:
    """The one right result of a row."""
    text = first_text(row)
    for step in range(CALLS):
        text = reply_to(prompt(step, text))
    return text


def rule(asked: Mapping[str, Any]) -> str:
    """How the mock server answers."""
    return reply_to(asked["messages"][-1]["content"])


@contextmanager
def open_results(folder: Path) -> Iterator[Callable[[int, str | None], object]]:
    """Takes each row's result as it comes, so that a client that is stopped has shown what it had."""
    with results_file(folder).open("w", encoding="utf-8", buffering=1) as file:
        yield lambda row, text: file.write(json.dumps([row, text]) + "\n")


def read_results(folder: Path) -> list[tuple[int, str | None]]:
    """The rows that were written."""
    file = results_file(folder)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [(row, text) for row, text in map(json.loads, lines)]


def results_file(folder: Path) -> Path:
    """Where a client leaves its results."""
    return folder / "results.jsonl"
