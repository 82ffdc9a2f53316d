"""Fields of TRL's configs: which a recipe may give, which are asked for under a name of our own, and what they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqtune.errors import MissingExtraError, RecipeError, did_you_mean, shorten

if TYPE_CHECKING:
    from seqtune.training.settings import TrainSettings

LOG_EVERY = 10  # steps
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
CONFIGS = {"dpo": "DPOConfig", "grpo": "GRPOConfig"}  # by method; "SFTConfig" of the others

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
    "resume_from_checkpoint": "leave it out: the same command goes on where it was stopped",
    "model_init_kwargs": "set train.precision or train.method",
    "trust_remote_code": "leave it out: no code of a hub is run",
    "remove_unused_columns": "leave it out: rows are rendered by seqtune",
    "dataloader_drop_last": "leave it out: no row is dropped",
    "report_to": "set train.track",
    "push_to_hub": "set train.push",
    "hub_model_id": "set train.push",
    "logging_strategy": "set trl.logging_steps",
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
    """What is wrong with a `trl:` mapping: each field that TRL does not have or that is ours, and what to do.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    known, ours = trl_fields(method) if values else frozenset(), OURS_OF_METHODS.get(method, OURS)
    for name in values:
        if name in ours:
            yield name, f"'{name}' is not given to TRL; {ours[name]}"
        elif name not in known:
            yield name, f"trl.{CONFIGS.get(method, 'SFTConfig')} has no field '{name}'{did_you_mean(name, known)}"


def trl_fields(method: str = "full") -> frozenset[str]:
    """The names of all fields of the config that a method has in the installed TRL.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    try:
        import trl
    except ImportError as error:
        raise MissingExtraError(error.name or "trl", "train", "a trl: section") from None
    return frozenset(field.name for field in fields(getattr(trl, CONFIGS.get(method, "SFTConfig"))))


def trainer_arguments(
    kind: type[Any],
    settings: TrainSettings,
    *,
    steps: int,
    bfloat16: bool,
    folder: Path,
    ours: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Any:
    """The arguments of one of TRL's trainers.

    Args:
        kind: their class.
        settings: resolved.
        steps: optimiser steps of the run.
        bfloat16: compute in 16 bits.
        folder: the run folder.
        ours: what this kind is told besides, which no `trl:` field may change; defaults: which one may.

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
        "disable_tqdm": True,
        **ours,
    }
    usual: dict[str, Any] = {
        "logging_steps": LOG_EVERY,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # True would log the mean of earlier losses in place of a NaN
        "run_name": folder.name,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
        **defaults,
    }
    try:
        return kind(**{**usual, **settings.trl, **settled})
    except (TypeError, ValueError) as error:
        raise RecipeError(f"TRL refuses train.trl = {settings.trl}: {shorten(error, 300)}", fix="mend it") from None
