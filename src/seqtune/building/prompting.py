"""Prompts: text files with a version, few-shot orders from a small fixed set, and texts that cannot pose as orders.

A prompt file has sections: `=== version N`, `=== head`, any number of `=== shot`, and `=== row`, a Jinja template.
What all rows share comes first, so that a server's prefix cache serves it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import jinja2
import xxhash

# Each order is a prefix that a server's cache has to hold, so there are few of them; each shot takes four places in
# turn, against the position bias that the original met with a shuffle for every row.
ORDERS = 4
SHIPPED = "seqtune.building.prompts"  # the package whose files are read where none is named

_GIVEN = '{% include "given" %}'  # the row's texts in tags, the same in several prompts
_TEMPLATE = re.compile(r"\{[{%]")
_SECTION = re.compile(r"^=== (\w+)(?: (\d+))?\n", re.M)


@dataclass(frozen=True)
class Prompt:
    """A prompt as read from its file.

    Args:
        name: of the file.
        version: raised whenever its text changes; it stands in the lineage of every row that it made.
        head: what it starts with, "" for nothing.
        shots: examples, put into one of `ORDERS` orders.
        opening: the words that its row section always begins with.
        row: what differs from row to row.
    """

    name: str
    version: int
    head: str
    shots: tuple[str, ...]
    opening: str
    row: jinja2.Template

    @property
    def title(self) -> str:
        """Its name and version, for the lineage: "grow 1"."""
        return f"{self.name} {self.version}"


@cache
def find_prompt(name: str, package: str = SHIPPED) -> Prompt:
    """The prompt of that name among the files of a package."""
    found: dict[str, list[str]] = {"head": [], "shot": [], "row": []}
    version = 0
    _, *pieces = _SECTION.split(_text(name, package))
    for kind, number, body in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        if kind == "version":
            version = int(number)
        else:
            found[kind].append(body.strip())
    row = found["row"][0]
    if _GIVEN in row:
        row = row.replace(_GIVEN, _text("given", package).strip())
    opening = _TEMPLATE.split(row)[0]
    return Prompt(name, version, "".join(found["head"]), tuple(found["shot"]), opening, _templates().from_string(row))


def prompt_names(package: str = SHIPPED) -> list[str]:
    """The prompts among the files of a package."""
    files = [entry.name for entry in resources.files(package).iterdir()]
    return sorted(name.removesuffix(".txt") for name in files if name.endswith(".txt") and name != "given.txt")


def render(name: str, order: int = 0, package: str = SHIPPED, **values: object) -> str:
    """The prompt for one row.

    Args:
        name: the prompt's.
        order: of the few-shot examples, 0 to `ORDERS` - 1.
        package: whose files it is among.
        values: what its row section names.
    """
    return _prefix(name, order, package) + find_prompt(name, package).row.render(values)


@cache
def _prefix(name: str, order: int, package: str) -> str:
    prompt = find_prompt(name, package)
    parts = [prompt.head, *in_order(prompt.shots, order)]
    return "".join(f"{part}\n\n" for part in parts if part)


def in_order(shots: Sequence[str], order: int) -> list[str]:
    """The examples in one of the fixed orders: rotated, every second one backwards."""
    start = order * len(shots) // ORDERS
    rotated = [*shots[start:], *shots[:start]]
    return rotated[::-1] if order % 2 else rotated


def few_shot_order(seed: int, row_id: str) -> int:
    """Which of the orders a row gets, whatever its place."""
    return xxhash.xxh3_64_intdigest(f"{seed}\x1e{row_id}\x1efew-shot".encode()) % ORDERS


def tags(instruction: str, input: str = "") -> dict[str, str]:
    """Names for the tags around a row's texts that none of the texts can close."""
    return {"tag": free_tag("instruction", instruction, input), "input_tag": free_tag("input", instruction, input)}


def free_tag(name: str, *texts: str) -> str:
    """The name, with a number where one of the texts holds its closing tag."""
    number, tag = 1, name
    while any(f"</{tag}>" in text for text in texts):
        number += 1
        tag = f"{name}-{number}"
    return tag


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _text(name: str, package: str) -> str:
    return resources.files(package).joinpath(f"{name}.txt").read_text("utf-8")
