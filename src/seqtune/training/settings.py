"""What a training may be told: the `train:` section of a recipe, and the one list of its defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from seqtune.building.damage import STEP_DAMAGES, damages
from seqtune.errors import did_you_mean
from seqtune.recipe import Strict
from seqtune.training.adapter_folder import is_adapter
from seqtune.training.arguments import in_kind, problems
from seqtune.training.rows import TooLong
from seqtune.training.templates import TemplateName

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]  # as NumPy takes them
Adapter = Literal["lora", "qlora"]
Method = Literal["full", "lora", "qlora", "dpo", "grpo"]
Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["cosine", "linear", "constant"]
Order = Literal["shuffled", "short_chains_first"]
Tracker = Literal["none", "tensorboard", "wandb", "trackio"]

TINY = "tiny"

# What only one method has, and what it is where nothing is said. The methods named here learn from preference: from
# better and worse answers to one prompt.
PREFERENCES: Mapping[str, Mapping[str, Any]] = {
    "dpo": {"beta": 0.1, "likelihood": 1.0, "damages": [*STEP_DAMAGES]},
    "grpo": {"answers": 8, "temperature": 1.0, "max_new_tokens": None},
}
ROWS_PER_STEP = {"dpo": 16, "grpo": 8}
# What has no meaning there, and what there is in its place.
NOT_OF_PREFERENCES = {
    "packing": "answers are padded to the longest of a batch: leave it out",
    "order": "rows are always shuffled: leave it out",
    "max_tokens": "how long answers become is not known before: set epochs",
    "batch_tokens": "a step takes rows_per_step rows: set that, and accumulate for a step in several parts",
}
# The peak of the learning rate, of whole weights and of adapters. Those of preferences are what TRL takes by default,
# ten times as much for adapters; a model as small as the demo's takes a hundred times as much (bench/README.md).
RATES = {"dpo": (1e-6, 1e-5), "grpo": (1e-6, 1e-5)}
RATES_OF_ANSWERS = (1e-5, 2e-4)
RATE_OF_TINY = 1.5e-3
SAVE_EVERY = {"grpo": 50}  # whose steps are long


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

    @property
    def layers(self) -> list[str]:
        """The ends of the names, each once: an adapter that was made before may name every layer of a model."""
        if isinstance(self.target_modules, str):
            return [self.target_modules]
        plain = all(name.replace(".", "_").isidentifier() for name in self.target_modules)  # else a pattern
        return sorted({name.rpartition(".")[2] for name in self.target_modules} if plain else self.target_modules)


class TrainSettings(Strict):
    """The `train:` section, and what `train` takes by keyword.

    Args:
        dataset: rows, e.g. the examples.jsonl of a build.
        model: "tiny" (from scratch, with a tokenizer made from the rows), a local folder, or a hub id. The folder of a
            LoRA adapter is that adapter on its base: it is trained further by every method that trains an adapter
            (dpo and grpo too), and is written into its base where every weight is trained ("full").
        out: the run folder.
        method: "full" trains every weight, "lora" an adapter, "qlora" an adapter on a model in 4 bits, all of them on
            the answers of the rows. "dpo" learns to prefer them to the same answers with a step dropped, swapped,
            merged or added (see damages); "grpo" lets the model try, and rewards the share of checkable steps that are
            done in order. What no program can check, such as a row's own task, any text does there, so a model may
            learn to answer that with nonsense. Both go on from a model that answers already, and train an adapter where
            `lora` is given or the model is one, else every weight. What dpo compares with is the model as this stage
            began, its adapter included.
        lora: the adapter, see LoraSettings; of one that is trained further only the dropout may be set anew.
        merge: write an adapter into the model's weights at the end; else the adapter is saved alone.
        template: "auto" is the model's own chat template; "alpaca", "chatml" and "tulu" are shipped, for base models.
        tokenizer: folder of a tokenizer for "tiny", in place of one made from the rows.
        seed: of the order of rows, of adapters, and of the weights of "tiny".
        epochs: passes over the rows.
        max_tokens: stop after so many tokens, whatever `epochs` says.
        learning_rate: its peak; by default 1.5e-3 for "tiny", 2e-4 for adapters and 1e-5 for others; of dpo and grpo
            1e-5 for adapters and 1e-6 for others.
        schedule: how the rate falls after its warm-up: along a cosine or a line to zero, or not ("constant").
        warmup: share of the steps in which the rate rises to its peak.
        weight_decay: of AdamW.
        batch_tokens: the most tokens of a device batch, padding included; by default 512 for "tiny", else 8192.
        rows_per_step: rows of an optimiser step, in as many device batches as it takes; by default one batch a step;
            of dpo 16 pairs, of grpo 8 questions.
        accumulate: device batches of an optimiser step, in place of `rows_per_step`; with dpo and grpo the equal parts
            in which a step (with several processes, the share of each) is computed.
        packing: put rows one after another into blocks of `batch_tokens`, without padding. The model is probed before:
            where it would let rows see each other, they go into shuffled length buckets, as without packing.
        order: "shuffled", or "short_chains_first": in the first epoch, rows with fewer steps come first.
        precision: "float32", "bfloat16", or "auto", which is bfloat16 on a GPU that has it.
        gradient_checkpointing: compute activations twice in place of keeping them: less memory, a third more time.
        max_length: tokens of the longest row; by default 2048, or as many as the model has positions, if these are
            fewer.
        too_long: what becomes of a longer one: "drop" lists it in unused.jsonl; "split" keeps its first turns that
            fit and lists it too (not with dpo and grpo); "error" stops. No answer is ever cut.
        strict: an error in place of leaving any row out.
        beta: of dpo, how hard the model is held to what it was; by default 0.1.
        likelihood: of dpo, the weight of the right answer's own mean loss beside the preference; by default 1. With 0,
            the plain method, both answers of a pair may become unlikely as long as the damaged one does so faster,
            and a small model then forgets how to answer.
        damages: of dpo, what may be done to the rejected answers; by default [drop_step, swap_steps, merge_steps,
            add_step]. Each row gets one that it bears: of a single task that is add_step alone. Without it the right
            answer is mostly the longer one, and a model may learn that longer is better.
        answers: of grpo, tried for each question; a reward counts by how it differs from those of the same question.
            By default 8.
        temperature: of grpo's tries; by default 1.
        max_new_tokens: of grpo, where a try is stopped (and worth nothing); by default a little beyond the longest
            right answer. Rows whose right answer has more tokens are left out.
        trl: any other field of trl.SFTConfig; with dpo of trl.DPOConfig, with grpo of trl.GRPOConfig.
        save_every: optimiser steps between checkpoints, from which the same command goes on after it was killed; by
            default 200, 50 for grpo, and 5000 for "tiny".
        track: where the figures go besides losses.jsonl: "tensorboard", "wandb", "trackio", or "none".
        processes: how many a launcher is to start; any other number is an error.
        push: a repository on the Hugging Face hub that the model is sent to at the end.
        overwrite: take the folder whatever it holds.
    """

    dataset: str
    model: str = TINY
    out: str
    method: Method = "full"
    lora: LoraSettings | None = None
    merge: bool = False
    template: TemplateName = "auto"
    tokenizer: str = ""
    seed: Seed = 0
    epochs: Count = 1
    max_tokens: Count | None = None
    learning_rate: Positive | None = None
    schedule: Schedule = "cosine"
    warmup: Share = 0.05
    weight_decay: NotNegative = 0.0
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
    beta: Positive | None = None
    likelihood: NotNegative | None = None
    damages: Annotated[list[str], Field(min_length=1)] | None = None
    answers: Annotated[int, Field(gt=1)] | None = None
    temperature: Positive | None = None
    max_new_tokens: Count | None = None
    trl: dict[str, Any] = Field(default={})
    save_every: Count | None = None
    track: Tracker = "none"
    processes: Count | None = None
    push: str = ""
    overwrite: bool = False

    @field_validator("lora", mode="before")
    @classmethod
    def _written_out(cls, value: object) -> object:
        if value is None:
            raise ValueError("give {} for an adapter with the usual settings, or leave it out")
        return value

    @field_validator("trl")
    @classmethod
    def _known_to_trl(cls, values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        method = info.data.get("method", "full")
        _refuse((name, text, values[name]) for name, text in problems(values, method))
        return in_kind(values, method)

    @model_validator(mode="after")
    def _agree(self) -> TrainSettings:
        found = self._faults_of_preference() if self.prefers else self._faults_of_answers()
        _refuse((name, text, getattr(self, name)) for name, text in (*self._faults(), *found))
        return self

    @property
    def prefers(self) -> bool:
        """Whether the method learns from better and worse answers, not from the rows' alone."""
        return self.method in PREFERENCES

    @property
    def from_scratch(self) -> bool:
        """Whether the model is made here, with new weights."""
        return self.model == TINY

    @property
    def adapter(self) -> Adapter | None:
        """What is trained in place of the model's own weights, if anything."""
        if self.method == "lora" or self.method == "qlora":
            return self.method
        # Whoever gives an adapter to a method that may train one wants that one trained.
        return "lora" if self.prefers and (self.lora or is_adapter(self.model)) else None

    def _faults(self) -> Iterator[tuple[str, str]]:
        """Fields that do not go with others, whatever the method, and why."""
        if self.merge and not self.adapter:
            yield "merge", "it writes an adapter: it needs method lora or qlora, or lora with method dpo or grpo"
        if self.tokenizer and self.model != TINY:
            yield "tokenizer", f"it is only for the model '{TINY}': others have their own"
        for method, defaults in PREFERENCES.items():
            if method != self.method:
                given = (name for name in defaults if getattr(self, name) is not None)
                yield from ((name, f"only method {method} has it") for name in given)

    def _faults_of_answers(self) -> Iterator[tuple[str, str]]:
        if self.rows_per_step and self.accumulate > 1:
            yield "accumulate", "rows_per_step and accumulate both say how large a step is: give one of them"
        if self.adapter and self.model == TINY:
            yield "method", f"an adapter needs a model that has learnt something, and '{TINY}' is made from scratch"

    def _faults_of_preference(self) -> Iterator[tuple[str, str]]:
        if self.model == TINY:
            what = f"method {self.method} needs a model that answers already, and '{TINY}' is made from scratch"
            yield "model", f"{what}: train it first, with method full, and give the folder of what comes out"
        for name, why in NOT_OF_PREFERENCES.items():
            if getattr(self, name) != type(self).model_fields[name].default:
                yield name, f"it means nothing with method {self.method}, where {why}"
        if self.too_long == "split":
            yield "too_long", f"it means nothing with method {self.method}, whose rows have one answer: drop or error"
        among = self.processes or 1
        if among > 1 and self.method == "grpo":
            yield "processes", f"method {self.method} runs in one process"
        if self.step_size % self.accumulate:
            yield "accumulate", f"a step of {self.step_size} cannot be computed in so many equal parts: change either"
        elif self.step_size % (self.accumulate * among) and self.method == "dpo":
            yield "processes", f"so many cannot share a step of {self.step_size} equally: change rows_per_step"
        if self.method == "dpo":
            yield from self._faults_of_dpo()

    def _faults_of_dpo(self) -> Iterator[tuple[str, str]]:
        for name in self.damages or ():
            if name not in damages():
                yield "damages", f"no damage is called {name!r}{did_you_mean(name, damages())} ({', '.join(damages())})"
        if self.lora and self.lora.dropout and self.trl.get("disable_dropout", True):
            yield "lora", "its dropout does nothing with dpo, which switches dropout off: set it to 0"
        if self.likelihood is not None and "loss_type" in self.trl:
            yield "likelihood", "trl.loss_type names the losses itself: leave either out"

    @property
    def step_size(self) -> int:
        """Pairs of an optimiser step of dpo, or tries of one of grpo."""
        rows = self.rows_per_step or ROWS_PER_STEP[self.method]
        return rows * (self.answers or PREFERENCES["grpo"]["answers"]) if self.method == "grpo" else rows

    def resolved(self) -> TrainSettings:
        """With every default filled in that depends on the model and the method."""
        tiny = self.model == TINY
        whole, adapter = RATES.get(self.method, RATES_OF_ANSWERS)
        rate = RATE_OF_TINY if tiny else adapter if self.adapter else whole
        batch_tokens = None if self.prefers else 512 if tiny else 8192
        defaults = {
            "learning_rate": rate,
            "batch_tokens": batch_tokens,
            "rows_per_step": ROWS_PER_STEP.get(self.method),
            "save_every": SAVE_EVERY.get(self.method, 5000 if tiny else 200),
            "lora": LoraSettings() if self.adapter else None,
            **PREFERENCES.get(self.method, {}),
        }
        if "loss_type" in self.trl:
            defaults.pop("likelihood", None)
        given = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.model_copy(update=given if self.adapter else {**given, "lora": None})


def _refuse(faults: Iterable[tuple[str, str, Any]]) -> None:
    """Raise all that is wrong with fields at once, each by its name, with why and its value."""
    wrong = [
        InitErrorDetails(type=PydanticCustomError("train", "{text}", {"text": text}), loc=(name,), input=value)
        for name, text, value in faults
    ]
    if wrong:
        raise ValidationError.from_exception_data("train", wrong)
