"""The work through `open_teacher`, reply store included."""

from __future__ import annotations

import asyncio

from bench.peers.work import (
    CALLS,
    IN_FLIGHT,
    MAX_TOKENS,
    TIMEOUT_S,
    TRIES,
    Task,
    first_text,
    open_results,
    prompt,
    told,
)
from seqtune.llm.asking import Teacher, each, open_teacher
from seqtune.llm.client import Patience
from seqtune.llm.reply import Reply
from seqtune.llm.request import Request, user


async def chain(teacher: Teacher, row: int) -> str | None:
    """The last reply; None where a call failed."""
    text = first_text(row)
    for step in range(CALLS):
        messages = (user(prompt(step, text)),)
        outcome = await teacher(Request(model=teacher.model, messages=messages, temperature=0, max_tokens=MAX_TOKENS))
        if not isinstance(outcome, Reply):
            return None
        text = outcome.text
    return text


async def work(task: Task) -> None:
    """All rows, side by side."""
    patience = Patience(tries=TRIES, timeout_s=TIMEOUT_S) if task.tuned else None
    opening = open_teacher(
        f"{task.url}#mock", store=task.folder / "replies.sqlite", concurrency=IN_FLIGHT, patience=patience
    )
    with open_results(task.folder) as keep:
        async with opening as teacher:
            async for row, text in each(lambda row: chain(teacher, row), range(task.rows), in_flight=2 * IN_FLIGHT):
                keep(row, text)


if __name__ == "__main__":
    asyncio.run(work(told()))
