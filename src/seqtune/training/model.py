"""Where a model comes from: a local folder, a hub id, or "tiny", which is made from scratch."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seqtune.errors import MissingExtraError, RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TINY = "tiny"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
COPYING = 0.25  # times the identity; 0.5 does as well
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors")


class Loaded(NamedTuple):
    """A model and the tokenizer that its rows go through."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def require_packages(purpose: str) -> None:
    """Raises MissingExtraError for the first package of the extra `train` that is not installed."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", purpose)


def tiny(tokenizer: PreTrainedTokenizerBase, *, seed: int, longest: int = 2048) -> PreTrainedModel:
    """A small Llama with new weights (a quarter of a million, with few words), its embeddings shared with its head.

    It is there to learn in less than a minute of CPU to copy words by their place: two layers learn that in fewer
    tokens than three, and 96 channels afford more tokens a second than 128.
    """
    import torch
    import transformers

    transformers.set_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=3,
        max_position_embeddings=longest,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = transformers.LlamaForCausalLM(config)
    # Attention begins by passing on a little of what it looks at. From random weights alone copying comes late: after
    # the demo's million tokens single tasks were then right in 10 % of cases (two seeds), with this in 100 %.
    with torch.no_grad():
        for layer in model.model.layers:
            for weight in (layer.self_attn.v_proj.weight, layer.self_attn.o_proj.weight):  # (96, 96)
                weight.add_(COPYING * torch.eye(config.hidden_size))
    return model


def load(model: str | Path, *, for_training: bool = False) -> Loaded:
    """A model and its tokenizer from a local folder or a hub id. Only safetensors are read; no code of a hub is run.

    Args:
        model: where it is.
        for_training: weights in 32 bits, whatever they were saved in: 16 lose the small steps of the optimiser.

    Raises:
        RecipeError: it is neither, or the folder holds no model.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(model)
    try:
        with _no_progress_bars():
            dtype = "float32" if for_training else "auto"
            network = AutoModelForCausalLM.from_pretrained(str(model), use_safetensors=True, dtype=dtype)
    except (OSError, ValueError) as error:
        raise _no_model(model, str(error)) from None
    return Loaded(network, tokenizer)


def load_tokenizer(model: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder or a hub id, which pads with its end token where it has nothing to pad with."""
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    _refuse_wrong_place(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(model))
    except (OSError, ValueError) as error:
        raise _no_model(model, str(error)) from None
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def save(loaded: Loaded, folder: Path) -> None:
    """Write a model and its tokenizer; the folder appears only once it is whole."""
    half = folder.with_name(f"{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    with _no_progress_bars():
        loaded.model.save_pretrained(half)  # as safetensors; transformers 5 writes nothing else
        loaded.tokenizer.save_pretrained(half)
    shutil.rmtree(folder, ignore_errors=True)
    half.rename(folder)


def _refuse_wrong_place(model: str | Path) -> None:
    """Raises RecipeError for a path that holds no model, before transformers takes it for a hub id and asks the hub."""
    path = Path(model)
    if path.is_dir() and str(model):
        if not (path / "tokenizer_config.json").is_file():
            raise _no_model(model, "the folder holds no tokenizer_config.json")
    elif path.exists() or not _HUB_ID.fullmatch(str(model)) or (path.parent != Path() and path.parent.is_dir()):
        raise _no_model(model, "there is no such folder")


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """transformers draws a bar for every model it reads or writes."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _no_model(model: str | Path, why: str) -> RecipeError:
    first = why.strip().splitlines()[0] if why.strip() else "unknown"
    return RecipeError(
        f"no model can be loaded from {str(model)!r}: {first}",
        fix=f'give the folder of a saved model (with config.json and model.safetensors), a hub id, or "{TINY}"',
    )
