"""transformers.Trainer, told which batches to take; imported only by commands that train."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from seqtune.errors import SeqtuneError
from seqtune.training.batches import collate
from seqtune.training.loss import Loss
from seqtune.training.model import Loaded
from seqtune.training.rendering import Row

LOG_EVERY = 10  # steps


def optimise(
    loaded: Loaded,
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    *,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    folder: Path,
    say: Callable[[Loss], object],
) -> None:
    """Train the model on the batches, in their order, once; the rate warms up, then falls along a cosine to zero.

    Raises:
        SeqtuneError: the loss is no number any more.
    """
    trainer = _PlannedTrainer(
        model=loaded.model,
        args=_arguments(len(batches), learning_rate, weight_decay, seed, folder),
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
        return self.accelerator.prepare(loader)


class _Reporter(TrainerCallback):  # type: ignore[misc]
    """Turns the Trainer's logs into Loss lines, and stops a run whose loss is no number any more."""

    def __init__(self, rows: Sequence[Row], batches: Sequence[Sequence[int]], say: Callable[[Loss], object]) -> None:
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
        rate = float(logs["learning_rate"])
        self.say(Loss(step, state.max_steps, loss, rate, tokens, tokens / seconds, seconds))


def _arguments(steps: int, learning_rate: float, weight_decay: float, seed: int, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        adam_beta2=0.98,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20),
        seed=seed,
        logging_steps=LOG_EVERY,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # True would log the mean of earlier losses in place of a NaN
        remove_unused_columns=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
