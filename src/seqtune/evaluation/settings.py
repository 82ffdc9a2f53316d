"""What an evaluation may be told: the `evaluate:` section of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from seqtune.evaluation.options import OBJECTS
from seqtune.recipe import Strict

Count = Annotated[int, Field(gt=0)]


def _refuse_object(name: str) -> str:
    if name in OBJECTS:
        raise ValueError(f"only Python can give it; leave it out, and see {OBJECTS[name]!r}")
    return name


OptionName = Annotated[str, AfterValidator(_refuse_object)]


class EvaluateSettings(Strict):
    """The `evaluate:` section.

    Args:
        model: a local folder, a hub id, or a model that is served: http://127.0.0.1:8000/v1#MODEL.
        suite: a suite's name ("chains", "xquad:zh", ...; seqtune ls suites), or a file of rows with steps.
        out: the run folder.
        responses: a file of answers that somebody else made, in place of a model.
        columns: of `responses`: our name (answer, id, prompt) -> the file's column.
        data: where the suite's own data lie, e.g. the folder with XQuAD's files.
        judge: who scores the answers, in place of the suite's own program: http://127.0.0.1:8000/v1#MODEL, ...
        form: "checklist" asks for a verdict a step, each with a quote that a program looks up; "original" asks once
            whether all was followed, and how well.
        checklist: the file with each item's steps (seqtune eval checklist); rows that bring steps need none.
        unapproved: use the checklist though nobody approved it.
        quality: with a checklist, ask for the quality of 1 to 5 as well, in a call of its own.
        judge_check: the folder of a `seqtune eval judge-check`; a judge that failed it gives no headline.
        max_cost, max_requests, price: the most US dollars and requests for the judge, and what a million tokens read
            and written cost, as in `build:`.
        phase: "answer" stops before anything is scored; "judge" scores what `out` holds.
        by_length: split the items by the length of their prompts, into so many ranges.
        batch_size: items that a local model answers at once.
        max_new_tokens: the longest answer; longer ones are counted as cut. By default what the suite needs: 256 for
            chains and rows, 1,024 where a translation or a line of thought is asked for, 2,048 for free prompts.
        store: the reply store of served models and judges; a file in the run folder by default.
        concurrency: the most requests in flight.
        overwrite: take the folder whatever it holds.
        steps: of `chains`: the numbers of steps to test, e.g. [1, 2, 3].
        per_length: of `chains`: items for each number of steps.
        seed: of `chains`: other seeds give other items.
        singles: of `chains`: ask each step by itself as well, for the chain tax.
        told: of `chains`: say in each request how to answer, for models that know nothing of seqtune's rows.
        options: other options of the suite, by name.
    """

    model: str | None = None
    suite: str = "chains"
    out: str
    responses: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    data: str | None = None
    judge: str | None = None
    form: Literal["checklist", "original"] = "checklist"
    checklist: str | None = None
    unapproved: bool = False
    quality: bool = True
    judge_check: str | None = None
    max_cost: Annotated[float, Field(gt=0)] | None = None
    max_requests: Count | None = None
    price: str | None = None
    phase: Literal["both", "answer", "judge"] = "both"
    by_length: Annotated[int, Field(gt=1)] | None = None
    batch_size: Count = 100
    max_new_tokens: Count | None = None
    store: str | None = None
    concurrency: Annotated[int, Field(gt=0, le=4096)] = 64
    overwrite: bool = False
    steps: list[Count] | None = None
    per_length: Count | None = None
    seed: int | None = None
    singles: bool | None = None
    told: bool | None = None
    options: dict[OptionName, Any] = Field(default_factory=dict)
