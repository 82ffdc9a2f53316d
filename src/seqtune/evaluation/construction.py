"""How SeqEval was built, over any prompts: a teacher makes each ask for one task more, round by round.

The paper (arXiv 2403.07794, section 4) put a task before or after the prompt or split it, at random, and in later
rounds before or after what the round before had made; the published set takes 81, 161, 242 and 321 prompts of rounds
1 to 4.
Here a rewrite that fails, or that a gate refuses, leaves its prompt as the round before made it, and is listed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import xxhash
from msgspec import Struct, structs

from seqtune.building.draft import Choice, Draft
from seqtune.building.gates import gates as all_gates
from seqtune.building.gates import refused_by
from seqtune.building.gold import Skip
from seqtune.building.parsing import read_instruction
from seqtune.building.prompting import few_shot_order, find_prompt, render, tags
from seqtune.building.seq_instruct import GROW, step_kinds
from seqtune.building.tasks import bare_task, split_tasks
from seqtune.building.teaching import Asker, NoAnswer, Tally, Teachers, Unreadable
from seqtune.data.example import Example
from seqtune.data.failure import Failure
from seqtune.data.folder import versions, working_in, write_lines, write_summary
from seqtune.data.reader import rows
from seqtune.errors import DataError, RecipeError, did_you_mean
from seqtune.evaluation.suites.prompts import told_apart
from seqtune.llm.asking import Script, Teacher, each_in_order, open_teacher
from seqtune.llm.budget import Budget
from seqtune.llm.request import Message, user

PUBLISHED_SHARES = (81, 161, 242, 321)  # prompts of rounds 1, 2, 3, 4
FIRST_MODES: tuple[Choice, ...] = ("before", "after", "decompose")
LATER_MODES: tuple[Choice, ...] = ("before", "after")
# A teacher of this form does not list its tasks, and the rule of thumb that counts them says one when in doubt: of the
# 75 recorded first rounds that it refused, most had the task. The other gates read better.
LEFT_OUT_GATES = frozenset({"step_added"})


class Rewrite(Struct, frozen=True):
    """One round: what was done, what came of it, and the keys of the teacher's replies in the reply store."""

    mode: Choice
    instruction: str
    replies: tuple[str, ...] = ()


class Evolved(Struct, frozen=True, omit_defaults=True):
    """A line of prompts.jsonl; the suite `seqeval` reads it.

    Args:
        instruction, input: the prompt; the input is as it was read.
        iteration: how many rounds made it, 0 for a prompt that is as it was read.
        mode: of the last of them, "" where there was none.
        parent: id of the row as it was read, which is its id as an item of the suite `prompts`.
        original: its instruction.
        rounds: what each round made of it.
    """

    instruction: str
    iteration: int
    mode: str
    parent: str
    original: str
    rounds: tuple[Rewrite, ...]
    input: str = ""


class Unmade(Struct, frozen=True, omit_defaults=True):
    """A line of failed.jsonl: a round that came to nothing, or a row that holds no prompt (round 0).

    Args:
        row: of the source, counted from 1.
        round, mode: what was to be done.
        reason: worded the same wherever the same went wrong; `detail` says what exactly.
        parent: id of the row as it was read.
        instruction: how the prompt stands in prompts.jsonl.
        draft: what the teacher wrote and is not used.
    """

    row: int
    round: int
    reason: str
    detail: str = ""
    mode: str = ""
    parent: str = ""
    instruction: str = ""
    draft: str = ""


@dataclass(frozen=True)
class Construction:
    """What `build_seqeval` made.

    Args:
        out: the folder: prompts.jsonl, failed.jsonl, run.json.
        prompts: how many there are, by how many rounds made them.
        modes: how many rewrites of each mode are in them.
        failed: rounds that came to nothing, and rows without a prompt, by reason.
        calls: questions put to the teacher, replies from the store included; `asked` without these.
        cost_usd: None where the price is unknown.
        wall_s: how long it took.
    """

    out: Path
    prompts: dict[int, int]
    modes: dict[str, int]
    failed: dict[str, int]
    calls: int
    asked: int
    cost_usd: float | None
    wall_s: float


def build_seqeval(
    from_: str | Path,
    *,
    out: str | Path,
    llm: str | Sequence[str] | Script,
    rounds: int = 4,
    shares: Sequence[float] | None = None,
    seed: int = 0,
    limit: int | None = None,
    gates: Sequence[str] | None = None,
    concurrency: int = 64,
    budget: Budget | None = None,
    store: str | Path | None = None,
    overwrite: bool = False,
    say: Callable[[int], object] | None = None,
) -> Construction:
    """Have a teacher make prompts ask for several tasks, as SeqEval was made, and write them.

    The same command again goes on where it was stopped: what the teacher said is in the reply store.

    Args:
        from_: the prompts: a file in any format that seqtune reads, or a dataset of the hub. Outputs play no part.
        out: the folder.
        llm: the teacher; see `open_teacher`.
        rounds: the most that a prompt goes through.
        shares: of prompts that go through 1, 2, ... rounds; by default the published ones, or as 1 to 2 to 3 ... where
            the rounds are not four. Any first part of the prompts has these shares too, as near as whole prompts go.
        seed: draws what is done to a prompt in each round; which prompts go through how many is the same for all seeds.
        limit: only so many rows, which are the first of those without a limit.
        gates: only these gates look at the rewrites, none for []; all that look at instructions by default, but not
            `step_added`.
        concurrency: the most requests in flight.
        budget: the most that may be spent.
        store: the reply store's file; the user's own by default.
        overwrite: take the folder whatever it holds.
        say: called with the number of rows that are at their end.

    Raises:
        RecipeError: shares or gates that cannot be used.
        DataError: the prompts cannot be read, or there is none.
        RunFolderError: the folder holds something else, or cannot be written.
        TeacherError: the teacher cannot be asked, or the budget is spent.
    """
    started = time.perf_counter()
    plan = _Plan(_usable_shares(rounds, shares), seed, usable_gates(gates))
    settings = _settings(from_, llm, plan, limit)
    fingerprint = xxhash.xxh3_128_hexdigest(msgspec.json.encode(settings))
    folder = Path(out)
    with working_in(folder, "build-seqeval", fingerprint, overwrite=overwrite):
        asking = open_teacher(llm, store=store, concurrency=concurrency, budget=budget)
        made = asyncio.run(_construct(plan, _numbered(str(from_), limit, plan), asking, 2 * concurrency, say))
        if not made.prompts:
            raise DataError("no row holds a prompt", where=str(from_), fix="name the prompts' column 'instruction'")
        write_lines(folder / "prompts.jsonl", made.prompts)
        write_lines(folder / "failed.jsonl", made.failed)
        done = _summed_up(folder, made, time.perf_counter() - started)
        summary = {"command": "build-seqeval", "fingerprint": fingerprint, "finished": True, "settings": settings}
        write_summary(folder, summary | _told(done) | {"stages": made.tally.stages, "versions": versions()})
    return done


class _Plan(NamedTuple):
    """What is to be done with all prompts."""

    shares: tuple[float, ...]
    seed: int
    gates: tuple[str, ...]


@dataclass
class _Made:
    """What came of all rows so far, and what asking for it came to."""

    prompts: list[Evolved] = field(default_factory=list)
    failed: list[Unmade] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    asked: int = 0
    cost_usd: float | None = None


def _usable_shares(rounds: int, shares: Sequence[float] | None) -> tuple[float, ...]:
    given = shares or (PUBLISHED_SHARES if rounds == len(PUBLISHED_SHARES) else range(1, rounds + 1))
    if rounds < 1 or len(given) != rounds or min(given) < 0 or sum(given) <= 0:
        what = f"rounds is {rounds} and shares {', '.join(f'{share:g}' for share in given) or 'none'}"
        raise RecipeError(what, fix="give one share a round, none below 0 and not all 0")
    return tuple(given)


def usable_gates(names: Sequence[str] | None) -> tuple[str, ...]:
    """The gates that look at rewrites: those that are named, or by default all but `LEFT_OUT_GATES`.

    Raises:
        RecipeError: no gate on instructions has one of the names.
    """
    known = [gate.name for gate in all_gates().values() if gate.on == "instruction"]
    if names is None:
        return tuple(name for name in known if name not in LEFT_OUT_GATES)
    for name in names:
        if name not in known:
            raise RecipeError(
                f"no gate on instructions is called {name!r}{did_you_mean(name, known)}",
                fix=f"choose from {', '.join(known)}",
            )
    return tuple(names)


def _settings(from_: str | Path, llm: str | Sequence[str] | Script, plan: _Plan, limit: int | None) -> dict[str, Any]:
    named = getattr(llm, "__qualname__", llm)
    prompts = [find_prompt(mode).title for mode in FIRST_MODES]
    return {"from": str(from_), "llm": named, "limit": limit, "prompts": prompts, **plan._asdict()}


def deal_rounds(shares: Sequence[float]) -> Iterator[int]:
    """How many rounds the first, second, ... prompt goes through, without end: of any first part, the shares are met.

    Each place goes to the round that is furthest behind its share, so none is ever a whole prompt ahead of it; of as
    many prompts as the shares add up to, where they are whole numbers, each round gets exactly its share.
    """
    total, dealt = sum(shares), [0] * len(shares)
    for place in count(1):
        behind = [share * place - had * total for share, had in zip(shares, dealt, strict=True)]
        at = behind.index(max(behind))
        dealt[at] += 1
        yield at + 1


def draw_mode(seed: int, row_id: str, number: int) -> Choice:
    """What is done to a prompt in a round: each mode is as likely as the others of that round."""
    modes = FIRST_MODES if number == 1 else LATER_MODES
    return modes[xxhash.xxh3_64_intdigest(f"{seed}\x1e{row_id}\x1eround {number}".encode()) % len(modes)]


class _Given(NamedTuple):
    """A row of the source: its number, the prompt or why there is none, and how many rounds it goes through."""

    row: int
    prompt: Example | Unmade
    rounds: int


def _numbered(source: str, limit: int | None, plan: _Plan) -> Iterator[_Given]:
    deal = deal_rounds(plan.shares)
    for number, prompt in _apart(rows(source, limit=limit)):
        yield _Given(number, prompt, next(deal) if isinstance(prompt, Example) else 0)


def _apart(found: Iterable[Example | Failure]) -> Iterator[tuple[int, Example | Unmade]]:
    """Each row with its number; equal prompts have ids of their own, so that they may grow differently."""
    times: Counter[str] = Counter()
    for number, row in enumerate(found, 1):
        if isinstance(row, Failure):
            yield number, Unmade(row.row, 0, row.reason, row.value)
        elif row.turns or row.images:
            yield number, Unmade(number, 0, f"the row {'is a dialogue' if row.turns else 'has images'}", parent=row.id)
        else:
            yield number, told_apart(structs.replace(row, steps=()), times)


async def _construct(
    plan: _Plan,
    given: Iterator[_Given],
    asking: AbstractAsyncContextManager[Teacher],
    in_flight: int,
    say: Callable[[int], object] | None,
) -> _Made:
    made, ended = _Made(), 0
    async with asking as teacher:
        teachers = Teachers(teacher, teacher, made.tally)

        async def work(one: _Given) -> tuple[Evolved | None, Unmade | None]:
            if isinstance(one.prompt, Unmade):
                return None, one.prompt
            return await _evolved(one, one.prompt, plan, teachers)

        async with aclosing(each_in_order(work, given, in_flight=in_flight)) as blocks:
            async for block in blocks:
                made.prompts += [prompt for prompt, _ in block if prompt]
                made.failed += [unmade for _, unmade in block if unmade]
                ended += len(block)
                if say:
                    say(ended)
        made.asked = teacher.counts.asked - teacher.counts.from_store - teacher.counts.shared
        made.cost_usd = teacher.cost_usd
    return made


async def _evolved(given: _Given, prompt: Example, plan: _Plan, teachers: Teachers) -> tuple[Evolved, Unmade | None]:
    """The prompt after all its rounds, or after those that came to something and why the next did not."""
    row, made, unmade = prompt, list[Rewrite](), None
    for number in range(1, given.rounds + 1):
        mode, asker = draw_mode(plan.seed, prompt.id, number), Asker(teachers, "build-seqeval")
        draft = await _rewritten(row, mode, asker, few_shot_order(plan.seed, prompt.id), plan.gates)
        if isinstance(draft, Skip):
            unmade = Unmade(
                given.row, number, draft.reason, draft.detail, mode, prompt.id, row.instruction, draft.draft
            )
            break
        row = structs.replace(row, instruction=draft.instruction, steps=draft.steps)
        made.append(Rewrite(mode, draft.instruction, asker.taken_keys()))
    last = made[-1].mode if made else ""
    done = Evolved(row.instruction, len(made), last, prompt.id, prompt.instruction, tuple(made), prompt.input)
    return done, unmade


async def _rewritten(row: Example, mode: Choice, asker: Asker, order: int, gates: Sequence[str]) -> Draft | Skip:
    """The prompt with one task more, or why the teacher's rewrite cannot be used; it is told once, and asked again."""
    prompt = render(mode, order, instruction=row.instruction, input=row.input, **tags(row.instruction, row.input))
    said = [user(prompt)]
    try:
        for _ in range(2):
            instruction, reply = await asker.ask_for(
                lambda text: read_instruction(text, row.instruction), said, stage=mode, sampling=GROW
            )
            draft = Draft(row, mode, instruction, step_kinds(row, mode, _tasks(instruction)))
            if (refused := refused_by(draft, "instruction", gates)) is None:
                return draft
            why = Skip(refused[1].reason, refused[1].detail, instruction)
            said = [user(prompt), Message("assistant", reply), user(render("refused", reason=why.detail or why.reason))]
    except NoAnswer as error:
        return Skip(f"no answer of the teacher ({error.failed.reason})", str(error.failed))
    except Unreadable as error:
        return Skip("the teacher's reply cannot be read", draft=error.reply)
    return why


def _tasks(instruction: str) -> list[str]:
    return [bare_task(task) for task in split_tasks(instruction)]


def _summed_up(folder: Path, made: _Made, wall_s: float) -> Construction:
    by_round = Counter(prompt.iteration for prompt in made.prompts)
    return Construction(
        out=folder,
        prompts=dict(sorted(by_round.items())),
        modes=dict(Counter(one.mode for prompt in made.prompts for one in prompt.rounds)),
        failed=dict(Counter(one.reason for one in made.failed).most_common()),
        calls=sum(stage.calls for stage in made.tally.stages.values()),
        asked=made.asked,
        cost_usd=made.cost_usd,
        wall_s=wall_s,
    )


def _told(done: Construction) -> dict[str, Any]:
    """The counts, for run.json."""
    return {name: value for name, value in asdict(done).items() if name != "out"}
