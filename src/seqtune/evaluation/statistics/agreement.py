"""How far judges, or a judge and people, agree beyond chance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import compress
from math import isfinite
from numbers import Real
from typing import Literal, TypeAlias

import numpy as np

from seqtune.evaluation.statistics.bootstrap import Floats, Interval, cluster_places

Level: TypeAlias = Literal["nominal", "ordinal", "interval"]
Label: TypeAlias = Hashable | None
MOST_LABELS = 100  # tables of labels x labels are kept for every item


def cohen_kappa(
    first: Sequence[Label],
    second: Sequence[Label],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """Agreement of two raters, 0 as by chance and 1 in everything (Cohen 1960, EPM 20:37), with a bootstrap interval.

    Args:
        first, second: what each says of the same items, in the same order; an item without a label (None) is left out.
        clusters: what each item belongs to where they are not independent: the answer of which it is a step.
        seed, draws: of the interval, see `mean_interval`.

    Raises:
        ValueError: not of one length, more than 100 labels, or one that is no finite number.
    """
    both = [a is not None and b is not None for a, b in zip(first, second, strict=True)]
    pairs = [*compress(zip(first, second, strict=True), both)]
    places = _places([label for pair in pairs for label in pair])
    tables = np.zeros((len(pairs), len(places), len(places)))  # (U, K, K), a single 1 each
    for table, (a, b) in zip(tables, pairs, strict=True):
        table[places[a], places[b]] = 1
    return _interval(tables, _kappa, _kept(clusters, both), seed, draws)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Label]],
    level: Level = "nominal",
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """Agreement of any number of raters, of whom each may have left items out, with a bootstrap interval.

    After Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section D.

    Args:
        ratings: a row for each rater with a label for each item, None where there is none. An item with fewer than two
            labels says nothing and is not counted.
        level: what differing means: "nominal" any two labels differ alike; "ordinal" the more labels lie between;
            "interval" by the square of the distance between two numbers.
        clusters, seed, draws: see `cohen_kappa`.

    Raises:
        ValueError: rows of different length, labels that are no numbers where they must be, no finite ones, or more
            than 100.
    """
    given = [[label for label in item if label is not None] for item in zip(*ratings, strict=True)]
    rated = [len(item) > 1 for item in given]
    items = [*compress(given, rated)]
    places = _places([label for item in items for label in item])
    positions = None if level == "nominal" else np.array(_numbers(list(places)))
    tables = np.array([_coincidences([places[label] for label in item], len(places)) for item in items])
    tables = tables.reshape(len(items), len(places), len(places))

    def statistic(summed: Floats) -> Floats:
        return _alpha(summed, positions, ranked=level == "ordinal")

    return _interval(tables, statistic, _kept(clusters, rated), seed, draws)


def _kept(clusters: Sequence[Hashable] | None, kept: Sequence[bool]) -> Sequence[Hashable]:
    """The clusters of the items that count; without any, each is its own."""
    if clusters is not None and len(clusters) != len(kept):
        raise ValueError(f"{len(clusters)} clusters for {len(kept)} items")
    return [*compress(range(len(kept)) if clusters is None else clusters, kept)]


def _places(labels: Sequence[Hashable]) -> dict[Hashable, int]:
    """Every label's place: numbers by size, others as they come."""
    found = dict.fromkeys(labels)
    if len(found) > MOST_LABELS:
        raise ValueError(f"{len(found)} different labels are too many to compare (at most {MOST_LABELS}): round them")
    for wrong in [label for label in found if isinstance(label, Real) and not isfinite(label)][:1]:
        raise ValueError(f"{wrong!r} is no label: give None where there is none")
    numeric = all(isinstance(label, Real) for label in found)
    return {label: place for place, label in enumerate(sorted(found, key=float) if numeric else found)}  # type: ignore[arg-type]


def _numbers(labels: Sequence[Hashable]) -> list[float]:
    for label in labels:
        if not isinstance(label, Real):
            raise ValueError(f"{label!r} is not a number: only numbers have an order, or a distance")
    return [float(label) for label in labels]  # type: ignore[arg-type]


def _coincidences(item: Sequence[int], labels: int) -> Floats:
    """How often each label meets each other one in an item: (K, K), whose sum is the number of its raters."""
    counts = np.bincount(item, minlength=labels).astype(np.float64)
    table: Floats = (np.outer(counts, counts) - np.diag(counts)) / (len(item) - 1)
    return table


def _interval(
    tables: Floats, statistic: Callable[[Floats], Floats], clusters: Sequence[Hashable], seed: int, draws: int
) -> Interval:
    """The statistic of the sum of all items' tables, and its interval over draws of clusters.

    One imaginary cluster, rated by chance, takes part: else raters who agreed in all of ten items would for certain
    agree in everything.
    """
    items, labels = len(tables), tables.shape[-1]
    if not items or labels < 2:  # one label only: chance would agree as well
        return Interval(None, None, None, items)
    of = cluster_places(clusters)
    units = int(of.max()) + 1
    drawn_from = np.zeros((units, labels, labels))
    np.add.at(drawn_from, of, tables)
    summed = tables.sum(axis=0)
    chance = np.outer(summed.sum(axis=1), summed.sum(axis=0)) / summed.sum() / units
    pool = np.concatenate([drawn_from, chance[None]]).reshape(units + 1, -1)
    times = np.random.default_rng(seed).multinomial(units + 1, np.full(units + 1, 1 / (units + 1)), size=draws)
    drawn = statistic((times @ pool).reshape(draws, labels, labels))
    value = float(statistic(summed[None])[0])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(value, min(value, float(low)), max(value, float(high)), items)


def _kappa(tables: Floats) -> Floats:
    """Of tables (D, K, K) of first by second."""
    of = tables.sum(axis=(1, 2))
    agreed = np.trace(tables, axis1=1, axis2=2) / of
    by_chance = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1) / of**2
    return _beyond_chance(1 - agreed, 1 - by_chance)


def _alpha(tables: Floats, positions: Floats | None, *, ranked: bool) -> Floats:
    """Of coincidences (D, K, K), where labels stand at positions (K,) or, ranked, in the middle of their own ranks."""
    counts = tables.sum(axis=2)  # (D, K)
    of = counts.sum(axis=1)
    if positions is None:
        apart = 1 - np.eye(counts.shape[1])[None]
    else:
        at = np.cumsum(counts, axis=1) - counts / 2 if ranked else np.broadcast_to(positions, counts.shape)
        apart = (at[:, :, None] - at[:, None, :]) ** 2
    observed = (tables * apart).sum(axis=(1, 2)) / of
    expected = (counts[:, :, None] * counts[:, None, :] * apart).sum(axis=(1, 2)) / (of * (of - 1))
    return _beyond_chance(observed, expected)


def _beyond_chance(disagreed: Floats, by_chance: Floats) -> Floats:
    """1 less the share of chance's disagreement; of a draw with one label only nothing can be said."""
    beyond: Floats = 1 - np.divide(disagreed, by_chance, out=np.full(len(disagreed), np.nan), where=by_chance > 1e-12)
    return beyond
