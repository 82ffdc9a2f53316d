"""LoRA and QLoRA through PEFT: put an adapter on a model, and write it into the model's weights at the end."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from seqtune.errors import MissingExtraError, RecipeError, did_you_mean, shorten
from seqtune.training.adapter_folder import is_adapter
from seqtune.training.model import load_network
from seqtune.training.settings import Adapter, LoraSettings, TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    from peft import LoraConfig
    from transformers import PreTrainedModel


def require_adapter_packages(settings: TrainSettings) -> None:
    """Raises MissingExtraError where an adapter needs a package that is not installed."""
    adapter = settings.adapter or ("lora" if is_adapter(settings.model) else None)
    if adapter and find_spec("peft") is None:
        raise MissingExtraError("peft", "train", f"an adapter ({adapter})")
    if adapter == "qlora" and find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "qlora", "method qlora")


def four_bits(compute: Any) -> Any:
    """How a model is loaded for QLoRA: 4-bit NormalFloat, its constants quantised too (arXiv 2305.14314).

    Args:
        compute: the torch dtype of the products.
    """
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def add_adapter(model: PreTrainedModel, settings: LoraSettings, method: Adapter, *, checkpointing: bool) -> Any:
    """The model with a new adapter on it, the only part that is trained.

    Args:
        model: it is wrapped.
        settings: the adapter.
        method: "lora" or "qlora".
        checkpointing: whether activations will be computed twice, which needs gradients at the input.

    Raises:
        RecipeError: the model has no layer of a name that `target_modules` gives.
    """
    from peft import LoraConfig, get_peft_model

    _require_targets(model, settings)
    if method == "qlora":
        model = _prepared(model, checkpointing)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise RecipeError(f"PEFT refuses train.lora = {settings}: {shorten(error, 200)}", fix="mend it") from None


def load_adapter(
    model: PreTrainedModel, folder: str | Path, settings: LoraSettings, method: Adapter, *, checkpointing: bool
) -> Any:
    """The model with an adapter on it that was trained before, the only part that is trained further.

    Args:
        model: what the adapter was trained on; it is wrapped.
        folder: of the adapter; settings: its own, but perhaps for the dropout.
        method, checkpointing: as for `add_adapter`.

    Raises:
        RecipeError: the adapter was trained on another model.
    """
    from peft import LoraConfig, PeftModel

    if method == "qlora":
        model = _prepared(model, checkpointing)
    config: LoraConfig = LoraConfig.from_pretrained(str(folder))
    config.lora_dropout = settings.dropout
    try:
        return PeftModel.from_pretrained(model, str(folder), is_trainable=True, config=config)
    except (ValueError, RuntimeError) as error:  # layers that the model does not have, or has in another size
        why = shorten(str(error), 200)
        raise RecipeError(
            f"the adapter does not fit the model that it names as its base: {why}",
            where=str(folder),
            fix="give the adapter with the model that it was trained on",
        ) from None


def outline_adapter(bare: PreTrainedModel, folder: str | Path) -> Any:
    """A model without weights with an adapter of the same shape as that in a folder."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False  # as it is saved, all of it is frozen
    config.init_lora_weights = False  # some ways to make an adapter look at the weights below it
    return get_peft_model(bare, config)


def _prepared(model: PreTrainedModel, checkpointing: bool) -> PreTrainedModel:
    """A model in 4 bits, so that an adapter on it can be trained."""
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=checkpointing)


def merge_adapter(base: str, adapter: Path) -> Any:
    """The model with its adapter written into its weights, in 32 bits whatever it was trained in.

    A model in 4 or 16 bits would lose part of what is added, so its weights are read again as they were published.
    """
    from peft import PeftModel
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()  # else ZeRO-3 would wait for the other processes, to spread what is read here
    return PeftModel.from_pretrained(load_network(base, dtype="float32"), str(adapter)).merge_and_unload()


def _require_targets(model: PreTrainedModel, settings: LoraSettings) -> None:
    if isinstance(settings.target_modules, str):
        return
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "weight")}
    names = {name.rpartition(".")[2] for name, layer in layers.items() if layer.weight.dim() == 2}
    for target in settings.target_modules:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise RecipeError(
                f"train.lora.target_modules names {target!r}, and the model has no such layer"
                f"{did_you_mean(target, names)}",
                fix=f"choose from {', '.join(sorted(names))}",
            )


def base_model(model: Any) -> Any:
    """The model inside an adapter's wrapper; the model itself where it has none."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
