"""Writing: Examples to a file, in one piece or not at all."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from seqtune.data.example import Example, Image, messages
from seqtune.data.failure import Fault
from seqtune.data.folder import replacing
from seqtune.data.format import JSON_COLUMNS, Fields, registered
from seqtune.data.plain import plain
from seqtune.errors import DataError, RecipeError, did_you_mean

BATCH_ROWS = 1000


class Written(NamedTuple):
    """What was written.

    Args:
        path: the file.
        format: "seqtune", "alpaca", "chat" or "prompt_completion".
        rows: how many.
        left_out: what the format has no place for -> in how many rows it was there ("steps", "origin").
    """

    path: Path
    format: str
    rows: int
    left_out: dict[str, int]


def write(examples: Iterable[Example], path: str | os.PathLike[str], *, format: str = "auto") -> Written:
    """Write Examples as they come; the file is there only when all of it is.

    Args:
        examples: the rows.
        path: its suffix says how: .jsonl, .json, .parquet; with .gz or .zst after the first two.
        format: "seqtune" (everything, read back equal), or what trainers read: "alpaca", "chat",
            "prompt_completion" (TRL's, as messages). "auto" takes it from the name ("train.chat.jsonl"), or "seqtune".

    Raises:
        DataError: a row holds text, turns or images that the format has no place for; nothing is written.
        RecipeError: an unknown format or suffix.
        RunFolderError: the place cannot be written.
    """
    path = Path(path)
    kind, packing = _kind(path)
    name = _format_name(path, format)
    left_out: dict[str, int] = {}
    rows = _rows(examples, name, kind, left_out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        if kind == ".parquet":
            count = _write_parquet(rows, file, name, path)
        else:
            with _packed(file, packing) as packed:
                count = _write_json(rows, packed, path, is_array=kind == ".json")
    return Written(path, name, count, left_out)


def _kind(path: Path) -> tuple[str, str]:
    packing = path.suffix if path.suffix in (".gz", ".zst") else ""
    kind = Path(path.stem).suffix if packing else path.suffix
    kind = ".jsonl" if kind == ".ndjson" else kind
    if kind == ".parquet" and packing:
        raise RecipeError("Parquet is packed by itself", where=str(path), fix=f"leave {packing} off the name")
    if kind not in (".jsonl", ".json", ".parquet"):
        fix = "end it with .jsonl, .json or .parquet; .gz or .zst may follow the first two"
        raise RecipeError(f"cannot tell from the suffix {kind!r} how to write", where=str(path), fix=fix)
    return kind, packing


def _format_name(path: Path, format: str) -> str:
    if format == "auto":
        return next((part for part in path.name.split(".")[1:] if part in _CONVERTERS), "seqtune")
    if format not in _CONVERTERS:
        fix = f"can be written: {', '.join(_CONVERTERS)}"
        raise RecipeError(f"cannot write the format {format!r}{did_you_mean(format, _CONVERTERS)}", fix=fix)
    return format


@contextmanager
def _packed(file: IO[bytes], packing: str) -> Iterator[Any]:
    if packing == ".gz":
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
            yield packed
    elif packing == ".zst":
        import zstandard

        with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packed:
            yield packed
    else:
        yield file


# From an Example to a row, for JSON or (flat is False) for Parquet, whose columns must be the same in all rows.
Converter = Callable[[Example, bool], "Fields | Example"]


def _rows(examples: Iterable[Example], name: str, kind: str, left_out: dict[str, int]) -> Iterator[Any]:
    convert, flat = _CONVERTERS[name], kind != ".parquet"
    for example in examples:
        yield _converted(convert, example, flat)
        if name != "seqtune":
            for what in ("steps", "origin"):
                if getattr(example, what):
                    left_out[what] = left_out.get(what, 0) + 1


def _converted(convert: Converter, example: Example, flat: bool) -> Fields | Example | Fault:
    try:
        return convert(example, flat)
    except Fault as fault:
        return fault  # its place is added where rows are counted
    except _UNENCODABLE as error:
        return _unwritable(error)


def _seqtune_row(example: Example, flat: bool) -> Fields | Example:
    if flat and example.origin:
        return example
    row: Fields = msgspec.structs.asdict(example)
    if flat:  # an empty "origin" is what tells that the row is ours
        return row
    row["images"] = _image_structs(example)
    return {**row, **{name: _json_text(row[name]) for name in JSON_COLUMNS}}


def _json_text(value: object) -> str:
    return _encoded(value).decode()


def _alpaca_row(example: Example, flat: bool) -> Fields:
    if example.turns:
        raise Fault("Alpaca has no place for chat turns", example.instruction, 'write with format="chat"')
    row: Fields = {"instruction": example.instruction, "input": example.input, "output": example.output}
    if example.system or not flat:
        row["system"] = example.system
    return _with_rest(row, example, flat)


def _chat_row(example: Example, flat: bool) -> Fields:
    return _with_rest({"messages": _messages(example, flat)}, example, flat)


def _prompt_completion_row(example: Example, flat: bool) -> Fields:
    *prompt, answer = _messages(example, flat)
    if not prompt or answer["role"] != "assistant":
        fix = 'leave rows without an answer out, or write with format="chat"'
        raise Fault("prompt_completion has no place for a row that ends without an answer", example.instruction, fix)
    return _with_rest({"prompt": prompt, "completion": [answer]}, example, flat)


_CONVERTERS: dict[str, Converter] = {
    "seqtune": _seqtune_row,
    "alpaca": _alpaca_row,
    "chat": _chat_row,
    "prompt_completion": _prompt_completion_row,
}


def _messages(example: Example, flat: bool) -> list[dict[str, Any]]:
    chat = messages(example)
    if not flat and not all(message.keys() == {"role", "content"} and _is_text(message["content"]) for message in chat):
        what = "Parquet has no place for messages with parts, tool calls or further fields"
        raise Fault(what, example.instruction, "write .jsonl; or seqtune's own format, which holds all")
    return chat


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _with_rest(row: Fields, example: Example, flat: bool) -> Fields:
    """The row with its images, and its meta: as columns of their own in JSON, as JSON text in Parquet."""
    if not flat:
        return {**row, "images": _image_structs(example), "meta": _json_text(example.meta)}
    if example.images:
        row["images"] = [_image_path(image) for image in example.images]
    if example.meta:
        # A column that has a meaning in some format would be read as that: it goes into an object.
        taken = {"meta", *chain.from_iterable(format.known for format in registered())} & example.meta.keys()
        row.update((name, value) for name, value in example.meta.items() if name not in taken)
        if taken:
            row["meta"] = {name: example.meta[name] for name in example.meta if name in taken}
    return row


def _image_structs(example: Example) -> list[Fields]:
    return [{"bytes": image.data, "path": image.path} for image in example.images]  # as the datasets library has them


def _image_path(image: Image) -> str:
    if image.data or not image.path:
        raise Fault("this format holds images by their path", image.path, "write .parquet, or seqtune's own format")
    return image.path


def _placed(rows: Iterable[Any], path: Path) -> Iterator[tuple[int, Any]]:
    for number, row in enumerate(rows, 1):
        if isinstance(row, Fault):
            raise _placed_error(row, number, path)
        yield number, row


def _placed_error(fault: Fault, number: int, path: Path) -> DataError:
    return DataError(f"row {number}: {fault.reason}: {fault.value}", where=str(path), fix=fault.fix)


_encoder = msgspec.json.Encoder()


def _encoded(row: object) -> bytes:
    try:
        return _encoder.encode(row)
    except UnicodeEncodeError:  # half a surrogate pair, which an LLM's reply may hold: a paid row must not be lost
        return _encoder.encode(plain(msgspec.to_builtins(row)))


def _write_json(rows: Iterable[Any], file: Any, path: Path, *, is_array: bool) -> int:
    start, between, end = (b"[\n", b",\n", b"\n]\n") if is_array else (b"", b"\n", b"\n")
    count = 0
    for count, row in _placed(rows, path):
        try:
            text = _encoded(row)
        except _UNENCODABLE as error:
            raise _placed_error(_unwritable(error), count, path) from None
        file.write((start if count == 1 else between) + text)
    file.write(end if count else start + end.lstrip() if is_array else b"")
    return count


_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)


def _unwritable(error: Exception) -> Fault:
    return Fault("cannot be written", str(error), "keep to what JSON can hold in `meta`")


def _write_parquet(rows: Iterable[Any], file: IO[bytes], name: str, path: Path) -> int:
    from pyarrow import parquet

    placed = (row for _, row in _placed(rows, path))
    batch = list(islice(placed, BATCH_ROWS))
    # Trainers take a table with a column of images for a vision task, so a text's table must not have one.
    with_images = name == "seqtune" or any(row["images"] for row in batch)
    schema = _schema(name, with_images)
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch:
            if not with_images and any(row["images"] for row in batch):
                what = f"the first images come after row {count}, when the columns were already written"
                raise DataError(what, where=str(path), fix="put a row with images first, or write them to another file")
            writer.write_table(_table(batch, schema, path, count))
            count += len(batch)
            batch = list(islice(placed, BATCH_ROWS))
    return count


def _table(batch: list[Fields], schema: Any, path: Path, before: int) -> Any:
    import pyarrow

    try:
        return pyarrow.Table.from_pylist(batch, schema)
    except UnicodeEncodeError:
        return pyarrow.Table.from_pylist([plain(row) for row in batch], schema)
    except (pyarrow.ArrowException, TypeError) as error:
        what = f"rows {before + 1} to {before + len(batch)} cannot be written: {error}"
        raise DataError(what, where=str(path)) from None


def _schema(name: str, with_images: bool) -> Any:
    import pyarrow

    text = pyarrow.string()
    chat = pyarrow.list_(pyarrow.struct([("role", text), ("content", text)]))
    images = pyarrow.list_(pyarrow.struct([("bytes", pyarrow.binary()), ("path", text)]))
    columns = {
        "seqtune": dict.fromkeys(Example.__struct_fields__, text),
        "alpaca": dict.fromkeys(("instruction", "input", "output", "system"), text),
        "chat": {"messages": chat},
        "prompt_completion": {"prompt": chat, "completion": chat},
    }[name]
    rest = {"images": images, "meta": text} if with_images else {"meta": text}
    return pyarrow.schema(list({**columns, **rest}.items()))
