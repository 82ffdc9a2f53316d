"""What a training says while it goes on."""

from __future__ import annotations

import msgspec


class Loss(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of losses.jsonl.

    Args:
        step, steps: optimiser steps done, and of how many.
        loss: mean over the steps since the line before, in nats a trained token.
        learning_rate: of the last step.
        tokens: tokens seen so far, padding not counted.
        tokens_per_s: since the start.
        wall_s: seconds since the start.
        memory_bytes: in use, on the GPU where one is used, else by the process; 0 where nobody knows.
        score: of method dpo the share of pairs whose right answer has gained more than the damaged one since the start,
            of grpo the mean reward of the tries, both since the line before; of other methods there is none.
        differing: of grpo, the share of questions since the line before whose tries were not all worth the same: the
            others teach nothing.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens: int
    tokens_per_s: float
    wall_s: float
    memory_bytes: int = 0
    score: float | None = None
    differing: float | None = None
