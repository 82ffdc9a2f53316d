"""Asking a teacher over HTTP, against the mock server: under faults, killed, twice at once, with a planted key."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import msgspec
import pytest

from seqtune.errors import BudgetSpent, TeacherError
from seqtune.llm.asking import each, open_teacher
from seqtune.llm.budget import Budget, Price
from seqtune.llm.client import Patience
from seqtune.llm.mock import Mock, answer_by_hash, body_hash, replay, serving
from seqtune.llm.reply import Failed, Reply, Stopped
from seqtune.llm.request import Request, body_of, json_schema, user
from seqtune.llm.store import records, shelves
from seqtune.llm.throttle import Throttle

FAULTS = {"500": 0.05, "429": 0.05, "empty": 0.02, "not_json": 0.01, "cut": 0.01, "hang": 0.01}
QUICK = Patience(timeout_s=1.0, deadline_s=20, backoff_s=0.05)
SECRET = "sk-planted-0123456789abcdef"


def question(text, **fields):
    return Request(model="mock", messages=(user(text),), **fields)


def right_answer(request):
    return answer_by_hash(msgspec.json.decode(body_of(request)))


def run(test, timeout_s=60):
    return asyncio.run(asyncio.wait_for(test, timeout_s))


@asynccontextmanager
async def asking(mock, path, *, url=None, **options):
    async with serving(mock) as served:
        options = {"patience": QUICK, **options}
        async with open_teacher(f"{url or served}#mock", store=path, **options) as teacher:
            yield teacher


@pytest.fixture
def path(tmp_path):
    return tmp_path / "replies.sqlite"


async def three_calls(teacher, row):
    """Three calls, each asking about the reply before: the right last reply can be worked out without a server."""
    text = f"row {row}"
    for step in range(3):
        outcome = await teacher(question(f"step {step} of {text}"))
        if isinstance(outcome, Failed):
            return outcome
        text = outcome.text
    return text


def right_chain(row):
    text = f"row {row}"
    for step in range(3):
        text = right_answer(question(f"step {step} of {text}"))
    return text


def test_under_faults_every_row_ends_right_or_with_its_reason_and_nothing_good_is_asked_twice(path):
    mock = Mock(answer_by_hash, 0.02, FAULTS, retry_after_s=1.0)

    async def work():
        async with asking(mock, path, concurrency=64) as teacher:
            return {
                row: out async for row, out in each(lambda row: three_calls(teacher, row), range(500), in_flight=128)
            }

    ended = run(work())
    assert len(ended) == 500
    failed = [out for out in ended.values() if isinstance(out, Failed)]
    assert all(out.reason for out in failed)
    assert len(failed) <= 2
    assert [row for row, out in ended.items() if isinstance(out, str) and out != right_chain(row)] == []
    assert set(mock.answered.values()) == {1}
    assert set(FAULTS) < set(mock.happened)
    before = mock.came.total()
    again = run(work())
    assert all(again[row] == out for row, out in ended.items() if isinstance(out, str))
    assert set(mock.answered.values()) == {1}
    assert mock.came.total() - before <= 3 * 8 * len(failed)


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_random_refusal_costs_one_request_more_and_hardly_ever_a_pause_of_all(path, adaptive, monkeypatch):
    mock, blame, paused = Mock(answer_by_hash, 0.02, {"429": 0.03}, retry_after_s=0.2), Throttle.blame, []
    monkeypatch.setattr(
        Throttle, "blame", lambda throttle, pause_s: paused.append(blame(throttle, pause_s) or throttle.paused)
    )

    async def work():
        async with asking(mock, path, concurrency=64, adaptive=adaptive, patience=Patience()) as teacher:
            requests = (question(str(i)) for i in range(1000))
            return [outcome async for _, outcome in each(teacher, requests, in_flight=128)], teacher.counts

    outcomes, counts = run(work())
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert mock.came.total() - 1000 == counts.retried == mock.happened["429"] == len(paused)
    assert sum(paused) < len(paused) / 2
    assert mock.most_at_once == 64


def test_no_more_are_in_flight_than_the_ceiling(path):
    mock = Mock(answer_by_hash, 0.01)

    async def work():
        async with asking(mock, path, concurrency=7) as teacher:
            async for _ in each(teacher, (question(str(i)) for i in range(200)), in_flight=40):
                pass

    run(work())
    assert mock.most_at_once == 7


@pytest.mark.parametrize("ceiling", [2, 4])
def test_several_addresses_share_the_ceiling(path, ceiling):
    mocks = [Mock(answer_by_hash, 0.01) for _ in range(3)]

    async def work():
        async with AsyncExitStack() as stack:
            spec = [f"{await stack.enter_async_context(serving(mock))}#mock" for mock in mocks]
            async with open_teacher(spec, store=path, concurrency=ceiling) as teacher:
                async for _ in each(teacher, (question(str(i)) for i in range(60)), in_flight=20):
                    pass

    run(work())
    assert sum(mock.most_at_once for mock in mocks) == ceiling


def test_a_generator_is_taken_only_as_fast_as_it_is_worked_on(path):
    taken = 0

    def source():
        nonlocal taken
        for i in range(1_000_000):
            taken += 1
            yield question(str(i))

    async def work():
        async with open_teacher(lambda request: "yes", store=path) as teacher:
            outcomes = each(teacher, source(), in_flight=16)
            async for _ in outcomes:
                break
            await asyncio.sleep(0.1)
            await outcomes.aclose()

    run(work())
    assert taken <= 64


PERMANENT = {
    400: "the server does not take",
    401: "SEQTUNE_API_KEY",
    403: "may not use",
    404: "address",
    422: "setting",
}


@pytest.mark.parametrize("status", PERMANENT)
def test_a_permanent_refusal_is_not_tried_again_and_says_what_to_do(path, status, aiohttp_answer):
    seen, serve = aiohttp_answer(status)

    async def work():
        async with serve() as url, open_teacher(f"{url}#mock", store=path, patience=QUICK) as teacher:
            return await teacher(question("Hi")), teacher.counts

    outcome, counts = run(work())
    assert (outcome.reason, outcome.status, outcome.tries, len(seen)) == ("refused", status, 1, 1)
    assert PERMANENT[status] in outcome.fix
    assert (counts.sent, counts.retried, dict(counts.failed)) == (1, 0, {"refused": 1})


@pytest.fixture
def aiohttp_answer():
    """A server that answers everything with one status, and what came."""
    from aiohttp import web

    def prepare(status, headers=None):
        seen = []

        async def answer(request):
            seen.append(time.perf_counter())
            return web.json_response({"error": {"message": "no"}}, status=status, headers=headers)

        @asynccontextmanager
        async def serve():
            app = web.Application()
            app.router.add_route("*", "/{any:.*}", answer)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            finally:
                await runner.cleanup()

        return seen, serve

    return prepare


def test_retry_after_is_waited_for(path, aiohttp_answer):
    seen, serve = aiohttp_answer(429, {"Retry-After": "0.5"})

    async def work():
        async with serve() as url:
            patience = Patience(tries=3, backoff_s=0.01)
            async with open_teacher(f"{url}#mock", store=path, patience=patience) as teacher:
                return await teacher(question("Hi"))

    assert run(work()).reason == "rate_limited"
    assert all(later - sooner >= 0.5 for sooner, later in pairwise(seen))


def test_a_redirect_is_not_followed(path, aiohttp_answer):
    seen, serve = aiohttp_answer(302, {"Location": "http://127.0.0.1:9/steal"})

    async def work():
        async with serve() as url, open_teacher(f"{url}#mock", store=path, patience=QUICK) as teacher:
            return await teacher(question("Hi"))

    assert (run(work()).status, len(seen)) == (302, 1)


@pytest.mark.parametrize(
    ("fault", "tries"), [("empty", 3), ("length", 3), ("not_json", 4), ("cut", 4), ("wrong_json", 4)]
)
def test_a_bad_answer_is_kept_as_a_failure_asked_again_by_a_rerun_and_never_served(path, fault, tries):
    patience = Patience(tries=4, backoff_s=0.01)

    async def ask(mock):
        async with asking(mock, path, patience=patience) as teacher:
            return await teacher(question("Hi"))

    bad = run(ask(Mock(answer_by_hash, faults={fault: 1.0})))
    assert (bad.reason, bad.tries) == (fault, tries)
    assert [(shelf.replies, shelf.failures) for shelf in shelves(path)] == [(0, 1)]
    good = run(ask(Mock(answer_by_hash)))
    assert good.text == right_answer(question("Hi"))
    assert [(shelf.replies, shelf.failures) for shelf in shelves(path)] == [(1, 0)]


def test_a_hung_server_hangs_nothing(path):
    async def work():
        patience = Patience(tries=8, timeout_s=0.2, deadline_s=0.7, backoff_s=0.01)
        async with asking(Mock(answer_by_hash, faults={"hang": 1.0}), path, patience=patience) as teacher:
            return await teacher(question("Hi"))

    outcome = run(work())
    assert outcome.reason == "timeout"
    assert outcome.tries <= 4  # of 0.2 s each, before the deadline


def test_nobody_there_is_told_as_such(path):
    async def work():
        patience = Patience(tries=2, backoff_s=0.01)
        async with open_teacher("http://127.0.0.1:9/v1#m", store=path, patience=patience) as teacher:
            return await teacher(question("Hi"))

    outcome = run(work())
    assert (outcome.reason, outcome.tries) == ("connection", 2)


def test_two_addresses_share_the_work_and_one_that_is_gone_is_done_without(path):
    mock, other = Mock(answer_by_hash, 0.01), Mock(answer_by_hash, 0.01)

    async def work():
        async with serving(mock) as a, serving(other) as b:
            spec = [f"{a}#mock", f"{b}#mock", "http://127.0.0.1:9/v1#mock"]
            async with open_teacher(spec, store=path, concurrency=24, patience=QUICK) as teacher:
                return [out async for _, out in each(teacher, (question(str(i)) for i in range(300)), in_flight=128)]

    assert all(isinstance(outcome, Reply) for outcome in run(work()))
    assert mock.came.total() + other.came.total() == 300
    assert min(mock.came.total(), other.came.total()) > 90


def test_equal_questions_at_once_are_asked_once(path):
    mock = Mock(answer_by_hash, 0.05)

    async def work():
        async with asking(mock, path) as teacher:
            first = asyncio.ensure_future(teacher(question("Hi")))
            await asyncio.sleep(0.02)
            others = [asyncio.ensure_future(teacher(question("Hi"))) for _ in range(20)]
            await asyncio.sleep(0)
            first.cancel()  # who waits must not be cancelled along
            return await asyncio.gather(*others), teacher.counts

    replies, counts = run(work())
    assert len(set(map(repr, replies))) == 1
    assert (mock.came.total(), counts.shared) == (2, 19)  # the one that was cancelled, and one for all others


@pytest.mark.parametrize(
    "budget",
    [
        Budget(requests=50),
        Budget(tokens=1000),
        Budget(cost_usd=0.001, price=Price(1.0, 1.0)),
    ],
)
def test_a_budget_stops_cleanly_and_everything_is_kept(path, budget):
    mock = Mock(answer_by_hash, 0.005)

    async def work():
        async with asking(mock, path, concurrency=8, budget=budget) as teacher:
            kept = []

            async def ask_500():
                async for request, outcome in each(teacher, (question(str(i)) for i in range(500)), in_flight=8):
                    kept.append((request, outcome))

            with pytest.raises(BudgetSpent, match="raise the limit"):
                await ask_500()
            assert await teacher(kept[0][0]) == kept[0][1]  # the store still answers
            return kept, teacher.counts

    kept, counts = run(work())
    assert kept
    assert {request.messages[0].content for request, _ in kept} <= {
        msgspec.json.decode(record["request"])["messages"][0]["content"] for record in records(path)
    }
    if budget.requests:
        assert mock.came.total() == counts.sent == 50
    else:
        assert 600 < counts.prompt_tokens + counts.completion_tokens <= 1150


def test_a_planted_key_appears_nowhere(path, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setenv("SEQTUNE_API_KEY", SECRET)
    caplog.set_level(0)
    mock = Mock(answer_by_hash, key=SECRET)

    async def ask(key):
        mock.key = key
        async with asking(mock, path) as teacher:
            return await teacher(question("Hi")), await teacher(question("Hi", attempt=1)), repr(vars(teacher))

    outcomes = [run(ask("another")), run(ask(SECRET))]
    assert isinstance(outcomes[0][0], Failed)
    assert "Incorrect API key" in outcomes[0][0].detail
    assert isinstance(outcomes[1][0], Reply)
    with pytest.raises(TeacherError) as caught:
        run(ask_url(f"http://{SECRET}@127.0.0.1/v1#m", path))
    said = "".join(map(str, [outcomes, caught.value, caplog.text, *capfd.readouterr()]))
    files = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert SECRET[:12] not in said
    assert SECRET[:12].encode() not in files


async def ask_url(spec, path):
    async with open_teacher(spec, store=path):
        pass


@pytest.mark.parametrize("spec", ["hf:", "ft:gpt2", "gpt-4", "", "scripted:nowhere:f", "scripted:os"])
def test_a_model_that_cannot_be_asked_says_how_to_spell_it(path, spec):
    with pytest.raises(TeacherError, match="scripted:"):
        run(ask_url(spec, path))


def test_a_recorded_store_can_be_replayed(path, tmp_path):
    async def ask(mock, store, text):
        async with asking(mock, store) as teacher:
            return await teacher(question(text))

    first = run(ask(Mock(answer_by_hash), path, "Hi"))
    lines = tmp_path / "recorded.jsonl"
    extra = [{"prompt": "Bye", "reply": "See you."}]
    lines.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in [*records(path), *extra]))
    other = tmp_path / "other.sqlite"
    assert run(ask(Mock(replay(lines)), other, "Hi")).text == first.text
    assert run(ask(Mock(replay(lines)), other, "Bye")).text == "See you."
    assert run(ask(Mock(replay(lines)), other, "Who?")).status == 422


BUILD = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
from test_asking import QUICK, each, open_teacher, three_calls
async def run():
    async with open_teacher(sys.argv[1], store=sys.argv[2], concurrency=16, patience=QUICK) as teacher:
        ended = {row: out async for row, out in each(lambda row: three_calls(teacher, row), range(200), in_flight=24)}
    for row in range(200):
        print(row, ended[row])
asyncio.run(run())
"""


def start_build(url, path):
    here = os.path.dirname(__file__)
    words = [sys.executable, "-c", BUILD, f"{url}#mock", str(path), here]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def stored_hashes(path):
    try:
        with sqlite3.connect(path) as connection:
            return {body_hash(request.encode()) for (request,) in connection.execute("SELECT request FROM replies")}
    except sqlite3.OperationalError:  # killed before there was a table
        return set()


def right_lines():
    return [f"{row} {right_chain(row)}" for row in range(200)]


def test_killed_at_random_moments_and_run_again_nothing_completed_is_asked_twice(path):
    mock, rng = Mock(answer_by_hash, 0.03), random.Random(4)

    async def work():
        async with serving(mock) as url:
            for _ in range(4):
                build = start_build(url, path)
                wanted = mock.came.total() + rng.randint(10, 130)
                while mock.came.total() < wanted and build.poll() is None:
                    await asyncio.sleep(0.002)
                build.kill()
                build.communicate()
                await asyncio.sleep(0.1)  # what was in flight arrives
                stored, before = stored_hashes(path), mock.came.copy()
                snapshots.append((stored, before))
            build = start_build(url, path)
            while build.poll() is None:
                await asyncio.sleep(0.02)
            return build.communicate()[0].splitlines()

    snapshots = []
    assert run(work()) == right_lines()
    for stored, before in snapshots:
        assert all(mock.came[name] == before[name] for name in stored)
    assert len(snapshots[-1][0]) > 50
    # Asked twice are only those of the 24 rows in flight at a kill.
    assert mock.came.total() - 600 <= 4 * 24


def test_two_builds_on_one_store_give_the_same(path):
    mock = Mock(answer_by_hash, 0.02)

    async def work():
        async with serving(mock) as url:
            builds = [start_build(url, path) for _ in range(2)]
            while any(build.poll() is None for build in builds):
                await asyncio.sleep(0.02)
            return [build.communicate()[0].splitlines() for build in builds]

    assert run(work()) == [right_lines()] * 2
    assert max(mock.came.values()) <= 2
    assert len(stored_hashes(path)) == 600


SCHEMA = json_schema({"type": "object", "properties": {"choice": {"enum": ["keep", "before"]}}})


def test_a_server_that_knows_no_formats_is_asked_without_and_a_finished_build_asks_nothing_again(path):
    mock = Mock(answer_by_hash, refuses=["response_format"])
    requests = [question(str(i), response_format=SCHEMA) for i in range(20)]

    async def work():
        async with asking(mock, path, concurrency=1) as teacher:
            return [await teacher(request) for request in requests], teacher.counts.sent

    replies, sent = run(work())
    assert all(isinstance(reply, Reply) for reply in replies)
    assert sent == mock.came.total() == 1 + 20  # the first one twice, and then it is known
    assert run(work()) == (replies, 0)


def test_a_server_that_knows_formats_is_sent_them(path):
    mock = Mock(answer_by_hash)

    async def work():
        async with asking(mock, path) as teacher:
            return await teacher(question("Hi", response_format=SCHEMA)), teacher.counts.sent

    reply, sent = run(work())
    assert msgspec.json.decode(reply.text)["choice"] in ("keep", "before")
    assert sent == 1


def test_a_wrong_request_is_told_as_such_with_a_format_too(path, aiohttp_answer):
    seen, serve = aiohttp_answer(400)

    async def work():
        async with serve() as url, open_teacher(f"{url}#mock", store=path, patience=QUICK) as teacher:
            return [await teacher(question(str(i), response_format=SCHEMA)) for i in range(2)]

    assert [(out.reason, out.status, out.stops) for out in run(work())] == [("refused", 400, False)] * 2
    assert len(seen) == 4


def test_nobody_at_the_address_is_told_soon_for_all_rows(path):
    async def work():
        async with open_teacher("http://127.0.0.1:9/v1#m", store=path) as teacher:
            outcomes = each(teacher, (question(str(i)) for i in range(200)), in_flight=128)
            return [outcome async for _, outcome in outcomes]

    outcomes = run(work())
    assert max(out.tries for out in outcomes) < Patience().tries  # with up to half a minute between them
    assert {(out.reason, out.stops) for out in outcomes} == {("connection", True)}
    assert "Check the address" in outcomes[0].fix


def test_a_server_that_was_there_once_is_waited_for(path):
    mock = Mock(answer_by_hash)

    async def work():
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(serving(mock))
            port = int(url.split(":")[2].split("/")[0])
            patience = Patience(backoff_s=0.05)
            async with open_teacher(f"{url}#mock", store=path, patience=patience) as teacher:
                await teacher(question("first"))
                await stack.aclose()
                waiting = asyncio.ensure_future(teacher(question("second")))
                await asyncio.sleep(0.3)
                assert not waiting.done()
                async with serving(mock, port):
                    return await waiting

    assert isinstance(run(work()), Reply)


@pytest.mark.parametrize(("status", "stops"), [(400, False), (401, True), (402, True), (403, False)])
def test_a_refusal_tells_whether_any_other_request_can_succeed(path, status, stops, aiohttp_answer):
    _, serve = aiohttp_answer(status)

    async def work():
        async with serve() as url, open_teacher(f"{url}#mock", store=path, patience=QUICK) as teacher:
            return await teacher(question("Hi"))

    assert run(work()).stops is stops


def test_a_stop_lets_what_is_on_its_way_finish_and_sends_nothing_more(path):
    mock = Mock(answer_by_hash, 0.1)

    async def work():
        async with asking(mock, path, concurrency=4) as teacher:
            calls = [asyncio.ensure_future(teacher(question(str(i)))) for i in range(20)]
            await asyncio.sleep(0.05)
            teacher.stop()
            return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = run(work())
    assert [type(outcome) for outcome in outcomes] == [Reply] * 4 + [Stopped] * 16
    assert mock.came.total() == 4


def test_a_stop_ends_a_long_back_off_at_once(path):
    async def work():
        patience = Patience(backoff_s=30)
        async with asking(Mock(answer_by_hash, faults={"500": 1.0}), path, patience=patience) as teacher:
            call = asyncio.ensure_future(teacher(question("Hi")))
            await asyncio.sleep(0.1)
            teacher.stop()
            return await asyncio.gather(call, return_exceptions=True)

    assert isinstance(run(work(), 10)[0], Stopped)


def test_half_a_surrogate_pair_of_a_script_is_kept_as_a_sign_and_nobody_waits_for_ever(path):
    async def test():
        async with open_teacher(lambda request: "a \ud83d b", store=path) as teacher:
            return await teacher(question("?"))

    assert run(test(), timeout_s=10).text == "a \ufffd b"
