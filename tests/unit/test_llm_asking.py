"""Working side by side, in order; stopping; what the store answers without asking."""

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtune.llm import asking
from seqtune.llm.asking import each_in_order, open_teacher
from seqtune.llm.client import Patience
from seqtune.llm.reply import Reply, Stopped
from seqtune.llm.request import Request, user


def run(test, timeout_s=30):
    return asyncio.run(asyncio.wait_for(test, timeout_s))


def question(text, **fields):
    return Request(model="m", messages=(user(text),), **fields)


async def given_by(work, items, **limits):
    async with aclosing(each_in_order(work, items, **limits)) as lists:
        return [result async for results in lists for result in results]


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


limits = st.fixed_dictionaries({"in_flight": st.integers(1, 9), "ahead": st.integers(1, 20)})


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=60), limits)
def test_results_come_in_the_items_order_whatever_each_takes(delays, limits):
    async def work(pair):
        await turns(pair[1])
        return pair[0]

    assert run(given_by(work, enumerate(delays), **limits)) == [*range(len(delays))]


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=60), limits)
def test_no_more_are_taken_than_may_wait(delays, limits):
    taken = given = most = 0

    def source():
        nonlocal taken, most
        for pair in enumerate(delays):
            taken += 1
            most = max(most, taken - given)
            yield pair

    async def work(pair):
        await turns(pair[1])
        return pair[0]

    async def consume():
        nonlocal given
        async for results in each_in_order(work, source(), **limits):
            given += len(results)
            await asyncio.sleep(0)

    run(consume())
    assert given == len(delays)
    # What is about to be handed over in a list is no longer waiting, and not yet counted as given here.
    assert most <= 2 * max(limits["in_flight"], limits["ahead"])


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), limits, st.data())
def test_after_a_stop_nothing_new_is_taken_and_all_that_finishes_is_given_in_order(delays, limits, data):
    stop_at = data.draw(st.integers(0, len(delays) - 1))
    started = []

    async def work(pair):
        started.append(pair[0])
        await turns(pair[1])
        if pair[0] == stop_at:
            raise Stopped
        return pair[0]

    results = run(given_by(work, enumerate(delays), **limits))
    assert results == sorted(set(started) - {stop_at})
    assert len(started) <= stop_at + 1 + max(limits["in_flight"], limits["ahead"])


@pytest.mark.parametrize("error", [ValueError("row 7"), asyncio.CancelledError()])
def test_the_first_error_is_raised_and_nothing_is_left_running(error):
    running = 0

    async def work(item):
        nonlocal running
        running += 1
        try:
            await turns(3)
            if item == 7:
                raise error
        finally:
            running -= 1

    with pytest.raises(type(error)):
        asyncio.run(given_by(work, range(100), in_flight=5))
    assert running == 0


def test_an_error_of_the_items_is_raised_too():
    def source():
        yield 1
        raise OSError("the file ended in the middle")

    async def work(item):
        return item

    with pytest.raises(OSError, match="in the middle"):
        run(given_by(work, source(), in_flight=3))


def test_left_in_the_middle_nothing_is_left_running():
    running = 0

    async def work(item):
        nonlocal running
        running += 1
        try:
            await turns(item % 4)
        finally:
            running -= 1
        return item

    async def leave():
        async with aclosing(each_in_order(work, iter(range(10**9)), in_flight=8, ahead=100)) as lists:
            return await anext(lists)

    assert run(leave())[0] == 0
    assert running == 0


def test_a_server_that_gives_no_reply_is_named_while_it_is_waited_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(asking, "SILENCE_S", 0.05)

    async def hang(reader, writer):
        await reader.read()  # to the end, which comes when the client leaves
        writer.close()

    async def test():
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        spec = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1#m"
        async with open_teacher(spec, store=tmp_path / "s.sqlite", patience=Patience(tries=1, timeout_s=1)) as ask:
            await asyncio.sleep(0.2)
            assert not capsys.readouterr().err  # nobody was asked yet
            await ask(question("Hi"))
        server.close()
        await asyncio.sleep(0.1)
        return spec

    spec = run(test())
    assert f"{spec}: no reply for" in (told := capsys.readouterr().err)
    assert "1 requests wait" in told


def test_a_stopped_teacher_answers_from_the_store_only(tmp_path):
    asked = []

    def script(request):
        asked.append(request)
        return "yes"

    async def work():
        async with open_teacher(script, store=tmp_path / "r.sqlite") as teacher:
            assert teacher.find(question("known")) is None
            known = await teacher(question("known"))
            teacher.stop()
            with pytest.raises(Stopped):
                await teacher(question("new"))
            return known, await teacher(question("known")), teacher.find(question("known")), teacher.find(question("x"))

    known, again, found, nothing = run(work())
    assert known == again == found == Reply("yes", "stop", "scripted")
    assert nothing is None
    assert len(asked) == 1


def test_a_reply_of_the_store_tells_its_tokens_like_a_new_one(tmp_path):
    reply = Reply("yes", "stop", "m", prompt_tokens=7, completion_tokens=3, cached_tokens=2, wall_s=0.5)

    async def work():
        async with open_teacher(lambda request: reply, store=tmp_path / "r.sqlite") as teacher:
            return await teacher(question("a")), await teacher(question("a")), teacher.find(question("a"))

    assert set(run(work())) == {reply}
