"""Training that goes on from an adapter: what its folder says of it, and which settings go with that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from seqtune.errors import RecipeError
from seqtune.training.adapter_folder import ADAPTER, adapter_base, is_adapter
from seqtune.training.model import require_base
from seqtune.training.settings import LoraSettings, TrainSettings

WEIGHTS = "adapter_model.safetensors"
# How PEFT may make an adapter by changing the weights below it; made twice, as a reference needs it, they change twice.
CHANGES_ITS_BASE = ("pissa", "olora", "corda", "loftq")


class AdapterConfig(msgspec.Struct, frozen=True):
    """What is read of an adapter_config.json; the names and defaults are PEFT's."""

    peft_type: str
    r: int = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    target_modules: list[str] | str | None = None
    bias: str = "none"
    init_lora_weights: bool | str | None = True


def with_adapter(settings: TrainSettings) -> TrainSettings:
    """Settings with the shape of the adapter that is trained further; only its dropout may be set anew.

    Where every weight is trained, the adapter is written into its base, and its shape is of no account.

    Raises:
        RecipeError: an adapter that cannot be trained further, one whose base is not there, or a setting that would
            give it another shape.
    """
    config = _read(settings.model)
    require_base(settings.model)
    _require_fit(settings, config)
    return settings if settings.adapter is None else _shaped(settings, config)


def _shaped(settings: TrainSettings, config: AdapterConfig) -> TrainSettings:
    layers = config.target_modules or []
    named = [layers] if isinstance(layers, str) else sorted(layers)
    own = LoraSettings(r=config.r, alpha=config.lora_alpha, dropout=config.lora_dropout, target_modules=named)
    given = settings.lora or LoraSettings()
    _refuse_other_shape(settings.model, given, own)
    if "dropout" in given.model_fields_set:
        own = own.model_copy(update={"dropout": given.dropout})
    return settings.model_copy(update={"lora": own})


def notes_on_adapter(settings: TrainSettings) -> Iterator[str]:
    """What the user should know where the model that is trained is an adapter."""
    if not is_adapter(settings.model):
        return
    base = adapter_base(settings.model)
    if settings.adapter is None or settings.lora is None:
        yield f"{settings.model}: this adapter is written into its base, {base}, all of whose weights are then trained"
        return
    layers = ", ".join(settings.lora.layers)
    yield f"{settings.model}: this adapter (rank {settings.lora.r}, on {layers}) is trained further, on its base {base}"


def _read(folder: str) -> AdapterConfig:
    try:
        return msgspec.json.decode((Path(folder) / ADAPTER).read_bytes(), type=AdapterConfig)
    except msgspec.DecodeError as error:
        what = f"its {ADAPTER} cannot be read: {error}"
        raise RecipeError(what, where=folder, fix="give the folder that PEFT or seqtune saved an adapter in") from None


def _require_fit(settings: TrainSettings, config: AdapterConfig) -> None:
    """Raises RecipeError for an adapter that this method cannot go on from."""
    if config.peft_type != "LORA":
        raise _unfit(settings, f"is an adapter of the kind {config.peft_type}, and only LORA is trained further here")
    if not (Path(settings.model) / WEIGHTS).is_file():
        raise _unfit(settings, f"holds no {WEIGHTS}, and weights in no other form are read")
    if is_adapter(adapter_base(settings.model)):
        raise _unfit(settings, "was trained on another adapter")
    if settings.method != "dpo":
        return
    if config.bias != "none":
        raise _unfit(settings, f"trains biases of its base (bias {config.bias!r}), so it cannot stand beside its past")
    if str(config.init_lora_weights).startswith(CHANGES_ITS_BASE):
        how = config.init_lora_weights
        raise _unfit(settings, f"changed its base when it was made ({how!r}), so it cannot stand beside its past")


def _unfit(settings: TrainSettings, what: str) -> RecipeError:
    return RecipeError(
        f"train.model is {settings.model!r}, which {what}",
        fix="write the adapter into its base with PEFT (merge_and_unload), and give the folder of what comes out",
    )


def _refuse_other_shape(adapter: str, given: LoraSettings, own: LoraSettings) -> None:
    """Raises RecipeError for every setting that was given and is not the adapter's own; "all-linear" may be its own."""
    shapes = {"r": (given.r, own.r), "alpha": (given.alpha, own.alpha), "target_modules": (given.layers, own.layers)}
    if given.target_modules == "all-linear":
        del shapes["target_modules"]
    wrong = [
        f"train.lora.{name} is {said} (it has {has})"
        for name, (said, has) in shapes.items()
        if name in given.model_fields_set and said != has
    ]
    if wrong:
        raise RecipeError(
            f"the adapter goes on as it is, and other settings say otherwise: {'; '.join(wrong)}",
            where=adapter,
            fix="leave them out; or, for an adapter of another shape, give a whole model (merge writes one)",
        )
