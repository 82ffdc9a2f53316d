"""Several processes that train one model: started by torchrun or accelerate launch, the first of which writes."""

from __future__ import annotations

import os
from typing import Any

from seqtune.errors import RecipeError

SHARDING = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}  # as accelerate launch sets them


def count() -> int:
    """How many the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def sharding() -> str:
    """The name of what spreads the weights over the processes, "" where each has all of them."""
    on = (name for variable, name in SHARDING.items() if os.environ.get(variable, "").lower() in ("true", "1"))
    return next(on, "")


def join(asked: int | None) -> None:
    """Meet the others, so that `wait` can be used.

    Args:
        asked: how many there have to be, where that is known.

    Raises:
        RecipeError: the launcher started another number.
    """
    if asked and asked != count():
        started = f"{count()} process{'es' * (count() > 1)}"
        raise RecipeError(
            f"train.processes is {asked}, and {started} started: the launcher is missing, or did less than it was told",
            fix=f"start it as torchrun --nproc-per-node {asked} -m seqtune train ..., or mend train.processes",
        )
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)  # the launcher's would be taken before train.precision
    if count() > 1:
        _state()


def wait() -> None:
    """Until every process is here."""
    if count() > 1:
        _state().wait_for_everyone()


def to_device(model: Any) -> None:
    """Put a model where this process trains it."""
    model.to(_state().device)


def leave() -> None:
    """Part from the others, at the end of the process."""
    if count() > 1:
        _state().destroy_process_group()


def _state() -> Any:
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())
