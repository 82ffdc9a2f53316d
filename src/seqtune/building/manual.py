"""The chains that need no LLM: those of the paper (repeat, paraphrase, translate) and the verifiable operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from seqtune.building.gold import Operation, Skip, find_operation, operations
from seqtune.building.requests import TRANSLATE_REQUESTS
from seqtune.building.weaving import Means, Part, TableFile, apply, chain, converse, draw_operations, weave
from seqtune.data.example import Example

ANSWER = "your answer"
MAIN_ANSWER = "your answer to the main task"  # after another step, "your answer" could be that step's
_TRIES = 4  # an operation may leave a result that no other fits ("first word"): another draw may not

Steps = int | tuple[int, int]

INPUT_NOUNS = ("the input", "the input", "the given input", "the input below")


def _task(example: Example, label: str = "Result") -> Part:
    return Part(example.instruction, example.output, label, "seed")


def _unfit(example: Example, *, needs_input: bool) -> Skip | None:
    if example.turns:
        return Skip("the row is a conversation already")
    if not example.output:
        return Skip("the row has no output")
    if needs_input and not example.input:
        return Skip("the row has no input")
    return None


@chain
def tasks(
    example: Example,
    means: Means,
    *,
    steps: Sequence[str],
    paraphrases: TableFile = "",
    column: str = "paraphrase",
) -> Example | Skip:
    """Named steps in a given order: operations, `paraphrase`, and `answer` for the row's own task (last by default)."""
    names = [*steps] if "answer" in steps else [*steps, "answer"]
    at = names.index("answer")
    if unfit := _unfit(example, needs_input=at > 0):
        return unfit
    parts: list[Part] = []
    for i, name in enumerate(names):
        if name == "answer":
            part: Part | Skip = _task(example)
        elif name == "paraphrase":
            part = _paraphrase(example, means, paraphrases, column)
        elif i < at:
            part = apply(find_operation(name), example.input, _noun(means), means.rng)
        else:
            part = apply(
                find_operation(name), example.output, ANSWER if i == at + 1 else MAIN_ANSWER, means.rng, "after"
            )
        if isinstance(part, Skip):
            return part
        parts.append(part)
    return weave(example, parts, means)


@chain
def repeat(example: Example, means: Means) -> Example | Skip:
    """First repeat the input, then do the row's own task."""
    return tasks(example, means, steps=("repeat",))


@chain
def paraphrase(
    example: Example, means: Means, *, paraphrases: TableFile = "", column: str = "paraphrase"
) -> Example | Skip:
    """First paraphrase the input, then do the row's own task; paraphrases come from a column or a file of rows."""
    return tasks(example, means, steps=("paraphrase",), paraphrases=paraphrases, column=column)


@chain
def translate(example: Example, means: Means, *, parallel: TableFile, language: str = "English") -> Example | Skip:
    """First translate the input into the language of the parallel file, then do its task there."""
    if unfit := _unfit(example, needs_input=True):
        return unfit
    other = means.table(parallel).match(example)
    if other is None:
        return Skip("no row of the parallel file matches")
    if not other.input or not other.output:
        return Skip("the parallel row has no input or no output")
    if other.input == example.input:
        return Skip("the parallel row has the same input")
    asks = (
        f"translate {_noun(means)} into {language}",
        f"give {_article(language)} translation of {_noun(means)}",
        f"put {_noun(means)} into {language}",
    )
    ask = asks[int(means.rng.random() * len(asks))]
    return weave(example, [Part(ask, other.input, f"Translation into {language}"), _task(other)], means)


@chain
def translate_query(
    example: Example,
    means: Means,
    *,
    parallel: TableFile,
    language: str = "English",
    source_language: str = "",
) -> Example | Skip:
    """A query without input: translate it into the language of the parallel file, then answer it there."""
    if unfit := _unfit(example, needs_input=False):
        return unfit
    if example.input:
        return Skip("the row has an input (the chain `translate` is for those)")
    other = means.table(parallel).match(example)
    if other is None:
        return Skip("no row of the parallel file matches")
    if other.instruction == example.instruction:
        return Skip("the parallel row has the same instruction")
    target = Part(f"translate the query into {language}", other.instruction, f"{language} Translation")
    answer = Part(f"answer the query in {language}", other.output, "Answer", "seed")
    if means.dialogue:
        asks = (f"Translate this query into {language}:\n\n{example.instruction}", f"Now answer it in {language}.")
        return converse(example, [target, answer], asks, means)
    request = _translate_request(language, source_language, means)
    return weave(example, [target, answer], means, instruction=f"{request}\n\n{example.instruction}")


def _translate_request(language: str, source_language: str, means: Means) -> str:
    own = TRANSLATE_REQUESTS.get(source_language) if language == "English" else None
    if own and means.rng.random() < 0.5:
        return own
    asks = (
        f"Translate the following query into {language}, then answer it in {language}.",
        f"First put the query below into {language}. Then answer it, in {language} as well.",
        f"Before answering the query below in {language}, translate it into {language}.",
    )
    return means.rng.choice(asks)


@chain(name="operations")
def around(
    example: Example,
    means: Means,
    *,
    steps: Steps = (2, 3),
    where: Literal["before", "after", "both"] = "both",
    only: Sequence[str] = (),
) -> Example | Skip:
    """Verifiable operations before (on the input) or after (on the answer) the row's own task; `steps` counts all."""
    if unfit := _unfit(example, needs_input=where == "before"):
        return unfit
    extra = _draw_steps(steps, means) - 1
    wanted = {"before": extra, "after": 0, "both": means.rng.randint(0, extra)}[where] if example.input else 0
    # Where the drawn places do not fit ("both"), all after the task may, or all before it.
    for before in dict.fromkeys((wanted, 0, extra)) if where == "both" and example.input else (wanted,):
        parts = _surrounded(example, means, before, extra - before, _candidates(only))
        if not isinstance(parts, Skip):
            return weave(example, parts, means)
    return Skip("fewer operations fit the text than steps were asked for")


def _surrounded(
    example: Example, means: Means, before: int, after: int, candidates: Sequence[Operation]
) -> list[Part] | Skip:
    """The row's own task with operations on its input before it, and others on its answer after it."""
    first = draw_operations(example.input, before, candidates, means.rng, it=_noun(means))
    if isinstance(first, Skip):
        return first
    used = {part.check for part in first} | {"repeat"}  # to repeat one's own answer asks for nothing new
    unused = [operation for operation in candidates if operation.name not in used]
    last = draw_operations(example.output, after, unused, means.rng, it=ANSWER, later=MAIN_ANSWER, kind="after")
    return last if isinstance(last, Skip) else [*first, _task(example), *last]


@chain
def operations_only(
    example: Example, means: Means, *, steps: Steps = (1, 3), only: Sequence[str] = (), dependent: bool = True
) -> Example | Skip:
    """Verifiable operations on the input in place of the row's own task, each on the result of the one before."""
    if example.turns or not example.input:
        return Skip("the row has no input")
    count, candidates, noun = _draw_steps(steps, means), _candidates(only), _noun(means)
    for _ in range(_TRIES):
        parts = draw_operations(example.input, count, candidates, means.rng, it=noun, kind="seed", dependent=dependent)
        if not isinstance(parts, Skip):
            return weave(example, parts, means)
    return Skip("fewer operations fit the text than steps were asked for")


def _draw_steps(steps: Steps, means: Means) -> int:
    return steps if isinstance(steps, int) else means.rng.randint(*steps)


def _candidates(only: Sequence[str]) -> list[Operation]:
    return [find_operation(name) for name in only] if only else [*operations().values()]


def _paraphrase(example: Example, means: Means, paraphrases: str, column: str) -> Part | Skip:
    row = means.table(paraphrases).match(example) if paraphrases else example
    if row is None:
        return Skip("no row of the paraphrase file matches")
    text = row.meta.get(column) or (row.output if paraphrases else "")
    if not isinstance(text, str) or not text.strip():
        return Skip(f"the row has no text in its column {column!r}")
    if text.strip() == example.input.strip():
        return Skip("the paraphrase equals the input")
    noun = _noun(means)
    ask = means.rng.choice((f"paraphrase {noun}", f"put {noun} in other words", f"rephrase {noun}"))
    return Part(ask, text.strip(), "Paraphrase")


def _noun(means: Means) -> str:
    return INPUT_NOUNS[int(means.rng.random() * len(INPUT_NOUNS))]


def _article(language: str) -> str:
    return f"{'an' if language[0] in 'AEIOU' else 'a'} {language}"
