"""A share corrected for its judge's errors: known values, what any correction must do, and coverage."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seqtune.errors import DataError
from seqtune.evaluation.statistics.correction import Reliability, corrected_share, reliability
from seqtune.evaluation.statistics.measure import share


def judge(hits, done, rejected, undone):
    return Reliability(share(hits, done), share(rejected, undone))


def test_a_worked_example():
    # 60 % seen by a judge with 90 % and 80 %: (0.6 + 0.8 - 1) / (0.9 + 0.8 - 1).
    found = corrected_share(300, 500, judge(90, 100, 80, 100))
    assert found.value == pytest.approx(0.4 / 0.7)
    assert found.low < 0.5 < found.value < 0.62 < found.high
    assert found.judged == share(300, 500)


def test_a_faultless_judge_measured_on_many_is_not_corrected():
    found = corrected_share(300, 500, judge(10**6, 10**6, 10**6, 10**6))
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.6, share(300, 500).low, share(300, 500).high), abs=1e-3
    )


counts = st.integers(1, 200)


@given(st.integers(0, 300), counts, counts, counts, counts)
def test_counting_failures_instead_mirrors_it(done, hits, misses, rejected, passed):
    known = judge(hits, hits + misses, rejected, rejected + passed)
    assume(known.sensitivity.value + known.specificity.value > 1)
    mirrored = Reliability(known.specificity, known.sensitivity)
    ours, other = corrected_share(done, 300, known), corrected_share(300 - done, 300, mirrored)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1
    assert (other.value, other.low, other.high) == pytest.approx(
        (1 - ours.value, 1 - ours.high, 1 - ours.low), abs=1e-6
    )


def test_more_labels_narrow_it():
    few, many = (corrected_share(300, 500, judge(9 * n, 10 * n, 8 * n, 10 * n)) for n in (3, 30))
    assert many.high - many.low < few.high - few.low
    assert many.value == few.value


def simulated(truth, sensitivity, specificity, judged=805, labelled=200, simulations=400):
    """Shares of the samples in which the corrected, and the plain, interval holds the truth."""
    rng, corrected, plain = np.random.default_rng(11), 0, 0
    for _ in range(simulations):
        done = int(rng.binomial(labelled, truth))
        hits, rejected = rng.binomial(done, sensitivity), rng.binomial(labelled - done, specificity)
        seen = rng.binomial(judged, truth * sensitivity + (1 - truth) * (1 - specificity))
        found = corrected_share(int(seen), judged, judge(int(hits), done, int(rejected), labelled - done))
        corrected += found.low <= truth <= found.high
        plain += found.judged.low <= truth <= found.judged.high
    return corrected / simulations, plain / simulations


def test_the_interval_covers_the_truth_where_the_plain_one_does_not():
    worlds = [(truth, *rates) for truth in (0.1, 0.3, 0.5, 0.8) for rates in ((0.9, 0.8), (0.95, 0.9), (0.7, 0.7))]
    covered = [simulated(*world) for world in worlds]
    corrected, plain = np.mean(covered, axis=0)
    assert 0.94 <= corrected <= 0.97
    assert min(one for one, _ in covered) >= 0.92
    assert plain < 0.4


@pytest.mark.parametrize("known", [judge(50, 100, 50, 100), judge(20, 100, 60, 100), judge(100, 100, 0, 100)])
def test_a_judge_no_better_than_a_coin_is_refused(known):
    with pytest.raises(DataError, match="no better than chance"):
        corrected_share(300, 500, known)


@pytest.mark.parametrize(("known", "kind"), [(judge(0, 0, 8, 9), "'done'"), (judge(8, 9, 0, 0), "'not done'")])
def test_labels_of_one_kind_only_are_refused(known, kind):
    with pytest.raises(DataError, match=f"is labelled {kind}"):
        corrected_share(300, 500, known)


def test_reliability_counts_only_what_both_told():
    people = [True, True, True, False, False, None, True]
    ours = [True, False, True, False, True, True, None]
    found = reliability(ours, people)
    assert (found.sensitivity.done, found.sensitivity.of) == (2, 3)
    assert (found.specificity.done, found.specificity.of) == (1, 2)
    with pytest.raises(ValueError, match="argument 2"):
        reliability([True], [True, False])


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="3 done of 2 judged"):
        corrected_share(3, 2, judge(9, 10, 9, 10))
