"""Formats: which columns hold what. A format is one decorated function from a row to the fields of an Example.

    @row_format("dolly", columns=("instruction", "context", "response"))
    def _dolly(row):
        '''Databricks' Dolly: instruction, context, response.'''
        return {
            "instruction": text(row, "instruction"),
            "input": text(row, "context", ""),
            "output": text(row, "response"),
        }

Columns that a format does not name go to the Example's `meta`. One row may give several Examples: yield their fields.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from seqtune.data.chat import conversation, described, json_value, message_list
from seqtune.data.example import Example, Image, prompt_text
from seqtune.data.failure import Fault
from seqtune.errors import RecipeError, did_you_mean

Row: TypeAlias = Mapping[str, Any]
Fields: TypeAlias = dict[str, Any]
# What a format's function gives: fields of an Example, an Example, or several of them; a Fault where one is wrong.
Made: TypeAlias = "Fields | Example | Iterable[Fields | Example | Fault]"

IMAGE_COLUMNS = ("images", "image")


class Format(msgspec.Struct, frozen=True):
    """How rows of one kind are read.

    Args:
        name: what `format=` calls it.
        columns: the columns that a row must have.
        optional: further columns it knows.
        summary: one line.
        convert: from a row to the fields of its Example.
        fits: what else must be true of a row, for the format to be recognised.
    """

    name: str
    columns: tuple[str, ...]
    optional: tuple[str, ...]
    summary: str
    convert: Callable[[Row], Made]
    fits: Callable[[Row], bool]

    @property
    def known(self) -> tuple[str, ...]:
        """All columns that it gives a place to."""
        return (*self.columns, *self.optional, *IMAGE_COLUMNS, "meta")


_formats: dict[str, Format] = {}


def row_format(
    name: str,
    *,
    columns: tuple[str, ...],
    optional: tuple[str, ...] = (),
    fits: Callable[[Row], bool] = lambda row: True,
) -> Callable[[Callable[[Row], Made]], Callable[[Row], Made]]:
    """Make the function below a format; the first line of its docstring is the summary.

    Where several formats fit a file, the one that was registered last is taken: so the more particular come later,
    and yours come before all of ours.
    """

    def register(convert: Callable[[Row], Made]) -> Callable[[Row], Made]:
        summary = (convert.__doc__ or "").strip().partition("\n")[0]
        _formats.pop(name, None)
        _formats[name] = Format(name, columns, optional, summary, convert, fits)
        return convert

    return register


def formats() -> dict[str, tuple[tuple[str, ...], str]]:
    """The formats that can be read: name -> (the columns a row must have, what it is in a line)."""
    return {known.name: (known.columns, known.summary) for known in _formats.values()}


def registered() -> list[Format]:
    """All formats, those to be tried first in front."""
    return [*reversed(_formats.values())]


def named_format(name: str) -> Format:
    """The format of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in _formats:
        fix = f"known are {', '.join(_formats)}; or give a function from a row to a dict of fields"
        raise RecipeError(f"there is no format {name!r}{did_you_mean(name, _formats)}", fix=fix)
    return _formats[name]


def text(row: Row, column: str, default: str | None = None) -> str:
    """The text in a column; a number as its text.

    Args:
        default: what an optional column holds where it is missing or null; None for a column that must be there.

    Raises:
        Fault: it is missing, or holds no text.
    """
    value = row.get(column)
    if type(value) is str:
        return value
    if value is None and default is not None:
        return default
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if column not in row:
        raise Fault("missing column", f"{column}; the row has {', '.join(row)}", "name the columns with --columns")
    raise Fault("not text", f"{column}: {described(value)}", 'write a text there ("" for none)')


def objects(row: Row, column: str) -> list[Row]:
    """The list of objects in a column (or in its JSON text).

    Raises:
        Fault: it is missing, or holds anything else.
    """
    if column not in row:
        raise Fault("missing column", f"{column}; the row has {', '.join(row)}", "name the columns with --columns")
    value = json_value(row[column])
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise Fault("not a list of objects", f"{column}: {described(value)}")
    return value


def row_images(row: Row) -> tuple[Image, ...]:
    """The images in a row's `images` and `image` columns: paths, data URLs, or {"path": ..., "bytes": ...}."""
    values = [json_value(row[name]) for name in IMAGE_COLUMNS if name in row]
    images = [image for value in values for image in (value if isinstance(value, list) else [value])]
    return tuple(_image(image) for image in images if image not in (None, ""))


_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")


def _image(value: Any) -> Image:
    if isinstance(value, str):
        match = _DATA_URL.match(value)
        return Image(data=_decoded(value[match.end() :])) if match else Image(path=value)
    if isinstance(value, Mapping) and value.keys() <= {"path", "bytes", "data"}:
        path, data = value.get("path") or "", value.get("bytes") or value.get("data") or b""
        data = _decoded(data) if isinstance(data, str) else data
        if isinstance(path, str) and isinstance(data, bytes):
            return Image(path, data)
    raise Fault("not an image", described(value), 'give a path, or map another column: columns={"images": ...}')


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Fault("not an image", data, "the bytes of an image are written in base64") from None


_ANSWERS = ("output", "response", "answer", "completion", "target", "label", "reply", "chosen", "rejected")


def _has_no_answer(row: Row) -> bool:
    return not any(answer in name.lower() for name in row for answer in _ANSWERS)


@row_format("prompts", columns=("instruction",), optional=("input", "system"), fits=_has_no_answer)
def _prompts(row: Row) -> Fields:
    """Instructions without answers, for a teacher to answer."""
    return {
        "instruction": text(row, "instruction"),
        "input": text(row, "input", ""),
        "system": text(row, "system", ""),
    }


@row_format("alpaca", columns=("instruction", "output"), optional=("input", "system", "history"))
def _alpaca(row: Row) -> Fields:
    """Alpaca: instruction, input, output; also system and history, as LLaMA-Factory writes them."""
    fields = {
        "instruction": text(row, "instruction"),
        "input": text(row, "input", ""),
        "output": text(row, "output"),
    }
    if system := text(row, "system", ""):
        fields["system"] = system
    history = json_value(row.get("history"))
    return _continued(fields, history) if history else fields


def _continued(fields: Fields, history: Any) -> Fields:
    """The row as the end of a chat that began with `history`, a list of [asked, answered]."""
    if not fields["instruction"].strip():
        return fields
    messages: list[Fields] = []
    for pair in message_list(history):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(said, str) for said in pair)):
            raise Fault("history is not pairs", described(pair), 'write [["asked", "answered"], ...]')
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    messages.append({"role": "user", "content": prompt_text(Example(fields["instruction"], fields["input"]))})
    if fields["output"]:
        messages.append({"role": "assistant", "content": fields["output"]})
    return conversation(messages, fields.get("system", ""))


@row_format("prompt_completion", columns=("prompt", "completion"))
def _prompt_completion(row: Row) -> Fields:
    """TRL's prompt and completion, as texts or as lists of messages."""
    prompt, completion = row.get("prompt"), row.get("completion")
    if not isinstance(prompt, list) and not isinstance(completion, list):
        return {"instruction": text(row, "prompt"), "output": text(row, "completion")}
    if not isinstance(prompt, list):
        prompt = [{"role": "user", "content": text(row, "prompt")}]
    if not isinstance(completion, list):
        completion = [{"role": "assistant", "content": text(row, "completion")}]
    return conversation([*prompt, *completion])


@row_format("dolly", columns=("instruction", "context", "response"))
def _dolly(row: Row) -> Fields:
    """Dolly: instruction, context, response."""
    return {
        "instruction": text(row, "instruction"),
        "input": text(row, "context", ""),
        "output": text(row, "response"),
    }


@row_format("openorca", columns=("system_prompt", "question", "response"))
def _openorca(row: Row) -> Fields:
    """OpenOrca and FlanCoT: system_prompt, question, response."""
    return {
        "instruction": text(row, "question"),
        "system": text(row, "system_prompt", ""),
        "output": text(row, "response"),
    }


@row_format("self_instruct", columns=("instruction", "instances"))
def _self_instruct(row: Row) -> Iterator[Fields]:
    """Self-Instruct's seed tasks: an instruction with instances, a row for each."""
    instances = objects(row, "instances")
    if not instances:
        raise Fault("no instances", text(row, "instruction"), "a task needs at least one instance")
    for instance in instances:
        yield {
            "instruction": text(row, "instruction"),
            "input": text(instance, "input", ""),
            "output": text(instance, "output"),
        }


_SQUAD_INSTRUCTION = "Answer the question with words from the context."


@row_format("squad_rows", columns=("context", "question", "answers"))
def _squad_rows(row: Row) -> Fields:
    """SQuAD as flat rows: context, question, answers."""
    answers = json_value(row["answers"]) if "answers" in row else None
    texts = answers.get("text") if isinstance(answers, Mapping) else answers
    return _squad_fields(text(row, "context"), text(row, "question"), texts)


@row_format("squad", columns=("paragraphs",))
def _squad(row: Row) -> Iterator[Fields | Fault]:
    """SQuAD and XQuAD articles: paragraphs with a context and questions, a row for each question."""
    for paragraph in objects(row, "paragraphs"):
        for question in objects(paragraph, "qas"):
            answers = [answer.get("text") for answer in objects(question, "answers")]
            try:
                fields = _squad_fields(text(paragraph, "context"), text(question, "question"), answers)
            except Fault as fault:
                yield fault
            else:
                yield {**fields, "meta": {"id": question["id"]} if "id" in question else {}}


def _squad_fields(context: str, question: str, answers: Any) -> Fields:
    if not isinstance(answers, list) or not answers or not isinstance(answers[0], str):
        raise Fault("no answer", question, "questions without an answer cannot be used")
    return {
        "instruction": _SQUAD_INSTRUCTION,
        "input": f"Context: {context}\nQuestion: {question}",
        "output": answers[0],
    }


def _lists(column: str) -> Callable[[Row], bool]:
    return lambda row: isinstance(json_value(row[column]), list)


@row_format("sharegpt", columns=("conversations",), optional=("system",), fits=_lists("conversations"))
def _sharegpt(row: Row) -> Fields:
    """ShareGPT: conversations of from and value."""
    return conversation(_column(row, "conversations"), text(row, "system", ""))


@row_format("chat", columns=("messages",), optional=("system",), fits=_lists("messages"))
def _chat(row: Row) -> Fields:
    """OpenAI's chat: messages of role and content."""
    return conversation(_column(row, "messages"), text(row, "system", ""))


def _column(row: Row, column: str) -> Any:
    if column not in row:
        raise Fault("missing column", f"{column}; the row has {', '.join(row)}", "name the columns with --columns")
    return row[column]


# Columns that Parquet holds as JSON text.
JSON_COLUMNS = ("turns", "steps", "origin", "meta")


def _is_own(row: Row) -> bool:
    origin, steps = json_value(row["origin"]) if "origin" in row else None, json_value(row.get("steps"))
    lineage = isinstance(origin, list) and all(isinstance(line, Mapping) and "transform" in line for line in origin)
    return lineage or (isinstance(steps, list) and all(isinstance(step, Mapping) and "text" in step for step in steps))


@row_format("seqtune", columns=("instruction",), optional=Example.__struct_fields__, fits=_is_own)
def _seqtune(row: Row) -> Example:
    """seqtune's own rows, with steps, lineage, turns and images."""
    fields = {name: row[name] for name in Example.__struct_fields__ if row.get(name) is not None and name != "id"}
    for name in JSON_COLUMNS:
        if name in fields:
            fields[name] = json_value(fields[name])
    if "images" in fields:
        fields["images"] = row_images(row)
    if further := {name: value for name, value in row.items() if name not in Example.__struct_fields__}:
        # What somebody added to our rows; their meta, where a name is in both.
        fields["meta"] = {**further, **_mapping(fields.get("meta", {}))}
    try:
        return msgspec.convert(fields, Example)
    except msgspec.ValidationError as error:
        raise Fault("not a seqtune row", str(error), "take the row out, or make it again") from None


def _mapping(value: Any) -> Row:
    return value if isinstance(value, Mapping) else {"meta": value}
