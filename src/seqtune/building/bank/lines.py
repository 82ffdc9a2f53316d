"""Operations on the lines of a text."""

from __future__ import annotations

import re

from seqtune.building.bank.parts import Parts, alphabetical, has_list_marks, is_long, lines_in, on, remembered
from seqtune.building.gold import Skip, operation, same_list, same_number

_ITEM = r"[^\W\d_][^\W\d_'’-]*(?: [^\W\d_'’-]+){0,2}"
_LIST = re.compile(f"{_ITEM}(?:, {_ITEM})*")


@remembered
def unmarked_lines_in(text: str) -> Parts | Skip:
    """The lines of a text of at most 60 words, where they have no numbers or bullets yet."""
    if is_long(text):
        return Skip("too long to rewrite")
    if has_list_marks(text):
        return Skip("items with list marks")
    lines = lines_in(text)
    headed = not isinstance(lines, Skip) and any(line.endswith(":") for line in lines)
    return Skip("a line that heads others") if headed else lines


@remembered
def listed_items_in(text: str) -> Parts | Skip:
    """The items of a text that is nothing but a list such as "red, light green, blue"."""
    text = text.strip()
    if not _LIST.fullmatch(text):
        return Skip("not a plain list with commas")
    items = tuple(text.split(", "))
    return Skip("not a plain list with commas") if items[-1].startswith(("and ", "or ", "but ")) else items


# --- counting and finding


@operation(
    "count the lines of {it}",
    "say how many lines {it} has",
    "give the number of lines in {it}",
    label="Line count",
    gives="number",
    same=same_number,
)
@on(lines_in, least=2)
def count_lines(lines: Parts) -> str:
    """Counts the lines."""
    return str(len(lines))


@operation(
    "write the first line of {it}",
    "copy the first line of {it}",
    "give only the first line of {it}",
    label="First line",
)
@on(lines_in, least=2)
def first_line(lines: Parts) -> str:
    """Gives the first line."""
    return lines[0]


@operation(
    "write the last line of {it}",
    "copy the last line of {it}",
    "give only the last line of {it}",
    label="Last line",
)
@on(lines_in, least=2)
def last_line(lines: Parts) -> str:
    """Gives the last line."""
    return lines[-1]


# --- order


@operation(
    "write the lines of {it} in reverse order",
    "reverse the order of the lines in {it}",
    "put the lines of {it} in the opposite order",
    label="Reversed lines",
    gives="lines",
)
@on(unmarked_lines_in, least=2)
def reverse_lines(lines: Parts) -> str:
    """Puts the lines in reverse order."""
    return "\n".join(reversed(lines))


@operation(
    "sort the lines of {it} alphabetically",
    "put the lines of {it} in alphabetical order",
    "write the lines of {it} from A to Z",
    label="Sorted lines",
    gives="lines",
)
@on(unmarked_lines_in, least=2)
def sort_lines(lines: Parts) -> str | Skip:
    """Sorts the lines alphabetically; skipped where they are prose or verse."""
    if any(line[-1] in ".,;!?…" for line in lines):
        return Skip("sentences rather than items")
    order = alphabetical(lines)
    if isinstance(order, Skip):
        return order
    return "\n".join(order) if order != list(lines) else Skip("in order already")


# --- dropping


@operation(
    "remove the repeated lines from {it}, keeping the first of each",
    "write {it} with each line only where it first occurs",
    "drop every line of {it} that has occurred before",
    label="Lines without repeats",
    gives="lines",
)
@on(lines_in, least=2)
def remove_duplicate_lines(lines: Parts) -> str | Skip:
    """Keeps each line only where it first occurs."""
    once = dict.fromkeys(lines)
    if len({line.casefold() for line in once}) < len(once):
        return Skip("a repeat that differs in case")
    return "\n".join(once) if len(once) < len(lines) else Skip("no repeated lines")


@operation(
    "drop the first line of {it}",
    "write {it} without its first line",
    "leave out the first line of {it}",
    label="Without the first line",
    gives="lines",
)
@on(unmarked_lines_in, least=2)
def drop_first_line(lines: Parts) -> str:
    """Drops the first line."""
    return "\n".join(lines[1:])


@operation(
    "drop the last line of {it}",
    "write {it} without its last line",
    "leave out the last line of {it}",
    label="Without the last line",
    gives="lines",
)
@on(unmarked_lines_in, least=2)
def drop_last_line(lines: Parts) -> str:
    """Drops the last line."""
    return "\n".join(lines[:-1])


# --- lists


@operation(
    'number the lines of {it} as in "1. "',
    'put "1. ", "2. " and so on in front of the lines of {it}',
    'turn the lines of {it} into a numbered list that begins with "1. "',
    label="Numbered lines",
    gives="lines",
)
@on(unmarked_lines_in, least=2)
def number_lines(lines: Parts) -> str | Skip:
    """Numbers the lines: "1. ", "2. " and so on."""
    if any(line[0].isdigit() for line in lines):
        return Skip("lines that begin with a number")
    return "\n".join(f"{i}. {line}" for i, line in enumerate(lines, 1))


@operation(
    'turn the lines of {it} into a bullet list with "- "',
    'put "- " in front of every line of {it}',
    'make a bullet list of the lines of {it} with "- " before each',
    label="Bullet list",
    gives="lines",
)
@on(unmarked_lines_in, least=2)
def bullet_lines(lines: Parts) -> str:
    """Puts "- " in front of each line."""
    return "\n".join(f"- {line}" for line in lines)


@operation(
    "join the lines of {it} into one line with commas between them",
    "write the lines of {it} as one list with commas in between",
    "put all the lines of {it} on a single line separated by commas",
    label="Joined lines",
)
@on(unmarked_lines_in, least=2)
def join_lines(lines: Parts) -> str | Skip:
    """Joins the lines with commas."""
    if any("," in line or line[-1] in ".,;:!?" for line in lines):
        return Skip("lines with punctuation at the end or commas within")
    return ", ".join(lines)


@operation(
    "write each item of the list in {it} on a line of its own",
    "split the list in {it} at its commas and put one item on each line",
    "put every item of the comma-separated list in {it} on a separate line",
    label="Items",
    gives="lines",
    same=same_list,
)
@on(listed_items_in, least=3)
def split_list(items: Parts) -> str:
    """Writes each item of a list with commas on a line of its own."""
    return "\n".join(items)


@operation(
    "count the items of the list in {it}",
    "say how many items the list in {it} has",
    "give the number of items in the comma-separated list in {it}",
    label="Item count",
    gives="number",
    same=same_number,
)
@on(listed_items_in, least=3)
def count_items(items: Parts) -> str:
    """Counts the items of a list with commas."""
    return str(len(items))


@operation(
    "sort the items of the list in {it} alphabetically",
    "put the items of the list in {it} in alphabetical order",
    "write the comma-separated list in {it} from A to Z",
    label="Sorted items",
    same=same_list,
)
@on(listed_items_in, least=3)
def sort_items(items: Parts) -> str | Skip:
    """Sorts the items of a list with commas alphabetically."""
    order = alphabetical(items)
    return order if isinstance(order, Skip) else ", ".join(order)
