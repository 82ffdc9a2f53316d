"""One question to a model: exactly what is sent, and the key under which its reply is stored."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

Role = Literal["system", "user", "assistant"]


class Text(Struct, frozen=True, tag_field="type", tag="text"):
    """A piece of text in a message that also holds images."""

    text: str


class ImageAddress(Struct, frozen=True, omit_defaults=True):
    """Where an image is: a `data:` URL, or an address that the server can reach."""

    url: str
    detail: Literal["low", "high", "auto"] | None = None


class Image(Struct, frozen=True, tag_field="type", tag="image_url"):
    """An image in a message."""

    image_url: ImageAddress


class Message(Struct, frozen=True):
    """One turn: text, or text and images in order."""

    role: Role
    content: str | tuple[Text | Image, ...]


class Request(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One chat request, its fields as they go over the wire; what is None is left to the server.

    Args:
        model: the name that the server knows.
        messages: the turns so far.
        temperature, top_p, top_k, seed, stop: sampling; `top_k` is no part of OpenAI's own API, others take it.
        max_tokens: the most tokens of the reply.
        response_format: see `json_schema`.
        attempt: tells apart equal requests that are to be answered anew; it is part of the key and is not sent.
        cut_ok: a reply that ends at `max_tokens` is good, as where one token is scored; in the key, not sent.
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    response_format: dict[str, Any] | None = None
    attempt: int = 0
    cut_ok: bool = False

    def __post_init__(self) -> None:
        # 0 and 0.0 are the same request, and must have the same key.
        if type(self.temperature) is int:
            structs.force_setattr(self, "temperature", float(self.temperature))
        if type(self.top_p) is int:
            structs.force_setattr(self, "top_p", float(self.top_p))


def user(text: str, *images: str) -> Message:
    """A user's turn; images are URLs, and come before the text."""
    return Message("user", (*[Image(ImageAddress(url)) for url in images], Text(text)) if images else text)


def json_schema(schema: dict[str, Any], name: str = "reply") -> dict[str, Any]:
    """The `response_format` that binds a reply to a JSON schema, where the server can."""
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


_encode = msgspec.json.Encoder().encode


def body_of(request: Request) -> bytes:
    """The JSON that is sent."""
    if request.attempt or request.cut_ok:
        request = structs.replace(request, attempt=0, cut_ok=False)
    return _encode(request)


def key_of(request: Request, body: bytes | None = None) -> str:
    """The key of a request: 32 hex digits, the hash of what is sent and of `attempt` and `cut_ok`.

    The order of a schema's properties is part of it: servers write them in that order, so it changes replies.

    Args:
        body: what `body_of` gave, where it is at hand.
    """
    sent = body if body is not None else body_of(request)
    return blake2b(b"%d %d\n" % (request.attempt, request.cut_ok) + sent, digest_size=16).hexdigest()


def recorded(request: Request, body: bytes) -> str:
    """The request as text for the store: what was sent, but for images inside of it, which are named by their hash."""
    if all(isinstance(message.content, str) for message in request.messages):
        return body.decode()
    messages = tuple([structs.replace(m, content=_without_images(m.content)) for m in request.messages])
    return _encode(structs.replace(request, messages=messages, attempt=0, cut_ok=False)).decode()


def _without_images(content: str | tuple[Text | Image, ...]) -> str | tuple[Text | Image, ...]:
    return content if isinstance(content, str) else tuple([_named_by_hash(part) for part in content])


def _named_by_hash(part: Text | Image) -> Text | Image:
    if isinstance(part, Text) or not part.image_url.url.startswith("data:"):
        return part
    kind, _, data = part.image_url.url.partition(",")
    named = f"{kind},blake2b:{blake2b(data.encode(), digest_size=16).hexdigest()}"
    return Image(structs.replace(part.image_url, url=named))
