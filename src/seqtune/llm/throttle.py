"""The throttle that all calls to one address share: a ceiling, fixed or adaptive, and pauses the server asks for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random

# Share of the latest tries that must be refused before all calls pause. A server over its limit refuses nearly all;
# pausing everything at each of 5 % random refusals would leave most of the ceiling idle.
OVERLOADED_SHARE = 0.25
CUT_TO = 0.7
WINDOW_S = 5.0
PAUSE_JITTER = 0.1  # of the pause: calls that waited together do not return in one burst


class Throttle:
    """Lets at most `ceiling` calls through at once, and none while the server asks for a pause.

    Args:
        ceiling: the most calls at once.
        floor: the adaptive mode never goes below; None for a fixed ceiling. A server that is overloaded has the
            limit cut to 0.7 at most once in 5 s; it grows by one for as many good calls as it lets through at once.
        clock: seconds, for pauses; the event loop's by default.
    """

    def __init__(self, ceiling: int, *, floor: int | None = None, clock: Callable[[], float] | None = None) -> None:
        self.limit: float = ceiling
        self.inside = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._ceiling, self._floor = ceiling, floor
        self._clock = clock or asyncio.get_running_loop().time
        self._open_at = self._next_cut = 0.0
        self._recent: deque[bool] = deque(maxlen=max(8, ceiling // 4))
        self._random = Random(0)

    @property
    def paused(self) -> bool:
        """The server asked for a pause that is not over."""
        return self._clock() < self._open_at

    async def enter(self) -> None:
        """Wait for a place; whoever entered must `leave`."""
        if self.inside >= int(self.limit) or self.waiting:
            place = asyncio.get_running_loop().create_future()
            self.waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                self._give_back(place)
                raise
        else:
            self.inside += 1
        if (pause_s := self._open_at - self._clock()) > 0:
            await self._wait(pause_s)

    def _give_back(self, place: asyncio.Future[None]) -> None:
        if place.done() and not place.cancelled():  # the place was handed over just before
            self.inside -= 1
            self._hand_over()
        else:
            self.waiting.remove(place)

    async def _wait(self, pause_s: float) -> None:
        try:
            while pause_s > 0:
                await asyncio.sleep(pause_s * (1 + PAUSE_JITTER * self._random.random()))
                pause_s = self._open_at - self._clock()
        except asyncio.CancelledError:
            self.leave()
            raise

    def leave(self) -> None:
        """Give the place to the next."""
        self.inside -= 1
        self._hand_over()

    def _hand_over(self) -> None:
        while self.waiting and self.inside < int(self.limit):
            place = self.waiting.popleft()
            if not place.done():
                self.inside += 1
                place.set_result(None)

    def praise(self) -> None:
        """A call was answered: in the adaptive mode the limit grows."""
        self._recent.append(False)
        if self._floor is not None and self.limit < self._ceiling:
            self.limit = min(self._ceiling, self.limit + 1 / self.limit)

    def blame(self, pause_s: float) -> None:
        """The server refused for load, or is not there; when it refuses more than now and then, all calls pause.

        Args:
            pause_s: how long, as the server says, or else a back-off.
        """
        self._recent.append(True)
        if sum(self._recent) < OVERLOADED_SHARE * (self._recent.maxlen or 1):
            return
        now = self._clock()
        self._open_at = max(self._open_at, now + pause_s)
        if self._floor is not None and now >= self._next_cut:
            self.limit = max(self._floor, self.limit * CUT_TO)
            self._next_cut = now + WINDOW_S
