"""Suites: items to answer, what they are called, and which scorer says of an answer what is right in it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

import msgspec
import xxhash

from seqtune.building.checking import is_checkable
from seqtune.data.example import Example, prompt_text
from seqtune.data.reader import read
from seqtune.errors import DataError, RecipeError, did_you_mean
from seqtune.evaluation import suites as shipped
from seqtune.evaluation.options import Fitted, fit_options, meant, option_names, parameters_of

GROUP = "group"  # the column of an item's `meta` that says which split it belongs to
ASIDE = "aside"  # a column that is true for items which the figures of the whole suite leave out
LONG = 1024  # tokens of an answer that holds a translation or a line of thought (the paper's limit on MGSM)
GOLD = "gold"  # the column that holds what a scorer compares with, where the output alone does not say it

Maker = Callable[..., "Suite"]


@dataclass(frozen=True)
class Suite:
    """Items and how they are scored.

    Args:
        name: with what was chosen of it, e.g. "xquad:zh".
        items: an Example each; its split stands in `meta["group"]`, and what is right in `steps`, `output`, `meta`.
        scorer: the name of the program that scores them (see scoring.py); "" where only a judge can.
        headline: the measure that stands for the whole, e.g. "strict".
        max_new_tokens: where answers are stopped, if nothing else is asked for.
        notes: what the user is to know of them, e.g. rows of the source that are no items.
        options: that it was made with, so that it can be made again.
    """

    name: str
    items: tuple[Example, ...]
    scorer: str = "steps"
    headline: str = "strict"
    max_new_tokens: int = 256
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def hash(self) -> str:
        """The same for the same items in the same order, with the same right answers, scored in the same way."""
        found = xxhash.xxh3_128(self.scorer.encode())
        for item in self.items:
            found.update(msgspec.json.encode([item.id, item.steps, item.meta], order="sorted"))
        return found.hexdigest()


_MAKERS: dict[str, Maker] = {}


def suite(name: str) -> Callable[[Maker], Maker]:
    """Register what makes a suite: `@suite("mine")` over a function that returns a Suite.

    Its first parameter may be `part`, what the user wrote after the colon ("zh" of "xquad:zh"), and another `data`,
    the file or folder given by --data; all others are options, whose annotations say what may be given.
    """

    def register(make: Maker) -> Maker:
        _MAKERS[name] = make
        return make

    return register


def suite_names() -> list[str]:
    """All that can be asked for by name."""
    return sorted({*_shipped(), *_MAKERS})


class SuiteEntry(NamedTuple):
    """A suite that can be asked for: its name, what it asks in a line, its options, and what is said of them."""

    name: str
    summary: str
    options: tuple[str, ...]
    docstring: str


def suites() -> list[SuiteEntry]:
    """All suites; imports each."""
    makers = {name: _maker(name) for name in suite_names()}
    said = {name: (make.__doc__ or "").strip() for name, make in makers.items()}
    return [
        SuiteEntry(name, said[name].partition("\n")[0], option_names(make), make.__doc__ or "")
        for name, make in makers.items()
    ]


def import_suite(name: str) -> None:
    """Import the shipped module of a suite, which registers it and its scorer; it may need packages others do not."""
    if name in _shipped():
        import_module(f"seqtune.evaluation.suites.{_shipped()[name]}")


@cache
def _shipped() -> dict[str, str]:
    """Suite -> its module, which is named like it: but no module is named like a public function."""
    modules = [module.name for module in iter_modules(shipped.__path__)]
    return {("chains" if module == "generated_chains" else module): module for module in modules}


def open_suite(spec: str | Path, *, data: str | Path | None = None, options: Mapping[str, Any] | None = None) -> Suite:
    """A suite by its name ("chains", "xquad:zh"), or the rows of a file.

    Args:
        spec: the name, with its part after a colon where it has some, or a file of rows.
        data: where a suite's own data lie, where it reads some.
        options: of the suite.

    Raises:
        RecipeError: no such suite or file, or an option that it does not have or cannot take.
        DataError: data that hold no item.
    """
    fitted = check_options(spec, data=data, options=options)
    if _name_of(spec) not in suite_names():
        return rows_suite(spec)
    return replace(_maker(_name_of(spec))(**fitted.given), options=fitted.all)


def check_options(
    spec: str | Path,
    *,
    data: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    settings: Iterable[str] = (),
) -> Fitted:
    """What a suite would be made with; nothing is read yet.

    Args:
        spec, data, options: see `open_suite`.
        settings: other names that may have been meant by one that is no option.

    Raises:
        RecipeError: no such suite or file, or an option that it does not have or cannot take.
    """
    name, _, part = str(spec).partition(":")
    if name in suite_names():
        return _fitted(name, {"part": part, "data": data}, options or {}, settings)
    if not Path(spec).is_file():
        raise RecipeError(
            f"there is no suite {str(spec)!r}{did_you_mean(name, suite_names())}",
            fix=f"choose from {', '.join(suite_names())}, or give a file of rows with steps",
        )
    for unfit in [*(["data"] if data else []), *(options or {})]:
        what = f"a file of rows has no option {unfit!r}{meant(unfit, (), settings)}"
        raise RecipeError(what, where=str(spec), fix="leave it out")
    return Fitted({}, {})


def _fitted(name: str, places: Mapping[str, Any], options: Mapping[str, Any], settings: Iterable[str]) -> Fitted:
    """The options of a suite, among them its part and its data, where they were given."""
    given = {key: value for key, value in places.items() if value}
    for key, value in given.items():
        if key not in option_names(_maker(name)):
            raise RecipeError(f"suite {name!r} takes no {key} ({str(value)!r})", fix="leave it out")
    return fit_options(name, parameters_of(_maker(name)), {**options, **given}, settings=settings)


def by_length(suite: Suite, bins: int) -> Suite:
    """The same items, their splits told apart by the length of their prompts: so many ranges with as many items each.

    Raises:
        RecipeError: fewer than two ranges, or more than items.
    """
    if not 1 < bins <= len(suite.items):
        raise RecipeError(
            f"by_length is {bins}", where=f"suite {suite.name!r}", fix=f"give 2 to {len(suite.items)}, the items"
        )
    lengths = [len(prompt_text(item).split()) for item in suite.items]
    ends = [sorted(lengths)[len(lengths) * (i + 1) // bins - 1] for i in range(bins)]
    ends = sorted(set(ends))
    starts = [min(lengths), *[end + 1 for end in ends[:-1]]]
    names = [f"{start} to {end} words" for start, end in zip(starts, ends, strict=True)]
    grouped = [
        msgspec.structs.replace(item, meta={**item.meta, GROUP: names[bisect_left(ends, length)]})
        for item, length in zip(suite.items, lengths, strict=True)
    ]
    items = tuple(sorted(grouped, key=lambda item: names.index(item.meta[GROUP])))
    return replace(suite, items=items, options={**suite.options, "by_length": bins})


def takes_rows(spec: str | Path | Suite) -> bool:
    """Whether a suite's items may be made from rows that were answered already, as its option `rows`."""
    if isinstance(spec, Suite) or _name_of(spec) not in suite_names():
        return False
    return "rows" in parameters_of(_maker(_name_of(spec)))


def _name_of(spec: str | Path) -> str:
    return str(spec).partition(":")[0]


def _maker(name: str) -> Maker:
    if name not in _MAKERS:  # the user's own may stand in the place of a shipped one
        import_suite(name)
    return _MAKERS[name]


def rows_suite(path: str | Path) -> Suite:
    """The rows of a file as a suite; rows without steps are left out, and dialogues, whose answers stand in many turns.

    Where some steps can be checked by no program, the headline without a judge is the share of those that can.

    Raises:
        DataError: no row of it can be an item.
    """
    rows = [*read(str(path))]
    items = {example.id: example for example in rows if example.steps and not example.turns}
    if not items:
        raise DataError("no row has steps to check", where=str(path), fix="give a file that `seqtune build` wrote")
    left_out = Counter(_why_no_item(example) for example in rows)
    notes = [f"{count:,} rows are no items: {why}" for why, count in left_out.items() if why]
    if twice := left_out[""] - len(items):
        notes.append(f"{twice:,} rows stand there twice and are asked once")
    can = {is_checkable(step) for item in items.values() for step in item.steps}
    scorer, headline = ("checkable_steps", "checked") if can == {True, False} else ("steps", "strict")
    return Suite(str(path), tuple(items.values()), scorer, headline, notes=tuple(notes))


def _why_no_item(example: Example) -> str:
    return "they have no steps" if not example.steps else "they are dialogues" if example.turns else ""
