"""Intervals: known values, and what any interval of a share must do."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.evaluation.statistics.measure import share, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_holds_the_share_and_mirrors_that_of_the_failures(successes, more):
    trials = successes + more
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert wilson(more, trials) == pytest.approx((1 - high, 1 - low))


@given(st.integers(0, 50), st.integers(1, 50))
def test_more_trials_narrow_it(successes, more):
    def width(interval):
        return interval[1] - interval[0]

    trials = successes + more
    assert width(wilson(10 * successes, 10 * trials)) < width(wilson(successes, trials))


@pytest.mark.parametrize("truth", [0.02, 0.5, 0.9])
def test_it_covers_the_truth_about_as_often_as_it_says(truth):
    rng, trials = Random(7), 200
    draws = [sum(rng.random() < truth for _ in range(trials)) for _ in range(1000)]
    covered = [low <= truth <= high for low, high in (wilson(done, trials) for done in draws)]
    assert 0.925 < sum(covered) / len(covered) < 0.98


def test_of_nothing_tried_nothing_is_known():
    nothing = share(0, 0)
    assert (nothing.value, nothing.low, nothing.high) == (None, 0.0, 1.0)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="3 successes of 2 trials"):
        wilson(3, 2)
