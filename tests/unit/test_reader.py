"""Reading: any file is read row by row, a bad row costs itself only, and what cannot be read says why."""

import gzip
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import seqtune.data as data
from seqtune.data import Example, Failure
from seqtune.data import stream as stream_module
from seqtune.errors import DataError, MissingExtraError, SeqtuneError

ROWS = [
    {"instruction": f"Say {word}.", "input": "", "output": word} for word in ("owl", "käuzchen", "鹰", "a\nb", 'q"t')
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def outputs(path: Path, **options: Any) -> list[str]:
    return [row.output for row in data.read(path, **options)]


def save(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def split(path: Path, **options: Any) -> tuple[list[str], list[Failure]]:
    failures: list[Failure] = []
    return outputs(path, on_failure=failures.append, **options), failures


def csv_text(mark: str) -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    return "\r\n".join(
        mark.join(map(cell, row)) for row in [["instruction", "input", "output"], *(r.values() for r in ROWS)]
    )


def zstd(content: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.ZstdCompressor().compress(content))


TEXTS = {
    "jsonl": LINES,
    "jsonl, Windows, blank lines": LINES.replace("}\n", "}\r\n\r\n"),
    "jsonl, no last line end": LINES.rstrip(),
    "array": json.dumps(ROWS),
    "array, indented": json.dumps(ROWS, indent=4, ensure_ascii=False),
    "array, comma at the end": json.dumps(ROWS)[:-1] + ", ]",
    "object with data": json.dumps({"version": "1.1", "data": ROWS, "n": 5}),
    "object with data, indented": json.dumps({"data": ROWS, "version": 2}, indent=1),
    "object with data late": json.dumps({"info": {"by": ["me"]}, "data": ROWS}, indent=1),
    "objects one after another": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "csv": csv_text(","),
    "csv, semicolons": csv_text(";"),
    "tsv": csv_text("\t"),
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


# Without a byte order mark, only JSON gives UTF-16 away.
KINDS = [(kind, code) for kind in TEXTS for code in ENCODINGS if "sv" not in kind or code[-2:] not in ("le", "be")]


@pytest.mark.parametrize(("kind", "encoding"), KINDS)
@pytest.mark.parametrize("packing", ["", "gz", "zst"])
def test_content_says_how_a_file_is_read(kind: str, encoding: str, packing: str, tmp_path: Path) -> None:
    content = TEXTS[kind].encode(encoding)
    packed = {"": bytes, "gz": gzip.compress, "zst": zstd}[packing](content)
    assert outputs(save(tmp_path / "no-suffix", packed)) == [row["output"].replace("\r", "") for row in ROWS]


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("kind", TEXTS)
def test_where_pieces_end_changes_nothing(
    kind: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "x", TEXTS[kind])
    monkeypatch.setattr(stream_module, "PIECE", size)
    monkeypatch.setattr(stream_module, "PACKED_PIECE", 600)
    assert outputs(path) == [row["output"] for row in ROWS]


def test_a_wrong_suffix_does_no_harm(tmp_path: Path) -> None:
    for name, kind in [
        ("x.json", "jsonl"),
        ("x.jsonl", "array"),
        ("x.parquet", "jsonl"),
        ("x.csv", "array"),
        ("x.gz", "jsonl"),
    ]:
        assert len(outputs(save(tmp_path / name, TEXTS[kind]))) == len(ROWS)


def test_parquet_is_read_packed_and_plain(tmp_path: Path) -> None:
    data.write([Example("a", output="b")] * 3, tmp_path / "x.parquet")
    save(tmp_path / "y", gzip.compress((tmp_path / "x.parquet").read_bytes()))
    assert outputs(tmp_path / "y") == outputs(tmp_path / "x.parquet") == ["b"] * 3


def test_parquet_values_become_what_json_holds(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from datetime import datetime
    from decimal import Decimal

    import pyarrow.parquet as parquet

    row = {
        "instruction": "a", "output": 3, "when": datetime(2026, 1, 2), "price": Decimal("1.5"), "nan": float("nan"),
        "raw": b"x", "image": {"bytes": b"png", "path": None}, "nested": {"a": [1, None], "b": None},
    }  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "x.parquet")
    (read,) = data.read(tmp_path / "x.parquet")
    assert (read.output, read.images) == ("3", (data.Image(data=b"png"),))
    assert read.meta == {
        "when": "2026-01-02T00:00:00", "price": "1.5", "nan": None, "raw": "eA==", "nested": {"a": [1, None]},
    }  # fmt: skip
    data.write([read], tmp_path / "x.jsonl")
    assert list(data.read(tmp_path / "x.jsonl")) == [read]


def test_a_saved_dataset_is_read_without_the_datasets_library(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_list(ROWS)
    table.select([4, 0]).save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=table, test=table.select([1])).save_to_disk(tmp_path / "two")
    assert outputs(tmp_path / "one") == ['q"t', "owl"]
    assert outputs(Path(f"{tmp_path / 'two'}:test")) == ["käuzchen"]
    assert len(list(data.read(table))) == 5
    with pytest.raises(DataError, match="holds the splits test, train") as error:
        outputs(tmp_path / "two")
    assert error.value.fix.endswith("two:train")


BAD_LINES = {
    "not JSON": b'{"instruction": owl}',
    "row is cut short": b'{"instruction": "ow',
    "not UTF-8": '{"instruction": "é", "output": ""}'.encode("latin-1"),
    "not an object": b"[1, 2]",
    "missing column": b'{"instruction": "a"}',
    "not text": b'{"instruction": 1, "output": null}',
    "empty instruction": b'{"instruction": "", "output": "a"}',
}


@pytest.mark.parametrize("why", BAD_LINES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_bad_line_costs_itself_only(why: str, end: bytes, tmp_path: Path) -> None:
    good = LINES.encode().splitlines()
    path = save(tmp_path / "x.jsonl", end.join([*good[:2], BAD_LINES[why], b"", *good[2:]]))
    read, (failure,) = split(path)
    assert read == [row["output"] for row in ROWS]
    assert (failure.source, failure.row, failure.reason) == (str(path), 3, why)
    assert failure.value
    assert failure.fix


def test_a_failure_stands_in_its_place(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jsonl", LINES + "{]\n" + LINES)
    kinds = [type(row).__name__ for row in data.rows(path)]
    assert kinds == ["Example"] * 5 + ["Failure"] + ["Example"] * 5
    assert [row.origin[0].row for row in data.rows(path, limit=7) if isinstance(row, Example)] == [1, 2, 3, 4, 5, 7]


def test_without_on_failure_the_first_bad_row_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jsonl", LINES + "{]\n")
    with pytest.raises(DataError, match=r"x\.jsonl:6: not JSON") as error:
        outputs(path)
    assert "on_failure" in error.value.fix


def test_not_utf8_names_the_byte_and_the_remedy(tmp_path: Path) -> None:
    _, (failure,) = split(save(tmp_path / "x.jsonl", LINES.encode() + BAD_LINES["not UTF-8"]))
    assert failure.value.startswith("byte 18 of the row")
    assert failure.fix == "save the file as UTF-8"


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("why", ["not JSON", "not UTF-8", "not an object", "missing column"])
def test_a_bad_element_of_an_array_costs_itself_only(why: str, indent: int | None, tmp_path: Path) -> None:
    chats = [
        {"messages": [{"role": "user", "content": str(n)}, {"role": "assistant", "content": "y"}]} for n in range(9)
    ]
    good = [json.dumps(chat, indent=indent).encode() for chat in chats]
    path = save(tmp_path / "x.json", b"[" + b",\n  ".join([*good[:4], BAD_LINES[why], *good[4:]]) + b"]")
    read = list(data.rows(path))
    assert [row.instruction for row in read if isinstance(row, Example)] == [str(n) for n in range(9)]
    assert [(row.row, row.reason) for row in read if isinstance(row, Failure)] == [(5, why)]


def test_a_torn_array_is_read_up_to_the_tear(tmp_path: Path) -> None:
    text = json.dumps(ROWS)
    for end in range(text.index("}, {") + 1, len(text) - 1):
        read, failures = split(save(tmp_path / "x.json", text[:end]))
        assert read == [row["output"] for row in ROWS][: len(read)]
        assert [failure.reason for failure in failures] == ["row is cut short"]
        assert failures[0].row == len(read) + 1


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_torn_packed_file_is_read_up_to_the_tear(packing: str, tmp_path: Path) -> None:
    content = b"".join(b'{"instruction": "Say %d.", "output": "%d"}\n' % (n, n * n * 7919) for n in range(20_000))
    packed = {"gz": gzip.compress, "zst": zstd}[packing](content)
    read, failures = split(save(tmp_path / "x", packed[: len(packed) * 3 // 4]))
    assert len(read) > 5_000
    assert [failure.reason for failure in failures] == ["packed file is cut short"]
    with pytest.raises(DataError, match="packed file is cut short"):
        outputs(save(tmp_path / "y", packed[:12]))


def test_members_of_a_packed_file_are_joined(tmp_path: Path) -> None:
    first, second = LINES[:40].encode(), LINES[40:].encode()
    for pack in (gzip.compress, zstd):
        assert len(outputs(save(tmp_path / "x", pack(first) + pack(second)))) == 5


def test_a_row_over_the_limit_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = json.dumps({"instruction": "x" * 50_000_000, "output": ""})
    for name, text in [("x.jsonl", LINES + huge + "\n" + LINES), ("x.json", json.dumps(ROWS)[:-1] + f", {huge}]")]:
        path = save(tmp_path / name, text)
        tracemalloc.start()
        read, failures = split(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(read) == text.count("owl.") * 5
        assert [(failure.row, failure.reason) for failure in failures] == [(6, "row too long")]
        assert peak < 150_000_000


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_memory_stays_flat(name: str, tmp_path: Path) -> None:
    row = json.dumps({"instruction": "Say owl.", "output": "owl " * 50})
    path = save(tmp_path / name, "[" + ",".join([row] * 50_000) + "]" if name == "x.json" else f"{row}\n" * 50_000)
    tracemalloc.start()
    count = sum(1 for _ in data.read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 50_000
    assert peak < path.stat().st_size


def test_csv_faults(tmp_path: Path) -> None:
    rows = 'instruction,output\na,b\nc\nd,"e,\ne"\n\nf,g,h\ni,"' + "j" * 100
    read, failures = split(save(tmp_path / "x.csv", rows))
    assert read == ["b", "e,\ne", "j" * 100 + "\n"]
    assert [(failure.row, failure.reason) for failure in failures] == [
        (2, "wrong number of cells"),
        (4, "wrong number of cells"),
    ]
    read, failures = split(save(tmp_path / "x.csv", "instruction,output\na,é\nb,c\n".encode("latin-1")))
    assert (read, failures[0].reason, failures[0].value[:6]) == (["c"], "not UTF-8", "byte 3")
    with pytest.raises(DataError, match="'output' is there twice"):
        outputs(save(tmp_path / "x.csv", "instruction,output,output\na,b,c\n"))


def test_lone_surrogates_and_nan_can_be_written_later(tmp_path: Path) -> None:
    row = r'{"instruction": "a\ud800", "output": "\ud83d\ude00", "score": NaN, "\udc00": 1}'
    for name, text in [("x.jsonl", row), ("x.json", f"[{row}]")]:
        (read,) = data.read(save(tmp_path / name, text))
        assert (read.instruction, read.output, read.meta) == ("a\ufffd", "😀", {"score": None, "\ufffd": 1})
        data.write([read], tmp_path / "y.jsonl")
        assert list(data.read(tmp_path / "y.jsonl")) == [read]


def test_deep_nesting_costs_its_row_only(tmp_path: Path) -> None:
    deep = '{"instruction": "a", "output": "b", "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    array = "[" + ", ".join([*map(json.dumps, ROWS), deep, *map(json.dumps, ROWS)]) + "]"
    for name, text in [("x.jsonl", LINES + deep + "\n" + LINES), ("x.json", array)]:
        read, failures = split(save(tmp_path / name, text))
        assert len(read) == 10
        assert [failure.reason for failure in failures] == ["not JSON"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"[]", "holds no rows"),
        (b"\x89PNG\r\n\x1a\n...", "is a PNG image"),
        (b"PK\x03\x04...", "is a ZIP archive"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"abc\0\0\1\2", "is a binary file"),
        (b"PAR1 and then nothing", "is no whole Parquet"),
        (b"\xff\xff\xff\xff\1\2", "is no whole Parquet or Arrow"),
        (b"Dear reader, this is prose.\nIt has two lines.", "is neither JSON nor CSV"),
        (b"{'instruction': 'single quotes'}", "none of its first rows can be read"),
        (b'{"a": 1}', "no format fits its columns: a"),
        (b"\x1f\x8b\x08\x00", "packed file is cut short"),
        (b"\x1f\x8bxyzxyzxyz", "packed file is broken"),
    ],
)
def test_what_is_no_data_file_says_what_it_is(content: bytes, what: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=what) as error:
        outputs(save(tmp_path / "x", content))
    assert error.value.where == str(tmp_path / "x")
    assert error.value.fix


def test_a_name_that_is_not_there_is_answered_with_near_names(tmp_path: Path) -> None:
    save(tmp_path / "train.jsonl", LINES)
    for name in ("tain.jsonl", "train.json", "TRAIN.csv"):
        with pytest.raises(DataError, match=r"did you mean .*train\.jsonl"):
            outputs(tmp_path / name)
    with pytest.raises(DataError, match="is a folder") as error:
        outputs(tmp_path)
    assert "train.jsonl" in error.value.fix
    with pytest.raises(DataError, match="is an address"):
        list(data.read("https://example.org/x.json"))


def test_a_hub_name_without_the_datasets_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="'nobody/nothing' is no file here") as error:
        list(data.read("nobody/nothing"))
    assert error.value.fix == "pip install 'seqtune[hub]'"


def test_a_hub_name_that_is_not_answered_says_both(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def silent(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", silent)
    with pytest.raises(
        DataError, match="there is no such file, and the Hugging Face hub does not give it either: no network"
    ):
        list(data.read("nobody/nothing:train"))


def test_a_hub_dataset_is_read_as_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[tuple[Any, ...]] = []

    def load(*names: object, split: str | None, streaming: bool) -> Any:
        asked.append((*names, split, streaming))
        table = datasets.Dataset.from_list(ROWS).to_iterable_dataset()
        return table if split else datasets.IterableDatasetDict(train=table)

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", load)
    for name in ("a/b", "a/b:train", "a/b/main:train[:5]"):
        assert len(list(data.read(name))) == 5
    assert asked == [("a/b", None, None, True), ("a/b", None, "train", True), ("a/b", "main", "train[:5]", True)]


def test_limit_is_a_prefix_and_reads_no_further(tmp_path: Path) -> None:
    seen = 0

    def source() -> Iterator[dict[str, str]]:
        nonlocal seen
        for row in ROWS * 100:
            seen += 1
            yield row

    first = list(data.read(source(), limit=10))
    assert first == list(data.read(ROWS * 100, limit=30))[:10]
    assert seen == 20


def test_importing_the_readers_stays_light() -> None:
    heavy = "{'pyarrow', 'datasets', 'numpy', 'torch', 'aiohttp', 'pandas', 'zstandard'}"
    code = f"import sys, seqtune.data; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(data.__file__).parents[2])})


STARTS = [
    b"", b"{", b"[", b'{"data": [', b"PAR1", b"\xff\xff\xff\xff", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"{\0",
    b"instruction,output\n", b'{"instruction": "a", "output": "b"}\n', b'[{"instruction": "a", "output": "b"},',
]  # fmt: skip


@given(
    st.sampled_from(STARTS),
    st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0d8 \n1ea', max_size=60).map(str.encode),
)
@example(b'[{"instruction": "a", "output": "b"},', b'{"a": 1]}, {')
@settings(deadline=None, max_examples=400)
def test_no_bytes_raise_anything_but_our_errors(start: bytes, rest: bytes) -> None:
    path = Path(WORK, "bytes")
    path.write_bytes(start + rest)
    try:
        for row in data.rows(path):
            assert isinstance(row, Example | Failure)
    except SeqtuneError:
        pass


INNER = (
    "role content from value qas text input system history images image meta steps origin turns transform id path data"
)
COLUMNS = {column for columns, _ in data.formats().values() for column in columns}
KEYS = st.sampled_from([*sorted(COLUMNS), *INNER.split()])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["[]", "[{}]", '{"a": 1}']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | KEYS, inner, max_size=4),
    max_leaves=12,
)
json_rows = st.dictionaries(KEYS, json_values, max_size=6) | json_values


@given(st.lists(json_rows, max_size=4), st.sampled_from(["", "\n"]), st.sampled_from(["auto", *data.formats()]))
@settings(deadline=None, max_examples=400)
def test_no_json_raises_anything_but_our_errors(rows: list[Any], between: str, format: str) -> None:
    texts = [json.dumps(row) for row in rows]
    path = Path(WORK, "json")
    path.write_text(between.join(f"{text}\n" for text in texts) if between else "[" + ",".join(texts) + "]")
    for source in (path, rows):
        try:
            read = [row for row in data.rows(source, format=format) if isinstance(row, Example)]
            if read:
                data.write(read, Path(WORK, "again.jsonl"))
                assert [row.id for row in data.read(Path(WORK, "again.jsonl"))] == [row.id for row in read]
        except SeqtuneError:
            pass


@pytest.fixture(autouse=True, scope="module")
def _work(tmp_path_factory: pytest.TempPathFactory) -> None:
    global WORK
    WORK = tmp_path_factory.mktemp("reader")


WORK = Path()
