"""Chains: every step is asked for, its result stands in the answer in the same order, and the lineage says how."""

import asyncio
import inspect

import pytest

from seqtune.building.gold import Skip, operation, operations
from seqtune.building.settings import ChainSettings
from seqtune.building.style import STYLES, split
from seqtune.building.weaving import OF_EVERY_CHAIN, Means, Part, chain, chains, weave
from seqtune.data.example import Example, Origin, messages
from seqtune.errors import RecipeError

ROW = Example(
    "Summarise the text in one sentence.",
    "The ferry to the island leaves at 7 and at 12. Tickets cost 4 euros. Dogs travel free.",
    "Two ferries a day go to the island.",
    origin=(Origin("read", source="rows.jsonl", row=3),),
    meta={"id": "ferry", "paraphrase": "Boats for the island depart at 7 and 12 o'clock."},
)
GERMAN = Example("Fasse den Text zusammen.", "Die Fähre fährt um 7 Uhr.", "Eine Fähre.", meta={"id": "ferry"})
QUERY = Example("Nenne drei Farben.", "", "Rot, Blau, Gelb.", meta={"id": "colours"})
QUERY_ENGLISH = Example("Name three colours.", "", "Red, blue, yellow.", meta={"id": "colours"})


class OneRow:
    def __init__(self, row):
        self.row = row

    def match(self, example):
        return self.row if self.row and self.row.meta["id"] == example.meta["id"] else None


def means(seed=0, style="labelled", dialogue=False, table=None):
    return Means("test", 1, seed, 0, style, dialogue, lambda path: OneRow(table))


def run(name, row=ROW, given=None, **options):
    made = chains()[name].run(row, given or means(), **options)
    return asyncio.run(made) if inspect.isawaitable(made) else made


def parts_of(row):
    return split(row.output, [step.mark for step in row.steps])


def test_repeat_asks_for_the_input_first_and_answers_with_it_first():
    row = run("repeat")
    assert [step.kind for step in row.steps] == ["before", "seed"]
    assert parts_of(row) == [ROW.input, ROW.output]
    assert row.input == ROW.input
    assert row.origin == (*ROW.origin, Origin("test", parent=ROW.id, seed=0))
    assert row.meta == ROW.meta


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(15))
def test_every_step_of_an_operation_chain_can_be_found_in_instruction_and_answer(style, seed):
    row = run("operations", given=means(seed, style), steps=3)
    if isinstance(row, Skip):
        pytest.fail(row.reason)
    for step, part in zip(row.steps, parts_of(row), strict=True):
        assert step.text.rstrip(".")[1:] in row.instruction
        assert part is not None
        if step.check:
            assert operations()[step.check].same(part, step.expected)
        else:
            assert part == ROW.output


def test_named_steps_come_in_the_given_order_before_and_after_the_answer():
    row = run("tasks", steps=["repeat", "paraphrase", "answer", "count_words"])
    assert [step.check for step in row.steps] == ["repeat", "", "", "count_words"]
    assert parts_of(row) == [ROW.input, ROW.meta["paraphrase"], ROW.output, "8"]


def test_operations_only_chains_each_on_the_result_of_the_one_before():
    text = Example("-", "pear fig apple", "-")
    row = run("operations_only", text, means(0), steps=2, only=["reverse_words", "first_word"])
    result = text.input
    for step in row.steps:
        result = operations()[step.check].run(result, **step.args)
        assert step.expected == result


def test_translate_answers_in_the_language_of_the_parallel_file():
    row = run("translate", GERMAN, means(table=ROW), parallel="en.jsonl")
    assert row.input == GERMAN.input
    assert row.output.startswith("Translation into English:")
    assert parts_of(row) == [ROW.input, ROW.output]
    assert "Summarise" in row.instruction or "summarise" in row.instruction


def test_translated_queries_are_asked_half_in_english_and_half_in_their_own_language():
    asked = [
        run("translate_query", QUERY, means(seed, table=QUERY_ENGLISH), parallel="en.jsonl", source_language="de")
        for seed in range(200)
    ]
    own = sum(row.instruction.startswith("Übersetze") for row in asked)
    assert 70 <= own <= 130
    assert all(row.instruction.endswith(QUERY.instruction) for row in asked)
    assert all(row.output == "English Translation: Name three colours.\nAnswer: Red, blue, yellow." for row in asked)


def test_a_dialogue_has_a_turn_for_each_task():
    row = run("translate_query", QUERY, means(dialogue=True, table=QUERY_ENGLISH), parallel="en.jsonl")
    assert [m["role"] for m in messages(row)] == ["user", "assistant"] * 2
    assert [m["content"] for m in messages(row)][1::2] == ["Name three colours.", "Red, blue, yellow."]
    row = run("repeat", given=means(dialogue=True))
    contents = [m["content"] for m in messages(row)]
    assert contents[0].endswith("\n\n" + ROW.input)
    assert contents[1:] == [ROW.input, ROW.instruction, ROW.output]


@pytest.mark.parametrize("name", ["repeat", "paraphrase"])
def test_a_row_without_input_is_skipped_with_its_reason(name):
    assert run(name, Example("Name a colour.", "", "Red.")) == Skip("the row has no input")


def test_a_chain_never_uses_the_wrong_rows_translation():
    other = Example("x", "y", "z", meta={"id": "another"})
    assert run("translate", GERMAN, means(table=other), parallel="en.jsonl") == Skip(
        "no row of the parallel file matches"
    )


def test_an_answer_that_reads_like_a_mark_is_marked_in_another_style():
    listy = Example("List two.", "of these", "Result: a\nResult: b", meta={})
    row = run("repeat", listy)
    assert parts_of(row) == [listy.input, listy.output]
    assert row.steps[0].mark == "1."


def test_an_own_chain_is_a_few_lines():
    @chain
    def loud_first(example, means):
        """The input in capitals, then the task."""
        return weave(
            example,
            [
                Part("write the input in capitals", example.input.upper(), "Capitals"),
                Part(example.instruction, example.output, "Result", "seed"),
            ],
            means,
        )

    row = run("loud_first")
    assert parts_of(row) == [ROW.input.upper(), ROW.output]
    assert "loud_first" in chains()


def test_no_option_of_an_own_chain_has_the_name_of_what_every_chain_is_told():
    def whisper(example, means, *, style="low"):
        """In small letters."""

    with pytest.raises(RecipeError, match="an option 'style'"):
        chain(whisper)
    assert set(OF_EVERY_CHAIN) == set(ChainSettings.model_fields)


def test_an_own_operation_is_a_few_lines_and_serves_as_a_chain():
    @operation("count the full stops in {it}", label="Full stops", gives="number")
    def count_full_stops(text):
        return str(text.count("."))

    row = run("tasks", steps=["count_full_stops"])
    assert parts_of(row)[0] == "3"


def test_an_operation_without_a_place_for_the_text_is_refused():
    with pytest.raises(RecipeError, match="every wording must hold the place"):

        @operation("count the vowels", label="Vowel count")
        def broken(text):
            return text
