"""Where a model comes from: a local folder, a hub id, or "tiny", which is made from scratch."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import xxhash

from seqtune.errors import MissingExtraError, RecipeError, RunFolderError, shorten
from seqtune.training.adapter_folder import ADAPTER, adapter_base, base_of, is_adapter
from seqtune.training.arguments import hush
from seqtune.training.rendering import end_mark
from seqtune.training.settings import TINY

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
COPYING = 0.25  # times the identity; 0.5 does as well
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors")
TRAINERS = ("trl", "datasets")  # needed to train, not to answer
TOKENIZER = "tokenizer_config.json"
# What decides, besides the weights, what a model makes of a text.
OTHER_FILES = ("config.json", "generation_config.json", "token*", "special_tokens_map.json", "vocab*", "merges.txt",
               "chat_template*", "added_tokens.json")  # fmt: skip
WHOLE_BYTES = 1 << 26  # of weights that are hashed as a whole; of larger files so many blocks, spread over them
BLOCKS, BLOCK_BYTES = 64, 1 << 16
ASK_HUB_S = 10.0
REPORTERS = ("modeling_utils", "distributed.tensor_parallel")  # the latter of norms, which one device has whole


def model_identity(model: str | Path) -> str:
    """The same for the same model wherever it lies: a hash of its weights, its config and its tokenizer.

    Of weights over 64 MiB only the header and blocks from all over the file are read. An adapter's base counts as its
    own. A model of the hub is known by its commit, once its tokenizer was read; "tiny" is itself.

    Args:
        model: a local folder, a hub id, or "tiny".
    """
    folder = Path(model)
    if model == TINY or not folder.is_dir():
        return str(model) if model == TINY else f"{model}@{_commit(str(model))}"
    found = xxhash.xxh3_128()
    named = {path for pattern in ("*.safetensors", *OTHER_FILES) for path in folder.glob(pattern)}
    for file in sorted(filter(Path.is_file, named)):
        found.update(f"{file.name}\x1e{file.stat().st_size}\x1e".encode())
        for part in _telling_parts(file):
            found.update(part)
    if base := adapter_base(model):
        rest = {**json.loads((folder / ADAPTER).read_text("utf-8")), "base_model_name_or_path": model_identity(base)}
        found.update(json.dumps(rest, sort_keys=True).encode())
    return found.hexdigest()


def _telling_parts(file: Path) -> Iterator[bytes]:
    """All of a file that is small, the first part of a large one (the names and shapes in it) and some of the rest."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= WHOLE_BYTES:
            yield opened.read()
            return
        for block in range(BLOCKS + 1):
            opened.seek((size - BLOCK_BYTES) * block // BLOCKS)
            yield opened.read(BLOCK_BYTES)


def _commit(model: str) -> str:
    """Of what is here of a hub id; "" where nothing is."""
    from huggingface_hub import try_to_load_from_cache

    if not _HUB_ID.fullmatch(model):
        return ""
    found = (try_to_load_from_cache(model, name) for name in (TOKENIZER, "config.json", ADAPTER))
    return next((Path(one).parent.name for one in found if isinstance(one, str)), "")


class Loaded(NamedTuple):
    """A model and the tokenizer that its rows go through.

    Args:
        model: its own weights are all there is of it, unless they are spread over several processes.
        tokenizer: that belongs to it.
        weights: all of them by name, where the model holds a share; only the main process has them.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    weights: dict[str, Any] | None = None


def parameters_of(model: Any) -> tuple[int, int]:
    """All weights of a model, and those that are trained; DeepSpeed empties what it spreads, and notes its size."""
    spread = sum(getattr(weight, "ds_numel", 0) for weight in model.parameters())
    trained = sum(getattr(weight, "ds_numel", weight.numel()) for weight in model.parameters() if weight.requires_grad)
    return spread or model.num_parameters(), trained


def in_dtype(loaded: Loaded, dtype: Any) -> Loaded:
    """The model with its weights in a torch dtype; it is changed in place."""
    loaded.model.to(dtype)  # which its config will say, whoever has the weights
    whole = loaded.weights
    return loaded._replace(weights=whole and {name: weight.to(dtype) for name, weight in whole.items()})


def require_packages(purpose: str, more: Sequence[str] = ()) -> None:
    """Raises MissingExtraError for the first package of the extra `train` that is not installed."""
    for package in (*PACKAGES, *more):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", purpose)
    hush()


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
        return AutoConfig.from_pretrained(base_of(model))
    except (OSError, ValueError) as error:
        raise _no_model(model, str(error)) from None


def load(model: str | Path, *, dtype: Any = "auto", quantisation: Any = None) -> Loaded:
    """A model and its tokenizer from a local folder or a hub id. Only safetensors are read; no code of a hub is run.

    Args:
        model: where it is; an adapter's folder gives the model that it belongs to, with the adapter on it, frozen.
        dtype: of its weights; "auto" is what they were saved in.
        quantisation: how to load it in fewer bits, see `four_bits`.

    Raises:
        RecipeError: it is neither, or the folder holds no model.
    """
    tokenizer = load_tokenizer(model)
    if is_adapter(model):
        require_base(model)
    network = load_network(base_of(model), dtype=dtype, quantisation=quantisation)
    return Loaded(_with_adapter(network, model) if is_adapter(model) else network, tokenizer)


def _with_adapter(network: PreTrainedModel, folder: str | Path) -> PreTrainedModel:
    """A model with an adapter in its layers. PEFT puts it there: transformers loses the magnitudes of DoRA."""
    if find_spec("peft") is None:
        raise MissingExtraError("peft", "train", "an adapter")
    from peft import PeftModel

    return PeftModel.from_pretrained(network, str(folder)).get_base_model()


def load_network(model: str | Path, *, dtype: Any = "auto", quantisation: Any = None) -> PreTrainedModel:
    """A whole model without its tokenizer; see `load`.

    Raises:
        RecipeError: there is none, its files are damaged, or lack weights that its config says it has.
    """
    return _read(model, dtype=dtype, **({"quantization_config": quantisation} if quantisation else {}))


def require_weights(model: str | Path) -> None:
    """Raises RecipeError as `load_network` would, where the files are here: only the names in them are read."""
    if any(Path(model).glob("*.safetensors")):
        _read(model, device_map="meta")


def _read(model: str | Path, **options: Any) -> PreTrainedModel:
    """transformers gives new weights to what a file lacks, with no more than a report that nobody need read."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        with no_progress_bars(), without_reports():
            network, found = AutoModelForCausalLM.from_pretrained(
                str(model), use_safetensors=True, output_loading_info=True, **options
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise _no_model(model, str(error)) from None
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise _no_model(model, "its weights are of other sizes than its config.json says") from None
    if missing := sorted(found["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise RecipeError(
            f"its files lack weights that its config.json says it has: {', '.join(missing[:3])}{more}",
            where=str(model),
            fix="fetch or save the model again; or mend config.json (num_hidden_layers, tie_word_embeddings)",
        )
    return cast("PreTrainedModel", network)


def require_base(adapter: str | Path) -> None:
    """Raises RecipeError where what an adapter was trained on is not where it says."""
    base = adapter_base(adapter)
    if Path(base).is_dir() and base:
        return  # its tokenizer is the adapter's
    try:
        require_place(base)
    except RecipeError as error:
        raise RecipeError(
            f"the adapter belongs to the model {base!r}, which cannot be loaded: {error.what}",
            where=str(adapter),
            fix=f"put that model there, or write where it is now into {ADAPTER} as base_model_name_or_path",
        ) from None


def published_dtype(model: str | Path) -> Any:
    """The torch dtype that a model's weights are said to be saved in; float32 where nothing is said."""
    import torch
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(base_of(model)).dtype
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
    """The tokenizer of a local folder or a hub id, which pads with its end token where it has nothing to pad with.

    An adapter that was saved without one has that of its base.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    if is_adapter(model) and not (Path(model) / TOKENIZER).is_file():
        require_base(model)
        model = base_of(model)
    require_place(model)
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
            # As safetensors; transformers 5 writes nothing else.
            loaded.model.save_pretrained(half, state_dict=loaded.weights)
            loaded.model.generation_config.save_pretrained(half)  # an adapter does not by itself
            loaded.tokenizer.save_pretrained(half)
        if card:
            (half / "README.md").write_text(card, "utf-8")
        usual = (half / "generation_config.json").stat().st_mode
        for file in half.iterdir():  # safetensors lets nobody else read what it writes
            file.chmod(usual)
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(half, ignore_errors=True)
        what = f"the model cannot be written: {shorten(error, 160)}"
        raise RunFolderError(what, where=str(folder), fix="free some space, or choose another --out") from None


def require_place(model: str | Path) -> None:
    """Raises RecipeError for a path that holds no model, before transformers takes it for a hub id and asks the hub.

    A name that could be a hub's is asked for once: transformers itself tries twelve times, for most of a minute.
    """
    name, path = str(model), Path(model)
    if path.is_dir() and name:
        if not (path / TOKENIZER).is_file():
            raise _no_model(model, f"the folder holds no {TOKENIZER}")
    elif path.exists() or not _HUB_ID.fullmatch(name) or name.startswith(".") or _begins_with_folder(path):
        raise _no_model(model, "there is no such folder")
    elif not _commit(name):
        _ask_hub(name)


def _begins_with_folder(path: Path) -> bool:
    return len(path.parts) > 1 and Path(path.parts[0]).is_dir()


def _ask_hub(model: str) -> None:
    """Raises RecipeError where the hub has no such model, or cannot be asked."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(model, timeout=ASK_HUB_S)
    except Exception as error:  # of the hub, of the way there, or for a name that it does not take
        why = f"there is no such folder, and the hub does not give it: {shorten(str(error), 160)}"
        raise _no_model(model, why) from None


@contextmanager
def without_reports() -> Iterator[None]:
    """transformers reports what weights it found amiss; what matters of it is an error of ours."""
    reporters = [logging.getLogger(f"transformers.{name}") for name in REPORTERS]
    levels = [reporter.level for reporter in reporters]
    for reporter in reporters:
        reporter.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for reporter, level in zip(reporters, levels, strict=True):
            reporter.setLevel(level)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """transformers draws a bar for every model it reads or writes."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _no_model(model: str | Path, why: str) -> RecipeError:
    first = why.strip().splitlines()[0] if why.strip() else "unknown"
    return RecipeError(
        f"no model can be loaded from {str(model)!r}: {first}",
        fix=f'give the folder of a saved model (with config.json and model.safetensors), a hub id, or "{TINY}"',
    )
