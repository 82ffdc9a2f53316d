"""Where a model comes from: a local folder, a hub id, or "tiny", which is made from scratch."""

from __future__ import annotations

import logging
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seqtune.errors import MissingExtraError, RecipeError, RunFolderError, shorten
from seqtune.training.rendering import end_mark
from seqtune.training.settings import TINY

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
COPYING = 0.25  # times the identity; 0.5 does as well
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors")
TRAINERS = ("trl", "datasets")  # needed to train, not to answer


class Loaded(NamedTuple):
    """A model and the tokenizer that its rows go through."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def require_packages(purpose: str, more: Sequence[str] = ()) -> None:
    """Raises MissingExtraError for the first package of the extra `train` that is not installed."""
    for package in (*PACKAGES, *more):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", purpose)
    # transformers loads bitsandbytes where it is installed, which then complains about a kernel that is only faster.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # TRL and PEFT still ask for it by its old name.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


def tiny(tokenizer: PreTrainedTokenizerBase, *, seed: int, longest: int = 2048) -> PreTrainedModel:
    """A small Llama with new weights (a quarter of a million, with few words), its embeddings shared with its head.

    It is there to learn in less than a minute of CPU to copy words by their place: two layers learn that in fewer
    tokens than three, and 96 channels afford more tokens a second than 128.
    """
    import torch
    import transformers

    transformers.set_seed(seed)
    config = _tiny_config(tokenizer, longest)
    model = transformers.LlamaForCausalLM(config)
    # Attention begins by passing on a little of what it looks at. From random weights alone copying comes late: after
    # the demo's million tokens single tasks were then right in 10 % of cases (two seeds), with this in 100 %.
    with torch.no_grad():
        for layer in model.model.layers:
            for weight in (layer.self_attn.v_proj.weight, layer.self_attn.o_proj.weight):  # (96, 96)
                weight.add_(COPYING * torch.eye(config.hidden_size))
    return model


def _tiny_config(tokenizer: PreTrainedTokenizerBase, longest: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
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


def load_config(model: str | Path, tokenizer: PreTrainedTokenizerBase, *, longest: int = 2048) -> Any:
    """The config of a local folder or a hub id, or that of the model that `tiny` makes for the tokenizer.

    Raises:
        RecipeError: there is no such model.
    """
    from transformers import AutoConfig

    if model == TINY:
        return _tiny_config(tokenizer, longest)
    try:
        return AutoConfig.from_pretrained(str(model))
    except (OSError, ValueError) as error:
        raise _no_model(model, str(error)) from None


def load(model: str | Path, *, dtype: Any = "auto", quantisation: Any = None) -> Loaded:
    """A model and its tokenizer from a local folder or a hub id. Only safetensors are read; no code of a hub is run.

    Args:
        model: where it is; an adapter's folder gives the model that it belongs to, with the adapter on it.
        dtype: of its weights; "auto" is what they were saved in.
        quantisation: how to load it in fewer bits, see `four_bits`.

    Raises:
        RecipeError: it is neither, or the folder holds no model.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(model)
    options = {"quantization_config": quantisation} if quantisation else {}
    try:
        with no_progress_bars():
            network = AutoModelForCausalLM.from_pretrained(str(model), use_safetensors=True, dtype=dtype, **options)
    except (OSError, ValueError) as error:
        raise _no_model(model, str(error)) from None
    return Loaded(network, tokenizer)


def published_dtype(model: str | Path) -> Any:
    """The torch dtype that a model's weights are said to be saved in; float32 where nothing is said."""
    import torch
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(str(model)).dtype
    return found if isinstance(found, torch.dtype) else torch.float32


def require_vocabulary(loaded: Loaded, where: str) -> None:
    """Raises RecipeError where the tokenizer has tokens that the model has no embedding for."""
    tokens, rows = len(loaded.tokenizer), loaded.model.get_input_embeddings().weight.shape[0]
    if tokens > rows:
        raise RecipeError(
            f"the tokenizer has {tokens:,} tokens and the model an embedding of {rows:,}",
            where=where,
            fix="put the tokenizer that belongs to the model into its folder, or resize the embedding and save both",
        )


def end_with_turns(loaded: Loaded) -> None:
    """Let the model and its tokenizer stop at the token that ends an answer; both are changed in place and saved so.

    Base models name another end token (Llama-3 ends texts, not turns): they would be trained to end their turn, and
    nothing would stop there.
    """
    tokenizer, generation = loaded.tokenizer, loaded.model.generation_config
    mark = end_mark(tokenizer)
    end = tokenizer.convert_tokens_to_ids(mark)
    own = generation.eos_token_id
    others = [own] if isinstance(own, int) else own or []
    generation.eos_token_id = [end, *[one for one in others if one != end]] if set(others) - {end} else end
    before = _probe(tokenizer)
    named, tokenizer.eos_token = tokenizer.eos_token, mark
    if _probe(tokenizer) != before:  # the template writes the other one somewhere
        tokenizer.eos_token = named
    if tokenizer.pad_token is None:
        tokenizer.pad_token = mark


def _probe(tokenizer: PreTrainedTokenizerBase) -> str:
    chat = [{"role": role, "content": "?"} for role in ("user", "assistant", "user", "assistant")]
    return str(tokenizer.apply_chat_template(chat, tokenize=False))


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


def save(loaded: Loaded, folder: Path, *, card: str = "") -> None:
    """Write a model (or the adapter on it), its tokenizer and its card; the folder appears only once it is whole.

    Raises:
        RunFolderError: the disk is full, or the place cannot be written.
    """
    from safetensors import SafetensorError

    half = folder.with_name(f"{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        with no_progress_bars():
            loaded.model.save_pretrained(half)  # as safetensors; transformers 5 writes nothing else
            loaded.model.generation_config.save_pretrained(half)  # an adapter does not by itself
            loaded.tokenizer.save_pretrained(half)
        if card:
            (half / "README.md").write_text(card, "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(half, ignore_errors=True)
        what = f"the model cannot be written: {shorten(error, 160)}"
        raise RunFolderError(what, where=str(folder), fix="free some space, or choose another --out") from None


def _refuse_wrong_place(model: str | Path) -> None:
    """Raises RecipeError for a path that holds no model, before transformers takes it for a hub id and asks the hub."""
    path = Path(model)
    if path.is_dir() and str(model):
        if not (path / "tokenizer_config.json").is_file():
            raise _no_model(model, "the folder holds no tokenizer_config.json")
    elif path.exists() or not _HUB_ID.fullmatch(str(model)) or (path.parent != Path() and path.parent.is_dir()):
        raise _no_model(model, "there is no such folder")


@contextmanager
def no_progress_bars() -> Iterator[None]:
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
