"""Measures of a sample, how far it can say them, and what could not be told."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt
from statistics import NormalDist

import msgspec

MANY = 100  # items: of more, a mean's interval by formula covers as well as the bootstrap's, at no cost


class Measure(msgspec.Struct, frozen=True):
    """The mean of something over items, its interval, and the items of which it could not be told.

    Args:
        done: sum over the items that were scored: of yes and no the number of yes, else it may be a fraction.
        of: items that were scored, independent of each other.
        value: done / of, or None where nothing was scored.
        low, high: the ends of the 95 % interval of the true value.
        unscored: items of which it could not be told.
        worst, best: the value if all that could not be told were as bad, or as good, as can be; None where there are no
            items.
        coverage: share of the items that were wholly scored; of no items, 1. It follows from the others, whatever is
            given.
        partly: items that were scored by a part of their steps, because the others could not be told.
    """

    done: float
    of: int
    value: float | None
    low: float
    high: float
    unscored: int = 0
    worst: float | None = None
    best: float | None = None
    coverage: float = 1.0
    partly: int = 0

    def __post_init__(self) -> None:
        items = self.of + self.unscored
        msgspec.structs.force_setattr(self, "coverage", (self.of - self.partly) / items if items else 1.0)


def mean_of(values: Sequence[float | None], lowest: float = 0.0, highest: float = 1.0) -> Measure:
    """The mean over items, None for those of which it could not be told: of yes and no a share, else a mean.

    Wilson's interval takes every item to be yes or no; for fractions, which lie closer together, it is too wide.

    Args:
        values: one an item.
        lowest, highest: what they can be.

    Raises:
        ValueError: one of them is beyond these.
    """
    told = [value for value in values if value is not None]
    unscored = len(values) - len(told)
    yes_or_no = (lowest, highest) == (0, 1) and all(value in (0, 1) for value in told)
    return share(sum(told), len(told), unscored) if yes_or_no else mean(told, lowest, highest, unscored)


def share(done: float, of: int, unscored: int = 0) -> Measure:
    """A share of items that are yes or no, with its 95 % interval (Wilson's)."""
    low, high = wilson(done, of)
    items = of + unscored
    worst, best = (done / items, (done + unscored) / items) if items else (None, None)
    return Measure(done, of, done / of if of else None, low, high, unscored, worst, best)


def mean(values: Sequence[float], lowest: float, highest: float, unscored: int = 0) -> Measure:
    """A mean of values between two bounds, e.g. quality of 1 to 5, with its 95 % interval.

    Raises:
        ValueError: a value beyond the bounds.
    """
    of, done = len(values), float(sum(values))
    items = of + unscored
    low, high = (_normal if of > MANY else _drawn)(values, lowest, highest)
    return Measure(
        done, of, done / of if of else None, low, high, unscored,
        (done + unscored * lowest) / items if items else None, (done + unscored * highest) / items if items else None,
    )  # fmt: skip


def _drawn(values: Sequence[float], lowest: float, highest: float) -> tuple[float, float]:
    from seqtune.evaluation.statistics.bootstrap import mean_interval  # numpy, which shares need not wait for

    found = mean_interval(values, ends=(lowest, highest))
    return lowest if found.low is None else found.low, highest if found.high is None else found.high


def _normal(values: Sequence[float], lowest: float, highest: float) -> tuple[float, float]:
    """By the normal distribution, where half an imaginary item at each end takes part, as in `mean_interval`."""
    for wrong in [value for value in values if not lowest <= value <= highest][:1]:
        raise ValueError(f"{wrong} is not between {lowest} and {highest}")
    known, value = len(values) + 1, fsum(values) / len(values)
    centre = (fsum(values) + (lowest + highest) / 2) / known
    ends = ((lowest - centre) ** 2 + (highest - centre) ** 2) / 2
    variance = (fsum([(one - centre) ** 2 for one in values]) + ends) / known
    reach = NormalDist().inv_cdf(0.975) * sqrt(variance / known)
    return max(lowest, min(value, centre - reach)), min(highest, max(value, centre + reach))


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a binomial share (Wilson 1927), good at 0 % and 100 % and in small samples too.

    Args:
        successes: 0 to `trials`.
        trials: how many independent ones; of none, nothing is known: (0, 1).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.975)
    p = successes / trials
    centre = p + z * z / (2 * trials)
    reach = z * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes == 0 else max(0.0, (centre - reach) / scale)
    high = 1.0 if successes == trials else min(1.0, (centre + reach) / scale)
    return low, high
