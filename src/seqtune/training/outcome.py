"""What a training came to: its figures, and the run.json that they stand in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from seqtune.data.folder import read_summary, versions
from seqtune.errors import RunFolderError
from seqtune.training import processes
from seqtune.training.checkpoints import File, fault_of_files, files_in, losses_until
from seqtune.training.loss import Loss
from seqtune.training.model import PACKAGES, TRAINERS, Loaded, parameters_of
from seqtune.training.plan import Plan
from seqtune.training.planning import plan_figures
from seqtune.training.preferring import figures_after
from seqtune.training.rows import Rendered
from seqtune.training.settings import TrainSettings


@dataclass(frozen=True)
class Training:
    """What a training made.

    Args:
        out: the run folder: model/, losses.jsonl, unused.jsonl, run.json, and adapter/ where one was merged.
        model: the folder of the trained model (or adapter), its tokenizer and its card, which transformers loads.
        parameters: weights of the model, adapter included; trained_parameters: those of them that were trained.
        rows: rows (pairs, questions) that were trained on; unused: rows of which nothing was; split: rows that lost
            their last turns.
        steps: optimiser steps.
        tokens: tokens seen, prompts and answers together, padding not counted; of dpo those of both answers, of grpo
            those of every try.
        trained_tokens: those of them that the loss was on.
        padding: share of slots that held padding; 0 for grpo, whose batches are as long as its tries become.
        packed: whether rows were packed into blocks; unfilled: share of the blocks' room that no row was in.
        chains: share of rows with two steps or more, of each epoch.
        processes: that trained together.
        resumed: the step that this run went on from after it was killed; 0 for none.
        losses: what was said on the way, as in losses.jsonl.
        seed: of the weights (where they were made here) and of the order of rows.
        wall_s: how long it took from the first step until the model was there, of the last part where it was killed on
            the way; cpu_s: processor seconds of all threads in that time.
        startup_s: how long it took before: importing torch, reading the model, rendering the rows.
    """

    out: Path
    model: Path
    parameters: int
    trained_parameters: int
    rows: int
    unused: int
    split: int
    steps: int
    tokens: int
    trained_tokens: int
    padding: float
    packed: bool
    unfilled: float
    chains: tuple[float, ...]
    processes: int
    resumed: int
    losses: tuple[Loss, ...]
    seed: int
    wall_s: float
    cpu_s: float
    startup_s: float = 0.0


def outcome_of(
    settings: TrainSettings,
    loaded: Loaded,
    rendered: Rendered[Any],
    plan: Plan,
    losses: Sequence[Loss],
    resumed: int,
    wall_s: float,
    cpu_s: float,
    startup_s: float,
) -> Training:
    """The figures of a training that is over."""
    folder = Path(settings.out)
    parameters, trained_parameters = parameters_of(loaded.model)
    return Training(
        out=folder,
        model=folder / "model",
        parameters=parameters,
        trained_parameters=trained_parameters,
        **{**plan_figures(settings, rendered, plan), **figures_after(settings, rendered.rows, plan, losses)},
        packed=plan.form is not None,
        processes=processes.count(),
        resumed=resumed,
        losses=tuple(losses),
        seed=settings.seed,
        wall_s=wall_s,
        cpu_s=cpu_s,
        startup_s=startup_s,
    )


def summary_of(training: Training, settings: TrainSettings, fingerprint: str) -> dict[str, Any]:
    """What run.json says, the files of the model among it; it is written last, so a killed run never looks finished."""
    import torch

    result = msgspec.to_builtins(training, enc_hook=str)
    del result["losses"]  # they have a file of their own
    head = {"command": "train", "fingerprint": fingerprint, "finished": True}
    tail = {
        "threads": torch.get_num_threads(),
        "versions": versions(*PACKAGES, *TRAINERS),
        "files": files_in(training.model),
    }
    return {**head, "settings": settings.model_dump(mode="json"), **result, **tail}


def finished_training(folder: Path, fingerprint: str, tell: Callable[[str], object] = str) -> Training | None:
    """The training that stands in a folder, if it is this one, came to its end, and its model is still whole.

    Args:
        folder: of the run.
        fingerprint: of the training that is asked for.
        tell: is told of a model that is not what was saved any more.
    """
    try:
        summary = read_summary(folder)
        if summary.get("fingerprint") != fingerprint:
            return None
        if fault := _fault(folder / "model", msgspec.convert(summary.get("files", {}), dict[str, File])):
            tell(f"{folder / 'model'}: {fault}; the training was finished, and its model is made again")
            return None
        places = {"out": folder, "model": folder / "model", "losses": ()}
        done = msgspec.convert({**summary, **places}, Training)
        return replace(done, losses=tuple(losses_until(folder / "losses.jsonl", done.steps)))
    except (RunFolderError, msgspec.DecodeError, msgspec.ValidationError):
        return None  # what cannot be read is made again


def _fault(model: Path, files: dict[str, File]) -> str | None:
    """What is wrong with a saved model: weights that are others, or a file that is gone or can be read no more.

    Its card and its configuration may be edited by whoever uses it.
    """
    weights = {name: file for name, file in files.items() if name.endswith(".safetensors")}
    if not weights and not any(model.glob("*.safetensors")):
        return "it has no weights"
    others = (fault for name in files if name.endswith(".json") and (fault := _fault_of_json(model / name)))
    return next(others, None) or fault_of_files(model, weights)


def _fault_of_json(path: Path) -> str | None:
    try:
        msgspec.json.decode(path.read_bytes())
    except OSError as error:
        return f"its {path.name} cannot be read ({error.strerror})"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"its {path.name} cannot be read ({error})"
    return None
