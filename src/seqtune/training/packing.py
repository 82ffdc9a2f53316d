"""Rows packed into blocks without padding, kept apart, and a probe that shows whether the very model keeps them so."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from seqtune.training.rendering import IGNORED, Row

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# How the model is told where a row begins. The first needs the least, and each is what some attention needs:
#   positions       positions that restart; flash attention and transformers' own masks read the bounds from them
#   boolean mask    a block-diagonal mask of truth values besides, which SDPA takes
#   additive mask   the same as zeros and lowest numbers, which eager attention adds to its scores
Form = Literal["positions", "boolean mask", "additive mask"]
FORMS: tuple[Form, ...] = get_args(Form)

POOL = 256  # blocks filled from one pool of shuffled rows: 0.5 % stays free of blocks of 1,024 tokens, with 64 1 %
PROBED = 4  # rows
# The most that rounding makes of `leak`; where rows see each other it is about 1.
TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 0.02, "bfloat16": 0.1}


def block_epoch(rows: Sequence[int], lengths: Sequence[int], block_tokens: int, rng: Random) -> list[list[int]]:
    """One pass: within pools of shuffled rows blocks are filled; then rows within blocks and all blocks are shuffled.

    Args:
        rows: row numbers; each is put into one block.
        lengths: tokens of each row.
        block_tokens: the most tokens of a block; a longer row gets a block of its own.
        rng: shuffles.

    Source: best-fit decreasing (Johnson, 1974); for training, Ding et al., "Fewer truncations improve language
    modeling" (2024).
    """
    order = list(rows)
    rng.shuffle(order)
    pool = max(1, int(POOL * block_tokens * len(order) / sum(lengths[i] for i in order)))  # rows
    blocks: list[list[int]] = []
    for start in range(0, len(order), pool):
        blocks += best_fit(order[start : start + pool], lengths, block_tokens)
    for block in blocks:
        rng.shuffle(block)
    rng.shuffle(blocks)
    return blocks


def best_fit(rows: Sequence[int], lengths: Sequence[int], block_tokens: int) -> list[list[int]]:
    """The longest row first, each into the block with the least room that it fits in, or into a new one."""
    blocks: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # free tokens and number of each block, sorted
    for row in sorted(rows, key=lambda row: -lengths[row]):  # stable: ties stay shuffled
        at = bisect_left(rooms, (lengths[row], -1))
        if at == len(rooms):
            blocks.append([])
            room, block = block_tokens, len(blocks) - 1
        else:
            room, block = rooms.pop(at)
        blocks[block].append(row)
        if room > lengths[row]:
            insort(rooms, (room - lengths[row], block))
    return blocks


def unfilled(blocks: Sequence[Sequence[int]], lengths: Sequence[int], block_tokens: int) -> float:
    """The share of the blocks' tokens that stayed free. A block is never padded, so this costs steps, not compute."""
    room = sum(max(block_tokens, sum(lengths[i] for i in block)) for block in blocks)
    return 1 - sum(lengths[i] for block in blocks for i in block) / room


def collate(rows: Sequence[Row], form: Form = "positions") -> dict[str, torch.Tensor]:
    """Rows one after another as a batch of one: input_ids, labels, position_ids (1, T), attention_mask (1, 1, T, T).

    The first label of a row is ignored, as the token before it is another row's. The model must be called with
    `use_cache=False`: with a cache, which configs ask for by default, transformers 5 does not look for positions that
    restart, and rows see each other in every architecture.

    Source of the form "positions": transformers' DataCollatorWithFlattening.
    """
    import torch

    columns = {
        "input_ids": [token for row in rows for token in row.ids],
        "labels": [label for row in rows for label in [IGNORED, *row.labels[1:]]],
        "position_ids": [position for row in rows for position in range(len(row.ids))],
    }
    block = {name: torch.tensor([values]) for name, values in columns.items()}
    if form != "positions":
        block["attention_mask"] = _apart([len(row.ids) for row in rows], additive=form == "additive mask")
    return block


def _apart(lengths: Sequence[int], *, additive: bool) -> torch.Tensor:
    """A causal mask within each row and nothing between rows: (1, 1, T, T), True (or 0) where a token is seen."""
    import torch

    seen = torch.block_diag(*[torch.ones(n, n, dtype=torch.bool).tril() for n in lengths])[None, None].bool()
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min) if additive else seen


def form_for(model: PreTrainedModel, rows: Sequence[Row], *, seed: int = 0) -> Form | None:
    """The first form in which this very model keeps rows apart; None where it does in none, so must not be packed.

    Args:
        model: as it will be trained: its device, precision and attention.
        rows: that it will be trained on; the longest (it may be longer than a sliding window) and a few others, drawn
            at random, are probed.
        seed: of the draw.
    """
    longest = max(rows, key=lambda row: len(row.ids))
    probed = [*Random(seed).sample(rows, min(PROBED, len(rows)) - 1), longest]
    return next((form for form in FORMS if safe_to_pack(model, probed, form)), None)


def safe_to_pack(model: PreTrainedModel, rows: Sequence[Row], form: Form = "positions") -> bool:
    """Whether these rows in one block are to the model as if each were alone, but for rounding."""
    return leak(model, rows, form) <= TOLERANCE[str(model.dtype).removeprefix("torch.")]


def leak(model: PreTrainedModel, rows: Sequence[Row], form: Form = "positions") -> float:
    """How far the logits of rows in a block are from those of each alone: about 1 where rows see each other.

    For each token the root mean square over the vocabulary of the difference, as a share of that of the logits; the
    largest of all tokens. Means over the vocabulary are taken off first: they change no probability. A form that the
    model does not take leaks infinitely.
    """
    import torch

    was_training = model.training
    model.eval()
    try:
        alone = [_logits(model, [row], "positions") for row in rows]
        together = _logits(model, rows, form).split([len(row.ids) for row in rows])
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, NotImplementedError):
        return math.inf
    finally:
        model.train(was_training)
    shares = [_spread(packed - single) / _spread(single) for packed, single in zip(together, alone, strict=True)]
    return float(torch.cat(shares).nan_to_num(math.inf).max())


def _logits(model: PreTrainedModel, rows: Sequence[Row], form: Form) -> torch.Tensor:
    """(T, V) of a block."""
    import torch

    block = {name: values.to(model.device) for name, values in collate(rows, form).items() if name != "labels"}
    with torch.no_grad():
        logits: torch.Tensor = model(**block, use_cache=False).logits[0]
    return logits


def _spread(logits: torch.Tensor) -> torch.Tensor:
    """(T,): the standard deviation over the vocabulary, in 32 bits."""
    return logits.float().std(-1, correction=0)
