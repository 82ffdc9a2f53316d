"""Several tasks in one instruction: nothing of the row's own instruction is lost, broken or wrongly cased."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building.wording import operation_clause, phrase, task_clause

OPERATION = operation_clause("count the words in the input")
AFTER = operation_clause("write your answer in upper case")
instructions = st.text(min_size=1, max_size=120).filter(lambda text: text.strip() != "")


def every_wording(clauses, task):
    return {phrase(clauses, task, Random(seed)) for seed in range(60)}


@given(instructions, st.integers(0, 2), st.integers(0, 2), st.integers(0, 1000))
def test_the_instruction_survives_but_for_its_first_letter_and_its_final_full_stop(text, before, after, seed):
    clauses = [OPERATION] * before + [task_clause(text)] + [AFTER] * after
    asked = phrase(clauses, before, Random(seed))
    kept = text.strip().rstrip(".")
    assert kept in asked or kept[0].lower() + kept[1:] in asked or kept.removesuffix(":") in asked


@given(instructions, st.integers(0, 1000))
def test_tasks_are_named_once_each(text, seed):
    asked = phrase([OPERATION, task_clause(text), AFTER], 1, Random(seed)).lower()
    assert asked.count("words in the input") == 1 + text.lower().count("words in the input")
    assert asked.count("answer in upper case") == 1 + text.lower().count("answer in upper case")


@pytest.mark.parametrize(
    "text",
    [
        "Python is a language. Explain it.",
        "NASA sent a probe. When?",
        "iPhone sales grew; say by how much.",
        "`x = 1` is given. What is `X`?",
        "X and Y are sets. Find their union.",
        "Mark Twain wrote which book?",
        "Is Paris in France?",
        "“Hello” is what in German?",
    ],
)
def test_names_code_and_questions_keep_their_case(text):
    for asked in every_wording([OPERATION, task_clause(text)], 1):
        assert text.rstrip(".") in asked


def test_a_verb_is_lowered_inside_a_sentence_and_its_names_are_not():
    asked = every_wording([OPERATION, task_clause("Describe Newton's laws to NASA.")], 1)
    assert "First count the words in the input, then describe Newton's laws to NASA." in asked
    assert all("newton" not in text for text in asked)


def test_a_question_is_introduced_as_one():
    asked = every_wording([OPERATION, task_clause("What is the capital of Peru?")], 1)
    assert "First count the words in the input, then answer this question: What is the capital of Peru?" in asked
    assert not any("then what is" in text for text in asked)


def test_an_instruction_of_several_lines_stands_in_its_own_paragraph():
    text = "Sort these:\n- b\n- a"
    for clauses, at in (([OPERATION, task_clause(text)], 1), ([task_clause(text), AFTER], 0)):
        for asked in every_wording(clauses, at):
            assert text in asked.split("\n\n")


def test_a_link_or_code_at_the_end_gets_no_full_stop_glued_on():
    for text in ("Summarise https://example.org/a", "Explain `a+b`"):
        for asked in every_wording([OPERATION, task_clause(text), AFTER], 1):
            assert text.split()[-1] + "." not in asked


def test_the_bank_has_many_ways_to_say_it():
    short = task_clause("Summarise the text.")
    assert len(every_wording([OPERATION, short], 1)) >= 7
    assert len(every_wording([short, AFTER], 0)) >= 5
    assert len(every_wording([OPERATION, OPERATION, short], 2)) >= 5
    assert len(every_wording([OPERATION, OPERATION], None)) >= 4


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_long_chains_name_their_tasks_in_order(count):
    clauses = [operation_clause(f"do task number {i} on the input") for i in range(count)]
    for asked in every_wording(clauses, None):
        places = [asked.index(f"task number {i}") for i in range(count)]
        assert places == sorted(places)
