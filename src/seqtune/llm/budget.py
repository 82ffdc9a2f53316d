"""What asking may cost and what it did cost: requests, tokens, money."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from seqtune.errors import BudgetSpent, TeacherError
from seqtune.llm.reply import Failed, Reply, Stopped
from seqtune.llm.request import Request

WAIT_S = 0.02  # between looks at what is on its way
BYTES_PER_TOKEN = 3  # on the safe side for English (about 4), right for Chinese


class Price(Struct, frozen=True):
    """US dollars for a million tokens that are read, and for a million that are written."""

    input_usd: float
    output_usd: float


class Budget(Struct, frozen=True, kw_only=True):
    """The most that may be spent; None for no limit.

    Args:
        requests: HTTP requests, tries again included.
        tokens: read and written together, as the server counts them.
        cost_usd: needs `price`.
        price: of the model's tokens.
    """

    requests: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    price: Price | None = None


@dataclass
class Spent:
    """What asking came to so far.

    Args:
        asked: questions put to the teacher.
        from_store: answered without asking, from the store.
        shared: answered by an equal question that was on its way.
        answered: answered by the model.
        failed: without a good answer, by reason.
        sent: requests that went out, tries again included; `retried` are the tries again.
        prompt_tokens, completion_tokens: as the server counts them, bad answers included.
    """

    asked: int = 0
    from_store: int = 0
    shared: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def together(all_counts: Iterable[Spent]) -> Spent:
    """What asking several models came to."""
    found = Spent()
    for counts in all_counts:
        for name, value in vars(counts).items():
            setattr(found, name, getattr(found, name) + value)
    return found


class Meter:
    """Counts what is spent, and stops the next request where the budget would be passed.

    What requests on their way will cost is not known; each is taken to cost the mean of those before it, the first
    ones the most they can. So a budget is passed by no more than they differ from the mean.

    Args:
        budget: the limits, and this model's price.
        beside: the meter of another model, which is asked under the same limits.
        left_out: settings of requests that the server does not take.

    Raises:
        TeacherError: a limit in dollars without a price.
    """

    def __init__(self, budget: Budget, *, beside: Meter | None = None) -> None:
        if budget.cost_usd is not None and budget.price is None:
            raise TeacherError(
                "a budget in dollars needs the model's price, which is unknown", fix="give the price, or limit tokens"
            )
        self.counts = Spent()
        self.left_out: set[str] = set()
        self.stopping = asyncio.Event()
        self._budget = budget
        self._limited = budget.tokens is not None or budget.cost_usd is not None
        self._on_their_way = self._settled = 0
        self._others: list[Meter] = [beside] if beside else []
        if beside:
            beside._others.append(self)

    def cost_usd(self) -> float | None:
        """What was spent so far, or None where the price is unknown."""
        return self._cost_usd(self.counts.prompt_tokens, self.counts.completion_tokens)

    def _cost_usd(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        price = self._budget.price
        if price is None:
            return None
        return (prompt_tokens * price.input_usd + completion_tokens * price.output_usd) / 1e6

    async def admit_in_turn(self, request: Request, body: bytes) -> None:
        """As `admit`; but where it is only what is on its way that may go over the budget, wait for it to come back.

        Raises:
            BudgetSpent, Stopped: see `admit`.
        """
        while True:
            try:
                return self.admit(request, body)
            except BudgetSpent:
                if not any(meter._on_their_way for meter in (self, *self._others)):
                    raise
            await asyncio.sleep(WAIT_S)

    def admit(self, request: Request, body: bytes) -> None:
        """Count a request that is about to be sent; whoever sent it must `settle`.

        Raises:
            BudgetSpent: it would go over the budget; nothing was counted.
            Stopped: nothing is to be sent any more.
        """
        if self.stopping.is_set():
            raise Stopped
        budget = self._budget
        sent = self.counts.sent + sum(other.counts.sent for other in self._others)
        if budget.requests is not None and sent >= budget.requests:
            raise _spent(f"{budget.requests:,} requests were sent")
        if self._limited:
            self._check_tokens(request, body)
        self.counts.sent += 1
        self._on_their_way += 1

    def _check_tokens(self, request: Request, body: bytes) -> None:
        budget, meters = self._budget, [self, *self._others]
        most = (len(body) / BYTES_PER_TOKEN, float(request.max_tokens or 0))
        ahead = [meter._ahead(int(meter is self), most) for meter in meters]
        used = sum(meter.counts.prompt_tokens + meter.counts.completion_tokens for meter in meters)
        spent = f"{used:,} tokens are used, {sum(meter._on_their_way for meter in meters):,} requests under way"
        if budget.tokens is not None and sum(read + written for read, written in ahead) > budget.tokens:
            raise _spent(f"{spent}, and the limit is {budget.tokens:,} tokens")
        costs = [meter._cost_usd(*tokens) for meter, tokens in zip(meters, ahead, strict=True)]
        if budget.cost_usd is not None and sum(cost or 0.0 for cost in costs) > budget.cost_usd:
            now_usd = sum(meter.cost_usd() or 0.0 for meter in meters)
            raise _spent(f"{spent}, ${now_usd:.4f}, and the limit is ${budget.cost_usd:g}")

    def _ahead(self, more: int, most: tuple[float, float]) -> tuple[float, float]:
        """Tokens read and written once all that is on its way, and so many requests more, have come back.

        Args:
            more: requests about to be sent.
            most: what one reads and can write, taken where none has come back yet.
        """
        coming = self._on_their_way + more
        if not self._settled:
            return coming * most[0], coming * most[1]
        share = 1 + coming / self._settled
        return self.counts.prompt_tokens * share, self.counts.completion_tokens * share

    def settle(self, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """A request that was sent has ended, and cost that much."""
        self._on_their_way -= 1
        self.counts.prompt_tokens += prompt_tokens
        self.counts.completion_tokens += completion_tokens
        if prompt_tokens or completion_tokens:
            self._settled += 1

    async def metered(
        self, request: Request, body: bytes, answer: Callable[[], Awaitable[Reply | Failed]]
    ) -> Reply | Failed:
        """The answer to a request, admitted before it is asked for and settled however that ends.

        Raises:
            BudgetSpent, Stopped: see `admit`.
        """
        self.admit(request, body)
        prompt_tokens = completion_tokens = 0
        try:
            outcome = await answer()
            prompt_tokens, completion_tokens = outcome.prompt_tokens, outcome.completion_tokens
        finally:
            self.settle(prompt_tokens, completion_tokens)
        return outcome

    async def rest(self, seconds: float) -> None:
        """Wait so long before something is sent again.

        Raises:
            Stopped: at once when nothing is to be sent any more.
        """
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            return
        raise Stopped


def _spent(what: str) -> BudgetSpent:
    return BudgetSpent(
        f"the budget is spent: {what}", fix="every reply is kept; raise the limit and run the same command again"
    )
