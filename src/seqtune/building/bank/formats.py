"""Operations that give a text another form: again, in quotation marks, as JSON, as a name for a file or a variable."""

from __future__ import annotations

import json

from seqtune.building.bank.lines import listed_items_in, unmarked_lines_in
from seqtune.building.bank.parts import (
    Parts,
    holds_any,
    on,
    plain_words_in,
    remembered,
    short_line_in,
    short_prose_in,
    text_in,
)
from seqtune.building.gold import Skip, operation, same_json


@remembered
def _ascii_words_in(text: str) -> Parts | Skip:
    """Words of a to z and digits without marks between them: what a file or a variable may be called."""
    words = plain_words_in(text.strip().rstrip(".!?"))
    if isinstance(words, Skip):
        return words
    return words if all(w.isascii() and w.isalnum() for w in words) else Skip("a name that is debatable")


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


@operation(
    "repeat {it}",
    "copy {it} word for word",
    "write {it} out once more",
    "restate {it} exactly as it is",
    label="Repeated",
)
def repeat(text: str) -> str | Skip:
    """Repeats the text as it is."""
    return text_in(text)


@operation(
    "put {it} in double quotation marks",
    "write {it} between double quotation marks",
    "enclose {it} in double quotation marks",
    label="In quotation marks",
)
@on(short_line_in)
def quote(text: str) -> str | Skip:
    """Puts the text in double quotation marks."""
    return Skip("quotation marks in it already") if holds_any(text, '"“”«»„') else f'"{text}"'


@operation(
    "put {it} in square brackets",
    "write {it} between square brackets",
    "enclose {it} in square brackets",
    label="In brackets",
)
@on(short_line_in)
def bracket(text: str) -> str | Skip:
    """Puts the text in square brackets."""
    return Skip("brackets in it already") if "[" in text or "]" in text else f"[{text}]"


# --- JSON


@operation(
    "write the words of {it} as a JSON list of strings",
    "turn {it} into a JSON array that has each of its words as a string",
    "give the words of {it} as strings in a JSON array",
    label="JSON words",
    same=same_json,
)
@on(plain_words_in, least=2, most=30)
def words_to_json(words: Parts) -> str:
    """Writes the words as a JSON list of strings."""
    return _as_json(words)


@operation(
    "write the lines of {it} as a JSON list of strings",
    "turn {it} into a JSON array that has each of its lines as a string",
    "give the lines of {it} as strings in a JSON array",
    label="JSON lines",
    same=same_json,
)
@on(unmarked_lines_in, least=2)
def lines_to_json(lines: Parts) -> str:
    """Writes the lines as a JSON list of strings."""
    return _as_json(lines)


@operation(
    "write the items of the list in {it} as a JSON list of strings",
    "turn the comma-separated list in {it} into a JSON array of strings",
    "give the items of the list in {it} as strings in a JSON array",
    label="JSON items",
    same=same_json,
)
@on(listed_items_in, least=3)
def items_to_json(items: Parts) -> str:
    """Writes the items of a list with commas as a JSON list of strings."""
    return _as_json(items)


@operation(
    'write {it} as the value of the key "text" in a JSON object',
    'make a JSON object with {it} as the string under the key "text"',
    'put {it} into a JSON object under the key "text"',
    label="JSON object",
    same=same_json,
)
@on(short_prose_in)
def text_to_json(text: str) -> str:
    """Writes the text as a JSON object: {"text": "..."}."""
    return _as_json({"text": text})


# --- names


@operation(
    "write {it} as a slug with its words in lower case joined by hyphens",
    "turn {it} into a URL slug of lower-case words with hyphens between them",
    "join the words of {it} in lower case with hyphens and without punctuation",
    label="Slug",
)
@on(_ascii_words_in, least=2, most=8)
def slug(words: Parts) -> str:
    """Writes the words as a slug: lower-case-with-hyphens."""
    return "-".join(words).lower()


@operation(
    "write {it} in snake_case",
    "turn {it} into a snake_case name",
    "join the words of {it} in lower case with underscores and without punctuation",
    label="Snake case",
)
@on(_ascii_words_in, least=2, most=8)
def snake_case(words: Parts) -> str:
    """Writes the words in snake_case."""
    return "_".join(words).lower()


@operation(
    "write {it} in camelCase",
    "turn {it} into a camelCase name",
    "join the words of {it} as in camelCase without punctuation",
    label="Camel case",
)
@on(_ascii_words_in, least=2, most=6)
def camel_case(words: Parts) -> str | Skip:
    """Writes the words in camelCase."""
    if not all(word.isalpha() and word[1:].islower() for word in words):
        return Skip("a name that is debatable")
    return words[0].lower() + "".join(map(str.capitalize, words[1:]))
