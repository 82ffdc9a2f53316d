"""What a training may be told: the `train:` section of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from seqtune.recipe import Strict

Count = Annotated[int, Field(gt=0)]


class TrainSettings(Strict):
    """The `train:` section.

    Args:
        dataset: rows, e.g. the examples.jsonl of a build.
        model: "tiny" (from scratch, with a tokenizer made from the rows), a local folder, or a hub id.
        out: the run folder.
        seed: of the order of rows, and of the weights of "tiny".
        epochs: passes over the rows.
        max_tokens: stop after so many tokens, whatever `epochs` says.
        learning_rate: its peak; 1.5e-3 for "tiny" and 1e-5 for others by default.
        weight_decay: of AdamW.
        batch_tokens: the most tokens of a batch, padding included; 512 for "tiny" and 8192 for others by default.
        max_length: a longer row is left out and listed; no row is ever cut.
        strict: an error in place of leaving a row out.
        overwrite: take the folder whatever it holds.
    """

    dataset: str
    model: str = "tiny"
    out: str
    seed: int = 0
    epochs: Count = 1
    max_tokens: Count | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_tokens: Count | None = None
    max_length: Count = 2048
    strict: bool = False
    overwrite: bool = False
