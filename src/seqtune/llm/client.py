"""The client of any OpenAI-compatible address: tries again with patience, and never hands on a bad answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random
from time import time
from typing import NamedTuple

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from seqtune import __version__
from seqtune.errors import shorten
from seqtune.llm.budget import Meter
from seqtune.llm.endpoint import KEY, KEY_FILE, Endpoint, find_key
from seqtune.llm.gate import Gate
from seqtune.llm.reply import COSTLY, PERMANENT, Failed, Reason, Reply, read_completion
from seqtune.llm.request import Request

RETRIED = {408: "timeout", 409: "server_error", 425: "server_error", 429: "rate_limited"}
MAX_BACKOFF_S = 30.0
CONNECT_S = 15.0
FLOOR_SHARE = 4  # the adaptive mode never goes below a quarter of the ceiling
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


@dataclass(frozen=True)
class Line:
    """One address, ready to be called."""

    url: URL
    headers: Mapping[str, str]
    key: str | None
    gate: Gate


class _Try(NamedTuple):
    outcome: Reply | Failed
    retry_after_s: float | None = None


@asynccontextmanager
async def open_client(
    endpoints: Sequence[Endpoint],
    *,
    concurrency: int,
    adaptive: bool = False,
    patience: Patience | None = None,
    key_file: str | Path | None = None,
) -> AsyncIterator[Client]:
    """A client whose addresses share the work.

    Args:
        endpoints: addresses of one model.
        concurrency: the most requests in flight, over all addresses.
        adaptive: go down, to no less than a quarter, while the server refuses for load.
        patience: how long and how often to try.
        key_file: holds the key, where the environment does not.

    Raises:
        TeacherError: the key file cannot be read.
    """
    share = max(1, -(-concurrency // len(endpoints)))
    floor = max(1, share // FLOOR_SHARE) if adaptive else None
    lines = [_line(endpoint, Gate(share, floor=floor), key_file) for endpoint in endpoints]
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    # No redirects and no cookies: what is sent goes to the address that was named, and to no other.
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Client(session, lines, patience or Patience())


def _line(endpoint: Endpoint, gate: Gate, key_file: str | Path | None) -> Line:
    key = find_key(endpoint.url, key_file=key_file)
    headers = {"Content-Type": "application/json", "User-Agent": f"seqtune/{__version__}"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return Line(URL(f"{endpoint.url}/chat/completions"), headers, key, gate)


class Client:
    """Owns the session and the gates of the addresses; made by `open_client`."""

    def __init__(self, session: aiohttp.ClientSession, lines: Sequence[Line], patience: Patience) -> None:
        self._session, self._lines, self._patience = session, lines, patience
        self._random = Random()

    async def ask(self, request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        """A good reply, or the reason of the last try.

        Raises:
            BudgetSpent: the next try would go over the budget.
        """
        clock, patience = asyncio.get_running_loop().time, self._patience
        ends, outcome, last, costly = 0.0, None, None, 0
        for tries in range(1, patience.tries + 1):
            line = self._least_busy(last)
            await line.gate.enter()
            ends = ends or clock() + patience.deadline_s
            timeout_s = min(patience.timeout_s, ends - clock())
            if timeout_s <= 0 and outcome:
                line.gate.leave()
                return outcome
            outcome, wait_s = await self._admitted(line, request, body, meter, timeout_s, tries)
            if isinstance(outcome, Reply) or outcome.reason in PERMANENT:
                return outcome
            costly += outcome.reason in COSTLY
            if costly >= patience.costly_tries or tries == patience.tries or clock() + wait_s > ends:
                return outcome
            last = line
            await asyncio.sleep(wait_s)
        raise AssertionError("patience without tries")  # checked when the teacher is opened

    def _least_busy(self, last: Line | None) -> Line:
        """The address with the fewest calls, paused ones last, and where a try just failed last among equals."""
        if len(self._lines) == 1:
            return self._lines[0]
        return min(self._lines, key=lambda one: (one.gate.paused, one.gate.inside + len(one.gate.waiting), one is last))

    async def _admitted(
        self, line: Line, request: Request, body: bytes, meter: Meter, timeout_s: float, tries: int
    ) -> tuple[Reply | Failed, float]:
        """One try inside of the gate, and the seconds to wait before another."""
        prompt_tokens = completion_tokens = 0
        try:
            meter.admit(request, body)
            meter.counts.retried += tries > 1
            try:
                outcome, retry_after_s = await self._try(line, request, body, timeout_s)
                prompt_tokens, completion_tokens = outcome.prompt_tokens, outcome.completion_tokens
            finally:
                meter.settle(prompt_tokens, completion_tokens)
        finally:
            line.gate.leave()
        if isinstance(outcome, Reply):
            line.gate.praise()
            return outcome, 0.0
        backoff_s = min(MAX_BACKOFF_S, self._patience.backoff_s * 2 ** (tries - 1)) * (0.5 + self._random.random() / 2)
        wait_s = backoff_s if retry_after_s is None else retry_after_s * (1 + self._random.random() / 10)
        if retry_after_s is not None or outcome.reason in ("rate_limited", "connection"):
            line.gate.blame(min(wait_s, self._patience.deadline_s))
        return msgspec.structs.replace(outcome, tries=tries), wait_s

    async def _try(self, line: Line, request: Request, body: bytes, timeout_s: float) -> _Try:
        clock = asyncio.get_running_loop().time
        started = clock()
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
        try:
            async with self._session.post(
                line.url, data=body, headers=line.headers, timeout=timeout, allow_redirects=False
            ) as response:
                raw = await response.read()
        except (asyncio.TimeoutError, TimeoutError):
            return _Try(Failed("timeout", f"no whole answer within {timeout_s:.3g} s"))
        except aiohttp.ClientPayloadError as error:
            return _Try(Failed("cut", shorten(str(error))))
        except (aiohttp.ClientError, OSError) as error:
            return _Try(Failed("connection", shorten(f"{type(error).__name__}: {error}")))
        if response.status == 200:
            outcome = read_completion(raw, round(clock() - started, 4), cut_ok=request.cut_ok)
            return _Try(outcome if isinstance(outcome, Reply) else _without_key(outcome, line.key))
        failed = _without_key(_refusal(response.status, raw), line.key)
        return _Try(failed, _retry_after_s(response.headers))


def _refusal(status: int, raw: bytes) -> Failed:
    """What an answer with another status than 200 says: to be tried again, or final."""
    text = raw.decode("utf-8", "replace")
    reason: Reason = "server_error" if status >= 500 else RETRIED.get(status, "refused")  # type: ignore[assignment]
    if status == 429 and "insufficient_quota" in text:
        return Failed("refused", shorten(text, 300), FIXES[402], status)
    fix = FIXES.get(status, "check the address") if reason == "refused" else ""
    return Failed(reason, shorten(text, 300), fix, status)


def _without_key(failed: Failed, key: str | None) -> Failed:
    """Servers repeat what they were sent; a key must reach no log and no store. Half a key is taken out as well."""
    if not key:
        return failed
    detail = failed.detail.replace(key, "***")
    if (start := detail.find(key[:8])) >= 0:  # shortened in the middle of the key
        detail = f"{detail[:start]}***"
    return msgspec.structs.replace(failed, detail=detail)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait for: a number, a date, or OpenAI's milliseconds."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            seconds = float(milliseconds) / 1000
        elif (value := headers.get("Retry-After")) is None:
            return None
        else:
            seconds = float(value) if value[:1].isdigit() else parsedate_to_datetime(value).timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < 1e9 else None
