"""The chains that are put together by hand: those of the paper (repeat, paraphrase, translate) and operations.

Their added text comes from a program, from a file beside the rows, or from a teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import structs

from seqtune.building.draft import Draft
from seqtune.building.gates import refused_by
from seqtune.building.gold import Operation, Skip, find_operation, operations
from seqtune.building.language import language as language_of
from seqtune.building.prompting import free_tag, render
from seqtune.building.requests import TRANSLATE_REQUESTS
from seqtune.building.teaching import Sampling
from seqtune.building.weaving import Means, Part, TableFile, apply, chain, converse, draw_operations, weave
from seqtune.data.example import Example, StepKind
from seqtune.errors import RecipeError

ANSWER = "your answer"
MAIN_ANSWER = "your answer to the main task"  # after another step, "your answer" could be that step's
# Names of languages, in English, whose texts can be told apart.
LANGUAGES = {
    "arabic": "ar", "chinese": "zh", "czech": "cs", "danish": "da", "dutch": "nl", "english": "en", "finnish": "fi",
    "french": "fr", "german": "de", "greek": "el", "hebrew": "he", "hindi": "hi", "hungarian": "hu", "italian": "it",
    "japanese": "ja", "korean": "ko", "polish": "pl", "portuguese": "pt", "romanian": "ro",
    "russian": "ru", "spanish": "es", "swedish": "sv", "thai": "th", "turkish": "tr", "ukrainian": "uk",
}  # fmt: skip
WRITTEN_GATES = (
    "answer_given", "no_refused_answer", "no_leaked_prompt_in_answer", "answer_does_not_loop", "answer_ends",
)  # fmt: skip
WRITING = Sampling(temperature=0.7, top_p=0.95, max_tokens=2048)
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
async def tasks(
    example: Example,
    means: Means,
    *,
    steps: Sequence[str],
    paraphrases: TableFile = "",
    column: str = "paraphrase",
    language: str = "English",
) -> Example | Skip:
    """Named steps in order: operations, what a teacher writes (summarise, ...), and `answer`, the row's own task.

    Args:
        steps: their names, in order, e.g. [repeat, answer, count_words]; without `answer` it comes last. Those before
            it are done on the row's input, those after it on its answer.
        paraphrases: a file of rows with paraphrases of the inputs, for a step "paraphrase" before the task.
        column: where a paraphrase stands, in the row itself or in that file.
        language: what a step "translate" translates into.
    """
    names = [*steps] if "answer" in steps else [*steps, "answer"]
    at = names.index("answer")
    if unfit := _unfit(example, needs_input=at > 0):
        return unfit
    parts: list[Part] = []
    for i, name in enumerate(names):
        text = example.input if i < at else example.output
        noun = _noun(means) if i < at else ANSWER if i == at + 1 else MAIN_ANSWER
        if name == "answer":
            part: Part | Skip = _task(example)
        elif name == "paraphrase" and i < at and (given := _given_paraphrase(example, means, paraphrases, column)):
            part = _part(name, example.input, given, noun, means)
        elif name in WRITTEN:
            part = await _written(name, text, noun, means, language, "before" if i < at else "after")
        else:
            part = apply(find_operation(name), text, noun, means.rng, "before" if i < at else "after")
        if isinstance(part, Skip):
            return part
        parts.append(part)
    return weave(example, parts, means)


@chain
async def repeat(example: Example, means: Means) -> Example | Skip:
    """First repeat the input, then do the row's own task."""
    return await tasks(example, means, steps=("repeat",))


@chain
async def paraphrase(
    example: Example, means: Means, *, paraphrases: TableFile = "", column: str = "paraphrase"
) -> Example | Skip:
    """First paraphrase the input, then do the row's task; paraphrases come from a column, a file, or a teacher.

    Args:
        paraphrases: a file of rows with paraphrases of the inputs; `build.paraphrases` says it for all chains.
        column: where a paraphrase stands, in the row itself or in that file.
    """
    return await tasks(example, means, steps=("paraphrase",), paraphrases=paraphrases, column=column)


@chain
async def translate(
    example: Example,
    means: Means,
    *,
    parallel: TableFile = "",
    language: str = "English",
    input_language: str = "",
) -> Example | Skip:
    """First translate the input, then do the row's task; the translation comes from a parallel file or a teacher.

    Args:
        parallel: the same rows in the other language, matched by id or by place; `build.parallel` says it for all
            chains.
        language: what is translated into.
        input_language: of a teacher: put the input into this language, and ask for its translation back, so that the
            right one is known. Rows in one language become translate-then-answer rows so.
    """
    if unfit := _unfit(example, needs_input=True):
        return unfit
    if not parallel:
        return await _translated(example, means, language, input_language)
    other = means.table(parallel).match(example)
    if other is None:
        return Skip("no row of the parallel file matches")
    if not other.input or not other.output:
        return Skip("the parallel row has no input or no output")
    if other.input == example.input:
        return Skip("the parallel row has the same input")
    part = _part("translate", example.input, other.input, _noun(means), means, language)
    return part if isinstance(part, Skip) else weave(example, [part, _task(other)], means)


async def _translated(example: Example, means: Means, language: str, input_language: str) -> Example | Skip:
    """The row with a teacher's translation of its input, which is the right result, or stands in the input's place.

    With `input_language`, any set in `language` becomes one of translate-then-answer rows: the input is put into that
    language, and the row's own input is the right translation.
    """
    if not means.asker.has_teacher:
        raise RecipeError("the chain 'translate' needs a parallel file or a teacher", fix="--parallel FILE, or --llm")
    target = input_language or language
    if (known := language_of(example.input)) and known == LANGUAGES.get(target.casefold()):
        return Skip("the input is in that language already")
    if not input_language:
        return await tasks(example, means, steps=("translate",), language=language)
    foreign = await _write("translate", example.input, means, input_language)
    if isinstance(foreign, Skip):
        return foreign
    row = structs.replace(example, input=foreign)
    part = _part("translate", foreign, example.input, _noun(means), means, language)
    return part if isinstance(part, Skip) else weave(row, [part, _task(example)], means)


@chain
def translate_query(
    example: Example,
    means: Means,
    *,
    parallel: TableFile,
    language: str = "English",
    source_language: str = "",
) -> Example | Skip:
    """A query without input: translate it into the language of the parallel file, then answer it there.

    Args:
        parallel: the same rows in the other language, matched by id or by place.
        language: that of the parallel file.
        source_language: that of the row, where half of the requests are to be written in it.
    """
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
    """Verifiable operations before (on the input) or after (on the answer) the row's own task; `steps` counts all.

    Args:
        steps: how many there are, the row's own task included; or the fewest and the most, e.g. [2, 3].
        where: the operations stand "before" the task, "after" it, or where it falls ("both").
        only: names of the operations to draw from; by default all.
    """
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
    """Verifiable operations on the input in place of the row's own task, each on the result of the one before.

    Args:
        steps: how many there are; or the fewest and the most, e.g. [1, 3].
        only: names of the operations to draw from; by default all.
        dependent: each works on the result of the one before it; else all work on the input.
    """
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


def _given_paraphrase(example: Example, means: Means, paraphrases: str, column: str) -> str | Skip:
    """The paraphrase in the row's column or in the file; "" where a teacher is to write it."""
    row = means.table(paraphrases).match(example) if paraphrases else example
    if row is None:
        return Skip("no row of the paraphrase file matches")
    text = row.meta.get(column) or (row.output if paraphrases else "")
    if isinstance(text, str) and text.strip():
        return text.strip()
    return "" if means.asker.has_teacher else Skip(f"the row has no text in its column {column!r}")


@dataclass(frozen=True)
class _Writing:
    """A step whose result a teacher writes: how it is asked for in the instruction, and what its part is called."""

    asks: tuple[str, ...]
    label: str


WRITTEN = {
    "paraphrase": _Writing(("paraphrase {it}", "put {it} in other words", "rephrase {it}"), "Paraphrase"),
    "summarise": _Writing(
        ("summarise {it}", "sum up {it} in one or two sentences", "write a short summary of {it}"), "Summary"
    ),
    "keywords": _Writing(("list the keywords of {it}", "name the most important words of {it}"), "Keywords"),
    "translate": _Writing(
        ("translate {it} into {language}", "give a translation of {it} into {language}", "put {it} into {language}"),
        "Translation into {language}",
    ),
}


async def _written(name: str, text: str, noun: str, means: Means, language: str, kind: StepKind) -> Part | Skip:
    """A step with the result that the teacher writes."""
    result = await _write(name, text, means, language)
    return result if isinstance(result, Skip) else _part(name, text, result, noun, means, language, kind)


async def _write(name: str, text: str, means: Means, language: str) -> str | Skip:
    prompt = render(name, text=text, tag=free_tag("text", text), language=language)
    written = (await means.ask(prompt, stage=name, sampling=WRITING)).strip()
    asked = Example(f"{name} the text", text)
    refused = refused_by(Draft(asked, "keep", asked.instruction, (), written), "answer", WRITTEN_GATES)
    if refused:
        return Skip(refused[1].reason, refused[1].detail, written)
    wrong = _not_what_was_asked(name, text, written, prompt, language)
    return Skip(wrong, draft=written) if wrong else written


def _not_what_was_asked(name: str, text: str, written: str, prompt: str, language: str) -> str | None:
    """What is wrong with a teacher's text, as far as a program can tell."""
    if prompt.partition("\n")[0][:60] in written:
        return "the teacher's text holds its prompt"
    if name == "keywords":
        stands = all(word.strip().casefold() in text.casefold() for word in written.split(","))
        return None if stands else "a keyword does not stand in the text"
    wanted = LANGUAGES.get(language.casefold()) if name == "translate" else language_of(text)
    found = language_of(written)
    return f"the {name} step is in another language" if wanted and found and found != wanted else None


def _part(
    name: str, text: str, result: str | Skip, noun: str, means: Means, language: str = "", kind: StepKind = "before"
) -> Part | Skip:
    if isinstance(result, Skip):
        return result
    if result.strip() == text.strip():
        return Skip(f"the {name} step changes nothing")
    writing = WRITTEN[name]
    ask = writing.asks[int(means.rng.random() * len(writing.asks))]
    label = writing.label.format(language=language)
    return Part(ask.format(it=noun, language=language), result, label, kind)


def _noun(means: Means) -> str:
    return INPUT_NOUNS[int(means.rng.random() * len(INPUT_NOUNS))]
