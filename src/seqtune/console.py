"""The only module that prints: messages, tables and progress to standard error, results and JSON to standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

LIVE_EVERY_S = 0.1
PLAIN_EVERY_S = 10.0


@dataclass
class _Mode:
    quiet: bool = False
    json: bool = False


_mode = _Mode()


def set_mode(*, quiet: bool = False, json: bool = False) -> None:
    """Choose what is printed: `quiet` keeps only errors and results, `json` keeps only one JSON object at the end."""
    _mode.quiet, _mode.json = quiet, json


def note(text: str) -> None:
    """A line about what goes on; not shown with --quiet or --json."""
    if not (_mode.quiet or _mode.json):
        print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """An error; always shown."""
    print(text, file=sys.stderr, flush=True)


def result(text: str) -> None:
    """What the command was called for, as text; not shown with --json."""
    if not _mode.json:
        print(text, flush=True)


def result_json(value: Any) -> None:
    """What the command was called for, as one JSON object; shown with --json only."""
    if _mode.json:
        print(msgspec.json.encode(value, enc_hook=str).decode(), flush=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None = None) -> str:
    """A table as text; columns of numbers are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    made = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], int | float) or str(row[i])[:1].isdigit() for row in rows) and bool(rows)
        made.add_column(column, justify="right" if numeric and i else "left", overflow="fold")
    for row in rows:
        made.add_row(*[Text(str(cell)) for cell in row])
    room = None if terminal else max(120, _unbroken([columns, *rows]))
    console = Console(width=width or room, no_color=not terminal, highlight=False)
    with console.capture() as capture:
        console.print(made)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _unbroken(rows: Sequence[Sequence[object]]) -> int:
    """The width at which no word is cut in two: rich makes the widest columns narrower, all of them to one width."""
    columns = [[str(cell) for cell in column] for column in zip(*rows, strict=True)]
    words = [word for column in columns for cell in column for word in cell.split()]
    longest = min(24, max(map(len, words), default=0))
    return sum(min(longest, max(map(len, column))) + 3 for column in columns)


class Report(Protocol):
    """Tells how far the work is."""

    def __call__(self, done: int, text: str = "") -> None: ...


def shows_progress() -> bool:
    """Whether anybody is told how far the work is, so that nobody counts for nobody."""
    return not (_mode.quiet or _mode.json)


@contextmanager
def progress(what: str, unit: str) -> Iterator[Report]:
    """Show how far a loop is: one live line on a terminal, a plain line every ten seconds in a log file."""
    started = time.monotonic()
    with stages() as say:

        def report(done: int, text: str = "") -> None:
            rate = done / max(time.monotonic() - started, 1e-9)
            say(what, f"{done:,} {unit}, {rate:,.0f} {unit}/s{f', {text}' if text else ''}")

        yield report


@contextmanager
def stages() -> Iterator[Callable[[str, str], None]]:
    """Show what goes on, stage by stage: live on a terminal, in a log file every ten seconds and at each new stage."""
    live = sys.stderr.isatty()
    shown_s, shown_stage = time.monotonic(), ""

    def say(stage: str, text: str) -> None:
        nonlocal shown_s, shown_stage
        now = time.monotonic()
        if now - shown_s < (LIVE_EVERY_S if live else PLAIN_EVERY_S) and stage == shown_stage:
            return
        shown_s, shown_stage = now, stage
        start, end = ("\r\x1b[K", "") if live else ("", "\n")
        print(f"{start}{stage}: {text}", end=end, file=sys.stderr, flush=True)

    try:
        yield say if shows_progress() else (lambda stage, text: None)
    finally:  # an error is told on a line of its own
        if live and shown_stage:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
