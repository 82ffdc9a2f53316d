"""TRL's SFTTrainer, told which batches to take and what the loss is; imported only by commands that train.

What is trained is settled before it starts: rows, masks and batches are ours. The loss is ours too: TRL's scores every
slot of a batch, padding and prompts included, ours only those that hold a trained token (see `_Planned.compute_loss`).
So used, SFTTrainer is as fast as transformers.Trainer (5.3 to 6.1 s of CPU against 5.9 to 6.4 s for 150,000 tokens of
the demo, three runs each) and takes 0.2 s longer to import, of 4.2; with Trainer's own loss it was 5.9 to 6.1 s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer

from seqtune.errors import SeqtuneError, shorten
from seqtune.training import packing, processes
from seqtune.training.adapters import base_model
from seqtune.training.arguments import refusals_told, trainer_arguments
from seqtune.training.batches import collate, share
from seqtune.training.checkpoints import WholeCheckpoints
from seqtune.training.loss import Loss
from seqtune.training.model import Loaded, no_progress_bars
from seqtune.training.plan import Plan, Step
from seqtune.training.rendering import IGNORED, Row
from seqtune.training.reporter import Reporter
from seqtune.training.settings import TrainSettings

Batch = dict[str, torch.Tensor]


def optimise(
    loaded: Loaded,
    rows: Sequence[Row],
    plan: Plan,
    settings: TrainSettings,
    *,
    bfloat16: bool,
    folder: Path,
    say: Callable[[Loss], object],
    fingerprint: str = "",
    checkpoint: Path | None = None,
    before_s: float = 0.0,
) -> Loaded:
    """Train the model on the steps of the plan, in their order, once; gives it back with all of its weights.

    Args:
        loaded: the model, which is changed in place, and its tokenizer.
        rows: what the numbers in the plan mean.
        plan: for each optimiser step its device batches, as row numbers.
        settings: resolved.
        bfloat16: compute in 16 bits; the trained weights stay in 32.
        folder: the run folder; checkpoints go into one of that name within.
        say: called with a Loss every few steps.
        fingerprint: of the run; its checkpoints carry it.
        checkpoint: that it goes on from, and `before_s`, the seconds that were spent until then.

    Raises:
        RunFolderError: a checkpoint cannot be written.
        RecipeError: a `trl` field whose value TRL refuses.
        SeqtuneError: the loss is no number any more, or memory ran out.
    """
    steps = plan.steps
    with refusals_told(settings):
        trainer = _Planned(
            model=loaded.model,
            args=trainer_arguments(settings, steps=len(steps), bfloat16=bfloat16, folder=folder),
            train_dataset=Dataset.from_dict({"input_ids": [[0]], "labels": [[0]]}),  # TRL wants one; the rows are ours
            data_collator=list,
            processing_class=loaded.tokenizer,
            callbacks=[_reporter(rows, steps, say, before_s), *trackers(settings, folder)],
        )
    trainer.take(rows, plan, loaded.tokenizer.pad_token_id)
    trainer.fingerprint = fingerprint
    run_to_end(trainer, settings, checkpoint)
    return loaded._replace(weights=_gathered(trainer)) if processes.sharding() else loaded


def run_to_end(trainer: Any, settings: TrainSettings, checkpoint: Path | None) -> None:
    """Let a trainer run, from a checkpoint if there is one.

    Raises:
        RecipeError: a `trl` field whose value TRL looks at, and refuses, in the first step.
        SeqtuneError: the loss or the weights are no numbers any more, or memory ran out.
    """
    _train_in_32_bits(trainer.model)
    trainer.remove_callback(PrinterCallback)
    try:
        with no_progress_bars(), refusals_told(settings, (ValueError, NotImplementedError)):
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
            trainer.require_finite()  # what is logged is the loss before the last update
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on the CPU there is no name for it
        if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
            raise _out_of_memory(error, settings) from None
        raise


def _gathered(trainer: Any) -> dict[str, torch.Tensor]:
    """Every weight by name, for the main process; one that two layers share is given once."""
    tied = getattr(base_model(trainer.model), "all_tied_weights_keys", None) or {}
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) or {}  # DeepSpeed gives the others None
    return {name: weight for name, weight in weights.items() if name not in tied}


class _Batches:
    """What a DataLoader asks for batches: row numbers in, tensors out, padded or packed."""

    def __init__(self, rows: Sequence[Row], pad: int, form: packing.Form | None) -> None:
        self.rows, self.pad, self.form = rows, pad, form

    def __getitem__(self, batch: Sequence[int]) -> Batch:
        if batch:
            return self._collated([self.rows[i] for i in batch])
        made = self._collated(self.rows[:1])  # for a process that has nothing to do but to keep the others company
        return {**made, "labels": torch.full_like(made["labels"], IGNORED)}

    def __len__(self) -> int:
        return len(self.rows)

    def _collated(self, rows: Sequence[Row]) -> Batch:
        return packing.collate(rows, self.form) if self.form else collate(rows, self.pad)


class _Planned(WholeCheckpoints, SFTTrainer):  # type: ignore[misc]
    """A trainer whose steps are planned before it starts: the whole run is one "epoch" of the plan."""

    def take(self, rows: Sequence[Row], plan: Plan, pad: int) -> None:
        """Give it what to train on."""
        mine, processes = self.accelerator.process_index, self.accelerator.num_processes
        self.batches = _Batches(rows, pad, plan.form)
        self.steps = [share(step, mine, processes) for step in plan.steps] if processes > 1 else plan.steps
        self.keeps = "logits_to_keep" in signature(base_model(self.model).forward).parameters

    def get_train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.batches, batch_sampler=self.steps, collate_fn=list)  # a step is a list of batches

    def training_step(self, model: Any, inputs: list[Batch], num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward for each batch of a step; every trained token of the step weighs the same."""
        model.train()
        trained = torch.tensor(sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in inputs))
        trained = self.accelerator.reduce(trained.to(self.accelerator.device), "sum")
        losses = []
        for i, batch in enumerate(inputs):
            last = i == len(inputs) - 1
            self.accelerator.gradient_state._set_sync_gradients(last)  # DeepSpeed ends a step in `backward`
            # Not where weights are spread: gradients that wait are whole on every device.
            together = last or bool(processes.sharding())
            waits: AbstractContextManager[Any] = nullcontext() if together else self.accelerator.no_sync(model)
            with waits, self.maybe_activation_offload_context:
                loss = self.compute_loss(model, batch, num_items_in_batch=trained)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The batch's share of the step's mean loss; the head is computed only where some row has a trained token.

        That skips most of the prompts and saves a model of many words its largest matrix product there.
        """
        targets = inputs["labels"][:, 1:]  # (B, T - 1): what each slot is to say next
        slots = (targets != IGNORED).any(0).nonzero().squeeze(1)  # (K,)
        fed = self._prepare_inputs({name: value for name, value in inputs.items() if name != "labels"})
        if self.keeps:
            fed["logits_to_keep"] = slots.to(self.accelerator.device)
        if self.aux_loss_enabled:
            fed["output_router_logits"] = True
        outputs = model(**fed, use_cache=False)
        logits = outputs.logits if self.keeps else outputs.logits[:, slots]  # (B, K, V)
        wanted = targets[:, slots].to(logits.device)  # (B, K)
        loss = self._sum(logits.flatten(0, 1).float(), wanted.flatten()) / num_items_in_batch
        if self.aux_loss_enabled:  # of a mixture of experts: its mean over the step's trained tokens
            share = (wanted != IGNORED).sum() / num_items_in_batch
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss.to(loss.device) * share
        return loss * self.accelerator.num_processes  # whose gradients are averaged

    def _sum(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Cross entropy, summed; the variants that TRL's own loss has are kept."""
        smoothing = self.args.label_smoothing_factor
        if self.args.loss_type == "nll":
            return cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
        each = cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="none")
        return (each * torch.exp(-each).detach()).sum()  # DFT, arXiv 2508.05629

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Not TRL's: the card of the run is written at its end, see `card`."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: a step is several batches."""
        return 0


def _train_in_32_bits(model: Any) -> None:
    # TRL puts the adapter of a 4-bit model into bfloat16, in which the small steps of the optimiser are lost.
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _reporter(rows: Sequence[Row], steps: Sequence[Step], say: Callable[[Loss], object], before_s: float) -> Reporter:
    """Says what was learnt; tokens are those of the plan."""
    of_steps = [sum(len(rows[i].ids) for batch in step for i in batch) for step in steps]
    return Reporter(lambda step, logs: sum(of_steps[:step]), lambda loss, logs: say(loss), before_s=before_s)


def trackers(settings: TrainSettings, folder: Path) -> list[TrainerCallback]:
    """TensorBoard's files go into the run folder; the Trainer would put them among the checkpoints, to be deleted."""
    if settings.track != "tensorboard" or not processes.is_main():
        return []
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(log_dir=str(folder / "tensorboard")))]


def _out_of_memory(error: RuntimeError, settings: TrainSettings) -> SeqtuneError:
    if settings.prefers:
        size = f"rows_per_step {settings.rows_per_step} and accumulate {settings.accumulate}"
        lower, adapter = "raise accumulate, which computes a step in smaller parts", "a lora section"
    else:
        size = f"batch_tokens {settings.batch_tokens}"
        lower, adapter = "lower batch_tokens (rows_per_step keeps the steps as they are)", "method lora or qlora"
    return SeqtuneError(
        f"memory ran out with {size}: {shorten(error, 160)}",
        fix=f"{lower}, or set gradient_checkpointing, a shorter max_length, or {adapter}",
    )
