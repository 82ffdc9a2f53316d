"""The other ways to ask: batches and LiteLLM against the mock server, and a real server that none of us wrote."""

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from tiny_model import save_letters

from seqtune.errors import TeacherError
from seqtune.llm import batch
from seqtune.llm.asking import each, open_teacher
from seqtune.llm.client import Patience
from seqtune.llm.mock import Mock, answer_by_hash, serving
from seqtune.llm.reply import Failed, Reply, Stopped
from seqtune.llm.request import Request, body_of, key_of, user
from seqtune.llm.store import records, shelves

QUICK = Patience(timeout_s=5, backoff_s=0.02)
SECRET = "sk-planted-0123456789abcdef"


def question(text, **fields):
    return Request(model="mock", messages=(user(text),), **fields)


def right_answer(request):
    return answer_by_hash(msgspec.json.decode(body_of(request)))


def run(test, timeout_s=60):
    return asyncio.run(asyncio.wait_for(test, timeout_s))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "replies.sqlite"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(batch, "QUIET_S", 0.1)
    monkeypatch.setattr(batch, "POLL_S", 0.05)


@asynccontextmanager
async def asking(mock, path):
    async with (
        serving(mock) as url,
        open_teacher(f"{url}#mock", store=path, patience=QUICK, batch=True) as teacher,
    ):
        yield teacher


async def two_waves(teacher, row):
    first = await teacher(question(f"row {row}"))
    return first if isinstance(first, Failed) else await teacher(question(first.text))


def right_chain(row):
    return right_answer(question(right_answer(question(f"row {row}"))))


def under_way(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT count(*) FROM batches").fetchone()[0]


def test_dependent_questions_go_out_in_one_batch_a_wave(path):
    mock = Mock(answer_by_hash, batch_s=0.1)

    async def work():
        async with asking(mock, path) as teacher:
            return await asyncio.gather(*[two_waves(teacher, row) for row in range(50)]), teacher.counts

    outcomes, counts = run(work())
    assert [outcome.text for outcome in outcomes] == [right_chain(row) for row in range(50)]
    assert len(mock.batches) == 2
    assert counts.answered == 100
    assert counts.prompt_tokens == sum(shelf.prompt_tokens for shelf in shelves(path)) > 0
    assert under_way(path) == 0
    assert run(work())[0] == outcomes
    assert len(mock.batches) == 2


def test_a_batch_is_split_where_a_file_would_be_too_long(path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_REQUESTS", 7)
    mock = Mock(answer_by_hash)

    async def work():
        async with asking(mock, path) as teacher:
            return await asyncio.gather(*[teacher(question(str(i))) for i in range(30)])

    assert all(isinstance(outcome, Reply) for outcome in run(work()))
    assert sorted(len(mock.files[one["input_file_id"]].splitlines()) for one in mock.batches.values()) == [
        2,
        7,
        7,
        7,
        7,
    ]


def test_lines_that_failed_are_failures_with_a_reason_and_asked_again_by_a_rerun(path):
    faults = {"500": 0.2, "empty": 0.2, "length": 0.2, "hang": 0.2}

    async def work(mock):
        async with asking(mock, path) as teacher:
            return await asyncio.gather(*[teacher(question(str(i))) for i in range(40)])

    outcomes = run(work(Mock(answer_by_hash, faults=faults)))
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert {outcome.reason for outcome in failed} == {"server_error", "empty", "length"}
    assert all(outcome.detail for outcome in failed)
    again = Mock(answer_by_hash)
    assert [outcome.text for outcome in run(work(again))] == [right_answer(question(str(i))) for i in range(40)]
    assert again.batched.total() == len(failed)


def test_a_cut_answer_is_good_where_it_was_wanted_so(path):
    mock = Mock(answer_by_hash, faults={"length": 1.0})

    async def work():
        async with asking(mock, path) as teacher:
            return await asyncio.gather(teacher(question("a", cut_ok=True)), teacher(question("a")))

    good, bad = run(work())
    assert (good.finish_reason, bad.reason) == ("length", "length")


def test_a_server_without_batches_or_with_another_key_is_told_once_for_all(path, monkeypatch, tmp_path):
    monkeypatch.setenv("SEQTUNE_API_KEY", SECRET)

    async def work():
        async with open_teacher("http://127.0.0.1:9/v1#mock", store=path, patience=QUICK, batch=True) as teacher:
            return await asyncio.gather(*[teacher(question(str(i))) for i in range(5)])

    outcomes = run(work())
    assert {(outcome.reason, outcome.stops) for outcome in outcomes} == {("connection", True)}
    assert SECRET not in str(outcomes)
    assert all(SECRET.encode() not in file.read_bytes() for file in tmp_path.rglob("*"))


def test_batches_are_for_one_served_address(path):
    async def work(spec):
        async with open_teacher(spec, store=path, batch=True):
            pass

    for spec in (["http://a/v1#m", "http://b/v1#m"], "hf:gpt2", "scripted:a:b"):
        with pytest.raises(TeacherError):
            run(work(spec))


def test_a_stop_leaves_the_batch_to_the_server_and_the_next_run_takes_it_up(path):
    mock = Mock(answer_by_hash, batch_s=0.5)

    async def work():
        async with serving(mock) as url:
            async with open_teacher(f"{url}#mock", store=path, batch=True) as teacher:
                calls = [asyncio.ensure_future(teacher(question(str(i)))) for i in range(5)]
                while not mock.batches or under_way(path) == 0:
                    await asyncio.sleep(0.01)
                teacher.stop()
                stopped = await asyncio.gather(*calls, return_exceptions=True)
            # The next run wants only some of them; the others are kept too.
            async with open_teacher(f"{url}#mock", store=path, batch=True) as teacher:
                return stopped, await asyncio.gather(*[teacher(question(str(i))) for i in range(3)])

    stopped, outcomes = run(work())
    assert {type(outcome) for outcome in stopped} == {Stopped}
    assert [outcome.text for outcome in outcomes] == [right_answer(question(str(i))) for i in range(3)]
    assert len(mock.batches) == 1
    assert len([*records(path)]) == 5


BUILD = """
import asyncio, sys
sys.path[:0] = sys.argv[3:]
from seqtune.llm import batch
batch.QUIET_S, batch.POLL_S, batch.SUBMIT_S, batch.ORPHAN_S = 0.1, 0.05, 5, 5
from test_backends import QUICK, open_teacher, two_waves
async def run():
    async with open_teacher(sys.argv[1], store=sys.argv[2], patience=QUICK, batch=True) as teacher:
        for outcome in await asyncio.gather(*[two_waves(teacher, row) for row in range(60)]):
            print(outcome.text)
asyncio.run(run())
"""


def start_build(url, path):
    here = Path(__file__).parent
    words = [sys.executable, "-c", BUILD, f"{url}#mock", str(path), str(here), str(here.parent)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


async def ended(*builds):
    while any(build.poll() is None for build in builds):
        await asyncio.sleep(0.01)
    return [build.communicate()[0].splitlines() for build in builds]


def right_lines():
    return [right_chain(row) for row in range(60)]


@pytest.mark.parametrize(
    "moment",
    [
        lambda mock: mock.files,  # uploaded
        lambda mock: mock.batches,  # submitted, and mostly not yet written down
        lambda mock: len(mock.files) > 1,  # answered
        lambda mock: len(mock.batches) > 1,  # the second wave
    ],
    ids=["uploaded", "submitted", "answered", "second wave"],
)
def test_killed_and_run_again_no_request_is_in_two_batches(path, moment):
    mock = Mock(answer_by_hash, batch_s=0.3)

    async def work():
        async with serving(mock) as url:
            build = start_build(url, path)
            while not moment(mock) and build.poll() is None:
                await asyncio.sleep(0.001)
            build.kill()
            build.communicate()
            return await ended(start_build(url, path))

    assert run(work()) == [right_lines()]
    assert set(mock.batched.values()) == {1}
    assert len(mock.batched) == 120
    assert under_way(path) == 0


def test_killed_in_the_gap_before_the_server_answers_the_batch_is_found_by_its_label(path):
    mock = Mock(answer_by_hash, batch_s=0.3)

    async def work():
        async with serving(mock) as url:
            build = start_build(url, path)
            while not mock.batches and build.poll() is None:
                await asyncio.sleep(0.001)
            build.kill()
            build.communicate()
            with sqlite3.connect(path) as connection:
                connection.execute("UPDATE batches SET id = NULL")
            connection.close()
            return await ended(start_build(url, path))

    assert run(work()) == [right_lines()]
    assert set(mock.batched.values()) == {1}


def test_two_builds_on_one_store_share_their_batches(path):
    mock = Mock(answer_by_hash, batch_s=0.3)

    async def work():
        async with serving(mock) as url:
            return await ended(start_build(url, path), start_build(url, path))

    assert run(work()) == [right_lines()] * 2
    assert set(mock.batched.values()) == {1}


async def until(happened):
    while not happened():
        await asyncio.sleep(0.001)


def ask_for(teacher, *texts):
    return asyncio.gather(*[teacher(question(text)) for text in texts])


@asynccontextmanager
async def two_runs(mock, path):
    """Two teachers on one store: the second opens before the first has a batch, so that it cannot take it up."""
    async with serving(mock) as url:
        spec = f"{url}#mock"
        async with (
            open_teacher(spec, store=path, patience=QUICK, batch=True) as first,
            open_teacher(spec, store=path, patience=QUICK, batch=True) as second,
        ):
            yield first, second


def right_answers(*texts):
    return [right_answer(question(text)) for text in texts]


def test_a_batch_that_another_run_is_just_submitting_is_waited_for(path, monkeypatch):
    mock = Mock(answer_by_hash, batch_s=0.1)
    submit = batch._Server.submit

    async def slow_submit(server, file_id, label):
        await asyncio.sleep(1.5)
        return await submit(server, file_id, label)

    monkeypatch.setattr(batch._Server, "submit", slow_submit)

    async def work():
        async with two_runs(mock, path) as (first, second):
            mine = asyncio.ensure_future(ask_for(first, "a"))
            await until(lambda: mock.files)
            return await asyncio.gather(mine, ask_for(second, "a"))

    assert [[outcome.text for outcome in outcomes] for outcomes in run(work())] == [right_answers("a")] * 2
    assert set(mock.batched.values()) == {1}


def claim_once(path, url, text, age_s):
    """What a run leaves that was killed after it claimed a batch, and before it submitted it."""
    request = question(text)
    table = batch._Table(path, url)
    assert table.claim("left", [key_of(request, body_of(request))])
    with sqlite3.connect(path) as connection:
        created = f"strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-{age_s:.0f} seconds')"
        connection.execute(f"UPDATE batches SET created = {created}")
    connection.close()


@pytest.mark.parametrize(("age_s", "taken"), [(batch.ORPHAN_S + 2, True), (batch.ORPHAN_S / 2, False)])
def test_a_claim_is_dropped_only_once_nobody_can_be_submitting_it(path, age_s, taken):
    mock = Mock(answer_by_hash)

    async def work():
        async with serving(mock) as url:
            async with open_teacher(f"{url}#mock", store=path, batch=True):
                claim_once(path, url, "a", age_s)
            async with open_teacher(f"{url}#mock", store=path, patience=QUICK, batch=True) as teacher:
                done, waiting = await asyncio.wait([asyncio.ensure_future(teacher(question("a")))], timeout=1.5)
                for task in waiting:
                    task.cancel()
                return [task.result().text for task in done]

    assert run(work()) == (right_answers("a") if taken else [])
    assert len(mock.batches) == int(taken)


def test_submitting_ends_before_its_claim_can_be_dropped(path, monkeypatch):
    monkeypatch.setattr(batch, "SUBMIT_S", 0.2)
    mock = Mock(answer_by_hash)

    async def never(server, file_id, label):
        await asyncio.sleep(60)

    monkeypatch.setattr(batch._Server, "submit", never)

    async def work():
        async with asking(mock, path) as teacher:
            return await teacher(question("a"))

    assert run(work()).reason == "timeout"
    assert batch.ORPHAN_S > batch.SUBMIT_S
    assert under_way(path) == 1  # it may have been made: the next run finds out


def test_files_that_share_requests_with_another_runs_batch_are_uploaded_once(path, monkeypatch):
    mock = Mock(answer_by_hash, batch_s=1.5)
    upload, uploads = batch._Server.upload, []

    async def one_after_the_other(server, lines):
        uploads.append(lines)
        await asyncio.sleep(0.2 * len(uploads))
        return await upload(server, lines)

    async def work():
        async with two_runs(mock, path) as (first, second):
            theirs = asyncio.ensure_future(ask_for(first, "a", "b"))
            await until(lambda: mock.batches)
            monkeypatch.setattr(batch, "MAX_REQUESTS", 1)
            monkeypatch.setattr(batch._Server, "upload", one_after_the_other)
            mine = await ask_for(second, "a", "b")
            return await theirs, mine

    assert [[outcome.text for outcome in outcomes] for outcomes in run(work())] == [right_answers("a", "b")] * 2
    assert len(mock.batches) == 1
    assert len(mock.files) == 1 + 2 + 1  # theirs, ours, the answers


def test_a_question_that_waits_while_another_runs_batch_with_it_is_found_is_not_uploaded(path):
    mock = Mock(answer_by_hash, batch_s=1.0)

    async def work():
        async with two_runs(mock, path) as (first, second):
            theirs = asyncio.ensure_future(ask_for(first, "a", "b"))
            await until(lambda: mock.batches)
            one = asyncio.ensure_future(ask_for(second, "a"))
            while len(mock.files) < 2:  # looked at in each turn of the loop, so before the second run knows
                await asyncio.sleep(0)
            return await asyncio.gather(theirs, one, ask_for(second, "b"))

    told = [[outcome.text for outcome in outcomes] for outcomes in run(work())]
    assert told == [right_answers("a", "b"), right_answers("a"), right_answers("b")]
    assert len(mock.batches) == 1
    assert len(mock.files) == 1 + 1 + 1  # theirs, ours with "a", the answers


@asynccontextmanager
async def saying(port, answer, calls):
    """Whatever is asked at the port is answered so; hung up on where there is no answer."""

    async def answer_one(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        calls.append(answer)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(answer_one, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


def status_only(status):
    return f"HTTP/1.1 {status} so\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode() if status else b""


def port_of(url):
    return int(url.removesuffix("/v1").rpartition(":")[2])


@asynccontextmanager
async def batch_of_a_lost_server(mock, path):
    """A teacher, two questions whose batch was made, and the port at which nobody is any more."""
    patience = Patience(tries=2, timeout_s=5, backoff_s=0.01)
    async with AsyncExitStack() as opened:
        async with serving(mock) as url:
            teaching = open_teacher(f"{url}#mock", store=path, patience=patience, batch=True)
            teacher = await opened.enter_async_context(teaching)
            asked = ask_for(teacher, "a", "b")
            await until(lambda: mock.batches and "batch" in str(ids_under_way(path)))
        yield teacher, asked, port_of(url)


def ids_under_way(path):
    with sqlite3.connect(path) as connection:
        ids = connection.execute("SELECT id FROM batches").fetchall()
    connection.close()
    return ids


@pytest.mark.parametrize("status", [None, 500, 429])
def test_a_lost_server_fails_no_batch_that_is_under_way(path, status):
    mock, calls = Mock(answer_by_hash, batch_s=1.0), []

    async def work():
        async with batch_of_a_lost_server(mock, path) as (_, asked, port):
            async with saying(port, status_only(status), calls):
                await until(lambda: len(calls) > 5 or asked.done())  # more than the tries of its patience
            async with serving(mock, port):
                return await asked

    assert [str(getattr(outcome, "text", outcome)) for outcome in run(work())] == right_answers("a", "b")
    assert set(mock.batched.values()) == {1}


def test_a_refusal_ends_the_polling_and_the_batch_stays_for_the_next_run(path):
    async def work():
        async with (
            batch_of_a_lost_server(Mock(answer_by_hash, batch_s=1.0), path) as (_, asked, port),
            saying(port, status_only(401), []),
        ):
            return await asked

    assert {(outcome.reason, outcome.status, outcome.stops) for outcome in run(work())} == {("refused", 401, True)}
    assert under_way(path) == 1


def test_a_stop_does_not_wait_for_a_lost_server(path):
    calls = []

    async def work():
        async with (
            batch_of_a_lost_server(Mock(answer_by_hash, batch_s=1.0), path) as (teacher, asked, port),
            saying(port, b"", calls),
        ):
            await until(lambda: len(calls) > 2)
            teacher.stop()
            return await asyncio.wait([asked])

    [ended], _ = run(work())
    assert isinstance(ended.exception(), Stopped)
    assert under_way(path) == 1


def test_a_whole_batch_that_failed_repeats_no_key(path, monkeypatch):
    monkeypatch.setenv("SEQTUNE_API_KEY", SECRET)
    mock = Mock(answer_by_hash, batch_s=0.2)

    async def work():
        async with asking(mock, path) as teacher:
            asked = ask_for(teacher, "a")
            await until(lambda: mock.batches)
            [one] = mock.batches.values()
            one["status"], one["errors"] = "failed", {"data": [{"message": f"no batches for {SECRET}"}]}
            return await asked

    [outcome] = run(work())
    assert outcome.reason == "refused"
    assert "no batches for ***" in outcome.detail
    assert SECRET[:12] not in str(outcome)


@pytest.fixture
def vendor(monkeypatch):
    """LiteLLM's OpenAI client, pointed at a mock server."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # as where it is imported for use: no network
    pytest.importorskip("litellm", reason="litellm is not installed")

    @asynccontextmanager
    async def asking(mock, path):
        async with serving(mock) as url:
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            monkeypatch.setenv("OPENAI_API_BASE", url)
            patience = Patience(timeout_s=5, backoff_s=0.02)
            async with open_teacher("litellm:openai/mock", store=path, patience=patience) as teacher:
                yield teacher

    return asking


def vendors_question(text, **fields):
    return Request(model="openai/mock", messages=(user(text),), **fields)


def test_a_vendor_is_asked_with_our_patience(path, vendor):
    mock = Mock(answer_by_hash, faults={"429": 0.2, "500": 0.2, "cut": 0.1}, retry_after_s=0.05, key=SECRET)

    async def work():
        async with vendor(mock, path) as teacher:
            requests = [vendors_question(str(i), temperature=0.5, top_k=5) for i in range(20)]
            return [outcome async for _, outcome in each(teacher, requests, in_flight=128)], teacher.counts

    outcomes, counts = run(work())
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert counts.sent == sum(mock.happened.values()) > 20  # no tries again but ours
    assert counts.completion_tokens > 20


def test_a_vendors_refusal_repeats_no_key(path, vendor):
    async def work():
        async with vendor(Mock(answer_by_hash, key="another"), path) as teacher:
            return await teacher(vendors_question("Hi"))

    outcome = run(work())
    assert (outcome.reason, outcome.status, outcome.stops) == ("refused", 401, True)
    assert "Incorrect API key" in outcome.detail
    assert SECRET[:12] not in str(outcome)


@pytest.mark.parametrize("ends_by", [None, KeyError("of the work")])
def test_a_vendors_connections_are_closed_however_the_work_ends(path, monkeypatch, ends_by):
    closed = []

    async def close():
        closed.append(True)

    # Nothing is asked here, so the module needs no more; where LiteLLM is installed, this is not it.
    monkeypatch.setitem(sys.modules, "litellm", SimpleNamespace(close_litellm_async_clients=close))

    async def work():
        async with open_teacher("litellm:openai/mock", store=path):
            if ends_by:
                raise ends_by

    with pytest.raises(KeyError) if ends_by else nullcontext():
        run(work())
    assert closed == [True]


@pytest.fixture(scope="module")
def real_server(tmp_path_factory):
    """The address of `transformers serve` and the folder of a tiny random model that it serves."""
    for package in ("transformers", "torch", "accelerate", "fastapi", "uvicorn", "openai", "rich"):
        if find_spec(package) is None:
            pytest.skip(f"transformers serve needs {package}, which is not installed")
    folder = save_letters(tmp_path_factory.mktemp("served"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, *words, "--device", "cpu"], env=environment, **quiet)
    try:
        asyncio.run(asyncio.wait_for(answering(f"http://127.0.0.1:{port}/health", server), 60))
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        server.kill()
        server.wait()


async def answering(url, server):
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            await asyncio.sleep(0.1)
    pytest.skip("transformers serve does not start here")


def letters_question(folder, text, **fields):
    fields = {"max_tokens": 12, "temperature": 0.0, "cut_ok": True, **fields}
    return Request(model=str(folder), messages=(user(text),), **fields)


def test_a_real_server_and_the_same_model_on_this_machine_say_the_same(real_server, path, tmp_path):
    url, folder = real_server
    requests = [letters_question(folder, "word " * words) for words in range(9)]

    async def work(spec, store):
        async with open_teacher(spec, store=store, concurrency=4) as teacher:
            return await asyncio.gather(*[teacher(request) for request in requests]), teacher.counts

    served, counts = run(work(f"{url}#{folder}", path))
    here, _ = run(work(f"hf:{folder}", tmp_path / "local.sqlite"))
    told = [(reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) for reply in served]
    assert told == [(reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) for reply in here]
    assert counts.prompt_tokens == sum(reply.prompt_tokens for reply in served)
    again, counts = run(work(f"{url}#{folder}", path))
    assert (again, counts.sent) == (served, 0)


def test_a_real_servers_failures_are_told_and_a_setting_it_does_not_take_is_left_out(real_server, path):
    url, folder = real_server

    async def work(url, request):
        async with open_teacher(f"{url}#{folder}", store=path, patience=Patience(tries=2, backoff_s=0.01)) as teacher:
            return await teacher(request), teacher.meter.left_out

    cut, _ = run(work(url, letters_question(folder, "hi", cut_ok=False)))
    assert (cut.reason, cut.completion_tokens) == ("length", 12)
    known, left_out = run(work(url, letters_question(folder, "hi", top_k=5)))
    assert (isinstance(known, Reply), left_out) == (True, {"top_k"})
    lost, _ = run(work(url.replace("/v1", "/v2"), letters_question(folder, "hi")))
    assert (lost.status, "/v1" in lost.fix) == (404, True)
