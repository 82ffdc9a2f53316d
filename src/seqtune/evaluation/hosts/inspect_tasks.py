"""The suites as tasks of Inspect: `inspect eval seqtune/seqeval -T data=FILE --model-role grader=MODEL`.

Items and scorers are the very ones of `seqtune eval`, and so are the figures: each with its interval, and none to quote
where less than 95 % of the items could be scored. Inspect finds this module by its entry point.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any, ParamSpec, cast
from weakref import WeakKeyDictionary

import msgspec
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState, generate
from inspect_ai.util import sample_limits

from seqtune.data.example import Example
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.answering import prompt_of
from seqtune.evaluation.figures import Figures, whole_of
from seqtune.evaluation.figures import figures as figures_of
from seqtune.evaluation.headline import ENOUGH, JUDGED, choose_headline
from seqtune.evaluation.hosts.inspect_grader import Grader, as_turns, find_grader
from seqtune.evaluation.judging.checklist import Checklist, ChecklistStep, open_checklist, steps_of
from seqtune.evaluation.judging.identity import Form
from seqtune.evaluation.judging.original import judge_original
from seqtune.evaluation.judging.verdicts import judge_checklist
from seqtune.evaluation.scoring import Scored, Verdict, find_scorer, said
from seqtune.evaluation.statistics.measure import Measure
from seqtune.evaluation.suite import Suite, open_suite, rows_suite
from seqtune.llm.request import Message

CANDIDATE_TRIES = 5  # after the first; Inspect tries for ever where nothing is said
MARKS = {True: "done", False: "not done", None: "not told"}


@task
def chains(steps: int | str | Sequence[int | str] = (1, 2, 3), **options: Any) -> Task:
    """Fresh chains of verifiable operations; steps=[1,2,5], per_length, seed, told, wordings, ..."""
    counts = steps if isinstance(steps, Sequence) and not isinstance(steps, str) else (steps,)
    return _open("chains", steps=counts, **options)


@task
def seqeval(data: str = "", **options: Any) -> Task:
    """The 805 prompts of SeqEval, answers judged by the role `grader`; data=FILE, form=original|checklist."""
    return _open("seqeval", data=data, **options)


@task
def prompts(data: str = "", **options: Any) -> Task:
    """Any prompts, answers judged by the role `grader`; data=FILE, form=original|checklist, checklist=FILE."""
    return _open("prompts", data=data, **options)


@task
def xquad(part: str = "", data: str = "", **options: Any) -> Task:
    """XQuAD, answered after a translation; part=zh, data=FOLDER."""
    return _open("xquad", part=part, data=data, **options)


@task
def mgsm(part: str = "", data: str = "", **options: Any) -> Task:
    """MGSM, solved after a translation; part=de, data=FOLDER, shots=0|8."""
    return _open("mgsm", part=part, data=data, **options)


@task
def gsm8k(part: str = "", data: str = "", **options: Any) -> Task:
    """GSM8K, solved after a repetition of the question; part=repeat|plain, data=FILE."""
    return _open("gsm8k", part=part, data=data, **options)


@task
def commonsense_qa(part: str = "", data: str = "", **options: Any) -> Task:
    """CommonsenseQA, answered after a repetition of the question; part=repeat|plain, data=FILE."""
    return _open("commonsense_qa", part=part, data=data, **options)


@task
def ifeval(data: str = "", **options: Any) -> Task:
    """IFEval's prompts and programs; data=FILE."""
    return _open("ifeval", data=data, **options)


@task
def rows(data: str = "", **options: Any) -> Task:
    """The rows of any file that have steps; data=FILE, form=checklist to have them judged."""
    return _open("rows", data=data, **options)


def _open(
    name: str,
    *,
    form: str = "",
    checklist: str = "",
    unapproved: bool = False,
    quality: bool = True,
    part: str = "",
    data: str = "",
    **options: Any,
) -> Task:
    """The task of a suite by its name, and of its options; see `suite_task`."""
    if name == "rows":
        if not data:
            raise RecipeError("the task 'rows' has no rows of its own", fix="give -T data=FILE")
        found = rows_suite(data)
    else:
        found = open_suite(f"{name}:{part}" if part else name, data=data or None, options=options)
    return suite_task(found, form=form, checklist=checklist, unapproved=unapproved, quality=quality)


def suite_task(
    suite: Suite, *, form: str = "", checklist: str = "", unapproved: bool = False, quality: bool = True
) -> Task:
    """A suite as a task: its items are asked one turn each, greedily, with answers as long as in `seqtune eval`.

    Args:
        suite: also one of your own.
        form: "checklist" or "original" for a judge, which is the model of the role `grader`. By default the suite's own
            program scores; where it has none, a judge, with the checklist if there is one.
        checklist, unapproved, quality: of the judge, see `judged`.

    Raises:
        RecipeError: no such form, or an item that cannot be asked in text.
    """
    chosen = form or ("" if suite.scorer else "checklist" if checklist else "original")
    return Task(
        dataset=MemoryDataset(
            [_sample(item, JUDGED if chosen else suite.headline) for item in suite.items], name=suite.name
        ),
        solver=generate(),
        scorer=[
            judged(chosen, checklist, unapproved, quality) if chosen else program(suite.scorer),
            unscored_is_error(),
        ],
        config=GenerateConfig(temperature=0.0, max_tokens=suite.max_new_tokens, max_retries=CANDIDATE_TRIES),
        # Inspect calls a task failed by the share of its items that end in an error. For that share to be the coverage
        # of the headline, an item without an answer is scored, as one of which nothing is known.
        fail_on_error=1 - ENOUGH,
        score_on_error=True,
        metadata={"suite": suite.name, "items": suite.hash, "notes": [*suite.notes]},
    )


def _sample(item: Example, headline: str) -> Sample:
    """The item as Inspect asks it; all that scoring needs goes along, so that a log can be scored by itself."""
    turns = prompt_of(item)
    if item.images or not all(isinstance(turn["content"], str) for turn in turns):
        raise RecipeError("an item has images, which are not sent yet", fix="leave such items out")
    return Sample(
        input=as_turns(tuple([Message(turn["role"], turn["content"]) for turn in turns])),
        target=item.output,
        id=item.id,
        metadata={"item": msgspec.to_builtins(item), "headline": headline},
    )


# --- figures ---------------------------------------------------------------------------------------------------------


@metric(scores="unreduced")
def figures() -> Metric:
    """Every measure over the items with its 95 % interval, as `seqtune eval` gives it, and the headline by split.

    What could not be told is never a 0 and never a NaN: it is left out, counted as `..._unscored`, and where that is
    more than 5 % of the items, the headline's place is taken by its coverage and the ends between which it lies.
    """

    def summary(scores: list[SampleScore]) -> dict[str, float]:
        if not scores:
            return {}
        items = {str(one.sample_id): _item(one.sample_metadata) for one in scores}
        lengths = {str(one.sample_id): (one.score.metadata or {}).get("length") for one in scores}
        known = {item: int(length) for item, length in lengths.items() if length}
        lines = figures_of([*items.values()], {}, _merged(scores), known)
        return _named(lines, str((scores[0].sample_metadata or {})["headline"]))

    return summary


def _merged(scores: Sequence[SampleScore]) -> list[Scored]:
    """What was said of each item; of one asked several times (epochs), the mean of what was told and its last steps."""
    found: dict[str, list[Mapping[str, float | None]]] = {}
    steps: dict[str, tuple[Verdict, ...]] = {}
    for one in scores:
        found.setdefault(str(one.sample_id), []).append(_measures(one.score))
        steps[str(one.sample_id)] = _verdicts(one.score)
    return [Scored(item, measures=_mean(each), steps=steps[item]) for item, each in found.items()]


def _verdicts(score: Score) -> tuple[Verdict, ...]:
    return msgspec.convert((score.metadata or {}).get("steps", ()), tuple[Verdict, ...])


def _measures(score: Score) -> dict[str, float | None]:
    values = cast(Mapping[str, float | None], score.value) if isinstance(score.value, Mapping) else {}
    return {name: None if value is None or isnan(value) else float(value) for name, value in values.items()}


def _mean(each: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    told = {name: [value for one in each if (value := one.get(name)) is not None] for one in each for name in one}
    return {name: sum(values) / len(values) if values else None for name, values in told.items()}


def _named(lines: Sequence[Figures], headline: str) -> dict[str, float]:
    """Figures under names, the headline first: Inspect takes the first figure of a task for what stands for it."""
    head = choose_headline(headline, lines)
    whole = whole_of(lines)
    found = _withheld(head.measure, head.figure) if head.refused else _told(head.measure, head.figure)
    for name, figure in whole.measures.items():
        if name != head.measure:
            found |= _told(name, figure)
    for line in sorted(lines, key=lambda line: (line.group, line.steps or 0)):
        part = line.measures.get(head.measure)
        if line is not whole and part and part.value is not None and part.coverage >= ENOUGH:
            found[f"{head.measure} ({_split(line)})"] = part.value
    return found


def _told(name: str, figure: Measure) -> dict[str, float]:
    value = {} if figure.value is None else {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return value | ({f"{name}_unscored": figure.unscored} if figure.unscored else {})


def _withheld(name: str, figure: Measure) -> dict[str, float]:
    ends = {f"{name}_worst": figure.worst, f"{name}_best": figure.best}
    told = {end: value for end, value in ends.items() if value is not None}
    return {f"{name}_withheld_coverage": figure.coverage, **told, f"{name}_unscored": figure.unscored}


def _split(line: Figures) -> str:
    steps = f"{line.steps} step{'s' * (line.steps > 1)}" if line.steps else ""
    return ", ".join(filter(None, [line.group, steps]))


# --- scorers ---------------------------------------------------------------------------------------------------------

Making = ParamSpec("Making")


def _named_scorer(metrics: Sequence[Metric]) -> Callable[[Callable[Making, Scorer]], Callable[Making, Scorer]]:
    """Register a scorer under its name, and under that with our package's before it, which tasks use.

    Inspect 0.3.285 logs a scorer without its package, and then does not find it: `inspect score LOG` needs --scorer.
    """

    def register(make: Callable[Making, Scorer]) -> Callable[Making, Scorer]:
        scorer(metrics=metrics, name=make.__name__)(make)
        named: Callable[Making, Scorer] = scorer(metrics=metrics, name=f"seqtune/{make.__name__}")(make)
        return named

    return register


@_named_scorer([figures()])
def program(name: str) -> Scorer:
    """The suite's own program.

    Args:
        name: of the scorer, e.g. "steps" or "xquad".
    """
    run = find_scorer(name)

    async def score(state: TaskState, target: Target) -> Score:
        item = _item(state.metadata)
        if why := _unanswered(state.output):
            return _score(state, Scored(item.id, unscored=why))
        found = run(item, said(state.output.completion))
        return _score(state, Scored(item.id, measures=found.measures, steps=found.steps))

    return score


@_named_scorer([figures()])
def judged(form: str = "original", checklist: str = "", unapproved: bool = False, quality: bool = True) -> Scorer:
    """A judge, which is the model of the role `grader`.

    Args:
        form: "checklist" asks for a verdict a step, each with a quote that is looked up; "original" asks once whether
            all was followed, and how well.
        checklist: the file with each item's steps; items that bring steps of their own need none.
        unapproved: use the file though nobody approved it.
        quality: of "checklist": ask for the quality as well, in a call of its own.

    Raises:
        RecipeError: no such form, or a checklist that nobody approved.
    """
    if form not in ("checklist", "original"):
        raise RecipeError(f"there is no form {form!r}", fix="choose checklist or original")
    listed = open_checklist(checklist, unapproved=unapproved) if checklist else None
    graders: WeakKeyDictionary[AbstractEventLoop, Grader] = WeakKeyDictionary()

    async def score(state: TaskState, target: Target) -> Score | None:
        item, text = _item(state.metadata), said(state.output.completion)
        if why := _unanswered(state.output):
            return _score(state, Scored(item.id, unscored=why))
        if cast(Form, form) == "original":
            return _score(state, await judge_original(item, text, find_grader(graders)))
        steps = _steps(item, listed)
        length = sum(step.doable for step in steps)
        if not length:
            return None  # no step can be done by a model that only writes text: such an item is not judged at all
        label = listed.label if listed else ""
        return _score(
            state,
            await judge_checklist(item, text, steps, find_grader(graders), checklist=label, quality=quality),
            length,
        )

    return score


@_named_scorer([])
def unscored_is_error() -> Scorer:
    """Makes an item whose headline could not be told an error of that item, its scores kept; gives no score itself.

    With more than 5 % of them the task ends in an error, and not as a success. It says nothing in `inspect score`,
    where an error would throw away all other verdicts.
    """

    async def score(state: TaskState, target: Target) -> Score | None:
        if state.output.empty or not _is_running():  # without an answer it is an error already
            return None
        for one in (state.scores or {}).values():
            if why := _untold(one, state.metadata["headline"]):
                raise DataError(f"item {state.sample_id} is unscored: {why}")
        return None

    return score


def _is_running() -> bool:
    """Whether a task runs, and not only `inspect score`."""
    try:
        sample_limits()
    except RuntimeError:
        return False
    return True


def _untold(score: Score, headline: str) -> str:
    """Why the measure that stands for the whole could not be told of an item, "" where it was."""
    values = _measures(score)
    name = headline if headline in values else next(iter(values), "")
    return "" if values.get(name) is not None else score.explanation or f"{name} cannot be told"


def _steps(item: Example, listed: Checklist | None) -> Sequence[ChecklistStep]:
    entry = listed.by_item.get(item.id) if listed else None
    if steps := (entry.steps if entry else ()) or steps_of(item):
        return steps
    raise RecipeError(
        f"item {item.id} has no steps to judge",
        fix="give the checklist of this suite (seqtune eval checklist build), or choose form=original",
    )


def _item(metadata: Mapping[str, Any] | None) -> Example:
    return msgspec.convert((metadata or {})["item"], Example)


def _unanswered(output: ModelOutput) -> str:
    """Why there is no answer; an empty one is an answer, and wrong."""
    if output.empty or output.error:
        return output.error or "no answer"
    return "no answer: the content filter" if output.stop_reason == "content_filter" else ""


def _score(state: TaskState, scored: Scored, length: int = 0) -> Score:
    """What was said of an answer, as Inspect keeps it; what could not be told is null."""
    kept = {"judge": scored.judge, "key": scored.key, "length": length, "steps": msgspec.to_builtins(scored.steps)}
    return Score(
        value=scored.measures or {state.metadata["headline"]: None},
        answer=state.output.completion,
        explanation=scored.unscored or "\n".join(map(_line, scored.steps)),
        reason="grader_failed" if scored.unscored else None,
        metadata={name: value for name, value in kept.items() if value},
    )


def _line(verdict: Verdict) -> str:
    found = "" if verdict.found is None else f": {verdict.found}"
    return f"{verdict.step}. {verdict.text} - {MARKS[verdict.done]}{found}"
