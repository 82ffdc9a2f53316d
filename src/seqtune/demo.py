"""The demo: the whole loop on one machine without a GPU or a service, small enough to watch.

Two small models are trained from scratch on equally many tokens: one on single tasks (IT), one on chains of them (SIT).
Both then answer the same fresh chains, and a program checks every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from seqtune.data.example import Example
from seqtune.data.folder import claim_folder, replacing, write_summary
from seqtune.data.writer import write
from seqtune.errors import RecipeError
from seqtune.evaluation.run import Evaluation, evaluate
from seqtune.evaluation.scoring import Figures
from seqtune.evaluation.statistics import Share
from seqtune.evaluation.suite import WORD_OPERATIONS, ChainMaker, Suite, chain_maker, chains
from seqtune.training.loss import Loss
from seqtune.training.model import require_packages
from seqtune.training.run import Training, tiny_tokenizer, train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ARMS = ("it", "sit")
TRAINED_STEPS = {"it": (1,), "sit": (1, 2, 3)}
UNSEEN_PAIRS = 6
SEEN, UNSEEN, LONGER = "seen pairs", "unseen pairs", "more steps than trained"
COLUMNS = ((SEEN, 1), (SEEN, 2), (SEEN, 3), (UNSEEN, 2), (LONGER, 4))

CAVEAT = (
    "This shows the pipeline and the metric, not the effect in a large model. The models are trained from scratch on "
    "word-list tasks alone: that the model of single tasks (IT) follows no chain is nearly built in, since it has never "
    "seen one. A model so small does not go beyond the number of steps that it was trained on either."
)


@dataclass(frozen=True)
class Cell:
    """Items of one kind, and the share of them that each arm answered exactly (and the share of steps done)."""

    group: str
    steps: int
    it: Share
    sit: Share
    it_steps: Share
    sit_steps: Share


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Args:
        out: the folder: it/ and sit/ (rows.jsonl and the training's run folder), eval/it and eval/sit, demo.json.
        seed: of the rows, the weights and the items.
        trainings, evaluations: by arm, "it" and "sit".
        table: a line for each kind of item.
        caveat: what the table does not show.
    """

    out: Path
    seed: int
    trainings: dict[str, Training]
    evaluations: dict[str, Evaluation]
    table: tuple[Cell, ...]
    caveat: str = CAVEAT


def demo(
    out: str | Path,
    *,
    seed: int = 0,
    tokens: int = 1_000_000,
    items: int = 200,
    threads: int | None = None,
    overwrite: bool = False,
    say: Callable[[str, Loss | int], None] | None = None,
) -> Demo:
    """Build an IT and a SIT set, train a model on each, let both answer the same items, and score them.

    Args:
        out: the folder for everything.
        seed: of the rows, the weights and the items.
        tokens: what each model is trained on, prompts and answers together.
        items: of each kind.
        threads: for torch; by default what torch takes.
        overwrite: take the folder whatever it holds.
        say: called with what is going on ("train it", "answer sit", ...) and how far it is.

    Raises:
        RunFolderError: the folder holds something else.
        MissingExtraError: torch or transformers is not installed.
    """
    require_packages("the demo")
    if tokens < 1 or items < 1:
        raise RecipeError(f"tokens is {tokens} and items {items}", fix="give numbers above 0")
    folder, fingerprint = Path(out), f"{seed}/{tokens}/{items}"
    claim_folder(folder, "demo", fingerprint, overwrite=overwrite)
    maker = chain_maker(WORD_OPERATIONS, unseen=UNSEEN_PAIRS, seed=seed)
    rows = {arm: list(_rows(maker, TRAINED_STEPS[arm], tokens)) for arm in ARMS}
    with _threads(threads):
        tokenizer = _shared_tokenizer(rows, folder)
