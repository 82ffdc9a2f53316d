"""Evaluation: 805 prompts x 3 calls (answer, verdicts a step, quality) at a server without latency, and the bootstrap.

The whole of `seqtune eval`, from starting Python to the figures: ledgers, store, quotes looked up, intervals.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from bench.clients import PEERS, find_peers, mock_server
from bench.figure import Figure, measure, typical
from seqtune.building.prompting import find_prompt
from seqtune.data.example import Example, Step
from seqtune.data.writer import write
from seqtune.evaluation.judging.asking import PROMPTS
from seqtune.evaluation.statistics.bootstrap import paired_bootstrap

ITEMS = 805
CALLS = 3
REPEATS = 3
FIRST, SECOND = "The first of the things is told here.", "And this is what was asked for after it."


def figures() -> Iterator[Figure]:
    """Seconds, memory, a rerun that asks nothing, and how a bare client compares."""
    with tempfile.TemporaryDirectory() as place, mock_server("bench.evaluation:rule") as url:
        folder = Path(place)
        write(map(_item, range(ITEMS)), folder / "items.jsonl")
        ours = typical([measure(_command(url, folder, i)) for i in range(REPEATS)])
        _require_all_judged(folder / "out0")
        again = measure(_command(url, folder, 0))
        yield Figure("805 prompts x 3 calls, wall time", ours.wall_s, "s", 8)
        yield Figure("805 prompts x 3 calls, CPU a prompt", ours.cpu_s * 1000 / ITEMS, "ms")
        yield Figure("805 prompts x 3 calls, peak memory", ours.peak_mib, "MiB", 100)
        yield Figure("the same again, nothing asked: wall time", again.wall_s, "s")
        for peer in find_peers(PEERS[:1]):
            words = ["-m", f"bench.peers.{peer.module}", url, place, str(ITEMS), "defaults"]
            bare = typical([measure(words, python=peer.python) for _ in range(REPEATS)])
            yield Figure(f"{peer.name}, as many calls and no judging: wall time", bare.wall_s, "s")
            yield Figure(f"wall time / {peer.name}", ours.wall_s / bare.wall_s, "x")
    rng = Random(0)
    differences = [float(rng.choice((-1, 0, 0, 0, 1))) for _ in range(ITEMS)]
    started = time.perf_counter()
    paired_bootstrap(differences)
    yield Figure("paired bootstrap, 10,000 draws of 805 items", time.perf_counter() - started, "s", 1)


def _item(number: int) -> Example:
    steps = (Step(f"tell the first thing about case {number}"), Step("tell what follows from it"))
    return Example(f"First tell the first thing about case {number}, then what follows from it.", steps=steps)


def _command(url: str, folder: Path, run: int) -> list[str]:
    words = ["-m", "seqtune", "eval", "--suite", str(folder / "items.jsonl"), "--out", str(folder / f"out{run}")]
    return [*words, "--model", f"{url}#mock", "--judge", f"{url}#judge", "--concurrency", "128", "--quiet"]


def _require_all_judged(out: Path) -> None:
    strict = json.loads((out / "metrics.json").read_bytes())["figures"][-1]["measures"]["strict"]
    if (strict["of"], strict["value"]) != (ITEMS, 1.0):
        print(f"not all of {ITEMS} answers were judged as they should be: {strict}", file=sys.stderr)
        raise SystemExit(1)


def rule(asked: Mapping[str, Any]) -> str:
    """The mock server's rule: every answer does both steps, and the judge says so with its quotes."""
    text = asked["messages"][-1]["content"]
    if text.startswith(find_prompt("verdicts", PROMPTS).head):
        quotes = [{"step": 1, "quote": FIRST, "done": True}, {"step": 2, "quote": SECOND, "done": True}]
        return json.dumps({"steps": quotes})
    return "[[4]]" if text.startswith(find_prompt("quality", PROMPTS).head) else f"{FIRST}\n{SECOND}"
