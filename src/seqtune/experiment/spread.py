"""A mean over seeds and items, and how far both of them together can say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from statistics import NormalDist, fmean, stdev

import msgspec

from seqtune.evaluation.figures import QUALITY, measure
from seqtune.evaluation.statistics.bootstrap import paired_bootstrap

Values = Mapping[str, float | None]  # item -> a measure of it

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # 95 %, of 1 to 10 degrees of freedom


class Spread(msgspec.Struct, frozen=True):
    """A mean over seeds and items.

    Args:
        value: the mean of the items' means over seeds, None where nothing was scored.
        low, high: the ends of its 95 % interval, see `spread`.
        seeds: the mean of each seed.
    """

    value: float | None
    low: float
    high: float
    seeds: tuple[float | None, ...]


def spread(seeds: Sequence[Values], *, name: str = "", difference: bool = False) -> Spread:
    """The mean over seeds and items, and an interval that takes both into account.

    Two things could have come out otherwise: the items, and the seeds (weights, order of rows). The interval's reach to
    each side is the root of the sum of two squares (as in Zou and Donner 2008):

    * items: the interval of the mean over items of their means over the seeds, as `mean_of` makes it: Wilson's where
      each is yes or no, as of one seed, else by bootstrap or, of many items, the normal distribution. For differences,
      which are paired by item, the bootstrap over items. An item counts once, however many seeds answered it.
    * seeds: Student's interval of the seeds' means; with three of them it reaches 2.5 of their standard deviations.

    The seeds' means differ by chance between items and seeds, too, which is thus counted twice, so the interval is
    rather too wide than too narrow: in simulations of two to five seeds and 200 items it held the truth in 93 to 100 %.
    Of one seed, only the items are told: it says nothing of another seed. Drawing rows anew is in it only where each
    seed had rows of its own.

    Args:
        seeds: of each seed, each item's measure, None where it could not be told.
        name: of the measure; `quality` runs from 1 to 5, all others from 0 to 1.
        difference: whether the values are differences of it.
    """
    lowest, highest = QUALITY if name == "quality" else (0.0, 1.0)
    if difference:
        lowest, highest = lowest - highest, highest - lowest
    means = _item_means(seeds)
    told = [value for value in means if value is not None]
    by_seed = tuple([_mean(values.values()) for values in seeds])
    if not told:
        return Spread(None, lowest, highest, by_seed)
    value = fmean(told)
    ends = (lowest, highest)
    found = paired_bootstrap(told, ends=ends) if difference else measure(name, means)
    low, high = _end(found.low, lowest), _end(found.high, highest)
    reach = _of_seeds([one for one in by_seed if one is not None])
    return Spread(
        value,
        max(lowest, value - sqrt((value - low) ** 2 + reach**2)),
        min(highest, value + sqrt((high - value) ** 2 + reach**2)),
        by_seed,
    )


def _item_means(seeds: Sequence[Values]) -> list[float | None]:
    items = dict.fromkeys(item for values in seeds for item in values)
    return [_mean(values.get(item) for values in seeds) for item in items]


def _mean(values: Iterable[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return fmean(told) if told else None


def _end(found: float | None, furthest: float) -> float:
    return furthest if found is None else found


def _of_seeds(means: Sequence[float]) -> float:
    """How far Student's 95 % interval of the mean reaches; 0 for one seed, of which nothing can be told."""
    return _student(len(means) - 1) * stdev(means) / sqrt(len(means)) if len(means) > 1 else 0.0


def _student(freedom: int) -> float:
    """The 97.5 % point of Student's distribution; beyond the table the first terms of its series, to 0.001."""
    z = NormalDist().inv_cdf(0.975)
    series = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return STUDENT[freedom - 1] if freedom <= len(STUDENT) else series
