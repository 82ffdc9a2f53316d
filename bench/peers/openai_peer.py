"""The work through the openai client: `AsyncOpenAI`, a semaphore, the content of the first choice."""

# mypy: ignore-errors

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI, OpenAIError

from bench.peers.work import (
    CALLS,
    IN_FLIGHT,
    MAX_TOKENS,
    MODEL,
    TIMEOUT_S,
    TRIES,
    Task,
    first_text,
    open_results,
    prompt,
    told,
)


async def work(task: Task) -> None:
    """All rows, side by side."""
    settings = {"max_retries": TRIES, "timeout": TIMEOUT_S} if task.tuned else {}
    client = AsyncOpenAI(base_url=task.url, api_key="none", **settings)
    places = asyncio.Semaphore(IN_FLIGHT)

    async def ask(text: str) -> str | None:
        async with places:
            completion = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": text}], temperature=0, max_tokens=MAX_TOKENS
            )
        return completion.choices[0].message.content

    async def chain(row: int) -> tuple[int, str | None]:
        text = first_text(row)
        try:
            for step in range(CALLS):
                text = await ask(prompt(step, text))
        except OpenAIError:
            return row, None
        return row, text

    with open_results(task.folder) as keep:
        for done in asyncio.as_completed([chain(row) for row in range(task.rows)]):
            keep(*await done)


if __name__ == "__main__":
    asyncio.run(work(told()))
