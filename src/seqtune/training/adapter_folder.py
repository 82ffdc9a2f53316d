"""Folders of PEFT's adapters: whether one is, and which whole model it goes back to."""

from __future__ import annotations

import json
from pathlib import Path

ADAPTER = "adapter_config.json"


def is_adapter(model: str | Path) -> bool:
    """Whether a folder holds an adapter of PEFT, and no model of its own."""
    return (Path(model) / ADAPTER).is_file()


def adapter_base(model: str | Path) -> str:
    """What the adapter in a folder was trained on; "" where there is no adapter."""
    file = Path(model) / ADAPTER
    return json.loads(file.read_text("utf-8")).get("base_model_name_or_path") or "" if file.is_file() else ""


def base_of(model: str | Path) -> str:
    """The whole model: what an adapter was trained on, or the model itself."""
    return adapter_base(model) or str(model)
