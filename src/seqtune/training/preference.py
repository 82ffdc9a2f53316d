"""Preference: what is learnt from better and worse answers, on TRL's DPO and GRPO trainers.

Prompts and answers are ours here too, end token included, so no default of TRL changes what is trained: DPOTrainer
would tokenise texts itself (and add the tokenizer's `eos_token`, which is another one in many models), GRPOTrainer
would encode prompts anew. Imported only by commands that train, since importing TRL takes seconds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from seqtune.errors import DataError, RecipeError, shorten
from seqtune.training.adapters import base_model
from seqtune.training.loss import Loss
from seqtune.training.model import Loaded
from seqtune.training.pairs import Pair
from seqtune.training.rendering import end_mark
from seqtune.training.reporter import Logs, Reporter
from seqtune.training.rewards import Question, step_reward

LOG_EVERY = 10  # steps
SLACK = 8  # tokens that a tried answer may have more than the longest right one
REFERENCE = "ref"  # what TRL calls the copy of an adapter that it compares with

Say = Callable[[Loss], object]


class PreferenceLoss(Loss, frozen=True):
    """One line of losses.jsonl, with how well the model does on what it is shown.

    Args:
        score: of pairs, the share whose right answer has gained more than the damaged one since the start; of tried
            answers, their mean reward; both since the line before.
    """

    score: float


def tune_by_pairs(
    loaded: Loaded,
    pairs: Sequence[Pair],
    *,
    seed: int,
    steps: int,
    learning_rate: float,
    folder: Path,
    beta: float = 0.1,
    likelihood: float = 1.0,
    pairs_per_step: int = 16,
    accumulate: int = 1,
    bfloat16: bool = False,
    trl: Mapping[str, Any] | None = None,
    say: Say | None = None,
) -> None:
    """Direct preference optimisation (Rafailov et al. 2023): make right answers likelier than damaged ones.

    Args:
        loaded: the model, whole or with an adapter on it, which is changed in place; what it was at the start is what
            it is compared with.
        pairs: from `render_pairs`.
        seed: of the order of pairs.
        steps: optimiser steps.
        learning_rate: its peak; it falls along a line to zero.
        folder: where the trainer may write.
        beta: how hard the model is held to what it was.
        likelihood: weight of the right answer's own mean loss beside the preference. With 0, the plain method, both
            answers of a pair may become unlikely as long as the damaged one does so faster, and a small model then
            forgets how to answer.
        pairs_per_step: of an optimiser step, in `accumulate` parts.
        bfloat16: compute in 16 bits.
        trl: other fields of trl.DPOConfig.
        say: called with a PreferenceLoss every few steps.

    Raises:
        RecipeError: a setting that TRL refuses, or a step that cannot be divided so.
        SeqtuneError: the loss is no number any more.
    """
    losses = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, likelihood]} if likelihood else {}
    arguments = _arguments(
        DPOConfig, {**losses, **(trl or {})}, folder, seed, steps, learning_rate, pairs_per_step, accumulate, bfloat16,
        beta=beta, max_length=None,
    )  # fmt: skip
    with _bare_forward(loaded.model):
        trainer = _PairTrainer(
            model=loaded.model,
            # TRL would load it from where the model's config says it once was, whatever became of the weights since.
            ref_model=None if _has_adapter(loaded.model) else copy.deepcopy(loaded.model),
            args=arguments,
            train_dataset=_pair_rows(pairs),
            processing_class=loaded.tokenizer,
            callbacks=[_reporter("rewards/accuracies", say)],
        )
        _run(trainer)
    if _has_adapter(loaded.model) and REFERENCE in loaded.model.peft_config:
        loaded.model.delete_adapter(REFERENCE)  # else it would be saved beside the trained one


def tune_by_reward(
    loaded: Loaded,
    questions: Sequence[Question],
    *,
    seed: int,
    steps: int,
    learning_rate: float,
    folder: Path,
    questions_per_step: int = 8,
    answers: int = 8,
    accumulate: int = 1,
    temperature: float = 1.0,
    max_new_tokens: int | None = None,
    bfloat16: bool = False,
    trl: Mapping[str, Any] | None = None,
    say: Say | None = None,
) -> None:
    """Group-relative policy optimisation (Shao et al. 2024): let the model try, and reward the steps done in order.

    No reference model is kept (TRL's own default): a program's reward cannot be talked into anything.

    Args:
        loaded: the model, whole or with an adapter on it, which is changed in place.
        questions: from `render_questions`.
        seed: of the order of questions and of the answers drawn.
        steps: optimiser steps.
        learning_rate: its peak; it falls along a line to zero.
        folder: where the trainer may write.
        questions_per_step: of an optimiser step, in `accumulate` parts.
        answers: tried for each question; a reward counts by how it differs from those of the same question.
        temperature: of the tries; with 0 all would be the same.
        max_new_tokens: where a try is stopped (and worth nothing); by default a little beyond the longest right answer.
        bfloat16: compute in 16 bits.
        trl: other fields of trl.GRPOConfig.
        say: called with a PreferenceLoss every few steps.

    Raises:
        RecipeError: a setting that TRL refuses, a step that cannot be divided so, or tries that would all be the same.
        DataError: fewer questions than a step takes.
        SeqtuneError: the loss is no number any more.
    """
    if len(questions) < questions_per_step:
        raise DataError(
            f"a step takes {questions_per_step} questions and there are {len(questions)}",
            fix="give more rows, or lower questions_per_step",
        )
    if temperature <= 0:
        raise RecipeError(f"temperature is {temperature}", fix="give one above 0: equal tries teach nothing")
    longest = max(question.answer for question in questions) + SLACK
    arguments = _arguments(
        GRPOConfig, trl or {}, folder, seed, steps, learning_rate, questions_per_step * answers, accumulate, bfloat16,
        num_generations=answers, temperature=temperature, max_completion_length=max_new_tokens or longest, beta=0.0,
    )  # fmt: skip
    with _bare_forward(loaded.model):
        trainer = _RewardTrainer(
            model=loaded.model,
            reward_funcs=_reward_function(loaded, questions),
            args=arguments,
            train_dataset=_question_rows(questions),
            processing_class=loaded.tokenizer,
            callbacks=[_reporter("reward", say)],
        )
        _run(trainer)


class _PairTrainer(DPOTrainer):  # type: ignore[misc]
    """TRL's trainer, which has no way to say that its rows are token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


class _RewardTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer on prompts that are token ids already."""

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompts, None, {}


def _pair_rows(pairs: Sequence[Pair]) -> Dataset:
    columns = {
        "prompt_ids": [pair.prompt for pair in pairs],
        "chosen_ids": [pair.chosen for pair in pairs],
        "rejected_ids": [pair.rejected for pair in pairs],
    }
    return Dataset.from_dict(columns)


def _question_rows(questions: Sequence[Question]) -> Dataset:
    prompts = [question.prompt for question in questions]
    return Dataset.from_dict({"prompt": prompts, "question": list(range(len(questions)))})


def _reward_function(loaded: Loaded, questions: Sequence[Question]) -> Callable[..., list[float]]:
    end = loaded.tokenizer.convert_tokens_to_ids(end_mark(loaded.tokenizer))

    def steps_in_order(completions: Any, completion_ids: Any, question: Any, **_: Any) -> list[float]:
        # TRL's texts come without the marks of the template, as `answer` decodes them.
        tried = zip(question, completions, completion_ids, strict=True)
        return [step_reward(questions[i].example, text, ended=ids[-1] == end) for i, text, ids in tried]

    return steps_in_order


def _run(trainer: Any) -> None:
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # TRL puts adapters of 4-bit models into 16 bits: see trainer.py
    trainer.remove_callback(PrinterCallback)
    trainer.train()


@contextmanager
def _bare_forward(model: Any) -> Iterator[None]:
    """TRL replaces `forward` on the model itself and leaves it so; a copy would then run the original's."""
    inner = base_model(model)
    inner.__dict__.pop("forward", None)
    try:
        yield
    finally:
        inner.__dict__.pop("forward", None)


def _has_adapter(model: Any) -> bool:
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def _reporter(score: str, say: Say | None) -> Reporter:
    """Says what was learnt and how well the model does; tokens and score are what TRL logs."""

    def with_score(loss: Loss, logs: Logs) -> None:
        if say:
            say(PreferenceLoss(**msgspec.structs.asdict(loss), score=float(logs.get(score, math.nan))))

    return Reporter(lambda step, logs: int(logs.get("num_tokens", 0)), with_score)


def _arguments(
    kind: type[Any],
    trl: Mapping[str, Any],
    folder: Path,
    seed: int,
    steps: int,
    learning_rate: float,
    rows_per_step: int,
    accumulate: int,
    bfloat16: bool,
    **method: Any,
) -> Any:
    if rows_per_step % accumulate:
        raise RecipeError(
            f"a step of {rows_per_step} rows cannot be done in {accumulate} equal parts", fix="change either"
        )
    ours: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": steps,
        "learning_rate": learning_rate,
        "per_device_train_batch_size": rows_per_step // accumulate,
        "gradient_accumulation_steps": accumulate,
        "seed": seed,
        "bf16": bfloat16,
        "remove_unused_columns": False,
        "save_strategy": "no",
        "disable_tqdm": True,
        **method,
    }
    defaults: dict[str, Any] = {
        "gradient_checkpointing": False,
        "warmup_steps": math.floor(steps * 0.05),
        "logging_steps": LOG_EVERY,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # True would log the mean of earlier losses in place of a NaN
        "report_to": [],
        "dataloader_pin_memory": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
    }
    try:
        return kind(**{**defaults, **trl, **ours})
    except (TypeError, ValueError) as error:
        given = f" with {shorten(dict(trl), 100)}" if trl else ""
        raise RecipeError(f"TRL refuses the settings{given}: {shorten(error, 300)}", fix="change them") from None
