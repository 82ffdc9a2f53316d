"""The suite `ifeval`: 541 prompts with constraints that a program can check (Zhou et al. 2023, arXiv 2311.07911).

Its items are read from the published input_data.jsonl, or the hub's google/IFEval; each constraint is a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seqtune.data.example import Example, Step
from seqtune.data.failure import Fault
from seqtune.data.reader import read
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.scoring import Findings, Scored, Verdict, pooling, scorer
from seqtune.evaluation.statistics.measure import Measure, share
from seqtune.evaluation.suite import LONG, Suite, suite
from seqtune.evaluation.tasks.ifeval_constraints import find_constraint, is_followed, is_loosely_followed
from seqtune.evaluation.tasks.items import data_file

Row = Mapping[str, Any]
MEASURES = ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose")


@suite("ifeval")
def ifeval(data: str | Path | None = None) -> Suite:
    """The prompts of IFEval.

    Args:
        data: its input_data.jsonl, the folder that holds it, or a dataset of the hub ("google/IFEval:train").

    Raises:
        RecipeError: it is not given.
        DataError: it cannot be read, or a constraint in it cannot be checked.
    """
    if data is None:
        raise RecipeError(
            "the prompts of IFEval are not part of seqtune",
            fix="give --data input_data.jsonl (of google-research/instruction_following_eval) or google/IFEval:train",
        )
    return Suite(
        "ifeval",
        tuple(read(data_file(data, "input_data.jsonl"), format=_item)),
        scorer="ifeval",
        max_new_tokens=2 * LONG,
        headline="prompt_strict",
    )


def _item(row: Row) -> Example:
    kinds, given = row["instruction_id_list"], row["kwargs"]
    if len(kinds) != len(given):
        raise Fault(f"{len(kinds)} constraints and {len(given)} kwargs", row["key"], "give a kwargs for each")
    steps = [_step(kind, args) for kind, args in zip(kinds, given, strict=True)]
    return Example(row["prompt"], steps=tuple(steps), meta={"id": row["key"]})


def _step(kind: str, given: Row) -> Step:
    # The hub's copy lists the arguments of all kinds for each, nearly all of them null.
    args = {name: value for name, value in given.items() if value is not None}
    try:
        return Step(find_constraint(kind, args).says(args), check=kind, args=args)
    except DataError as error:
        raise Fault(error.what, "", error.fix) from None


@scorer("ifeval")
def score_ifeval(item: Example, text: str) -> Findings:
    """Whether an answer follows its constraints, strictly and loosely.

    The steps are the strict verdicts. `instruction_strict` and `instruction_loose` are shares of a prompt's own
    constraints, so that their mean weighs prompts alike; the published instruction-level accuracy weighs constraints
    alike: see `instruction_accuracy`.

    Raises:
        MissingExtraError: langdetect is not installed, and a constraint is about the language.
    """
    strict = _done(is_followed, item, text)
    verdicts = [
        Verdict(place, step.check, done, text=step.text)
        for place, (step, done) in enumerate(zip(item.steps, strict, strict=True), 1)
    ]
    values = [*_levels(strict), *_levels(_done(is_loosely_followed, item, text))]
    return Findings(dict(zip(MEASURES, values, strict=True)), tuple(verdicts))


def _done(follows: Callable[[str, Row, str], bool], item: Example, text: str) -> list[bool]:
    return [follows(step.check, step.args, text) for step in item.steps]


def _levels(done: Sequence[bool]) -> tuple[float, float]:
    return float(all(done)), sum(done) / len(done)


@pooling("ifeval")
def instruction_accuracy(scored: Sequence[Scored], items: Sequence[Example] = ()) -> dict[str, Measure]:
    """The published instruction-level accuracies: constraints followed, of all constraints of all prompts.

    The constraints of a prompt hang together, so whole prompts are drawn for the interval.

    Args:
        scored: what `score_ifeval` said of the answers.
        items: all prompts; the constraints of those that were not answered are unscored.
    """
    from seqtune.evaluation.statistics.bootstrap import mean_interval  # numpy, which scoring need not wait for

    told = {one.item for one in scored}
    unscored = sum(len(item.steps) for item in items if item.id not in told)
    prompts = [place for place, one in enumerate(scored) for _ in one.steps]
    found = {}
    for name in ("instruction_strict", "instruction_loose"):
        values = [value for one in scored for value in _spread(one.measures[name], len(one.steps))]
        interval = mean_interval(values, clusters=prompts, ends=(0, 1))
        low, high = interval.low or 0.0, 1.0 if interval.high is None else interval.high
        bounds = share(sum(values), len(values), unscored)
        found[f"{name}_pooled"] = msgspec.structs.replace(bounds, low=low, high=high)
    return found


def _spread(followed: float | None, constraints: int) -> list[float]:
    """A prompt's share as ones and zeros, one a constraint."""
    done = round((followed or 0.0) * constraints)
    return [1.0] * done + [0.0] * (constraints - done)
