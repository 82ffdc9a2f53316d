"""Answers of others: each is put to the item that it answers, by what its row says, or it is told that it was not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.data.example import Example
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.responses import Responses, answer_text, match, read_responses
from seqtune.evaluation.run import evaluate
from seqtune.evaluation.suite import open_suite

ITEMS = tuple([Example(f"Name {i} rivers.", meta={"id": i}) for i in range(6)])
WITH_INPUT = tuple([Example("Turn the word round.", word) for word in ("moor", "drawer", "stop")])
WITH_SYSTEM = tuple([Example(f"Name {i} rivers.", system="Be brief.") for i in range(3)])


def given_rows(*rows, answers=None):
    """Responses as `read_responses` makes them; each answer is its row's place where nothing else is said."""
    texts = [f"answer {place}" for place in range(len(rows))] if answers is None else answers
    return Responses("r.jsonl", rows, tuple(texts))


def matched(responses, items, *, from_rows=False):
    """What was put to each item, None where nothing was; and the notes."""
    found, notes = match(responses, items, from_rows=from_rows)
    return [found[item.id].text if item.id in found else None for item in items], notes


def read_rows(rows_file, *rows, **columns):
    return read_responses(rows_file(rows), columns)


# Which column holds the answers


@pytest.mark.parametrize("name", ["response", "completion", "generation", "prediction"])
@pytest.mark.parametrize("other", ["output", "text", "answer"])
def test_what_only_an_answer_is_called_is_taken_before_what_a_reference_may_be_called_and_is_said(
    rows_file, name, other
):
    read = read_rows(rows_file, {"instruction": "Say it.", other: "the reference", name: "what was said"})
    assert read.answers == ("what was said",)
    assert read.notes == (f"the answers are those of the column {name!r}; --columns answer=NAME takes {other}",)
    chosen = read_rows(rows_file, {"instruction": "Say it.", other: "the reference", name: "said"}, answer=other)
    assert (chosen.answers, chosen.notes) == (("the reference",), ())


def test_one_column_of_answers_needs_no_word(rows_file):
    assert read_rows(rows_file, {"prompt": "Say it.", "output": "it", "target": "it"}).notes == ()


@pytest.mark.parametrize("name", ["answer", "output", "text", "target"])
def test_rows_hold_no_answer_so_that_none_is_taken_for_what_is_right(rows_file, name):
    read = read_rows(rows_file, {"prompt": "Say it.", name: "it", "note": "x"}, answer=name)
    assert read.rows == ({"prompt": "Say it.", "note": "x"},)


def test_columns_that_the_user_names_are_those_that_count(rows_file):
    rows = [{"nr": i, "query": item.instruction, "id": "other", "said": "x"} for i, item in enumerate(ITEMS)]
    read = read_rows(rows_file, *rows, answer="said", id="nr", prompt="query")
    assert matched(read, ITEMS[::-1]) == (["x"] * 6, [])
    with pytest.raises(RecipeError, match="'sayd'; did you mean 'said'"):
        read_rows(rows_file, *rows, answer="sayd")


# What an answer is


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("it", "it"),
        ("", ""),
        (42, "42"),
        (0, "0"),
        (2.5, "2.5"),
        ([{"role": "assistant", "content": "it"}], "it"),
        ([{"role": "assistant", "content": "no"}, {"role": "assistant", "content": "it"}], "it"),
        ([{"role": "assistant", "content": "it"}, {"role": "user", "content": "no"}], "it"),
        ([{"role": "assistant", "content": [{"type": "text", "text": "it"}]}], "it"),
        ({"role": "assistant", "content": "it"}, "it"),
        ([{"role": "assistant", "content": ""}], ""),
        ([{"role": "assistant", "content": None}], None),
        ([{"role": "user", "content": "it"}], None),
        (["it"], None),
        ([], None),
        ({"text": "it"}, None),
        (True, None),
        (None, None),
    ],
)  # fmt: skip
def test_an_answer_is_a_text_a_number_or_what_the_assistant_says_last(value, text):
    assert answer_text(value) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content", "text"]), inner),
)


@given(JSON)
def test_no_value_breaks_the_reading_of_answers(value):
    assert isinstance(answer_text(value), str | None)


def test_values_that_are_no_answers_are_counted_and_null_is_counted_by_the_figures(rows_file):
    read = read_rows(rows_file, *[{"id": i, "output": value} for i, value in enumerate([["a"], True, None, "b", 7])])
    assert read.answers == (None, None, None, "b", "7")
    (note,) = read.notes
    assert note.startswith("2 of 5 values of the column 'output' are no answers and are not scored")


# Which item an answer belongs to


@given(st.permutations(range(6)), st.sampled_from(["id", "prompt", "both"]))
def test_ids_and_prompts_find_their_items_in_any_order(order, how):
    rows = [{"id": i, "prompt": f"Name {i}  rivers.\n"} for i in order]
    kept = {"id": ["id"], "prompt": ["prompt"], "both": ["id", "prompt"]}[how]
    found, notes = matched(given_rows(*[{name: row[name] for name in kept} for row in rows]), ITEMS)
    assert found == [f"answer {order.index(i)}" for i in range(6)]
    assert notes == []


@given(st.permutations(range(6)))
def test_a_row_whose_id_and_prompt_contradict_each_other_fits_no_item(order):
    rows = [{"id": i, "prompt": f"Name {other} rivers."} for i, other in enumerate(order)]
    crossed = sum(i != other for i, other in enumerate(order))
    if crossed == 6:
        with pytest.raises(DataError, match="6 have the id of one item, and not its prompt"):
            match(given_rows(*rows), ITEMS, from_rows=False)
        return
    found, notes = matched(given_rows(*rows), ITEMS)
    assert found == [f"answer {i}" if i == other else None for i, other in enumerate(order)]
    assert all(f"{crossed} of the 6 answers fit no item" in note for note in notes)
    assert len(notes) == (crossed > 0)


def test_an_id_that_no_item_has_leaves_it_to_the_prompt():
    rows = [{"id": 100 + i, "prompt": f"Name {i} rivers."} for i in reversed(range(6))]
    assert matched(given_rows(*rows), ITEMS)[0] == [f"answer {5 - i}" for i in range(6)]


@pytest.mark.parametrize("prompt", ["<|user|>\nName 3 rivers.\n<|assistant|>", "rivers."])
def test_the_prompt_of_an_id_may_be_written_in_a_template_or_in_part(prompt):
    assert matched(given_rows({"id": 3, "prompt": prompt}), ITEMS)[0][3] == "answer 0"
    with pytest.raises(DataError):
        match(given_rows({"id": 3, "prompt": prompt.replace("rivers", "towns")}), ITEMS, from_rows=False)


@pytest.mark.parametrize("column", ["prompt", "instruction", "question"])
def test_foreign_prompts_are_never_scored_by_their_place(column):
    rows = [{column: f"Name {i} towns."} for i in range(6)]
    with pytest.raises(DataError, match="none of the 6 answers fits one of the suite's 6 items"):
        match(given_rows(*rows), ITEMS, from_rows=False)


def test_foreign_ids_are_never_scored_by_their_place():
    with pytest.raises(DataError, match="none of the 6 answers"):
        match(given_rows(*[{"id": f"x{i}"} for i in range(6)]), ITEMS, from_rows=False)


def test_rows_with_neither_id_nor_prompt_are_scored_by_their_place_and_this_is_said():
    found, notes = matched(given_rows(*[{"note": "x"}] * 6), ITEMS)
    assert found == [f"answer {i}" for i in range(6)]
    assert notes == ["the answers have neither ids nor prompts: they were put to the suite's items in order"]
    assert matched(given_rows(*[{"note": "x"}] * 6), ITEMS, from_rows=True) == (found, notes)
    with pytest.raises(DataError):
        match(given_rows(*[{"note": "x"}] * 5), ITEMS, from_rows=False)


@pytest.mark.parametrize("column", ["prompt", "instruction", "question"])
@pytest.mark.parametrize("is_joined", [True, False])
def test_an_input_is_part_of_the_prompt_or_stands_beside_it(column, is_joined):
    rows = [{column: item.instruction, "input": item.input} for item in reversed(WITH_INPUT)]
    rows = [{column: f"{row[column]}\n\n{row['input']}"} for row in rows] if is_joined else rows
    assert matched(given_rows(*rows), WITH_INPUT) == (["answer 2", "answer 1", "answer 0"], [])


@pytest.mark.parametrize(
    "asked",
    [
        lambda item: {"prompt": item.instruction},
        lambda item: {"prompt": f"{item.system}\n\n{item.instruction}"},
        lambda item: {"prompt": item.instruction, "system": item.system},
    ],
)
def test_the_system_message_may_be_left_out_or_stand_anywhere(asked):
    rows = [asked(item) for item in reversed(WITH_SYSTEM)]
    assert matched(given_rows(*rows), WITH_SYSTEM) == (["answer 2", "answer 1", "answer 0"], [])


def test_one_prompt_under_two_system_messages_is_told_apart_by_them():
    items = tuple([Example("Name a river.", system=system) for system in ("Be brief.", "Be long.")])
    rows = [{"prompt": "Name a river.", "system": item.system} for item in reversed(items)]
    assert matched(given_rows(*rows), items)[0] == ["answer 1", "answer 0"]


def test_a_prompt_in_chat_messages_is_its_text(rows_file):
    rows = [
        {
            "prompt": [{"role": "system", "content": item.system}, {"role": "user", "content": item.instruction}],
            "completion": [{"role": "assistant", "content": f"to {item.instruction}"}],
        }
        for item in reversed(WITH_SYSTEM)
    ]
    assert matched(read_rows(rows_file, *rows), WITH_SYSTEM)[0] == [f"to {item.instruction}" for item in WITH_SYSTEM]
    assert len(open_suite("prompts", options={"rows": read_rows(rows_file, *rows).rows}).items) == 3


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.sampled_from(["id", "prompt"]))
def test_of_several_answers_to_an_item_the_last_counts_and_the_others_are_counted(places, how):
    rows = [{"id": i} if how == "id" else {"prompt": f"Name {i} rivers."} for i in places]
    found, notes = matched(given_rows(*rows), ITEMS)
    last = {i: f"answer {place}" for place, i in enumerate(places)}
    assert found == [last.get(i) for i in range(6)]
    again = len(places) - len(last)
    what = f"{again:,} of the {len(places):,} answers are left out for a later one to the same item"
    assert notes == ([what] if again else [])


def test_a_row_without_an_answer_does_not_undo_an_earlier_one():
    found, notes = matched(given_rows({"id": 1}, {"id": 1}, answers=("said", None)), ITEMS)
    assert (found[1], notes) == ("said", [])


def test_a_prompt_that_two_items_ask_is_answered_by_its_rows_in_order():
    twice = (ITEMS[0], Example(ITEMS[0].instruction, meta={"id": "#2"}))
    rows = [{"prompt": ITEMS[0].instruction}] * 2
    assert matched(given_rows(*rows), twice) == (["answer 0", "answer 1"], [])
    assert matched(given_rows(*rows * 2), twice)[0] == ["answer 2", "answer 3"]


# Whole runs


@pytest.fixture
def problems(tmp_path):
    """A file of school problems, and the items of them."""
    path = tmp_path / "problems.jsonl"
    rows = [{"question": f"What is {i} plus 1?", "answer": f"It grows.\n#### {i + 1}"} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path, open_suite("gsm8k", data=path).items


@pytest.mark.parametrize("column", ["answer", "output", "response"])
def test_a_model_that_is_always_wrong_scores_nothing_whatever_its_column_is_called(
    tmp_path, rows_file, problems, column
):
    data, items = problems
    rows = [{"instruction": item.instruction, "input": item.input, column: "Answer: 777"} for item in items]
    found = evaluate(suite="gsm8k", data=data, responses=rows_file(rows), out=tmp_path / "out")
    assert found.headline.figure.value == 0.0
    with pytest.raises(DataError, match="no row says what the right answer is"):
        evaluate(suite="gsm8k", responses=rows_file(rows), out=tmp_path / "alone")


def test_a_reference_beside_the_answer_is_not_scored(tmp_path, rows_file):
    suite = open_suite("chains", options={"steps": (1,), "per_length": 20})
    rows = [
        {"instruction": item.instruction, "input": item.input, "output": item.output, "response": "none of it"}
        for item in suite.items
    ]
    found = evaluate(suite=suite, responses=rows_file(rows), out=tmp_path / "out")
    assert found.headline.figure.value == 0.0
    assert any("'response'" in note for note in found.notes)
