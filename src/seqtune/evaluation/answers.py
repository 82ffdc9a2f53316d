"""Answers: what a local model says to each item, greedily, through the template that it was trained with."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from seqtune.data.example import Example
from seqtune.errors import RecipeError
from seqtune.training.model import Loaded, load, require_packages
from seqtune.training.rendering import prompt_ids, require_template

if TYPE_CHECKING:
    import torch


class Answer(msgspec.Struct, frozen=True):
    """One line of answers.jsonl.

    Args:
        item: id of the item.
        model: what answered.
        text: the answer, without marks of the template.
        tokens: tokens written, the end token included; None where nobody counted them.
        cut: whether it was stopped at the limit before it ended.
        key: hash of the prompt, the model and the settings.
    """

    item: str
    model: str
    text: str
    tokens: int | None = None
    cut: bool = False
    key: str = ""


def answer(
    model: str | Path | Loaded,
    items: Sequence[Example],
    *,
    batch_size: int = 100,
    max_new_tokens: int = 256,
    say: Callable[[int], object] | None = None,
) -> list[Answer]:
    """The model's answers, one an item and in the items' order.

    Args:
        model: a local folder, a hub id, or a model that is loaded already.
        items: what to ask; an output they may have is not shown to the model.
        batch_size: items that are answered at once.
        max_new_tokens: where an answer is stopped; `Answer.cut` says so.
        say: called with the number of answers so far.

    Raises:
        RecipeError: no model can be loaded, or it has no chat template.
        DataError: an item that holds the model's own marks.
        MissingExtraError: torch or transformers is not installed.
    """
    found: dict[str, Answer] = {}
    for batch in answer_batches(model, items, batch_size=batch_size, max_new_tokens=max_new_tokens):
        found |= {one.item: one for one in batch}
        if say:
            say(len(found))
    return [found[item.id] for item in items]


def answer_batches(
    model: str | Path | Loaded,
    items: Sequence[Example],
    *,
    batch_size: int,
    max_new_tokens: int,
    known: Container[str] = (),
) -> Iterator[list[Answer]]:
    """The model's answers, a batch of prompts of like length at a time; see `answer`.

    Args:
        known: ids of items that were answered before. Batches are those of all items, so that an answer does not depend
            on where a run was stopped; one whose items are all known is passed over.
    """
    require_packages("answering with a local model")
    if batch_size < 1 or max_new_tokens < 1:
        raise RecipeError(f"batch_size is {batch_size} and max_new_tokens {max_new_tokens}", fix="give numbers above 0")
    if all(item.id in known for item in items):
        return
    name = model_name(model)
    loaded = model if isinstance(model, Loaded) else load(model)
    require_template(loaded.tokenizer, name)
    prompts = [prompt_ids(item, loaded.tokenizer) for item in items]
    for batch in _by_length(prompts, batch_size):
        if any(items[i].id not in known for i in batch):
            written = _generate(loaded, [prompts[i] for i in batch], max_new_tokens)
            yield [_answer(items[i], name, ids, loaded) for i, ids in zip(batch, written, strict=True)]


def model_name(model: str | Path | Loaded) -> str:
    """What a model is called in the results."""
    return str(model.model.name_or_path) if isinstance(model, Loaded) else str(model)


def _by_length(prompts: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Indices in batches of prompts of like length, so that little is padded."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _generate(loaded: Loaded, prompts: Sequence[list[int]], limit: int) -> list[list[int]]:
    """What the model writes after each prompt, up to its end token, which is included."""
    import torch

    pad, ends = loaded.tokenizer.pad_token_id, _ends(loaded)
    input_ids, mask = _pad_left(prompts, pad)  # (B, T), (B, T)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    with torch.inference_mode():
        out = loaded.model.generate(  # (B, T + new)
            input_ids=input_ids.to(loaded.model.device),
            attention_mask=mask.to(loaded.model.device),
            do_sample=False,
            num_beams=1,
            max_new_tokens=limit,
            pad_token_id=pad,
            eos_token_id=sorted(ends),
        )
    return [_until_end(row, ends) for row in out[:, input_ids.shape[1] :].tolist()]


def _pad_left(prompts: Sequence[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts that all end where the answer begins, and their mask, each (B, T)."""
    import torch

    longest = max(map(len, prompts))
    ids = [[pad] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids), torch.tensor(mask)


def _ends(loaded: Loaded) -> set[int]:
    """The end token that training uses, and those that the model names itself."""
    own = loaded.model.generation_config.eos_token_id
    return {loaded.tokenizer.eos_token_id, *([own] if isinstance(own, int) else own or [])}


def _until_end(ids: list[int], ends: set[int]) -> list[int]:
    stop = next((i + 1 for i, token in enumerate(ids) if token in ends), len(ids))
    return ids[:stop]


def _answer(item: Example, model: str, ids: list[int], loaded: Loaded) -> Answer:
    cut = not ids or ids[-1] not in _ends(loaded)
    text = loaded.tokenizer.decode(ids, skip_special_tokens=True)
    return Answer(item.id, model, text, len(ids), cut)
