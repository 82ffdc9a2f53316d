"""Values as JSON can hold them, whatever a file or a library gave: what is written later never fails on them."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any


def plain(value: Any, *, padding: bool = False) -> Any:
    """The value as JSON holds it.

    Lone surrogates become U+FFFD, as Unicode says; NaN and infinity become None; dates, decimals and arrays become text
    and lists. An image ({"bytes": ..., "path": ...}) keeps its bytes.

    Args:
        value: anything; what has no JSON form is left as it is.
        padding: whether None in a nested object only fills a place, as Arrow does to make all objects alike.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        if isinstance(value.get("bytes"), bytes) and value.keys() <= {"bytes", "path"}:
            return dict(value)
        nested = ((plain_text(str(key)), plain(item, padding=padding)) for key, item in value.items())
        return {key: item for key, item in nested if not (padding and item is None)}
    if isinstance(value, list | tuple):
        return [plain(item, padding=padding) for item in value]
    return _other(value, padding=padding)


def _other(value: Any, *, padding: bool) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy, without importing it
        return plain(value.tolist(), padding=padding)
    return str(value) if type(value).__module__ in ("decimal", "uuid", "datetime") else value


def plain_text(text: str) -> str:
    """The text with two halves of a surrogate pair joined, and U+FFFD for a half that stands alone."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
