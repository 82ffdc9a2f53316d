"""Figures: intervals as wide as they must be, nothing unscored hidden, and no headline where nothing is known."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.data.example import Example, Step
from seqtune.errors import RecipeError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.figures import figures, measure, whole_of
from seqtune.evaluation.headline import choose_headline
from seqtune.evaluation.scoring import Scored, Verdict, in_order, measures_of, said
from seqtune.evaluation.statistics.measure import MANY, Measure, mean, share, wilson
from seqtune.evaluation.suites.ifeval import MEASURES, instruction_accuracy

shares = st.lists(st.none() | st.floats(0, 1), max_size=30)


def item_of(number, steps=2, **meta):
    return Example(f"Do the things of {number}.", steps=tuple([Step(f"do {i}") for i in range(steps)]), meta=meta)


def scored_of(item, done=(True, True)):
    measures = {"strict": float(all(done)), "soft": sum(done) / len(done)}
    return Scored(item.id, item.id, measures, tuple([Verdict(i, "judge", one) for i, one in enumerate(done, 1)]))


def answers_of(items):
    return {item.id: Answer(item.id, "m", "text") for item in items}


# --- intervals


@pytest.mark.parametrize(("items", "samples"), [(30, 400), (150, 1000)])
@pytest.mark.parametrize(("steps", "rate"), [(5, 0.7), (5, 0.9), (10, 0.5)])
def test_intervals_of_fractions_cover_the_truth_as_often_as_they_say(items, samples, steps, rate):
    rng, hits, width = Random(items), 0, 0.0
    for _ in range(samples):
        found = measure("soft", [sum(rng.random() < rate for _ in range(steps)) / steps for _ in range(items)])
        hits += found.low <= rate <= found.high
        width += (found.high - found.low) / samples
    assert 0.93 <= hits / samples <= 0.985
    least = 2 * 1.96 * (rate * (1 - rate) / steps / items) ** 0.5
    assert least * 0.95 < width < least * 1.3


@given(st.lists(st.sampled_from([0.0, 1.0, None]), max_size=40))
def test_of_yes_and_no_the_interval_is_wilsons(values):
    told = [value for value in values if value is not None]
    assert measure("soft", values) == share(sum(told), len(told), len(values) - len(told))
    assert (measure("soft", values).low, measure("soft", values).high) == wilson(sum(told), len(told))


@given(shares, st.integers(1, 8))
def test_every_interval_holds_its_value_within_the_ends_however_many_items_there_are(values, times):
    found = measure("soft", values * times)
    if found.value is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.worst <= found.value + 1e-9
        assert found.best >= found.value - 1e-9


def test_the_interval_does_not_jump_where_the_formula_takes_over():
    values = [i % 6 / 5 for i in range(MANY + 1)]
    few, many = mean(values[:MANY], 0, 1), mean(values, 0, 1)
    assert (few.low, few.high) == pytest.approx((many.low, many.high), abs=0.01)
    quality = [1 + 4 * value for value in values]
    assert mean(quality, 1, 5).low == pytest.approx(1 + 4 * many.low)


@pytest.mark.parametrize("items", [3, MANY + 1])
def test_a_value_beyond_the_ends_is_refused(items):
    with pytest.raises(ValueError, match="is not between"):
        mean([2.0] * items, 0, 1)


def test_the_coverage_stands_in_json_and_cannot_be_given_wrongly():
    assert msgspec.json.decode(msgspec.json.encode(share(3, 4, 6)))["coverage"] == 0.4
    assert Measure(0, 0, None, 0, 1, unscored=5, coverage=1.0).coverage == 0.0
    assert (
        msgspec.json.decode(b'{"done":1,"of":1,"value":1,"low":0,"high":1,"unscored":1}', type=Measure).coverage == 0.5
    )


# --- what is unscored


def test_steps_of_unscored_items_are_open_at_every_position_that_they_have():
    items = [item_of(i) for i in range(10)]
    line = whole_of(figures(items, answers_of(items), [scored_of(item) for item in items[:5]]))
    assert [(one.value, one.of, one.unscored, one.coverage) for one in line.by_position] == [(1.0, 5, 5, 0.5)] * 2
    assert line.unscored_steps == 10


def test_the_number_of_steps_of_an_unscored_item_comes_from_the_checklist_or_from_its_like():
    items = [item_of(i, steps=0) for i in range(4)]
    verdicts = [scored_of(items[0])]
    by_like = whole_of(figures(items, answers_of(items), verdicts))
    assert [one.unscored for one in by_like.by_position] == [3, 3]
    by_checklist = whole_of(figures(items, answers_of(items), verdicts, {items[0].id: 2, items[1].id: 3}))
    assert [one.unscored for one in by_checklist.by_position] == [3, 3, 1]


def test_no_positions_are_made_up_where_nobody_judged_steps():
    items = [item_of(i) for i in range(4)]
    found = [Scored(item.id, measures={"following": 1.0}) for item in items[:3]]
    assert whole_of(figures(items, answers_of(items), found)).by_position == ()


def test_constraints_of_prompts_without_an_answer_are_unscored():
    items = [item_of(i, steps=1 + i % 2) for i in range(4)]
    scored = [
        Scored(item.id, measures=dict.fromkeys(MEASURES, 1.0), steps=scored_of(item, [True] * len(item.steps)).steps)
        for item in items[:2]
    ]
    found = instruction_accuracy(scored, items)["instruction_strict_pooled"]
    assert (found.done, found.of, found.unscored, found.value) == (3, 3, 3, 1.0)
    assert (found.worst, found.best, found.coverage) == (0.5, 1.0, 0.5)


# --- the headline


def test_where_nothing_was_scored_there_is_no_headline_and_the_reason_is_told():
    told = {0: "there is no item to be scored", 3: "none of 3 items could be scored"}
    for count, reason in told.items():
        found = choose_headline("strict", figures([item_of(i) for i in range(count)], {}, []))
        assert found.refused == f"{reason}, so of strict nothing is known"


def test_a_split_called_all_is_not_taken_for_the_whole():
    items = [item_of(i, group="all" if i < 5 else "rest") for i in range(10)]
    lines = figures(items, answers_of(items), [scored_of(item, (i < 5,) * 2) for i, item in enumerate(items)])
    assert [(line.group, line.whole) for line in lines] == [("all", False), ("rest", False), ("all", True)]
    assert (choose_headline("strict", lines).figure.value, choose_headline("strict", lines).figure.of) == (0.5, 10)


@pytest.mark.parametrize(("name", "value"), [("points", 7.0), ("points", float("nan")), ("quality", 0.5)])
def test_a_measure_beyond_what_it_can_be_is_refused_with_the_item(name, value):
    item = item_of(0)
    with pytest.raises(RecipeError) as error:
        figures([item], answers_of([item]), [Scored(item.id, measures={name: value})])
    for told in (name, item.id, f"{value:g}", "fix: "):
        assert told in str(error.value)


# --- what of an answer counts


@given(st.text(max_size=40).filter(lambda text: "think>" not in text), st.text(max_size=20))
def test_what_counts_is_what_stands_after_the_thoughts(answer, thoughts):
    thoughts, answer = thoughts.replace("think>", ""), f"{answer}a"
    assert said(answer) == answer
    assert said(f"<think>{thoughts}</think>{answer}") == answer.strip()
    assert said(f"{thoughts}</think>\n{answer}") == answer.strip()
    assert said(f"<think>{thoughts}") == ""


@given(st.text("\u200b\u200c\u200d\u2060\ufeff\xad\x00\x1b\u3164\u2800\ufe0f \n", min_size=1))
def test_an_answer_of_which_no_sign_can_be_seen_is_empty(answer):
    assert said(answer).strip() == said(f"<think>So.</think>{answer}") == ""


@pytest.mark.parametrize(
    "answer", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469", "\ufeffa\u200bb"]
)
def test_joiners_within_what_is_said_stay(answer):
    assert said(answer) == answer


# --- steps that could not be told


def test_steps_that_could_not_be_told_widen_the_share_and_leave_no_headline():
    items = [item_of(i) for i in range(4)]
    scored = [Scored(item.id, "", {"soft": 1.0}, (Verdict(1, "c", True), Verdict(2, "", None))) for item in items]
    lines = figures(items, answers_of(items), scored)
    soft = whole_of(lines).measures["soft"]
    assert (soft.value, soft.worst, soft.best, soft.coverage, soft.partly) == (1.0, 0.5, 1.0, 0.0, 4)
    assert "only 0 of 4 items could be scored in all their steps" in choose_headline("soft", lines).refused


@given(st.lists(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=4), min_size=1, max_size=8))
def test_the_share_lies_within_its_bounds_whatever_the_open_steps_are(rows):
    items = [item_of(i, len(row)) for i, row in enumerate(rows)]
    scored = [
        Scored(item.id, "", measures_of(row), tuple([Verdict(i, "c", one) for i, one in enumerate(row, 1)]))
        for item, row in zip(items, rows, strict=True)
    ]
    found = whole_of(figures(items, answers_of(items), scored)).measures["soft"]
    for filled in (False, True):
        share = sum(sum(filled if one is None else one for one in row) / len(row) for row in rows) / len(rows)
        assert (found.worst if not filled else found.best) == pytest.approx(share)
    assert (found.coverage == 1.0) == all(None not in row for row in rows)


def test_what_has_no_order_is_no_item_of_its_figure_and_what_is_told_nowhere_is_unscored():
    one, two, part, tie, none = [item_of(i, steps) for i, steps in enumerate((1, 2, 2, 2, 2))]
    both = (Verdict(1, "c", True, "a"), Verdict(2, "c", True, "b"))
    scored = [
        Scored(one.id, "", {"order": None}, both[:1]),
        Scored(two.id, "", {"order": 1.0}, both),
        Scored(part.id, "", {"order": None}, (both[0], Verdict(2, "c", False))),
        Scored(tie.id, "", {"order": None}, both),
    ]
    items = [one, two, part, tie, none]
    found = whole_of(figures(items, answers_of(items), scored)).measures["order"]
    assert (found.of, found.unscored) == (1, 2)


def test_steps_in_one_place_tell_no_order():
    assert [in_order(places) for places in ([0, 0], [0, 0, 1], [0, None], [0, 1], [1, 0], [2, 0, 0])] == [
        None,
        None,
        None,
        1.0,
        0.0,
        0.0,
    ]
