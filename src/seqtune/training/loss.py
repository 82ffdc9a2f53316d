"""What a training says while it goes on."""

from __future__ import annotations

import msgspec


class Loss(msgspec.Struct, frozen=True):
    """One line of losses.jsonl.

    Args:
        step, steps: optimiser steps done, and of how many.
        loss: mean over the steps since the line before, in nats a trained token.
        learning_rate: of the last step.
        tokens: tokens seen so far, padding not counted.
        tokens_per_s: since the start.
        wall_s: seconds since the start.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens: int
    tokens_per_s: float
    wall_s: float
