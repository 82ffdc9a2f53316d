"""Checking: what a program says of an answer, a step at a time and in order."""

import json
from importlib import resources
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqtune
from seqtune.building.checking import (
    check_lines,
    check_steps,
    find_result,
    places_of_lines,
    readings_of,
    share_in_order,
)
from seqtune.building.style import STYLES, join, marks
from seqtune.data.example import Step
from seqtune.data.reader import read


def steps_of(style="labelled"):
    shown = marks(style, ["Word count", "Reversed", "First word"])
    return (
        Step("count the words", "2", "before", "count_words", mark=shown[0]),
        Step("reverse them", "tree red", "before", "reverse_words", mark=shown[1]),
        Step("take the first word", "red", "after", "first_word", mark=shown[2]),
    )


def answer_of(steps, order=(0, 1, 2)):
    return join([steps[i].mark for i in order], [steps[i].expected for i in order])


@pytest.mark.parametrize("style", STYLES)
def test_a_right_answer_does_every_step_in_every_style(style):
    steps = steps_of(style)
    assert [found.done for found in check_steps(steps, answer_of(steps))] == [True] * 3
    assert share_in_order(steps, answer_of(steps)) == 1.0


def test_only_the_right_order_is_worth_everything():
    steps = steps_of()
    shares = {order: share_in_order(steps, answer_of(steps, order)) for order in permutations(range(3))}
    assert [order for order, share in shares.items() if share == 1.0] == [(0, 1, 2)]
    assert all(0 < share < 1 for order, share in shares.items() if order != (0, 1, 2))


@pytest.mark.parametrize("missing", range(3))
def test_a_missing_step_costs_its_share_and_no_more(missing):
    steps = steps_of()
    kept = [i for i in range(3) if i != missing]
    assert share_in_order(steps, answer_of(steps, kept)) == pytest.approx(2 / 3)
    assert check_steps(steps, answer_of(steps, kept))[missing].part is None


def test_saying_it_all_again_wins_nothing():
    steps = steps_of()
    right = answer_of(steps)
    assert share_in_order(steps, f"{right}\n{right}") < 1.0


def test_a_step_that_no_program_can_check_counts_only_where_nothing_stands_in_its_place():
    steps = (*steps_of()[:1], Step("say something kind", mark="Answer:"))
    assert share_in_order(steps, "Word count: 2\nAnswer: whatever") == 1.0
    assert share_in_order(steps, "Word count: 2") == share_in_order(steps, "Word count: 2\nAnswer:") == 0.5
    assert share_in_order(steps, "Answer: well done") == 0.0
    assert check_steps(steps, "Word count: 2\nAnswer: well done")[1] == (None, "well done")
    assert share_in_order(steps[1:], "Answer: well done") is None
    assert find_result(steps[1], "Answer: well done") is None


RESULTS = ["2", "tree red", "red"]
FORMS = [
    "{}",
    "{}.",
    '"{}"',
    "“{}”",
    '"{}."',
    '"{}".',
    "red tree -> {}",
    "- red tree → {}.",
    "1. Result: '{}'",
    "**{}**.",
]


def lines_done(answer):
    return [found.done for found in check_lines(steps_of(), answer)]


@given(st.lists(st.sampled_from(FORMS), min_size=3, max_size=3))
def test_lines_count_however_their_results_are_dressed(forms):
    lines = [form.format(result) for form, result in zip(forms, RESULTS, strict=True)]
    assert lines_done("\n".join(lines)) == [True] * 3
    assert lines_done("Here they are:\n" + "\n".join(lines)) == [True] * 3
    assert not all(lines_done("\n".join(lines[::-1])))
    assert places_of_lines(steps_of(), "\n".join(lines[::-1])) == [2, 1, 0]


def test_an_answer_in_one_pair_of_quotation_marks_counts():
    assert lines_done('"2\ntree red\nred"') == [True] * 3


@pytest.mark.parametrize("line", ["tree red..", '""tree red""', '"tree red', "tree -> red tree", "tree red -> tree"])
def test_more_than_one_full_stop_or_pair_is_another_result(line):
    assert lines_done(f"2\n{line}\nred") == [True, False, True]


def test_of_lines_said_twice_the_last_time_counts_and_of_more_none():
    right, wrong = "2\ntree red\nred", "3\nred tree\ntree"
    assert lines_done(f"{right}\n{right}") == lines_done(f"{wrong}\nIn short:\n{right}") == [True] * 3
    assert not all(lines_done(f"{right}\n{wrong}"))
    assert not any(lines_done("\n".join([right] * 3)))


@pytest.mark.parametrize("style", [style for style in STYLES if style != "plain"])
@pytest.mark.parametrize(
    "extra", ["Letters sorted: foo bar", "4. foo", "Step 4: foo", "**Letters sorted:** foo bar\nfoo"]
)
def test_a_part_that_nobody_asked_for_leaves_the_one_before_it_right_where_that_is_told(style, extra):
    steps = steps_of(style)
    answer = f"{answer_of(steps)}\n{extra}"
    assert [found.done for found in check_steps(steps, answer, extras=True)] == [True] * 3
    assert [found.done for found in check_steps(steps, answer)] == [True, True, False]
    assert share_in_order(steps, answer) < 1.0


@pytest.mark.parametrize(
    "more", ["or tree", "and so on: red", "Reversed: red", "First word: tree", "Word count: 2\nFoo: 1"]
)
def test_other_text_or_a_step_said_again_is_no_extra_part(more):
    steps = steps_of()
    assert [one.done for one in check_steps(steps, f"{answer_of(steps)}\n{more}", extras=True)] == [True, True, False]


@given(st.text(max_size=200))
def test_lines_and_extras_never_fail_whatever_a_model_wrote(answer):
    assert len(places_of_lines(steps_of(), answer)) == len(check_lines(steps_of(), answer)) == 3
    for style in STYLES:
        assert len(check_steps(steps_of(style), answer, extras=True)) == 3


@given(st.text(max_size=200))
def test_checking_never_fails_whatever_a_model_wrote(answer):
    for style in STYLES:
        assert 0.0 <= share_in_order(steps_of(style), answer) <= 1.0
    assert all(find_result(step, answer).done in (True, False) for step in steps_of())


@pytest.mark.parametrize("answer", ["2", "There are a few.\n2", "There are a few.\nThe count: 2."])
def test_a_result_is_found_in_free_text_with_the_place_that_shows_it(answer):
    verdict = find_result(steps_of()[0], answer)
    assert verdict.done
    assert verdict.evidence in answer


def test_a_result_that_stands_nowhere_is_not_done_and_the_evidence_says_what_was_looked_for():
    verdict = find_result(steps_of()[1], "I reversed the words, as you asked.")
    assert (verdict.done, verdict.evidence) == (False, "no line is 'tree red'")


COUNT, REVERSED, FIRST = steps_of()
BARE = ["{}", "- {}", "* {}", "{}.", '"{}"', "**{}**", "Count: {}", "Guess {n}: {}", "Guess {n}: **{}**"]


def listed(values, form="{}", between="\n"):
    return between.join(form.format(value, n=n) for n, value in enumerate(values))


@given(st.sampled_from(BARE), st.sampled_from(["\n", "\n\n"]), st.integers(9, 200), st.integers(1, 8))
def test_an_answer_with_every_number_that_could_be_has_given_none(form, between, count, steps):
    dump = listed(range(count), form, between)
    assert not find_result(COUNT, dump, steps=steps).done
    assert not find_result(COUNT, f"Here you are:\n{dump}\nI hope this helps.", steps=steps).done
    assert find_result(COUNT, f"{dump}\nWord count: 2", steps=steps).done


@given(st.sampled_from(BARE), st.permutations(["one", "of", "four", "tree", "red"]))
def test_neither_has_one_with_every_order_or_every_word(form, words):
    reverse = Step("reverse them", " ".join(words), "before", "reverse_words")
    assert not find_result(reverse, listed(map(" ".join, permutations(words)), form)).done
    parts = [" ".join(words[start:end]) for start in range(5) for end in range(start + 1, 6)]
    assert not find_result(reverse, listed(parts, form)).done
    assert not find_result(FIRST, listed([*words, "and", "so", "on"], form)).done


def test_as_many_results_as_steps_are_never_too_many():
    answer = listed(range(8))
    assert [find_result(COUNT, answer, steps=steps).done for steps in (7, 8)] == [False, True]
    assert find_result(COUNT, listed(range(5))).done


def test_a_line_of_a_copied_input_is_no_result_and_one_beside_it_is():
    text = "a green tree\nred\na last line"
    assert not find_result(FIRST, f"You gave me:\n{text}\nThat is all.", given=text).done
    assert find_result(FIRST, f"You gave me:\n{text}\nSo it is:\nred", given=text).done
    assert find_result(FIRST, "red", given="red").done


@pytest.mark.parametrize("form", ["{text}\n{result}", "{result}\n\n{text}", "{text}\nResult: {result}"])
def test_a_result_beside_what_models_really_write_is_found(shared, form):
    rows = [
        json.loads(line)["output"]
        for path in sorted((shared / "responses").rglob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()[::15]
    ]
    for step in (COUNT, REVERSED, FIRST):
        assert all(find_result(step, form.format(text=text, result=step.expected)).done for text in rows)


# --- results of several lines


BLOCK = "a green tree\nred\nand so on"
REPEAT = Step("repeat the input", BLOCK, "before", "repeat")
BLOCKS = [
    "{}",
    "Here it is:\n{}",
    "Here it is:\n\n{}\n\nThat is all.",
    "Repeated:\n{}\nWord count: 6",
    "1. {}\n2. 6",
    "```\n{}\n```",
]


@pytest.mark.parametrize("form", BLOCKS)
def test_a_result_of_several_lines_is_found_as_a_block(form):
    assert find_result(REPEAT, form.format(BLOCK)).done
    assert find_result(REPEAT, form.format(BLOCK), given=BLOCK).done
    assert not find_result(REPEAT, form.format(BLOCK.replace("red", "blue"))).done
    assert not find_result(REPEAT, form.format(BLOCK.replace("\nred", ""))).done


def test_a_block_within_a_longer_list_is_no_result_nor_is_one_of_many_blocks():
    lines = BLOCK.splitlines()
    assert not find_result(REPEAT, f"a first line\n{BLOCK}\na last line").done
    every = ["\n".join(order) for order in permutations(lines)]
    assert not find_result(REPEAT, "\n\n".join(every)).done
    numbers = Step("extract the numbers", "3\n5", "before", "extract_numbers")
    assert not find_result(numbers, "\n".join(map(str, range(10)))).done
    assert not find_result(numbers, "\n\n".join([f"{n}\n{n + 2}" for n in range(9)])).done
    assert find_result(numbers, "Numbers:\n3\n5").done
    addresses = Step("extract the addresses", "https://a.example", "before", "extract_urls")
    assert not find_result(addresses, "\n".join([f"https://{sign}.example" for sign in "abcdefgh"])).done


def test_the_gold_answers_of_built_rows_do_every_step_wherever_their_results_are_looked_for(tmp_path):
    seeds = resources.files("seqtune.data").joinpath("seeds.jsonl")
    seqtune.build(from_=str(seeds), chain="operations", out=str(tmp_path / "rows"))
    rows = [*read(tmp_path / "rows" / "examples.jsonl")]
    assert sum("\n" in (step.expected or "") for row in rows for step in row.steps if step.check) > 50
    for row in rows:
        found = [find_result(step, row.output, given=row.input, steps=len(row.steps)) for step in row.steps]
        assert all(one is None or one.done for one in found)


def test_in_prose_a_quote_shows_a_result_that_it_holds_and_no_other():
    prose = "I count the words and get 2 of them in all."
    assert not find_result(COUNT, prose).done
    assert find_result(COUNT, prose, quote="and get 2 of them").done
    assert not find_result(COUNT, prose.replace("2", "3"), quote="and get 3 of them").done
    assert not find_result(COUNT, prose, quote="I count the words").done
    assert not find_result(COUNT, listed(range(9)), quote="2").done
    assert not find_result(COUNT, prose, quote=" ".join(map(str, range(30)))).done


# --- closing words, fences, and signs that nobody sees


def best(steps, answer, text=""):
    return max(all(one.done for one in check_steps(*way, extras=True)) for way in readings_of(steps, answer, text))


CLOSINGS = [
    "Let me know if you need anything else!",
    "I hope this helps.\n\nFeel free to ask.",
    "如果您需要其他帮助，请随时告诉我！",
]


@pytest.mark.parametrize("style", [style for style in STYLES if style != "plain"])
@pytest.mark.parametrize("closing", CLOSINGS)
def test_closing_words_leave_right_parts_right_and_wrong_ones_wrong(style, closing):
    steps = steps_of(style)
    assert best(steps, f"{answer_of(steps)}\n\n{closing}")
    assert not best(steps, f"{answer_of(steps)}x\n\n{closing}")
    assert not best(steps, f"{answer_of(steps)} {closing}")


@pytest.mark.parametrize(
    "more",
    [
        "tree",
        "Or it could be tree.",
        "Perhaps it is a house, or a tree.",
        "Or 3, or maybe 4.",
        "It is red.\nIt is tree.",
        "First word: tree, for sure.",
    ],
)
def test_a_closing_that_holds_other_results_is_none(more):
    steps = steps_of()
    assert not best(steps, f"{answer_of(steps)}\n\n{more}", "house tree")


def test_a_text_of_several_paragraphs_is_compared_whole():
    text = "The harbour was quiet.\n\nThe ferry came late.\n\nNobody waited for it."
    steps = (Step("repeat it", text, "before", "repeat", mark="Repeated:"),)
    first = (Step("give the first paragraph", "The harbour was quiet.", "before", "repeat", mark="First:"),)
    assert best(steps, f"Repeated:\n{text}\n\nI hope this helps!", text)
    assert not best(steps, f"Repeated:\n{text.rpartition(chr(10) * 2)[0]}", text)
    assert not best(first, f"First:\n{text}", text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: f"```\n{text}\n```",
        lambda text: f"Sure:\n```text\n{text}\n```\nDone as you asked me to.",
        lambda text: text.replace(": ", "："),
        lambda text: text.replace(" ", "\u00a0"),
        lambda text: text.replace("e", "e\u200b"),
        lambda text: (
            "| Step | Result |\n|---|---|\n" + text.replace(": ", " | ").replace("\n", " |\n| ").join(["| ", " |"])
        ),
    ],
)
def test_fences_tables_and_unseen_signs_leave_results_right(change):
    steps = steps_of()
    assert best(steps, change(answer_of(steps)))
    assert not best(steps, change(answer_of(steps, (0, 2, 1))))


def test_a_sentence_that_says_the_result_counts_as_its_line():
    said = "The result of step 1 is 2.\nThe result of step 2 is tree red.\nThe result of step 3 is red."
    assert lines_done(said) == [True] * 3
    assert lines_done(said.replace("is 2.", "is 3.")) == [False, True, True]


@given(st.text(max_size=200), st.text(max_size=50))
def test_readings_never_fail_and_begin_with_the_answer_as_it_is(answer, text):
    assert next(iter(readings_of(steps_of(), answer, text))) == (steps_of(), answer)
