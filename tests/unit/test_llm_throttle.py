"""The throttle: never more than its limit, pauses for an overloaded server only, and an adaptive limit with a floor."""

import asyncio

from seqtune.llm.throttle import Throttle


def run(test):
    return asyncio.run(asyncio.wait_for(test(), 10))


def test_never_more_than_the_ceiling_are_inside_and_nobody_waits_for_ever():
    async def test():
        throttle, inside, most = Throttle(3), 0, 0

        async def call():
            nonlocal inside, most
            await throttle.enter()
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1
            throttle.leave()

        calls = [asyncio.ensure_future(call()) for _ in range(60)]
        await asyncio.sleep(0.003)
        for waiting in calls[10::3]:
            waiting.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return most, throttle.inside

    assert run(test) == (3, 0)


def test_a_pause_holds_all_calls_when_most_are_refused():
    async def test():
        throttle = Throttle(4)
        for _ in range(4):
            throttle.blame(0.2)
        started = asyncio.get_running_loop().time()
        await asyncio.gather(throttle.enter(), throttle.enter())
        return asyncio.get_running_loop().time() - started

    assert 0.2 <= run(test) < 0.5


def test_one_refusal_in_twenty_neither_pauses_nor_cuts():
    async def test():
        throttle = Throttle(128, floor=32)
        for i in range(2000):
            throttle.blame(1.0) if i % 20 == 0 else throttle.praise()
            if throttle.paused:
                return "paused"
        return throttle.limit

    assert run(test) == 128


def test_the_adaptive_limit_is_cut_once_a_window_down_to_the_floor_and_grows_back():
    async def test():
        now = 0.0
        throttle = Throttle(100, floor=40, clock=lambda: now)
        limits = []
        for at_s in (0, 0.1, 1, 4.9, 5, 10, 15, 20):
            now = at_s
            for _ in range(30):
                throttle.blame(0.0)
            limits.append(round(throttle.limit))
        for _ in range(10_000):
            throttle.praise()
        return limits, throttle.limit

    assert run(test) == ([70, 70, 70, 70, 49, 40, 40, 40], 100)
