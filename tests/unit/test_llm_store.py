"""The reply store: what is committed stays, the first good reply wins, and failures are never served."""

import asyncio
import sqlite3
import subprocess
import sys

import msgspec
import pytest

from seqtune.errors import StoreError
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.store import Asked, Store, prune, records, shelves

HI = Asked("k1", "m", '{"model":"m","messages":[{"role":"user","content":"Hi"}]}')


@pytest.fixture
def path(tmp_path):
    return tmp_path / "replies.sqlite"


def keep(path, *pairs):
    async def run():
        store = Store(path)
        try:
            return await asyncio.gather(*[store.keep(asked, outcome) for asked, outcome in pairs])
        finally:
            store.close()

    return asyncio.run(run())


def found(path, key):
    store = Store(path)
    try:
        return store.find(key)
    finally:
        store.close()


def test_a_kept_reply_comes_back_equal(path):
    reply = Reply("Hello — “ünï” 🙂\x00", "stop", "m-1", 1, 2, 3, 0.5)
    keep(path, (HI, reply))
    assert found(path, "k1") == reply
    assert found(path, "k2") is None


def test_the_first_good_reply_stays_and_all_go_on_with_it(path):
    keep(path, (HI, Reply("first")))
    assert keep(path, (HI, Reply("second"))) == [Reply("first")]
    assert found(path, "k1") == Reply("first")


def test_a_failure_is_on_record_and_never_served_and_a_reply_replaces_it(path):
    keep(path, (HI, Failed("empty", "nothing")))
    assert found(path, "k1") is None
    assert [(shelf.replies, shelf.failures) for shelf in shelves(path)] == [(0, 1)]
    keep(path, (HI, Reply("good")))
    assert [(shelf.replies, shelf.failures) for shelf in shelves(path)] == [(1, 0)]


def test_plain_sqlite_reads_it(path):
    keep(path, (HI, Reply("Hello", prompt_tokens=4, completion_tokens=2)))
    query = "SELECT key, model, request ->> '$.messages[0].content', reply ->> '$.text', prompt_tokens FROM replies"
    assert sqlite3.connect(path).execute(query).fetchall() == [("k1", "m", "Hi", "Hello", 4)]


def test_a_write_waits_for_another_process_without_blocking_the_loop(path):
    async def run():
        store = Store(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(store.keep(HI, Reply("late")))
        for _ in range(20):
            await asyncio.sleep(0.01)
        waited = not writing.done() and store.find("k1") is None
        other.execute("COMMIT")
        await writing
        store.close()
        other.close()
        return waited

    assert asyncio.run(asyncio.wait_for(run(), 10))
    assert found(path, "k1") == Reply("late")


def test_closing_commits_what_waits(path):
    async def run():
        store = Store(path)
        call = asyncio.ensure_future(store.keep(HI, Reply("kept")))
        await asyncio.sleep(0)
        call.cancel()
        store.close()

    asyncio.run(run())
    assert found(path, "k1") == Reply("kept")


def test_where_the_last_write_fails_who_waits_is_told_and_the_file_is_let_go(path):
    async def run():
        store = Store(path)
        store._writing.execute("PRAGMA max_page_count = 1")  # the disk is full
        waiting = asyncio.ensure_future(store.keep(HI, Reply("x" * 100_000)))
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="full"):
            store.close()
        with pytest.raises(StoreError, match="full"):
            await waiting
        for connection in (store._reading, store._writing):
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("SELECT 1")

    asyncio.run(run())


def test_another_file_is_refused_and_left_alone(tmp_path):
    text, other = tmp_path / "text.sqlite", tmp_path / "other.sqlite"
    text.write_text("this is no database" * 100)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(StoreError, match=str(path)):
            Store(path)
        assert path.read_bytes() == before


def test_prune_deletes_what_fits_and_no_more(path):
    keep(path, *[(Asked(f"{model}{i}", model, "{}"), Reply("x")) for model in "ab" for i in range(3)])
    keep(path, (Asked("f", "a", "{}"), Failed("empty")))
    assert prune(path, older_than_days=1) == 0
    assert prune(path, failures_only=True) == 1
    assert prune(path, model="a") == 3
    assert [record["key"] for record in records(path)] == ["b0", "b1", "b2"]


def test_a_cache_command_on_no_store_makes_none(path):
    with pytest.raises(StoreError, match="there is no reply store"):
        shelves(path)
    assert not path.exists()


WRITER = """
import asyncio, sys
from seqtune.llm.reply import Reply
from seqtune.llm.store import Asked, Store
async def run():
    store = Store(sys.argv[1])
    async def one(i):
        kept = await store.keep(Asked(f"key{i}", "m", "{}"), Reply(f"{sys.argv[2]} {i} " + "x" * (i % 5000)))
        assert store.find(f"key{i}") == kept
        return kept.text
    for start in range(0, 2000, 100):
        print(*await asyncio.gather(*map(one, range(start, start + 100))), sep="\\n")
    store.close()
asyncio.run(run())
"""


def test_two_processes_that_write_the_same_keys_agree_on_every_reply(path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    ]
    said = [writer.communicate(timeout=60)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert said[0] == said[1]
    assert [msgspec.json.decode(record["reply"])["text"] for record in records(path)] == said[0].splitlines()
