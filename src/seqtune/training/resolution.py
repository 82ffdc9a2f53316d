"""The settings of a training as it was asked for: every default filled in, and every fault told at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seqtune.data.example import Example
from seqtune.recipe import Document, check, refuse
from seqtune.training.adapter_folder import is_adapter
from seqtune.training.continuation import with_adapter
from seqtune.training.settings import TrainSettings


def resolve(
    dataset: Iterable[Example] | str | Path, model: str | Path, out: str | Path, options: dict[str, Any]
) -> TrainSettings:
    """The settings of a training, every default filled in.

    Raises:
        RecipeError: a setting that is not known, or cannot be, or does not go with the adapter that the model is.
    """
    source = str(dataset) if isinstance(dataset, (str, Path)) else "rows given in Python"
    values = {"dataset": source, "model": model, "out": out, **options}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    found, problems = check(Document({}), ("train",), plain, TrainSettings)
    refuse(problems)
    assert found
    return (with_adapter(found) if is_adapter(model) else found).resolved()
