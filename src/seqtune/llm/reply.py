"""One answer of a model, or the reason why there is none. A failure is data: it is returned, not raised."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from seqtune.errors import shorten

Reason = Literal[
    "connection", "timeout", "rate_limited", "server_error", "cut", "not_json", "wrong_json", "empty", "length",
    "filtered", "refused",
]  # fmt: skip

# Asking again costs a whole completion and mostly ends the same way, so these are tried fewer times than the others.
COSTLY: frozenset[Reason] = frozenset({"empty", "length"})
PERMANENT: frozenset[Reason] = frozenset({"filtered", "refused"})


class Stopped(Exception):
    """Nothing more is asked, as was wanted: no error, but a way out of the work on a row."""


class Reply(Struct, frozen=True, omit_defaults=True):
    """A good answer: not empty, not cut.

    Args:
        text: what the model wrote.
        finish_reason: as told by the server, "" where it tells none.
        model: as told by the server.
        prompt_tokens, completion_tokens, cached_tokens: the server's own figures; 0 where it tells none.
        wall_s: from sending the request to the last byte of the answer, of the try that succeeded.
    """

    text: str
    finish_reason: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    wall_s: float = 0.0


class Failed(Struct, frozen=True, omit_defaults=True):
    """No good answer, and why.

    Args:
        reason: one of a few constant words, for counting.
        detail: what the server said, shortened.
        fix: what the user can do, where that is known.
        status: the HTTP status, 0 where there was none.
        tries: how often the model was asked.
        prompt_tokens, completion_tokens: what the last try cost all the same.
        stops: no further request can succeed either: a wrong key, no money, no such model, nobody at the address.
    """

    reason: Reason
    detail: str = ""
    fix: str = ""
    status: int = 0
    tries: int = 1
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stops: bool = False

    def __str__(self) -> str:
        status = f" {self.status}" if self.status else ""
        times = f" after {self.tries} tries" if self.tries > 1 else ""
        detail = f": {self.detail}" if self.detail else ""
        fix = f"\n  fix: {self.fix}" if self.fix else ""
        return f"{self.reason}{status}{times}{detail}{fix}"


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Message(Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(Struct):
    choices: list[_Choice]
    model: str | None = None
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Completion).decode


def read_completion(raw: bytes, wall_s: float, *, cut_ok: bool = False) -> Reply | Failed:
    """What a body with status 200 says; a step must never see an answer that is empty, cut or not an answer."""
    try:
        said = _decode(raw)
    except msgspec.ValidationError as error:
        return Failed("wrong_json", f"{error}; the body: {shorten(raw.decode('utf-8', 'replace'))}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Failed("not_json", f"{error}; the body: {shorten(raw.decode('utf-8', 'replace'))}")
    if not said.choices:
        return Failed("wrong_json", "there is no choice in the answer")
    choice, usage = said.choices[0], said.usage or _Usage()
    prompt_tokens, completion_tokens = usage.prompt_tokens or 0, usage.completion_tokens or 0
    if failed := _why_not(choice, cut_ok):
        return msgspec.structs.replace(failed, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    details = usage.prompt_tokens_details
    return Reply(
        choice.message.content or "",
        choice.finish_reason or "",
        said.model or "",
        prompt_tokens,
        completion_tokens,
        (details.cached_tokens or 0) if details else 0,
        wall_s,
    )


def _why_not(choice: _Choice, cut_ok: bool) -> Failed | None:
    message, ended = choice.message, choice.finish_reason
    if ended == "length" and not cut_ok:
        return Failed("length", "the answer reached max_tokens", "raise max_tokens")
    if ended == "content_filter" or (message.refusal and not message.content):
        return Failed("filtered", shorten(message.refusal or "the server's content filter"))
    if ended in ("abort", "error"):
        return Failed("cut", f"the server gave up: finish_reason {ended!r}")
    if not (message.content and message.content.strip()):
        return Failed("empty", f"finish_reason {ended!r}")
    return None
