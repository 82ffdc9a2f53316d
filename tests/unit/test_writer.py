"""Writing: what is read back equals what was written, and a file is whole or not there."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import seqtune.data as data
from seqtune.data import Example, Image, Origin, Step, Turn, Written
from seqtune.errors import DataError, RecipeError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text(max_size=8) | st.sampled_from(["id", "meta", "messages", "output", "origin", "input", "image"])
metas = st.dictionaries(names, json_values, max_size=4)
asked = st.text(min_size=1).filter(str.strip)
kinds = st.sampled_from(["seed", "before", "after", "decomposed"])
steps = st.builds(Step, st.text(), st.none() | st.text(), kinds, st.text(), metas, st.text())
origins = st.builds(
    Origin, st.text(), st.integers(1, 9), st.text(), st.integers(0, 9), st.text(), st.none() | st.integers(),
    st.text(), st.text(), st.lists(st.text(), max_size=2).map(tuple),
)  # fmt: skip
roles, contents = (
    st.sampled_from(["user", "assistant", "tool"]),
    st.none() | st.text() | st.lists(json_values, max_size=2),
)
turns = st.builds(Turn, roles, contents, metas)
images = st.builds(Image, st.text(), st.binary())
own_examples = st.builds(
    Example, st.text(), st.text(), st.text(), st.text(), st.lists(images, max_size=2).map(tuple),
    st.lists(turns, max_size=3).map(tuple), st.lists(steps, max_size=3).map(tuple),
    st.lists(origins, min_size=1, max_size=2).map(tuple), metas,
)  # fmt: skip
file_images = st.builds(Image, st.text(min_size=1).filter(lambda path: not path.startswith("data:")))
paths = st.lists(file_images, max_size=2).map(tuple)
alpaca_examples = st.builds(Example, asked, st.text(), st.text(), st.text(), paths, meta=metas)
chat_turns = st.lists(st.builds(Turn, roles, contents), max_size=3)
SUFFIXES = (".jsonl", ".json", ".parquet", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst")


def there_and_back(examples: list[Example], suffix: str, format: str) -> tuple[list[Example], str]:
    found: list[data.Detection] = []
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows" + suffix)
        written = data.write(examples, path, format=format)
        assert (written.rows, written.path) == (len(examples), path)
        assert [file.name for file in Path(folder).iterdir()] == [path.name]
        return list(data.read(path, on_detect=found.append)), found[0].format


@given(st.lists(own_examples, min_size=1, max_size=3), st.sampled_from(SUFFIXES))
@settings(deadline=None)
def test_our_own_rows_read_back_equal(examples: list[Example], suffix: str) -> None:
    assert there_and_back(examples, suffix, "auto") == (examples, "seqtune")


@given(own_examples, st.sampled_from(SUFFIXES))
@settings(deadline=None, max_examples=30)
def test_a_row_without_lineage_gets_where_it_was_read(example: Example, suffix: str) -> None:
    bare = Example(example.instruction, meta=example.meta)
    (read,), format = there_and_back([bare], suffix, "seqtune")
    assert (format, read.id, read.meta, read.origin[0].row) == ("seqtune", bare.id, bare.meta, 1)


def content(example: Example) -> tuple[Any, ...]:
    return example.instruction, example.input, example.output, example.system, example.images, example.meta, example.id


@given(st.lists(alpaca_examples, min_size=1, max_size=3), st.sampled_from(SUFFIXES))
@settings(deadline=None)
def test_alpaca_reads_back_what_it_holds(examples: list[Example], suffix: str) -> None:
    read, format = there_and_back(examples, suffix, "alpaca")
    assert format == "alpaca"
    assert list(map(content, read)) == list(map(content, examples))


@given(asked, chat_turns, st.text(), metas, st.sampled_from([".jsonl", ".json", ".jsonl.gz"]))
@settings(deadline=None)
def test_chat_reads_back_every_message(
    ask: str, later: list[Turn], system: str, meta: dict[str, Any], suffix: str
) -> None:
    example = Example(ask, system=system, turns=(Turn("user", ask), *later), meta=meta)
    (read,), format = there_and_back([example], suffix, "chat")
    assert format == "chat"
    assert (data.messages(read), read.system, read.meta) == (data.messages(example), system, meta)


@given(
    asked,
    st.text(min_size=1),
    st.text(),
    metas,
    st.sampled_from(SUFFIXES),
    st.sampled_from(["chat", "prompt_completion"]),
)
@settings(deadline=None)
def test_one_exchange_reads_back_equal_from_chats(
    ask: str, answer: str, system: str, meta: dict[str, Any], suffix: str, format: str
) -> None:
    example = Example(ask, output=answer, system=system, meta=meta)
    (read,), found = there_and_back([example], suffix, format)
    assert found == format
    assert content(read) == content(example)


def test_the_name_says_the_format(tmp_path: Path) -> None:
    assert data.write([Example("a", output="b")], tmp_path / "train.chat.jsonl").format == "chat"
    row = json.loads((tmp_path / "train.chat.jsonl").read_text())
    assert row == {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    examples = [Example("a", output="b", steps=(Step("x"),), origin=(Origin("read"),)), Example("c", output="d")]
    path = tmp_path / "x.jsonl"
    assert data.write(examples, path, format="alpaca") == Written(path, "alpaca", 2, {"steps": 1, "origin": 1})
    assert data.write(examples, path).left_out == {}


CHAT = Example("a", turns=(Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"), Turn("assistant", "d")))
CALL = Example("a", turns=(Turn("user", "a"), Turn("assistant", None, {"tool_calls": []})))


@pytest.mark.parametrize(
    ("example", "name", "format"),
    [
        (CHAT, "x.jsonl", "alpaca"),
        (Example("a", images=(Image(data=b"x"),)), "x.jsonl", "alpaca"),
        (Example("a", images=(Image(data=b"x"),)), "x.jsonl", "chat"),
        (Example("a"), "x.jsonl", "prompt_completion"),
        (CALL, "x.parquet", "chat"),
        (Example("a", meta={"x": object()}), "x.jsonl", "seqtune"),
        (Example("a", meta={"x": object()}), "x.parquet", "seqtune"),
    ],
)
def test_what_has_no_place_is_an_error_with_the_row(example: Example, name: str, format: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2"):
        data.write([Example("a", output="b"), example], tmp_path / name, format=format)
    assert not list(tmp_path.iterdir())


def test_a_broken_off_writing_leaves_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    data.write([Example("before")], path)

    def broken() -> Iterator[Example]:
        yield Example("after")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.write(broken(), path)
    assert [example.instruction for example in data.read(path)] == ["before"]
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


def test_half_a_surrogate_pair_does_not_lose_the_file(tmp_path: Path) -> None:
    example = Example("a\ud83d", turns=(Turn("user", "b\udc00"),), origin=(Origin("x"),), meta={"c": "\udfff"})
    for name in ("x.jsonl", "x.parquet"):
        data.write([example], tmp_path / name)
        (read,) = data.read(tmp_path / name)
        assert (read.instruction, read.turns[0].content, read.meta) == ("a\ufffd", "b\ufffd", {"c": "\ufffd"})


def test_suffixes_and_formats_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"suffix '\.txt'"):
        data.write([], tmp_path / "x.txt")
    with pytest.raises(RecipeError, match="packed by itself"):
        data.write([], tmp_path / "x.parquet.gz")
    with pytest.raises(RecipeError, match="did you mean 'chat'"):
        data.write([], tmp_path / "x.jsonl", format="chats")


def test_packed_files_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("x.jsonl.gz", "x.jsonl.zst", "x.parquet"):
        data.write([Example("a")], tmp_path / name)
        first = (tmp_path / name).read_bytes()
        data.write([Example("a")], tmp_path / name)
        assert (tmp_path / name).read_bytes() == first


@pytest.mark.parametrize("format", ["seqtune", "alpaca", "chat", "prompt_completion"])
def test_parquet_is_read_by_pyarrow_with_plain_columns(format: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    data.write([Example("a", "i", "b", meta={"k": [1]})] * 2500, tmp_path / "x.parquet", format=format)
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.num_rows == 2500
    assert table.column("meta")[0].as_py() == '{"k":[1]}'
    assert ("images" in table.column_names) == (format == "seqtune")


def test_a_thousand_rows_without_an_image_make_a_table_without_them(tmp_path: Path) -> None:
    rows = [Example("a", output="b")] * 1000
    with pytest.raises(DataError, match="images come after row 1000"):
        data.write([*rows, Example("a", images=(Image("p"),))], tmp_path / "x.alpaca.parquet")
    data.write([Example("a", images=(Image("p", b"x"),)), *rows], tmp_path / "x.alpaca.parquet")
    assert next(data.read(tmp_path / "x.alpaca.parquet")).images == (Image("p", b"x"),)
