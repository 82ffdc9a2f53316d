"""Measures of a sample, how far it can say them, and what could not be told."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import msgspec


class Measure(msgspec.Struct, frozen=True):
    """The mean of something over items, its interval, and the items of which it could not be told.

    Args:
        done: sum over the items that were scored: of yes and no the number of yes, else it may be a fraction.
        of: items that were scored, independent of each other.
        value: done / of, or None where nothing was scored.
        low, high: the ends of the 95 % interval of the true value.
        unscored: items of which it could not be told.
        worst, best: the value if all unscored ones were as bad, or as good, as can be; None where there are no items.
    """

    done: float
    of: int
    value: float | None
    low: float
    high: float
    unscored: int = 0
    worst: float | None = None
    best: float | None = None

    @property
    def coverage(self) -> float:
        """Share of the items that were scored; of no items, 1."""
        items = self.of + self.unscored
        return self.of / items if items else 1.0


def share(done: float, of: int, unscored: int = 0) -> Measure:
    """A share with its 95 % interval (Wilson's)."""
    low, high = wilson(done, of)
    items = of + unscored
    worst, best = (done / items, (done + unscored) / items) if items else (None, None)
    return Measure(done, of, done / of if of else None, low, high, unscored, worst, best)


def mean(values: Sequence[float], lowest: float, highest: float, unscored: int = 0) -> Measure:
    """A mean of values between two bounds, e.g. quality of 1 to 5, with its 95 % interval (by bootstrap)."""
    from seqtune.evaluation.statistics.bootstrap import mean_interval  # numpy, which shares need not wait for

    of, done = len(values), float(sum(values))
    items = of + unscored
    found = mean_interval(values, ends=(lowest, highest))
    low, high = lowest if found.low is None else found.low, highest if found.high is None else found.high
    return Measure(
        done, of, found.value, low, high, unscored,
        (done + unscored * lowest) / items if items else None, (done + unscored * highest) / items if items else None,
    )  # fmt: skip


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
