"""By what two trainings are known to be the same: their model, settings and rows, wherever these lie."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import xxhash

from seqtune.training.model import model_identity
from seqtune.training.settings import TrainSettings

# Settings that change nothing of the result, besides the rows themselves, which are hashed one by one.
NOT_HASHED = {"dataset", "out", "strict", "overwrite", "push", "save_every", "track", "processes"}
BY_CONTENT = {"model", "tokenizer"}  # wherever they lie


def fingerprint_of(settings: TrainSettings, rows: Iterable[Any]) -> str:
    """The same for the same model, settings and rows (or pairs, by what was done to them) in the same order."""
    found = xxhash.xxh3_128(settings.model_dump_json(exclude=NOT_HASHED | BY_CONTENT).encode())
    for model in (settings.model, settings.tokenizer):
        found.update(f"{model_identity(model) if model else ''}\x1e".encode())
    for row in rows:
        found.update(row.id.encode())
    return found.hexdigest()
