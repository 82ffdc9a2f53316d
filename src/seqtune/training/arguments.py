"""Fields of TRL's configs: which a recipe may give, which are asked for under a name of our own, and what they are."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from seqtune.errors import MissingExtraError, RecipeError, SeqtuneError, did_you_mean, shorten
from seqtune.training import processes

if TYPE_CHECKING:
    from seqtune.training.settings import TrainSettings

LOG_EVERY = 10  # steps
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
CONFIGS = {"dpo": "DPOConfig", "grpo": "GRPOConfig"}  # by method; "SFTConfig" of the others
LOSSES = ("nll", "dft")  # of answers; what a stage of preference has, its trainer says in the first step
NUMBERS = {bool, int, float, type(None)}

# Rows, masks, batches and folders are ours, so that no default of TRL can change what is trained.
OURS = {
    "output_dir": "set train.out",
    "overwrite_output_dir": "set train.overwrite",
    "num_train_epochs": "set train.epochs",
    "max_steps": "set train.epochs or train.max_tokens",
    "learning_rate": "set train.learning_rate",
    "weight_decay": "set train.weight_decay",
    "lr_scheduler_type": "set train.schedule",
    "warmup_ratio": "set train.warmup",
    "warmup_steps": "set train.warmup, a share of the steps",
    "seed": "set train.seed",
    "data_seed": "set train.seed",
    "per_device_train_batch_size": "set train.batch_tokens or train.rows_per_step",
    "auto_find_batch_size": "set train.batch_tokens",
    "gradient_accumulation_steps": "set train.accumulate or train.rows_per_step",
    "average_tokens_across_devices": "leave it out: every trained token weighs the same, on all devices",
    "bf16": "set train.precision to bfloat16",
    "fp16": "set train.precision to bfloat16 or float32",
    "gradient_checkpointing": "set train.gradient_checkpointing",
    "activation_checkpointing": "set train.gradient_checkpointing",
    "max_length": "set train.max_length",
    "truncation_mode": "set train.too_long",
    "train_sampling_strategy": "leave it out: batches are shuffled length buckets",
    "group_by_length": "leave it out: batches are shuffled length buckets",
    "shuffle_dataset": "leave it out: rows are always shuffled",
    "chat_template_path": "set train.template",
    "eos_token": "leave it out: the end token is the one that the chat template writes",
    "pad_token": "leave it out: padding is masked whatever its token is",
    "completion_only_loss": 'leave it out: only answers are trained; "train": false leaves a message out',
    "assistant_only_loss": 'leave it out: only answers are trained; "train": false leaves a message out',
    "dataset_text_field": "leave it out: rows are rendered by seqtune",
    "dataset_kwargs": "leave it out: rows are rendered by seqtune",
    "dataset_num_proc": "leave it out: rows are rendered by seqtune",
    "pad_to_multiple_of": "leave it out: batches are padded to their longest row",
    "packing": "set train.packing",
    "packing_strategy": "leave it out: seqtune batches the rows",
    "padding_free": "leave it out: seqtune batches the rows",
    "eval_packing": "leave it out: seqtune eval does the evaluation",
    "eval_strategy": "leave it out: seqtune eval does the evaluation",
    "do_eval": "leave it out: seqtune eval does the evaluation",
    "eval_on_start": "leave it out: seqtune eval does the evaluation",
    "load_best_model_at_end": "leave it out: seqtune eval does the evaluation",
    "save_strategy": "leave it out: seqtune saves and resumes by itself",
    "save_steps": "set train.save_every",
    "save_total_limit": "leave it out: seqtune saves and resumes by itself",
    "save_only_model": "leave it out: a run could not go on from such a checkpoint as if nothing had happened",
    "enable_jit_checkpoint": "leave it out: seqtune saves and resumes by itself; set train.save_every",
    "save_on_each_node": "leave it out: seqtune saves and resumes by itself",
    "ignore_data_skip": "leave it out: a run that goes on would take its first rows again",
    "restore_callback_states_from_checkpoint": "leave it out: seqtune saves and resumes by itself",
    "resume_from_checkpoint": "leave it out: the same command goes on where it was stopped",
    "accelerator_config": "leave it out: seqtune batches the rows",
    "include_num_input_tokens_seen": "leave it out: losses.jsonl has the tokens",
    "model_init_kwargs": "set train.precision or train.method",
    "trust_remote_code": "leave it out: no code of a hub is run",
    "remove_unused_columns": "leave it out: rows are rendered by seqtune",
    "dataloader_drop_last": "leave it out: no row is dropped",
    "report_to": "set train.track",
    "push_to_hub": "set train.push",
    "hub_model_id": "set train.push",
    "logging_strategy": "set trl.logging_steps",
    "logging_nan_inf_filter": "leave it out: a loss that is no number is told, and stops the run",
    "disable_tqdm": "leave it out: seqtune shows the progress",
}


# What else is ours with dpo or grpo, or is asked for in another way.
OURS_OF_PREFERENCES = {
    "max_steps": "set train.epochs",
    "per_device_train_batch_size": "set train.rows_per_step and train.accumulate",
    "auto_find_batch_size": "set train.accumulate",
    "gradient_accumulation_steps": "set train.accumulate",
    "packing": "leave it out: nothing is packed here",
    "train_sampling_strategy": "leave it out: rows are always shuffled",
    "beta": "set train.beta",
    "num_generations": "set train.answers",
    "temperature": "set train.temperature",
    "max_completion_length": "set train.max_new_tokens",
    "generation_batch_size": "set train.rows_per_step and train.answers",
    "steps_per_generation": "leave it out: every step tries anew",
    "num_iterations": "leave it out: every step tries anew",
    "sync_ref_model": "leave it out: what is compared with stays what the model was at the start",
    "chat_template_kwargs": "leave it out: rows are rendered by seqtune",
}
OURS_OF_METHODS: Mapping[str, Mapping[str, str]] = {
    "dpo": {**OURS, **OURS_OF_PREFERENCES},
    "grpo": {**OURS, **OURS_OF_PREFERENCES, "beta": "leave it out: a program's reward needs no reference model"},
}


def checkpointing_field() -> str:
    """What the installed transformers calls gradient checkpointing; it warns of the old name."""
    return "activation_checkpointing" if "activation_checkpointing" in trl_fields() else "gradient_checkpointing"


def problems(values: Mapping[str, Any], method: str = "full") -> Iterator[tuple[str, str]]:
    """What is wrong with a `trl:` mapping, and what to do: fields that TRL does not have or that are ours, no numbers.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    kinds, ours = trl_fields(method) if values else {}, OURS_OF_METHODS.get(method, OURS)
    for name, value in values.items():
        if name in ours:
            yield name, f"'{name}' is not given to TRL; {ours[name]}"
        elif name not in kinds:
            yield name, f"trl.{_config_name(method)} has no field '{name}'{did_you_mean(name, kinds)}"
        elif fault := _fault_of_number(value, kinds[name]):
            yield name, fault


def in_kind(values: Mapping[str, Any], method: str = "full") -> dict[str, Any]:
    """A `trl:` mapping without problems, its numbers as numbers: YAML takes 1e-8 for text."""
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    kinds = trl_fields(method) if texts else {}
    return {**values, **{name: TypeAdapter(_number(kinds[name])).validate_python(texts[name]) for name in texts}}


def trl_fields(method: str = "full") -> dict[str, Any]:
    """All fields of the config that a method has in the installed TRL, each with what its value may be.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    config = _config(method)
    kinds = get_type_hints(config)
    return {field.name: kinds[field.name] for field in fields(config)}


def hush() -> None:
    """Keep to themselves what the packages below say on the way that no user can do anything about."""
    # transformers loads bitsandbytes where it is installed, which then complains about a kernel that is only faster.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # Of every address that does not answer, five times over; what is wrong is told at the end.
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)
    # What a model stops at and pads with is settled here: see `end_with_turns`.
    logging.getLogger("transformers.trainer_utils").setLevel(logging.ERROR)
    # Rows that are too long are left out, and told.
    logging.getLogger("transformers.tokenization_utils_base").addFilter(_is_no_length)
    # DeepSpeed calls torch's collectives by their old names, at every step.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # TRL and PEFT still ask for it by its old name.
    warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)


def _is_no_length(record: logging.LogRecord) -> bool:
    return "sequence length is longer than" not in str(record.msg)


def trainer_arguments(
    settings: TrainSettings, *, steps: int, bfloat16: bool, folder: Path, longest_try: int | None = None
) -> Any:
    """The arguments of the method's trainer in TRL.

    Args:
        settings: resolved.
        steps: optimiser steps of the run.
        bfloat16: compute in 16 bits.
        folder: the run folder.
        longest_try: of grpo, tokens after which a tried answer is stopped.

    Raises:
        RecipeError: a `trl` field whose value TRL refuses.
    """
    import torch

    from seqtune.training.checkpoints import CHECKPOINTS

    save_every = settings.save_every or steps + 1
    settled: dict[str, Any] = {
        "output_dir": str(folder / CHECKPOINTS),
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "lr_scheduler_type": SCHEDULES[settings.schedule],
        "warmup_steps": math.floor(steps * settings.warmup),
        "seed": settings.seed,
        "bf16": bfloat16,
        checkpointing_field(): settings.gradient_checkpointing,
        "report_to": [settings.track] if settings.track in ("wandb", "trackio") else [],
        "remove_unused_columns": False,
        "save_strategy": "steps" if steps >= save_every else "no",
        "save_steps": save_every,
        "save_total_limit": 2,
        "logging_nan_inf_filter": False,  # True would log the mean of earlier losses in place of a NaN
        "disable_tqdm": True,
        **_settled_by_method(settings, steps, longest_try),
    }
    usual: dict[str, Any] = {
        "logging_steps": LOG_EVERY,
        "logging_first_step": True,
        "run_name": folder.name,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
        **_usual_of_method(settings),
    }
    with refusals_told(settings):
        return _config(settings.method)(**{**usual, **settings.trl, **settled})


def check_arguments(arguments: Any, settings: TrainSettings, steps: int) -> None:
    """Make of one weight what a run makes of many, so that a value nobody can train with is told before it starts.

    Args:
        arguments: see `trainer_arguments`.
        settings: resolved.
        steps: optimiser steps of the run.

    Raises:
        RecipeError: a `trl` field whose value torch or transformers refuses.
    """
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import Trainer, get_scheduler

    with refusals_told(settings):
        if not settings.prefers and arguments.loss_type not in LOSSES:
            raise ValueError(f"no loss_type is called {arguments.loss_type!r}, choose from {', '.join(LOSSES)}")
        cross_entropy(torch.zeros(1, 2), torch.tensor([0]), label_smoothing=arguments.label_smoothing_factor)
        if arguments.optim_target_modules:
            return  # an optimiser of named layers, of which one weight has none
        kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
        optimiser = kind([torch.nn.Parameter(torch.zeros(2, 2))], **options)
        get_scheduler(
            arguments.lr_scheduler_type,
            optimiser,
            num_warmup_steps=arguments.warmup_steps,
            num_training_steps=steps,
            scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
        )


@contextmanager
def refusals_told(settings: TrainSettings, kinds: tuple[type[Exception], ...] = (Exception,)) -> Iterator[None]:
    """Raises RecipeError for whatever TRL, transformers or torch makes of values that came from a `trl:` mapping.

    Args:
        settings: resolved.
        kinds: of errors that are refusals; by default all, as each package has its own way to refuse.
    """
    try:
        yield
    except kinds as error:
        if not settings.trl or isinstance(error, SeqtuneError):
            raise
        what = f"TRL refuses train.trl = {settings.trl}: {shorten(str(error), 300)}"
        raise RecipeError(what, fix="mend it, or leave it out") from error


def _settled_by_method(settings: TrainSettings, steps: int, longest_try: int | None) -> dict[str, Any]:
    """What a method's trainer is told besides, and no `trl:` field may change."""
    if not settings.prefers:
        return {"num_train_epochs": 1, "dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
    size = {  # each process computes a step in `accumulate` parts of pairs or tries
        "max_steps": steps,
        "per_device_train_batch_size": settings.step_size // settings.accumulate // processes.count(),
        "gradient_accumulation_steps": settings.accumulate,
    }
    if settings.method == "dpo":
        return {**size, "beta": settings.beta, "max_length": None, "train_sampling_strategy": "sequential"}
    return {
        **size,
        "num_generations": settings.answers,
        "temperature": settings.temperature,
        "max_completion_length": longest_try,
        "shuffle_dataset": False,
        "beta": 0.0,
    }


def _usual_of_method(settings: TrainSettings) -> dict[str, Any]:
    """What it is told where no `trl:` field says otherwise."""
    if settings.method == "dpo" and settings.likelihood:
        return {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, settings.likelihood]}
    return {} if settings.prefers else {"adam_beta2": 0.98 if settings.from_scratch else 0.999}


def _config_name(method: str) -> str:
    return CONFIGS.get(method, "SFTConfig")


def _config(method: str) -> Any:
    hush()
    try:
        import trl
    except ImportError as error:
        raise MissingExtraError(error.name or "trl", "train", "a trl: section") from None
    return getattr(trl, _config_name(method))


def _number(kind: Any) -> Any:
    """The kind of a value that is a number; TRL takes more for others than it says, so those are not looked at."""
    return kind if set(get_args(kind) or (kind,)) <= NUMBERS else Any


def _fault_of_number(value: Any, kind: Any) -> str:
    try:
        TypeAdapter(_number(kind)).validate_python(value)
    except ValidationError as error:
        said = str(error.errors()[0]["msg"])
        return f"{said[0].lower()}{said[1:]}"
    return ""
