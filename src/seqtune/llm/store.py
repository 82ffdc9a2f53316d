"""The reply store: good replies under their requests' keys, committed before they are used: nothing is paid twice.

A SQLite file that any tool reads: `replies` (only good ones, the first that came stays) and `failures` (never served).
Several processes may use one file. Reads and commits are plain calls from the event loop: a read takes about 15 µs, a
commit of a group about 100 µs, and where another process is writing, the group waits its turn without blocking.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seqtune.errors import StoreError
from seqtune.llm.reply import Failed, Reply

VERSION = 1
GROUP_S = 0.004  # replies that come within this time are committed together
TURN_S = 60.0  # the longest wait for other processes' writes
BUSY_MS = 2  # the longest that a group blocks the event loop when another process is writing
PAGES_KIB = 4096  # of each connection's cache, whatever the size of the file
PRUNE_ROWS = 5000  # a transaction, so that others get their turn

SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
  key TEXT PRIMARY KEY, model TEXT NOT NULL, request TEXT NOT NULL, reply TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);
CREATE TABLE IF NOT EXISTS failures (
  key TEXT PRIMARY KEY, model TEXT NOT NULL, request TEXT NOT NULL, reason TEXT NOT NULL, failure TEXT NOT NULL,
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);
"""
KEEP = """INSERT INTO replies (key, model, request, reply, prompt_tokens, completion_tokens) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING"""
FORGET_FAILURE = "DELETE FROM failures WHERE key = ?"
KEEP_FAILURE = "INSERT OR REPLACE INTO failures (key, model, request, reason, failure) VALUES (?, ?, ?, ?, ?)"

_encode = msgspec.json.Encoder().encode
_decode_reply = msgspec.json.Decoder(Reply).decode


class Asked(NamedTuple):
    """What was asked, as the store's columns: the key, the model and the request as JSON."""

    key: str
    model: str
    request: str


def default_store() -> Path:
    """Where replies are kept if nothing else is said: SEQTUNE_STORE, or in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SEQTUNE_STORE") or cache / "seqtune" / "replies.sqlite")


class Store:
    """Owns the two connections (one reads, one writes) and the group that waits to be committed.

    Raises:
        StoreError: the file is no reply store, or cannot be used.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with _said_of(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._reading = open_connection(self.path)
            self._writing = open_connection(self.path)
            self._writing.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        self._group: list[tuple[Asked, Reply | Failed]] = []
        self._committed: asyncio.Future[dict[str, Reply]] | None = None

    def find(self, key: str) -> Reply | None:
        """The good reply to the request of that key, if there is one."""
        with _said_of(self.path):
            row = self._reading.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return None if row is None else self._decoded(key, row[0])

    def _decoded(self, key: str, text: str) -> Reply:
        try:
            return _decode_reply(text)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"the reply {key} was changed by hand: {error}", where=str(self.path), fix="delete that row"
            ) from None

    async def keep(self, asked: Asked, outcome: Reply | Failed) -> Reply | Failed:
        """Put an outcome away, and return once it is committed.

        Returns:
            The outcome, or the good reply that another process committed first: all then go on with the same.

        Raises:
            StoreError: the disk is full, or other processes write without end.
        """
        if self._committed is None:
            loop = asyncio.get_running_loop()
            self._committed = loop.create_future()
            loop.call_later(GROUP_S, self._commit, time.monotonic() + TURN_S)
        self._group.append((asked, outcome))
        # Shielded: one cancelled call must not cancel the commit that the others of its group wait for.
        others = await asyncio.shield(self._committed)
        return others.get(asked.key, outcome)

    def _commit(self, give_up_at: float) -> None:
        """Commit the group; where another process is writing, come back soon."""
        committed = self._committed
        if committed is None:  # closed meanwhile
            return
        try:
            others = self._write(self._group)
        except (sqlite3.Error, StoreError) as error:
            if _busy(error) and time.monotonic() < give_up_at:
                asyncio.get_running_loop().call_later(GROUP_S, self._commit, give_up_at)
                return
            self._group, self._committed = [], None
            committed.set_exception(error if isinstance(error, StoreError) else _told(error, self.path))
            return
        except Exception as error:  # whatever it is, those who wait must hear of it
            self._group, self._committed = [], None
            committed.set_exception(error)
            return
        self._group, self._committed = [], None
        committed.set_result(others)

    def _write(self, group: list[tuple[Asked, Reply | Failed]]) -> dict[str, Reply]:
        """Write a group in one transaction; gives the replies that already stood there."""
        write, others = self._writing.execute, {}
        write("BEGIN IMMEDIATE")
        try:
            for asked, outcome in group:
                text = _encode(outcome).decode()
                if isinstance(outcome, Failed):
                    write(KEEP_FAILURE, (*asked, outcome.reason, text))
                    continue
                kept = write(KEEP, (*asked, text, outcome.prompt_tokens, outcome.completion_tokens))
                if not kept.rowcount:
                    [(stood,)] = write("SELECT reply FROM replies WHERE key = ?", (asked.key,))
                    others[asked.key] = self._decoded(asked.key, stood)
                write(FORGET_FAILURE, (asked.key,))
            write("COMMIT")
        except BaseException:
            if self._writing.in_transaction:
                write("ROLLBACK")
            raise
        return others

    def close(self) -> None:
        """Commit what still waits, and close the file.

        Raises:
            StoreError: what waits cannot be written.
        """
        group, committed = self._group, self._committed
        self._group, self._committed = [], None
        try:
            if committed is not None:
                committed.set_result(self._write_in_the_end(group))
        except StoreError as error:  # those who wait must hear of it
            if committed is not None:
                committed.set_exception(error)
            raise
        finally:
            self._reading.close()
            self._writing.close()

    def _write_in_the_end(self, group: list[tuple[Asked, Reply | Failed]]) -> dict[str, Reply]:
        with _said_of(self.path):
            self._writing.execute(f"PRAGMA busy_timeout = {int(TURN_S * 1000)}")
            return self._write(group)


def open_connection(path: Path, *, must_exist: bool = False) -> sqlite3.Connection:
    """A connection to a reply store, new or old, that commits only when told to.

    Raises:
        StoreError: there is none (with `must_exist`), or the file is something else.
    """
    if must_exist and not path.is_file():
        raise StoreError("there is no reply store", where=str(path), fix="name one with --store")
    give_up_at = time.monotonic() + TURN_S
    while True:
        try:
            return _connected(path)
        except sqlite3.OperationalError as error:
            # Changing a new file to WAL does not wait for its turn, whatever the time-out says.
            if not _busy(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=TURN_S, isolation_level=None)
    try:
        connection.execute("BEGIN")  # both of one moment: another process may be making the tables right now
        [(version,)] = connection.execute("PRAGMA user_version")
        [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master")
        connection.execute("COMMIT")
        if version != VERSION and (version or tables):
            what = f"a reply store of version {version}, this seqtune reads {VERSION}" if version else "no reply store"
            raise StoreError(f"this is {what}", where=str(path), fix="name another file")
        connection.execute(f"PRAGMA cache_size = -{PAGES_KIB}")
        # WAL: readers never wait. NORMAL: a power cut may lose the last moments, and never tears a record.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version != VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _told(error, path) from None


def _told(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    full = "full" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
    fix = "wait for the other process" if _busy(error) else "free some space" if full else "check that place"
    fix = f"{fix}, or name another store"
    return StoreError(f"the reply store cannot be used: {error}", where=str(path), fix=fix)


def _busy(error: Exception) -> bool:
    # sqlite_errorcode is not there before Python 3.11.
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


class Shelf(NamedTuple):
    """What a store holds of one model."""

    model: str
    replies: int
    failures: int
    prompt_tokens: int
    completion_tokens: int
    first: str
    last: str


def shelves(path: Path) -> list[Shelf]:
    """What a store holds, by model.

    Raises:
        StoreError: there is none, or the file is something else.
    """
    query = """SELECT model, sum(good), sum(NOT good), sum(p), sum(c), min(created), max(created) FROM (
      SELECT model, 1 AS good, prompt_tokens AS p, completion_tokens AS c, created FROM replies
      UNION ALL SELECT model, 0, 0, 0, created FROM failures) GROUP BY model ORDER BY model"""
    with looking_at(path) as connection:
        return [Shelf(*row) for row in connection.execute(query)]


def prune(
    path: Path, *, model: str | None = None, older_than_days: float | None = None, failures_only: bool = False
) -> int:
    """Delete what fits all conditions, and give the space back; the number of deleted rows.

    Raises:
        StoreError: there is no store, or the file is something else.
    """
    conditions, values = ["1"], list[Any]()
    if model is not None:
        conditions.append("model = ?")
        values.append(model)
    if older_than_days is not None:
        conditions.append("created < strftime('%Y-%m-%dT%H:%M:%SZ', 'now', ?)")
        values.append(f"-{older_than_days} days")
    where, deleted = " AND ".join(conditions), 0
    with looking_at(path) as connection:
        for table in ("failures",) if failures_only else ("failures", "replies"):
            some = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {where} LIMIT {PRUNE_ROWS})"
            while gone := connection.execute(some, values).rowcount:
                deleted += gone
        if deleted:
            connection.execute("VACUUM")
    return deleted


def recent(path: Path, model: str, limit: int) -> list[tuple[str, int, int]]:
    """The latest requests to a model that got a good reply: request as JSON, prompt tokens, completion tokens.

    Raises:
        StoreError: there is no store, or the file is something else.
    """
    query = "SELECT request, prompt_tokens, completion_tokens FROM replies WHERE model = ? ORDER BY rowid DESC LIMIT ?"
    with looking_at(path) as connection:
        return connection.execute(query, (model, limit)).fetchall()


def records(path: Path, *, model: str | None = None) -> Iterator[dict[str, Any]]:
    """The good replies as mappings, oldest first; what the mock server's replay mode reads.

    Raises:
        StoreError: there is no store, or the file is something else.
    """
    query = "SELECT key, model, request, reply, created FROM replies WHERE ? IS NULL OR model = ? ORDER BY rowid"
    with looking_at(path) as connection:
        for key, name, request, reply, created in connection.execute(query, (model, model)):
            raw = msgspec.Raw(request.encode()), msgspec.Raw(reply.encode())
            yield {"key": key, "model": name, "created": created, "request": raw[0], "reply": raw[1]}


@contextmanager
def looking_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of its own to a store that is there; what goes wrong with it is a `StoreError`."""
    with _said_of(path):
        connection = open_connection(path, must_exist=True)
        try:
            yield connection
        finally:
            connection.close()
