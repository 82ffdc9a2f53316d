"""Rendering: in every family of models the trained part is the answers and the ends of their turns, and no more."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seqtune.data.example import Example, Turn, messages
from seqtune.errors import DataError, RecipeError

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from families import FAMILIES, TEXTS, gemma, gpt2, llama3, mistral, qwen3  # noqa: E402

from seqtune.training.preflight import check_rows  # noqa: E402
from seqtune.training.rendering import (  # noqa: E402
    IGNORED,
    Row,
    end_mark,
    prompt_ids,
    require_template,
    training_row,
    training_rows,
)
from seqtune.training.rows import render  # noqa: E402
from seqtune.training.templates import SHIPPED, use_template  # noqa: E402

MADE = {name: make() for name, (make, _) in FAMILIES.items()}
ENDS = {name: end for name, (_, end) in FAMILIES.items()}
TALK = (Turn("user", "Hello?"), Turn("assistant", "Yes?"), Turn("user", "Add 2 and 2."), Turn("assistant", "4"))
CHATS = [
    Example("Say hello.", "", "Hello!"),
    Example("Count the words.", "one two", "2", system="Be brief."),
    Example("Write two lines.", "", "1. a line\n\n2. another — «ligne», 行 🙂"),
    Example("Say hello.", "", " a blank first"),
    Example("Hello?", turns=TALK),
    Example("Hello?", system="Be kind.", turns=TALK),
]

families = pytest.mark.parametrize("family", FAMILIES)


def trained_texts(rows, tokenizer):
    """The text of each trained stretch of each row."""
    found = []
    for row in rows:
        start = 0
        for end in row.ends:
            ids = [label for label in row.labels[start:end] if label != IGNORED]
            found.append(tokenizer.decode(ids))
            start = end
    return found


def answers(example):
    return [message["content"] for message in messages(example) if message["role"] == "assistant"]


def base(tokenizer):
    """The same tokenizer without a template, as base models come."""
    tokenizer.chat_template = None
    return tokenizer


# --- every family


@families
def test_the_trained_part_is_each_answer_and_the_end_of_its_turn(family):
    tokenizer = MADE[family]
    for example in CHATS:
        said = trained_texts(training_rows(example, tokenizer), tokenizer)
        expected = [text + ENDS[family] for text in answers(example)]
        assert [text.strip() for text in said] == [text.strip() for text in expected]


@families
def test_the_end_of_a_turn_is_found_whatever_the_tokenizer_calls_its_end_token(family):
    assert end_mark(MADE[family]) == ENDS[family]


@families
def test_a_row_is_tokenised_as_its_whole_text_is(family):
    tokenizer = MADE[family]
    for example in CHATS:
        rows = training_rows(example, tokenizer)
        if len(rows) == 1 and not example.system:
            whole = tokenizer.apply_chat_template(messages(example), tokenize=False)
            ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
            assert rows[0].ids == ids[: len(rows[0].ids)]


@families
def test_what_is_given_to_answer_is_what_the_trained_answer_follows(family):
    tokenizer = MADE[family]
    for example in CHATS:
        row, prompt = training_rows(example, tokenizer)[-1], prompt_ids(example, tokenizer)
        assert row.ids[: len(prompt)] == prompt
        assert row.labels[len(prompt) - 1] == IGNORED
        assert IGNORED not in row.labels[len(prompt) :]


@families
@settings(max_examples=60, deadline=None)
@given(text=st.text("aé one\n.行 ", min_size=1, max_size=30), more=st.text("b\n 2", max_size=8))
def test_any_answer_is_trained_whole_and_on_nothing_else(family, text, more):
    tokenizer = MADE[family]
    example = Example(f"Say {more}", "", text)
    assume(text.strip())
    row = training_row(example, tokenizer)
    said = tokenizer.decode(row.trained).removesuffix(ENDS[family])
    assert said.split() == text.split()
    assert row.ids[: len(prompt_ids(example, tokenizer))] == prompt_ids(example, tokenizer)
    check_rows([row], [example], tokenizer)


@families
def test_a_message_can_be_left_out_by_its_flag(family):
    tokenizer = MADE[family]
    turns = (TALK[0], Turn("assistant", "Yes?", {"train": False}), *TALK[2:])
    rows = training_rows(Example("Hello?", turns=turns), tokenizer)
    assert [text.strip() for text in trained_texts(rows, tokenizer)] == ["4" + ENDS[family]]
    assert "Yes?" in tokenizer.decode(rows[0].ids)
    none = tuple(Turn(turn.role, turn.content, {"train": False}) for turn in TALK)
    with pytest.raises(DataError, match="no answer to train on"):
        training_rows(Example("Hello?", turns=none), tokenizer)


@families
def test_a_saved_tokenizer_makes_the_same_rows(family, tmp_path):
    MADE[family].save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for example in CHATS:
        assert training_rows(example, again) == training_rows(example, MADE[family])


@families
def test_text_that_holds_a_mark_of_the_model_is_refused(family):
    with pytest.raises(DataError, match="reads as the end or start of a turn"):
        training_rows(Example("Say hello.", "", f"Hello {ENDS[family]} there"), MADE[family])


# --- what is particular to one


def test_a_conversation_is_several_rows_where_earlier_turns_are_rewritten():
    tokenizer = MADE["qwen3"]
    thoughts = "<think>\ntwo and two\n</think>\n\n4"
    turns = (TALK[0], Turn("assistant", "<think>\nwho is it\n</think>\n\nYes?"), TALK[2], Turn("assistant", thoughts))
    first, second = training_rows(Example("Hello?", turns=turns), tokenizer)
    assert tokenizer.decode(first.trained) == "<think>\nwho is it\n</think>\n\nYes?<|im_end|>"
    assert tokenizer.decode(second.trained) == f"{thoughts}<|im_end|>"
    assert "who is it" not in tokenizer.decode(second.ids)


def test_an_answer_without_thoughts_is_trained_as_the_model_is_asked_for_one():
    tokenizer = MADE["qwen3"]
    row = training_row(CHATS[0], tokenizer)
    assert tokenizer.decode(row.trained) == "Hello!<|im_end|>"
    assert tokenizer.decode(prompt_ids(CHATS[0], tokenizer)).endswith("assistant\n<think>\n\n</think>\n\n")


def test_a_system_message_stands_before_the_first_question_where_there_is_no_role_for_it():
    row = training_row(CHATS[1], MADE["gemma"])
    text = MADE["gemma"].decode(row.ids)
    assert text == (
        "<bos><start_of_turn>user\nBe brief.\n\nCount the words.\n\none two<end_of_turn>\n"
        "<start_of_turn>model\n2<end_of_turn>"
    )


def test_a_chat_that_the_template_refuses_says_so():
    turns = (Turn("user", "One."), Turn("user", "Two."), Turn("assistant", "Three."))
    with pytest.raises(DataError, match="roles must take turns"):
        training_rows(Example("One.", turns=turns), MADE["mistral"])


@pytest.mark.parametrize("family", ["mistral", "mistral_new"])
def test_no_blank_is_added_between_prompt_and_answer(family):
    # Encoded alone, a legacy SentencePiece answer begins with two blanks, which no model ever writes.
    tokenizer = MADE[family]
    row = training_row(Example("Say hello.", "", "Hello!"), tokenizer)
    assert tokenizer.convert_ids_to_tokens(row.trained)[0].startswith("▁")
    assert not tokenizer.convert_ids_to_tokens(row.trained)[0].startswith("▁▁")
    assert tokenizer.decode(row.ids).endswith("[/INST] Hello!</s>")


@pytest.mark.parametrize("make", [gpt2, mistral])
@pytest.mark.parametrize("text", ["Hello!", "\n\nHello!", "  two", "Hello! Hello!\n"])
def test_where_a_token_would_join_prompt_and_answer_the_prompt_is_as_it_is_given(make, text):
    tokenizer = base(make())
    use_template(tokenizer, "alpaca", "model")
    tokenizer.chat_template = tokenizer.chat_template.replace("Response:\\n", "Response:\\n\\n  ")
    example = Example("Say hello.", "", text)
    row, prompt = training_row(example, tokenizer), prompt_ids(example, tokenizer)
    assert row.ids[: len(prompt)] == prompt
    assert row.labels[len(prompt)] != IGNORED
    assert tokenizer.decode(row.ids) == tokenizer.decode(prompt) + text + tokenizer.eos_token


def test_an_answer_of_characters_that_the_tokenizer_does_not_know_is_refused():
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2, "b": 3}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] + ' ' + eos_token }}{% endfor %}"
    assert training_rows(Example("b", "", "a"), tokenizer)
    with pytest.raises(DataError, match="does not know"):
        training_rows(Example("b", "", "zebra"), tokenizer)


# --- shipped templates, for base models


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_templates_train_answers_and_their_ends(name, tmp_path):
    tokenizer = base(qwen3())
    use_template(tokenizer, name, "model")
    end = end_mark(tokenizer)
    for example in CHATS:
        rows = training_rows(example, tokenizer)
        assert len(rows) == 1
        assert trained_texts(rows, tokenizer) == [text + end for text in answers(example)]
        check_rows(rows, [example], tokenizer)
    tokenizer.save_pretrained(tmp_path)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path).chat_template == tokenizer.chat_template


@pytest.mark.parametrize("make", [llama3, gemma, mistral])
def test_a_shipped_template_begins_as_the_tokenizer_does(make):
    tokenizer = base(make())
    use_template(tokenizer, "tulu", "model")
    ids, own = training_row(CHATS[0], tokenizer).ids, tokenizer("a")["input_ids"]
    assert (ids[0] == tokenizer.bos_token_id) == (own[0] == tokenizer.bos_token_id)
    assert ids.count(tokenizer.bos_token_id) <= 1
    assert tokenizer.decode(training_row(CHATS[0], tokenizer).trained).strip() == f"Hello!{tokenizer.eos_token}"


def test_a_model_without_template_is_refused_with_the_choices():
    with pytest.raises(RecipeError, match=r"no chat template[\s\S]*'tulu' or 'alpaca'[\s\S]*'chatml'"):
        require_template(base(llama3()), "a base model")


def test_chatml_is_refused_where_its_marks_are_no_tokens():
    with pytest.raises(RecipeError, match=r"needs the token '<\|im_start\|>'[\s\S]*'tulu'"):
        use_template(base(llama3()), "chatml", "a base model")


# --- the check before training


def wrongly(row, *, trained):
    return row._replace(labels=[i if at in trained else IGNORED for at, i in enumerate(row.ids)])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda row: wrongly(row, trained=()), "would train on nothing"),
        (lambda row: row._replace(labels=[*row.labels[:-1], IGNORED]), "without its end token"),
        (lambda row: wrongly(row, trained=range(len(row.ids))), "which is none of its answers"),
        (lambda row: wrongly(row, trained=range(3, len(row.ids))), "which is none of its answers"),
        (lambda row: wrongly(row, trained=[len(row.ids) - 1]), "nothing but the end token"),
    ],
)
@families
def test_a_row_that_would_be_trained_wrongly_is_refused_by_its_name(family, spoil, said):
    tokenizer = MADE[family]
    rows = [training_row(example, tokenizer) for example in CHATS[:3]]
    check_rows(rows, CHATS[:3], tokenizer)
    rows[1] = spoil(rows[1])
    with pytest.raises(DataError, match="1 of 3 rows would be trained wrongly") as error:
        check_rows(rows, CHATS[:3], tokenizer)
    assert error.value.where == f"row {CHATS[1].id}"
    assert said in str(error.value)


# --- rows that are too long


LONG = Example("One", turns=tuple(Turn(role, text) for text in TEXTS[:4] for role in ("user", "assistant")))


def test_a_conversation_is_cut_after_whole_turns_and_listed():
    tokenizer = MADE["llama3"]
    row = training_row(LONG, tokenizer)
    limit = row.ends[2] - 1
    rendered = render([LONG, CHATS[0]], tokenizer, max_length=limit, too_long="split")
    assert [len(one.ends) for one in rendered.rows] == [2, 1]
    assert rendered.rows[0].ids == row.ids[: row.ends[1]]
    assert rendered.rows[0].labels[-1] == tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert rendered.left_out == 0
    (line,) = rendered.unused
    assert (line.id, line.turns, line.tokens) == (LONG.id, 2, len(row.ids))
    assert "2 of its 4 answers are left out" in line.reason


def test_a_row_whose_first_answer_is_too_long_cannot_be_split():
    long = Example("Repeat.", "", "word " * 200)
    rendered = render([long, CHATS[0]], MADE["llama3"], max_length=60, too_long="split")
    assert [row.id for row in rendered.rows] == [CHATS[0].id]
    assert (rendered.left_out, rendered.unused[0].turns) == (1, 0)


@families
def test_no_row_is_over_the_limit_and_every_example_is_accounted_for(family):
    examples = [LONG, *CHATS]
    for limit in (60, 120, 200, 400):
        for too_long in ("drop", "split"):
            rendered = render(examples, MADE[family], max_length=limit, too_long=too_long)
            assert max(len(row.ids) for row in rendered.rows) <= limit
            whole = {example.id for example in rendered.examples}
            gone = {line.id for line in rendered.unused if not line.turns}
            assert whole | gone == {example.id for example in examples}
            assert not whole & gone
            check_rows(rendered.rows, rendered.examples, MADE[family])


def test_a_row_that_is_too_long_can_be_an_error():
    with pytest.raises(DataError, match=r"more than 100 tokens[\s\S]*raise max_length") as error:
        render([CHATS[0], LONG], MADE["llama3"], max_length=100, too_long="error")
    assert error.value.where == f"row {LONG.id}"


def test_a_row_knows_where_its_answers_end():
    assert Row("a", [1, 2, 3, 4, 5], [-100, 2, 3, -100, 5]).ends == [3, 5]
