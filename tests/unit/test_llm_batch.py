"""Batches: files within the limits, answers read by the rules of any answer, and a table that old stores get on use."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.llm import batch
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.request import Request, body_of, key_of, user
from seqtune.llm.store import Asked, Store, shelves

URL = "http://127.0.0.1:8000/v1"


def waiting(text):
    request = Request(model="m", messages=(user(text),))
    return key_of(request), batch._Waiting(request, body_of(request), None)


@given(st.lists(st.text(max_size=300), unique=True, max_size=40), st.integers(1, 9), st.integers(500, 3000))
def test_requests_are_split_into_files_within_the_limits_and_none_is_lost(texts, most, most_bytes):
    every = dict(map(waiting, texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "MAX_REQUESTS", most)
        patch.setattr(batch, "MAX_BYTES", most_bytes)
        parts = [*batch._parts(every)]
    assert [key for part in parts for key in part] == [*every]
    for part in parts:
        assert 1 <= len(part) <= most
        assert len(part) == 1 or sum(len(batch._line(key, one)) for key, one in part.items()) <= most_bytes


@given(st.text())
def test_a_line_holds_exactly_what_would_be_sent_alone(text):
    key, one = waiting(text)
    line = msgspec.json.decode(batch._line(key, one), type=dict[str, msgspec.Raw])
    assert bytes(line["body"]) == one.body
    assert msgspec.json.decode(line["custom_id"]) == key
    assert key_of(msgspec.json.decode(line["body"], type=Request)) == key


COMPLETION = {"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 2}}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"response": {"status_code": 200, "body": {}}}, "wrong_json"),
        ({"response": {"status_code": 200, "body": None}}, "wrong_json"),
        ({"response": {"status_code": 429, "body": {"error": "slow down"}}}, "rate_limited"),
        ({"response": {"status_code": 400, "body": {"error": "no"}}}, "refused"),
        ({"response": None, "error": {"code": "batch_expired", "message": "too late"}}, "server_error"),
        ({}, "server_error"),
    ],
)
def test_a_line_that_is_no_answer_says_why(line, reason):
    said = batch._read_line(line, False, None)
    assert isinstance(said, Failed)
    assert said.reason == reason


def test_a_line_with_an_answer_is_a_reply():
    said = batch._read_line({"response": {"status_code": 200, "body": COMPLETION}}, False, None)
    assert said == Reply("Yes.", "stop", prompt_tokens=2)


def test_a_key_that_a_line_repeats_is_taken_out():
    line = {"error": {"code": "x", "message": "the key sk-planted-0123 is wrong"}}
    assert "planted" not in str(batch._read_line(line, False, "sk-planted-0123"))


@pytest.fixture
def table(tmp_path):
    """The table in a store that was made without it, and holds the reply to "answered"."""

    async def fill():
        store = Store(tmp_path / "r.sqlite")
        await store.keep(Asked("answered", "m", "{}"), Reply("yes"))
        store.close()

    asyncio.run(fill())
    return batch._Table(tmp_path / "r.sqlite", URL)


def test_a_request_is_claimed_once_unless_its_batch_is_forgotten(table):
    assert table.claim("first", ["a", "b"])
    assert not table.claim("second", ["b", "c"])
    assert table.claim("third", ["c"])
    table.submitted("first", "batch-1")
    assert table.under_way() == [("first", "batch-1", {"a", "b"}), ("third", None, {"c"})]
    table.forget("first")
    assert table.claim("fourth", ["b"])


def test_what_is_answered_is_not_claimed(table):
    assert not table.claim("first", ["a", "answered"])
    assert table.under_way() == []


def test_another_servers_batches_are_its_own(table):
    assert table.claim("first", ["a"])
    other = batch._Table(table.path, "http://another/v1")
    assert other.under_way() == []
    assert other.claim("second", ["a"])


def test_a_store_with_batches_is_a_store_like_any_other(table):
    table.claim("first", ["a"])
    assert [shelf.replies for shelf in shelves(table.path)] == [1]
    Store(table.path).close()
