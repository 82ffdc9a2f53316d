"""Fields of `trl.SFTConfig`: which a recipe may give, and which are asked for under a name of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from seqtune.errors import MissingExtraError, did_you_mean

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


def checkpointing_field() -> str:
    """What the installed transformers calls gradient checkpointing; it warns of the old name."""
    return "activation_checkpointing" if "activation_checkpointing" in sft_fields() else "gradient_checkpointing"


def problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a `trl:` mapping: each field that TRL does not have or that is ours, and what to do.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    known = sft_fields() if values else frozenset()
    for name in values:
        if name in OURS:
            yield name, f"'{name}' is not given to TRL; {OURS[name]}"
        elif name not in known:
            yield name, f"trl.SFTConfig has no field '{name}'{did_you_mean(name, known)}"


def sft_fields() -> frozenset[str]:
    """The names of all fields of `trl.SFTConfig`, as the installed TRL has them.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    try:
        from trl import SFTConfig
    except ImportError as error:
        raise MissingExtraError(error.name or "trl", "train", "a trl: section") from None
    return frozenset(field.name for field in fields(SFTConfig))
