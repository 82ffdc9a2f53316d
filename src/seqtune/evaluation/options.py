"""Options of a suite: what its function takes is what a recipe, a command line or a caller may say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, NamedTuple

import msgspec
from pydantic import ConfigDict

from seqtune.errors import RecipeError, did_you_mean
from seqtune.recipe import Document, Strict, check, options_model

OBJECTS = {"maker": "operations", "rows": "responses"}  # options that only Python can give -> what else is said


class _Options(Strict):
    """Options of any type: what pydantic does not know must be an instance of it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)


class Fitted(NamedTuple):
    """Options that fit a function.

    Args:
        given: those to call it with.
        all: with the defaults of the others, as JSON holds them; objects are left out.
    """

    given: dict[str, Any]
    all: dict[str, Any]


def option_names(make: Callable[..., Any]) -> tuple[str, ...]:
    """What a recipe or a command line may say to a function."""
    return tuple([name for name in parameters_of(make) if name not in OBJECTS])


def meant(name: str, known: Iterable[str], settings: Iterable[str]) -> str:
    """What may have been meant by a name that is no option; nothing else where it is the name of a setting."""
    return "" if name in (others := [*settings]) else did_you_mean(name, [*known, *others])


def parameters_of(make: Callable[..., Any]) -> dict[str, Parameter]:
    """What may be said to a function by name, with its types; Any for one that is not told."""
    try:
        found = [*signature(make, eval_str=True).parameters.values()]
    except NameError:  # a type that is imported for type checkers only
        found = [one.replace(annotation=Any) for one in signature(make).parameters.values()]
    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return {
        one.name: one.replace(annotation=Any) if one.annotation is Parameter.empty else one
        for one in found
        if one.kind in named
    }


def fit_options(
    suite: str, parameters: Mapping[str, Parameter], options: Mapping[str, Any], *, settings: Iterable[str] = ()
) -> Fitted:
    """Options as a suite's function takes them, each of the type that its annotation says.

    Args:
        suite: its name.
        parameters: of its function, see `parameters_of`.
        options: by name.
        settings: other names that may have been meant.

    Raises:
        RecipeError: one that it does not have, or values that it cannot take, all of them at once.
    """
    for name in options:
        if name not in parameters:
            known = [one for one in parameters if one not in OBJECTS]
            what = f"suite {suite!r} has no option {name!r}{meant(name, known, settings)}"
            raise RecipeError(what, fix=f"choose from {', '.join(known)}" if known else "leave it out")
    model = options_model(suite, parameters.values(), _Options)
    found, problems = check(Document({}, f"suite {suite!r}"), ("options",), dict(options), model)
    if found is None:
        raise RecipeError("\n  ".join(problems))
    every = found.model_dump(exclude={*OBJECTS}, exclude_none=True)
    return Fitted({name: getattr(found, name) for name in options}, msgspec.to_builtins(every, enc_hook=str))
