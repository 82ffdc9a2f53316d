"""What an evaluation was asked for: its settings with every default, and the options of its suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqtune.errors import RecipeError
from seqtune.evaluation.answers import model_name
from seqtune.evaluation.options import meant
from seqtune.evaluation.settings import EvaluateSettings
from seqtune.evaluation.standard import HARNESS, check_harness_options
from seqtune.evaluation.suite import Suite, check_options
from seqtune.recipe import Document, check, refuse
from seqtune.training.model import Loaded

OF_SUITE = ("steps", "per_length", "seed", "singles", "told")  # options of a suite that are settings as well
FIELDS = tuple(EvaluateSettings.model_fields)
SETTINGS = tuple([name for name in FIELDS if name not in OF_SUITE])


def resolve(
    model: str | Path | Loaded | None, suite: str | Path | Suite, out: str | Path, options: Mapping[str, Any]
) -> tuple[EvaluateSettings, dict[str, Any]]:
    """The settings of an evaluation, every default filled in, and the options of its suite.

    Args:
        model, suite, out, options: see `evaluate`. What is a model or a suite already is in the settings by its name.

    Raises:
        RecipeError: a name that is neither a setting nor an option of the suite, or a value that neither can take.
    """
    given = {name: value for name, value in options.items() if name in SETTINGS}
    own = {name: value for name, value in options.items() if name not in SETTINGS and not _is_unset(name, value)}
    if isinstance(given.get("options"), Mapping):  # else the settings refuse them
        own = {**given.pop("options"), **own}
    settings = _checked({"model": model, "suite": suite, "out": out, **given})
    _check_own(suite, settings, own)
    return settings, own


def _is_unset(name: str, value: object) -> bool:
    """Whether a recipe says `null` where the suite has a default of its own."""
    return name in OF_SUITE and value is None


def _checked(values: Mapping[str, Any]) -> EvaluateSettings:
    plain = {name: _plain(value) for name, value in values.items()}
    found, problems = check(Document({}), ("evaluate",), plain, EvaluateSettings)
    refuse(problems)
    assert found
    return found


def _plain(value: object) -> object:
    """As a recipe would say it."""
    if isinstance(value, Loaded):
        return model_name(value)
    if isinstance(value, Suite):
        return value.name
    return str(value) if isinstance(value, Path) else value


def _check_own(suite: str | Path | Suite, settings: EvaluateSettings, own: Mapping[str, Any]) -> None:
    """Raises RecipeError for what is no option of the suite, and what it cannot take."""
    if isinstance(suite, Suite):
        for name in own:
            what = f"a suite that is made already takes no option {name!r}{meant(name, (), FIELDS)}"
            raise RecipeError(what, where=f"suite {suite.name!r}", fix="leave it out")
    elif settings.suite.startswith(HARNESS):
        check_harness_options(own, settings=FIELDS)
    elif own:
        check_options(suite, data=settings.data, options=own, settings=FIELDS)
