"""Intervals of means and of paired differences: what they must do, and how often they cover the truth."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtune.evaluation.statistics.bootstrap import mean_interval, paired_bootstrap
from seqtune.evaluation.statistics.measure import wilson

differences = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60)
shares = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(differences, st.integers(0, 9))
@settings(max_examples=50)
def test_the_same_seed_gives_the_same_interval_around_the_mean(values, seed):
    found = paired_bootstrap(values, seed=seed, draws=200)
    assert found == paired_bootstrap(np.array(values), seed=seed, draws=200)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.value == pytest.approx(sum(values) / len(values))
    assert found.of == len(values)


@given(differences)
@settings(max_examples=50)
def test_swapping_the_models_mirrors_the_interval(values):
    there, back = (paired_bootstrap([sign * value for value in values], draws=2000) for sign in (1, -1))
    assert back.value == -there.value
    step = 2 / (len(values) + 1)  # means of -1 and 1 are that far apart, and chance may fall on either side
    assert (-back.high, -back.low) == pytest.approx((there.low, there.high), abs=1.01 * step)
    assert back.p == pytest.approx(there.p, abs=0.1)


@given(shares, st.integers(2, 4))
@settings(max_examples=30)
def test_an_item_asked_again_with_the_same_result_adds_nothing(values, times):
    once = mean_interval(values, ends=(0, 1), draws=300)
    again = mean_interval(values * times, ends=(0, 1), draws=300, clusters=[*range(len(values))] * times)
    assert (again.low, again.high) == pytest.approx((once.low, once.high))


@given(differences, st.integers(0, 3))
@settings(max_examples=50)
def test_p_is_small_just_where_the_interval_leaves_nought_out(values, seed):
    found = paired_bootstrap(values, seed=seed, draws=2000)
    if found.p < 0.045:
        assert not found.low < 0 < found.high
    if found.p > 0.055:
        assert found.low <= 0 <= found.high


def test_the_number_of_draws_at_once_does_not_change_them(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = mean_interval(values, draws=1000)
    monkeypatch.setattr("seqtune.evaluation.statistics.bootstrap.NUMBERS_AT_ONCE", 4096)
    assert mean_interval(values, draws=1000) == whole


def test_without_ends_it_is_the_interval_of_the_normal_for_a_large_sample():
    values = np.random.default_rng(1).normal(120, 30, size=2000)
    found, error = mean_interval(values), 1.96 * values.std() / 2000**0.5
    assert (found.low, found.high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.1)


def coverage(draw, truth, size, *, simulations=1000, **options):
    """Share of simulated samples whose interval holds the truth, ends included."""
    rng = np.random.default_rng(5)
    found = (mean_interval(draw(rng, size), draws=500, seed=i, **options) for i in range(simulations))
    return sum(one.low <= truth + 1e-9 and truth - 1e-9 <= one.high for one in found) / simulations


@pytest.mark.parametrize("chances", [(0.1, 0.8, 0.1), (0.02, 0.88, 0.1), (0.05, 0.15, 0.8), (0.3, 0.4, 0.3)])
@pytest.mark.parametrize("size", [100, 300])
def test_intervals_of_differences_cover_the_truth_as_often_as_they_say(chances, size):
    def draw(rng, size):
        return rng.choice([-1.0, 0.0, 1.0], p=chances, size=size)

    assert 0.93 <= coverage(draw, chances[2] - chances[0], size, ends=(-1, 1)) <= 0.97


@pytest.mark.parametrize("size", [50, 200])
def test_intervals_of_shares_within_items_cover_the_truth(size):
    assert 0.93 <= coverage(lambda rng, size: rng.beta(4, 1, size) ** 2, 2 / 3, size, ends=(0, 1)) <= 0.97


@pytest.mark.parametrize("size", [50, 200])
def test_intervals_of_skewed_quality_cover_the_truth(size):
    chances = [0.02, 0.03, 0.05, 0.2, 0.7]

    def draw(rng, size):
        return rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], p=chances, size=size)

    assert 0.93 <= coverage(draw, np.dot(chances, [1, 2, 3, 4, 5]), size, ends=(1, 5)) <= 0.97


def test_intervals_of_clustered_items_cover_where_those_that_ignore_the_clusters_do_not():
    def draw(rng, prompts):
        return (rng.random((prompts, 5)) < rng.beta(0.5, 0.25, prompts)[:, None]).astype(float).ravel()

    clusters = np.repeat(np.arange(60), 5).tolist()
    assert 0.93 <= coverage(draw, 2 / 3, 60, ends=(0, 1), clusters=clusters) <= 0.97
    assert coverage(draw, 2 / 3, 60, ends=(0, 1)) < 0.8


def test_wilson_intervals_cover_the_truth_averaged_over_shares():
    rng, trials, covered = np.random.default_rng(3), 100, []
    intervals = np.array([wilson(done, trials) for done in range(trials + 1)])
    for truth in np.linspace(0.1, 0.9, 81):
        low, high = intervals[rng.binomial(trials, truth, size=5000)].T
        covered.append(np.mean((low <= truth) & (truth <= high)))
    assert 0.94 <= np.mean(covered) <= 0.96
    assert min(covered) >= 0.91


def test_a_sample_without_any_difference_does_not_prove_that_there_is_none():
    found = paired_bootstrap([0.0] * 20)
    assert found.low < -0.05 < 0.05 < found.high
    assert found.p == 1


def test_of_no_items_nothing_is_known_and_of_one_little():
    assert mean_interval([]) == mean_interval([], clusters=[])
    assert (mean_interval([]).value, mean_interval([]).low, mean_interval([7.0]).high) == (None, None, None)
    assert (mean_interval([3.0], ends=(1, 5)).low, mean_interval([3.0], ends=(1, 5)).high) == (1, 5)
    assert paired_bootstrap([]).p is None


def test_it_is_written_as_json_and_read_again():
    found = paired_bootstrap([1.0, 0.0, -1.0], draws=50)
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1.5])
def test_a_value_that_cannot_be_is_refused_by_its_value(wrong):
    with pytest.raises(ValueError, match=rf"{wrong} is not between -1\.0 and 1\.0"):
        paired_bootstrap([0.5, wrong])


def test_clusters_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="2 clusters for 3 values"):
        mean_interval([1, 2, 3], clusters=["a", "b"])
    with pytest.raises(ValueError, match="0 draws"):
        mean_interval([1, 2, 3], draws=0)
