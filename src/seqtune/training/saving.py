"""A trained model leaves: whole, as an adapter, or merged, with its card, into the run folder and to the hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from seqtune.data.example import Example
from seqtune.errors import RecipeError, SeqtuneError, shorten
from seqtune.training.adapter_folder import base_of
from seqtune.training.adapters import merge_adapter
from seqtune.training.card import model_card
from seqtune.training.finite import largest_weight, require_finite
from seqtune.training.model import Loaded, in_dtype, published_dtype, save
from seqtune.training.outcome import Training
from seqtune.training.settings import TINY, TrainSettings


def save_training(loaded: Loaded, settings: TrainSettings, training: Training, examples: Iterable[Example]) -> None:
    """Write the model with its card: whole, as an adapter, or both where the adapter is merged."""
    figures = {
        name: getattr(training, name)
        for name in ("parameters", "trained_parameters", "rows", "unused", "split", "steps", "tokens", "trained_tokens")
    }
    base, examples = base_of(settings.model), list(examples)
    card = model_card(settings, figures, examples, training.losses)
    if settings.merge:
        save(loaded, training.out / "adapter", card=model_card(_unmerged(settings), figures, examples, training.losses))
        merged = merge_adapter(base, training.out / "adapter")
        merged.generation_config = loaded.model.generation_config
        loaded = Loaded(merged, loaded.tokenizer)
    if settings.model != TINY and (settings.merge or not settings.adapter):
        loaded = in_dtype(loaded, published_dtype(base))
    # The precision that it was published in may have less room: 16 bits without bfloat16's hold no 70,000.
    whole = loaded.weights or dict(loaded.model.named_parameters())
    require_finite("trained weights", largest_weight(whole.values()), "at the end", settings.learning_rate)
    save(loaded, training.model, card=card)
    if settings.push:
        push(training.model, settings.push)


def _unmerged(settings: TrainSettings) -> TrainSettings:
    """As if the adapter were all that is saved."""
    return settings.model_copy(update={"merge": False})


def require_token(repository: str) -> None:
    """Raises RecipeError before anything is trained where the hub could not be written to."""
    from huggingface_hub import get_token

    if repository.count("/") != 1 or not all(repository.split("/")):
        raise RecipeError(f"train.push is {repository!r}", fix="give NAME/REPOSITORY")
    if not get_token():
        raise RecipeError(f"train.push is {repository!r}, and no token for the hub is here", fix="run 'hf auth login'")


def push(folder: Path, repository: str) -> None:
    """Send the model to the hub, into a private repository where there is none of the name yet."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=repository)
    except (HfHubHTTPError, OSError) as error:
        what = f"the model could not be sent to {repository!r}: {shorten(error, 160)}"
        raise SeqtuneError(what, where=str(folder), fix=f"it is whole there: hf upload {repository} {folder}") from None
