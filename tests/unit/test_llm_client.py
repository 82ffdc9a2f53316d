"""What a failure says about all other requests, and where asking without a format helps; with scripted tries."""

import asyncio

import pytest

from seqtune.llm.budget import Budget, Meter
from seqtune.llm.client import Client, Patience, Route, Tried, refusal
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.request import Request, body_of, json_schema, user
from seqtune.llm.throttle import Throttle

GOOD = Reply("yes")
REFUSED = Failed("connection", "nobody")


def outcomes_of(tries, *requests, reached=True, patience=None):
    """What a client makes of tries that go as scripted, one request after the other; and what was sent."""
    script, sent = iter(tries), []

    async def send(request, body, timeout_s):
        sent.append(request)
        return Tried(next(script))

    async def work():
        route = Route(send, Throttle(4))
        client = Client([route], patience or Patience(tries=1), lambda: reached)
        return [await client.ask(request, body_of(request), Meter(Budget())) for request in requests]

    return asyncio.run(asyncio.wait_for(work(), 20)), sent


def question(text="Hi", **fields):
    return Request(model="m", messages=(user(text),), **fields)


@pytest.mark.parametrize(("status", "stops"), [(401, True), (402, True), (403, False), (404, False), (422, False)])
def test_a_wrong_key_stops_everything_and_a_refused_prompt_nothing(status, stops):
    refused = refusal(status, b"no")
    outcomes, _ = outcomes_of([refused, GOOD, refused], *map(question, "abc"))
    assert (outcomes[0].stops, outcomes[1], outcomes[2].stops) == (stops, GOOD, stops)


UNKNOWN = refusal(404, b'{"message": "The model `m` does not exist.", "code": 404}')
NOWHERE = refusal(404, b"<html>not here</html>")


@pytest.mark.parametrize(
    ("tries", "stops"),
    [
        ([UNKNOWN], [True]),
        ([NOWHERE] * 4, [False, False, True, True]),
        ([GOOD, UNKNOWN, NOWHERE, NOWHERE, NOWHERE], [False] * 5),
        ([NOWHERE, NOWHERE, GOOD, NOWHERE], [False] * 4),
    ],
)
def test_a_wrong_model_stops_everything_as_long_as_nothing_was_ever_answered(tries, stops):
    outcomes, _ = outcomes_of(tries, *map(question, "abcde"[: len(tries)]))
    assert [isinstance(one, Failed) and one.stops for one in outcomes] == stops


def test_an_empty_account_stops_everything_whatever_status_it_is_told_with():
    [outcome], _ = outcomes_of([refusal(429, b'{"error": {"code": "insufficient_quota"}}')], question())
    assert (outcome.reason, outcome.stops) == ("refused", True)


@pytest.mark.parametrize("failed", [refusal(500, b""), refusal(429, b""), Failed("timeout"), Failed("empty")])
def test_a_bad_moment_stops_nothing(failed):
    [outcome], _ = outcomes_of([failed], question())
    assert outcome == failed


def test_nobody_there_is_given_up_early_and_somebody_gone_is_not():
    patience = Patience(tries=5, backoff_s=8)
    [outcome], sent = outcomes_of([REFUSED], question(), reached=False, patience=patience)
    assert (outcome.tries, outcome.stops, len(sent)) == (1, True, 1)
    patience = Patience(tries=5, backoff_s=0.01)
    [outcome], sent = outcomes_of([REFUSED] * 5, question(), patience=patience)
    assert (outcome.tries, outcome.stops, len(sent)) == (5, False, 5)


FORMAT = json_schema({"type": "object"})


@pytest.mark.parametrize("status", [400, 422])
def test_formats_are_left_out_once_that_helped(status):
    asked = [question(text, response_format=FORMAT) for text in "ab"]
    outcomes, sent = outcomes_of([refusal(status, b"response_format?"), GOOD, GOOD], *asked)
    assert outcomes == [GOOD, GOOD]
    assert [request.response_format for request in sent] == [FORMAT, None, None]


def test_formats_are_still_sent_where_leaving_them_out_did_not_help():
    asked = [question(text, response_format=FORMAT) for text in "ab"]
    outcomes, sent = outcomes_of([refusal(400, b"too long")] * 2 + [GOOD], *asked)
    assert (outcomes[0].reason, outcomes[1]) == ("refused", GOOD)
    assert [request.response_format for request in sent] == [FORMAT, None, FORMAT]


def test_settings_that_a_refusal_names_are_left_out_one_after_the_other():
    asked = question(response_format=FORMAT, temperature=0.5, max_tokens=9)
    named = b"'max_tokens' is not supported with this model", b"'temperature' does not support 0.5 with this model"
    outcomes, sent = outcomes_of([refusal(400, named[0]), refusal(400, named[1]), GOOD, GOOD], asked, asked)
    assert outcomes == [GOOD, GOOD]
    assert [request.temperature for request in sent] == [0.5, 0.5, None, None]
    assert all(request.response_format == FORMAT for request in sent)


@pytest.mark.parametrize("failed", [refusal(500, b""), refusal(401, b""), Failed("not_json")])
def test_other_failures_are_no_reason_to_leave_a_format_out(failed):
    _, sent = outcomes_of([failed], question(response_format=FORMAT))
    assert len(sent) == 1
