"""What a training may be told: the `train:` section of a recipe, and the one list of its defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from seqtune.recipe import Strict
from seqtune.training.arguments import problems
from seqtune.training.rows import TooLong
from seqtune.training.templates import TemplateName

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Method = Literal["full", "lora", "qlora"]
Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["cosine", "linear", "constant"]
Order = Literal["shuffled", "short_chains_first"]
Tracker = Literal["none", "tensorboard", "wandb", "trackio"]

TINY = "tiny"


class LoraSettings(Strict):
    """The `lora:` part: an adapter of PEFT.

    Args:
        r: its rank.
        alpha: its weight; what it adds is scaled by alpha / r.
        dropout: share of its inputs that is dropped in training.
        target_modules: the layers that get one, by the ends of their names; "all-linear" is all but the head.
    """

    r: Count = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Share = 0.0
    target_modules: Literal["all-linear"] | list[str] = "all-linear"


class TrainSettings(Strict):
    """The `train:` section, and what `train` takes by keyword.

    Args:
        dataset: rows, e.g. the examples.jsonl of a build.
        model: "tiny" (from scratch, with a tokenizer made from the rows), a local folder, or a hub id.
        out: the run folder.
        method: "full" trains every weight, "lora" an adapter, "qlora" an adapter on a model in 4 bits.
        lora: the adapter, see LoraSettings.
        merge: write an adapter into the model's weights at the end; else the adapter is saved alone.
        template: "auto" is the model's own chat template; "alpaca", "chatml" and "tulu" are shipped, for base models.
        tokenizer: folder of a tokenizer for "tiny", in place of one made from the rows.
        seed: of the order of rows, of adapters, and of the weights of "tiny".
        epochs: passes over the rows.
        max_tokens: stop after so many tokens, whatever `epochs` says.
        learning_rate: its peak; by default 1.5e-3 for "tiny", 2e-4 for adapters and 1e-5 for others.
        schedule: how the rate falls after its warm-up: along a cosine or a line to zero, or not ("constant").
        warmup: share of the steps in which the rate rises to its peak.
        weight_decay: of AdamW.
        batch_tokens: the most tokens of a device batch, padding included; by default 512 for "tiny", else 8192.
        rows_per_step: rows of an optimiser step, in as many device batches as it takes; by default one batch a step.
        accumulate: device batches of an optimiser step, in place of `rows_per_step`.
        packing: put rows one after another into blocks of `batch_tokens`, without padding. The model is probed before:
            where it would let rows see each other, they go into shuffled length buckets, as without packing.
        order: "shuffled", or "short_chains_first": in the first epoch, rows with fewer steps come first.
        precision: "float32", "bfloat16", or "auto", which is bfloat16 on a GPU that has it.
        gradient_checkpointing: compute activations twice in place of keeping them: less memory, a third more time.
        max_length: tokens of the longest row.
        too_long: what becomes of a longer one: "drop" lists it in unused.jsonl; "split" keeps its first turns that
            fit and lists it too; "error" stops. No answer is ever cut.
        strict: an error in place of leaving any row out.
        trl: any other field of trl.SFTConfig.
        save_every: optimiser steps between checkpoints, from which the same command goes on after it was killed; by
            default 200, and 5000 for "tiny".
        track: where the figures go besides losses.jsonl: "tensorboard", "wandb", "trackio", or "none".
        processes: how many a launcher is to start; any other number is an error.
        push: a repository on the Hugging Face hub that the model is sent to at the end.
        overwrite: take the folder whatever it holds.
    """

    dataset: str
    model: str = TINY
    out: str
    method: Method = "full"
    lora: LoraSettings = LoraSettings()
    merge: bool = False
    template: TemplateName = "auto"
    tokenizer: str = ""
    seed: int = 0
    epochs: Count = 1
    max_tokens: Count | None = None
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    schedule: Schedule = "cosine"
    warmup: Share = 0.05
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    batch_tokens: Count | None = None
    rows_per_step: Count | None = None
    accumulate: Count = 1
    packing: bool = False
    order: Order = "shuffled"
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    max_length: Count = 2048
    too_long: TooLong = "drop"
    strict: bool = False
    trl: dict[str, Any] = Field(default={})
    save_every: Count | None = None
    track: Tracker = "none"
    processes: Count | None = None
    push: str = ""
    overwrite: bool = False

    @field_validator("trl")
    @classmethod
    def _known_to_trl(cls, values: dict[str, Any]) -> dict[str, Any]:
        wrong = [
            InitErrorDetails(type=PydanticCustomError("trl", "{text}", {"text": text}), loc=(name,), input=values[name])
            for name, text in problems(values)
        ]
        if wrong:
            raise ValidationError.from_exception_data("trl", wrong)
        return values

    @model_validator(mode="after")
    def _agree(self) -> TrainSettings:
        if self.rows_per_step and self.accumulate > 1:
            raise ValueError("rows_per_step and accumulate both say how large a step is: give one of them")
        if self.method != "full" and self.model == TINY:
            raise ValueError(f"an adapter needs a model that has learnt something, and '{TINY}' is made from scratch")
        if self.merge and self.method == "full":
            raise ValueError("merge writes an adapter into the model: it needs method lora or qlora")
        if self.tokenizer and self.model != TINY:
            raise ValueError(f"tokenizer is only for the model '{TINY}': others have their own")
        return self

    def resolved(self) -> TrainSettings:
        """With every default filled in that depends on the model and the method."""
        tiny = self.model == TINY
        rate = 1.5e-3 if tiny else 1e-5 if self.method == "full" else 2e-4
        given = {
            "learning_rate": rate if self.learning_rate is None else self.learning_rate,
            "batch_tokens": self.batch_tokens or (512 if tiny else 8192),
            "save_every": self.save_every or (5000 if tiny else 200),
        }
        return self.model_copy(update=given)
