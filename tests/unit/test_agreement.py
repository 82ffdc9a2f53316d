"""Agreement beyond chance: worked examples, other ways to the same figure, and what any coefficient must do."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtune.evaluation.statistics.agreement import cohen_kappa, krippendorff_alpha

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": four observers, twelve units.
FOUR = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
rows = st.integers(2, 12).flatmap(
    lambda items: st.lists(
        st.lists(st.sampled_from([None, 1, 2, 3, 5]), min_size=items, max_size=items), min_size=2, max_size=4
    )
)


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_the_published_one(level, published):
    found = krippendorff_alpha(FOUR, level)
    assert found.value == pytest.approx(published, abs=5e-4)
    assert found.of == 11  # one item has a single label


@pytest.mark.parametrize(
    ("first", "second", "published"),
    [  # The same paper: two observers, ten units with two values, and twelve with five.
        ([0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0], 0.095),
        (list("aabbdcccedda"), list("babbbccceddd"), 0.692),
    ],
)
def test_alpha_of_two_observers_is_the_published_one(first, second, published):
    assert krippendorff_alpha([first, second]).value == pytest.approx(published, abs=5e-4)


def by_pairs(ratings):
    """Interval alpha straight from its definition: mean square within items over that among all labels."""
    items = [[label for label in item if label is not None] for item in zip(*ratings, strict=True)]
    items = [item for item in items if len(item) > 1]
    everything = [label for item in items for label in item]
    within = sum(2 * (a - b) ** 2 / (len(item) - 1) for item in items for a, b in combinations(item, 2))
    among = sum(2 * (a - b) ** 2 for a, b in combinations(everything, 2))
    return 1 - within * (len(everything) - 1) / among if among else None


@given(rows)
@settings(max_examples=60)
def test_interval_alpha_is_its_definition(ratings):
    found = krippendorff_alpha(ratings, "interval", draws=20)
    expected = by_pairs(ratings)
    assert found.value == (expected if expected is None else pytest.approx(expected))
    if found.value is not None:
        assert found.low <= found.value <= found.high <= 1


@given(rows, st.sampled_from(["nominal", "ordinal"]))
@settings(max_examples=60)
def test_only_what_the_level_knows_counts(ratings, level):
    other = [[None if label is None else label**3 for label in row] for row in ratings]
    assert krippendorff_alpha(other, level, draws=20) == krippendorff_alpha(ratings, level, draws=20)


@given(rows)
@settings(max_examples=30)
def test_the_order_of_the_raters_does_not_matter(ratings):
    found = krippendorff_alpha(ratings, draws=20).value
    assert krippendorff_alpha(ratings[::-1], draws=20).value == (found if found is None else pytest.approx(found))


def test_kappa_of_a_worked_table():
    # Both yes 20, both no 15, yes/no 5, no/yes 10: agreed 0.7, by chance 0.5.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = cohen_kappa([*first, None], [*second, "yes"])
    assert found.value == pytest.approx(0.4)
    assert found.of == 50
    # Fleiss, Cohen and Everitt 1969: standard error 0.1281 for this table.
    assert (found.low, found.high) == pytest.approx((0.4 - 1.96 * 0.128, 0.4 + 1.96 * 0.128), abs=0.05)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_kappa_is_the_same_either_way_round_and_1_only_in_full_agreement(pairs):
    first, second = zip(*pairs, strict=True)
    there, back = cohen_kappa(first, second, draws=20).value, cohen_kappa(second, first, draws=20).value
    assert there == (None if there is None else pytest.approx(back))
    if there is not None:
        assert (there > 1 - 1e-9) == (first == second)


def test_full_agreement_on_few_items_does_not_prove_full_agreement():
    found = cohen_kappa([0, 1] * 10, [0, 1] * 10)
    assert found.value == 1
    assert 0.7 < found.low < 0.95


@pytest.mark.parametrize("ratings", [([], []), ([1, 1], [1, 1]), ([None, 1], [1, None])])
def test_without_two_labels_on_shared_items_nothing_can_be_said(ratings):
    for found in (cohen_kappa(*ratings), krippendorff_alpha(ratings)):
        assert (found.value, found.low, found.high) == (None, None, None)


def test_intervals_of_kappa_cover_the_truth():
    rng, truth, covered = np.random.default_rng(2), 0.64, 0  # two raters, each wrong on one of ten: 0.8² of 1
    for i in range(600):
        right = rng.random(100) < 0.5
        first, second = (right ^ (rng.random(100) < 0.1) for _ in range(2))
        found = cohen_kappa(first.tolist(), second.tolist(), seed=i, draws=400)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 600 <= 0.97


@pytest.mark.parametrize("agreement", [lambda *both, **how: krippendorff_alpha(both, **how), cohen_kappa])
def test_intervals_of_steps_that_agree_or_differ_together_cover_the_truth_if_their_answers_are_told(agreement):
    rng, told, items = np.random.default_rng(3), {"together": 0, "apart": 0}, np.repeat(np.arange(60), 3)
    for i in range(300):
        right = rng.random(60) < 0.5
        first, second = ((right ^ (rng.random(60) < 0.1))[items].tolist() for _ in range(2))
        for how, clusters in (("together", items.tolist()), ("apart", None)):
            found = agreement(first, second, clusters=clusters, seed=i, draws=400)
            assert found.of == 180
            told[how] += found.low <= 0.64 <= found.high
    assert told["apart"] / 300 < 0.8 < 0.92 <= told["together"] / 300 <= 0.97


@given(rows)
@settings(max_examples=30)
def test_an_item_that_is_its_own_cluster_changes_nothing(ratings):
    own = [f"item {i}" for i in range(len(ratings[0]))]
    assert krippendorff_alpha(ratings, clusters=own, draws=20) == krippendorff_alpha(ratings, draws=20)


def test_words_have_no_order():
    with pytest.raises(ValueError, match="'good' is not a number"):
        krippendorff_alpha([["good", "bad"], ["bad", "bad"]], "ordinal")


def test_too_many_labels_and_rows_of_different_length_are_refused():
    with pytest.raises(ValueError, match="101 different labels"):
        cohen_kappa(range(101), range(101))
    with pytest.raises(ValueError, match="shorter"):
        krippendorff_alpha([[1, 2], [1]])
    with pytest.raises(ValueError, match="1 clusters for 2 items"):
        cohen_kappa([1, 2], [1, 2], clusters=["a"])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), np.float32("nan")])
def test_a_number_that_is_none_is_no_label(wrong):
    for agreement in (lambda a, b: cohen_kappa(a, b), lambda a, b: krippendorff_alpha([a, b], "ordinal")):
        with pytest.raises(ValueError, match="is no label: give None"):
            agreement([1.0, 2.0, wrong], [1.0, 2.0, 2.0])
