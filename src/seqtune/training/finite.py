"""Weights that can be computed with: a model that holds NaN, infinity or near it is neither saved nor gone on from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from seqtune.errors import SeqtuneError

# The square of a larger number is no number in 32 bits, and every layer's norm squares what comes into it.
LARGEST = 1e18


class Diverged(SeqtuneError):
    """A training whose loss or weights are no numbers any more: going on from there would teach nothing."""


def largest_weight(weights: Iterable[Any]) -> float:
    """The largest magnitude among tensors; NaN where one holds that, 0 where there is none."""
    found = 0.0
    for weight in weights:
        mine = _mine(weight)
        if mine.is_floating_point() and mine.numel():
            low, high = map(float, mine.aminmax())
            if math.isnan(low):
                return math.nan
            found = max(found, -low, high)
    return found


def require_finite(name: str, largest: float, when: str, learning_rate: float | None) -> None:
    """Raises Diverged where the largest number of what has the name is one that nothing can be computed with.

    Args:
        name: of what was looked at: "loss", "trained weights".
        largest: its magnitude, see `largest_weight`.
        when: e.g. "after step 3 of 10".
        learning_rate: its peak.
    """
    if not largest < LARGEST:  # NaN is not
        raise Diverged(
            f"{when}, the {name} came to {largest:g}, and a model of that answers nothing, so it is not saved",
            fix=f"lower the learning rate (it is {learning_rate})",
        )


def _mine(weight: Any) -> Any:
    """Of a weight that is spread over processes the part that is here: DeepSpeed keeps it aside, FSDP in a DTensor."""
    part = getattr(weight, "ds_tensor", weight).detach()
    return part.to_local() if hasattr(part, "to_local") else part
