"""A grader of Inspect as a judge of ours: asked a bounded number of times, and given up where it never replies."""

from __future__ import annotations

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
# Inspect asks for ever where nothing is said. What the user says of the role (max_retries, timeout) goes before this.
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
        self._left = 1  # a judge that fails before its first reply is none

    async def __call__(self, request: Request, /) -> Reply | Failed:
        """Its reply, or why there is none; a reply cut at the limit or held back by a filter is none.

        Not every server takes a bound form of reply, and Inspect does not ask again without it, so it is left out.
        """
        if self._left < 1:
            return Failed("connection", "it was given up", FIX, stops=True)
        config = GenerateConfig(temperature=request.temperature, max_tokens=request.max_tokens)
        try:
            output = await self._model.generate(as_turns(request.messages), config=config)
        except LimitExceededError:
            raise
        except Exception as error:  # of whatever client Inspect uses for this model
            self._left -= 1
            return Failed("connection", shorten(str(error) or type(error).__name__), FIX, stops=self._left < 1)
        self._left = PATIENCE
        return read_output(output)


def find_grader() -> Grader:
    """The model that was bound to the role; an unbound one is an error, lest the candidate grade itself.

    Raises:
        PrerequisiteError: of Inspect: no --model-role grader=MODEL was given.
    """
    return Grader(get_model(role=ROLE, required=True, config=BOUNDED))


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
