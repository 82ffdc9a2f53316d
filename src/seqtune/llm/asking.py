"""The seam through which everything asks a model: the store first, then the model, and the store before the use.

async with open_teacher("http://127.0.0.1:8000/v1#MODEL", store="replies.sqlite") as ask:
    outcome = await ask(Request(model=ask.model, messages=(user("Hello!"),)))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seqtune.errors import TeacherError, shorten
from seqtune.llm.budget import Budget, Counts, Meter
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.request import Request, body_of, key_of, recorded
from seqtune.llm.store import Asked, Store, default_store

if TYPE_CHECKING:
    from seqtune.llm.client import Patience

Item = TypeVar("Item")
Result = TypeVar("Result")
Script = Callable[[Request], "str | Reply | Failed"]
Backend = Callable[[Request, bytes, Meter], Awaitable["Reply | Failed"]]

SPELLINGS = "write http://127.0.0.1:8000/v1#MODEL, or scripted:module:function"


@asynccontextmanager
async def open_teacher(
    spec: str | Sequence[str] | Script,
    *,
    store: str | Path | None = None,
    concurrency: int = 64,
    adaptive: bool = False,
    budget: Budget | None = None,
    patience: Patience | None = None,
    key_file: str | Path | None = None,
) -> AsyncIterator[Teacher]:
    """A teacher that can be asked; at the end every reply is in the store.

    Args:
        spec: `http://127.0.0.1:8000/v1#MODEL` (several of one model share the work), `scripted:module:function`, or
            a function from a request to a text, for tests.
        store: the reply store's file; the user's own by default.
        concurrency: the most requests in flight.
        adaptive: fewer of them, but no less than a quarter, while the server refuses for load.
        budget: the most that may be spent.
        patience: how long and how often a request is tried.
        key_file: holds the API key, where the environment does not.

    Raises:
        TeacherError: the spec, the key file or the budget cannot be used.
        StoreError: the store cannot be used.
    """
    if concurrency < 1:
        raise TeacherError(f"concurrency = {concurrency}", fix="give at least 1")
    meter = Meter(budget or Budget())
    async with AsyncExitStack() as stack:
        if callable(spec) or (isinstance(spec, str) and spec.startswith("scripted:")):
            script = spec if callable(spec) else _find_script(spec)
            model, backend = "scripted", _scripted(script)
        else:
            model, backend = await _open_served(stack, spec, concurrency, adaptive, patience, key_file)
        kept = Store(store or default_store())
        stack.callback(kept.close)
        yield Teacher(model, backend, kept, meter)


async def _open_served(
    stack: AsyncExitStack,
    spec: str | Sequence[str],
    concurrency: int,
    adaptive: bool,
    patience: Patience | None,
    key_file: str | Path | None,
) -> tuple[str, Backend]:
    # Here, and not above: aiohttp takes 0.2 s to import, and scripted models do without it.
    from seqtune.llm.client import open_client
    from seqtune.llm.endpoint import parse_endpoints

    first = spec if isinstance(spec, str) else (spec[0] if spec else "")
    if not first.startswith(("http://", "https://")):
        raise TeacherError(f"{shorten(first)!r} is no model that can be asked", fix=SPELLINGS)
    if patience and (patience.tries < 1 or patience.costly_tries < 1):
        raise TeacherError("no try is allowed", fix="give at least 1 for tries and costly_tries")
    endpoints = parse_endpoints(spec)
    opening = open_client(endpoints, concurrency=concurrency, adaptive=adaptive, patience=patience, key_file=key_file)
    client = await stack.enter_async_context(opening)
    return endpoints[0].model, client.ask


def _find_script(spec: str) -> Script:
    module, _, name = spec.removeprefix("scripted:").rpartition(":")
    try:
        script: Script = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TeacherError(
            f"{spec!r} names no function: {error}", fix="write scripted:package.module:function"
        ) from None
    return script


def _scripted(script: Script) -> Backend:
    async def ask(request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        meter.admit(request, body)
        try:
            outcome = script(request)
        finally:
            meter.settle()
        if isinstance(outcome, str):
            outcome = (
                Reply(outcome, "stop", "scripted") if outcome.strip() else Failed("empty", "the script said nothing")
            )
        return outcome

    return ask


class Teacher:
    """A model that can be asked: `await teacher(request)`. Made by `open_teacher`.

    Args:
        model: its name, for requests.
        counts: what asking came to so far.
    """

    def __init__(self, model: str, backend: Backend, store: Store, meter: Meter) -> None:
        self.model = model
        self._backend, self._store, self._meter = backend, store, meter
        self._flights: dict[str, asyncio.Future[Reply | Failed | None]] = {}

    @property
    def counts(self) -> Counts:
        """What asking came to so far."""
        return self._meter.counts

    @property
    def cost_usd(self) -> float | None:
        """What was spent so far, None where the price is unknown."""
        return self._meter.cost_usd()

    async def __call__(self, request: Request) -> Reply | Failed:
        """A good reply, or why there is none; committed to the store either way.

        Raises:
            BudgetSpent: it would go over the budget. Replies in the store are still given.
            StoreError: the store cannot be used.
        """
        counts = self._meter.counts
        counts.asked += 1
        body = body_of(request)
        key = key_of(request, body)
        while flight := self._flights.get(key):
            # Shielded: a cancelled follower must not cancel what others wait for.
            if shared := await asyncio.shield(flight):
                counts.shared += 1
                return shared
        if stored := self._store.find(key):
            counts.from_store += 1
            return stored
        return await self._ask(request, body, key)

    async def _ask(self, request: Request, body: bytes, key: str) -> Reply | Failed:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            outcome = await self._backend(request, body, self._meter)
            outcome = await self._store.keep(Asked(key, request.model, recorded(request, body)), outcome)
            flight.set_result(outcome)
        finally:
            del self._flights[key]
            if not flight.done():  # cancelled, or the budget is spent: those who wait ask for themselves
                flight.set_result(None)
        if isinstance(outcome, Reply):
            self._meter.counts.answered += 1
        else:
            self._meter.counts.failed[outcome.reason] += 1
        return outcome


async def each(
    work: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, in_flight: int
) -> AsyncGenerator[tuple[Item, Result], None]:
    """Work on items side by side, and give each with its result as soon as it is done.

    Items are taken from the iterable only as workers get free, so it may be a generator of millions.

    Args:
        work: what to do with one item; its first error stops everything and is raised.
        items: any iterable.
        in_flight: the most items at once; more than the teacher's concurrency where an item waits for the store or
            for a pause, twice as many is plenty.
    """
    source, results = iter(items), asyncio.Queue[Any](maxsize=in_flight)
    done = object()

    async def run() -> None:
        try:
            for item in source:
                await results.put((item, await work(item)))
            await results.put(done)
        except Exception as error:
            await results.put(error)

    workers = [asyncio.ensure_future(run()) for _ in range(in_flight)]
    try:
        working = in_flight
        while working:
            result = await results.get()
            if isinstance(result, Exception):
                raise result
            if result is done:
                working -= 1
            else:
                yield result
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def ask_all(
    teacher: Teacher, requests: Iterable[Request], *, in_flight: int = 128
) -> AsyncGenerator[tuple[Request, Reply | Failed], None]:
    """Ask all requests side by side, and give each with its outcome as soon as it is there; see `each`."""
    async with aclosing(each(teacher, requests, in_flight=in_flight)) as outcomes:
        async for request, outcome in outcomes:
            yield request, outcome
