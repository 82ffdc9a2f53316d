"""The table of an experiment as text, for a terminal and for a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from seqtune.data.folder import replacing, write_json
from seqtune.experiment.results import Cell, Results, TableRow, Taken
from seqtune.experiment.spread import Spread

LEGEND = (
    "means over seeds with 95 % intervals that take both seeds and items into account; differences are paired by seed "
    "and item."
)


def write_results(results: Results, folder: Path) -> None:
    """results.json for programs and the report, which shows its tables as text, and results.md for people."""
    tables = {"table": table_rows(results), "taken": taken_rows(results)}
    shown = {name: {"columns": columns, "rows": rows} for name, (columns, rows) in tables.items()}
    values = msgspec.to_builtins(results)
    write_json(folder / "results.json", {**values, "text": {"legend": legend(results), **shown}})
    with replacing(folder / "results.md") as file:
        file.write(markdown(results).encode())


def table_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of the measure that is shown: a row for each split, number of steps and arm."""
    lines = results.lines[results.measure]
    whole = results.measure == "quality"
    after = any(cell.gain for line in lines for cell in line.cells)
    columns = ["split", "steps", "items", "arm", "mean (95 %)", *[f"seed {seed}" for seed in results.seeds]]
    columns += [f"minus {results.taken[0].arm} (95 %)", *["minus where it goes on (95 %)"] * after]
    rows = [
        [
            *_head(line, cell),
            _told(cell.measure, whole),
            *[_number(one, whole) for one in cell.measure.seeds],
            _told(cell.difference, whole, "+"),
            *[_told(cell.gain, whole, "+")] * after,
        ]
        for line in lines
        for cell in line.cells
    ]
    return columns, rows


def _head(line: TableRow, cell: Cell) -> list[str]:
    return [line.group, "" if line.steps is None else str(line.steps), f"{line.items:,}", cell.arm]


def _told(one: Spread | None, whole: bool, sign: str = "") -> str:
    if one is None:
        return ""
    low, high = _number(one.low, whole, sign), _number(one.high, whole, sign)
    return f"{_number(one.value, whole, sign)} ({low} to {high})"


def _number(value: float | None, whole: bool, sign: str = "") -> str:
    """A share in per cent, or a quality of 1 to 5 as it is."""
    if value is None:
        return "-"
    return f"{value:{sign}.2f}" if whole else f"{100 * value:{sign}.1f}"


def legend(results: Results) -> str:
    """What the table says."""
    return f"{results.measure}{'' if results.measure == 'quality' else ', %'}: {LEGEND}"


def markdown(results: Results) -> str:
    """The results as a page: what is measured, what each arm took, what a reader must know."""
    parts = [f"# {results.name}", legend(results), _markdown_table(*table_rows(results))]
    parts += ["What the trainings took:", _markdown_table(*taken_rows(results))]
    parts += ["\n".join(f"- {note}" for note in results.notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def taken_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of what each training took, as text."""
    columns = ["arm", "seed", "after", "rows", "left out", "tokens", "trained tokens", "steps", "CPU s"]
    return columns, [
        [one.arm, str(one.seed), one.after, *map("{:,}".format, _counts(one)), f"{one.cpu_s:.0f}"]
        for one in results.taken
    ]


def _counts(one: Taken) -> tuple[int, ...]:
    return one.rows, one.unused, one.tokens, one.trained_tokens, one.steps


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
