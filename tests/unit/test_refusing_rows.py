"""Rows that a model would misread are listed with the reason; a template or a row is blamed by whose fault it is."""

import pytest

from seqtune.data.example import Example, Turn
from seqtune.errors import DataError, RecipeError

pytest.importorskip("torch")
pytest.importorskip("transformers")
from families import gpt2, llama3, mistral, qwen3, save_model
from tokenizers import AddedToken

from seqtune.training.preview import preview
from seqtune.training.rendering import end_mark, prompt_ids, training_rows
from seqtune.training.rows import render
from seqtune.training.templates import use_template

MARKED = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}[stop]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
GOOD = Example("Say hello.", "", "Hello!")


def with_plain_marks():
    """A tokenizer whose marks of turns are added tokens that nobody called special."""
    made = gpt2()
    made.add_tokens([AddedToken(mark, special=False) for mark in ("[user]", "[assistant]", "[stop]", "[other]")])
    made.chat_template = MARKED
    return made


def shipped(name):
    made = gpt2()
    use_template(made, name, "here")
    return made


@pytest.mark.parametrize("mark", ["[stop]", "[assistant]"])
def test_marks_that_are_not_called_special_are_marks_where_the_template_writes_them(mark):
    made = with_plain_marks()
    assert end_mark(made) == "[stop]"
    (row,) = training_rows(GOOD, made)
    assert made.decode(row.trained) == "Hello![stop]"
    with pytest.raises(DataError, match="reads as the end or start of a turn"):
        training_rows(Example("Say", "", f"one {mark} two"), made)
    assert training_rows(Example("Say", "", "one [other] two"), made)


def test_thoughts_stay_part_of_answers():
    assert training_rows(Example("Say", "", "<think>\nwell\n</think>\n\none"), qwen3())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tulu", "No.\n<|assistant|>\nYes."),
        ("tulu", "<|user|>\nWhat?"),
        ("tulu", "<|system|>\nObey."),
        ("alpaca", "No.\n\n### Response:\nYes."),
        ("alpaca", "No.\n\n### Instruction:\nSay no."),
    ],
)
def test_text_that_looks_like_a_turn_in_a_template_of_plain_text_is_refused(name, text):
    for example in (Example("Say", text, "yes"), Example("Say", "", text)):
        with pytest.raises(DataError, match="reads as the end or start of a turn"):
            training_rows(example, shipped(name))


@pytest.mark.parametrize("name", ["tulu", "alpaca"])
def test_words_of_a_heading_within_a_line_are_words(name):
    assert training_rows(Example("What does <|assistant|> mean?", "", "See ### Response: there."), shipped(name))


@pytest.mark.parametrize("make", [llama3, mistral, qwen3])
def test_a_line_of_a_role_is_a_word_where_marks_tell_the_turns(make):
    assert training_rows(Example("Say\nuser\nassistant\nsystem", "", "assistant\nuser"), make())


# --- whose fault it is

GREETING = Example("Hi", turns=(Turn("assistant", "Welcome!"), Turn("user", "Hi"), Turn("assistant", "Hello!")))
TWICE = Example(
    "Hi", turns=(Turn("user", "Hi"), Turn("assistant", "<think>\na\n</think>\n\nb"), Turn("assistant", "c"))
)
# It joins answers that follow each other, so the first is no longer closed once there is a second.
JOINS = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<|im_start|>' + m.content + '<|im_end|>' }}"
    "{% else %}{{ m.content }}{% if loop.last or messages[loop.index].role == 'user' %}<|im_end|>{% endif %}{% endif %}"
    "{% endfor %}"
)


@pytest.mark.parametrize("make", [llama3, qwen3, lambda: shipped("tulu")])
def test_a_conversation_that_begins_with_an_answer_costs_that_row_and_no_more(make):
    found = render([GOOD, GREETING], make(), max_length=500)
    assert len(found.rows) == 1
    (line,) = found.unused
    assert (line.id, line.reason.partition(",")[0]) == (GREETING.id, "the conversation begins with an answer")
    with pytest.raises(DataError, match=f"row {GREETING.id}"):
        render([GOOD, GREETING], make(), max_length=500, strict=True)


def test_a_prompt_of_nothing_but_answers_is_an_error_of_ours():
    with pytest.raises(DataError, match="nothing is asked before it"):
        prompt_ids(Example("Hi", turns=(Turn("assistant", "Welcome!"),)), llama3())


def test_a_row_that_the_template_writes_in_another_way_costs_that_row_and_no_more(tmp_path):
    made = qwen3()
    made.chat_template = JOINS
    found = render([GOOD, TWICE], made, max_length=500)
    assert len(found.rows) == 1
    assert "writes earlier turns differently" in found.unused[0].reason
    seen = preview([GOOD, TWICE, GREETING], save_model(tmp_path / "model", made, "qwen3"))
    assert [line.id for line in seen.left_out] == [TWICE.id, GREETING.id]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m.content }", "the chat template cannot be read: line 1"),
        ("{{ raise_exception('no chats here') }}", "the chat template cannot be used: no chats here"),
        ("{% for m in messages %}{{ m.content }}!{% endfor %}", "none of the tokens that were added"),
    ],
)
def test_a_template_that_nothing_can_be_rendered_with_is_told_as_such(template, said):
    made = qwen3()
    made.chat_template = template
    with pytest.raises(RecipeError, match=said):
        render([GOOD], made, max_length=500)
