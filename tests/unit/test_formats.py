"""Formats: told from the columns, and each column ends in its place or in `meta`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqtune.data as data
import seqtune.data.format as format_module
from seqtune.data import Example, Fault, Turn
from seqtune.errors import DataError, RecipeError

USER = {"role": "user", "content": "How many legs has a spider?"}
ASSISTANT = {"role": "assistant", "content": "Eight."}
SYSTEM = {"role": "system", "content": "Be brief."}

BUILT_IN = data.formats()  # now, before another test adds its own

# format -> (a row as others write it, what it must become)
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prompts": (
        {"instruction": "Name a bird.", "round": 3},
        {"instruction": "Name a bird.", "output": "", "meta": {"round": 3}},
    ),
    "alpaca": (
        {"instruction": "Add.", "input": "1 2", "output": "3", "id": "a7", "lang": "en"},
        {"instruction": "Add.", "input": "1 2", "output": "3", "meta": {"id": "a7", "lang": "en"}},
    ),
    "prompt_completion": (
        {"prompt": "Name a bird.", "completion": " An owl."},
        {"instruction": "Name a bird.", "output": " An owl."},
    ),
    "dolly": (
        {"instruction": "Add.", "context": "1 2", "response": "3", "category": "sums"},
        {"instruction": "Add.", "input": "1 2", "output": "3", "meta": {"category": "sums"}},
    ),
    "openorca": (
        {"id": "q1", "system_prompt": "Be brief.", "question": "Name a bird.", "response": "Owl."},
        {"instruction": "Name a bird.", "system": "Be brief.", "output": "Owl.", "meta": {"id": "q1"}},
    ),
    "self_instruct": (
        {"id": "s1", "instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]},
        {"instruction": "Add.", "input": "1 2", "output": "3", "meta": {"id": "s1"}},
    ),
    "squad_rows": (
        {"context": "Owls hunt.", "question": "Who hunts?", "answers": {"text": ["Owls"], "answer_start": [0]}},
        {"input": "Context: Owls hunt.\nQuestion: Who hunts?", "output": "Owls"},
    ),
    "squad": (
        {
            "title": "Owls",
            "paragraphs": [
                {
                    "context": "Owls hunt.",
                    "qas": [{"id": "1", "question": "Who hunts?", "answers": [{"text": "Owls", "answer_start": 0}]}],
                }
            ],
        },
        {"input": "Context: Owls hunt.\nQuestion: Who hunts?", "output": "Owls", "meta": {"title": "Owls", "id": "1"}},
    ),
    "sharegpt": (
        {
            "conversations": [{"from": "human", "value": "Name a bird."}, {"from": "gpt", "value": "Owl."}],
            "system": "S",
        },
        {"instruction": "Name a bird.", "output": "Owl.", "system": "S", "turns": ()},
    ),
    "chat": (
        {"messages": [SYSTEM, USER, ASSISTANT], "source": "web"},
        {
            "instruction": USER["content"],
            "output": "Eight.",
            "system": "Be brief.",
            "turns": (),
            "meta": {"source": "web"},
        },
    ),
    "seqtune": (
        {"instruction": "Add.", "steps": [{"text": "add"}], "note": 1},
        {"instruction": "Add.", "steps": (data.Step("add"),), "meta": {"note": 1}},
    ),
}


def one(row: dict[str, Any], **options: Any) -> Example:
    (example,) = data.read([row], **options)
    return example


def reason(row: dict[str, Any], **options: Any) -> str:
    (failure,) = data.rows([row], **options)
    assert isinstance(failure, data.Failure)
    return failure.reason


@pytest.mark.parametrize("name", ROWS)
def test_a_format_is_told_from_its_columns(name: str) -> None:
    assert data.detect([ROWS[name][0]]).format == name


@pytest.mark.parametrize("name", ROWS)
def test_each_column_has_its_place(name: str) -> None:
    row, wanted = ROWS[name]
    example = one(row)
    assert {field: getattr(example, field) for field in wanted} == wanted


def test_every_format_has_an_example_here_and_a_summary() -> None:
    assert set(ROWS) == set(BUILT_IN)
    assert all(columns and summary.endswith(".") for columns, summary in BUILT_IN.values())


def test_the_reason_names_the_columns() -> None:
    assert data.detect([ROWS["alpaca"][0]]).reason == "columns instruction, input, output: alpaca"


def test_the_first_origin_says_where_a_row_was_read() -> None:
    second = list(data.read([ROWS["alpaca"][0], ROWS["dolly"][0] | ROWS["alpaca"][0]]))[1]
    assert second.origin[0] == data.Origin("read", source="rows", row=2)


@pytest.mark.parametrize(
    "row",
    [
        {"query": "Q", "answer": "A"},
        {"question": "Q", "answer": "A"},
        {"Question": "Q", "Answer": "A"},
        {"input": "Q", "output": "A"},
        {"prompt": "Q", "response": "A"},
        {"instruction": "Q", "target": "A"},
    ],
)
def test_other_spellings_are_known(row: dict[str, str]) -> None:
    example = one(row)
    assert (example.instruction, example.input, example.output, example.meta) == ("Q", "", "A", {})


def test_columns_without_a_format_are_listed_with_a_mapping_to_give() -> None:
    with pytest.raises(DataError, match="no format fits its columns: text, label") as error:
        list(data.read([{"text": "Owls hunt.", "label": "birds"}]))
    assert "--columns instruction=text,output=label" in error.value.fix


@given(st.lists(st.text(min_size=1), min_size=3, max_size=3, unique=True))
def test_a_mapping_reads_any_columns(names: list[str]) -> None:
    ask, answer, other = names
    example = one({ask: "Q", answer: "A", other: 7}, columns={"instruction": ask, "output": answer}, format="alpaca")
    assert (example.instruction, example.output) == ("Q", "A")
    if other not in ("input", "system", "history", "image", "images", "meta"):
        assert example.meta == {other: 7}


def test_a_mapped_column_leaves_the_one_of_its_name_in_meta() -> None:
    example = one({"instruction": "Q", "output": "old", "better": "new"}, columns={"output": "better"})
    assert (example.output, example.meta) == ("new", {"output": "old"})


def test_a_mapping_serves_every_format() -> None:
    example = one({"dialogue": [USER, ASSISTANT]}, columns={"messages": "dialogue"})
    assert example.output == "Eight."


def test_a_mistyped_mapping_is_answered_with_the_right_name() -> None:
    with pytest.raises(DataError, match="no column 'promt'; did you mean 'prompt'"):
        one({"prompt": "Q", "answer": "A"}, columns={"instruction": "promt"})
    with pytest.raises(RecipeError, match="did you mean 'instruction'"):
        one({"prompt": "Q", "answer": "A"}, columns={"instructions": "prompt"})
    with pytest.raises(RecipeError, match="did you mean 'alpaca'"):
        one({"prompt": "Q"}, format="alpacca")
    with pytest.raises(DataError, match="needs the columns conversations"):
        one({"prompt": "Q"}, format="sharegpt")


def test_a_function_is_a_format() -> None:
    example = one({"q": "Q", "a": "A"}, format=lambda row: {"instruction": row["q"], "output": row["a"]})
    assert (example.instruction, example.output, example.meta) == ("Q", "A", {})
    assert reason({"q": "Q"}, format=lambda row: {"instruction": row["q"], "output": row["a"]}) == "missing column"


@pytest.fixture
def _formats_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_module, "_formats", dict(format_module._formats))


@pytest.mark.usefixtures("_formats_as_before")
def test_a_reader_is_one_decorated_function() -> None:
    @data.row_format("riddles", columns=("riddle", "solutions"))
    def _riddles(row: format_module.Row) -> Iterator[format_module.Fields | Fault]:
        """Riddles, a row for each solution."""
        for solution in row["solutions"]:
            if solution:
                yield {"instruction": data.text(row, "riddle"), "output": solution}
            else:
                yield Fault("no solution")

    assert data.formats()["riddles"] == (("riddle", "solutions"), "Riddles, a row for each solution.")
    row = {"riddle": "Who hoots?", "solutions": ["An owl.", "", "A train."], "level": 2}
    first, failure, last = data.rows([row])
    assert isinstance(first, Example)
    assert isinstance(failure, data.Failure)
    assert isinstance(last, Example)
    assert (first.output, failure.reason, last.output) == ("An owl.", "no solution", "A train.")
    assert last.meta == {"level": 2}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"instruction": "", "output": "x"}, "empty instruction"),
        ({"instruction": " \n", "output": "x"}, "empty instruction"),
        ({"instruction": None, "output": "x"}, "not text"),
        ({"instruction": "x", "output": None}, "not text"),
        ({"instruction": "x", "output": ["y"]}, "not text"),
        ({"instruction": "x", "output": True}, "not text"),
        ({"instruction": "x", "input": {}, "output": "y"}, "not text"),
        ({"messages": []}, "empty chat"),
        ({"messages": [SYSTEM]}, "no user message"),
        ({"messages": [{"role": "owl", "content": "x"}]}, "unknown role"),
        ({"messages": [{"content": "x"}]}, "unknown role"),
        ({"messages": ["x"]}, "not a message"),
        ({"messages": [{"role": "user", "content": 3}]}, "message is not text"),
        ({"instruction": "x", "output": "y", "history": [["a"]]}, "history is not pairs"),
        ({"instruction": "x", "output": "y", "images": [3]}, "not an image"),
        ({"instruction": "x", "instances": []}, "no instances"),
        ({"instruction": "x", "steps": [{"text": "a", "kind": "owl"}]}, "not a seqtune row"),
        ({"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": []}]}]}, "no answer"),
    ],
)
def test_a_wrong_row_has_a_constant_reason(row: dict[str, Any], why: str) -> None:
    assert reason(row) == why


def test_a_missing_column_is_a_failure_and_an_empty_answer_is_not() -> None:
    kept, failure = data.rows([{"instruction": "x", "output": ""}, {"instruction": "x"}])
    assert isinstance(kept, Example)
    assert kept.output == ""
    assert isinstance(failure, data.Failure)
    assert failure.reason == "missing column"


def test_a_number_becomes_its_text() -> None:
    assert one({"instruction": "Add.", "input": 12, "output": 0.5}).output == "0.5"


def test_history_becomes_the_turns_before() -> None:
    example = one({"instruction": "And a fly?", "input": "", "output": "Six.", "history": [["A spider?", "Eight."]]})
    assert [turn.content for turn in example.turns] == ["A spider?", "Eight.", "And a fly?", "Six."]
    assert (example.instruction, example.output) == ("A spider?", "Six.")


def test_a_question_without_answer_does_not_cost_its_article() -> None:
    qas = [{"question": "Who?", "answers": []}, {"question": "What?", "answers": [{"text": "mice"}]}]
    failure, example = data.rows([{"paragraphs": [{"context": "Owls hunt mice.", "qas": qas}]}])
    assert isinstance(failure, data.Failure)
    assert isinstance(example, Example)
    assert example.output == "mice"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}) | st.dictionaries(st.text(), json_values)
)
chat_messages = st.builds(
    lambda role, content, extra: {"role": role, "content": content, **extra},
    st.sampled_from(["user", "assistant", "tool", "system", "developer"]),
    st.none() | st.text() | parts,
    st.dictionaries(st.sampled_from(["name", "tool_calls", "tool_call_id", "weight"]), json_values, max_size=2),
)


@given(st.lists(chat_messages, max_size=5))
def test_a_chat_loses_nothing(messages: list[dict[str, Any]]) -> None:
    chat = [USER, *messages]
    assert data.messages(one({"messages": chat})) == chat


def test_tool_calls_and_image_parts_are_kept() -> None:
    chat = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "a"}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "an owl"},
        {"role": "assistant", "content": "An owl.", "name": "eye"},
    ]
    example = one({"messages": chat})
    assert data.messages(example) == chat
    assert (example.instruction, example.output) == ("What is it?", "An owl.")
    assert example.turns[1] == Turn("assistant", None, {"tool_calls": chat[1]["tool_calls"]})


def test_images_come_by_path_by_bytes_and_by_data_url() -> None:
    row = {"instruction": "Look.", "output": "x"}
    assert one({**row, "image": "a.png"}).images == (data.Image("a.png"),)
    both = one({**row, "images": ["a.png", {"bytes": b"b", "path": None}]})
    assert both.images == (data.Image("a.png"), data.Image("", b"b"))
    assert one({**row, "images": ["data:image/png;base64,Yg=="]}).images == (data.Image(data=b"b"),)


@pytest.mark.parametrize(
    ("file", "format", "rows"),
    [
        ("alpaca/alpaca_1k.json", "alpaca", 999),
        ("self_instruct/seed_tasks.jsonl", "self_instruct", 175),
        ("xquad/xquad.zh.json", "squad", 1190),
        ("gsm8k/test.jsonl", "alpaca", 1319),
        ("ifeval/input_data.jsonl", "prompts", 541),
    ],
)
def test_published_files_are_read_whole(file: str, format: str, rows: int, shared: Path) -> None:
    failures: list[data.Failure] = []
    found: list[data.Detection] = []
    examples = list(data.read(shared / file, on_failure=failures.append, on_detect=found.append))
    assert (len(examples), failures, found[0].format) == (rows, [], format)
    assert all(example.output for example in examples) or format == "prompts"


def test_the_rows_of_alpaca_are_what_its_file_holds(shared: Path) -> None:
    path = shared / "alpaca/alpaca_1k.json"
    read = [(row.instruction, row.input, row.output) for row in data.read(path)]
    assert read == [(row["instruction"], row["input"], row["output"]) for row in json.loads(path.read_text("utf-8"))]


def test_a_file_without_a_header_is_read_by_the_numbers_of_its_columns(shared: Path) -> None:
    path = shared / "mgsm/mgsm_fr.tsv"
    with pytest.raises(DataError, match="its columns: 1, 2"):
        list(data.read(path))
    assert len(list(data.read(path, columns={"instruction": "1", "output": "2"}))) == 250
