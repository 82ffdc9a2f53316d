"""The demo: the whole loop on one machine without a GPU or a service, small enough to watch.

Small models are trained from scratch on equally many tokens: one on single tasks (IT), others on chains of them (SIT).
All then answer the same fresh chains, and a program checks every step. The long form has more arms and three seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from seqtune.building.engine import build
from seqtune.data.example import Example, prompt_text
from seqtune.data.folder import versions, working_in, write_json, write_summary
from seqtune.data.writer import write
from seqtune.errors import RecipeError
from seqtune.evaluation.figures import Figures
from seqtune.evaluation.statistics.measure import Measure
from seqtune.evaluation.suite import Suite
from seqtune.evaluation.suites.generated_chains import WORD_OPERATIONS, ChainMaker, chain_maker, chains
from seqtune.experiment.results import Results, gather
from seqtune.experiment.rows import make_tokenizer
from seqtune.experiment.table import write_results
from seqtune.experiment.trials import Say, Trial, TrialOutcome, carry_out
from seqtune.training.model import PACKAGES, require_packages
from seqtune.training.words import pieces

LONGEST_ANSWER = 96  # tokens; the longest right one has about 40
ARMS: Mapping[str, Sequence[int]] = {"it": (1,), "sit": (1, 2, 3)}  # the numbers of steps that each is trained on
LONG_ARMS: Mapping[str, Sequence[int]] = {"it": (1,), "sit2": (1, 2), "sit3": (1, 2, 3)}
# What goes on from an arm of those, and how: on the same right rows, in as many steps of as many rows at the same rate,
# as they are ("more") or each beside a damaged one ("dpo"). sit3 has little left to gain; sit2 leaves out each third
# step. Rate and likelihood were chosen on other rows of seed 0, of 1e-4 and 3e-4, 1 and 4: see docs/results.md.
FURTHER = {f"{arm}-{way}": (arm, way) for arm in ("sit2", "sit3") for way in ("more", "dpo")}
FURTHER_STEPS = (1, 2, 3)
WAYS: Mapping[str, Mapping[str, Any]] = {
    "more": {"learning_rate": 3e-4, "rows_per_step": 16},
    "dpo": {"learning_rate": 3e-4, "rows_per_step": 16, "method": "dpo", "likelihood": 4.0},
}
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
LONG_CAVEAT = (
    "This shows the pipeline and the metric, not the effect in a large model: the models are trained from scratch on "
    "eight kinds of tasks on short lists of words. An arm that sees no chain, or none of three steps, was never shown "
    "what it fails at, so the differences between it, sit2 and sit3 are nearly built in. What a preference for "
    "whole answers teaches is the difference between an arm -dpo and the arm -more beside it, which sees the same "
    "right answers and nothing else; -dpo reads each prompt twice, and the damaged answers besides. Each seed has its "
    "own rows, weights and items. Other operations, wordings and sizes were not tried."
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
        outcomes: of each arm, what its training and its evaluation say of themselves.
        table: a line for each kind of item.
        caption: what the table is of.
        caveat: what the table does not show.
    """

    out: Path
    seed: int
    outcomes: tuple[TrialOutcome, ...]
    table: tuple[Cell, ...]
    caption: str
    caveat: str = CAVEAT


@dataclass(frozen=True)
class LongDemo:
    """What the long demo made.

    Args:
        out: the folder: for each seed one like the demo's, results.json, results.md, demo.json.
        results: the table.
        caption: what the table is of.
        caveat: what the table does not show.
    """

    out: Path
    results: Results
    caption: str
    caveat: str = LONG_CAVEAT


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
        out: the folder for everything. What stands finished in it is not done again.
        seed: of the rows, the weights and the items.
        tokens: what each model is trained on, prompts and answers together.
        items: of each kind.
        threads: for torch. Models this small gain little from a second, which waits for the first wherever another
            process has the core, which once made a run of two minutes one of seven.
        overwrite: take the folder whatever it holds.
        say: called with what is going on ("train it, seed 0", ...) and how far it is.

    Raises:
        RunFolderError: the folder holds something else, or another process is at work there.
        MissingExtraError: torch or transformers is not installed.
    """
    folder, maker = Path(out), _maker(seed)
    with _claim(folder, f"{seed}/{tokens}/{items}", tokens, items, overwrite) as finish, _threads(threads):
        build(from_=str(SEED_ROWS), chain=SEED_MIX, unfit="plain", seed=seed, out=str(folder / "build"), overwrite=True)
        outcomes = tuple(carry_out(_trials(maker, ARMS, tokens, items, folder), say=say))
        done = Demo(folder, seed, outcomes, _table(outcomes), _caption(maker, outcomes[-1].training))
        _write(done, maker)
        finish(outcomes)
    return done


def long_demo(
    out: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    tokens: int = 1_000_000,
    items: int = 200,
    further: int = 2_000,
    threads: int = 1,
    overwrite: bool = False,
    say: Say | None = None,
) -> LongDemo:
    """Train on single tasks, on chains of up to two and up to three steps, and go on from these with and without DPO.

    Args:
        out: the folder for everything. Killed at any time, the same call goes on.
        seeds: each of rows, weights and items.
        tokens: what each model is trained on at first, prompts and answers together.
        items: of each kind, for each seed.
        further: rows of one to three steps that an arm sees which goes on from another.
        threads, overwrite, say: see `demo`.

    Raises:
        RunFolderError: the folder holds something else, or another process is at work there.
        MissingExtraError: torch, transformers or TRL is not installed.
    """
    folder, asked = Path(out), f"long/{[*seeds]}/{tokens}/{items}/{further}"
    with _claim(folder, asked, tokens, items, overwrite) as finish, _threads(threads):
        trials = [one for seed in seeds for one in _long_trials(seed, tokens, items, further, folder / f"seed-{seed}")]
        outcomes = carry_out(trials, say=say)
        results = gather(outcomes, name="seqtune demo --long", match="tokens", measure="exact")
        caption = _caption(_maker(seeds[0]), outcomes[0].training)
        done = LongDemo(folder, msgspec.structs.replace(results, notes=(*results.notes, LONG_CAVEAT)), caption)
        write_results(done.results, folder)
        write_json(folder / "demo.json", {"caption": caption, "caveat": done.caveat})
        finish(outcomes)
    return done


@contextmanager
def _claim(
    folder: Path, fingerprint: str, tokens: int, items: int, overwrite: bool
) -> Iterator[Callable[[Sequence[TrialOutcome]], None]]:
    """Have the folder to oneself, and get what says at the end that the demo is whole."""
    require_packages("the demo")
    if tokens < 1 or items < 1:
        raise RecipeError(f"tokens is {tokens} and items {items}", fix="give numbers above 0")
    started = time.perf_counter()
    with working_in(folder, "demo", fingerprint, overwrite=overwrite):
        yield lambda outcomes: _finish(folder, fingerprint, outcomes, time.perf_counter() - started)


def _maker(seed: int) -> ChainMaker:
    return chain_maker(WORD_OPERATIONS, unseen=UNSEEN_PAIRS, seed=seed)


def _trials(maker: ChainMaker, arms: Mapping[str, Sequence[int]], tokens: int, items: int, folder: Path) -> list[Trial]:
    """Arms that differ in nothing but their rows: one tokenizer, one seed, as many tokens, the same items."""
    suite = _suite(maker, items)
    files = {arm: _write_rows(_rows(maker, steps, tokens), folder, arm) for arm, steps in arms.items()}
    train = {"max_tokens": tokens, "tokenizer": make_tokenizer(files, folder / "tokenizer")}
    ask = {"max_new_tokens": LONGEST_ANSWER}
    return [Trial(arm, maker.seed, files[arm], folder / arm, folder / "eval" / arm, train, suite, ask) for arm in arms]


def _long_trials(seed: int, tokens: int, items: int, further: int, folder: Path) -> list[Trial]:
    maker = _maker(seed)
    trials = _trials(maker, LONG_ARMS, tokens, items, folder)
    rows = _write_rows(islice(_endless_rows(maker, FURTHER_STEPS, "further"), further), folder, "further")
    starts = {trial.arm: trial for trial in trials}
    return [*trials, *[_go_on(name, starts[arm], rows, WAYS[way], folder) for name, (arm, way) in FURTHER.items()]]


def _go_on(name: str, start: Trial, rows: str, train: Mapping[str, Any], folder: Path) -> Trial:
    tested = folder / "eval" / name
    return Trial(name, start.seed, rows, folder / name, tested, train, start.suite, start.evaluate, after=start)


def _suite(maker: ChainMaker, items: int) -> Suite:
    """Items of every kind, on texts that no training row holds."""
    parts = [
        chains((steps,), per_length=items, seed=maker.seed, maker=maker, unseen_pairs=group == UNSEEN, group=group)
        for group, steps in KINDS
    ]
    return Suite("chains", tuple([item for part in parts for item in part.items]))


def _write_rows(rows: Iterator[Example], folder: Path, name: str) -> str:
    path = folder / "rows" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(rows, path)
    return str(path)


def _rows(maker: ChainMaker, steps: Sequence[int], tokens: int) -> Iterator[Example]:
    """Rows of `tokens` tokens in all, each number of steps equally often."""
    seen = 0
    for row in _endless_rows(maker, steps, str(steps)):
        yield row
        seen += len(pieces(prompt_text(row))) + len(pieces(row.output)) + len(("user", "end", "assistant", "end"))
        if seen >= tokens:
            return


def _endless_rows(maker: ChainMaker, steps: Sequence[int], purpose: str) -> Iterator[Example]:
    rng = Random(f"{maker.seed}/{purpose}")
    for count in cycle(steps):
        yield maker.draw(count, rng, for_training=True)


def _table(outcomes: Sequence[TrialOutcome]) -> tuple[Cell, ...]:
    found = {outcome.trial.arm: {(one.group, one.steps): one for one in _figures(outcome)} for outcome in outcomes}
    return tuple([_cell(found["it"][kind], found["sit"][kind]) for kind in KINDS])


def _figures(outcome: TrialOutcome) -> list[Figures]:
    found = msgspec.json.decode((outcome.trial.tested / "metrics.json").read_bytes())
    return msgspec.convert(found["figures"], list[Figures])


def _cell(it: Figures, sit: Figures) -> Cell:
    assert it.steps
    whole, each = "exact", "soft"
    mine, theirs = it.measures, sit.measures
    return Cell(it.group, it.steps, it.items, mine[whole], theirs[whole], mine[each], theirs[each])


def _caption(maker: ChainMaker, training: Mapping[str, Any]) -> str:
    lists = maker.lists
    return (
        f"Share of items whose whole answer is exactly right, with 95 % intervals. Chains of {len(maker.operations)} "
        f"operations, each on the result of the one before, on lists of {lists.shortest} to {lists.longest} of "
        f"{len(lists.words)} words, in all wordings that seqtune has for them, chosen because a model of this size can "
        "learn them (sorting and doubling words are not among them); every part of an answer is marked. "
        f"Models of {training['parameters']:,} weights, each trained on {training['tokens']:,} tokens."
    )


def _write(done: Demo, maker: ChainMaker) -> None:
    """demo.json, for the report."""
    drawn = {
        "operations": [operation.name for operation in maker.operations],
        "unseen_pairs": sorted(maker.unseen_pairs),
        "words": maker.lists.words,
    }
    summary = {"seed": done.seed, "caption": done.caption, "caveat": done.caveat, "table": done.table, **drawn}
    write_json(done.out / "demo.json", summary)


def _finish(folder: Path, fingerprint: str, outcomes: Sequence[TrialOutcome], wall_s: float) -> None:
    """run.json, which says that the demo is whole."""
    figures = {one.trial.title: {n: one.training[n] for n in ("tokens", "cpu_s", "wall_s")} for one in outcomes}
    claimed = {"command": "demo", "fingerprint": fingerprint, "finished": True}
    write_summary(folder, {**claimed, "wall_s": wall_s, "trainings": figures, "versions": versions(*PACKAGES)})


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
