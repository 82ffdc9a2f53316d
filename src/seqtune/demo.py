"""The demo: the whole loop on one machine without a GPU or a service, small enough to watch.

Two small models are trained from scratch on equally many tokens: one on single tasks (IT), one on chains of them (SIT).
Both then answer the same fresh chains, and a program checks every step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from itertools import cycle
from pathlib import Path
from random import Random

from seqtune.building.engine import build
from seqtune.data.example import Example, prompt_text
from seqtune.data.folder import claim_folder, versions, write_json, write_summary
from seqtune.data.writer import write
from seqtune.errors import RecipeError
from seqtune.evaluation.run import Evaluation, evaluate
from seqtune.evaluation.figures import Figures
from seqtune.evaluation.statistics import Measure
from seqtune.evaluation.suites.chains import WORD_OPERATIONS, ChainMaker, chain_maker, chains
from seqtune.evaluation.suite import Suite
from seqtune.training.loss import Loss
from seqtune.training.model import PACKAGES, require_packages
from seqtune.training.run import Training, tiny_tokenizer, train
from seqtune.training.words import pieces

Say = Callable[[str, Loss | int], object]

LONGEST_ANSWER = 96  # tokens; the longest right one has about 40
ARMS = ("it", "sit")
TRAINED_STEPS = {"it": (1,), "sit": (1, 2, 3)}
UNSEEN_PAIRS = 6
SEEN, UNSEEN, LONGER = "seen pairs", "unseen pairs", "more steps than trained"
KINDS = ((SEEN, 1), (SEEN, 2), (SEEN, 3), (UNSEEN, 2), (LONGER, 4))

# What the bundled rows become, to be looked at in the report; the small models are trained on word lists alone.
SEED_ROWS = resources.files("seqtune.data").joinpath("seeds.jsonl")
SEED_MIX = (
    {"chain": "operations", "steps": 2, "share": 0.4, "style": "mixed"},
    {"chain": "operations", "steps": 3, "share": 0.2, "style": "mixed"},
    {"chain": "repeat", "share": 0.1},
    {"chain": "paraphrase", "share": 0.1},
    {"chain": "repeat", "share": 0.05, "dialogue": True},
)

CAVEAT = (
    "This shows the pipeline and the metric, not the effect in a large model. Both models are trained from scratch on "
    "tasks on short lists of words. That the one trained on single tasks (IT) follows no chain is nearly built in: it "
    "has never seen one. And at this size no model goes beyond the number of steps that it was trained on."
)


@dataclass(frozen=True)
class Cell:
    """Items of one kind, and the share of them that each arm answered exactly (and the share of steps done)."""

    group: str
    steps: int
    items: int
    it: Measure
    sit: Measure
    it_steps: Measure
    sit_steps: Measure


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Args:
        out: the folder: build/ (chains of the bundled rows), rows/ and tokenizer/ (of both arms), it/ and sit/
            (trainings), eval/it and eval/sit, demo.json.
        seed: of the rows, the weights and the items.
        trainings, evaluations: by arm, "it" and "sit".
        table: a line for each kind of item.
        caption: what the table is of.
        caveat: what the table does not show.
    """

    out: Path
    seed: int
    trainings: dict[str, Training]
    evaluations: dict[str, Evaluation]
    table: tuple[Cell, ...]
    caption: str
    caveat: str = CAVEAT


def demo(
    out: str | Path,
    *,
    seed: int = 0,
    tokens: int = 1_000_000,
    items: int = 200,
    threads: int = 1,
    overwrite: bool = False,
    say: Say | None = None,
) -> Demo:
    """Build an IT and a SIT set, train a model on each, let both answer the same items, and score them.

    Args:
        out: the folder for everything.
        seed: of the rows, the weights and the items.
        tokens: what each model is trained on, prompts and answers together.
        items: of each kind.
        threads: for torch. Models this small gain little from a second, which waits for the first wherever another
            process has the core, which once made a run of two minutes one of seven.
        overwrite: take the folder whatever it holds.
        say: called with what is going on ("train it", "answer sit", ...) and how far it is.

    Raises:
        RunFolderError: the folder holds something else.
        MissingExtraError: torch or transformers is not installed.
    """
    require_packages("the demo")
    if tokens < 1 or items < 1:
        raise RecipeError(f"tokens is {tokens} and items {items}", fix="give numbers above 0")
    folder = Path(out)
    fingerprint = f"{seed}/{tokens}/{items}"
    claim_folder(folder, "demo", fingerprint, overwrite=overwrite)
    started = time.perf_counter()
    maker = chain_maker(WORD_OPERATIONS, unseen=UNSEEN_PAIRS, seed=seed)
    suite = _suite(maker, items, seed)
    build(from_=str(SEED_ROWS), chain=SEED_MIX, unfit="plain", seed=seed, out=str(folder / "build"), overwrite=True)
    with _threads(threads):
        _write_rows(maker, tokens, folder)
        trainings = {arm: _train(arm, folder, seed, tokens, say) for arm in ARMS}
        evaluations = {arm: _evaluate(arm, trainings[arm], suite, folder, say) for arm in ARMS}
    done = Demo(folder, seed, trainings, evaluations, _table(evaluations), _caption(maker, trainings["sit"]))
    _write(done, maker, fingerprint, time.perf_counter() - started)
    return done


def _suite(maker: ChainMaker, items: int, seed: int) -> Suite:
    """Items of every kind, on texts that no training row holds."""
    parts = [
        chains((steps,), per_length=items, seed=seed, maker=maker, unseen_pairs=group == UNSEEN, group=group)
        for group, steps in KINDS
    ]
    return Suite("chains", tuple([item for part in parts for item in part.items]))


def _write_rows(maker: ChainMaker, tokens: int, folder: Path) -> None:
    """The rows of both arms, and one tokenizer for both, so that they differ in nothing but their rows."""
    (folder / "rows").mkdir(exist_ok=True)
    rows = {arm: list(_rows(maker, steps, tokens)) for arm, steps in TRAINED_STEPS.items()}
    for arm in ARMS:
        write(rows[arm], _rows_file(folder, arm))
    tiny_tokenizer(row for arm in ARMS for row in rows[arm]).save_pretrained(folder / "tokenizer")


def _rows_file(folder: Path, arm: str) -> Path:
    return folder / "rows" / f"{arm}.jsonl"


def _rows(maker: ChainMaker, steps: Sequence[int], tokens: int) -> Iterator[Example]:
    """Rows of `tokens` tokens in all, each number of steps equally often."""
    rng = Random(f"{maker.seed}/{steps}")
    seen = 0
    for count in cycle(steps):
        row = maker.draw(count, rng, for_training=True)
        yield row
        seen += len(pieces(prompt_text(row))) + len(pieces(row.output)) + len(("user", "end", "assistant", "end"))
        if seen >= tokens:
            return


def _train(arm: str, folder: Path, seed: int, tokens: int, say: Say | None) -> Training:
    return train(
        _rows_file(folder, arm),
        out=folder / arm,
        seed=seed,
        max_tokens=tokens,
        tokenizer=folder / "tokenizer",
        overwrite=True,
        say=(lambda loss: say(f"train {arm}", loss)) if say else None,
    )


def _evaluate(arm: str, training: Training, suite: Suite, folder: Path, say: Say | None) -> Evaluation:
    return evaluate(
        training.model,
        suite,
        out=folder / "eval" / arm,
        max_new_tokens=LONGEST_ANSWER,
        overwrite=True,
        say=(lambda done: say(f"answer {arm}", done)) if say else None,
    )


def _table(evaluations: Mapping[str, Evaluation]) -> tuple[Cell, ...]:
    found = {arm: {(line.group, line.steps): line for line in done.figures} for arm, done in evaluations.items()}
    return tuple([_cell(found["it"][kind], found["sit"][kind]) for kind in KINDS])


def _cell(it: Figures, sit: Figures) -> Cell:
    assert it.steps
    whole, each = "exact", "soft"
    mine, theirs = it.measures, sit.measures
    return Cell(it.group, it.steps, it.items, mine[whole], theirs[whole], mine[each], theirs[each])


def _caption(maker: ChainMaker, training: Training) -> str:
    lists = maker.lists
    return (
        f"Share of items whose whole answer is exactly right, with 95 % intervals. Chains of {len(maker.operations)} "
        f"operations, each on the result of the one before, on lists of {lists.shortest} to {lists.longest} of "
        f"{len(lists.words)} words, in all wordings that seqtune has for them, chosen because a model of this size can "
        "learn them (sorting and doubling words are not among them); every part of an answer is marked. "
        f"Models of {training.parameters:,} weights, each trained on {training.tokens:,} tokens."
    )


def _write(done: Demo, maker: ChainMaker, fingerprint: str, wall_s: float) -> None:
    """demo.json for the report, and run.json, which says that the demo is whole."""
    drawn = {
        "operations": [operation.name for operation in maker.operations],
        "unseen_pairs": sorted(maker.unseen_pairs),
        "words": maker.lists.words,
    }
    summary = {"seed": done.seed, "caption": done.caption, "caveat": done.caveat, "table": done.table, **drawn}
    write_json(done.out / "demo.json", summary)
    figures = {
        arm: {"tokens": run.tokens, "cpu_s": run.cpu_s, "wall_s": run.wall_s} for arm, run in done.trainings.items()
    }
    summary = {"command": "demo", "fingerprint": fingerprint, "finished": True, "seed": done.seed}
    write_summary(done.out, {**summary, "wall_s": wall_s, "trainings": figures, "versions": versions(*PACKAGES)})


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use so many threads, and as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
