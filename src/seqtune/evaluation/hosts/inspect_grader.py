"""A grader of Inspect as a judge of ours: asked a bounded number of times, and given up where it never replies."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.util import LimitExceededError

from seqtune.errors import shorten
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.request import Message, Request

ROLE = "grader"
FIX = f"see that the model of the role {ROLE!r} can be reached, then: inspect score LOG"
PATIENCE = 10  # questions in a row without a reply, after which nothing more is asked
# Inspect asks for ever where nothing is said.
BOUNDED = GenerateConfig(max_retries=3, attempt_timeout=120, timeout=600)

_TURNS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


class Grader:
    """The model of the role `grader` behind the protocol `Judge`.

    Args:
        model: of Inspect, which keeps its log, its cache and its limits.
    """

    def __init__(self, model: Model) -> None:
        self.model = str(model)
        self._model = model
        self._first = asyncio.Lock()
        self._has_replied = False
        self._left = 1  # a judge that fails before its first reply is none

    async def __call__(self, request: Request, /) -> Reply | Failed:
        """Its reply, or why there is none; a reply cut at the limit or held back by a filter is none."""
        if not self._has_replied:
            # One question goes ahead: with nobody at the address, hundreds would each be tried to their end.
            async with self._first:
                if not self._has_replied:
                    return await self._ask(request)
        return await self._ask(request)

    async def _ask(self, request: Request) -> Reply | Failed:
        if self._left < 1:
            return Failed("connection", "it gave no reply before, and is not asked again", FIX, stops=True)
        try:
            output = await self._model.generate(as_turns(request.messages), config=self._config(request))
        except LimitExceededError:
            raise
        except Exception as error:  # of whatever client Inspect uses for this model
            self._left -= 1
            return Failed("connection", shorten(_reason(error)), FIX, stops=self._left < 1)
        self._has_replied, self._left = True, PATIENCE
        return read_output(output)

    def _config(self, request: Request) -> GenerateConfig:
        """Bounds, then what the user said of the role, then the question's own settings.

        Not every server takes a bound form of reply, and Inspect does not ask again without it, so it is left out.
        """
        own = GenerateConfig(temperature=request.temperature, max_tokens=request.max_tokens)
        return BOUNDED.merge(self._model.config).merge(own)


def _reason(error: BaseException) -> str:
    """What went wrong, of the last try where there were several."""
    last = getattr(error, "last_attempt", None)
    inner = last.exception() if last is not None else None
    return str(inner or error) or type(inner or error).__name__


def find_grader(known: MutableMapping[asyncio.AbstractEventLoop, Grader]) -> Grader:
    """The model that was bound to the role; an unbound one is an error, lest the candidate grade itself.

    Args:
        known: those of earlier calls, one a run: it counts the replies that do not come.

    Raises:
        PrerequisiteError: of Inspect: no --model-role grader=MODEL was given.
    """
    run, model = asyncio.get_running_loop(), get_model(role=ROLE, required=True)
    if run not in known:
        known[run] = Grader(model)
    return known[run]


def as_turns(messages: tuple[Message, ...]) -> list[ChatMessage]:
    """The turns of a request as Inspect's."""
    return [_TURNS[one.role](content=str(one.content)) for one in messages]


def read_output(output: ModelOutput) -> Reply | Failed:
    """What an output of Inspect says, judged as we judge a server's."""
    if output.empty or output.error:
        return Failed("refused", shorten(output.error or "there is no choice in the output"))
    if output.stop_reason == "content_filter":
        return Failed("filtered", "the server's content filter")
    if output.stop_reason in ("max_tokens", "model_length"):
        return Failed("length", "the answer reached max_tokens", "raise max_tokens")
    if not output.completion.strip():
        return Failed("empty", f"stop_reason {output.stop_reason!r}")
    return Reply(output.completion, output.stop_reason, output.model)
