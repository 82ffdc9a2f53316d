"""What a training would do and take, told before it starts: no weights are read, and nothing is written."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqtune.data.example import Example
from seqtune.training import packing, processes
from seqtune.training.adapter_folder import base_of, is_adapter
from seqtune.training.adapters import add_adapter, base_model, outline_adapter, require_adapter_packages
from seqtune.training.batches import collate, share
from seqtune.training.continuation import notes_on_adapter
from seqtune.training.estimate import (
    LOGIT_BYTES,
    Estimate,
    Precision,
    Range,
    estimate,
    measured,
    shapes,
    size_text,
    skeleton,
)
from seqtune.training.intake import rendered_rows
from seqtune.training.loading import computes_in_16_bits
from seqtune.training.model import (
    Loaded,
    end_with_turns,
    load_config,
    require_packages,
    require_vocabulary,
    require_weights,
    tiny,
)
from seqtune.training.plan import Batch, Plan
from seqtune.training.planning import check_settings, plan_figures, planned, shared_among
from seqtune.training.positions import notes_on_length, within_positions
from seqtune.training.preferring import longest_try, shapes_of, warnings_before
from seqtune.training.rendering import IGNORED, Row
from seqtune.training.resolution import resolve
from seqtune.training.rows import Rendered
from seqtune.training.settings import TINY, TrainSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TIMED = 4  # batches; the first warms up
SQUARE = 2048  # rows and columns of the matrices that show how fast a device is
PRODUCTS = 8
# DPO takes entropies, means and ranks of the logits as well: measured 31 bytes with whole weights, 41 with an adapter
# (CPU, 32 bits, a model of 8 million weights and 8,000 words). With it the estimate was 6 % over and 11 % under.
LOGIT_BYTES_OF_PAIRS = 36
HEAD_WORDS = 32_768  # for so many words at a time TRL's trainers of preference compute the head


@dataclass(frozen=True)
class Outlook:
    """What a training would do and take.

    Args:
        rows, unused, split, steps, tokens, trained_tokens, padding, unfilled, chains: as in `Training`; tokens of grpo
            are as many as there can be.
        processes: that would share the work.
        parameters, trained_parameters: weights of the model, adapter included, and those of them that are trained.
        memory_bytes: on each device.
        seconds: from and to, for the steps alone; None where nobody knows.
        lines: the arithmetic, for the user.
    """

    rows: int
    unused: int
    split: int
    steps: int
    tokens: int
    trained_tokens: int
    padding: float
    unfilled: float
    chains: tuple[float, ...]
    processes: int
    parameters: int
    trained_parameters: int
    memory_bytes: float
    seconds: Range | None
    lines: tuple[str, ...]


def look_ahead(
    dataset: Iterable[Example] | str | Path, model: str | Path = TINY, *, out: str | Path, **options: Any
) -> Outlook:
    """What `train` would do and take, called with the same arguments.

    The rows are rendered, checked and planned as for training. The model is built from its config, without weights;
    only "tiny", which has no others than new ones, is made and timed. Whether a model may be packed is not probed.

    Raises:
        RecipeError, DataError, MissingExtraError: as `train` does.
    """
    require_packages("training")
    settings = resolve(dataset, model, out, options)
    require_adapter_packages(settings)
    settings = within_positions(settings)
    bfloat16 = computes_in_16_bits(settings)
    tokenizer, rendered = rendered_rows(settings, dataset)
    bare = _skeleton(settings, tokenizer)
    plan = planned(settings, rendered, "positions" if settings.packing else None)
    check_settings(settings, rendered, plan, bfloat16)
    among = settings.processes or processes.count()
    if settings.prefers:
        found = _estimate_preference(settings, bare, rendered.rows, plan, bfloat16, among)
        return _outlook(settings, rendered, plan, among, found)
    mine = [batch for step in plan.steps for batch in (share(step, 0, among) if among > 1 else step) if batch]
    found = _estimate(settings, bare, tokenizer, rendered.rows, mine, bfloat16)
    return _outlook(settings, rendered, plan, among, found)


def _skeleton(settings: TrainSettings, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model that would be trained, its adapter included, without weights."""
    if settings.model != TINY:
        require_weights(base_of(settings.model))
    model = skeleton(load_config(settings.model, tokenizer, longest=settings.max_length))
    require_vocabulary(Loaded(model, tokenizer), settings.model)
    end_with_turns(Loaded(model, tokenizer))
    # Four bits are counted, not made: what is put on a model for training in them needs real weights.
    if settings.lora is None:
        return model
    if is_adapter(settings.model):
        return outline_adapter(model, settings.model)
    return add_adapter(model, settings.lora, "lora", checkpointing=False)


def _estimate(
    settings: TrainSettings,
    bare: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    batches: Sequence[Batch],
    bfloat16: bool,
) -> Estimate:
    precision: Precision = "mixed" if bfloat16 else "float32"
    lengths = [len(row.ids) for row in rows]
    rate = _rate_of_tiny(settings, tokenizer, rows, batches) if settings.model == TINY else None
    return estimate(
        bare,
        shapes(batches, lengths, packed=settings.packing),
        precision=precision,
        quantised=settings.method == "qlora",
        checkpointing=settings.gradient_checkpointing,
        head_share=_head_share(settings, bare, rows, batches),
        shards=(settings.processes or processes.count()) if processes.sharding() else 1,
        peak_flops=None if rate else _flops_a_second(bfloat16),
        tokens_per_s=rate,
    )


def _estimate_preference(
    settings: TrainSettings, bare: PreTrainedModel, rows: Sequence[Any], plan: Plan, bfloat16: bool, among: int
) -> Estimate:
    shaped = shapes_of(shared_among(settings, among), rows, plan)[::among]  # those of the first process
    by_reward = settings.method == "grpo"
    return estimate(
        bare,
        shaped,
        precision="mixed" if bfloat16 else "float32",
        checkpointing=settings.gradient_checkpointing,
        head_words=HEAD_WORDS,
        logit_bytes=LOGIT_BYTES if by_reward else LOGIT_BYTES_OF_PAIRS,
        reference=not by_reward,
        tries=(settings.step_size, max(width for _, width in shaped)) if by_reward else None,
        peak_flops=None if by_reward else _flops_a_second(bfloat16),
    )


def _head_share(settings: TrainSettings, bare: Any, rows: Sequence[Row], batches: Sequence[Batch]) -> float:
    """The share of slots of the largest batch that the head is computed for; see `trainer._Planned.compute_loss`."""
    if "logits_to_keep" not in signature(base_model(bare).forward).parameters:
        return 1.0
    largest = max(batches, key=lambda batch: len(batch) * max(len(rows[i].ids) for i in batch))
    labels = _collated(settings, rows, largest)["labels"]
    return float((labels != IGNORED).any(0).float().mean())


def _rate_of_tiny(
    settings: TrainSettings, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], batches: Sequence[Batch]
) -> Range | None:
    """Tokens a second of a few batches; None where there are too few to tell."""
    if len(batches) < TIMED:
        return None
    model = tiny(tokenizer, seed=settings.seed, longest=settings.max_length)
    processes.to_device(model)
    made = [_collated(settings, rows, batch) for batch in batches[:TIMED]]
    return measured(model, [{name: part.to(model.device) for name, part in batch.items()} for batch in made])


def _collated(settings: TrainSettings, rows: Sequence[Row], batch: Batch) -> dict[str, torch.Tensor]:
    taken = [rows[i] for i in batch]
    return packing.collate(taken) if settings.packing else collate(taken, 0)


def _flops_a_second(bfloat16: bool) -> float:
    """What the device does on products of large matrices, which training comes near to and never reaches."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    square = torch.randn(SQUARE, SQUARE, device=device, dtype=torch.bfloat16 if bfloat16 else torch.float32)
    best = 0.0
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        float((square @ square)[0, 0])  # waits for the device
        best = max(best, 2 * SQUARE**3 / (time.perf_counter() - start))
    return best


def _outlook(settings: TrainSettings, rendered: Rendered[Any], plan: Plan, among: int, found: Estimate) -> Outlook:
    return Outlook(
        **plan_figures(settings, rendered, plan),
        processes=among,
        parameters=found.parameters,
        trained_parameters=found.trained,
        memory_bytes=found.bytes,
        seconds=found.seconds,
        lines=(
            *notes_on_adapter(settings),
            *notes_on_length(settings),
            *_told(settings, rendered.rows),
            *found.explain(),
            *_here(found, among),
        ),
    )


def _told(settings: TrainSettings, rows: Sequence[Any]) -> list[str]:
    """What a step of preference takes."""
    if settings.method == "dpo":
        kinds = Counter(pair.kind for pair in rows)
        counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        return [f"a step takes {settings.rows_per_step} pairs; rejected answers: {counted}"]
    if settings.method == "grpo":
        longest = longest_try(settings, rows)
        return [
            f"a step takes {settings.rows_per_step} questions and tries each {settings.answers} times, up to {longest}"
            " tokens; tokens are counted as if every try went so far",
            *warnings_before(settings, rows),
        ]
    return []


def _here(found: Estimate, among: int) -> list[str]:
    """What the user may set the estimate against."""
    room = _room()
    lines = [f"this device has {size_text(room)}{', which is not enough' * (found.bytes > room)}"] if room else []
    if among > 1 and not processes.sharding():
        lines.append(
            f"each of {among} processes takes that; FSDP2 or ZeRO-3 divide weights, gradients and optimiser states"
            f" by {among}"
        )
    return lines


def _room() -> int:
    """Bytes of the GPU, or of the machine; 0 where nobody knows."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
