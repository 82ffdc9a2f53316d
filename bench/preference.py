"""What the preference stage moves: the demo's model before and after it, beside training on as many right rows.

Two starts, for the two things that go wrong. "unsure" has seen too few rows to get its words right. "careless" has seen
enough, but in half of its chains a step was dropped, swapped or merged: what a teacher writes whom nobody checks. The
pairs of DPO hold these three damages, too; `seqtune demo --long` has pairs in which a step is dropped or added.
`SEEDS=0,1,2 python -m bench preference` gives three seeds; one takes about seven minutes of a core.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from msgspec import structs

from bench.figure import Figure
from seqtune.building.damage import Damaged, spoil
from seqtune.data.example import Example
from seqtune.evaluation.run import evaluate
from seqtune.evaluation.suite import Suite
from seqtune.evaluation.suites.generated_chains import ChainMaker, chain_maker, chains
from seqtune.training.run import train

STEPS = (1, 2, 3)
ITEMS = 200  # of each number of steps
LONGEST_ANSWER = 96  # tokens
STARTS = {"unsure": (600_000, 0.0), "careless": (1_000_000, 0.5)}  # tokens, share of chains with a damaged answer
PAIRED = 3_000  # rows of one to three steps, of which two in three bear a pair: 125 steps
ASKED = 1_600  # 200 steps
CARELESS = ["drop_step", "swap_steps", "merge_steps"]
PAIRS: Mapping[str, Any] = {"method": "dpo", "damages": CARELESS, "schedule": "linear"}
ARMS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "as many right rows": (PAIRED, {"learning_rate": 1e-4, "trl": {"loss_type": ["sft"]}, **PAIRS}),
    "DPO": (PAIRED, {"learning_rate": 1e-5, "likelihood": 0.0, **PAIRS}),
    "DPO with likelihood": (PAIRED, {"learning_rate": 1e-4, "likelihood": 4.0, **PAIRS}),
    "GRPO": (ASKED, {"method": "grpo", "schedule": "linear", "learning_rate": 2e-4, "temperature": 0.7}),
}


def figures() -> Iterator[Figure]:
    """Shares of items with the whole answer right, and of steps done, and the CPU seconds of each arm."""
    import torch

    torch.set_num_threads(1)
    for seed in map(int, os.environ.get("SEEDS", "0").split(",")):
        maker = chain_maker(seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            for start, (tokens, damaged) in STARTS.items():
                model = _train(maker, tokens, damaged, Path(folder) / start)
                yield from _arms(f"seed {seed}, {start}", model, maker, Path(folder) / start)


def _train(maker: ChainMaker, tokens: int, damaged: float, folder: Path) -> Path:
    rng = Random(f"{maker.seed}/start")
    rows = _rows(maker, tokens // 40, rng)  # more than enough: a row has some 50 tokens
    rows = [_careless(row, maker.seed) if rng.random() < damaged else row for row in rows]
    return train(rows, out=folder, seed=maker.seed, max_tokens=tokens).model


def _rows(maker: ChainMaker, count: int, rng: Random) -> list[Example]:
    return [maker.draw(STEPS[i % len(STEPS)], rng, for_training=True) for i in range(count)]


def _careless(row: Example, seed: int) -> Example:
    made = spoil(row, seed=seed, kinds=CARELESS)
    return structs.replace(row, output=made.answer) if isinstance(made, Damaged) else row


def _arms(start: str, model: Path, maker: ChainMaker, folder: Path) -> Iterator[Figure]:
    rows = _rows(maker, PAIRED, Random(f"{maker.seed}/preference"))
    yield from _scores(f"{start}, before", model, maker, folder)
    for arm, (count, options) in ARMS.items():
        done = train(rows[:count], model, out=folder / arm, seed=maker.seed, **options)
        yield Figure(f"{start}, {arm}: CPU", done.cpu_s, "s")
        yield from _scores(f"{start}, {arm}", done.model, maker, folder)


def _scores(name: str, model: Path, maker: ChainMaker, folder: Path) -> Iterator[Figure]:
    suite = Suite("chains", chains(STEPS, per_length=ITEMS, seed=maker.seed, maker=maker).items)
    done = evaluate(model, suite, out=folder / "eval", max_new_tokens=LONGEST_ANSWER, overwrite=True)
    for line in done.figures:
        if line.steps:  # the last line is of all together
            yield Figure(f"{name}: {line.steps} step(s), whole answers", line.measures["exact"].value or 0.0, "share")
            yield Figure(f"{name}: {line.steps} step(s), steps done", line.measures["soft"].value or 0.0, "share")
