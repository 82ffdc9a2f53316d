"""Shares, and how far a sample can say them."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import msgspec


class Share(msgspec.Struct, frozen=True):
    """`done` of `of`, and the interval of the true share.

    Args:
        done: successes; for the mean of something within an item it may be a fraction.
        of: independent trials.
        value: done / of, or None where nothing was tried.
        low, high: the ends of the 95 % Wilson interval.
    """

    done: float
    of: int
    value: float | None
    low: float
    high: float


def share(done: float, of: int) -> Share:
    """A share with its 95 % interval."""
    low, high = wilson(done, of)
    return Share(done, of, done / of if of else None, low, high)


def wilson(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a binomial share (Wilson 1927), good at 0 % and 100 % and in small samples too.

    Args:
        successes: 0 to `trials`.
        trials: how many independent ones; of none, nothing is known: (0, 1).
        confidence: how often such an interval covers the truth.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / trials
    centre = p + z * z / (2 * trials)
    reach = z * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes == 0 else max(0.0, (centre - reach) / scale)
    high = 1.0 if successes == trials else min(1.0, (centre + reach) / scale)
    return low, high
