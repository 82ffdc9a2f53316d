"""How a row's chain asks the teacher and the judge: by stage, with the replies' keys kept and everything counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from seqtune.building.prompting import render
from seqtune.errors import TeacherError
from seqtune.llm.asking import Teacher
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.request import Message, Request, json_schema, user

Read = TypeVar("Read")

HALF_A_PAIR = "the text holds half a surrogate pair, which cannot be sent"
TRIES = 3  # how often a reply that cannot be read is asked for anew
# Requests refused, and none ever answered: the next ones would be refused as well. Refusals come at once and answers
# take their time, so it is far more than there are requests in flight, of which some may be refused for their text.
DOOMED = 300
UNREADABLE = "it is not in the form that was asked for"


class Sampling(msgspec.Struct, frozen=True):
    """How replies are drawn; None leaves it to the server. `max_tokens` is the most of one reply."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None


@dataclass
class StageCounts:
    """What one stage came to, replies from the store included.

    Args:
        calls: questions put.
        failed: of these, without a good reply.
        unreadable: of these, replies that could not be read and were asked for anew.
        prompt_tokens, completion_tokens: as the server counted them.
        cached_tokens: prompt tokens that the server's prefix cache served, where it tells.
    """

    calls: int = 0
    failed: int = 0
    unreadable: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass
class Tally:
    """What the teacher did in a whole build.

    Args:
        stages: by stage, in the order in which they were first asked.
        choices: of each round (1, 2, ...), how many rows got which.
        gates: by gate, reason and what became of the row: "mended", "frozen" or "skipped".
    """

    stages: dict[str, StageCounts] = field(default_factory=dict)
    choices: dict[int, Counter[str]] = field(default_factory=dict)
    gates: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def chose(self, round: int, choice: str) -> None:
        """Count what was chosen for a row in a round."""
        self.choices.setdefault(round, Counter())[choice] += 1


@dataclass(frozen=True)
class Teachers:
    """Who is asked: the teacher, and the judge of its answers; `tally` counts for all rows."""

    teacher: Teacher
    judge: Teacher
    tally: Tally


class NoAnswer(Exception):
    """The teacher gave no good reply at some stage, after all tries; the row fails, and a rerun asks again."""

    def __init__(self, stage: str, failed: Failed) -> None:
        super().__init__(f"{stage}: {failed}")
        self.stage, self.failed = stage, failed


class Unreadable(Exception):
    """Every reply of a stage was in a form that could not be read."""

    def __init__(self, stage: str, reply: str, key: str) -> None:
        super().__init__(f"{stage}: {reply[:80]!r}")
        self.stage, self.reply, self.key = stage, reply, key


class Asker:
    """Asks the teachers for one row; owns the keys of the replies that it got.

    Args:
        teachers: who is asked, None where the build has none.
    """

    def __init__(self, teachers: Teachers | None, chain: str) -> None:
        self._teachers, self._chain = teachers, chain
        self._keys: list[str] = []

    @property
    def has_teacher(self) -> bool:
        """Whether there is one to ask."""
        return self._teachers is not None

    @property
    def model(self) -> str:
        """The teacher's name, "" where there is none."""
        return self._teachers.teacher.model if self._teachers else ""

    @property
    def judge_model(self) -> str:
        """The judge's name."""
        return self._present().judge.model

    @property
    def tally(self) -> Tally:
        """The build's counts."""
        return self._present().tally

    def taken_keys(self) -> tuple[str, ...]:
        """The keys of the replies since this was last asked, for the lineage."""
        keys, self._keys = tuple(self._keys), []
        return keys

    async def ask(
        self, said: str | Sequence[Message], *, stage: str = "ask", sampling: Sampling | None = None, attempt: int = 0
    ) -> str:
        """The teacher's reply; see `Means.ask`."""
        text, _ = await self._ask(_messages(said), stage, sampling or Sampling(), attempt=attempt)
        return text

    async def ask_for(
        self,
        read: Callable[[str], Read | None],
        said: str | Sequence[Message],
        *,
        stage: str,
        sampling: Sampling | None = None,
        schema: dict[str, Any] | None = None,
        judge: bool = False,
    ) -> tuple[Read, str]:
        """What the reply says and the reply; where `read` makes nothing of it, the teacher is told so and asked again.

        Raises:
            NoAnswer: there is no good reply.
            Unreadable: `read` gave None for every reply.
        """
        messages, key, text = _messages(said), "", ""
        for attempt in range(TRIES):
            # Told, and not only asked again: at temperature 0 the same question gets the same reply.
            again = (Message("assistant", text), user(render("refused", reason=UNREADABLE))) if text else ()
            # Numbered, for the same reply to the same complaint must not come from the store.
            text, key = await self._ask(
                (*messages, *again), stage, sampling or Sampling(), schema, attempt=attempt, judge=judge
            )
            if (found := read(text)) is not None:
                return found, text
            self.tally.stages[stage].unreadable += 1
        raise Unreadable(stage, text, key)

    async def _ask(
        self,
        messages: tuple[Message, ...],
        stage: str,
        sampling: Sampling,
        schema: dict[str, Any] | None = None,
        *,
        attempt: int = 0,
        judge: bool = False,
    ) -> tuple[str, str]:
        teachers = self._present()
        teacher = teachers.judge if judge else teachers.teacher
        request = Request(
            model=teacher.model,
            messages=messages,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            response_format=json_schema(schema, stage) if schema else None,
            attempt=attempt,
        )
        try:
            key, outcome = await teacher.keyed(request)
        except UnicodeEncodeError:
            raise NoAnswer(stage, Failed("refused", HALF_A_PAIR, "mend the row's text")) from None
        counts = teachers.tally.stages.setdefault(stage, StageCounts())
        _count(counts, outcome)
        if isinstance(outcome, Failed):
            _stop_if_doomed(teacher, outcome)
            raise NoAnswer(stage, outcome)
        self._keys.append(key)
        return outcome.text, key

    def _present(self) -> Teachers:
        if self._teachers is None:
            raise TeacherError(
                f"the chain {self._chain!r} asks a teacher, and none is given",
                fix="--llm http://127.0.0.1:8000/v1#MODEL (in a recipe: build.llm)",
            )
        return self._teachers


def _messages(said: str | Sequence[Message]) -> tuple[Message, ...]:
    return (user(said),) if isinstance(said, str) else tuple(said)


def _count(counts: StageCounts, outcome: Reply | Failed) -> None:
    counts.calls += 1
    counts.prompt_tokens += outcome.prompt_tokens
    counts.completion_tokens += outcome.completion_tokens
    if isinstance(outcome, Failed):
        counts.failed += 1
    else:
        counts.cached_tokens += outcome.cached_tokens


def _stop_if_doomed(teacher: Teacher, failed: Failed) -> None:
    """A wrong key, a wrong name or a setting that the server refuses would fail every row: say it once, and stop.

    Where the store holds replies of this model, the model can be asked: then a refusal is about the one request.

    Raises:
        TeacherError: no further request can succeed.
    """
    counts = teacher.counts
    never_answered = not counts.answered and not counts.from_store
    doomed = failed.status == 404 or counts.failed["refused"] >= DOOMED
    if failed.stops or (never_answered and failed.reason == "refused" and doomed):
        status = f" ({failed.status})" if failed.status else ""
        raise TeacherError(
            f"{teacher.model} cannot be asked: {failed.reason}{status}: {failed.detail}",
            fix=f"{failed.fix or 'see what the server says'}; every reply is kept, the same command goes on from here",
        )
