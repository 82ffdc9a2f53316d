"""What a row is: an Example, its Steps, and the lineage (Origin) that says where it came from."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import xxhash

StepKind = Literal["seed", "before", "after", "decomposed"]


class Verdict(msgspec.Struct, frozen=True):
    """Whether a step was done, with the evidence.

    Args:
        done: True, False, or None where nobody could tell; None is never counted as False.
        evidence: the place in the answer that shows it, word for word; what a program found instead, or why None.
        by: "program", or the model that judged.
    """

    done: bool | None
    evidence: str = ""
    by: str = "program"


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing the model must do.

    Args:
        text: how the instruction asks for it, e.g. "count the words in the input".
        expected: the right result where one is known; part of the example's output.
        kind: the row's own task (`seed`), a task put `before` or `after` it, or a part of it (`decomposed`).
        check: name of the check that says from the answer alone whether the step was done ("" for none).
        args: what the check needs besides the text, e.g. {"old": "cat", "new": "dog"}.
        mark: what stands before its part of the answer: "1.", "Word count:", or "" for nothing.
        verdict: whether the row's output does it, where that was judged.
    """

    text: str
    expected: str | None = None
    kind: StepKind = "seed"
    check: str = ""
    args: dict[str, Any] = {}
    mark: str = ""
    verdict: Verdict | None = None


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of lineage: what made a row, from which parent.

    Args:
        transform: "read", or the name of the chain or prompt that made the row.
        version: version of the transform.
        source: the file (or dataset) a read row stands in.
        row: its number there, counted from 1: the line in a line-based file, the element elsewhere.
        parent: id of the row it was made from.
        seed: the build's seed.
        model, prompt, replies: the teacher, the prompts' names and versions, and the keys of its replies in the reply
            store, where an LLM was asked.
        choice: what the teacher chose to do with the row: "before", "after", "decompose" or "keep".
    """

    transform: str
    version: int = 1
    source: str = ""
    row: int = 0
    parent: str = ""
    seed: int | None = None
    model: str = ""
    prompt: str = ""
    replies: tuple[str, ...] = ()
    choice: str = ""


class Image(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image, by path or by its bytes."""

    path: str = ""
    data: bytes = b""


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One chat message. `content` is text, or a list of parts as OpenAI writes them; `extra` keeps all other fields."""

    role: str
    content: str | list[Any] | None = None
    extra: dict[str, Any] = {}


class Example(msgspec.Struct, frozen=True, omit_defaults=True):
    """One instruction row.

    `turns` is empty for a row of one exchange. A conversation keeps every message there, in order, without the
    system message where that is plain text (it is in `system`); `instruction` and `output` then hold the first
    user's and the last assistant's text, for reading. `meta` keeps the columns that seqtune has no name for.
    `id` is the hash of the content (and of the row's own "id" column where it has one); it is never given by hand.
    """

    instruction: str
    input: str = ""
    output: str = ""
    system: str = ""
    images: tuple[Image, ...] = ()
    turns: tuple[Turn, ...] = ()
    steps: tuple[Step, ...] = ()
    origin: tuple[Origin, ...] = ()
    meta: dict[str, Any] = {}
    id: str = ""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "id", _content_id(self))


_encoder = msgspec.json.Encoder()


def _content_id(example: Example) -> str:
    # The hash need not resist attack, only tell rows apart; xxh3 costs a fifth of blake2b, and ids are half of a
    # build's own work. "\x1e" cannot be typed, so no two different rows join to the same text by accident.
    own_id = example.meta.get("id", "")
    text = f"{example.instruction}\x1e{example.input}\x1e{example.output}\x1e{example.system}\x1e{own_id}"
    content = text.encode("utf-8", "surrogatepass")
    if example.images or example.turns:
        content += _encoded((example.images, example.turns))
    return xxhash.xxh3_128_hexdigest(content)[:24]


def _encoded(value: object) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # half a surrogate pair, which a reply of an LLM may hold
        return repr(value).encode("utf-8", "surrogatepass")


def messages(example: Example) -> list[dict[str, Any]]:
    """The row as chat messages in OpenAI's form, the answer included: what a chat template renders."""
    chat: list[dict[str, Any]] = []
    if example.system:
        chat.append({"role": "system", "content": example.system})
    if example.turns:
        chat += [{"role": t.role, "content": t.content, **t.extra} for t in example.turns]
        return chat
    chat.append({"role": "user", "content": prompt_text(example)})
    if example.output:
        chat.append({"role": "assistant", "content": example.output})
    return chat


def prompt_text(example: Example) -> str:
    """What the model is asked: the instruction, and the input below it where the row has one."""
    return f"{example.instruction}\n\n{example.input}" if example.input else example.instruction
