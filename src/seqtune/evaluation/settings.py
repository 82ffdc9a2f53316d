"""What an evaluation may be told: the `evaluate:` section of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from seqtune.recipe import Strict

Count = Annotated[int, Field(gt=0)]


class EvaluateSettings(Strict):
    """The `evaluate:` section.

    Args:
        model: a local folder or a hub id.
        suite: "chains", or a file of rows with steps.
        out: the run folder.
        batch_size: items answered at once.
        max_new_tokens: the longest answer; longer ones are counted as cut.
        overwrite: take the folder whatever it holds.
        steps: of `chains`: the numbers of steps to test, e.g. [1, 2, 3].
        per_length: of `chains`: items for each number of steps.
        seed: of `chains`: other seeds give other items.
    """

    model: str
    suite: str = "chains"
    out: str
    batch_size: Count = 100
    max_new_tokens: Count = 256
    overwrite: bool = False
    steps: list[Count] | None = None
    per_length: Count | None = None
    seed: int | None = None
