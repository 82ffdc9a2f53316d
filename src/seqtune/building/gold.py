"""Verifiable operations: one short decorated function each, from a text to the right result.

A program computes the result, so the step's gold answer is right by construction, and a program can check it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Literal, TypeVar

import msgspec

from seqtune.errors import RecipeError, did_you_mean

Kind = Literal["text", "lines", "number"]
Item = TypeVar("Item")


class Skip(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer "not this row, because ...".

    Args:
        reason: counted and shown, so word it the same for every row.
        detail: what exactly is wrong with this one.
        draft: what a teacher made of the row, where that was refused.
    """

    reason: str
    detail: str = ""
    draft: str = ""


@dataclass(frozen=True)
class Operation:
    """What `@operation` makes of a function.

    Args:
        name: the function's name.
        run: the function: `(text, **args)` -> the right result, or a Skip where it does not fit the text.
        wordings: ways to ask for it; `{it}` stands for the text, other names for the drawn args.
        label: what its part of an answer is called, e.g. "Word count".
        gives: what the result is; an operation on a result is only tried where `takes` names its kind.
        takes: the kinds of text that it makes sense on.
        draw: picks its args for a text, where it has any: `(text, rng)` -> args or a Skip.
        same: says whether an answer equals the expected result.
        version: raise it when the result changes; it stands in the lineage.
    """

    name: str
    run: Callable[..., str | Skip]
    wordings: tuple[str, ...]
    label: str
    gives: Kind
    takes: frozenset[Kind]
    draw: Callable[[str, Random], dict[str, Any] | Skip] | None
    same: Callable[[str, str], bool]
    version: int
    summary: str


_operations: dict[str, Operation] = {}


def same_text(answer: str, expected: str) -> bool:
    """Equal but for blanks at the ends of lines and of the whole."""
    return _trimmed(answer) == _trimmed(expected)


def same_word(answer: str, expected: str) -> bool:
    """Equal but for case, quotation marks around it and a full stop after it: for answers of one word."""
    return _bare(answer).casefold() == _bare(expected).casefold()


def same_number(answer: str, expected: str) -> bool:
    """Equal by value: "1200" is "1,200", "1200.0" and "$1,200."; "1200 words" is not a number."""
    value = _value(answer)
    return value is not None and value == _value(expected)


def same_list(answer: str, expected: str) -> bool:
    """The same items in the same order, one a line (bullets are ignored) or on one line with commas between them."""
    return any(a == b for a in _readings(answer, _bare) for b in _readings(expected, _bare))


def same_numbers(answer: str, expected: str) -> bool:
    """As `same_list`, but the items are numbers and equal by value."""
    return any(a == b and None not in a for a in _readings(answer, _value) for b in _readings(expected, _value))


def same_json(answer: str, expected: str) -> bool:
    """Equal as JSON values, whatever the blanks; a code fence around the answer is ignored."""
    try:
        return _canonical(answer) == _canonical(expected)
    except (ValueError, RecursionError):  # not JSON, or nested deeper than any sane answer
        return False


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _bare(item: str) -> str:
    return item.strip().rstrip(".,;").strip("\"'“”‘’`*").rstrip(".,;").strip()


_NUMBER = re.compile(r"[$€£]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?) ?[%€]?")
_BULLET = re.compile(r"\s*(?:[-*•]|[0-9]+[.)])\s+")


def _value(item: str) -> Decimal | None:
    number = _NUMBER.fullmatch(_bare(item))
    return Decimal(number[1].replace(",", "")) if number else None


def _readings(text: str, item: Callable[[str], Item]) -> list[list[Item]]:
    """The items of a list: its lines, or, on a single line, what stands between commas."""
    lines = [line for line in text.splitlines() if line.strip()]
    if all(map(_BULLET.match, lines)):
        lines = [_BULLET.sub("", line, count=1) for line in lines]
    readings = [lines] if len(lines) != 1 else [lines, re.split(r",\s+", lines[0]), lines[0].split(",")]
    return [[item(part) for part in reading] for reading in readings]


def _canonical(text: str) -> str:
    fenced = re.fullmatch(r"```(?:json)?\n(.*)\n```", text.strip(), re.DOTALL)
    return json.dumps(json.loads(fenced[1] if fenced else text), sort_keys=True)


def operation(
    *wordings: str,
    label: str,
    gives: Kind = "text",
    takes: tuple[Kind, ...] = ("text", "lines"),
    draw: Callable[[str, Random], dict[str, Any] | Skip] | None = None,
    same: Callable[[str, str], bool] = same_text,
    version: int = 1,
) -> Callable[[Callable[..., str | Skip]], Callable[..., str | Skip]]:
    """Register a function `text -> result` as an operation that chains can use by its name.

    Args: see `Operation`. The function itself stays callable as it was.

    Raises:
        RecipeError: no wording, a wording without `{it}`, or a name that is taken by another module's operation.
    """

    def register(run: Callable[..., str | Skip]) -> Callable[..., str | Skip]:
        name = run.__name__
        if not wordings or any("{it}" not in wording for wording in wordings):
            raise RecipeError(
                f"operation {name!r}: every wording must hold the place {{it}}, and there must be one",
                fix='for example @operation("count the words in {it}", label="Word count")',
            )
        known = _operations.get(name)
        if known and known.run.__module__ != run.__module__:
            raise RecipeError(
                f"operation {name!r} is already defined in {known.run.__module__}", fix="give the function another name"
            )
        summary = (run.__doc__ or wordings[0].replace("{it}", "the input")).strip().splitlines()[0]
        _operations[name] = Operation(name, run, wordings, label, gives, frozenset(takes), draw, same, version, summary)
        return run

    return register


def operations() -> Mapping[str, Operation]:
    """All operations by name, the shipped ones and your own."""
    from seqtune.building import bank  # noqa: F401  (importing it registers the shipped ones)

    return _operations


def find_operation(name: str) -> Operation:
    """The operation of that name.

    Raises:
        RecipeError: there is none; near names are suggested.
    """
    if found := _operations.get(name) or operations().get(name):
        return found
    raise RecipeError(f"no operation is called {name!r}{did_you_mean(name, operations())}", fix="seqtune ls operations")
