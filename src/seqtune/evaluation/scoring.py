"""From answers to scores: what a program says of each answer, a step at a time where the item has steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

import msgspec
import xxhash

from seqtune.building import style
from seqtune.building.checking import Checked, check_lines, check_steps, places_of_lines, readings_of
from seqtune.building.gold import same_text
from seqtune.building.parsing import after_thinking
from seqtune.building.style import visible
from seqtune.data.example import Example, Step
from seqtune.errors import RecipeError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.statistics.measure import Measure
from seqtune.evaluation.suite import Suite, import_suite

STEPS = "steps"  # the scorer of items with steps
CHECKABLE = "checkable_steps"  # of items some of whose steps no program can check
PROGRAM = "program"  # who scored where no judge did


class Verdict(msgspec.Struct, frozen=True):
    """Whether one step of one item was done.

    Args:
        step: its place, counted from 1.
        check: what decided: the name of a program's check, or "judge".
        done: None where nothing can tell (which is never counted as not done).
        found: the step's part of the answer, or the judge's quote; None where it is missing.
        expected: the right part; None where nobody knows it beforehand.
        supported: whether the judge's quote stands in the answer; None where no judge was asked.
        text: the step, in words.
    """

    step: int
    check: str
    done: bool | None
    found: str | None = None
    expected: str | None = None
    supported: bool | None = None
    text: str = ""


class Scored(msgspec.Struct, frozen=True):
    """What is said of one answer: a line of verdicts.jsonl.

    Args:
        item: id of the item.
        key: hash of prompt, model, settings, and scorer or judge with its checklist.
        measures: by name, 0 to 1 (quality 1 to 5); None where it could not be told, which is counted as unscored.
        steps: a verdict a step, where the item has steps.
        judge: who said so: "program", or the identity of a judge (its model, form and checklist).
        unscored: why nothing could be said.
    """

    item: str
    key: str = ""
    measures: dict[str, float | None] = {}
    steps: tuple[Verdict, ...] = ()
    judge: str = ""
    unscored: str = ""


class Findings(msgspec.Struct, frozen=True):
    """What a scorer says of an answer; see `Scored`."""

    measures: dict[str, float | None]
    steps: tuple[Verdict, ...] = ()


def said(text: str) -> str:
    """What of an answer counts: the text after the thoughts, and all of one without thoughts, as it is.

    A right result that stands in the thoughts only was never given; where they do not end, nothing was said, nor where
    no sign of it can be seen.
    """
    spoken = after_thinking(text) if "<think>" in text or "</think>" in text else text
    seen = visible(spoken)
    return spoken if seen == spoken or seen.strip() else ""


Scorer = Callable[[Example, str], Findings]
_SCORERS: dict[str, Scorer] = {}


def scorer(name: str) -> Callable[[Scorer], Scorer]:
    """Register what scores answers: `@scorer("mine")` over a function from an item and an answer's text to Findings.

    A shipped suite's scorer has the suite's name.

    An answer may be any text, empty included; what it does not hold is 0, what cannot be told is None.
    """

    def register(run: Scorer) -> Scorer:
        _SCORERS[name] = run
        return run

    return register


Pooling = Callable[[Sequence[Scored], Sequence[Example]], dict[str, Measure]]
_POOLINGS: dict[str, Pooling] = {}


def pooling(name: str) -> Callable[[Pooling], Pooling]:
    """Register more measures of a whole suite, which are no means over its items, under its scorer's name.

    It is given what was said of the answers, and all items of the suite: those without an answer are unscored.
    """

    def register(run: Pooling) -> Pooling:
        _POOLINGS[name] = run
        return run

    return register


def find_pooling(name: str) -> Pooling | None:
    """More measures of a whole suite; None where it has none."""
    return _POOLINGS.get(name)


def find_scorer(name: str) -> Scorer:
    """The scorer of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in _SCORERS:
        import_suite(name)
    if name not in _SCORERS:
        raise RecipeError(f"there is no scorer {name!r}", fix=f"choose from {', '.join(sorted(_SCORERS))}")
    return _SCORERS[name]


@scorer(STEPS)
def score_steps(item: Example, text: str) -> Findings:
    """Check an answer step by step; a missing part is a step not done, never an error.

    A step counts only after the one before it; `order` says whether the parts that are there stand in their order. In
    an answer without any of the steps' marks, which a model may not know, lines that hold the right results count, if
    there are about as many as steps; so they do for `order`. More parts than were asked for only cost `exact`, and so
    do closing words in a paragraph of their own, a fence, and signs that nobody sees.
    """
    ways = [_check(steps, reading) for steps, reading in readings_of(item.steps, text, item.input)]
    checked, places = max(ways, key=lambda way: sum(one.done is True for one in way[0]))
    verdicts = tuple(
        [
            Verdict(place, step.check, found.done, found.part, step.expected, text=step.text)
            for place, (step, found) in enumerate(zip(item.steps, checked, strict=True), 1)
        ]
    )
    measures = measures_of([verdict.done for verdict in verdicts])
    measures["order"] = in_order(places)
    return Findings({"exact": float(same_text(text, item.output)), **measures}, verdicts)


@scorer(CHECKABLE)
def score_checkable_steps(item: Example, text: str) -> Findings:
    """As `steps`, and `checked`: how many of the steps that a program can check are done."""
    found = score_steps(item, text)
    share = found.measures["soft"]
    return found if share is None else Findings({"checked": share, **found.measures}, found.steps)


def _check(steps: Sequence[Step], text: str) -> tuple[Sequence[Checked], Sequence[int | None]]:
    """What a text does of its steps, and where each stands in it."""
    places = style.places(text, [step.mark for step in steps])
    if any(place is not None for place in places):
        return check_steps(steps, text, extras=True), places
    found = [check_lines(steps, text)] if any(step.mark for step in steps) else [check_steps(steps, text)]
    return found[0], places_of_lines(steps, text)


def measures_of(done: Sequence[bool | None]) -> dict[str, float | None]:
    """The measures that steps have in common, whoever judged them; None where a step that matters was not told.

    Returns:
        strict: 1 where every step is done.
        soft: share of the steps that are done, of those that were told.
        depth: share of the steps that come before the first that is not done.
    """
    told = [one for one in done if one is not None]
    before = [*takewhile(bool, done)]
    open_end = len(before) < len(done) and done[len(before)] is None
    return {
        "strict": None if None in done or not done else float(all(done)),
        "soft": sum(told) / len(told) if told else None,
        "depth": None if open_end or not done else len(before) / len(done),
    }


def in_order(places: Sequence[int | None]) -> float | None:
    """1 where what was found stands in the order of the steps, 0 where not; None where less than two were found.

    None too where two stand in one place, and nothing in a wrong one: that tells no order.
    """
    found = [place for place in places if place is not None]
    if found != sorted(found):
        return 0.0
    return 1.0 if len(found) > 1 and len({*found}) == len(found) else None


def score_suite(suite: Suite, answers: Mapping[str, Answer]) -> list[Scored]:
    """What the suite's own program says of each answer.

    Raises:
        RecipeError: no program can score this suite.
    """
    if not suite.scorer:
        fix = "name a judge: --judge http://127.0.0.1:8000/v1#MODEL"
        raise RecipeError(f"no program can score the answers to {suite.name!r}", fix=fix)
    run = find_scorer(suite.scorer)
    scored = []
    for item in suite.items:
        if answer := answers.get(item.id):
            found = run(item, said(answer.text))
            key = xxhash.xxh3_128_hexdigest(f"{answer.key}\x1e{suite.scorer}".encode())
            scored.append(Scored(item.id, key, found.measures, found.steps, PROGRAM))
    return scored
