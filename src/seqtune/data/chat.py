"""Chat messages as turns, without loss: OpenAI's `role` and `content`, ShareGPT's `from` and `value`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from seqtune.data.example import Turn
from seqtune.data.failure import Fault
from seqtune.data.plain import plain
from seqtune.errors import shorten

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
# What ShareGPT files call the roles; LLaMA-Factory's "function_call" is said by the model, "observation" by a tool.
_SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
}


def conversation(messages: Any, system: str = "") -> dict[str, Any]:
    """The fields of an Example that holds these messages.

    Args:
        messages: a list of messages, or its JSON text.
        system: the row's system column; without one, a plain first system message becomes the row's `system`.
    """
    turns = [_turn(message) for message in message_list(messages)]
    if not turns:
        raise Fault("empty chat", messages, "take the row out")
    if not system and _is_plain(turns[0]) and turns[0].role == "system":
        system = str(turns.pop(0).content)
    asked = [text for turn in turns if turn.role == "user" and (text := turn_text(turn)).strip()]
    if not asked:
        raise Fault("no user message", messages, "a chat needs a message of the user that holds text")
    answers = [text for turn in turns if turn.role == "assistant" and (text := turn_text(turn))]
    fields = {"instruction": asked[0], "output": answers[-1] if answers else "", "system": system}
    return fields if is_one_exchange(turns) else {**fields, "turns": tuple(turns)}


def is_one_exchange(turns: Sequence[Turn]) -> bool:
    """Whether instruction and output say all that the turns say."""
    return [turn.role for turn in turns] in (["user"], ["user", "assistant"]) and all(map(_is_plain, turns))


def _is_plain(turn: Turn) -> bool:
    return isinstance(turn.content, str) and bool(turn.content) and not turn.extra


def message_list(value: Any) -> list[Any]:
    """The list, where it is one or the JSON text of one (as in CSV files)."""
    found = json_value(value)
    if not isinstance(found, list):
        raise Fault("not a list of messages", value, 'write [{"role": "user", "content": "..."}, ...]')
    return found


def json_value(value: Any) -> Any:
    """What a JSON text of a list or an object holds; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        pass
    try:
        return plain(json.loads(value))  # lone surrogates, NaN
    except (ValueError, RecursionError):
        return value


def _turn(message: Any) -> Turn:
    if not isinstance(message, Mapping):
        raise Fault("not a message", message, 'write {"role": "user", "content": "..."}')
    spoken = "role" not in message and "from" in message
    who, what = ("from", "value") if spoken else ("role", "content")
    given = message.get(who)
    role = _SPEAKERS.get(given, given) if isinstance(given, str) else given
    if role not in ROLES:
        raise Fault("unknown role", given, f"known are {', '.join(ROLES)}; human, gpt, function_call, observation")
    content = message.get(what)
    if not (content is None or isinstance(content, str | list)):
        raise Fault("message is not text", content, "the content is a text, or a list of parts")
    extra = {name: value for name, value in message.items() if name not in (who, what)}
    if given in ("function_call", "function_response"):
        extra["from"] = given
    return Turn(role, content, extra)


def turn_text(turn: Turn) -> str:
    """What a turn says: its text, or its text parts."""
    if isinstance(turn.content, str):
        return turn.content
    parts = [part.get("text") for part in turn.content or () if isinstance(part, Mapping)]
    return "\n".join(part for part in parts if isinstance(part, str))


def described(value: Any) -> str:
    """A value with its kind, for a Fault: `null`, `list [1, 2]`."""
    return "null" if value is None else f"{type(value).__name__} {shorten(value, 60)}"
