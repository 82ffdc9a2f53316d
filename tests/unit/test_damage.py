"""Damage: every way to spoil a right answer spoils it, where a program can tell, and nothing else."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from seqtune.building.checking import check_steps, share_in_order
from seqtune.building.damage import STEP_DAMAGES, damages, find_damage, spoil, spoils
from seqtune.building.gold import Skip, operations
from seqtune.building.style import STYLES
from seqtune.data.example import Example, Step, Turn
from seqtune.errors import RecipeError
from seqtune.evaluation.suites.generated_chains import chain_maker


def rows_of(style="labelled", count=60):
    maker, rng = chain_maker(style=style), Random(0)
    return [maker.draw(2 + i % 2, rng, for_training=True) for i in range(count)]


def damaged(name, row, seed=0):
    return find_damage(name).run(row, Random(seed))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", STEP_DAMAGES)
def test_a_damaged_answer_never_does_every_step_in_order(style, kind):
    for row in rows_of(style):
        made = spoil(row, seed=0, kinds=(kind,))
        assert isinstance(made, Skip) or share_in_order(row.steps, made.answer) < 1.0


def test_most_rows_bear_each_damage():
    for kind in STEP_DAMAGES:
        assert sum(not isinstance(spoil(row, seed=0, kinds=(kind,)), Skip) for row in rows_of()) > 55


def test_a_dropped_step_leaves_the_others_as_they_were():
    for row in rows_of():
        done = [found.done for found in check_steps(row.steps, damaged("drop_step", row))]
        assert sorted(done) == [False] + [True] * (len(row.steps) - 1)


def test_swapped_steps_hold_the_same_lines_in_another_order():
    for row in rows_of():
        answer = damaged("swap_steps", row)
        assert Counter(answer.splitlines()) == Counter(row.output.splitlines())
        assert answer != row.output


def test_merged_steps_are_one_line_less_and_lose_no_result():
    for row in rows_of():
        answer = damaged("merge_steps", row)
        assert len(answer.splitlines()) == len(row.steps) - 1
        assert all(step.expected in answer for step in row.steps)


def test_numbers_count_up_whatever_is_done_to_the_parts():
    for row in rows_of("numbered"):
        for kind in STEP_DAMAGES:
            answer = damaged(kind, row)
            lines = answer.splitlines()
            assert [line.split()[0] for line in lines] == [f"{i}." for i in range(1, len(lines) + 1)]


def test_the_way_is_drawn_by_seed_and_row_and_by_nothing_else():
    rows = rows_of()
    forwards = [spoil(row, seed=1) for row in rows]
    assert forwards == [spoil(row, seed=1) for row in reversed(rows)][::-1]
    assert forwards != [spoil(row, seed=2) for row in rows]
    assert {made.kind for made in forwards} == set(STEP_DAMAGES)


def test_rows_that_bear_no_damage_say_why():
    two = rows_of()[0]
    one = structs.replace(two, steps=two.steps[:1])
    free = structs.replace(two, output="Here you are, all done.")
    chat = structs.replace(two, turns=(Turn("user", "?"), Turn("assistant", "!")))
    same = Example(
        "Reverse the words, then reverse them.", "a a", "a a\na a",
        steps=(Step("reverse", "a a", check="reverse_words"), Step("reverse", "a a", check="reverse_words")),
    )  # fmt: skip
    assert spoil(one, seed=0, kinds=("drop_step",)).reason == "the row has fewer than two steps"
    reason = "the answer does not consist of a marked part for each step"
    assert spoil(free, seed=0, kinds=("swap_steps",)).reason == reason
    assert spoil(Example("Say nothing."), seed=0, kinds=("add_step",)).reason == "the row has no output"
    assert spoil(chat, seed=0).reason.startswith("the row is a dialogue")
    assert spoil(same, seed=0, kinds=("swap_steps",)).reason == "the damaged answer equals the right one"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_added_step_stands_after_the_whole_right_answer_and_is_marked_as_the_others_are(style, steps):
    maker, rng = chain_maker(style=style), Random(steps)
    labels = {f"{one.label}:" for one in operations().values()}
    for row in [maker.draw(steps, rng, for_training=True) for _ in range(40)]:
        right, _, added = damaged("add_step", row).rpartition("\n")
        assert right == row.output
        mark = {"numbered": f"{steps + 1}.", "steps": f"Step {steps + 1}:", "plain": ""}.get(style)
        assert added.startswith(mark) if mark is not None else added.split(":")[0] + ":" in labels


def test_an_added_step_is_one_of_the_rows_own_done_once_more():
    row = Example(
        "Reverse the words.", "one two", "two one", steps=(Step("reverse", "two one", check="reverse_words"),)
    )
    assert {damaged("add_step", row, seed) for seed in range(9)} == {"two one\none two"}


@given(st.text(max_size=60), st.integers(0, 3))
def test_any_answer_bears_an_added_step_whether_or_not_its_steps_are_known(output, steps):
    row = Example("Do it.", "", output, steps=(Step("do it"),) * steps)
    made = spoil(row, seed=0, kinds=("add_step",))
    assert isinstance(made, Skip) == (not output.strip())
    assert isinstance(made, Skip) or (made.answer.startswith(output.rstrip()) and made.answer.strip() != output.strip())


def test_results_of_several_lines_are_set_apart_from_an_added_step_by_an_empty_line():
    step = Step("turn them round", "pears\napples", check="reverse_lines", mark="Reversed lines:")
    row = Example("Reverse the lines.", "apples\npears", "Reversed lines:\npears\napples", steps=(step,))
    assert damaged("add_step", row) == f"{row.output}\n\nReversed lines:\napples\npears"


def test_a_row_gets_the_damage_that_it_bears_whatever_was_drawn_first():
    maker, rng = chain_maker(), Random(0)
    rows = [maker.draw(1 + i % 3, rng, for_training=True) for i in range(90)]
    kinds = {steps: Counter(spoil(row, seed=0).kind for row in rows if len(row.steps) == steps) for steps in (1, 2, 3)}
    assert kinds[1] == {"add_step": 30}
    assert kinds[2].keys() == kinds[3].keys() == set(STEP_DAMAGES)


def test_over_rows_of_one_to_three_steps_neither_the_longer_nor_the_shorter_answer_is_the_better():
    maker, rng = chain_maker(), Random(0)
    rows = [maker.draw(1 + i % 3, rng, for_training=True) for i in range(300)]
    for kinds in (STEP_DAMAGES, ("drop_step", "add_step")):
        gains = [len(row.output) - len(spoil(row, seed=0, kinds=kinds).answer) for row in rows]
        assert 0.2 < sum(gain > 0 for gain in gains) / len(rows) < 0.8
        assert 0.2 < sum(gain < 0 for gain in gains) / len(rows) < 0.8


def test_the_rows_own_task_may_be_the_step_that_is_dropped():
    own, counted = (
        Step("say hello", "Hello!", mark="Answer:"),
        Step("count", "2", "after", "count_words", mark="Words:"),
    )
    row = Example("Say hello, then count the words.", "one two", "Answer: Hello!\nWords: 2", steps=(own, counted))
    answers = {spoil(row, seed=seed, kinds=("drop_step",)).answer for seed in range(20)}
    assert answers == {"Answer: Hello!", "Words: 2"}


def test_a_whole_answer_can_be_none_or_dressed_up():
    row = rows_of()[0]
    assert damaged("empty", row) == ""
    assert damaged("copy_prompt", row) == f"{row.instruction}\n\n{row.input}"
    assert damaged("pad_answer", row).count(row.output) == 3
    injected = damaged("inject_verdict", row)
    assert share_in_order(row.steps, injected) < 1.0
    assert row.steps[0].mark in injected


def test_all_ways_are_listed_with_what_they_spoil():
    found = damages()
    assert [name for name, one in found.items() if one.spoils == "steps"] == [*STEP_DAMAGES]
    assert [name for name, one in found.items() if one.keeps_steps] == ["add_step", "pad_answer"]
    assert all(one.summary for one in found.values())


def test_an_unknown_way_is_refused_with_the_nearest_name():
    with pytest.raises(RecipeError, match="no damage is called 'drop_steps'; did you mean 'drop_step'"):
        find_damage("drop_steps")


def test_a_way_of_your_own_takes_no_name_that_is_taken():
    with pytest.raises(RecipeError, match=r"damage 'empty' is already defined in seqtune\.building\.damage"):

        @spoils("form")
        def empty(example, rng):
            """Say nothing either."""
