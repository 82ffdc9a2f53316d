"""What a build will ask and cost, before it is spent: a few rows rehearsed, or really asked, and scaled up.

Tokens come from the server's own usage figures: of the asked sample, or of this model's replies in the reply store.
Only where there are none does a rule of thumb stand in, and then the range is wide.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import msgspec

from seqtune.building.draft import CHOICES
from seqtune.building.engine import Plan
from seqtune.building.flow import Counts, open_teachers, price_in, source_rows
from seqtune.building.mix import transform
from seqtune.building.rehearsal import answer, first_text, prompt_name
from seqtune.building.teaching import NoAnswer, StageCounts, Tally, Teachers, Unreadable
from seqtune.data.example import Example
from seqtune.llm.asking import open_teacher
from seqtune.llm.budget import Price
from seqtune.llm.endpoint import named_model
from seqtune.llm.reply import Reply
from seqtune.llm.request import Request, body_of
from seqtune.llm.store import default_store, recent

REHEARSED_ROWS = 100
BYTES_PER_TOKEN = (3.0, 5.0)  # fewest and most of common tokenizers, over the languages that they were made for
# Tokens that a stage's reply mostly has, where nothing is known of this model; the answers are those of the paper's
# teacher (mean 300 to 430), and models that think aloud write more.
TYPICAL = {"respond": (150.0, 600.0), "judge": (60.0, 250.0), "extract": (30.0, 200.0)}
TYPICAL_OTHER = (60.0, 250.0)
UNSURE = 0.25  # of the number of requests, where no real teacher was asked: it may choose otherwise than the stand-in
RECENT = 2000  # replies of the store


class Range(NamedTuple):
    """From the least to the most that is to be expected."""

    low: float
    high: float


@dataclass(frozen=True)
class StageEstimate:
    """What a stage will come to for all rows; its cost is None where the price is unknown."""

    requests: Range
    prompt_tokens: Range
    completion_tokens: Range
    cost_usd: Range | None


@dataclass(frozen=True)
class Estimate:
    """What a build will come to.

    Args:
        rows: of the source.
        sampled: how many of them the figures come from; `asked` says whether the teacher was asked for them.
        known: how many replies of this model's the token figures come from; 0 for a rule of thumb.
        stages: by stage.
    """

    rows: int
    sampled: int
    asked: bool
    known: int
    stages: Mapping[str, StageEstimate]

    @property
    def total(self) -> StageEstimate:
        """All stages together."""
        stages = [*self.stages.values()]
        costs = [stage.cost_usd for stage in stages if stage.cost_usd is not None]
        return StageEstimate(
            _sum(stage.requests for stage in stages),
            _sum(stage.prompt_tokens for stage in stages),
            _sum(stage.completion_tokens for stage in stages),
            _sum(costs) if len(costs) == len(stages) else None,
        )


def _sum(ranges: Iterable[Range]) -> Range:
    lows, highs = zip(Range(0, 0), *ranges, strict=True)
    return Range(sum(lows), sum(highs))


class _Known(NamedTuple):
    """What this model's replies in the store used: means of a stage."""

    replies: int
    bytes_per_token: float
    completion_tokens: float


def estimate(planned: Plan, *, sample_rows: int = 0) -> Estimate:
    """What a build with a teacher will come to.

    Args:
        planned: the checked build.
        sample_rows: ask the teacher for so many rows first (their replies are kept, and not paid again); with 0
            nothing is asked, and the first hundred rows are rehearsed with a stand-in.

    Raises:
        DataError: the source cannot be read.
        TeacherError: the teacher cannot be asked as it was named.
    """
    settings = planned.settings
    source = (row for row in source_rows(settings) if isinstance(row, Example))
    sample = [*islice(source, sample_rows or REHEARSED_ROWS)]
    rows = len(sample) + sum(1 for _ in source)
    model, tally = asyncio.run(_through(sample, planned, rehearsed=not sample_rows))
    scale = rows / max(len(sample), 1)

    def priced(name: str, requests: Range, read: Range, written: Range) -> StageEstimate:
        price = price_in(settings, (settings.judge if name == "judge" else "") or settings.llm)
        return StageEstimate(requests, read, written, _cost_usd(price, read, written))

    if sample_rows:
        margin = 1 / sqrt(max(len(sample), 1))
        stages = {name: priced(name, *_measured(counts, scale, margin)) for name, counts in tally.stages.items()}
        return Estimate(rows, len(sample), True, sum(c.calls for c in tally.stages.values()), stages)
    path = Path(settings.store or default_store())
    known = _known(path, model) | (_known(path, named_model(settings.judge).model) if settings.judge else {})
    stages = {
        name: priced(name, *_guessed(name, counts, scale, known.get(name))) for name, counts in tally.stages.items()
    }
    return Estimate(rows, len(sample), False, sum(one.replies for one in known.values()), stages)


async def _through(sample: list[Example], planned: Plan, *, rehearsed: bool) -> tuple[str, Tally]:
    """Send the sample through the chains; gives the teacher's name, and what was asked by stage."""
    counts = Counts()
    async with AsyncExitStack() as stack:
        if rehearsed:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            counts.model = named_model(planned.settings.llm).model
            stand_in = await stack.enter_async_context(open_teacher(_rehearse, store=Path(folder, "replies.sqlite")))
            teachers = Teachers(stand_in, stand_in, counts.tally)
        else:
            teachers = await open_teachers(stack, planned.settings, counts)
        await asyncio.gather(*[_tried(row, planned, teachers) for row in sample])
    return counts.model, counts.tally


async def _tried(row: Example, planned: Plan, teachers: Teachers) -> None:
    with suppress(NoAnswer, Unreadable):
        await transform(row, planned.mix, teachers)


def _rehearse(request: Request) -> Reply:
    """The stand-in's reply; its "tokens" are the bytes that would be sent."""
    body = body_of(request)
    return Reply(answer(msgspec.json.decode(body)), "stop", prompt_tokens=len(body))


def _cost_usd(price: Price | None, read: Range, written: Range) -> Range | None:
    if price is None:
        return None
    return Range(*[(read[i] * price.input_usd + written[i] * price.output_usd) / 1e6 for i in (0, 1)])


def _measured(counts: StageCounts, scale: float, margin: float) -> list[Range]:
    """Requests, tokens read and tokens written."""
    return [_around(n * scale, margin) for n in (counts.calls, counts.prompt_tokens, counts.completion_tokens)]


def _guessed(name: str, counts: StageCounts, scale: float, known: _Known | None) -> list[Range]:
    calls, sent_bytes = counts.calls * scale, counts.prompt_tokens * scale
    if known:
        read = _around(sent_bytes / known.bytes_per_token, UNSURE)
        written = _around(calls * known.completion_tokens, UNSURE)
    else:
        fewest, most = BYTES_PER_TOKEN
        low, high = TYPICAL.get(name, TYPICAL_OTHER)
        read = Range(sent_bytes / most * (1 - UNSURE), sent_bytes / fewest * (1 + UNSURE))
        written = Range(calls * low * (1 - UNSURE), calls * high * (1 + UNSURE))
    return [_around(calls, UNSURE), read, written]


def _around(value: float, margin: float) -> Range:
    return Range(value * (1 - margin), value * (1 + margin))


def _known(path: Path, model: str) -> dict[str, _Known]:
    """What the model's latest replies in the store used, by stage."""
    if not path.is_file():
        return {}
    used: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for request, prompt_tokens, completion_tokens in recent(path, model, RECENT):
        if prompt_tokens and completion_tokens:
            used[_stage_of(request)].append((len(request.encode()), prompt_tokens, completion_tokens))
    return {stage: _mean(rows) for stage, rows in used.items()}


def _stage_of(request: str) -> str:
    name = prompt_name(first_text(msgspec.json.decode(request)))
    return "rewrite" if name in CHOICES else name or "respond"


def _mean(rows: list[tuple[int, int, int]]) -> _Known:
    sent, read, written = [sum(column) for column in zip(*rows, strict=True)]
    return _Known(len(rows), sent / read, written / len(rows))
