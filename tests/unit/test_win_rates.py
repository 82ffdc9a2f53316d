"""Win rates: position cancels out, length is told from strength, and swapping the models mirrors everything."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtune.errors import DataError
from seqtune.evaluation.statistics.win_rates import Duel, length_controlled, win_rate

verdicts = st.sampled_from([0.0, 0.5, 1.0, None])


def both(prompt, preference, swapped, lengths=(0, 0), model="ours", against="base"):
    """Two verdicts on one prompt: the model's preference when it is first, and when it is second."""
    yield Duel(prompt, model, against, preference, *lengths)
    yield Duel(prompt, against, model, None if swapped is None else 1 - swapped, *reversed(lengths))


def duels(pairs):
    return [one for i, (first, second) in enumerate(pairs) for one in both(f"p{i}", first, second)]


def logistic(odds):
    return 1 / (1 + np.exp(-odds))


def simulate(strengths, *, longer, weight=0.0, first_gain=0.0, spread=0.0, prompts=400, seed=0):
    """Verdicts on models of known strength against "base", and their true rates at equal length."""
    rng = np.random.default_rng(seed)
    hard, base = rng.normal(0, spread, prompts), rng.lognormal(5, 0.5, prompts)
    found, truth = [], {}
    for model, strength in strengths.items():
        length = base * np.exp(rng.normal(longer[model], 0.5, prompts))
        odds = strength + hard + weight * np.tanh((length - base) / 150)
        truth[model] = float(logistic(strength + hard).mean())
        wins = [(rng.random(prompts) < logistic(odds + gain)).astype(float) for gain in (first_gain, -first_gain)]
        for i, (first, second) in enumerate(zip(*wins, strict=True)):
            found += both(f"p{i}", first, second, (length[i], base[i]), model)
    return found, truth


def test_a_judge_who_takes_the_first_answer_makes_no_winner():
    found = win_rate(duels([(1.0, 0.0)] * 50), "ours", "base")
    assert (found.rate.value, found.wins, found.ties, found.losses) == (0.5, 0, 50, 0)
    assert (found.first_gain.value, found.stable) == (0.5, 0)


def test_counts_and_position_of_a_worked_example():
    pairs = [(1.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1.0, None), (None, None)]
    found = win_rate(duels(pairs), "ours", "base")
    assert (found.wins, found.ties, found.losses, found.unscored, found.rate.of) == (2, 1, 1, 2, 4)
    assert found.rate.value == pytest.approx(2.5 / 4)
    assert found.first_gain.value == pytest.approx(0.125)
    assert found.stable == 0.75
    lenient = win_rate(duels(pairs), "ours", "base", both_orders=False)
    assert (lenient.wins, lenient.unscored) == (3, 1)


@given(st.lists(st.tuples(verdicts, verdicts), min_size=1, max_size=30))
@settings(max_examples=40)
def test_swapping_the_models_mirrors_the_raw_rate(pairs):
    ours, theirs = (win_rate(duels(pairs), *names, draws=400) for names in (("ours", "base"), ("base", "ours")))
    assert (ours.wins, ours.ties, ours.losses) == (theirs.losses, theirs.ties, theirs.wins)
    assert (ours.stable, ours.unscored) == (theirs.stable, theirs.unscored)
    assert ours.first_gain == theirs.first_gain
    if ours.rate.value is not None:
        assert ours.rate.value == pytest.approx(1 - theirs.rate.value)
        assert ours.rate.low == pytest.approx(1 - theirs.rate.high, abs=0.1)


@given(st.lists(st.tuples(verdicts, verdicts, st.floats(-500, 500)), min_size=1, max_size=30))
@settings(max_examples=40)
def test_swapping_the_models_mirrors_the_rate_at_equal_length(rows):
    found = [one for i, (a, b, more) in enumerate(rows) for one in both(f"p{i}", a, b, (600 + more, 600))]
    if all(a is None or b is None for a, b, _ in rows):
        with pytest.raises(DataError, match="no verdict"):
            length_controlled(found, "base")
        return
    ours, theirs = length_controlled(found, "base"), length_controlled(found, "ours")
    mine, other = ours.rates["ours"], theirs.rates["base"]
    assert (mine.value, mine.low, mine.high) == pytest.approx(
        (1 - other.value, 1 - other.high, 1 - other.low), abs=1e-6
    )
    assert 0 <= mine.low <= mine.value <= mine.high <= 1
    assert ours.length_weight == pytest.approx(theirs.length_weight, abs=1e-5)


def test_verdicts_that_only_measure_length_leave_nothing_to_tell_the_models_apart():
    found, _ = simulate({"ours": 0.0}, longer={"ours": 0.7}, weight=8, prompts=805)
    rate = length_controlled(found, "base").rates["ours"]
    assert win_rate(found, "ours", "base").rate.low > 0.8
    assert rate.value == pytest.approx(0.5, abs=0.07)
    assert rate.low <= 0.5 <= rate.high


def test_without_length_differences_the_rate_is_the_raw_one():
    pairs = [(1.0, 1.0)] * 30 + [(1.0, 0.0)] * 20 + [(0.0, 0.0)] * 10
    found = length_controlled(duels(pairs), "base")
    assert found.rates["ours"].value == pytest.approx(40 / 60, abs=1e-3)
    assert found.length_weight == 0


def test_the_strength_of_many_models_is_recovered_from_verdicts_that_like_length():
    strengths = {"a": -2.0, "b": -0.7, "c": 0.0, "d": 0.7, "e": 1.5}
    longer = {"a": 0.8, "b": -0.5, "c": 0.9, "d": -0.4, "e": 0.2}
    found, truth = simulate(strengths, longer=longer, weight=2, first_gain=0.5, spread=1, prompts=805)
    controlled = length_controlled(found, "base")
    off = [abs(controlled.rates[model].value - rate) for model, rate in truth.items()]
    raw_off = [abs(win_rate(found, model, "base", draws=50).rate.value - rate) for model, rate in truth.items()]
    assert max(off) < 0.035
    assert np.mean(off) < np.mean(raw_off) / 3
    assert sorted(truth, key=truth.get) == sorted(truth, key=lambda model: controlled.rates[model].value)


@pytest.mark.parametrize("spread", [0, 1])
def test_intervals_of_a_single_pair_cover_the_truth(spread):
    covered, off = [], []
    for seed in range(150):
        found, truth = simulate({"ours": 0.5}, longer={"ours": 0.5}, weight=1.5, spread=spread, prompts=120, seed=seed)
        rate = length_controlled(found, "base").rates["ours"]
        covered.append(rate.low <= truth["ours"] <= rate.high)
        off.append(rate.value - truth["ours"])
    assert 0.92 <= np.mean(covered) <= 0.99
    assert abs(np.mean(off)) < 0.015


def test_models_that_met_only_each_other_are_placed_through_those_that_met_the_baseline():
    rng, found = np.random.default_rng(4), []
    for i in range(800):
        for model, against, strength in (("middle", "base", 1.0), ("top", "middle", 1.0)):
            wins = [float(rng.random() < logistic(strength)) for _ in range(2)]
            found += both(f"p{i}", *wins, model=model, against=against)
    rates = length_controlled(found, "base").rates
    assert rates["middle"].value == pytest.approx(logistic(1), abs=0.03)
    assert rates["top"].value == pytest.approx(logistic(2), abs=0.04)


def test_a_model_that_wins_everything_has_a_finite_rate_and_an_interval():
    rate = length_controlled(duels([(1.0, 1.0)] * 40), "base").rates["ours"]
    assert 0.98 < rate.value <= 1
    assert rate.low < 0.98


def test_a_model_that_is_always_longer_by_as_much_cannot_be_told_from_its_length():
    found = [one for i in range(200) for one in both(f"p{i}", 1.0, float(i % 2), (900, 400))]
    rate = length_controlled(found, "base").rates["ours"]
    assert rate.high - rate.low > 0.3


def test_a_model_without_a_tie_to_the_baseline_is_refused_by_name():
    found = [*both("p", 1.0, 1.0), *both("p", 1.0, 0.0, model="lone", against="other")]
    with pytest.raises(DataError, match="ties 'lone' to the baseline 'base'"):
        length_controlled(found, "base")


def test_results_are_written_as_json_and_read_again():
    found = duels([(1.0, 0.5), (0.0, 1.0), (None, 1.0)])
    for result in (win_rate(found, "ours", "base", draws=50), length_controlled(found, "base")):
        assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result


def test_impossible_verdicts_are_refused():
    with pytest.raises(ValueError, match="'p': a preference of"):
        Duel("p", "a", "b", 1.5)
    with pytest.raises(ValueError, match="'a' is compared with itself"):
        Duel("p", "a", "a", 1.0)
