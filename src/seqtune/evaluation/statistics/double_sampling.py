"""A rate of a run from its judge's verdicts on all answers and people's on some that were drawn from them at random."""

from __future__ import annotations

from collections.abc import Sequence

from seqtune.evaluation.statistics.measure import Measure, wilson

FEWEST = 10  # labels: with fewer, how judge and people go together is a guess


def sampled_share(judge: Sequence[float], labelled: Sequence[tuple[float, float]]) -> Measure:
    """The rate that people would find had they labelled every answer, by regression on the judge's verdicts.

    A judge that agrees with people makes the interval as narrow as if many more answers were labelled; one that does
    not is no harm. For yes and no this is what Tenenbein (1970, JASA 65:1350) derives for double sampling. The interval
    is Wilson's at the number of labels that would say as much alone.

    Args:
        judge: what it says of every answer, 0 to 1, the labelled ones too.
        labelled: what judge and people say of each answer that was drawn and labelled.

    Returns:
        The rate; `of` is the number of labels.
    """
    count = len(labelled)
    if not count:
        return Measure(0, 0, None, 0.0, 1.0)
    slope, spread = _slope(labelled) if count >= FEWEST else (0.0, _spread([true for _, true in labelled]))
    shift = sum(judge) / len(judge) - sum(ours for ours, _ in labelled) / count
    value = min(1.0, max(0.0, sum(true for _, true in labelled) / count + slope * shift))
    variance = spread / count + slope**2 * _spread(judge) / len(judge)
    low, high = _interval(value, variance, count)
    return Measure(value * count, count, value, min(low, value), max(high, value))


def _slope(labelled: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """How far people's verdict follows the judge's, and the spread of what is left of it."""
    count = len(labelled)
    mean_ours, mean_true = (sum(column) / count for column in zip(*labelled, strict=True))
    ours = sum((one - mean_ours) ** 2 for one, _ in labelled)
    slope = sum((one - mean_ours) * (true - mean_true) for one, true in labelled) / ours if ours else 0.0
    left = sum((true - mean_true - slope * (one - mean_ours)) ** 2 for one, true in labelled)
    # An imaginary label on either side, half of one together: else who agreed on all of ten would agree for ever.
    return slope, (left + 0.5) / max(1, count - 2)


def _spread(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) + 0.5) / max(1, len(values) - 1)


def _interval(value: float, variance: float, count: int) -> tuple[float, float]:
    """Wilson's at as many labels as would have this variance; where all labels are alike, at as many as there are."""
    worth = max(1, round(value * (1 - value) / variance)) if 0 < value < 1 else count
    return wilson(value * worth, worth)
