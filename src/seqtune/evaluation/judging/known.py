"""Answers of which it is known what is right in them: bundled rows and fresh chains, and damage done to these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from random import Random
from typing import Literal, NamedTuple

from seqtune.building.damage import spoil
from seqtune.building.evidence import plain
from seqtune.building.gold import Skip
from seqtune.building.manual import around
from seqtune.building.style import STYLES, Style, marks
from seqtune.building.weaving import Means, Part, Table, weave
from seqtune.data.example import Example
from seqtune.data.reader import read
from seqtune.errors import RecipeError
from seqtune.evaluation.suites.generated_chains import chain_maker

Kind = Literal[
    "right", "drop_step", "swap_steps", "merge_steps", "empty", "copy_prompt", "inject_verdict", "drop_last",
    "pad_answer", "other_answer",
]  # fmt: skip

KINDS: tuple[Kind, ...] = (
    "drop_step", "swap_steps", "merge_steps", "empty", "copy_prompt", "inject_verdict", "pad_answer",
)  # fmt: skip
LEAVES_OUT = (
    "drop_step",
    "inject_verdict",
    "copy_prompt",
)  # damages after which the result of a step is nowhere to be found
MOST_CHARACTERS = 1500  # of a right answer: a judge is tested on steps here, not on patience
LABELLED = 0.5  # of the rows at least: only where parts bear their names can all that is done to them be told
TRIES = 20


class Known(NamedTuple):
    """An answer, and what was done to it.

    Args:
        item: what was asked; its steps hold the right results.
        kind: "right", or the name of the damage; "drop_last" is what "inject_verdict" is without its praise, and
            "other_answer" the right answer to another request.
        answer: the text to judge.
    """

    item: Example
    kind: Kind
    answer: str


def right_answers(count: int, seed: int = 0) -> tuple[Example, ...]:
    """Rows of two or three steps whose outputs are right: fewer are the first of more.

    By turns: a bundled row whose input is put in other words first; one with operations before or after its own task; a
    fresh chain of operations. The first needs a judge, of the others a program could say the same.

    Args:
        count: how many.
        seed: other seeds give other rows and other operations.
    """
    found: dict[str, Example] = {}
    for made in _drawn(seed):
        if len(found) == count:
            break
        if len(made.output) <= MOST_CHARACTERS:
            found.setdefault(made.id, made)
    return tuple(found.values())


def _drawn(seed: int) -> Iterator[Example]:
    ways = (_paraphrased, _surrounded, _chained)
    place = 0
    while True:
        way, rng = ways[place % len(ways)], Random(f"{seed}/judge check/{place}")
        made = next((one for _ in range(TRIES) if isinstance(one := way(rng), Example)), None)
        if made:
            yield made
        place += 1


@cache
def _rows() -> tuple[Example, ...]:
    return tuple(read(str(resources.files("seqtune.data").joinpath("seeds.jsonl"))))


def _paraphrased(rng: Random) -> Example | Skip:
    row = rng.choice(_rows())
    given = row.meta.get("paraphrase")
    if not given or not row.input:
        return Skip("the row has no paraphrase")
    first = Part("put the input in other words", str(given), "Paraphrase")
    return weave(row, [first, Part(row.instruction, row.output, "Result", "seed")], _means("paraphrase", rng))


def _surrounded(rng: Random) -> Example | Skip:
    row = rng.choice(_rows())
    return around(row, _means("operations", rng), steps=3) if row.input else Skip("the row has no input")


def _chained(rng: Random) -> Example | Skip:
    maker = chain_maker(style="labelled" if rng.random() < LABELLED else rng.choice(STYLES))
    try:
        return maker.draw(3, rng, for_training=False)
    except RecipeError as error:
        return Skip(error.what)


def _means(chain: str, rng: Random) -> Means:
    style: Literal["labelled", "mixed"] = "labelled" if rng.random() < LABELLED else "mixed"
    return Means(chain, 1, rng.getrandbits(63), 0, style, dialogue=False, table=_no_table)


def _no_table(path: str) -> Table:
    raise RecipeError("these rows need no table", where=path)


def known_answers(
    rows: Sequence[Example], seed: int = 0, kinds: Sequence[Kind] = KINDS
) -> tuple[tuple[Known, ...], dict[str, int]]:
    """Each right answer, and what each damage makes of it.

    Args:
        rows: with right outputs and the steps in them.
        seed: of the damages.
        kinds: of damage.

    Returns:
        The answers; and by damage, how many rows do not bear it.
    """
    found = [Known(row, "right", row.output) for row in rows]
    left_out: dict[str, int] = {}
    for kind in kinds:
        for row in rows:
            made = spoil(row, seed=seed, kinds=(kind,))
            if isinstance(made, Skip) or not _is_told(row, kind, made.answer):
                left_out[kind] = left_out.get(kind, 0) + 1
                continue
            found.append(Known(row, kind, made.answer))
            if kind == "inject_verdict":
                found.append(Known(row, "drop_last", made.answer.rpartition("\n\n")[0]))
    # The next row, for that was made in another way.
    found += [Known(row, "other_answer", rows[(place + 1) % len(rows)].output) for place, row in enumerate(rows)]
    return tuple(found), left_out


def _is_told(row: Example, kind: Kind, answer: str) -> bool:
    """Whether somebody who judges what was done, and not whether it is right, can see the damage."""
    if kind in LEAVES_OUT:
        return not holds_every_result(row, answer)
    # "1. plant next" in place of "2. plant next" is a poor result of the first step, not the second's out of place.
    return kind != "swap_steps" or row.origin[-1].transform == "paraphrase" or not _is_counted(row)


def _is_counted(row: Example) -> bool:
    shown = [step.mark for step in row.steps]
    counted: tuple[Style, ...] = ("numbered", "steps", "plain")
    return any(shown == marks(style, shown) for style in counted)


def holds_every_result(row: Example, answer: str) -> bool:
    """Whether the result of each step still stands somewhere: "gulls" stands in "gulls eat fish" too."""
    return all(plain(step.expected or "") in plain(answer) for step in row.steps)
