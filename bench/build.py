"""Building chains: against only decoding and encoding the same rows, and memory from 52,000 to 1,000,000 rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.figure import Figure, measure, typical

ROWS = 52_000
MANY_ROWS = 1_000_000
RUNS = 3
SHARED = Path(__file__).parents[2] / "shared" / "data" / "alpaca" / "alpaca_1k.json"
SEEDS = Path(__file__).parents[1] / "src" / "seqtune" / "data" / "seeds.jsonl"

DECODE_AND_ENCODE = """
import sys
import msgspec
decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
with open(sys.argv[1], "rb") as rows, open(sys.argv[2], "wb") as out:
    for line in rows:
        out.write(encode(decode(line)))
        out.write(b"\\n")
"""


def figures() -> Iterator[Figure]:
    """Wall-time ratios, peak memory, start-up."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _speed(Path(folder))
        yield from _memory(Path(folder))
    yield Figure("seqtune --help", typical([measure(["-m", "seqtune", "--help"]) for _ in range(5)]).wall_s, "s", 0.3)
    yield Figure("import seqtune", typical([measure(["-c", "import seqtune"]) for _ in range(5)]).wall_s, "s")


def _speed(folder: Path) -> Iterator[Figure]:
    rows = _write_rows(folder / "rows.jsonl", ROWS)
    runs: dict[str, list[float]] = {"repeat": [], "operations": []}
    for _ in range(RUNS):
        bare = measure(["-c", DECODE_AND_ENCODE, str(rows), str(folder / "again.jsonl")])
        for chain, ratios in runs.items():
            ratios.append(measure(_build(rows, chain, folder)).wall_s / bare.wall_s)
    for chain, ratios in runs.items():
        ratio = sorted(ratios)[RUNS // 2]
        yield Figure(f"{chain}: wall time / decode and encode only", ratio, "x", 3.0 if chain == "repeat" else None)


def _memory(folder: Path) -> Iterator[Figure]:
    few = measure(_build(_write_rows(folder / "few.jsonl", ROWS), "repeat", folder))
    many = measure(_build(_write_rows(folder / "many.jsonl", MANY_ROWS), "repeat", folder))
    yield Figure("peak memory, 52,000 rows", few.peak_mib, "MiB")
    yield Figure("peak memory, 1,000,000 rows", many.peak_mib, "MiB")
    yield Figure("peak memory, 1,000,000 rows / 52,000 rows", many.peak_mib / few.peak_mib, "x", 1.1)


def _build(rows: Path, chain: str, folder: Path) -> list[str]:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    return [
        "-m",
        "seqtune",
        "build",
        "--from",
        str(rows),
        "--chain",
        chain,
        "--unfit",
        "plain",
        "--out",
        str(out),
        "--quiet",
    ]


def _write_rows(path: Path, count: int) -> Path:
    """The real rows where they are at hand, else the bundled ones, repeated with changed ids."""
    real = SHARED.is_file()
    rows = msgspec.json.decode(SHARED.read_bytes()) if real else [*map(msgspec.json.decode, SEEDS.open("rb"))]
    with path.open("wb") as file:
        for i in range(count):
            file.write(msgspec.json.encode({**rows[i % len(rows)], "id": i}) + b"\n")
    return path
