"""The suite `chains`: fresh chains of verifiable operations on texts that no training row holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from random import Random

import msgspec
import xxhash

from seqtune.building.gold import Operation, Skip, find_operation
from seqtune.building.gold import operations as all_operations
from seqtune.building.style import Style
from seqtune.building.weaving import Means, Table, apply, draw_operations, weave
from seqtune.data.example import Example, Origin
from seqtune.errors import RecipeError
from seqtune.evaluation.suite import GROUP, Suite, suite

HELD_OUT = 8  # one text in so many is for testing
TRIES = 1000

# What short lists of plain words bear in any order, and what makes no list longer: a small model that reads lists of up
# to five words and is then given ten (`double_words`) fails on those alone.
WORD_OPERATIONS = (
    "reverse_words",
    "swap_ends",
    "rotate_words",
    "drop_first_word",
    "drop_last_word",
    "every_second_word",
    "first_word",
    "last_word",
)

Pairs = Collection[tuple[str, str]]


@dataclass(frozen=True)
class WordLists:
    """Texts for chains: short lists of words, one part of them held out from training for ever.

    Args:
        words: what they are made of.
        shortest, longest: how many words a list has.
    """

    words: tuple[str, ...]
    shortest: int = 3
    longest: int = 5

    def draw(self, rng: Random, *, for_training: bool) -> str:
        """A list; the two kinds never share one, whatever the seeds.

        Raises:
            RecipeError: after a thousand tries there is none; the words are too few.
        """
        for _ in range(TRIES):
            text = " ".join(rng.choices(self.words, k=rng.randint(self.shortest, self.longest)))
            if is_held_out(text) != for_training:
                return text
        raise RecipeError(f"too few texts can be made of {len(self.words)} words", fix="give more words")


def is_held_out(text: str) -> bool:
    """Whether a text is for testing: told from its hash, so that no list of them has to be kept."""
    return xxhash.xxh3_64_intdigest(text.encode()) % HELD_OUT == 0


@cache
def seed_words(count: int = 60) -> tuple[str, ...]:
    """The most frequent words that follow an article in the bundled seed rows: mostly nouns, all in lower case.

    Words that operations are worded with ("first", "letter") are left out, so that a text never reads like a request.
    """
    text = resources.files("seqtune.data").joinpath("seeds.jsonl").read_text("utf-8")
    rows = [msgspec.json.decode(line, type=_SeedText) for line in text.splitlines() if line.strip()]
    found = Counter(word for row in rows for word in _AFTER_ARTICLE.findall(f"{row.input} {row.output}"))
    asked = {word for one in all_operations().values() for wording in one.wordings for word in wording.split()}
    return tuple(sorted(found.keys() - asked, key=lambda word: (-found[word], word))[:count])


class _SeedText(msgspec.Struct):
    input: str = ""
    output: str = ""


_AFTER_ARTICLE = re.compile(r"\b(?:[Tt]he|[Aa]n?) ([a-z]{3,8})\b(?!['’-])")


@dataclass(frozen=True)
class ChainMaker:
    """Draws dependent chains of operations, each operation on the result of the one before.

    Args:
        operations: what to draw from.
        lists: what the first operation is done on.
        style: how the parts of the answer are marked.
        unseen_pairs: pairs of neighbouring operations that training rows never hold.
        seed: of the lineage.
    """

    operations: tuple[Operation, ...]
    lists: WordLists
    style: Style = "labelled"
    unseen_pairs: Pairs = frozenset()
    seed: int = 0

    def draw(self, steps: int, rng: Random, *, for_training: bool, unseen: bool = False) -> Example:
        """One chain; `unseen` for one that holds an unseen pair, else it holds none.

        Raises:
            RecipeError: after a thousand tries there is none; too many steps for these operations.
        """
        for _ in range(TRIES):
            made = self._draw(steps, rng, for_training)
            if isinstance(made, Example) and unseen == self.holds_unseen_pair(made):
                return made
        raise RecipeError(
            f"no chain of {steps} steps can be drawn from {len(self.operations)} operations",
            fix="ask for fewer steps, give more operations, or give operations that can follow each other",
        )

    def _draw(self, steps: int, rng: Random, for_training: bool) -> Example | Skip:
        text = self.lists.draw(rng, for_training=for_training)
        parts = draw_operations(text, steps, self.operations, rng, it="the input", dependent=True)
        if isinstance(parts, Skip):
            return parts
        source = Example("", text, origin=(Origin("word_list", seed=self.seed),))
        means = Means("operations", 1, rng.getrandbits(63), self.seed, self.style, dialogue=False, table=_no_table)
        return weave(source, parts, means)

    def holds_unseen_pair(self, example: Example) -> bool:
        """Whether two neighbouring steps are a pair that training never shows."""
        names = [step.check for step in example.steps]
        return any(pair in self.unseen_pairs for pair in pairwise(names))


def _no_table(path: str) -> Table:
    raise RecipeError("generated chains read no table", where=path)


def chain_maker(
    operations: Sequence[str] = WORD_OPERATIONS,
    *,
    words: Sequence[str] | None = None,
    style: Style = "labelled",
    unseen: int = 0,
    seed: int = 0,
) -> ChainMaker:
    """A ChainMaker from names, with `unseen` pairs of operations, drawn by the seed, kept out of training.

    Raises:
        RecipeError: no operation has that name.
    """
    found = tuple([find_operation(name) for name in operations])
    lists = WordLists(tuple(words or seed_words()))
    return ChainMaker(found, lists, style, _unseen_pairs(found, lists, unseen, seed), seed)


def _unseen_pairs(operations: Sequence[Operation], lists: WordLists, count: int, seed: int) -> Pairs:
    """Pairs that can follow each other; no operation is twice the first or twice the second of one."""
    rng = Random(f"{seed}/unseen pairs")
    pairs = [(first, second) for first in operations for second in operations if first is not second]
    chosen: dict[str, str] = {}
    for first, second in rng.sample(pairs, len(pairs)):
        if len(chosen) == count:
            break
        free = first.name not in chosen and second.name not in chosen.values()
        if free and _can_follow(first, second, lists.draw(rng, for_training=True), rng):
            chosen[first.name] = second.name
    return frozenset(chosen.items())


def _can_follow(first: Operation, second: Operation, text: str, rng: Random) -> bool:
    part = apply(first, text, "the input", rng)
    return not isinstance(part, Skip) and not isinstance(apply(second, part.result, "the result", rng), Skip)


@suite("chains")
def chains(
    steps: Sequence[int] = (1, 2, 3),
    *,
    per_length: int = 100,
    seed: int = 0,
    maker: ChainMaker | None = None,
    unseen_pairs: bool = False,
    group: str = "",
) -> Suite:
    """The suite `chains`: fresh chains of operations on texts that no training row of seqtune holds.

    Args:
        steps: the numbers of steps to test.
        per_length: items for each of them; a smaller number gives the first of those of a larger one.
        seed: other seeds give other items.
        maker: draws them; by default from `WORD_OPERATIONS`.
        unseen_pairs: only chains that hold one of the maker's unseen pairs, in place of none that does.
        group: what this split is called in the results.

    Raises:
        RecipeError: there are no chains so long of these operations.
    """
    if not steps or min(steps) < 1 or per_length < 1:
        raise RecipeError(f"steps is {[*steps]} and per_length {per_length}", fix="give numbers above 0")
    maker = maker or chain_maker(seed=seed)
    items: dict[str, Example] = {}
    for count in steps:
        wanted = len(items) + per_length
        for i in range(100 * per_length):
            if len(items) == wanted:
                break
            rng = Random(f"{seed}/{group}/{count}/{i}")
            item = maker.draw(count, rng, for_training=False, unseen=unseen_pairs)
            items.setdefault(item.id, msgspec.structs.replace(item, meta={GROUP: group}))
    return Suite("chains", tuple(items.values()))
