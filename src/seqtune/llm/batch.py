"""The OpenAI Batch API as a backend: many requests in one file, answered within a day for half the price.

The batches under way stand in the reply store's file, so that the same command run again, after whatever ended it,
waits for the batch that was submitted and submits nothing twice. What a batch answered is put into the store, and only
then is the batch forgotten.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import aiohttp
import msgspec

from seqtune.errors import SeqtuneError, shorten
from seqtune.llm.budget import Meter
from seqtune.llm.client import (
    CONNECT_S,
    MAX_BACKOFF_S,
    STOPPING_STATUSES,
    Patience,
    headers_with,
    refusal,
    without_key,
)
from seqtune.llm.endpoint import Endpoint, find_key
from seqtune.llm.reply import Failed, Reason, Reply, Stopped, read_completion
from seqtune.llm.request import Request, body_of, key_of, recorded
from seqtune.llm.store import Asked, Store, looking_at

if TYPE_CHECKING:
    from seqtune.llm.asking import Backend

NO_BATCHES = frozenset({403, 404})  # of the batch API itself, which this key may not use or this server lacks
QUIET_S = 2.0  # no request came for so long: those that wait go out together
POLL_S, MAX_POLL_S = 2.0, 60.0
MAX_REQUESTS = 50_000  # in a file, as are the bytes: OpenAI's limits
MAX_BYTES = 200_000_000
UNREACHED_TRIES = 4  # as long as no call was answered
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
SUBMIT_S = 300.0  # the longest that submitting may take, all tries together
# A claim so old without a batch is of a run that ended. Twice as old as it can get, as the clocks of two machines may
# differ, and a server may go on with what was given up.
ORPHAN_S = 2 * SUBMIT_S
ENDLESS = sys.maxsize  # tries of what is asked of a batch under way: it goes on without us, and no rest is too long
GONE = 404
LISTED = 100  # batches that one look at the server's list shows
CUT_OK = ".cut"  # ends the id of a request to which a cut answer is good; the answer does not tell

# Another table in the same file: a seqtune that knows nothing of it reads the file all the same.
TABLE = """CREATE TABLE IF NOT EXISTS batches (
  label TEXT PRIMARY KEY, id TEXT, url TEXT NOT NULL, keys TEXT NOT NULL,
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
)"""


class _Batch(NamedTuple):
    """A batch under way: our own name for it, the server's (None before it told one), and its requests' keys."""

    label: str
    id: str | None
    keys: frozenset[str]


class _Claim(NamedTuple):
    """What the table says of one batch: the server's name for it, if known, and how long ago it was claimed."""

    id: str | None
    age_s: int


@dataclass
class _Waiting:
    """A request that waits for its batch, with all who want the answer."""

    request: Request
    body: bytes
    answer: asyncio.Future[Reply | Failed]


@dataclass(frozen=True)
class _Table:
    """The batches under way at one address, in the store's file."""

    path: Path
    url: str

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with looking_at(self.path) as connection:
            connection.execute(TABLE)
            yield connection

    def under_way(self) -> list[_Batch]:
        """The batches that are not yet answered, oldest first."""
        with self._opened() as connection:
            rows = connection.execute("SELECT label, id, keys FROM batches WHERE url = ? ORDER BY rowid", (self.url,))
            return [_Batch(label, id_, frozenset(json.loads(keys))) for label, id_, keys in rows]

    def claim(self, label: str, keys: Iterable[str]) -> bool:
        """Write a batch down before it is submitted, unless one of its requests is answered or in another batch."""
        wanted = frozenset(keys)
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")  # two builds on one store: one of them claims
            rows = connection.execute("SELECT keys FROM batches WHERE url = ?", (self.url,))
            taken = any(not wanted.isdisjoint(json.loads(others)) for (others,) in rows)
            find = "SELECT 1 FROM replies WHERE key = ?"
            if free := not taken and not any(connection.execute(find, (key,)).fetchone() for key in wanted):
                values = (label, self.url, json.dumps(sorted(wanted)))
                connection.execute("INSERT INTO batches (label, url, keys) VALUES (?, ?, ?)", values)
            connection.execute("COMMIT")
        return free

    def submitted(self, label: str, id_: str) -> None:
        """The server took the batch, and calls it so."""
        with self._opened() as connection:
            connection.execute("UPDATE batches SET id = ? WHERE label = ?", (id_, label))

    def look_up(self, label: str) -> _Claim | None:
        """How it stands with a batch; None where it is no longer under way."""
        age_s = "strftime('%s', 'now') - strftime('%s', created)"
        with self._opened() as connection:
            row = connection.execute(f"SELECT id, {age_s} FROM batches WHERE label = ?", (label,)).fetchone()
        return _Claim(*row) if row else None

    def drop(self, label: str) -> None:
        """The batch was never submitted; one that was meanwhile stays."""
        with self._opened() as connection:
            connection.execute("DELETE FROM batches WHERE label = ? AND id IS NULL", (label,))

    def forget(self, label: str) -> None:
        """The batch is no longer under way."""
        with self._opened() as connection:
            connection.execute("DELETE FROM batches WHERE label = ?", (label,))


class _Refused(Exception):
    """The server does not do what it was asked for; `failed` says why."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.detail)
        self.failed = failed


@dataclass
class _Server:
    """The four calls of the Batch API, tried again with patience."""

    session: aiohttp.ClientSession
    url: str
    key: str | None
    patience: Patience
    reached: bool = False

    async def upload(self, lines: bytes) -> str:
        def form() -> aiohttp.FormData:  # anew for each try
            data = aiohttp.FormData({"purpose": "batch"})
            data.add_field("file", lines, filename="seqtune.jsonl", content_type="application/jsonl")
            return data

        return str((await self._json("POST", "/files", lambda: {"data": form()}))["id"])

    async def submit(self, file_id: str, label: str) -> str:
        """The batch's id. It is asked for once a label: where no answer came, the list says whether it was made."""
        what = {
            "input_file_id": file_id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"seqtune": label},
        }
        for tries in range(1, self.patience.tries + 1):
            try:
                return str((await self._json("POST", "/batches", lambda: {"json": what}, tries=1))["id"])
            except _Refused as refused:
                if found := await self.find(label):
                    return found
                if refused.failed.reason == "refused" or tries == self.patience.tries:
                    raise
                await asyncio.sleep(self._backoff_s(tries))
        raise AssertionError("patience without tries")

    async def find(self, label: str, tries: int | None = None) -> str | None:
        """The id of the batch with our label, if the server made one."""
        listed = (await self._json("GET", f"/batches?limit={LISTED}", tries=tries))["data"]
        return next((str(one["id"]) for one in listed if (one.get("metadata") or {}).get("seqtune") == label), None)

    async def state(self, id_: str) -> dict[str, Any]:
        return await self._json("GET", f"/batches/{id_}", tries=ENDLESS)

    async def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        raw = await self._call("GET", f"/files/{file_id}/content", tries=ENDLESS) if file_id else b""
        return [msgspec.json.decode(line) for line in raw.splitlines() if line.strip()]

    async def _json(self, method: str, path: str, what: Any = dict, tries: int | None = None) -> dict[str, Any]:
        return msgspec.json.decode(await self._call(method, path, what, tries), type=dict[str, Any])

    async def _call(self, method: str, path: str, what: Any = dict, tries: int | None = None) -> bytes:
        for number in range(1, (most := tries or self.patience.tries) + 1):
            said = await self._tried(method, path, what())
            if isinstance(said, bytes):
                return said
            unreached = said.reason == "connection" and not self.reached and number >= UNREACHED_TRIES
            if said.reason == "refused" or number == most or unreached:
                said = msgspec.structs.replace(said, stops=said.stops or unreached)
                raise _Refused(msgspec.structs.replace(without_key(said, self.key), tries=number))
            await asyncio.sleep(self._backoff_s(number))
        raise AssertionError("patience without tries")

    async def _tried(self, method: str, path: str, what: dict[str, Any]) -> bytes | Failed:
        # A file of 200 MB takes its time, so only standing still is limited.
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=self.patience.timeout_s)
        try:
            async with self.session.request(
                method, self.url + path, headers=headers_with(self.key), timeout=timeout, allow_redirects=False, **what
            ) as response:
                raw = await response.read()
        except (asyncio.TimeoutError, TimeoutError):
            return Failed("timeout", f"{path.partition('?')[0]} stood still")
        except (aiohttp.ClientError, OSError) as error:
            return Failed("connection", shorten(f"{type(error).__name__}: {error}"))
        self.reached = True
        if response.status // 100 == 2:
            return raw
        failed = refusal(response.status, raw)
        stops = response.status in STOPPING_STATUSES | NO_BATCHES
        return msgspec.structs.replace(failed, stops=stops)

    def _backoff_s(self, tries: int) -> float:
        return min(MAX_BACKOFF_S, self.patience.backoff_s * 2.0 ** min(tries - 1, 99))  # a float ends at 2**1024


@asynccontextmanager
async def open_batches(
    endpoint: Endpoint, store: Store, *, patience: Patience | None = None, key_file: str | Path | None = None
) -> AsyncIterator[Backend]:
    """Asking through batches; those that an earlier run submitted are gone on with.

    Args:
        endpoint: the address, up to and with /v1, and the model.
        store: where replies and the batches under way are kept.
        patience: how often each call of the API is tried; no limit is set to a batch, the server sets one.
        key_file: holds the key, where the environment does not.

    Raises:
        TeacherError: the key file cannot be read, or the server does not tell of its batches.
    """
    key = find_key(endpoint.url, key_file=key_file)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        server = _Server(session, endpoint.url, key, patience or Patience())
        batches = _Batches(server, _Table(store.path, endpoint.url), store)
        batches.take_up()
        try:
            yield batches.ask
        finally:
            await batches.close()


@dataclass
class _Batches:
    """Owns the requests that wait, and the tasks that submit and follow their batches.

    Args:
        fresh: requests that wait to be submitted, by key.
        sent: requests that wait for an answer.
        under_way: keys of all batches that are submitted or followed, whether somebody waits for them or not.
        followed: labels of the batches that have a task.
    """

    server: _Server
    table: _Table
    store: Store
    fresh: dict[str, _Waiting] = field(default_factory=dict)
    sent: dict[str, _Waiting] = field(default_factory=dict)
    under_way: set[str] = field(default_factory=set)
    followed: set[str] = field(default_factory=set)
    tasks: set[asyncio.Future[None]] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None
    watch: asyncio.Future[None] | None = None

    def take_up(self) -> None:
        """Follow all batches of the table: of an earlier run, or of another one beside this."""
        for batch in self.table.under_way():
            self.under_way |= batch.keys
            if batch.label not in self.followed:
                self._start(batch.label, batch.keys, self._follow(batch))

    async def ask(self, request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        """The answer of the batch that the request is in, or of the next one."""
        self._watch(meter)
        return await meter.metered(request, body, partial(self._answer, request, body))

    async def _answer(self, request: Request, body: bytes) -> Reply | Failed:
        waiting = _Waiting(request, body, asyncio.get_running_loop().create_future())
        self._put(key_of(request, body), waiting)
        return await waiting.answer

    def _put(self, key: str, waiting: _Waiting) -> None:
        if key in self.under_way:
            self.sent[key] = waiting
            return
        self.fresh[key] = waiting
        if self.timer:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(QUIET_S, self._send)

    def _put_back(self, keys: Iterable[str]) -> None:
        """Those who wait for these keys get the stored reply, or wait anew."""
        self.under_way -= (gone := frozenset(keys))
        self.take_up()
        for key in gone & self.sent.keys():
            if reply := self.store.find(key):
                _settle(self.sent.pop(key), reply)
            elif key not in self.under_way:
                self._put(key, self.sent.pop(key))

    def _start(self, label: str, keys: Iterable[str], work: Coroutine[Any, Any, None]) -> None:
        self.followed.add(label)
        task = asyncio.ensure_future(self._told(label, frozenset(keys), work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _told(self, label: str, keys: frozenset[str], work: Coroutine[Any, Any, None]) -> None:
        """Do the work; whatever ends it is told to all who wait for these keys."""
        try:
            await work
        except Exception as error:
            self.under_way -= keys
            for key in keys & self.sent.keys():
                answer = self.sent.pop(key).answer
                if answer.done():
                    continue
                if isinstance(error, SeqtuneError):  # of the store: nothing can go on
                    answer.set_exception(error)
                else:
                    answer.set_result(_failure(error))
        finally:
            self.followed.discard(label)

    def _send(self) -> None:
        """Submit all that wait, in as many files as they need; but what another run submitted meanwhile."""
        waiting = {key: one for key, one in self.fresh.items() if not one.answer.done()}
        self.fresh = {}
        self.sent |= waiting
        for part in _parts({key: one for key, one in waiting.items() if key not in self.under_way}):
            self.under_way |= part.keys()
            label = uuid4().hex
            self._start(label, part, self._submit(label, part))

    async def _submit(self, label: str, part: dict[str, _Waiting]) -> None:
        """Upload, claim, submit, follow; claimed last, as the gap in which a kill leaves a doubt must be short."""
        file_id = await self.server.upload(b"".join([_line(key, one) for key, one in part.items()]))
        if not self.table.claim(label, part):  # another run was sooner with some of them
            self._put_back(part)
            return
        try:
            id_ = await asyncio.wait_for(self.server.submit(file_id, label), SUBMIT_S)
        except (asyncio.TimeoutError, TimeoutError):
            raise _Refused(Failed("timeout", f"no batch was made within {SUBMIT_S:g} s")) from None
        except _Refused as refused:
            if refused.failed.reason == "refused":  # else it may have been made all the same; the next run finds out
                self.table.forget(label)
            raise
        self.table.submitted(label, id_)
        await self._follow(_Batch(label, id_, frozenset(part)))

    async def _follow(self, batch: _Batch) -> None:
        """Poll until the batch has ended, and put its answers away."""
        if (id_ := batch.id or await self._found(batch.label)) is None:
            self._put_back(batch.keys)
            return
        wait_s = POLL_S
        try:
            while (state := await self.server.state(id_))["status"] not in ENDED:
                await asyncio.sleep(wait_s)
                wait_s = min(MAX_POLL_S, wait_s * 1.5)
        except _Refused as refused:
            if refused.failed.status == GONE:
                self.table.forget(batch.label)
            raise
        await self._finish(batch, state)

    async def _found(self, label: str) -> str | None:
        """The id of a batch that another run claimed, once it is submitted; None when the claim is gone."""
        wait_s = POLL_S
        while claim := self.table.look_up(label):
            if id_ := claim.id or await self.server.find(label, ENDLESS):
                self.table.submitted(label, id_)
                return id_
            if claim.age_s > ORPHAN_S:  # and was before we looked, so that nobody can submit it any more
                self.table.drop(label)
                continue
            await asyncio.sleep(wait_s)
            wait_s = min(MAX_POLL_S, wait_s * 1.5)
        return None

    async def _finish(self, batch: _Batch, state: Mapping[str, Any]) -> None:
        """Put all that the batch answered into the store, then forget the batch, then tell those who wait."""
        outcomes = await self._outcomes(batch, state)
        asked = await self._asked(batch, state)
        kept = await asyncio.gather(*[self.store.keep(one, outcomes[one.key]) for one in asked])
        self.table.forget(batch.label)
        self.under_way -= batch.keys
        outcomes |= dict(zip([one.key for one in asked], kept, strict=True))
        for key in batch.keys & self.sent.keys():
            _settle(self.sent.pop(key), outcomes[key])

    async def _outcomes(self, batch: _Batch, state: Mapping[str, Any]) -> dict[str, Reply | Failed]:
        """An outcome for each key: of the output, of the error file, or of the batch as a whole."""
        outcomes: dict[str, Reply | Failed] = dict.fromkeys(batch.keys, _not_answered(state, self.server.key))
        for name in ("error_file_id", "output_file_id"):
            for line in await self.server.lines(state.get(name)):
                key, cut_ok, _ = str(line["custom_id"]).partition(CUT_OK)
                if key in outcomes:
                    outcomes[key] = _read_line(line, bool(cut_ok), self.server.key)
        return outcomes

    async def _asked(self, batch: _Batch, state: Mapping[str, Any]) -> list[Asked]:
        """What the store records of each request: as it was asked now, else as it stands in the file sent then."""
        waiting = {key: self.sent[key] for key in batch.keys & self.sent.keys()}
        asked = [Asked(key, one.request.model, recorded(one.request, one.body)) for key, one in waiting.items()]
        if waiting.keys() < batch.keys:
            for line in await self.server.lines(state.get("input_file_id")):
                key, request = str(line["custom_id"]).partition(CUT_OK)[0], msgspec.convert(line["body"], Request)
                if key in batch.keys and key not in waiting:
                    asked.append(Asked(key, request.model, recorded(request, body_of(request))))
        return asked

    def _watch(self, meter: Meter) -> None:
        if self.watch is None:
            self.watch = asyncio.ensure_future(self._stopped(meter.stopping))
            self.tasks.add(self.watch)

    async def _stopped(self, stopping: asyncio.Event) -> None:
        """A stop waits for no batch, which may take a day: it goes on without us, and the next run takes it up."""
        await stopping.wait()
        for waiting in [*self.fresh.values(), *self.sent.values()]:
            if not waiting.answer.done():
                waiting.answer.set_exception(Stopped())

    async def close(self) -> None:
        """Leave the batches to the server; the table tells the next run of them."""
        if self.timer:
            self.timer.cancel()
        tasks = [*self.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _failure(error: Exception) -> Failed:
    """Why there is no answer: what the server said, or that it did not keep to the API."""
    if isinstance(error, _Refused):
        return error.failed
    return Failed("wrong_json", shorten(f"the server's Batch API is another one: {type(error).__name__}: {error}", 300))


def _settle(waiting: _Waiting, outcome: Reply | Failed) -> None:
    if not waiting.answer.done():  # who asked may be gone
        waiting.answer.set_result(outcome)


def _line(key: str, waiting: _Waiting) -> bytes:
    name = key + (CUT_OK if waiting.request.cut_ok else "")
    fields = {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": msgspec.Raw(waiting.body)}
    return msgspec.json.encode(fields) + b"\n"


def _parts(waiting: Mapping[str, _Waiting]) -> Iterator[dict[str, _Waiting]]:
    """The requests in as few files as the limits allow."""
    part: dict[str, _Waiting] = {}
    size = 0
    for key, one in waiting.items():
        length = len(_line(key, one))
        if part and (len(part) == MAX_REQUESTS or size + length > MAX_BYTES):
            yield part
            part, size = {}, 0
        part[key] = one
        size += length
    if part:
        yield part


def _not_answered(state: Mapping[str, Any], key: str | None) -> Failed:
    """Why a request that stands in neither file of its batch has no answer."""
    errors = (state.get("errors") or {}).get("data") or [{}]
    said = shorten(f"the batch ended as {state['status']}. {errors[0].get('message') or ''}", 300)
    reason: Reason = "refused" if state["status"] == "failed" else "server_error"
    return without_key(Failed(reason, said, "run the same command again"), key)


def _read_line(line: Mapping[str, Any], cut_ok: bool, key: str | None) -> Reply | Failed:
    """What a line of the output or of the error file says, by the same rules as an answer over HTTP."""
    response = line.get("response") or {}
    if (status := response.get("status_code")) is None:
        error = line.get("error") or {}
        return without_key(Failed("server_error", shorten(f"{error.get('code')}: {error.get('message')}", 300)), key)
    raw = msgspec.json.encode(response.get("body"))
    outcome = read_completion(raw, 0.0, cut_ok=cut_ok) if status == 200 else refusal(status, raw)
    return outcome if isinstance(outcome, Reply) else without_key(outcome, key)
