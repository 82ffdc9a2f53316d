"""The model card: what a trained model was made from and how, written from the run itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from seqtune import __version__
from seqtune.data.example import Example
from seqtune.training.adapter_folder import base_of, is_adapter
from seqtune.training.loss import Loss
from seqtune.training.preferring import warnings_after
from seqtune.training.settings import TINY, TrainSettings

# What the card says of the settings; paths and what only concerns this machine stay out.
TOLD = (
    "method", "template", "seed", "epochs", "max_tokens", "learning_rate", "schedule", "warmup", "weight_decay",
    "batch_tokens", "rows_per_step", "accumulate", "packing", "order", "precision", "gradient_checkpointing",
    "max_length", "too_long", "beta", "likelihood", "damages", "answers", "temperature", "max_new_tokens",
)  # fmt: skip
LEARNT = {
    "dpo": "by direct preference optimisation: to prefer their answers to the same ones damaged ({damages})",
    "grpo": "by group-relative policy optimisation: it tried, and was rewarded for the share of checkable steps that "
    "it did in order",
}


def model_card(
    settings: TrainSettings,
    figures: Mapping[str, object],
    examples: Iterable[Example],
    losses: Sequence[Loss],
) -> str:
    """The text of README.md, with the metadata that the hub reads at its top.

    Args:
        settings: resolved.
        figures: by name, e.g. {"rows": 52002}.
        examples: what was trained on, for the counts by chain.
        losses: the run's.
    """
    told = {name: getattr(settings, name) for name in TOLD if getattr(settings, name) is not None}
    told |= {"damages": ", ".join(settings.damages)} if settings.damages else {}
    if settings.lora:
        lora = {**settings.lora.model_dump(), "target_modules": ", ".join(settings.lora.layers)}
        told |= {f"lora {name}": value for name, value in lora.items()}
    told |= {f"trl {name}": value for name, value in settings.trl.items()}
    counts = Counter(chain_name(example) for example in examples)
    parts = [
        _metadata(settings),
        "# A model trained by seqtune",
        f"{_origin(settings)} It was trained by [seqtune](https://pypi.org/project/seqtune/) {__version__} on "
        f"`{shown_path(settings.dataset)}`, {_learnt(settings)}.",
        "## Rows by chain\n\n" + _table(("chain", "rows"), counts.most_common()),
        "## Run\n\n" + _table(("", ""), figures.items()) + f"\n\n{_loss(settings, losses)}",
        "## Settings\n\n" + _table(("setting", "value"), told.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _learnt(settings: TrainSettings) -> str:
    how = LEARNT.get(settings.method, "on the answers and their end tokens only")
    return how.format(damages=", ".join(name.replace("_", " ") for name in settings.damages or ()))


def chain_name(example: Example) -> str:
    """What made an example of a row that was read: "repeat", "before, after", or "as read"."""
    return ", ".join(origin.transform for origin in example.origin if origin.transform != "read") or "as read"


def shown_path(path: str) -> str:
    """A path without what it says of the machine that it is on: whole where it is relative, else its last part."""
    given = Path(path)
    return given.name if given.is_absolute() or ".." in given.parts else path


def _origin(settings: TrainSettings) -> str:
    if settings.model == TINY:
        return "A small Llama, trained from scratch."
    base, of_hub = base_of(settings.model), _hub_base(settings)
    name = f"[{of_hub}](https://huggingface.co/{of_hub})" if of_hub else f"`{shown_path(base)}`"
    form = "A fine-tune" if _is_whole(settings) else f"A {settings.adapter} adapter"
    start = f", which goes on from the adapter `{shown_path(settings.model)}`" if is_adapter(settings.model) else ""
    return f"{form} of {name}{start}."


def _hub_base(settings: TrainSettings) -> str:
    """The hub id of what the model was made from, "" where that is a folder of this machine."""
    base = base_of(settings.model)
    return "" if base == TINY or Path(base).exists() else base


def _metadata(settings: TrainSettings) -> str:
    base = _hub_base(settings)
    library = "transformers" if _is_whole(settings) else "peft"
    lines = [f"library_name: {library}", "pipeline_tag: text-generation", "tags:", "- seqtune"]
    return "\n".join(["---", *([f"base_model: {base}"] if base else []), *lines, "---"])


def _is_whole(settings: TrainSettings) -> bool:
    return settings.merge or not settings.adapter


def _table(head: tuple[str, str], lines: Iterable[tuple[str, object]]) -> str:
    rows = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in lines]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *rows])


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _loss(settings: TrainSettings, losses: Sequence[Loss]) -> str:
    if not losses:
        return "No loss was noted."
    first, last = losses[0], losses[-1]
    steps = last.step - (losses[-2].step if len(losses) > 1 else 0)
    over = f"the mean of the last {steps} steps." if steps > 1 else "of that step alone."
    if settings.prefers:
        what = "Share of pairs won over the start" if settings.method == "dpo" else "Mean reward of a try"
        told = f"{what}: {first.score:.3f} at step {first.step}, {last.score:.3f} at step {last.step}, {over}"
        return "\n\n".join([told, *map(_sentence, warnings_after(settings, losses))])
    what = "Loss in nats a trained token"
    return f"{what}: {first.loss:.3f} at step {first.step}, {last.loss:.3f} at step {last.step}, {over}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
