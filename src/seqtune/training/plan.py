"""The whole run, planned before it starts: epochs of optimiser steps of device batches of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random

from seqtune.data.example import Example
from seqtune.training.batches import bucket_epoch, cut, padding, until
from seqtune.training.packing import Form, best_fit, block_epoch, unfilled

Batch = Sequence[int]  # row numbers
Step = Sequence[Batch]


@dataclass(frozen=True)
class Plan:
    """What a run takes, in order.

    Args:
        epochs: of steps of batches.
        form: how rows of a block are kept apart where they are packed; None for padded batches.
    """

    epochs: Sequence[Sequence[Step]]
    form: Form | None = None

    @property
    def steps(self) -> list[Step]:
        """Of all epochs."""
        return [step for epoch in self.epochs for step in epoch]

    @property
    def batches(self) -> list[Batch]:
        """Of all epochs."""
        return [batch for step in self.steps for batch in step]

    def padding(self, lengths: Sequence[int]) -> float:
        """The share of slots that hold padding."""
        return 0.0 if self.form else padding(self.batches, lengths)

    def unfilled(self, lengths: Sequence[int], batch_tokens: int) -> float:
        """The share of the blocks' room that no row is in; 0 where nothing is packed."""
        return unfilled(self.batches, lengths, batch_tokens) if self.form else 0.0

    def chains(self, examples: Sequence[Example]) -> list[float]:
        """The share of rows with two steps or more, of each epoch.

        Args:
            examples: of each row.
        """
        seen = [[i for step in epoch for batch in step for i in batch] for epoch in self.epochs]
        return [sum(steps_of(examples[i]) > 1 for i in rows) / len(rows) for rows in seen]


def plan_run(
    lengths: Sequence[int],
    *,
    batch_tokens: int,
    seed: int,
    epochs: int = 1,
    max_tokens: int | None = None,
    rows_per_step: int | None = None,
    accumulate: int = 1,
    form: Form | None = None,
    first: Sequence[int] | None = None,
) -> Plan:
    """Put every row into one step of each epoch.

    Args:
        lengths: tokens of each row.
        batch_tokens: the most slots of a batch, padding included; a longer row gets a batch of its own.
        seed: two runs with the same seed and lengths have the same plan.
        epochs: passes over the rows, each shuffled anew.
        max_tokens: stop after so many tokens (padding not counted), going on for more epochs if need be.
        rows_per_step: every step takes so many rows (the last of an epoch what is left), whatever they weigh. They
            are drawn at random, then cut into as many batches as they need.
        accumulate: batches of a step, where `rows_per_step` is not given.
        form: rows are packed into blocks, in place of batches of rows of like length.
        first: for each row a number; in the first epoch those with lower numbers come first.
    """
    rows = range(len(lengths))
    whole = [list(rows)]
    rising = _groups(first) if first else whole

    def steps(epoch: int) -> Iterator[Step]:
        rng, groups = Random(f"{seed}/{epoch}"), whole if epoch else rising
        if rows_per_step:
            for drawn in _draw(groups, rows_per_step, rng):
                together = sorted(drawn, key=lengths.__getitem__)
                yield best_fit(drawn, lengths, batch_tokens) if form else [*cut(together, lengths, batch_tokens)]
            return
        make = block_epoch if form else bucket_epoch
        batches = [batch for group in groups for batch in make(group, lengths, batch_tokens, rng)]
        for start in range(0, len(batches), accumulate):
            yield batches[start : start + accumulate]

    def tokens(step: Step) -> int:
        return sum(lengths[i] for batch in step for i in batch)

    return Plan(until(steps, tokens, epochs, max_tokens), form)


def steps_of(example: Example) -> int:
    """What an example asks for, one thing after another; 1 where its steps are not known."""
    return max(1, len(example.steps))


def _groups(numbers: Sequence[int]) -> list[list[int]]:
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    return [list(group) for _, group in groupby(order, numbers.__getitem__)]


def _draw(groups: Sequence[Sequence[int]], size: int, rng: Random) -> Iterator[list[int]]:
    """Every row once, at random within its group, in lots of `size`."""
    order = [row for group in groups for row in rng.sample(group, len(group))]
    for start in range(0, len(order), size):
        yield order[start : start + size]
