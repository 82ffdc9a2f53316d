"""The seam through which everything asks a model: the store first, then the model, and the store before the use.

async with open_teacher("http://127.0.0.1:8000/v1#MODEL", store="replies.sqlite") as ask:
    outcome = await ask(Request(model=ask.model, messages=(user("Hello!"),)))
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from seqtune import console
from seqtune.errors import TeacherError, shorten
from seqtune.llm.budget import Budget, Meter, Spent
from seqtune.llm.reply import Failed, Reply, Stopped
from seqtune.llm.request import Request, body_of, key_of, recorded
from seqtune.llm.store import Asked, Store, default_store

if TYPE_CHECKING:
    from seqtune.llm.client import Patience
    from seqtune.llm.endpoint import Endpoint

Item = TypeVar("Item")
Result = TypeVar("Result")
Script = Callable[[Request], "str | Reply | Failed"]
Backend = Callable[[Request, bytes, Meter], Awaitable["Reply | Failed"]]
Opening = Callable[[Store], AbstractAsyncContextManager[Backend]]

SILENCE_S = 30.0  # without any reply, before the user is told
_HALF = re.compile(r"[\ud800-\udfff]")
SPELLINGS = (
    "write http://127.0.0.1:8000/v1#MODEL, hf:FOLDER_OR_NAME, vllm:FOLDER_OR_NAME, litellm:VENDOR/MODEL, or "
    "scripted:module:function"
)


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
    batch: bool = False,
    beside: Teacher | None = None,
) -> AsyncIterator[Teacher]:
    """A teacher that can be asked; at the end every reply is in the store.

    Args:
        spec: `http://127.0.0.1:8000/v1#MODEL` (several of one model share the work), `hf:` or `vllm:` with a folder or
            a name on the Hub, `litellm:VENDOR/MODEL`, `scripted:module:function`, or a function from a request to a
            text, for tests.
        store: the reply store's file; the user's own by default.
        concurrency: the most requests in flight.
        adaptive: fewer of them, but no less than a quarter, while the server refuses for load.
        budget: the most that may be spent.
        patience: how long and how often a request is tried.
        key_file: holds the API key, where the environment does not.
        batch: send through the server's Batch API, for half the price and an answer within a day. A batch holds the
            questions that wait at one moment, so have all rows wait side by side.
        beside: another teacher, which shares the limits of the budget.

    Raises:
        TeacherError: the spec, the key file or the budget cannot be used.
        MissingExtraError: what the spec needs is not installed.
        StoreError: the store cannot be used.
    """
    if concurrency < 1:
        raise TeacherError(f"concurrency = {concurrency}", fix="give at least 1")
    meter = Meter(budget or Budget(), beside=beside.meter if beside else None)
    if patience and (patience.tries < 1 or patience.costly_tries < 1):
        raise TeacherError("no try is allowed", fix="give at least 1 for tries and costly_tries")
    means = _Means(concurrency, adaptive, patience, key_file)
    async with AsyncExitStack() as stack:
        model, opening = _choose_batches(spec, means) if batch else _choose(spec, means)
        kept = Store(store or default_store())
        stack.callback(kept.close)
        teacher = Teacher(model, await stack.enter_async_context(opening(kept)), kept, meter)
        if (where := "" if batch else _address(spec)) and console.shows_progress():
            stack.callback(asyncio.ensure_future(_tell_silence(teacher, where)).cancel)
        yield teacher


def _address(spec: str | Sequence[str] | Script) -> str:
    """Who is asked, where somebody else may keep us waiting; "" for a model or a function in this process."""
    named = "" if callable(spec) else spec if isinstance(spec, str) else ", ".join(spec)
    return shorten(named) if named.startswith(("http://", "https://", "litellm:")) else ""


async def _tell_silence(teacher: Teacher, where: str) -> None:
    """Say so where nothing comes back: after half a minute, and each time that the silence has lasted twice as long."""
    heard, since, next_s, clock = -1, 0.0, SILENCE_S, asyncio.get_running_loop().time
    while True:
        counts, now = teacher.counts, clock()
        back = counts.answered + counts.from_store + sum(counts.failed.values())
        if back != heard or not teacher.waiting:
            heard, since, next_s = back, now, SILENCE_S
        elif now - since >= next_s:
            console.note(
                f"{where}: no reply for {now - since:.0f} s, {teacher.waiting:,} requests wait, {counts.retried:,} were"
                " sent again; is the server at work? Ctrl-C stops, and what was answered is kept"
            )
            next_s *= 2
        await asyncio.sleep(min(1.0, SILENCE_S / 4))


class _Means(NamedTuple):
    """How a served model is asked; see `open_teacher`."""

    concurrency: int
    adaptive: bool
    patience: Patience | None
    key_file: str | Path | None


# Every backend is imported where it is chosen: aiohttp alone takes 0.2 s, and the others far more.
def _choose(spec: str | Sequence[str] | Script, means: _Means) -> tuple[str, Opening]:
    """The model's name, and what makes its backend ready once the store is open."""
    if callable(spec):
        return "scripted", lambda store: nullcontext(_scripted(spec))
    kind, _, name = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if kind == "scripted":
        script = _find_script(name)
        return kind, lambda store: nullcontext(_scripted(script))
    if kind in ("hf", "vllm") and name:
        from seqtune.llm.local import model_name, open_local, open_vllm

        return model_name(name), lambda store: open_local(name) if kind == "hf" else open_vllm(name)
    if kind == "litellm" and name:
        from seqtune.llm.vendors import open_vendor

        return name, lambda store: open_vendor(name, **means._asdict())
    from seqtune.llm.client import open_client

    endpoints = _endpoints(spec)
    return endpoints[0].model, lambda store: open_client(endpoints, **means._asdict())


def _choose_batches(spec: str | Sequence[str] | Script, means: _Means) -> tuple[str, Opening]:
    from seqtune.llm.batch import open_batches

    if callable(spec) or len(endpoints := _endpoints(spec)) != 1:
        raise TeacherError("batches are for one address", fix="write http://...#MODEL, or leave the batches out")
    [endpoint] = endpoints
    return endpoint.model, lambda store: open_batches(endpoint, store, patience=means.patience, key_file=means.key_file)


def _endpoints(spec: str | Sequence[str]) -> tuple[Endpoint, ...]:
    from seqtune.llm.endpoint import parse_endpoints

    first = spec if isinstance(spec, str) else (spec[0] if spec else "")
    if not first.startswith(("http://", "https://")):
        raise TeacherError(f"{shorten(first)!r} is no model that can be asked", fix=SPELLINGS)
    return parse_endpoints(spec)


def _find_script(spec: str) -> Script:
    module, _, name = spec.rpartition(":")
    try:
        script: Script = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TeacherError(
            f"{'scripted:' + spec!r} names no function: {error}", fix="write scripted:package.module:function"
        ) from None
    return script


def _scripted(script: Script) -> Backend:
    async def ask(request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        meter.admit(request, body)
        try:
            outcome = script(request)
        except (TypeError, AttributeError, KeyError) as error:  # it was written for something else than a Request
            what = f"the script failed: {type(error).__name__}: {shorten(error)}"
            raise TeacherError(what, fix="it takes a Request and returns a text") from error
        finally:
            meter.settle()
        if isinstance(outcome, str):
            outcome = _HALF.sub("\ufffd", outcome)  # half a surrogate pair cannot be stored
            outcome = (
                Reply(outcome, "stop", "scripted") if outcome.strip() else Failed("empty", "the script said nothing")
            )
        return outcome

    return ask


class Teacher:
    """A model that can be asked: `await teacher(request)`. Made by `open_teacher`.

    Args:
        model: its name, for requests.
        meter: counts what is asked and spent.
    """

    def __init__(self, model: str, backend: Backend, store: Store, meter: Meter) -> None:
        self.model = model
        self._backend, self._store, self.meter = backend, store, meter
        self._flights: dict[str, asyncio.Future[Reply | Failed | None]] = {}

    @property
    def waiting(self) -> int:
        """How many requests are without a reply yet."""
        return len(self._flights)

    @property
    def counts(self) -> Spent:
        """What asking came to so far."""
        return self.meter.counts

    @property
    def cost_usd(self) -> float | None:
        """What was spent so far, None where the price is unknown."""
        return self.meter.cost_usd()

    def find(self, request: Request) -> Reply | None:
        """The reply that the store holds; nothing is asked.

        Raises:
            StoreError: the store cannot be used.
        """
        return self._store.find(key_of(request))

    def stop(self) -> None:
        """From now on send nothing: what is on its way is waited for, and the rest raises `Stopped`."""
        self.meter.stopping.set()

    async def __call__(self, request: Request) -> Reply | Failed:
        """A good reply, or why there is none; committed to the store either way.

        Raises:
            BudgetSpent: it would go over the budget. Replies in the store are still given.
            Stopped: it is not in the store, and `stop` was called.
            StoreError: the store cannot be used.
        """
        _, outcome = await self.keyed(request)
        return outcome

    async def keyed(self, request: Request) -> tuple[str, Reply | Failed]:
        """The key under which the reply is stored, and the reply; see `__call__`."""
        body = body_of(request)
        key = key_of(request, body)
        return key, await self._find_or_ask(request, body, key)

    async def _find_or_ask(self, request: Request, body: bytes, key: str) -> Reply | Failed:
        counts = self.meter.counts
        counts.asked += 1
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
            outcome = await self._backend(request, body, self.meter)
            outcome = await self._store.keep(Asked(key, request.model, recorded(request, body)), outcome)
            flight.set_result(outcome)
        finally:
            del self._flights[key]
            if not flight.done():  # cancelled, or the budget is spent: those who wait ask for themselves
                flight.set_result(None)
        if isinstance(outcome, Reply):
            self.meter.counts.answered += 1
        else:
            self.meter.counts.failed[outcome.reason] += 1
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


async def each_in_order(
    work: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, in_flight: int, ahead: int = 8192
) -> AsyncGenerator[list[Result], None]:
    """Work on items side by side, and give their results in the items' order: lists of those that are done in a row.

    Items are taken as with `each`.

    Args:
        work: what to do with one item. Its first error stops everything and is raised; but where it raises `Stopped`,
            this result is left out, no more items are taken, and what is under way is still finished and given.
        items: any iterable.
        in_flight: the most items at once.
        ahead: the most items taken and not given, so that a slow one does not make the others' results pile up.
    """
    source, slots, most = iter(items), deque[list[Any]](), max(ahead, in_flight)
    news, room = asyncio.Event(), asyncio.Event()
    pending, done, errors = object(), object(), list[BaseException]()

    async def run() -> None:
        nonlocal source
        try:
            while True:
                while len(slots) >= most:
                    room.clear()
                    await room.wait()
                if (item := next(source, done)) is done:
                    return
                slots.append(slot := [pending])
                try:
                    slot[0] = await work(cast(Item, item))
                except Stopped:
                    source = iter(())
                    slot.clear()
                if slots[0] is slot:
                    news.set()
        except (Exception, asyncio.CancelledError) as error:
            errors.append(error)
        finally:
            news.set()

    workers = [asyncio.ensure_future(run()) for _ in range(in_flight)]
    try:
        while slots or not all(worker.done() for worker in workers):
            await news.wait()
            news.clear()
            if errors:
                raise errors[0]
            ready: list[Result] = []
            while slots and not (slots[0] and slots[0][0] is pending):
                ready += slots.popleft()
            room.set()
            if ready:
                yield ready
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
