"""Seq-Instruct: 2,000 rows x 3 dependent calls, 128 in flight, 200 ms each; with store, parsing, gates and checks."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from bench.build import SEEDS
from bench.clients import mock_server
from bench.figure import Figure, Measured, measure
from seqtune.building.prompting import few_shot_order, find_prompt, render, tags
from seqtune.building.rehearsal import prompt_name, tagged
from seqtune.data.example import Example
from seqtune.data.reader import read
from seqtune.llm.mock import answer_by_hash

ROWS = 2_000
MANY_ROWS = 100_000
CALLS = 3  # grow, respond, judge: one round of the default procedure
IN_FLIGHT = 128
LATENCY_S = 0.2
LIMIT_S = ROWS * CALLS * LATENCY_S / IN_FLIGHT
BLOCK_CHARS = 64  # about the 16 tokens that servers keep as one block of their prefix cache
SYLLABLES = (
    "ka",
    "lo",
    "mir",
    "ten",
    "vus",
    "dal",
    "pre",
    "sol",
    "gri",
    "nem",
    "bat",
    "hul",
    "fex",
    "jor",
    "wim",
    "zap",
)


def figures() -> Iterator[Figure]:
    """Wall time against the limit, CPU a call, memory, the same again from the store, and the prefix cache's share."""
    with tempfile.TemporaryDirectory() as folder, mock_server("bench.seq_instruct:reply", LATENCY_S) as url:
        first = _run(url, Path(folder), ROWS)
        yield Figure("wall time / limit", first.wall_s / LIMIT_S, "x", 1.15)
        yield Figure("CPU a call", first.cpu_s * 1000 / (ROWS * CALLS), "ms", 0.6)
        yield Figure("peak memory, 2,000 rows", first.peak_mib, "MiB", 120)
    with tempfile.TemporaryDirectory() as folder, mock_server("bench.seq_instruct:reply") as url:
        many = _run(url, Path(folder), MANY_ROWS)
        yield Figure("CPU a call, 100,000 rows, no latency", many.cpu_s * 1000 / (MANY_ROWS * CALLS), "ms", 0.6)
        yield Figure("peak memory, 100,000 rows", many.peak_mib, "MiB", 120)
        yield Figure("peak memory, 100,000 rows / 2,000 rows", many.peak_mib / first.peak_mib, "x", 1.1)
        again = _run(url, Path(folder), MANY_ROWS)
        yield Figure("finished build again, time a call", again.wall_s * 1000 / (MANY_ROWS * CALLS), "ms", 0.1)
    yield from _prefix_shares()


def _run(url: str, folder: Path, rows: int) -> Measured:
    """One whole `seqtune build`; every row must become an example."""
    source, out = folder / f"{rows}.jsonl", folder / "out"
    if not source.exists():
        with source.open("wb") as file:  # row by row: a child's peak memory starts from what its parent holds
            file.writelines(msgspec.json.encode(row) + b"\n" for row in _rows(rows))
    chain = "[{chain: seq_instruct, rounds: 1}]"
    words = ["-m", "seqtune", "build", "--from", str(source), "--llm", f"{url}#mock", "--out", str(out), "--quiet"]
    words += ["--concurrency", str(IN_FLIGHT), "--store", str(folder / "replies.sqlite"), "--control", "none"]
    measured = measure([*words, "--set", f"build.chains={chain}"])
    summary = json.loads((out / "run.json").read_bytes())
    calls = sum(stage["calls"] for stage in summary["teacher"]["stages"].values())
    if (summary["examples"], calls) != (rows, rows * CALLS):
        raise RuntimeError(
            f"{rows:,} rows gave {summary['examples']:,} examples in {calls:,} calls: {summary['reasons']}"
        )
    return measured


def _rows(count: int) -> Iterator[dict[str, str]]:
    """The bundled rows with words of their own, so that none is nearly another."""
    seeds, rng = [row for row in read(str(SEEDS)) if not row.turns], Random(0)
    for i in range(count):
        seed = seeds[i % len(seeds)]
        words = " ".join("".join(rng.choices(SYLLABLES, k=3)) for _ in range(24))
        yield {
            "instruction": f"{seed.instruction} Use these words: {words}.",
            "input": seed.input,
            "output": seed.output,
        }


def reply(asked: dict[str, Any]) -> str:
    """The mock server's rule: a task is always put before, and always done, so that each row takes three calls."""
    text = asked["messages"][-1]["content"]
    name = prompt_name(text)
    if name == "judge":
        words = text.rsplit("\n", 2)[-2].split()
        steps = [{"step": 1, "quote": words[0], "done": True}, {"step": 2, "quote": words[-1], "done": True}]
        return json.dumps({"steps": steps})
    if name == "grow":
        instruction = tagged(text, "instruction")
        grown = f"First list three facts that help. Then: {instruction}"
        return json.dumps(
            {"choice": "before", "steps": ["List three facts that help.", instruction], "instruction": grown}
        )
    return answer_by_hash(asked)


def _prefix_shares() -> Iterator[Figure]:
    """What share of all prompts a server with an endless prefix cache need not compute again."""
    rows = [Example(row["instruction"], row["input"]) for row in _rows(ROWS)]
    ours = _cached_share(_prompt(row, few_shot_order(0, row.id)) for row in rows)
    shuffled = _cached_share(_shuffled_prompt(row) for row in rows)
    yield Figure("prompt tokens that a prefix cache could serve", ours * 100, "%")
    yield Figure("the same with examples shuffled for every row", shuffled * 100, "%")
    yield Figure("tokens left to compute, shuffled / ours", (1 - shuffled) / (1 - ours), "x")


def _prompt(row: Example, order: int) -> str:
    texts = tags(row.instruction, row.input)
    return render("grow", order, instruction=row.instruction, input=row.input, tasks=[], **texts)


def _shuffled_prompt(row: Example) -> str:
    prompt = find_prompt("grow")
    shots = Random(row.id).sample(prompt.shots, len(prompt.shots))
    own = re.split(r"\n\n(?=<instruction)", _prompt(row, 0))[-1]
    return "\n\n".join([prompt.head, *shots, own])


def _cached_share(prompts: Iterable[str]) -> float:
    known: set[int] = set()
    served = asked = 0
    for prompt in prompts:
        asked += len(prompt)
        hashes = [hash(prompt[:end]) for end in range(BLOCK_CHARS, len(prompt) + 1, BLOCK_CHARS)]
        served += BLOCK_CHARS * sum(1 for found in hashes if found in known)
        known.update(hashes)
    return served / asked
