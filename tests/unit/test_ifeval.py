"""IFEval: every kind of constraint is told by program, strictly and loosely, and what cannot be told is an error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.suite import open_suite
from seqtune.evaluation.suites.ifeval import instruction_accuracy, score_ifeval
from seqtune.evaluation.tasks.ifeval_constraints import (
    CONSTRAINTS,
    count_sentences,
    find_constraint,
    is_followed,
    is_loosely_followed,
    variants,
)

ABOUT_LANGUAGES = {"language:response_language", "change_case:english_capital", "change_case:english_lowercase"}

# kind, arguments, an answer that follows it, and one that does not
CASES = [
    ("keywords:existence", {"keywords": ["tide", "moon"]}, "The Moon pulls at the tides.", "The moon shines."),
    ("keywords:existence", {"keywords": ["c++"]}, "I like C++ best.", "I like C best."),
    ("keywords:frequency", {"keyword": "tea", "relation": "at least", "frequency": 2}, "Tea, more tea", "Tea, more"),
    ("keywords:frequency", {"keyword": "tea", "relation": "less than", "frequency": 2}, "Tea", "Tea and tea"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "Concatenate them.", "A Cat, maybe."),
    ("keywords:letter_frequency", {"letter": "z", "let_relation": "at least", "let_frequency": 2}, "Zigzag", "Zero"),
    ("keywords:letter_frequency", {"letter": "!", "let_relation": "less than", "let_frequency": 1}, "Yes", "Yes!"),
    ("language:response_language", {"language": "de"}, "Das Wetter ist heute schön.", "The weather is fine today."),
    ("language:response_language", {"language": "kn"}, "ಇಂದು ಹವಾಮಾನ ಚೆನ್ನಾಗಿದೆ", "आज मौसम बहुत अच्छा है"),
    ("change_case:english_capital", {}, "THE WEATHER IS FINE TODAY.", "The weather is fine today."),
    ("change_case:english_capital", {}, "THEY WALKED HOME TOGETHER.", "LE TEMPS EST BEAU AUJOURD'HUI ET DEMAIN."),
    ("change_case:english_lowercase", {}, "the weather is fine today.", "the Weather is fine today."),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        "WELL-MADE and CHEAP",
        "WELL-MADE and cheap",
    ),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "Two words", "Now three words"),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "हिन्दी किताब", "एक हिन्दी किताब"),
    ("length_constraints:number_sentences", {"relation": "at least", "num_sentences": 2}, "One. Two.", "Only one."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\nOne\n***\nTwo", "One\n***\n***\nTwo"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"},
        'It rained.\n\n\n\n"So, we stayed."',
        "So it rained.\n\nWe stayed.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name], [street]", "[name], [street"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye\np. s. Write!", "Bye\nPS: Write!"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye\nP.P.S: Write!", "Bye\nP.S. Write!"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "We need\n* bread\n  - milk", "* bread\n**milk**"),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", "My answer is perhaps."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", "*one* and ** **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 2},
        "PART 1\nHere\nPART 2\nThere",
        "PART 1\nHere\nPART B\nThere",
    ),
    ("detectable_format:json_format", {}, '```json\n{"sum": 3}\n```', "{'sum': 3}"),
    ("detectable_format:title", {}, "<<Rain>>\nIt rained.", "<<>>\n<Rain>"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Add 1 and 2."}, " add 1 and 2.\n3", "3. Add 1 and 2."),
    ("combination:two_responses", {}, "Tea.\n******\nMilk.", "Tea.\n******\nTea."),
    ("startend:end_checker", {"end_phrase": "That is all."}, 'Rain. "That is all."', "That is all. Rain."),
    ("startend:quotation", {}, ' "Rain today." ', '"Rain" today.'),
    ("punctuation:no_comma", {}, "Rain and wind", "Rain, wind"),
]


@pytest.mark.parametrize(("kind", "args", "right", "wrong"), CASES, ids=[case[0] for case in CASES])
def test_an_answer_that_follows_a_constraint_is_told_from_one_that_does_not(kind, args, right, wrong):
    if kind in ABOUT_LANGUAGES:
        pytest.importorskip("langdetect", reason="langdetect is not installed")
    assert is_followed(kind, args, right)
    assert not is_followed(kind, args, wrong)


def test_there_are_25_kinds_and_each_has_a_case():
    assert {kind for kind, *_ in CASES} == set(CONSTRAINTS)
    assert len(CONSTRAINTS) == 25


@given(st.sampled_from(CASES), st.text(alphabet=" \n\t"))
def test_an_empty_answer_follows_nothing(case, blank):
    kind, args, *_ = case
    assert not is_followed(kind, args, blank)
    assert not is_loosely_followed(kind, args, blank)


@given(st.sampled_from([case for case in CASES if case[0] not in ABOUT_LANGUAGES]), st.text())
def test_no_answer_makes_a_check_fail_and_who_follows_strictly_follows_loosely(case, text):
    kind, args, *_ = case
    assert is_loosely_followed(kind, args, text) or not is_followed(kind, args, text)


def test_loosely_a_line_before_or_after_and_asterisks_are_forgiven():
    assert len(variants("a\nb\nc")) == 8
    assert is_loosely_followed("startend:quotation", {}, 'Here it is:\n"Rain today."')
    assert is_loosely_followed("startend:quotation", {}, 'Here it is:\n**"Rain today."**\nAnything else?')
    assert not is_loosely_followed("startend:quotation", {}, 'Here it is: "Rain today."')


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Lee met J. Chan at 3.30 p.m. in the park. They talked.", 2),
        ("We need:\n1. bread\n2. milk\nThat is all!", 1),
        ("Really?! Yes... and no. Well", 3),
        ("Tea, milk, etc. are here until 9 a.m. on Sunday. Come at 8 a.m. The U.S. team will.", 3),
        ('"Come in." She did (at last).', 2),
        ("今天下雨。我们在家。你呢？", 3),
        ("no end at all", 1),
        ("...", 1),
        ("", 0),
    ],
)
def test_sentences_end_at_full_stops_that_are_none_of_an_abbreviation_or_a_list(text, sentences):
    assert count_sentences(text) == sentences


@given(st.lists(st.sampled_from(["It rained.", "Who came?", "Nobody did!"]), max_size=20))
def test_plain_sentences_are_counted_one_by_one(sentences):
    assert count_sentences(" ".join(sentences)) == len(sentences)


def test_the_language_of_a_text_is_the_same_each_time():
    pytest.importorskip("langdetect", reason="langdetect is not installed")
    from seqtune.evaluation.tasks.ifeval_constraints import detected

    assert len({detected("Taxi Hotel Radio Taxi") for _ in range(5)}) == 1
    assert detected("1 + 2 = 3") is None


# --- the suite

ROWS = [
    {
        "key": 7,
        "prompt": "Name two teas. Use no commas and end with 'Enjoy.'",
        "instruction_id_list": ["punctuation:no_comma", "startend:end_checker"],
        # As the hub has them: every argument of every kind, null where it does not belong.
        "kwargs": [{"end_phrase": None}, {"end_phrase": "Enjoy.", "num_words": None}],
    },
    {"key": 8, "prompt": "Answer in JSON.", "instruction_id_list": ["detectable_format:json_format"], "kwargs": [{}]},
]


@pytest.fixture
def items(rows_file):
    return open_suite("ifeval", data=rows_file(ROWS)).items


def test_an_item_has_its_constraints_as_steps_in_words(items):
    assert [step.text for step in items[0].steps] == ["do not use any commas", "end with: Enjoy."]
    assert items[0].instruction == ROWS[0]["prompt"]
    assert items[0].meta["id"] == 7


def test_an_answer_shows_which_constraint_it_misses(items):
    found = score_ifeval(items[0], "Assam and Darjeeling.\nEnjoy.\nAnything else?")
    assert [(step.check, step.done) for step in found.steps] == [
        ("punctuation:no_comma", True),
        ("startend:end_checker", False),
    ]
    assert found.measures == {
        "prompt_strict": 0.0,
        "instruction_strict": 0.5,
        "prompt_loose": 1.0,
        "instruction_loose": 1.0,
    }


def test_the_accuracy_of_instructions_weighs_constraints_and_not_prompts(items):
    answers = ["Assam, Darjeeling", '{"tea": 2}']
    scored = [
        Scored(item.id, measures=found.measures, steps=found.steps)
        for item, text in zip(items, answers, strict=True)
        for found in [score_ifeval(item, text)]
    ]
    accuracy = instruction_accuracy(scored)["instruction_strict_pooled"]
    assert (accuracy.done, accuracy.of, accuracy.value) == (1.0, 3, pytest.approx(1 / 3))
    assert 0 <= accuracy.low < accuracy.value < accuracy.high <= 1


def test_a_constraint_that_cannot_be_checked_is_an_error_that_says_where(rows_file):
    row = {**ROWS[1], "instruction_id_list": ["detectable_format:jason_format"]}
    with pytest.raises(DataError, match=r"rows.jsonl:2.*jason_format.*did you mean 'detectable_format:json_format'"):
        open_suite("ifeval", data=rows_file([ROWS[0], row]))
    with pytest.raises(DataError, match="num_words"):
        find_constraint("punctuation:no_comma", {"num_words": 3})
    with pytest.raises(RecipeError, match="not part of seqtune"):
        open_suite("ifeval")


def test_the_published_prompts_can_all_be_checked(shared):
    suite = open_suite("ifeval", data=shared / "ifeval" / "input_data.jsonl")
    assert len(suite.items) == 541
    assert sum(len(item.steps) for item in suite.items) == 834
    assert {step.check for item in suite.items for step in item.steps} == set(CONSTRAINTS)
    assert "{" not in json.dumps([step.text for item in suite.items for step in item.steps])
