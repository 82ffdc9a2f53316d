"""A stage of preference before it starts: its rows as pairs or questions, which step takes which, what it comes to.

Light, so that a look ahead imports no TRL; the training itself is in `preference`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from random import Random
from typing import TYPE_CHECKING, Any

from seqtune.building.damage import STEP_DAMAGES
from seqtune.data.example import Example
from seqtune.errors import DataError
from seqtune.training.loss import Loss
from seqtune.training.pairs import Pair, render_pairs
from seqtune.training.plan import Plan
from seqtune.training.rewards import Question, render_questions, unchecked_tasks
from seqtune.training.rows import Rendered
from seqtune.training.settings import TrainSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SLACK = 8  # tokens that a tried answer may have more than the longest right one
ONE_SIDED = 0.8  # share of the pairs


def render_preferences(
    settings: TrainSettings, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase
) -> Rendered[Any]:
    """The rows as `Pair`s for method dpo, as `Question`s for grpo.

    Raises:
        DataError: none is of use, or one that may not be left out is not.
    """
    if settings.method == "dpo":
        return render_pairs(
            examples,
            tokenizer,
            seed=settings.seed,
            max_length=settings.max_length,
            too_long=settings.too_long,
            strict=settings.strict,
            kinds=settings.damages or STEP_DAMAGES,
        )
    return render_questions(
        examples,
        tokenizer,
        max_length=settings.max_length,
        too_long=settings.too_long,
        strict=settings.strict,
        longest=settings.max_new_tokens,
    )


def warnings_before(settings: TrainSettings, rows: Sequence[Any]) -> Iterator[str]:
    """What the user should know of the rows before they are trained on."""
    if settings.method == "grpo" and (loose := unchecked_tasks(rows)):
        yield (
            f"in {loose:,} of {len(rows):,} rows a task is not checked, such as the row's own: only the other steps "
            "are rewarded, and any text in its place counts as done"
        )
    if settings.method == "dpo":
        yield from _of_length(rows)


def _of_length(pairs: Sequence[Pair]) -> Iterator[str]:
    """Whether the pairs teach a length, whatever else they teach."""
    gains = [len(pair.chosen) - len(pair.rejected) for pair in pairs]
    for way, count in (("longer", sum(gain > 0 for gain in gains)), ("shorter", sum(gain < 0 for gain in gains))):
        if count > ONE_SIDED * len(pairs):
            yield (
                f"in {count:,} of {len(pairs):,} pairs the right answer is the {way} one, so the model may learn that "
                f"{way} is better: let damages hold both drop_step and add_step, and give rows of one step and of more"
            )


def warnings_after(settings: TrainSettings, losses: Sequence[Loss]) -> Iterator[str]:
    """What the user should know of a training that is over."""
    if settings.method == "grpo" and losses and all(line.differing == 0 for line in losses):
        yield (
            "all rewards were equal: no question had tries of which some were better than others, so nothing was "
            f"learnt (the mean reward is {losses[-1].score or 0:.3f}); give rows of which the model does some, or "
            "train it on their answers first"
        )


def plan_preference(rows: int, settings: TrainSettings) -> Plan:
    """Steps of `rows_per_step` rows each, the last one too: it is filled with the first rows of one more epoch.

    Raises:
        DataError: fewer rows than a step takes.
    """
    size = settings.rows_per_step or 1
    if rows < size:
        raise DataError(
            f"a step takes {size} rows and there are {rows} to train on", fix="give more rows, or lower rows_per_step"
        )
    epochs = (Random(f"{settings.seed}/{epoch}").sample(range(rows), rows) for epoch in range(settings.epochs + 1))
    order = [*chain.from_iterable(epochs)]
    starts = range(0, settings.epochs * rows, size)
    return Plan(
        [[[order[at : at + size]] for at in of_epoch] for _, of_epoch in groupby(starts, lambda at: at // rows)]
    )


def longest_try(settings: TrainSettings, questions: Sequence[Question]) -> int:
    """Tokens after which a tried answer is stopped."""
    return settings.max_new_tokens or max(question.answer for question in questions) + SLACK


def parts(plan: Plan, settings: TrainSettings) -> list[Sequence[int]]:
    """The pairs of each device batch, as row numbers."""
    size = (settings.rows_per_step or 1) // settings.accumulate
    return [batch[at : at + size] for batch in plan.batches for at in range(0, len(batch), size)]


def shapes_of(settings: TrainSettings, rows: Sequence[Any], plan: Plan) -> list[tuple[int, int]]:
    """Texts and slots of each device batch: both answers of each pair, or tries that all go to their limit."""
    if settings.method == "dpo":
        return [(2 * len(part), max(rows[i].length for i in part)) for part in parts(plan, settings)]
    longest, tries = longest_try(settings, rows), settings.step_size // settings.accumulate
    widths = [max(len(rows[i].prompt) for i in batch) + longest for batch in plan.batches]
    return [(tries, width) for width in widths for _ in range(settings.accumulate)]


def figures_of(settings: TrainSettings, rows: Sequence[Any], plan: Plan) -> dict[str, Any]:
    """Tokens and padding of a run; of grpo's, how many there are at most."""
    seen = [rows[i] for batch in plan.batches for i in batch]
    if settings.method == "grpo":
        prompts = _prompt_tokens(settings, seen)
        tried = len(seen) * (settings.answers or 0) * longest_try(settings, rows)
        return {"tokens": prompts + tried, "trained_tokens": tried, "padding": 0.0, "unfilled": 0.0}
    trained = sum(len(pair.chosen) + len(pair.rejected) for pair in seen)
    tokens = sum(map(tokens_of, seen))
    slots = sum(texts * width for texts, width in shapes_of(settings, rows, plan))
    return {"tokens": tokens, "trained_tokens": trained, "padding": 1 - tokens / slots, "unfilled": 0.0}


def figures_after(settings: TrainSettings, rows: Sequence[Any], plan: Plan, losses: Sequence[Loss]) -> dict[str, Any]:
    """What is known better once a run is over: how many tokens grpo's tries had."""
    if settings.method != "grpo" or not losses:
        return {}
    tokens = losses[-1].tokens
    prompts = _prompt_tokens(settings, [rows[i] for batch in plan.batches for i in batch])
    return {"tokens": tokens, "trained_tokens": tokens - prompts}


def tokens_of(pair: Pair) -> int:
    """What the model reads of a pair: its prompt twice, and both answers."""
    return 2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected)


def _prompt_tokens(settings: TrainSettings, seen: Sequence[Question]) -> int:
    return sum(len(question.prompt) for question in seen) * (settings.answers or 0)
