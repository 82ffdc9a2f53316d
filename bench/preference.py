"""What the preference stage moves: the demo's model before and after it, beside training on as many right rows.

Two starts, for the two things that go wrong. "unsure" has seen too few rows to get its words right. "careless" has seen
enough, but in half of its chains a step was dropped, swapped or merged: what a teacher writes whom nobody checks.
`SEEDS=0,1,2 python -m bench preference` gives three seeds; one takes about seven minutes of a core.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from msgspec import structs

from bench.figure import Figure
from seqtune.building.damage import Damaged, spoil
from seqtune.data.example import Example
from seqtune.evaluation.run import evaluate
from seqtune.evaluation.suite import ChainMaker, Suite, chain_maker, chains
from seqtune.training.run import train

if TYPE_CHECKING:
    from seqtune.training.model import Loaded

STEPS = (1, 2, 3)
ITEMS = 200  # of each number of steps
LONGEST_ANSWER = 96  # tokens
STARTS = {"unsure": (600_000, 0.0), "careless": (1_000_000, 0.5)}  # tokens, share of chains with a damaged answer
ROWS = 2_000  # for the preference stage, of one to three steps
PAIRED: Mapping[str, Any] = {"steps": 125, "pairs_per_step": 16}
ARMS: Mapping[str, Mapping[str, Any]] = {
    "as many right rows": {"learning_rate": 1e-4, "likelihood": 0.0, "trl": {"loss_type": ["sft"]}, **PAIRED},
    "DPO": {"learning_rate": 1e-5, "likelihood": 0.0, **PAIRED},
    "DPO with likelihood": {"learning_rate": 1e-4, "likelihood": 4.0, **PAIRED},
    "GRPO": {"learning_rate": 2e-4, "steps": 200, "temperature": 0.7},
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
    made = spoil(row, seed=seed)
    return structs.replace(row, output=made.answer) if isinstance(made, Damaged) else row


def _arms(start: str, model: Path, maker: ChainMaker, folder: Path) -> Iterator[Figure]:
    from seqtune.training.model import load

    rows = _rows(maker, ROWS, Random(f"{maker.seed}/preference"))
    yield from _scores(f"{start}, before", load(model), maker, folder)
    for arm, options in ARMS.items():
        loaded, started = load(model, dtype="float32"), time.process_time()
        _tune(arm, loaded, rows, maker.seed, folder, options)
        yield Figure(f"{start}, {arm}: CPU", time.process_time() - started, "s")
        yield from _scores(f"{start}, {arm}", loaded, maker, folder)


def _tune(
    arm: str, loaded: Loaded, rows: Sequence[Example], seed: int, folder: Path, options: Mapping[str, Any]
) -> None:
    from seqtune.training.pairs import render_pairs
    from seqtune.training.preference import tune_by_pairs, tune_by_reward
    from seqtune.training.rewards import render_questions

    if arm == "GRPO":
        questions, _ = render_questions(rows, loaded.tokenizer, max_length=2048)
        tune_by_reward(loaded, questions, seed=seed, folder=folder / "tuning", **options)
    else:
        pairs, _ = render_pairs(rows, loaded.tokenizer, seed=seed, max_length=2048)
        tune_by_pairs(loaded, pairs, seed=seed, folder=folder / "tuning", **options)


def _scores(name: str, loaded: Loaded, maker: ChainMaker, folder: Path) -> Iterator[Figure]:
    suite = Suite("chains", chains(STEPS, per_length=ITEMS, seed=maker.seed, maker=maker).items)
    done = evaluate(loaded, suite, out=folder / "eval", max_new_tokens=LONGEST_ANSWER, overwrite=True)
    for line in done.figures:
        yield Figure(f"{name}: {line.steps} step(s), whole answers", line.exact.value or 0.0, "share")
        yield Figure(f"{name}: {line.steps} step(s), steps done", line.per_step.value or 0.0, "share")
