"""Asking a teacher: 2,000 rows x 3 dependent calls, 128 in flight, 200 ms each; whole process, reply store included."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figure import Figure, Measured, measure

ROWS = 2_000
MANY_ROWS = 20_000
CALLS = 3
IN_FLIGHT = 128
LATENCY_S = 0.2
LIMIT_S = ROWS * CALLS * LATENCY_S / IN_FLIGHT


def figures() -> Iterator[Figure]:
    """Wall time against the limit, CPU a call, memory; then the same again from the store, and memory at ten times."""
    with tempfile.TemporaryDirectory() as folder, _mock_server(LATENCY_S) as url:
        store = Path(folder, "replies.sqlite")
        first = _run(url, store, ROWS)
        yield Figure("wall time / limit", first.wall_s / LIMIT_S, "x", 1.15)
        yield Figure("CPU a call", first.cpu_s * 1000 / (ROWS * CALLS), "ms", 0.6)
        yield Figure("peak memory, 2,000 rows", first.peak_mib, "MiB", 120)
    with tempfile.TemporaryDirectory() as folder, _mock_server(0.0) as url:
        store = Path(folder, "replies.sqlite")
        many = _run(url, store, MANY_ROWS)
        yield Figure("CPU a call, 20,000 rows, no latency", many.cpu_s * 1000 / (MANY_ROWS * CALLS), "ms", 0.6)
        yield Figure("peak memory, 20,000 rows / 2,000 rows", many.peak_mib / first.peak_mib, "x", 1.1)
        again = _run(url, store, MANY_ROWS)
        idle = measure(["-m", "bench.seq_instruct", url, str(store), "0"])
        yield Figure("from the store, whole process", _per_1000_ms(again.wall_s), "ms per 1,000 calls")
        yield Figure(
            "from the store, without start-up", _per_1000_ms(again.wall_s - idle.wall_s), "ms per 1,000 calls", 100
        )


def _per_1000_ms(wall_s: float) -> float:
    return wall_s * 1e6 / (MANY_ROWS * CALLS)


def _run(url: str, store: Path, rows: int) -> Measured:
    return measure(["-m", "bench.seq_instruct", url, str(store), str(rows)])


@contextmanager
def _mock_server(latency_s: float) -> Iterator[str]:
    """The mock server as a process of its own; its time is not ours."""
    words = [
        sys.executable,
        "-m",
        "seqtune",
        "mock-server",
        "--port",
        "0",
        "--json",
        "--latency-ms",
        str(latency_s * 1e3),
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["url"] + "#mock"
        finally:
            server.terminate()


async def _work(url: str, store: str, rows: int) -> None:
    from seqtune.llm.asking import Teacher, each, open_teacher
    from seqtune.llm.reply import Reply
    from seqtune.llm.request import Request, user

    async def three_calls(teacher: Teacher, row: int) -> None:
        text = f"row {row}: " + "name the colours of the rainbow in order and say why each is where it is. " * 6
        for step in range(CALLS):
            request = Request(
                model=teacher.model, messages=(user(f"step {step}: {text}"),), temperature=0, max_tokens=300
            )
            outcome = await teacher(request)
            assert isinstance(outcome, Reply), outcome
            text = outcome.text

    async with open_teacher(url, store=store, concurrency=IN_FLIGHT) as teacher:
        async for _ in each(lambda row: three_calls(teacher, row), range(rows), in_flight=2 * IN_FLIGHT):
            pass


if __name__ == "__main__":
    began = time.perf_counter()
    asyncio.run(_work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    print(f"{time.perf_counter() - began:.3f} s", file=sys.stderr)
