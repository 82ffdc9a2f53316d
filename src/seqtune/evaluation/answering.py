"""The first phase: every item of a suite answered once, by a model loaded here or by one that is served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import xxhash

from seqtune.data.example import Example, messages
from seqtune.data.folder import write_lines
from seqtune.errors import RecipeError, TeacherError
from seqtune.evaluation.answers import Answer, answer_batches, model_name
from seqtune.evaluation.ledger import Ledger, open_ledger
from seqtune.evaluation.suite import Suite
from seqtune.llm.asking import Teacher, each, open_teacher
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.request import Message, Request
from seqtune.training.model import Loaded, model_identity

Say = Callable[[int], object]
SERVED = ("http://", "https://", "vllm:", "litellm:", "scripted:")  # models that are asked, not loaded


class Unanswered(msgspec.Struct, frozen=True):
    """One line of unanswered.jsonl: an item that the model gave no answer to, and why. It is never scored as wrong."""

    item: str
    model: str
    reason: str


class Answering(NamedTuple):
    """How a model is asked; `max_new_tokens` is part of an answer's key.

    Args:
        max_new_tokens: where an answer is stopped.
        batch_size: items that a local model answers at once.
        store: the reply store of a served model; its own file in the run folder by default. It tells models apart by
            their names, so that two servers with one name for two models need two stores.
        concurrency: the most requests in flight to a served model.
    """

    max_new_tokens: int = 256
    batch_size: int = 100
    store: str | Path | None = None
    concurrency: int = 64


def answer_suite(
    model: str | Path | Loaded, suite: Suite, folder: Path, how: Answering, say: Say | None = None
) -> dict[str, Answer]:
    """Answers by item, kept in the folder's answers.jsonl: what is there already is not asked for again.

    Raises:
        RecipeError: no model can be loaded or asked by that name, or an item has images; nothing was asked then.
        TeacherError: a served model that cannot be asked at all.
        RunFolderError: the folder cannot be written.
    """
    for item in [item for item in suite.items if item.images][:1]:
        what = f"item {item.id!r} has images, which `seqtune eval` does not send yet"
        raise RecipeError(what, where=suite.name, fix="leave such items out")
    identity = identity_of(model)
    keys = {item.id: answer_key(item, model_name(model), identity, how) for item in suite.items}
    with open_ledger(folder / "answers.jsonl", Answer) as ledger:
        found = {item.id: old for item in suite.items if (old := ledger.find(keys[item.id]))}
        if is_served(model):
            new = asyncio.run(_ask_served(str(model), suite.items, keys, found, ledger, folder, how, say))
        else:
            new = _ask_local(model, suite.items, keys, found, ledger, how, say)
    return found | new


def is_served(model: str | Path | Loaded) -> bool:
    """Whether a model is asked at an address, and not loaded here."""
    return isinstance(model, str) and model.startswith(SERVED)


def answer_key(item: Example, model: str, identity: str, how: Answering) -> str:
    """The key of an answer: hash of the item, its prompt, the model (its name and what it is) and the settings."""
    settings = {"max_new_tokens": how.max_new_tokens, "model": model, "identity": identity}
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode([item.id, prompt_of(item), settings]))


def prompt_of(item: Example) -> list[dict[str, Any]]:
    """The messages that the model is asked: all turns but its own last one."""
    turns = messages(item)
    return turns[:-1] if turns and turns[-1]["role"] == "assistant" else turns


def identity_of(model: str | Path | Loaded) -> str:
    """What tells a model from others of its name: a hash of its files, or some numbers of each weight; "" if served."""
    if isinstance(model, Loaded):
        return _sampled_weights(model)
    return "" if is_served(model) else model_identity(str(model).removeprefix("hf:"))


def _sampled_weights(model: Loaded) -> str:
    found = xxhash.xxh3_128()
    for name, weight in model.model.named_parameters():
        found.update(f"{name} {tuple(weight.shape)} {weight.detach().flatten()[:8].tolist()}".encode())
    return found.hexdigest()


def _ask_local(
    model: str | Path | Loaded,
    items: Sequence[Example],
    keys: Mapping[str, str],
    found: Mapping[str, Answer],
    ledger: Ledger[Answer],
    how: Answering,
    say: Say | None,
) -> dict[str, Answer]:
    new: dict[str, Answer] = {}
    asked = answer_batches(
        str(model).removeprefix("hf:") if isinstance(model, str) else model,
        items, batch_size=how.batch_size, max_new_tokens=how.max_new_tokens, known=found,
    )  # fmt: skip
    for batch in asked:
        named = [msgspec.structs.replace(one, key=keys[one.item]) for one in batch if one.item not in found]
        ledger.add(named)
        new |= {one.item: one for one in named}
        if say:
            say(len(found) + len(new))
    return new


async def _ask_served(
    spec: str,
    items: Sequence[Example],
    keys: Mapping[str, str],
    found: Mapping[str, Answer],
    ledger: Ledger[Answer],
    folder: Path,
    how: Answering,
    say: Say | None,
) -> dict[str, Answer]:
    new: dict[str, Answer] = {}
    unanswered: list[Unanswered] = []
    waiting = [item for item in items if item.id not in found]
    async with open_teacher(spec, store=how.store or folder / "replies.sqlite", concurrency=how.concurrency) as ask:

        async def one(item: Example) -> Reply | Failed:
            return await ask(_request(ask, item, how))

        async with aclosing(each(one, waiting, in_flight=2 * how.concurrency)) as outcomes:
            async for item, outcome in outcomes:
                if isinstance(outcome, Failed) and outcome.reason != "empty":
                    if outcome.stops:
                        what = f"{spec}: {msgspec.structs.replace(outcome, fix='')}"
                        raise TeacherError(what, fix=f"{outcome.fix or 'mend it'}, and run the same command again")
                    unanswered.append(Unanswered(item.id, spec, str(outcome)))
                    continue
                new[item.id] = _served(item, spec, outcome, keys[item.id])
                ledger.add([new[item.id]])
                if say:
                    say(len(found) + len(new))
    write_lines(folder / "unanswered.jsonl", unanswered)
    return new


def _request(ask: Teacher, item: Example, how: Answering) -> Request:
    said = tuple([Message(turn["role"], turn["content"]) for turn in prompt_of(item)])
    return Request(model=ask.model, messages=said, temperature=0.0, max_tokens=how.max_new_tokens, cut_ok=True)


def _served(item: Example, spec: str, reply: Reply | Failed, key: str) -> Answer:
    if isinstance(reply, Failed):  # it said nothing however often it was asked, which is an answer, and a wrong one
        return Answer(item.id, spec, "", 0, key=key)
    tokens = reply.completion_tokens or None
    return Answer(item.id, spec, reply.text, tokens, reply.finish_reason == "length", key)
