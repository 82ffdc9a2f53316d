"""Chains: how one row becomes several tasks in one instruction, their outputs in the same order.

A chain is one decorated function `(example, means, **options) -> Example | Skip`, or an async one where it asks the
teacher; its keyword-only parameters are the options a recipe may give. `weave` does the common work: wording, marks,
steps and lineage.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Literal, Protocol, TypeVar, overload

import msgspec

from seqtune.building import style as styles
from seqtune.building.gold import Kind, Operation, Skip
from seqtune.building.style import STYLES, Style
from seqtune.building.teaching import Asker, Sampling
from seqtune.building.wording import operation_clause, phrase, task_clause
from seqtune.data.example import Example, Origin, Step, StepKind, Turn, prompt_text
from seqtune.errors import RecipeError
from seqtune.llm.request import Message

TableFile = Annotated[str, "a file of rows that stand beside the input rows"]


class Part(msgspec.Struct, frozen=True):
    """One task of a chain: how it is asked, its right result, and what its part of the answer is called."""

    ask: str
    result: str
    label: str
    kind: StepKind = "before"
    check: str = ""
    args: dict[str, Any] = {}


class Table(Protocol):
    """Rows that stand beside the input rows: translations, paraphrases."""

    def match(self, example: Example) -> Example | None:
        """The row with the same own id, or else at the same place in its file."""


class Means(msgspec.Struct):
    """What a chain is given besides its row: it touches no disk, network or clock itself.

    Args:
        chain: the chain's name, for the lineage.
        version: the chain's version.
        key: hash(seed, row id, chain): what `rng` is seeded with, so that order and `--limit` change nothing.
        seed: the build's seed, for the lineage.
        style: how the parts of answers are marked; "mixed" draws one for each row.
        dialogue: a turn a task, in place of one instruction that asks for all.
        table: the rows of a file beside the input, by its path.
        asker: asks the teacher and the judge; `ask` is what a chain mostly needs of it.
        direct: the teacher is to answer the row's own instruction as well, for the control set.
        control: what the chain gives as the row's control, None for the row itself.
    """

    chain: str
    version: int
    key: int
    seed: int
    style: Style | Literal["mixed"]
    dialogue: bool
    table: Callable[[str], Table]
    asker: Asker = Asker(None, "")
    direct: bool = False
    control: Example | None = None
    _rng: Random | None = None

    @property
    def rng(self) -> Random:
        """The row's own random generator."""
        # Made when first used: most rows that a chain skips need none, and seeding costs as much as reading a row.
        if self._rng is None:
            self._rng = Random(self.key)
        return self._rng

    async def ask(self, said: str | Sequence[Message], *, stage: str = "ask", sampling: Sampling | None = None) -> str:
        """The teacher's reply, never empty or cut; asked once, and served from the reply store ever after.

        Args:
            said: a prompt, or the messages so far.
            stage: what counts and estimates call this question.
            sampling: how the reply is drawn; what the server does by itself by default.

        Raises:
            NoAnswer: the teacher gave none; the engine counts the row as failed.
            TeacherError: the build has no teacher.
        """
        return await self.asker.ask(said, stage=stage, sampling=sampling)


ChainFunction = Callable[..., "Example | Skip | Awaitable[Example | Skip]"]
Function = TypeVar("Function", bound=ChainFunction)


@dataclass(frozen=True)
class Chain:
    """What `@chain` makes of a function: its name, what it does in a line, and its options with their defaults."""

    name: str
    run: ChainFunction
    summary: str
    options: Mapping[str, inspect.Parameter]
    version: int


_chains: dict[str, Chain] = {}

OF_EVERY_CHAIN = ("chain", "share", "style", "dialogue")  # what recipes say of a chain besides its own options


@overload
def chain(function: Function) -> Function: ...
@overload
def chain(*, name: str = "", version: int = 1) -> Callable[[Function], Function]: ...
def chain(function: Any = None, *, name: str = "", version: int = 1) -> Any:
    """Register a function `(example, means, **options) -> Example | Skip` as a chain that recipes can name.

    Args:
        name: what recipes call it; the function's own name by default.
        version: raise it when the chain's rows change; it stands in their lineage.

    Raises:
        RecipeError: the name is taken, or that of an option, or the function's docstring (shown by `seqtune ls
            chains`) is missing.
    """

    def register(run: Function) -> Function:
        title = name or run.__name__
        if not run.__doc__:
            raise RecipeError(f"chain {title!r} has no docstring", fix="say in one line what it does")
        if title in _chains and _chains[title].run.__module__ != run.__module__:
            raise RecipeError(
                f"chain {title!r} is already defined in {_chains[title].run.__module__}", fix="give yours another name"
            )
        parameters = inspect.signature(run, eval_str=True).parameters.values()
        options = {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        if taken := [name for name in options if name in OF_EVERY_CHAIN]:
            what = f"chain {title!r} has an option {taken[0]!r}, which recipes say of every chain"
            raise RecipeError(what, fix="give the option another name")
        _chains[title] = Chain(title, run, run.__doc__.strip().splitlines()[0], options, version)
        return run

    return register(function) if function else register


def chains() -> Mapping[str, Chain]:
    """All chains by name, the shipped ones and your own."""
    from seqtune.building import manual, seq_instruct  # noqa: F401  (importing them registers the shipped ones)

    return _chains


def weave(example: Example, parts: Sequence[Part], means: Means, *, instruction: str = "") -> Example | Skip:
    """One row that asks for all parts in order and answers them in the same order.

    Args:
        example: the row that the chain is made from; at most one part is its own task (kind "seed").
        parts: the tasks in order, each with its right result.
        means: draws the wording and the style of the marks.
        instruction: the whole request, where the chain words it itself.

    Returns:
        The chained row, or a Skip where its answer could not be taken apart again.
    """
    if means.dialogue:
        asks = [
            part.ask.strip() if part.kind == "seed" else operation_clause(part.ask).sentence or "" for part in parts
        ]
        return converse(example, parts, asks, means)
    results = [part.result.strip("\n") for part in parts]
    marks = _unambiguous_marks([part.label for part in parts], results, means)
    if marks is None:
        return Skip("a part of the answer reads like a mark of the next")
    return _woven(
        example,
        means,
        _steps(parts, results, marks),
        instruction=instruction or _request(parts, means),
        input=example.input,
        output=styles.join(marks, results),
    )


def _request(parts: Sequence[Part], means: Means) -> str:
    own = [i for i, part in enumerate(parts) if not part.check and part.kind == "seed"]
    clauses = [task_clause(part.ask) if i in own else operation_clause(part.ask) for i, part in enumerate(parts)]
    return phrase(clauses, own[0] if own else None, means.rng)


def converse(example: Example, parts: Sequence[Part], asks: Sequence[str], means: Means) -> Example:
    """A dialogue with a turn a task: the input stands in the first turn, each later one asks for one thing more."""
    first = prompt_text(Example(asks[0], example.input))
    turns = [
        turn
        for ask, part in zip((first, *asks[1:]), parts, strict=True)
        for turn in (Turn("user", ask), Turn("assistant", part.result))
    ]
    results = [part.result for part in parts]
    steps = _steps(parts, results, [""] * len(parts))
    return _woven(example, means, steps, instruction=first, output=results[-1], turns=tuple(turns))


def _woven(example: Example, means: Means, steps: tuple[Step, ...], **fields: Any) -> Example:
    keys = means.asker.taken_keys()
    made = Origin(
        means.chain,
        means.version,
        parent=example.id,
        seed=means.seed,
        model=means.asker.model if keys else "",
        replies=keys,
    )
    return Example(
        system=example.system,
        images=example.images,
        steps=steps,
        origin=(*example.origin, made),
        meta=example.meta,
        **fields,
    )


def _steps(parts: Sequence[Part], results: Sequence[str], marks: Sequence[str]) -> tuple[Step, ...]:
    return tuple(
        [
            Step(part.ask, result, part.kind, part.check, part.args, mark)
            for part, result, mark in zip(parts, results, marks, strict=True)
        ]
    )


def _unambiguous_marks(labels: list[str], results: list[str], means: Means) -> list[str] | None:
    first: Style = STYLES[int(means.rng.random() * len(STYLES))] if means.style == "mixed" else means.style
    for style in (first, *(other for other in STYLES if other != first)):
        marks = styles.marks(style, labels)
        if not styles.ambiguous(marks, results) and (style == "plain" or len(set(marks)) == len(marks)):
            return marks
    return None


def apply(operation: Operation, text: str, it: str, rng: Random, kind: StepKind = "before") -> Part | Skip:
    """One operation on a text as a part of a chain: drawn args, a drawn wording, the right result.

    Args:
        operation: what to do.
        text: what to do it on.
        it: how the instruction names that text: "the input", "your answer", "the result".
        rng: draws args and wording.
        kind: whether it comes before or after the row's own task.
    """
    args: dict[str, Any] = {}
    if operation.draw:
        drawn = operation.draw(text, rng)
        if isinstance(drawn, Skip):
            return drawn
        args = drawn
    result = operation.run(text, **args)
    if isinstance(result, Skip):
        return result
    wording = operation.wordings[int(rng.random() * len(operation.wordings))]
    return Part(wording.format(it=it, **args), result, operation.label, kind, operation.name, args)


def draw_operations(
    text: str,
    count: int,
    candidates: Sequence[Operation],
    rng: Random,
    *,
    it: str,
    later: str = "",
    kind: StepKind = "before",
    dependent: bool = False,
) -> list[Part] | Skip:
    """`count` different operations that fit a text.

    Args:
        text: what the first is done on; with `dependent`, each later one on the result of the one before.
        count: how many.
        candidates: the operations to draw from.
        rng: the row's random generator.
        it: how the instruction names the text; `later` how all but the first operation name it, if differently.
    """
    parts: list[Part] = []
    gives: Kind = "lines" if "\n" in text.strip() else "text"
    for operation in _shuffled(candidates, rng):
        if len(parts) == count:
            break
        if gives not in operation.takes:
            continue
        part = apply(operation, text, it, rng, kind)
        if isinstance(part, Skip):
            continue
        parts.append(part)
        if dependent:
            text, it, gives = part.result, "the result", operation.gives
        else:
            it = later or it
    if len(parts) < count:
        return Skip("fewer operations fit the text than steps were asked for")
    return parts


def _shuffled(candidates: Sequence[Operation], rng: Random) -> Iterator[Operation]:
    # Lazily, because the first few mostly fit: shuffling all ninety costs more than the rest of a chain.
    pool = list(candidates)
    for left in range(len(pool), 0, -1):
        at = int(rng.random() * left)
        yield pool[at]
        pool[at] = pool[left - 1]
