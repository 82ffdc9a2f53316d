"""Means and differences of means: how far a sample of items can say them, by drawing the sample again and again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ends: TypeAlias = tuple[float, float]
NUMBERS_AT_ONCE = 1 << 20  # drawn before they are averaged: 8 MiB, whatever the sample's size


class Interval(msgspec.Struct, frozen=True):
    """A figure, and the 95 % interval of its true value.

    Args:
        value: the figure; None where there is nothing to make it from.
        low, high: the ends of the interval; None where the sample cannot say them.
        of: items it was made from (prompts, answers, units), not clusters.
        p: how surprising such a difference is if there is none, two-sided; None for what is no difference.
    """

    value: float | None
    low: float | None
    high: float | None
    of: int
    p: float | None = None


def paired_bootstrap(
    differences: Sequence[float] | Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    ends: Ends | None = (-1.0, 1.0),
    seed: int = 0,
    draws: int = 10_000,
) -> Interval:
    """The mean of differences, item by item, between two models that were asked the same; see `mean_interval`.

    `p` is twice the share of the draws on the other side of nought, so it is under 0.05 where the interval leaves
    nought out.

    Args:
        differences: score of the one less score of the other, an item.
        clusters, seed, draws: see `mean_interval`.
        ends: the least and the greatest possible difference: -1 and 1 for shares, -4 and 4 for a quality of 1 to 5.
    """
    found, means = _interval(differences, clusters, ends, seed, draws)
    return msgspec.structs.replace(found, p=_surprise(means)) if len(means) else found


def mean_interval(
    values: Sequence[float] | Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    ends: Ends | None = None,
    seed: int = 0,
    draws: int = 10_000,
) -> Interval:
    """A mean and its percentile interval (Efron and Tibshirani 1993, chapter 13).

    Where the ends are known, half an imaginary item at each takes part. Without them a sample that happens to be all
    alike would claim to know its mean exactly: the interval then covers 87 % where 2 of 100 items differ, 33 % at 20
    items. The thought is that of Agresti and Min (2005, Statistics in Medicine 24:729) for matched pairs. Of the kinds
    simulated (t, percentile, expanded percentile, BCa, each with and without) this one kept 93 to 97 % best.

    Args:
        values: a figure an item.
        clusters: what the item belongs to where items are not independent: the prompt where each was asked with several
            seeds. Whole clusters are drawn; with fewer than about 30 and no ends, intervals are too short.
        ends: the least and the greatest possible value, e.g. (1, 5) for quality; None where there are none (tokens).
        seed: same values and seed, same interval.
        draws: samples drawn.

    Raises:
        ValueError: a value that is no number or beyond the ends; clusters that do not match the values.
    """
    return _interval(values, clusters, ends, seed, draws)[0]


def _interval(
    values: Sequence[float] | Floats,
    clusters: Sequence[Hashable] | None,
    ends: Ends | None,
    seed: int,
    draws: int,
) -> tuple[Interval, Floats]:
    """The interval of the mean, and the means drawn for it, none of which is there where nothing can be said."""
    known = _checked(values, ends, draws)
    sums, counts = _totals(known, clusters)
    value = float(known.mean()) if len(known) else None
    if value is None or (ends is None and len(sums) < 2):
        low, high = ends or (None, None)
        return Interval(value, low, high, len(known)), np.empty(0)
    means = np.concatenate([*_means(*_pool(sums, counts, ends), len(sums) + (ends is not None), draws, seed)])
    drawn = np.quantile(means, [0.025, 0.975])
    low, high = min(value, float(drawn[0])), max(value, float(drawn[1]))
    return Interval(value, low, high, len(known)), means


def _checked(values: Sequence[float] | Floats, ends: Ends | None, draws: int) -> Floats:
    known = np.asarray(values, dtype=np.float64)
    low, high = ends or (-np.inf, np.inf)
    for wrong in known[~((known >= low) & (known <= high) & np.isfinite(known))][:1]:
        raise ValueError(f"{wrong} is not between {low} and {high}")
    if draws < 1:
        raise ValueError(f"{draws} draws")
    return known


def _totals(values: Floats, clusters: Sequence[Hashable] | None) -> tuple[Floats, Floats]:
    """Sum and number of items a cluster, (C,) each; without clusters every item is one."""
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"{len(clusters)} clusters for {len(values)} values")
    of = cluster_places(clusters)
    return np.bincount(of, values).astype(np.float64), np.bincount(of).astype(np.float64)


def cluster_places(clusters: Sequence[Hashable]) -> NDArray[np.intp]:
    """The number of each item's cluster, counted from 0 in the order in which they come."""
    place: dict[Hashable, int] = {}
    return np.array([place.setdefault(cluster, len(place)) for cluster in clusters], dtype=np.intp)


def _pool(sums: Floats, counts: Floats, ends: Ends | None) -> tuple[Floats, Floats]:
    """What is drawn from: all twice, and once something at each end, which is to say half of it."""
    if ends is None:
        return sums, counts
    usual = counts.mean()
    return np.r_[sums, sums, np.multiply(ends, usual)], np.r_[counts, counts, usual, usual]


def _means(sums: Floats, counts: Floats, size: int, draws: int, seed: int) -> Iterator[Floats]:
    """Means of `draws` samples of `size` clusters, a block at a time."""
    rng, block = np.random.default_rng(seed), max(1, NUMBERS_AT_ONCE // size)
    alike = bool(np.all(counts == counts[0]))  # then the mean needs no second look-up
    for start in range(0, draws, block):
        drawn = rng.integers(len(sums), size=(min(block, draws - start), size), dtype=np.int32)  # (B, size)
        total = sums[drawn].sum(axis=1)
        yield total / (size * counts[0] if alike else counts[drawn].sum(axis=1))


def _surprise(means: Floats) -> float:
    """Never 0: that no draw fell on the other side says only that it is rarer than one in the draws."""
    other_side = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (other_side + 1) / (len(means) + 1))
