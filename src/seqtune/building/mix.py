"""The mix: which chain a row gets, drawn from hash(seed, row id), so that order and `--limit` change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import xxhash

from seqtune.building.gold import Skip
from seqtune.building.style import Style
from seqtune.building.table import open_table
from seqtune.building.weaving import Chain, Means
from seqtune.data.example import Example

PLAIN = "plain"


@dataclass(frozen=True)
class Choice:
    """One chain of the mix: its share of the rows (0 to 1) and its options; `title` is what counts call it."""

    title: str
    chain: Chain
    share: float
    options: Mapping[str, Any]
    style: Style | Literal["mixed"]
    dialogue: bool


@dataclass(frozen=True)
class Mix:
    """The choices, and what becomes of a row that none of them fits: skipped, or kept as a plain row."""

    choices: Sequence[Choice]
    unfit: Literal["skip", "plain"]
    seed: int


class Made(NamedTuple):
    """A row of the result, and which part of the mix made it."""

    title: str
    example: Example


def transform(example: Example, mix: Mix) -> Made | Skip:
    """One row through the mix: the drawn chain, the others in order where it does not fit, or plain."""
    draw = _hash(mix.seed, example.id, "mix") / 2**64
    at = _drawn(mix.choices, draw)
    if at is None:
        return _plain(example)
    first: Skip | None = None
    for choice in (*mix.choices[at:], *mix.choices[:at]):
        made = _run(choice, example, mix.seed)
        if not isinstance(made, Skip):
            return Made(choice.title, made)
        first = first or made
    return _plain(example) if mix.unfit == "plain" or first is None else first


def _run(choice: Choice, example: Example, seed: int) -> Example | Skip:
    chain = choice.chain
    key = _hash(seed, example.id, choice.title)
    means = Means(chain.name, chain.version, key, seed, choice.style, choice.dialogue, open_table)
    made: Example | Skip = chain.run(example, means, **choice.options)
    return made


def _drawn(choices: Sequence[Choice], draw: float) -> int | None:
    for i, choice in enumerate(choices):
        draw -= choice.share
        if draw < 0:
            return i
    return None


def _plain(example: Example) -> Made | Skip:
    return Made(PLAIN, example) if example.output or example.turns else Skip("the row has no output")


def _hash(seed: int, row_id: str, purpose: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}\x1e{row_id}\x1e{purpose}".encode())
