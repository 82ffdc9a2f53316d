"""The suite `chains`: fresh chains of verifiable operations on texts that no training row holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
import xxhash

from seqtune.building import style as styles
from seqtune.building.gold import Operation, Skip, find_operation
from seqtune.building.gold import operations as all_operations
from seqtune.building.style import Style
from seqtune.building.weaving import Means, Part, Table, apply, draw_operations, weave
from seqtune.data.example import Example, Origin, Step
from seqtune.data.reader import read
from seqtune.errors import RecipeError
from seqtune.evaluation.suite import ASIDE, GROUP, Suite, suite

HELD_OUT = 8  # one text in so many is for testing
TRIES = 1000
MANY_STEPS = 6  # so many different operations do not all fit one short list

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

# Others on lists of words, for splits of operations that a model was not trained on.
LATER_OPERATIONS = ("sort_words", "upper_case", "double_words", "longest_word", "count_words", "remove_vowels")

GIVEN = "given"  # the column with the text that stands in a chain's request in place of its first step's result
SINGLES = "singles"  # the column of a chain's `meta` with the ids of its steps as items of their own

Pairs = Collection[tuple[str, str]]


def _asked_for(asks: Sequence[str]) -> str:
    parts = "".join(f"\n- {ask}" for ask in asks)
    return f"I want {len(asks)} things from you, from top to bottom:{parts}"


def _jobs(asks: Sequence[str]) -> str:
    names = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    jobs = [f"Job {names[i] if i < len(names) else i + 1}: {ask}." for i, ask in enumerate(asks)]
    return " ".join(["Some jobs, each on what the last one gave.", *jobs])


def _arrows(asks: Sequence[str]) -> str:
    return "Please run this pipeline: " + " => ".join(asks)


def _please(asks: Sequence[str]) -> str:
    return f"Would you please {asks[0]}?"


# Wordings of whole requests that no build uses: a model that was trained on seqtune's rows has seen none of them.
UNSEEN_FRAMES = (_asked_for, _jobs, _arrows)
UNSEEN_SINGLE_FRAMES = (_please, _arrows)

HOW_TO_ANSWER = "Write the result of each step on a line of its own, in this order, and nothing else."
HOW_TO_ANSWER_ONE = "Write the result and nothing else."


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
        lists = self.lists if steps < MANY_STEPS else replace(self.lists, shortest=steps, longest=steps + 2)
        text = lists.draw(rng, for_training=for_training)
        if steps < MANY_STEPS:
            parts = draw_operations(text, steps, self.operations, rng, it="the input", dependent=True)
        else:
            parts = self._draw_with_repeats(text, steps, rng)
        if isinstance(parts, Skip):
            return parts
        source = Example("", text, origin=(Origin("word_list", seed=self.seed),))
        means = Means("operations", 1, rng.getrandbits(63), self.seed, self.style, dialogue=False, table=_no_table)
        return weave(source, parts, means)

    def _draw_with_repeats(self, text: str, steps: int, rng: Random) -> list[Part] | Skip:
        """Any operation may come again, but not twice in a row, and none but the last makes a single word of a list."""
        parts: list[Part] = []
        last: Operation | None = None
        for _ in range(4 * steps):  # of a text such as "sun sun" nothing can be made but one word
            if len(parts) == steps:
                return parts
            pool = [one for one in self.operations if one is not last and (not last or last.gives in one.takes)]
            drawn = draw_operations(text, 1, pool, rng, it="the result" if parts else "the input")
            if isinstance(drawn, Skip):
                return drawn
            if len(drawn[0].result.split()) < 2 and len(parts) < steps - 1:
                continue
            parts += drawn
            text, last = drawn[0].result, find_operation(drawn[0].check)
        return parts if len(parts) == steps else Skip("nothing more can be done with the text")

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
    operations: Sequence[str] = (),
    trained_on: str = "",
    wordings: Literal["known", "unseen", "both"] = "known",
    singles: bool = False,
    told: bool = False,
    given: Literal["nothing", "right", "wrong", "all"] = "nothing",
    unseen_pairs: bool = False,
    group: str = "",
) -> Suite:
    """Fresh chains of operations on texts that no training row of seqtune holds.

    Args:
        steps: the numbers of steps to test.
        per_length: items for each of them; a smaller number gives the first of those of a larger one.
        seed: other seeds give other items.
        maker: draws them; by default from `operations`.
        operations: names of those to draw from; by default `WORD_OPERATIONS`.
        trained_on: a file of training rows. Chains are then drawn from the operations that these hold, and of those
            that they do not hold come others, as the split "unseen operations"; see `WORD_OPERATIONS` for both.
        wordings: of the whole request: those that builds use, others that no build uses, or both as two splits.
        singles: ask each step of each chain by itself as well, on the right result of the step before: what is lost in
            the chain is the chain tax.
        told: say in each request how to answer, for models that were not trained on seqtune's rows and cannot know how
            these mark the parts of an answer.
        given: put a result of the first step into the request of each chain, "right" or "wrong", and ask for the other
            steps on it; "all" makes splits of nothing, right and wrong. What is right is what follows from the text
            that stands there (the paper's adversarial intermediate text).
        unseen_pairs: only chains that hold one of the maker's unseen pairs, in place of none that does.
        group: what this split is called in the results.

    Raises:
        RecipeError: there are no chains so long of these operations.
    """
    if not steps or min(steps) < 1 or per_length < 1:
        what = f"steps is {[*steps]} and per_length {per_length}"
        raise RecipeError(what, where="suite 'chains'", fix="give numbers above 0")
    makers = {group: maker or chain_maker(operations or WORD_OPERATIONS, seed=seed)}
    if trained_on:
        makers = _split_by_training(trained_on, operations, seed, group)
    items: dict[str, Example] = {}
    for name, one in makers.items():
        for count in steps:
            _draw_chains(items, one, count, per_length, seed, name, unseen_pairs)
    if wordings != "known":
        reworded = [_reword(item, seed) for item in items.values()]
        items = {item.id: item for item in [*(items.values() if wordings == "both" else ()), *reworded]}
    if given != "nothing":
        items = {one.id: one for one in _with_given(items.values(), given, seed)}
    if told:
        items = {one.id: one for one in map(_told, items.values())}
    if singles:
        items = _with_singles(items, told)
    return Suite("chains", tuple(items.values()))


def _draw_chains(
    items: dict[str, Example], maker: ChainMaker, count: int, wanted: int, seed: int, group: str, unseen: bool
) -> None:
    """Put `wanted` new chains among the items, or as many as a hundred times as many tries give."""
    most = len(items) + wanted
    for i in range(100 * wanted):
        if len(items) == most:
            return
        rng = Random(f"{seed}/{group}/{count}/{i}")
        item = maker.draw(count, rng, for_training=False, unseen=unseen)
        items.setdefault(item.id, msgspec.structs.replace(item, meta={GROUP: group}))


def _split_by_training(path: str, operations: Sequence[str], seed: int, group: str) -> dict[str, ChainMaker]:
    """Makers of the two splits, by what training rows hold.

    Raises:
        RecipeError: the rows hold none of the operations.
    """
    if not Path(path).exists():
        fix = "name the rows that the model was trained on: --set evaluate.options.trained_on=FILE"
        raise RecipeError(f"trained_on is {path!r}, and there is no such file", where="suite 'chains'", fix=fix)
    trained = {step.check for row in read(path) for step in row.steps}
    names = operations or (*WORD_OPERATIONS, *LATER_OPERATIONS)
    known = [name for name in names if name in trained]
    if not known:
        what = f"none of {', '.join(names)} is a step of these rows"
        raise RecipeError(
            what, where=path, fix="name operations that they hold: --set evaluate.options.operations=[...]"
        )
    makers = {group or "known operations": chain_maker(known, seed=seed)}
    if unseen := [name for name in names if name not in trained]:
        makers["unseen operations"] = chain_maker(unseen, seed=seed)
    return makers


def _reword(item: Example, seed: int) -> Example:
    """The same chain asked for in a wording that no build uses."""
    rng = Random(f"{seed}/{item.id}/wording")
    asks = [step.text for step in item.steps]
    frame = rng.choice(UNSEEN_FRAMES if len(asks) > 1 else UNSEEN_SINGLE_FRAMES)
    group = ", ".join(filter(None, [str(item.meta.get(GROUP, "")), "unseen wordings"]))
    return msgspec.structs.replace(item, instruction=frame(asks), meta={**item.meta, GROUP: group})


def _with_given(items: Iterable[Example], given: str, seed: int) -> Iterator[Example]:
    """The chains with a result of their first step in the request; short ones and "nothing" as they are."""
    if given == "all":
        yield from items
    for kind in ("right", "wrong") if given == "all" else (given,):
        for item in items:
            if len(item.steps) > 1 and (made := _given_first(item, kind, seed)):
                yield made


def _given_first(item: Example, kind: str, seed: int) -> Example | None:
    """The chain with its first result told; None where no wrong one leads the later steps anywhere else."""
    first, *rest = item.steps
    text, rng = first.expected or "", Random(f"{seed}/{item.id}/given")
    if kind == "wrong":
        words = text.split()
        rng.shuffle(words)
        text = " ".join([*words[:-1], rng.choice(seed_words())])
    steps = _done_on(rest, text)
    if steps is None or (kind == "wrong" and steps[-1].expected == rest[-1].expected):
        return None
    told = f"{item.instruction}\n\nThe first result is there already; go on from it:\n{first.mark} {text}"
    output = styles.join([step.mark for step in steps], [step.expected or "" for step in steps])
    group = ", ".join(filter(None, [str(item.meta.get(GROUP, "")), f"first result {kind}"]))
    meta = {**item.meta, GROUP: group, GIVEN: text}
    return msgspec.structs.replace(item, instruction=told, output=output, steps=tuple(steps), meta=meta)


def _done_on(steps: Sequence[Step], text: str) -> list[Step] | None:
    """The steps with what is right after that text; None where one of them does not fit it."""
    found = []
    for step in steps:
        result = find_operation(step.check).run(text, **step.args)
        if isinstance(result, Skip):
            return None
        found.append(msgspec.structs.replace(step, expected=result))
        text = result
    return found


def _told(item: Example) -> Example:
    """The same, with how to answer."""
    how = HOW_TO_ANSWER if len(item.steps) > 1 else HOW_TO_ANSWER_ONE
    return msgspec.structs.replace(item, instruction=f"{item.instruction}\n\n{how}")


def _with_singles(items: Mapping[str, Example], told: bool) -> dict[str, Example]:
    """The items, each chain with the ids of its steps as items of their own, and these."""
    found: dict[str, Example] = {}
    alone: dict[str, Example] = {}
    for item in items.values():
        own = [_single(item, i) for i in range(len(item.steps))] if len(item.steps) > 1 else []
        own = [*map(_told, own)] if told else own
        meta = {**item.meta, SINGLES: [one.id for one in own]} if own else item.meta
        found[item.id] = msgspec.structs.replace(item, meta=meta)
        alone |= {one.id: one for one in own}
    return found | {id: one for id, one in alone.items() if id not in found}


def _single(item: Example, place: int) -> Example:
    """One step of a chain as a task of its own, on the right result of the step before."""
    step = item.steps[place]
    text = item.steps[place - 1].expected if place else item.meta.get(GIVEN, item.input)
    operation, rng = find_operation(step.check), Random(f"{item.id}/{place}")
    ask = rng.choice(operation.wordings).format(it="the input", **step.args)
    part = Part(ask, step.expected or "", operation.label, step.kind, step.check, step.args)
    source = Example("", text or "", origin=item.origin[:1])
    made = weave(source, [part], Means("operations", 1, rng.getrandbits(63), 0, "labelled", False, _no_table))
    assert isinstance(made, Example)
    return msgspec.structs.replace(made, meta={GROUP: "single steps", ASIDE: True})
