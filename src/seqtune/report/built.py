"""What the builds made: counts, kinds, step counts, lengths and sample rows, ready to be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from markupsafe import Markup

from seqtune.data.example import Example, Turn
from seqtune.data.folder import read_object
from seqtune.report.plot import draw_bars
from seqtune.report.runs import Run, read_mapping, read_number, read_structs
from seqtune.report.samples import PLAIN, Pair, pick_pairs
from seqtune.report.steps import Message, as_text, show_parent, show_row

COUNTS = {"rows read": "read", "examples made": "examples", "skipped": "skipped", "failed": "failed"}
DEMO_ROWS = 500_000


class Kind(NamedTuple):
    """One part of the mix: how many rows it made, the share that they are, and the share that was asked for."""

    name: str
    rows: int
    share: float
    asked: float | None


class Reason(NamedTuple):
    """Why rows were left out: "skipped" or "failed", and how many."""

    outcome: str
    reason: str
    rows: int


class Length(NamedTuple):
    """Median characters of a part of a row, before and after."""

    part: str
    before: float | None
    after: float


class Card(NamedTuple):
    """One row before and after, as messages."""

    kind: str
    source: str
    legend: Sequence[str]
    before: Sequence[Message]
    after: Sequence[Message]


class Built(NamedTuple):
    """One build, as the page shows it."""

    name: str
    counts: Mapping[str, int]
    rows: int
    control: str
    kinds: Sequence[Kind]
    reasons: Sequence[Reason]
    steps: Markup
    lengths: Sequence[Length]
    looked_at: int
    cards: Sequence[Card]


def describe_build(run: Run, samples: int) -> Built:
    """Everything that the page says about one build."""
    counts = {title: _count(run.summary, name) for title, name in COUNTS.items()}
    lengths, looked_at = _lengths(run.folder / "examples.jsonl", run.folder / "control.jsonl")
    return Built(
        name=run.name,
        counts=counts,
        rows=counts["examples made"],
        control=_control(read_mapping(run.summary, "control")),
        kinds=_kinds(run.summary),
        reasons=_reasons(read_mapping(run.summary, "reasons")),
        steps=_step_bars(read_mapping(run.summary, "steps")),
        lengths=lengths,
        looked_at=looked_at,
        cards=[
            _card(pair) for pair in pick_pairs(run.folder / "examples.jsonl", run.folder / "control.jsonl", samples)
        ],
    )


def describe_demo(run: Run, samples: int) -> list[Built]:
    """The sets of rows that the demo drew: they have steps, and no rows that they were made from."""
    files = sorted((run.folder / "rows").glob("*.jsonl"))
    steps = {file: Counter(len(row.steps) for row in read_structs(file, Example, DEMO_ROWS)) for file in files}
    kinds = sum(map(len, steps.values())) or 1
    return [_describe_rows(file, counts, samples * len(counts) // kinds) for file, counts in steps.items()]


def _describe_rows(file: Path, steps: Counter[int], samples: int) -> Built:
    lengths, looked_at = _lengths(file)
    return Built(
        name=f"rows for {file.stem}",
        counts={"rows drawn": steps.total()},
        rows=steps.total(),
        control="",
        kinds=[],
        reasons=[],
        steps=_step_bars({str(count): rows for count, rows in steps.items()}),
        lengths=lengths,
        looked_at=looked_at,
        cards=[_card(pair) for pair in pick_pairs(file, None, samples)],
    )


def read_caveat(run: Run) -> str:
    """What the demo says that its results do not show."""
    return str(read_object(run.folder / "demo.json").get("caveat", ""))


def _count(values: Mapping[str, Any], name: str) -> int:
    return int(read_number(values, name) or 0)


def _kinds(summary: Mapping[str, Any]) -> list[Kind]:
    made, asked = read_mapping(summary, "made"), read_mapping(summary, "asked")
    total = sum(_count(made, name) for name in made) or 1
    names = sorted({*made, *asked}, key=lambda name: (name == PLAIN, -_count(made, name), name))
    return [Kind(name, rows := _count(made, name), rows / total, asked.get(name)) for name in names]


def _reasons(reasons: Mapping[str, Any]) -> list[Reason]:
    found = [
        Reason(outcome, reason, _count(read_mapping(reasons, outcome), reason))
        for outcome in reasons
        for reason in read_mapping(reasons, outcome)
    ]
    return sorted(found, key=lambda reason: -reason.rows)


def _step_bars(steps: Mapping[str, Any]) -> Markup:
    numbers = sorted((int(name), _count(steps, name)) for name in steps if name.isdigit())
    bars = [(f"{number} step{'s' if number > 1 else ''}", rows) for number, rows in numbers]
    return draw_bars(bars, title="Rows by number of steps")


def _control(control: Mapping[str, Any]) -> str:
    if not control:
        return ""
    tokens = f", {_count(control, 'tokens'):,} tokens, matched to the chained rows" if "tokens" in control else ""
    return f"{_count(control, 'rows'):,} rows{tokens}"


def _lengths(rows: Path, parents: Path | None = None) -> tuple[list[Length], int]:
    """Medians over the first rows, and over how many."""
    after = [_part_lengths(row) for row in read_structs(rows, Example)]
    before = [_part_lengths(row) for row in read_structs(parents, Example, len(after))] if parents else []
    if not after:
        return [], 0
    found = [
        Length(part, _median(row[i] for row in before), _median(row[i] for row in after) or 0)
        for i, part in enumerate(("instruction", "input", "answer"))
    ]
    return [length for length in found if length.after or length.before], len(after)


def _part_lengths(row: Example) -> tuple[int, int, int]:
    if row.turns:
        return _said(row.turns, "user"), 0, _said(row.turns, "assistant")
    return len(row.instruction), len(row.input), len(row.output)


def _said(turns: Sequence[Turn], role: str) -> int:
    return sum(len(as_text(turn.content)) for turn in turns if turn.role == role)


def _median(values: Iterable[int]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _card(pair: Pair) -> Card:
    row, parent = pair.row, pair.parent
    count = len(row.steps)
    kind = [pair.kind, f"{count} step{'s' if count > 1 else ''}" if count else "", "dialogue" if row.turns else ""]
    read = row.origin[0] if row.origin else None
    source = f"{read.source.rpartition('/')[2]}, row {read.row}" if read and read.source else ""
    legend = [step.check.replace("_", " ") or ("own task" if step.kind == "seed" else pair.kind) for step in row.steps]
    before = show_parent(parent, row) if parent and row.steps else []
    same_input = parent is not None and bool(before) and parent.input == row.input
    after = [
        Message("input, the same", None) if same_input and message.role == "input" else message
        for message in show_row(row)
    ]
    return Card(" · ".join(filter(None, kind)), source, legend, before, after)
