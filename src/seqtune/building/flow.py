"""From rows to outcomes, in the order of the source: one by one, or many side by side where a teacher is asked."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from seqtune.building.contamination import load_overlap
from seqtune.building.gold import Skip
from seqtune.building.mix import Made, Mix, open_tables, take_thought, transform
from seqtune.building.near import NearSet
from seqtune.building.prompting import few_shot_order
from seqtune.building.settings import BuildSettings, ThoughtSettings
from seqtune.building.teaching import NoAnswer, Tally, Teachers, Unreadable
from seqtune.data.detection import Detection
from seqtune.data.example import Example
from seqtune.data.failure import Failure
from seqtune.data.ids import IdSet
from seqtune.data.reader import rows
from seqtune.errors import DataError, shorten
from seqtune.llm.asking import Teacher, each_in_order, open_teacher
from seqtune.llm.budget import Budget, Meter, Price, Spent, together
from seqtune.llm.prices import price_of
from seqtune.llm.reply import Stopped

DUPLICATE = "the same row, with the same own id, stands earlier"
NEAR_DUPLICATE = "nearly the same row stands earlier"
NO_MORE_THOUGHTS = "chain-of-thought rows: their source holds no more, and none is repeated"
BLOCK_ROWS = 256  # of these, rows that share a few-shot order are asked together, so that prefix caches keep hitting
AHEAD_ROWS = 4096  # finished rows that wait for a slow one before them, of about 8 kB each
INPUT_WORDS = 12  # of each end of an input, by which near-duplicates are told
GRACE_S = 30.0  # what is on its way when the user stops gets this long to come back
TICK_S = 0.5

Result = TypeVar("Result")
OnDetect = Callable[[Detection], object]
Overlap = Callable[[Example], "str | None"]


@dataclass
class Words:
    """Words of all examples together (in scripts without blanks: of what stands between blanks).

    Args:
        read: of the instructions as read, without inputs.
        made: of the instructions as they became.
        answers: of the outputs.
    """

    read: int = 0
    made: int = 0
    answers: int = 0


@dataclass
class Counts:
    """What became of the rows so far; where a teacher is asked, also what it was asked and what it cost."""

    read: int = 0
    examples: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    missing: int = 0  # chain-of-thought rows that the share asked for, and their source did not hold
    rows_in_all: int | None = None
    worked: int = 0  # rows that came to their end, in whatever order; `done` are those in the order of the source
    model: str = ""
    judge: str = ""
    tally: Tally = field(default_factory=Tally)
    words: Words = field(default_factory=Words)
    meters: Sequence[Meter] = ()
    asking_s: float = 0.0

    @property
    def spent(self) -> Spent:
        """What asking came to, the teacher's and the judge's together."""
        return together(meter.counts for meter in self.meters)

    @property
    def cost_usd(self) -> float | None:
        """What it cost; None where a price is unknown."""
        costs = [meter.cost_usd() for meter in self.meters]
        return None if None in costs or not costs else sum(cost for cost in costs if cost)

    @property
    def done(self) -> int:
        """Rows that have come to their end."""
        return self.examples + self.skipped.total() + self.failed.total()


OnProgress = Callable[[Counts], None]


class Chained(NamedTuple):
    """A row of the result, the row of the control set that goes with it, and which part of the mix made it."""

    example: Example
    control: Example
    title: str


class Skipped(NamedTuple):
    """A row that no chain fits, and why."""

    why: Skip
    example: Example


Outcome = Chained | Skipped | Failure


@dataclass
class Halt:
    """Why a build came to its end before the rows did.

    Args:
        interrupted: the user stopped it.
        error: what else stopped it; raised when the finished rows are written.
        stop: ends the build in good order; None as long as nothing is asked yet.
    """

    interrupted: bool = False
    error: Exception | None = None
    stop: Callable[[], object] | None = None

    def __bool__(self) -> bool:
        return self.interrupted or self.error is not None


def outcomes(
    settings: BuildSettings, mix: Mix, counts: Counts, on_detect: OnDetect | None = None
) -> Generator[Outcome, None, None]:
    """What becomes of each row, without a teacher; counts along.

    Raises:
        DataError: a source or a file beside it cannot be read; with `strict`, at the first bad row.
        TeacherError: a chain asks a teacher.
    """
    open_tables(mix)
    overlap = _overlap(settings)
    made = _untaught(settings, mix, counts, overlap, on_detect)
    return _with_thoughts(made, settings, counts, overlap, on_detect)


def _untaught(
    settings: BuildSettings, mix: Mix, counts: Counts, overlap: Overlap | None, on_detect: OnDetect | None
) -> Generator[Outcome, None, None]:
    for row in _prepared(source_rows(settings, on_detect), settings, counts, overlap):
        outcome = _at_once(_outcome(row, mix, None))
        _count(counts, outcome)
        yield outcome


def _at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("a chain waits for something other than a teacher")


def _overlap(settings: BuildSettings) -> Overlap | None:
    return load_overlap(settings.contamination) if settings.contamination else None


def _with_thoughts(
    made: Generator[Outcome, None, None],
    settings: BuildSettings,
    counts: Counts,
    overlap: Overlap | None,
    on_detect: OnDetect | None,
) -> Generator[Outcome, None, None]:
    """The outcomes, with chain-of-thought rows among them where the settings ask for some."""
    given = settings.thoughts
    if given is None:
        return made
    found = _rows(given, on_detect)
    # What cannot be read is told before a teacher is asked for anything.
    found = _strictly(chain([*islice(found, 1)], found), settings)
    return _interleaved(made, _thoughts(found, settings, counts, overlap), given.share, counts)


def _thoughts(
    found: Iterator[Example | Failure], settings: BuildSettings, counts: Counts, overlap: Overlap | None
) -> Iterator[Outcome]:
    for row in _prepared(found, settings, counts, overlap):
        outcome = _finished(take_thought(row, settings.seed), row) if isinstance(row, Example) else row
        _count(counts, outcome)
        yield outcome


def _interleaved(
    made: Generator[Outcome, None, None], thoughts: Iterator[Outcome], share: float, counts: Counts
) -> Generator[Outcome, None, None]:
    """Thoughts spread evenly among the outcomes, so that after each the share is right to within one row.

    What comes when depends on the examples before it alone, so that `--limit` gives a prefix.
    """
    written = taken = 0  # `counts` may be ahead by a block of rows
    with closing(made):
        for outcome in made:
            yield outcome
            written += isinstance(outcome, Chained)
            while _is_due(written, taken, share):
                for thought in thoughts:
                    yield thought
                    if isinstance(thought, Chained):
                        break
                else:
                    counts.missing += 1
                written, taken = written + 1, taken + 1


def _is_due(written: int, taken: int, share: float) -> bool:
    """Whether the share is met better, or as well, with one more of them at the end."""
    return taken + 0.5 <= share * (written + 1) + 1e-9


def _prepared(
    found: Iterable[Example | Failure], settings: BuildSettings, counts: Counts, overlap: Overlap | None
) -> Iterator[Example | Skipped | Failure]:
    """The rows as read; those that need no chain to know their end, as that."""
    seen = IdSet() if settings.duplicates == "skip" else None
    for row in found:
        counts.read += 1
        if isinstance(row, Failure):
            yield row
        elif seen is not None and not seen.add(row.id):
            yield Skipped(Skip(DUPLICATE), row)
        elif overlap and (name := overlap(row)):
            yield Skipped(_overlaps(name), row)
        else:
            yield row


def _overlaps(name: str) -> Skip:
    return Skip(f"overlaps with {name}")


def source_rows(settings: BuildSettings, on_detect: OnDetect | None = None) -> Iterator[Example | Failure]:
    """The rows of all sources, up to the limit.

    Raises:
        DataError: a source cannot be read; with `strict`, at the first bad row.
    """
    return _strictly(islice(_rows(settings, on_detect), settings.limit), settings)


def _rows(settings: BuildSettings | ThoughtSettings, on_detect: OnDetect | None) -> Iterator[Example | Failure]:
    return chain.from_iterable(
        rows(source, format=settings.format, columns=settings.columns, on_detect=on_detect)
        for source in settings.sources
    )


def _strictly(found: Iterable[Example | Failure], settings: BuildSettings) -> Iterator[Example | Failure]:
    for row in found:
        if settings.strict and isinstance(row, Failure):
            raise DataError(str(row), fix=f"{row.fix or 'mend the row'}; without --strict it is counted and left out")
        yield row


async def _outcome(row: Example | Skipped | Failure, mix: Mix, teachers: Teachers | None) -> Outcome:
    if not isinstance(row, Example):
        return row
    try:
        made = await transform(row, mix, teachers)
    except NoAnswer as error:
        reason = f"no answer of the teacher ({error.stage}: {error.failed.reason})"
        fix = error.failed.fix or "run the same command again: what is missing is asked again"
        return Failure(*_place(row), reason, str(error.failed).partition("\n")[0], fix)
    except Unreadable as error:
        reason = f"the teacher's reply cannot be read ({error.stage})"
        fix = "see what it wrote; another teacher, or another procedure, may keep to the form"
        return Failure(*_place(row), reason, shorten(error.reply), fix, reply=error.reply, key=error.key)
    return _finished(made, row)


def _finished(made: Made | Skip, row: Example) -> Chained | Skipped:
    if isinstance(made, Skip):
        return Skipped(made, row)
    return Chained(made.example, made.control or row, made.title)


def _place(row: Example) -> tuple[str, int]:
    return (row.origin[0].source, row.origin[0].row) if row.origin else ("", 0)


def _count(counts: Counts, outcome: Outcome) -> None:
    if isinstance(outcome, Failure):
        counts.failed[outcome.reason] += 1
    elif isinstance(outcome, Skipped):
        counts.skipped[outcome.why.reason] += 1
    else:
        counts.examples += 1
        counts.made[outcome.title] += 1
        counts.steps[len(outcome.example.steps) or 1] += 1


def taught_outcomes(
    settings: BuildSettings,
    mix: Mix,
    counts: Counts,
    halt: Halt,
    on_detect: OnDetect | None = None,
    on_progress: OnProgress | None = None,
) -> Generator[Outcome, None, None]:
    """What becomes of each row, with a teacher; counts along.

    Ends early, and says so in `halt`, where the user stops it, the budget is spent or the teacher can answer nothing;
    what is on its way gets `GRACE_S` to come back, and rows that are not at their end then are left out.

    Raises:
        DataError: a source or a file beside it cannot be read; with `strict`, at the first bad row.
        TeacherError: the teacher cannot be asked as it was named.
        StoreError: the reply store cannot be used.
    """
    open_tables(mix)
    overlap = _overlap(settings)
    made = _taught(settings, mix, counts, halt, overlap, on_detect, on_progress)
    return _with_thoughts(made, settings, counts, overlap, on_detect)


def _taught(
    settings: BuildSettings,
    mix: Mix,
    counts: Counts,
    halt: Halt,
    overlap: Overlap | None,
    on_detect: OnDetect | None,
    on_progress: OnProgress | None,
) -> Generator[Outcome, None, None]:
    loop = asyncio.new_event_loop()
    blocks = _taught_blocks(settings, mix, counts, halt, overlap, on_detect, on_progress)
    with _stopped_by_the_user(halt, loop):
        coming: asyncio.Future[list[Outcome] | None] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(anext(blocks, None), loop=loop)
                block = loop.run_until_complete(coming)
                if block is None:
                    return
                yield from block
        finally:
            if coming and not coming.done():  # stopped in the middle of it: let it come to its end first
                coming.cancel()
                with suppress(asyncio.CancelledError):
                    loop.run_until_complete(coming)
            loop.run_until_complete(blocks.aclose())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


@contextmanager
def _stopped_by_the_user(halt: Halt, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """The first Ctrl-C stops in good order, the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: object) -> None:
        if halt.interrupted or halt.stop is None:
            raise KeyboardInterrupt
        halt.interrupted = True
        loop.call_soon_threadsafe(halt.stop)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _taught_blocks(
    settings: BuildSettings,
    mix: Mix,
    counts: Counts,
    halt: Halt,
    overlap: Overlap | None,
    on_detect: OnDetect | None,
    on_progress: OnProgress | None,
) -> AsyncGenerator[list[Outcome], None]:
    settle = _settler(settings, counts, overlap)
    async with AsyncExitStack() as stack:
        teachers = await open_teachers(stack, settings, counts)
        running = _Running(teachers, halt)
        counts.rows_in_all = _count_rows(settings) if on_progress else None
        stack.callback(_keep_telling(counts, on_progress).cancel)

        async def work(item: tuple[int, Example | Skipped | Failure]) -> tuple[int, Outcome]:
            outcome = await running.finish(_outcome(item[1], mix, teachers))
            counts.worked += 1
            return item[0], outcome

        items = _asked_together(_prepared(source_rows(settings, on_detect), settings, counts, overlap), settings.seed)
        found = each_in_order(work, items, in_flight=_rows_in_flight(settings), ahead=AHEAD_ROWS)
        async with aclosing(found) as results:
            waiting: list[tuple[int, Outcome]] = []
            async for some in results:
                waiting += some
                while ready := _first_block(waiting):
                    yield [settle(outcome) for _, outcome in ready]
            if waiting:
                yield [settle(outcome) for _, outcome in sorted(waiting, key=itemgetter(0))]


def _asked_together(
    prepared: Iterable[Example | Skipped | Failure], seed: int
) -> Iterator[tuple[int, Example | Skipped | Failure]]:
    """The rows with their numbers, in blocks in which those that share a few-shot order stand side by side."""
    numbered = enumerate(prepared)
    while block := [*islice(numbered, BLOCK_ROWS)]:
        yield from sorted(block, key=lambda item: _order(seed, item[1]))


def _order(seed: int, row: Example | Skipped | Failure) -> int:
    return few_shot_order(seed, row.id) if isinstance(row, Example) else 0


def _first_block(waiting: list[tuple[int, Outcome]]) -> list[tuple[int, Outcome]]:
    """Take the results of the first block in the order of the source, once all that will come of it are there."""
    if not waiting:
        return []
    number = waiting[0][0] // BLOCK_ROWS
    if waiting[-1][0] // BLOCK_ROWS == number and len(waiting) < BLOCK_ROWS:
        return []  # a later block has not begun; of a build that is stopped, rows may be left out
    size = sum(1 for place, _ in waiting if place // BLOCK_ROWS == number)
    block = sorted(waiting[:size], key=itemgetter(0))
    del waiting[:size]
    return block


def _rows_in_flight(settings: BuildSettings) -> int:
    """A row waits for the store or for a pause now and then, so there are more rows than requests in flight."""
    return 50_000 if settings.batch else 2 * settings.concurrency


async def open_teachers(stack: AsyncExitStack, settings: BuildSettings, counts: Counts) -> Teachers:
    """Open the teacher and the judge that the settings name; what is spent shows in `counts`."""
    from seqtune.llm.client import Patience  # here, because aiohttp takes 0.2 s to import

    async def opened(spec: str | list[str], beside: Teacher | None = None) -> Teacher:
        opening = open_teacher(
            spec,
            store=settings.store,
            concurrency=settings.concurrency,
            adaptive=settings.adaptive,
            budget=_budget(settings, spec),
            patience=Patience(timeout_s=settings.timeout_s),
            batch=settings.batch,
            beside=beside,
        )
        return await stack.enter_async_context(opening)

    teacher = await opened(settings.llm)
    judge = await opened(settings.judge, beside=teacher) if settings.judge else teacher
    counts.model, counts.judge = teacher.model, judge.model
    counts.meters = [teacher.meter] if judge is teacher else [teacher.meter, judge.meter]
    return Teachers(teacher, judge, counts.tally)


def _budget(settings: BuildSettings, spec: str | list[str]) -> Budget:
    return Budget(
        requests=settings.max_requests,
        tokens=settings.max_tokens,
        cost_usd=settings.max_cost,
        price=price_in(settings, spec),
    )


def price_in(settings: BuildSettings, llm: str | list[str]) -> Price | None:
    """What the teacher or the judge of a build costs, see `price_of`; in batches half of it."""
    price = price_of(llm, settings.price)
    return Price(price.input_usd / 2, price.output_usd / 2) if price and settings.batch else price


def _settler(settings: BuildSettings, counts: Counts, overlap: Overlap | None) -> Callable[[Outcome], Outcome]:
    """Looks at outcomes in the order of the source: near-duplicates of earlier rows are skipped; counts along."""
    near = NearSet() if settings.near_duplicates == "skip" else None

    def settle(outcome: Outcome) -> Outcome:
        if isinstance(outcome, Chained) and _is_taught(outcome.example):
            if overlap and (name := overlap(outcome.example)):
                outcome = Skipped(_overlaps(name), outcome.example)
            elif near is not None and near.add(_near_text(outcome.example)) is not None:
                outcome = Skipped(Skip(NEAR_DUPLICATE), outcome.example)
        _count(counts, outcome)
        if isinstance(outcome, Chained):
            _count_words(counts.words, outcome)
        return outcome

    return settle


def _near_text(example: Example) -> str:
    """The instruction, and both ends of the input: two questions on one long passage are no copies of each other."""
    words = example.input.split()
    ends = words if len(words) <= 2 * INPUT_WORDS else [*words[:INPUT_WORDS], *words[-INPUT_WORDS:]]
    return f"{example.instruction}\n{' '.join(ends)}"


def _is_taught(example: Example) -> bool:
    return bool(example.origin and example.origin[-1].replies)


def _count_words(words: Words, chained: Chained) -> None:
    words.read += len(chained.control.instruction.split())
    words.made += len(chained.example.instruction.split())
    words.answers += len(chained.example.output.split())


class _Running:
    """Owns the rows that are being worked on, and stops them in good order."""

    def __init__(self, teachers: Teachers, halt: Halt) -> None:
        self._teachers, self._halt = teachers, halt
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._cut_off: set[asyncio.Task[Outcome]] = set()
        self._loop = asyncio.get_running_loop()
        halt.stop = self.stop

    async def finish(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """The outcome of one row.

        Raises:
            Stopped: the build stops, and this row is not at its end.
        """
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if task in self._cut_off:
                raise Stopped from None
            raise
        except Stopped:
            raise
        except Exception as error:  # the budget is spent, the disk is full, an own chain is wrong
            self._halt.error = self._halt.error or error
            self.stop()
            raise Stopped from None
        finally:
            self._tasks.discard(task)

    def stop(self) -> None:
        """Send nothing new, and give what is on its way a while."""
        self._teachers.teacher.stop()
        self._teachers.judge.stop()
        self._loop.call_later(GRACE_S, self._cut)

    def _cut(self) -> None:
        self._cut_off |= self._tasks
        for task in self._tasks:
            task.cancel()


def _count_rows(settings: BuildSettings) -> int | None:
    """How many rows there are, for the time left; None for what can be read only once, or would be downloaded twice."""
    if all(Path(source).is_file() for source in settings.sources):
        return sum(1 for _ in source_rows(settings))
    return None


def _keep_telling(counts: Counts, on_progress: OnProgress | None) -> asyncio.Task[None]:
    async def tell() -> None:
        started = time.perf_counter()
        while on_progress:
            await asyncio.sleep(TICK_S)
            counts.asking_s = time.perf_counter() - started
            on_progress(counts)

    return asyncio.ensure_future(tell())
