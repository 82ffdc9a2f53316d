"""Only a whole, nonempty answer is a reply; everything else is a failure with a reason."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.llm.reply import Failed, Reply, read_completion


def body(content="Yes.", finish="stop", **message):
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    return json.dumps({"model": "m-1", "choices": [choice], "usage": usage}).encode()


def test_a_good_answer_keeps_what_the_server_told():
    assert read_completion(body(), 0.5) == Reply("Yes.", "stop", "m-1", 3, 2, 1, 0.5)


@pytest.mark.parametrize("usage", [b"", b', "usage": null', b', "usage": {"prompt_tokens": null}'])
def test_servers_may_tell_no_usage_and_no_reason(usage):
    said = read_completion(b'{"choices": [{"message": {"content": "Yes."}}]' + usage + b"}", 0)
    assert said == Reply("Yes.")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (body(""), "empty"),
        (body(" \n"), "empty"),
        (body(None), "empty"),
        (body(finish="length"), "length"),
        (body(finish="abort"), "cut"),
        (body(finish="content_filter"), "filtered"),
        (body(None, refusal="I cannot."), "filtered"),
        (body()[:-9], "not_json"),
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"<html></html>", "not_json"),
        (b"{}", "wrong_json"),
        (b"[]", "wrong_json"),
        (b'{"choices": []}', "wrong_json"),
        (b'{"choices": [{"message": {"content": 7}}]}', "wrong_json"),
        (b'{"error": {"message": "out of memory"}}', "wrong_json"),
    ],
)
def test_what_is_no_answer_says_why(raw, reason):
    said = read_completion(raw, 0)
    assert isinstance(said, Failed)
    assert said.reason == reason


def test_a_cut_answer_is_good_where_it_was_wanted_so():
    assert read_completion(body(finish="length"), 0, cut_ok=True).text == "Yes."


@given(st.integers(0, len(body()) - 1))
def test_no_beginning_of_an_answer_is_an_answer(length):
    assert isinstance(read_completion(body()[:length], 0), Failed)


@given(st.binary(max_size=40))
def test_no_bytes_raise(raw):
    assert isinstance(read_completion(raw, 0), Failed)


def test_what_stops_everything_is_kept_with_the_failure():
    failed = Failed("refused", "no", status=401, stops=True)
    assert msgspec.json.decode(msgspec.json.encode(failed), type=Failed) == failed
    assert not Failed("refused", "no", status=400).stops
