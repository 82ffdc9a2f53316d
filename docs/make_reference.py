"""Write docs/reference.md from the code: every chain, operation, format, recipe key. `make docs` runs it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import dedent

from seqtune.building.damage import damages
from seqtune.building.gates import gates
from seqtune.building.gold import operations
from seqtune.building.settings import BuildSettings, ChainSettings
from seqtune.building.weaving import chains
from seqtune.data.format import formats
from seqtune.evaluation.settings import EvaluateSettings
from seqtune.evaluation.suite import suites
from seqtune.experiment.settings import ArmSettings, ExperimentSettings
from seqtune.recipe import shipped_recipes
from seqtune.training.settings import LoraSettings, TrainSettings

_ENTRY = re.compile(r"\n(?=\S)")
PAGE = Path(__file__).with_name("reference.md")


def reference() -> str:
    """The page as text."""
    parts = [
        "# Reference\n\nMade by `make docs` from the code; do not edit.",
        "## Chains\n\n`--chain NAME`, or steps joined by `+`.",
        _table(
            ("chain", "what it does", "options"), [(c.name, c.summary, ", ".join(c.options)) for c in chains().values()]
        ),
        "### Options of every chain",
        _arguments(ChainSettings.__doc__),
        *_options((one.name, one.run.__doc__) for one in chains().values()),
        "## The `build:` section of a recipe",
        _arguments(BuildSettings.__doc__),
        "## The `train:` section of a recipe",
        _arguments(TrainSettings.__doc__),
        "### `lora:`",
        _arguments(LoraSettings.__doc__),
        "### What `damages:` may hold\n\nTo the right answer, which makes the rejected one of a pair.",
        _table(("damage", "what it does"), [(d.name, d.summary) for d in damages().values()]),
        "## The `evaluate:` section of a recipe",
        _arguments(EvaluateSettings.__doc__),
        "## The `experiment:` section of a recipe",
        _arguments(ExperimentSettings.__doc__),
        "### Each of the `arms:`",
        _arguments(ArmSettings.__doc__),
        "## Suites\n\n`--suite NAME` or `NAME:PART`; options by `--set evaluate.options.NAME=VALUE`.",
        _table(("suite", "what it asks", "options"), [(s.name, s.summary, ", ".join(s.options)) for s in suites()]),
        *_options((one.name, one.docstring) for one in suites()),
        "## Operations\n\nEach is a chain by its name, too.",
        _table(
            ("operation", "what it does", "asked as"),
            [(o.name, o.summary, o.wordings[0].replace("{it}", "the input")) for o in operations().values()],
        ),
        "## Gates\n\nWhat a teacher's reply must be to pass; `gates: [NAME, ...]` of `seq_instruct` takes only some.",
        _table(("gate", "looks at", "lets pass"), [(g.name, g.on, g.summary) for g in gates().values()]),
        "## Formats that are read",
        _table(("format", "columns", "what it is"), [(n, ", ".join(c), s) for n, (c, s) in formats().items()]),
        "## Recipes that come along\n\n`seqtune build NAME --from FILE`",
        _table(("recipe", "what it does"), list(shipped_recipes().items())),
    ]
    return "\n\n".join(parts) + "\n"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _options(entries: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    """A heading and a table for each chain or suite that says what its options do."""
    for name, docstring in entries:
        if "Args:\n" in (docstring or ""):
            yield f"### Options of `{name}`"
            yield _arguments(docstring)


def _arguments(docstring: str | None) -> str:
    """The "Args:" of a docstring as a table."""
    _, _, listed = (docstring or "").partition("Args:\n")
    listed = listed.partition("    Raises:\n")[0]
    entries = _ENTRY.split(dedent(listed).strip())
    lines = [" ".join(entry.split()).partition(": ") for entry in entries]
    return _table(("key", "what it says"), [(f"`{name.rstrip('_')}`", text) for name, _, text in lines])


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
