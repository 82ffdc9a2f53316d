"""JSON as models write it: in prose, with trailing commas, unescaped quotes, curly quotes, line breaks in strings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

_TRIES = 64  # objects that do not parse, before the search is given up
_DEPTH = 24  # levels
_JSON = json.JSONDecoder(strict=False)  # line breaks inside strings are welcome
_STRUCTURE = r"[}\]:]|,\s*(?:[\"'“{\[}\]]|-?\d|(?:true|false|null|none)\b|\w{1,40}\s?:)|$"
_STRING_END = {
    mark: re.compile(rf"(?<!\\)(?:\\\\)*[{closers}](?=\s*(?:{_STRUCTURE}))", re.I)
    for mark, closers in {'"': '"”', "“": '"”', "'": "'’", "‘": "'’"}.items()
}
_BARE = re.compile(r"[^\s,:\[\]{}\"“”]{1,80}")
_HALF = re.compile(r"[\ud800-\udfff]")
_SPACE = re.compile(r"\s*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.S)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORD_VALUES: dict[str, object] = {"true": True, "false": False, "null": None, "none": None}


class _NotAValue(Exception):
    """What stands here is no JSON, not even as models write it."""


def values(text: str, start: re.Pattern[str]) -> Iterator[Any]:
    """Every value that begins where the pattern says, in order; no value inside of another."""
    at = tries = 0
    while tries < _TRIES and (found := start.search(text, at)):
        try:
            value, at = _parse(text, found.start())
        except _NotAValue:
            tries, at = tries + 1, found.start() + 1
        else:
            yield _whole(value)


def _whole(value: Any) -> Any:
    """The value with escaped surrogate pairs joined; half of one, which nothing could encode, becomes U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _HALF.search(value) else value
    if isinstance(value, dict):
        return {_whole(key): _whole(entry) for key, entry in value.items()}
    return [_whole(entry) for entry in value] if isinstance(value, list) else value


def _parse(text: str, at: int) -> tuple[Any, int]:
    try:
        return _JSON.raw_decode(text, at)
    except (ValueError, RecursionError):
        return _value(text, at, _DEPTH)


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    at = _skip(text, at)
    first = text[at : at + 1]
    if not first or not depth:
        raise _NotAValue
    if first == "{":
        return _object(text, at + 1, depth)
    if first == "[":
        return _array(text, at + 1, depth)
    if first in _STRING_END:
        return _string(text, at)
    if not (bare := _BARE.match(text, at)):
        raise _NotAValue
    word = bare[0]
    number = re.fullmatch(r"-?\d{1,15}", word)
    return int(word) if number else _WORD_VALUES.get(word.lower(), word), bare.end()


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    entries: dict[str, Any] = {}
    while True:
        at = _skip(text, at, ",")
        if text[at : at + 1] == "}":
            return entries, at + 1
        key, at = _value(text, at, 1)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise _NotAValue
        entries[str(key)], at = _value(text, at + 1, depth - 1)


def _array(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    entries: list[Any] = []
    while True:
        at = _skip(text, at, ",")
        if text[at : at + 1] == "]":
            return entries, at + 1
        entry, at = _value(text, at, depth - 1)
        entries.append(entry)


def _string(text: str, at: int) -> tuple[str, int]:
    # A quotation mark ends the string only where JSON could go on: models forget to escape those inside.
    end = _STRING_END[text[at]].search(text, at + 1)
    if not end:
        raise _NotAValue
    return _ESCAPE.sub(_unescaped, text[at + 1 : end.end() - 1]), end.end()


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _ESCAPED.get(found[2], found[2])


def _skip(text: str, at: int, also: str = "") -> int:
    while True:
        at = cast("re.Match[str]", _SPACE.match(text, at)).end()
        if not also or text[at : at + 1] != also:
            return at
        at += 1
