"""One question to a judge: texts that cannot pose as orders or as verdicts, and replies asked for until they read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec
import xxhash

from seqtune.building.loose_json import values
from seqtune.building.parsing import after_thinking
from seqtune.building.prompting import find_prompt, render
from seqtune.errors import TeacherError, shorten
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.request import Message, Request, json_schema, user

PROMPTS = "seqtune.evaluation.judging.prompts"
TRIES = 3  # the question, and two more with the reason why the reply could not be used

Read = TypeVar("Read")
_BOUND = re.compile(r"\{\s*[\"'“‘]?(?:code|steps|tasks)[\"'”’]?\s*:", re.I)
_HALF = re.compile(r"[\ud800-\udfff]")


class Judge(Protocol):
    """Whoever can be asked: a `Teacher` of seqtune.llm, or a host's own grader behind the same two names."""

    @property
    def model(self) -> str:
        """Its name."""

    async def __call__(self, request: Request, /) -> Reply | Failed:
        """Its reply, or why there is none."""


class NotRead(msgspec.Struct, frozen=True):
    """Why nothing can be taken from a reply, or from all of them."""

    reason: str


async def ask_until_read(
    ask: Judge,
    prompt: str,
    read: Callable[[str], Read | NotRead],
    *,
    max_tokens: int,
    schema: dict[str, Any] | None = None,
) -> Read | NotRead:
    """What the judge's reply says; where it cannot be read, the judge is told why and asked again, twice.

    Args:
        ask: the judge.
        prompt: the whole question.
        read: what takes the verdict from a reply.
        max_tokens: of one reply.
        schema: binds the reply to JSON, where the server can.

    Raises:
        TeacherError: this judge can never answer: a wrong key, no such model, nobody at the address.
    """
    messages: tuple[Message, ...] = (user(prompt),)
    found: Read | NotRead = NotRead("nobody was asked")
    for attempt in range(TRIES):
        outcome = await ask(
            Request(
                model=ask.model,
                messages=messages,
                temperature=0.0,
                max_tokens=max_tokens,
                response_format=json_schema(schema, "verdict") if schema else None,
                attempt=attempt,  # the same reply to the same complaint must not come from the store
            )
        )
        if isinstance(outcome, Failed):
            return _failed(ask, outcome)
        found = read(outcome.text)
        if not isinstance(found, NotRead):
            return found
        # Told, and not only asked again: at temperature 0 the same question gets the same reply.
        again = user(render("refused", reason=found.reason))
        messages = (user(prompt), Message("assistant", sendable(outcome.text)), again)
    return found


def _failed(ask: Judge, outcome: Failed) -> NotRead:
    if outcome.stops:
        raise TeacherError(
            f"the judge {ask.model} cannot be asked: {outcome.reason}: {outcome.detail}",
            fix=f"{outcome.fix or 'see what the server says'}; every reply is kept",
        )
    why = f" ({shorten(outcome.detail, 100)})" if outcome.detail else ""
    return NotRead(f"the judge gave no reply: {outcome.reason}{why}")


def sendable(text: str) -> str:
    """The text with halves of surrogate pairs, which cannot be sent, as U+FFFD."""
    return _HALF.sub("\ufffd", text)


def fence(*texts: str) -> str:
    """A line to put above and below texts that none of them holds.

    It is a hash of what stands within: the same question again is the same, so that its reply is found in the store,
    and who writes an answer cannot know it.
    """
    return f"----- {_nonce('fence', *texts)} -----"


def code(*texts: str) -> str:
    """A word that a verdict must bear where one of the texts could itself be read as a verdict; in none of them."""
    return _nonce("code", *texts)


def _nonce(use: str, *texts: str) -> str:
    number = 0
    while True:
        found = xxhash.xxh3_64_hexdigest("\x1e".join([use, str(number), *texts]).encode("utf-8", "surrogatepass"))[:12]
        if not any(found in text for text in texts):
            return found
        number += 1


def code_for_json(*texts: str) -> str:
    """The code that a reply in JSON must bear, "" where no text holds what could be taken for an object."""
    return code(*texts) if any("{" in text and ":" in text for text in texts) else ""


def with_code(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object, with the code as its first key."""
    properties = {"code": {"type": "string"}, **schema["properties"]}
    return {**schema, "properties": properties, "required": ["code", *schema["required"]]}


def own_json(reply: str, bound: str) -> str:
    """The part of a reply in JSON that is the judge's own: all of it, or the last object that bears the code.

    Args:
        reply: the whole reply.
        bound: the code, "" for none.
    """
    if not bound:
        return reply
    objects = [value for value in values(after_thinking(reply), _BOUND) if _bears(value, bound)]
    return json.dumps(objects[-1], ensure_ascii=False) if objects else ""


def _bears(value: object, bound: str) -> bool:
    return isinstance(value, dict) and str(value.get("code")).strip() == bound


def titles(*names: str) -> str:
    """Names and versions of prompts, for the judge's identity: "checklist 1, quality 1"."""
    return ", ".join(find_prompt(name, PROMPTS).title for name in names)
