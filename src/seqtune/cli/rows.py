"""seqtune ls, seqtune convert"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from seqtune import console

if TYPE_CHECKING:
    from seqtune.data.failure import Failure


class Kind(str, Enum):
    """What `seqtune ls` can list."""

    chains = "chains"
    operations = "operations"
    gates = "gates"
    formats = "formats"
    recipes = "recipes"
    suites = "suites"


def ls(
    kind: Annotated[Kind, typer.Argument(help="chains, operations, gates, formats, recipes or suites.")],
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """List what there is: chains, operations, gates, formats, recipes or suites."""
    console.set_mode(json=json)
    columns, rows = _LISTS[kind]()
    console.result(console.table("", columns, rows))
    console.result_json({kind.value: [dict(zip(columns, row, strict=True)) for row in rows]})


def convert(
    source: Annotated[str, typer.Argument(help="Rows: a file, a saved dataset, a hub id.")],
    out: Annotated[str, typer.Argument(help="The file to write, e.g. rows.jsonl, rows.parquet, rows.jsonl.gz.")],
    format: Annotated[str, typer.Option(help="Format to write; see 'seqtune ls formats'.")] = "auto",
    limit: Annotated[int | None, typer.Option(help="Read at most this many rows.")] = None,
) -> None:
    """Write rows in another format: chat messages, Alpaca, TRL prompt/completion, Parquet."""
    from seqtune.data.reader import read
    from seqtune.data.writer import write

    failures: list[Failure] = []
    written = write(read(source, limit=limit, on_failure=failures.append), out, format=format)
    for failure in failures[:10]:
        console.complain(f"left out: {failure}")
    console.result(f"{written.rows:,} rows in {written.path} ({written.format}); {len(failures):,} could not be read")
    for field, rows in written.left_out.items():
        console.result(f"  {rows:,} rows: the format has no place for their {field}")


def _list_chains() -> tuple[list[str], list[list[str]]]:
    from seqtune.building.weaving import chains

    rows = [
        [
            chain.name,
            chain.summary,
            ", ".join(
                name if option.default is option.empty else f"{name}={_short(option.default)}"
                for name, option in chain.options.items()
            ),
        ]
        for chain in chains().values()
    ]
    return ["chain", "what it does", "options"], rows


def _short(value: object) -> str:
    return "-".join(map(str, value)) or "all" if isinstance(value, tuple) else str(value) or "none"


def _list_gates() -> tuple[list[str], list[list[str]]]:
    from seqtune.building.gates import gates

    return ["gate", "looks at", "lets pass"], [[one.name, one.on, one.summary] for one in gates().values()]


def _list_operations() -> tuple[list[str], list[list[str]]]:
    from seqtune.building.gold import operations

    return ["operation", "what it does"], [[one.name, one.summary] for one in operations().values()]


def _list_formats() -> tuple[list[str], list[list[str]]]:
    from seqtune.data.format import formats

    rows = [[name, ", ".join(columns), summary] for name, (columns, summary) in formats().items()]
    return ["format", "columns", "what it is"], rows


def _list_recipes() -> tuple[list[str], list[list[str]]]:
    from seqtune.recipe import shipped_recipes

    return ["recipe", "what it does"], [[name, summary] for name, summary in shipped_recipes().items()]


def _list_suites() -> tuple[list[str], list[list[str]]]:
    from seqtune.evaluation.suite import suites

    return ["suite", "what it asks", "options"], [[one.name, one.summary, ", ".join(one.options)] for one in suites()]


_LISTS = {
    Kind.chains: _list_chains,
    Kind.operations: _list_operations,
    Kind.gates: _list_gates,
    Kind.formats: _list_formats,
    Kind.recipes: _list_recipes,
    Kind.suites: _list_suites,
}
