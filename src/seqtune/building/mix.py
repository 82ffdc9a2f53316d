"""The mix: which chain a row gets, drawn from hash(seed, row id), so that order and `--limit` change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Literal, NamedTuple

import xxhash
from msgspec import structs

from seqtune.building.gold import Skip
from seqtune.building.style import Style
from seqtune.building.teaching import Asker, Teachers
from seqtune.building.weaving import Chain, Means, Table, TableFile
from seqtune.data.example import Example, Origin

PLAIN = "plain"
THOUGHTS = "thoughts"


@dataclass(frozen=True)
class Portion:
    """One chain of the mix: its share of the rows (0 to 1) and its options; `title` is what counts call it."""

    title: str
    chain: Chain
    share: float
    options: Mapping[str, Any]
    style: Style | Literal["mixed"]
    dialogue: bool


@dataclass(frozen=True)
class Mix:
    """The portions, and how a row goes through them.

    Args:
        unfit: what becomes of a row that none of them fits: skipped, or kept as a plain row.
        seed: of every draw.
        table: the rows of a file beside the input, by its path; read once for a build.
        direct: chains that ask a teacher also get its answer to the row as it is, for the control set.
    """

    portions: Sequence[Portion]
    unfit: Literal["skip", "plain"]
    seed: int
    table: Callable[[str], Table]
    direct: bool = False


class Made(NamedTuple):
    """A row of the result, and which part of the mix made it."""

    title: str
    example: Example
    control: Example | None = None


def open_tables(mix: Mix) -> None:
    """Read every file beside the input that the mix names: what is wrong with one is told before anything is asked.

    Raises:
        DataError: one cannot be read, or its rows cannot be matched.
    """
    for portion in mix.portions:
        for name, option in portion.chain.options.items():
            if option.annotation == TableFile and (path := portion.options.get(name)):
                mix.table(path)


async def transform(example: Example, mix: Mix, teachers: Teachers | None = None) -> Made | Skip:
    """One row through the mix: the drawn chain, the others in order where it does not fit, or plain.

    Raises:
        NoAnswer, Unreadable: the teacher failed on this row.
        TeacherError: a chain asks, and there is no teacher, or it can answer nothing.
    """
    draw = _hash(mix.seed, example.id, "mix") / 2**64
    at = _drawn(mix.portions, draw)
    if at is None:
        return _plain(example)
    first: Skip | None = None
    for portion in (*mix.portions[at:], *mix.portions[:at]):
        means = _means(portion, example, mix, teachers)
        made = portion.chain.run(example, means, **portion.options)
        if isawaitable(made):
            made = await made
        if not isinstance(made, Skip):
            return Made(portion.title, made, means.control)
        first = first or made
    return _plain(example) if mix.unfit == "plain" or first is None else first


def _means(portion: Portion, example: Example, mix: Mix, teachers: Teachers | None) -> Means:
    return Means(
        portion.chain.name,
        portion.chain.version,
        _hash(mix.seed, example.id, portion.title),
        mix.seed,
        portion.style,
        portion.dialogue,
        mix.table,
        Asker(teachers, portion.title),
        mix.direct,
    )


def _drawn(portions: Sequence[Portion], draw: float) -> int | None:
    for i, portion in enumerate(portions):
        draw -= portion.share
        if draw < 0:
            return i
    return None


def _plain(example: Example) -> Made | Skip:
    return Made(PLAIN, example) if example.output or example.turns else Skip("the row has no output")


def take_thought(example: Example, seed: int) -> Made | Skip:
    """A chain-of-thought row as it is, with a line of lineage that says what it is there for."""
    made = _plain(example)
    if isinstance(made, Skip):
        return made
    origin = (*example.origin, Origin(THOUGHTS, parent=example.id, seed=seed))
    return Made(THOUGHTS, structs.replace(example, origin=origin), example)


def _hash(seed: int, row_id: str, purpose: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}\x1e{row_id}\x1e{purpose}".encode())
