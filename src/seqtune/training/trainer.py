"""transformers.Trainer, told which batches to take; imported only by commands that train."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from seqtune.errors import SeqtuneError
from seqtune.training.batches import collate
from seqtune.training.model import Loaded
from seqtune.training.rendering import Row

LOG_EVERY = 10  # steps


class Loss(msgspec.Struct, frozen=True):
    """One line of losses.jsonl: the mean loss of the steps since the line before, in nats a trained token."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens: int
    tokens_per_second: float
    seconds: float


class Settings(NamedTuple):
    """How the optimiser goes: peak rate, then a cosine to zero after a warm-up of a twentieth of the steps."""

    learning_rate: float
    weight_decay: float
    seed: int


def optimise(
    loaded: Loaded,
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    settings: Settings,
    folder: Path,
    say: Callable[[Loss], None],
) -> None:
    """Train the model on the batches, in their order, once."""
    trainer = _PlannedTrainer(
        model=loaded.model,
        args=_arguments(settings, len(batches), folder),
        train_dataset=rows,
        data_collator=partial(collate, pad=loaded.tokenizer.pad_token_id),
        callbacks=[_Reporter(rows, batches, say)],
    )
    trainer.batches = batches
    trainer.remove_callback(PrinterCallback)
    trainer.train()


class _PlannedTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose batches are planned before it starts: the whole run is one "epoch" of the plan."""

    batches: Sequence[Sequence[int]]

    def get_train_dataloader(self) -> DataLoader[Row]:
        loader = DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]


class _Reporter(TrainerCallback):  # type: ignore[misc]
    """Turns the Trainer's logs into Loss lines, and stops a run whose loss is no number any more."""

    def __init__(self, rows: Sequence[Row], batches: Sequence[Sequence[int]], say: Callable[[Loss], None]) -> None:
        self.tokens = [sum(len(rows[i].ids) for i in batch) for batch in batches]
        self.say = say
        self.start = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        loss, step = float(logs["loss"]), state.global_step
        if not math.isfinite(loss):
            raise SeqtuneError(
                f"the loss is {loss} at step {step} of {state.max_steps}, so nothing can be learnt any more",
                fix=f"lower the learning rate (it is {args.learning_rate})",
            )
        seconds = time.perf_counter() - self.start
        tokens = sum(self.tokens[:step])
        rate = float(logs.get("learning_rate", 0.0))
        self.say(Loss(step, state.max_steps, loss, rate, tokens, tokens / seconds, seconds))


def _arguments(settings: Settings, steps: int, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        adam_beta2=0.98,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20),
        seed=settings.seed,
        logging_steps=LOG_EVERY,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # True would log the mean of earlier losses in place of a NaN
        remove_unused_columns=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
