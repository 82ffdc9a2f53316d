"""YAML recipes <-> strict models: an unknown key is an error with its line and "did you mean"; every error at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from seqtune.errors import RecipeError, did_you_mean, shorten

SECTIONS = ("name", "build", "train", "evaluate", "experiment")

Location = tuple[str | int, ...]


class Strict(BaseModel):
    """A model that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=False)


Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """A recipe as it was written: its values, where they stand, and what `--set` and the command line put over them."""

    values: dict[str, Any]
    source: str = "options"
    lines: Mapping[Location, int] = field(default_factory=dict)
    given: Mapping[Location, str] = field(default_factory=dict)

    def place(self, location: Location) -> str:
        """Where a value stands: "recipe.yaml:7", or "--set build.seed=x"."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.given:
                return self.given[location[:end]]
            if location[:end] in self.lines:
                return f"{self.source}:{self.lines[location[:end]]}"
        return self.source

    def add(self, section: str, options: Mapping[str, Any]) -> None:
        """Put options over a section's; one that is no mapping stays as it is, for `check_sections` to refuse."""
        own = self.values.get(section)
        if own is None or isinstance(own, dict):
            self.values[section] = {**(own or {}), **options}


def read_recipe(path: str | Path) -> Document:
    """Read a YAML 1.2 recipe.

    Raises:
        RecipeError: no such file, not YAML, not a mapping, a key given twice, or an unknown section.
    """
    path = _find(Path(path))
    try:
        tree = YAML(typ="rt").load(path.read_text("utf-8-sig"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise RecipeError(f"not valid YAML: {error.problem}", where=where, fix="mend that line") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"not valid YAML: {shorten(str(error))}", where=str(path)) from None
    if not isinstance(tree, CommentedMap):
        raise RecipeError(
            f"a recipe is a mapping, this is {type(tree).__name__}", where=str(path), fix="start with 'build:'"
        )
    lines: dict[Location, int] = {}
    return Document(_plain(tree, (), lines), str(path), lines)


def _find(path: Path) -> Path:
    """The file of that name, or the shipped recipe."""
    shipped = Path(str(resources.files("seqtune.recipes"))) / f"{path}.yaml"
    for candidate in (path, shipped):
        if candidate.is_file():
            return candidate
    near = [str(p) for p in sorted(path.parent.glob("*.y*ml"))] if path.parent.is_dir() else []
    hint = did_you_mean(str(path), [*near, *shipped_recipes()])
    raise RecipeError(f"there is no recipe file {str(path)!r}{hint}", fix="seqtune ls recipes shows those shipped")


def _plain(node: Any, location: Location, lines: dict[Location, int]) -> Any:
    """The values without ruamel's types; notes the line of each."""
    if isinstance(node, CommentedMap):
        lines.update({(*location, key): node.lc.key(key)[0] + 1 for key in node})
        return {key: _plain(value, (*location, key), lines) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        lines.update({(*location, i): node.lc.item(i)[0] + 1 for i in range(len(node))})
        return [_plain(value, (*location, i), lines) for i, value in enumerate(node)]
    return node


def put(document: Document, sets: Sequence[str]) -> Document:
    """The document with `--set build.seed=7` values over it; the value is read as YAML.

    Raises:
        RecipeError: not of the form key=value, or a path through something that is no mapping or list.
    """
    values, given = _copy(document.values), dict(document.given)
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise RecipeError(f"--set {text!r} is not of the form key=value", fix="for example --set build.seed=7")
        keys: list[str | int] = [int(key) if key.isdecimal() else key for key in path.split(".")]
        _put_value(values, keys, _parse_value(text, value), text)
        given[tuple(keys)] = f"--set {text}"
    return Document(values, document.source, document.lines, given)


def _copy(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copy(value) for key, value in node.items()}
    return [_copy(value) for value in node] if isinstance(node, list) else node


def _parse_value(text: str, value: str) -> Any:
    try:
        return _plain(YAML(typ="rt").load(value), (), {})
    except YAMLError:
        raise RecipeError(f"--set {text!r}: {value!r} is not valid YAML", fix="quote it") from None


def _put_value(values: Any, keys: list[str | int], value: Any, text: str) -> None:
    node = values
    for key in keys[:-1]:
        if isinstance(node, dict):
            node = node.setdefault(key, {})
        elif isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
        else:
            raise RecipeError(f"--set {text!r}: there is no {key!r} to go into", fix="count lists from 0")
    last = keys[-1]
    if isinstance(node, dict) or (isinstance(node, list) and isinstance(last, int) and last < len(node)):
        node[last] = value  # type: ignore[index]
    else:
        raise RecipeError(f"--set {text!r}: there is no {last!r} to set", fix="count lists from 0")


def check_sections(document: Document) -> list[str]:
    """What is wrong with the top level: keys that are no section, and sections that are no mapping."""
    unknown = [
        f"{document.place((key,))}: unknown section {key!r}{did_you_mean(str(key), SECTIONS)}"
        f" (known: {', '.join(SECTIONS)})"
        for key in document.values
        if key not in SECTIONS
    ]
    return unknown + [
        f"{document.place((name,))}: {name} is a mapping, this is {shorten(repr(value))}"
        for name in SECTIONS[1:]
        if (value := document.values.get(name)) is not None and not isinstance(value, dict)
    ]


def check(document: Document, location: Location, value: Any, model: type[Model]) -> tuple[Model | None, list[str]]:
    """The value as a strict model, and everything that is wrong with it, each with its place.

    Args:
        document: where the value stands, for the places.
        location: its path there, e.g. ("build", "chains", 0).
        value: the value as read.
        model: the model it must fit.
    """
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        return None, [_say(document, location, value, model, one) for one in error.errors(include_url=False)]


def _check_section(document: Document, section: str, model: type[Model]) -> tuple[Model | None, list[str]]:
    value = document.values[section]
    return check(document, (section,), value, model) if isinstance(value, dict) else (None, [])


def _say(document: Document, location: Location, value: Any, model: type[BaseModel], detail: Any) -> str:
    *above, key = detail["loc"] or ("",)
    known = _known_keys(model)
    inside = (*location, *_written(above, value, known))
    if detail["type"] == "extra_forbidden":
        near = did_you_mean(str(key), _known_keys(model, inside[len(location) :]))
        return f"{document.place((*inside, key))}: unknown key {key!r} in {_named(inside) or 'the recipe'}{near}"
    if detail["type"] == "missing":
        return f"{document.place(inside)}: {_named((*inside, key))} is missing"
    whole = (*location, *(_written(detail["loc"], value, known) or detail["loc"]))
    message = detail["msg"].removeprefix("Value error, ")
    return f"{document.place(whole)}: {_named(whole)} = {shorten(detail['input'])}: {message[0].lower()}{message[1:]}"


def _named(location: Location) -> str:
    return ".".join(map(str, location))


def _written(loc: Iterable[str | int], value: Any, known: Sequence[str]) -> Location:
    """The keys of an error's path, without what pydantic adds for the members of a union ("str", "list[str]").

    Args:
        loc: as pydantic gives it.
        value: that it is about; whatever is a key in it was written by the user.
        known: the keys of the model, which need not be written.
    """
    kept: list[str | int] = []
    for part in loc:
        if isinstance(part, int) or (isinstance(value, dict) and part in value) or (not kept and part in known):
            kept.append(part)
            value = _at(value, part)
    return tuple(kept)


def _at(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return None


def _known_keys(model: type[BaseModel], inside: Location = ()) -> list[str]:
    """The keys of a model, or of one that stands in it."""
    fields = {info.alias or name: info for name, info in model.model_fields.items()}
    if not inside:
        return [*fields]
    annotation = fields[str(inside[0])].annotation if inside[0] in fields else None
    inner = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, BaseModel)]
    return _known_keys(inner[0], inside[1:]) if inner else []


def options_model(name: str, parameters: Iterable[inspect.Parameter], base: type[Strict] = Strict) -> type[Strict]:
    """A strict model of keyword parameters: what a function takes is what a recipe may say."""
    fields: dict[str, Any] = {
        p.name: (p.annotation, ... if p.default is inspect.Parameter.empty else p.default) for p in parameters
    }
    return create_model(name, __base__=base, **fields)


def section_options(
    section: str, model: type[Strict], recipe: str | Path | None, sets: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What a function is to be called with: a recipe's section, with `--set` and other options over it.

    Args:
        section: the section, e.g. "train".
        model: what it may say.
        recipe: a YAML file, or None.
        sets: "train.seed=7" and the like.
        options: over the recipe's; those that are None say nothing.

    Raises:
        RecipeError: with every problem at once.
    """
    document = read_recipe(recipe) if recipe else Document({})
    document.add(section, {name: value for name, value in options.items() if value is not None})
    document = put(document, sets)
    found, problems = _check_section(document, section, model)
    refuse([*check_sections(document), *problems])
    return {} if found is None else {name: getattr(found, name) for name in found.model_fields_set}


def refuse(problems: Sequence[str]) -> None:
    """Raise one error that lists every problem; nothing where there is none."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError(f"{count} in the recipe:\n  " + "\n  ".join(problems))


def write_recipe(values: Mapping[str, Any], path: Path) -> None:
    """Write a resolved recipe as YAML that `read_recipe` reads back equal."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(dict(values), file)


def shipped_recipes() -> dict[str, str]:
    """The recipes that come with seqtune: name -> the comment in their first line."""
    folder = resources.files("seqtune.recipes")
    found = {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    return {name: found[name].read_text("utf-8").partition("\n")[0].lstrip("# ") for name in sorted(found)}
