"""The client of any OpenAI-compatible address: tries again with patience, and never hands on a bad answer."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from seqtune import __version__
from seqtune.errors import shorten
from seqtune.llm.budget import Meter
from seqtune.llm.endpoint import KEY, KEY_FILE, Endpoint, find_key
from seqtune.llm.reply import COSTLY, PERMANENT, Failed, Reason, Reply, read_completion
from seqtune.llm.request import Request, body_of
from seqtune.llm.throttle import Throttle

if TYPE_CHECKING:
    from aiohttp.connector import Connection

    from seqtune.llm.asking import Backend

RETRIED = {408: "timeout", 409: "server_error", 425: "server_error", 429: "rate_limited"}
MAX_BACKOFF_S = 30.0
CONNECT_S = 15.0
UNREACHED_S = 4.0  # a wrong port is told soon; once anything was connected to, the full patience applies
FLOOR_SHARE = 4  # the adaptive mode never goes below a quarter of the ceiling
# Nothing else can succeed either: a wrong key, an empty account. A 403 may be about one flagged prompt.
STOPPING_STATUSES = frozenset({401, 402})
NEVER_FOUND = 3  # 404s in place of the first replies, after which the address or the model is taken to be wrong
# What servers answer to a setting that they do not take.
UNKNOWN_SETTING = frozenset({400, 422})
# What a server may not take, in the order in which it is left out where the refusal does not name one: many know no
# JSON schemas, OpenAI's own knows no top_k, and its reasoning models want another name for max_tokens and no sampling.
SETTINGS = ("response_format", "top_k", "temperature", "top_p", "max_tokens")
NOBODY = "is the server running, and is this its port? Check the address"
FIXES = {
    400: "the server does not take the request: see what it says; a prompt too long, or a setting it does not know",
    401: f"set {KEY}, or {KEY_FILE} to a file with the key",
    402: "the account is empty",
    403: "the key may not use this model: see what the server says",
    404: "check the address (it mostly ends in /v1) and the model's name after the '#'",
    413: "the request is too large: make images or texts smaller",
    422: "the server does not take the request: see what it says; a setting it does not know",
}


class Patience(Struct, frozen=True, kw_only=True):
    """How long and how often a request is tried.

    Args:
        tries: the most tries.
        costly_tries: the most tries where answers come back empty or cut at max_tokens; each costs a completion.
        timeout_s: of one try, from sending to the last byte.
        deadline_s: of all tries together, from the first one's start.
        backoff_s: before the second try; doubled each time up to 30 s, and jittered.
    """

    tries: int = 8
    costly_tries: int = 3
    timeout_s: float = 120.0
    deadline_s: float = 900.0
    backoff_s: float = 0.5


class Tried(NamedTuple):
    """How one try went, and how long the server asks to wait before the next."""

    outcome: Reply | Failed
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Route:
    """One address, ready to be called: one try within so many seconds, and the throttle to it."""

    send: Callable[[Request, bytes, float], Awaitable[Tried]]
    throttle: Throttle


@asynccontextmanager
async def open_client(
    endpoints: Sequence[Endpoint],
    *,
    concurrency: int,
    adaptive: bool = False,
    patience: Patience | None = None,
    key_file: str | Path | None = None,
) -> AsyncIterator[Backend]:
    """Asking over HTTP, with addresses that share the work.

    Args:
        endpoints: addresses of one model.
        concurrency: the most requests in flight, over all addresses.
        adaptive: go down, to no less than a quarter, while the server refuses for load.
        patience: how long and how often to try.
        key_file: holds the key, where the environment does not.

    Raises:
        TeacherError: the key file cannot be read.
    """
    keys = [find_key(endpoint.url, key_file=key_file) for endpoint in endpoints]
    connector = _Connector(limit=0, keepalive_timeout=60)
    # No redirects and no cookies: what is sent goes to the address that was named, and to no other.
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        routes = [
            Route(partial(_post, session, URL(f"{endpoint.url}/chat/completions"), key), _throttle(share, adaptive))
            for endpoint, key, share in zip(endpoints, keys, dealt_out(concurrency, len(endpoints)), strict=True)
            if share  # with less than one request an address, the last are left out
        ]
        yield Client(routes, patience or Patience(), lambda: connector.reached).ask


def dealt_out(most: int, among: int) -> list[int]:
    """Shares of a whole, as equal as can be: 4 among 3 are 2, 1 and 1."""
    share, over = divmod(most, among)
    return [share + (i < over) for i in range(among)]


def _throttle(most: int, adaptive: bool) -> Throttle:
    return Throttle(most, floor=max(1, most // FLOOR_SHARE) if adaptive else None)


class _Connector(aiohttp.TCPConnector):
    """Knows whether there ever was a connection."""

    reached = False

    async def connect(self, *args: Any, **named: Any) -> Connection:
        connection = await super().connect(*args, **named)
        self.reached = True
        return connection


def headers_with(key: str | None) -> dict[str, str]:
    """What every request to a server says of us."""
    agent = {"User-Agent": f"seqtune/{__version__}"}
    return {**agent, "Authorization": f"Bearer {key}"} if key else agent


class Client:
    """Tries with patience over a few routes.

    Args:
        routes: addresses of one model.
        patience: how long and how often to try.
        reached: whether there ever was a connection; as long as not, nobody is waited for.
    """

    def __init__(self, routes: Sequence[Route], patience: Patience, reached: Callable[[], bool]) -> None:
        self._routes, self._patience, self._reached = routes, patience, reached
        self._random = Random()
        self._left_out: frozenset[str] = frozenset()
        self._give_up_at = math.inf  # where nobody was reached by then
        self._answers, self._unknown = False, 0  # whether there ever was a reply, and how often 404

    async def ask(self, request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        """A good reply, or the reason of the last try.

        Where the server refuses a setting, the same is sent without, and if that is answered, all later requests are;
        `meter.left_out` tells which. `max_tokens` is not left out, but called `max_completion_tokens`.

        Raises:
            BudgetSpent: the next try would go over the budget.
            Stopped: nothing more is to be sent.
        """
        left_out = self._left_out
        while True:
            outcome = await self._ask(*_without(request, body, left_out), meter)
            if isinstance(outcome, Reply):
                self._left_out |= left_out
                meter.left_out |= left_out
                return outcome
            refused = _refused_setting(outcome, request, left_out)
            if refused is None:
                return outcome
            left_out |= {refused}

    async def _ask(self, request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        clock, patience = asyncio.get_running_loop().time, self._patience
        ends, outcome, last, costly = 0.0, None, None, 0
        for tries in range(1, patience.tries + 1):
            route = self._least_busy(last)
            await route.throttle.enter()
            ends = ends or clock() + patience.deadline_s
            timeout_s = min(patience.timeout_s, ends - clock())
            if timeout_s <= 0 and outcome:
                route.throttle.leave()
                return outcome
            outcome, wait_s = await self._admitted(route, request, body, meter, timeout_s, tries)
            if isinstance(outcome, Reply) or outcome.reason in PERMANENT or outcome.stops:
                return outcome
            costly += outcome.reason in COSTLY
            if costly >= patience.costly_tries or tries == patience.tries or clock() + wait_s > ends:
                return outcome
            last = route
            await meter.rest(wait_s)
        raise AssertionError("patience without tries")  # checked when the teacher is opened

    def _least_busy(self, last: Route | None) -> Route:
        """The address with the fewest calls, paused ones last, and where a try just failed last among equals."""
        if len(self._routes) == 1:
            return self._routes[0]
        return min(
            self._routes,
            key=lambda one: (one.throttle.paused, one.throttle.inside + len(one.throttle.waiting), one is last),
        )

    async def _admitted(
        self, route: Route, request: Request, body: bytes, meter: Meter, timeout_s: float, tries: int
    ) -> tuple[Reply | Failed, float]:
        """One try inside of the throttle, and the seconds to wait before another."""
        prompt_tokens = completion_tokens = 0
        try:
            await meter.admit_in_turn(request, body)
            meter.counts.retried += tries > 1
            try:
                outcome, retry_after_s = await route.send(request, body, timeout_s)
                prompt_tokens, completion_tokens = outcome.prompt_tokens, outcome.completion_tokens
            finally:
                meter.settle(prompt_tokens, completion_tokens)
        finally:
            route.throttle.leave()
        if isinstance(outcome, Reply):
            route.throttle.praise()
            self._answers = True
            return outcome, 0.0
        backoff_s = min(MAX_BACKOFF_S, self._patience.backoff_s * 2 ** (tries - 1)) * (0.5 + self._random.random() / 2)
        wait_s = backoff_s if retry_after_s is None else retry_after_s * (1 + self._random.random() / 10)
        outcome = self._judged(msgspec.structs.replace(outcome, tries=tries), wait_s)
        # No pause where nothing can succeed: all others are to be told the same at once.
        if not outcome.stops and (retry_after_s is not None or outcome.reason in ("rate_limited", "connection")):
            route.throttle.blame(min(wait_s, self._patience.deadline_s))
        return outcome, wait_s

    def _judged(self, failed: Failed, wait_s: float) -> Failed:
        """The failure, marked where no other request can succeed either."""
        now = asyncio.get_running_loop().time()
        if failed.reason == "connection" and not self._reached():
            self._give_up_at = min(self._give_up_at, now + UNREACHED_S)
            if now + wait_s >= self._give_up_at:
                return msgspec.structs.replace(failed, fix=NOBODY, stops=True)
        stops = failed.status in STOPPING_STATUSES or failed.fix == FIXES[402]
        if failed.status == 404 and not self._answers:  # some servers say so of one bad request only
            self._unknown += 1
            stops = self._unknown >= NEVER_FOUND or "model" in failed.detail.lower()
        return msgspec.structs.replace(failed, stops=stops)


async def _post(
    session: aiohttp.ClientSession, url: URL, key: str | None, request: Request, body: bytes, timeout_s: float
) -> Tried:
    started = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
    headers = {"Content-Type": "application/json", **headers_with(key)}
    try:
        async with session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False) as response:
            raw = await response.read()
    except aiohttp.ServerTimeoutError:  # of connecting: no other limit than the whole is set
        return Tried(Failed("connection", f"no connection within {min(CONNECT_S, timeout_s):.3g} s"))
    except (asyncio.TimeoutError, TimeoutError):
        return Tried(Failed("timeout", f"no whole answer within {timeout_s:.3g} s"))
    except aiohttp.ClientPayloadError as error:
        return Tried(Failed("cut", shorten(str(error))))
    except (aiohttp.ClientError, OSError) as error:
        return Tried(Failed("connection", shorten(f"{type(error).__name__}: {error}", 300)))
    if response.status == 200:
        outcome = read_completion(raw, round(time.monotonic() - started, 4), cut_ok=request.cut_ok)
        return Tried(outcome if isinstance(outcome, Reply) else without_key(outcome, key))
    return Tried(without_key(refusal(response.status, raw), key), retry_after_s_of(response.headers))


def _without(request: Request, body: bytes, left_out: frozenset[str]) -> tuple[Request, bytes]:
    """The request and its body without what the server does not take."""
    dropped = {name: None for name in left_out if name != "max_tokens" and getattr(request, name) is not None}
    if dropped:
        request = msgspec.structs.replace(request, **dropped)
        body = body_of(request)
    if "max_tokens" in left_out:  # inside of a text the quotation marks would be escaped
        body = body.replace(b'"max_tokens":', b'"max_completion_tokens":')
    return request, body


def _refused_setting(failed: Failed, request: Request, left_out: frozenset[str]) -> str | None:
    """The setting to leave out next: one that the refusal names, or else the response format."""
    if failed.status not in UNKNOWN_SETTING:
        return None
    sent = [name for name in SETTINGS if name not in left_out and getattr(request, name) is not None]
    named = [name for name in sent if re.search(rf"\b{name}\b", failed.detail)]
    return named[0] if named else "response_format" if "response_format" in sent else None


def refusal(status: int, raw: bytes) -> Failed:
    """What an answer with another status than 200 says: to be tried again, or final."""
    text = raw.decode("utf-8", "replace")
    reason: Reason = "server_error" if status >= 500 else RETRIED.get(status, "refused")  # type: ignore[assignment]
    if status == 429 and "insufficient_quota" in text:
        return Failed("refused", shorten(text, 300), FIXES[402], status)
    fix = FIXES.get(status, "check the address") if reason == "refused" else ""
    return Failed(reason, shorten(text, 300), fix, status)


def without_key(failed: Failed, key: str | None) -> Failed:
    """Servers repeat what they were sent; a key must reach no log and no store. Half a key is taken out as well."""
    if not key:
        return failed
    detail = failed.detail.replace(key, "***")
    if (start := detail.find(key[:8])) >= 0:  # shortened in the middle of the key
        detail = f"{detail[:start]}***"
    return msgspec.structs.replace(failed, detail=detail)


def retry_after_s_of(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait for: a number, a date, or OpenAI's milliseconds."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            seconds = float(milliseconds) / 1000
        elif (value := headers.get("Retry-After")) is None:
            return None
        else:
            seconds = float(value) if value[:1].isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < 1e9 else None
