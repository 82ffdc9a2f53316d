"""How long a row may be for the model that is trained: beyond its positions it has learnt nothing, or has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seqtune.errors import RecipeError
from seqtune.training.adapter_folder import base_of
from seqtune.training.model import require_place
from seqtune.training.settings import TrainSettings


class Positions(NamedTuple):
    """How many tokens a model reads, and whether there are no more (learned ones), or it has only not seen more."""

    most: int
    rotary: bool


def within_positions(settings: TrainSettings) -> TrainSettings:
    """Settings whose `max_length`, where nobody gave it, is no more than the model has positions.

    Raises:
        RecipeError: more were asked for, and the model has no way to read them; or there is no such model.
    """
    known = _positions(settings)
    if known is None or settings.max_length <= known.most:
        return settings
    if "max_length" not in settings.model_fields_set:
        return settings.model_copy(update={"max_length": known.most})
    if known.rotary:
        return settings
    raise RecipeError(
        f"train.max_length is {settings.max_length:,}, and the model has {known.most:,} positions",
        where=settings.model,
        fix=f"set it to {known.most}, or leave it out",
    )


def notes_on_length(settings: TrainSettings) -> Iterator[str]:
    """What the user should know of `max_length` and the model."""
    known, usual = _positions(settings), TrainSettings.model_fields["max_length"].default
    if known is None or settings.max_length < known.most:
        return
    if settings.max_length > known.most:
        yield (
            f"{settings.model}: it was made for {known.most:,} tokens, and rows of up to {settings.max_length:,} are"
            " trained: what it makes of later positions, it has to learn from them"
        )
    elif known.most < usual:
        yield f"{settings.model}: rows have up to {known.most:,} tokens, as it has no more positions (max_length)"


def _positions(settings: TrainSettings) -> Positions | None:
    """None where the config says nothing of them, or cannot be read, which is told when the model is."""
    from transformers import AutoConfig

    base = base_of(settings.model)
    if settings.from_scratch:
        return None
    if not Path(base).is_dir():
        require_place(base)
    try:
        config: Any = AutoConfig.from_pretrained(base).get_text_config()
    except (OSError, ValueError, KeyError):
        return None
    most = getattr(config, "max_position_embeddings", None)
    rotary = any(getattr(config, name, None) for name in ("rope_parameters", "rope_theta", "rope_scaling"))
    return Positions(most, rotary) if isinstance(most, int) and most > 0 else None
