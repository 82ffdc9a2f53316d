"""Where a model comes from: a local folder, a hub id, or "tiny", which is made from scratch."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seqtune.errors import MissingExtraError, RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TINY = "tiny"
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
    """A small Llama with random weights (0.4 million, with few words), its embeddings shared with its head.

    Two layers are enough to copy by position, and learn it in fewer tokens than three. The base of the rotary
    positions is small because texts are short: with 10,000 the same training reached a third of the exact answers.
    """
    import transformers

    transformers.set_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=longest,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return transformers.LlamaForCausalLM(config)


def load(model: str | Path) -> Loaded:
    """A model and its tokenizer from a local folder or a hub id. Only safetensors are read; no code of a hub is run.

    Raises:
        RecipeError: it is neither, or the folder holds no model.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(model)
    try:
        network = AutoModelForCausalLM.from_pretrained(str(model), use_safetensors=True)
    except (OSError, ValueError) as error:
        raise _no_model(model, str(error)) from None
    return Loaded(network, tokenizer)


def load_tokenizer(model: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder or a hub id, which pads with its end token where it has nothing to pad with."""
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    if Path(model).exists() and not (Path(model) / "tokenizer_config.json").is_file():
        raise _no_model(model, "it holds no tokenizer_config.json")
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
    loaded.model.save_pretrained(half, safe_serialization=True)
    loaded.tokenizer.save_pretrained(half)
    shutil.rmtree(folder, ignore_errors=True)
    half.rename(folder)


def _no_model(model: str | Path, why: str) -> RecipeError:
    first = why.strip().splitlines()[0] if why.strip() else "unknown"
    return RecipeError(
        f"no model can be loaded from {str(model)!r}: {first}",
        fix=f'give the folder of a saved model (with config.json and model.safetensors), a hub id, or "{TINY}"',
    )
