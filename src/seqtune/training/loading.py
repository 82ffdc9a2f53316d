"""The model of a training as its method trains it: in which precision, with which adapter, packed or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqtune.errors import RecipeError
from seqtune.training import processes
from seqtune.training.adapter_folder import base_of, is_adapter
from seqtune.training.adapters import add_adapter, four_bits, load_adapter, merge_adapter
from seqtune.training.model import Loaded, end_with_turns, load_network, require_vocabulary, tiny
from seqtune.training.packing import Form, form_for
from seqtune.training.rendering import Row
from seqtune.training.settings import TINY, TrainSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def computes_in_16_bits(settings: TrainSettings) -> bool:
    """Whether the precision that was asked for is bfloat16, or is on this device.

    Raises:
        RecipeError: the device does not have what was asked for.
    """
    import torch

    if torch.cuda.is_available():
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        if settings.precision == "bfloat16" and not has_it:
            name = torch.cuda.get_device_name()
            raise RecipeError(f"train.precision is bfloat16, which {name} does not have", fix="set it to float32")
        return has_it and settings.precision != "float32"
    if settings.trl.get("use_liger_kernel"):
        raise RecipeError("train.trl.use_liger_kernel needs a GPU, and there is none here", fix="leave it out")
    return settings.precision == "bfloat16"


def load_to_train(settings: TrainSettings, tokenizer: PreTrainedTokenizerBase, bfloat16: bool) -> Loaded:
    """The model as the method trains it: whole in 32 bits, or in fewer with an adapter on it, a new one or its own."""
    import torch
    import transformers

    compute = torch.bfloat16 if bfloat16 else torch.float32
    loaded = Loaded(_bare(settings, tokenizer, compute), tokenizer)
    _refuse_adapter_of_hub(loaded.model, settings.model)
    require_vocabulary(loaded, settings.model)
    end_with_turns(loaded)
    if settings.adapter is None or settings.lora is None:
        return loaded
    transformers.set_seed(settings.seed)
    again, base = settings.gradient_checkpointing, base_of(settings.model)
    if is_adapter(settings.model):
        model = load_adapter(loaded.model, settings.model, settings.lora, settings.adapter, checkpointing=again)
    else:
        model = add_adapter(loaded.model, settings.lora, settings.adapter, checkpointing=again)
    if Path(base).is_dir():  # else the adapter would load only where this command was run
        model.peft_config["default"].base_model_name_or_path = str(Path(base).resolve())
    return loaded._replace(model=model)


def _bare(settings: TrainSettings, tokenizer: PreTrainedTokenizerBase, compute: torch.dtype) -> PreTrainedModel:
    """The model that an adapter goes on, or every weight of which is trained: then an adapter that it has is in them.

    16 bits lose the small steps of the optimiser, so whatever is trained is in 32.
    """
    if settings.model == TINY:
        return tiny(tokenizer, seed=settings.seed, longest=settings.max_length)
    base = base_of(settings.model)
    if settings.method == "qlora":
        return load_network(base, dtype=compute, quantisation=four_bits(compute))
    if settings.adapter:
        return load_network(base, dtype=compute)
    if is_adapter(settings.model):
        merged = merge_adapter(base, Path(settings.model))
        return merged.requires_grad_(True)  # PEFT froze them
    return load_network(base, dtype="float32")


def _refuse_adapter_of_hub(model: PreTrainedModel, name: str) -> None:
    """Raises RecipeError where transformers fetched an adapter with its base: it is frozen, to answer with."""
    if getattr(model, "_hf_peft_config_loaded", False):
        raise RecipeError(
            f"train.model is {name!r}, which is an adapter on the hub",
            fix=f"fetch it and give its folder, and it is trained further: hf download {name} --local-dir FOLDER",
        )


def form_of(settings: TrainSettings, loaded: Loaded, rows: Sequence[Row], tell: Callable[[str], object]) -> Form | None:
    """How rows are to be packed, None where they are not to be, or this model would let them see each other."""
    if not settings.packing:
        return None
    if not processes.sharding():  # where weights are to be spread, one device may not hold them all
        processes.to_device(loaded.model)
    form = form_for(loaded.model, rows, seed=settings.seed)
    if form is None:
        kind = loaded.model.config.model_type
        tell(f"{settings.model}: packed rows would see each other in this model ({kind}), so they are not packed")
    return form
