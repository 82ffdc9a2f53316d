"""Checklists: the steps of each prompt, made once by a model, read and approved by a person, and frozen in a file.

The file is JSON lines: a head with the hash of what follows, then a line an item. What was approved and then edited is
noticed by its hash.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import xxhash
from msgspec import structs

from seqtune.building.checking import is_checkable
from seqtune.building.gold import find_operation
from seqtune.building.loose_json import values
from seqtune.building.parsing import after_thinking
from seqtune.building.prompting import render
from seqtune.data.example import Example, Step, prompt_text
from seqtune.data.folder import replacing
from seqtune.errors import DataError, RecipeError, shorten
from seqtune.evaluation.judging.asking import (
    PROMPTS,
    Judge,
    NotRead,
    ask_until_read,
    code_for_json,
    fence,
    own_json,
    sendable,
    titles,
    with_code,
)
from seqtune.llm.asking import each_in_order

MOST = 40  # steps of one prompt: a reply with more has gone astray
MAX_TOKENS = 2048

CHECKLIST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "tasks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "task": {"type": "string"},
                    "after": {"type": "array", "items": {"type": "integer"}},
                    "can": {"type": "boolean"},
                    "reason": {"type": "string"},
                },
                "required": ["task", "after", "can", "reason"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["tasks"],
    "additionalProperties": False,
}
_START = re.compile(r"\{\s*[\"'“‘]?(?:tasks|steps|code)[\"'”’]?\s*:", re.I)


class ChecklistStep(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One thing that an answer must hold.

    Args:
        text: in the imperative.
        depends_on: the places, counted from 1, of earlier steps that it must come after.
        doable: whether a model that only writes text can do it; where not, it is not scored.
        reason: why it cannot be done.
        check, expected, args: how a program tells it, as in `Step`; "" and None where only a judge can.
    """

    text: str
    depends_on: tuple[int, ...] = ()
    doable: bool = True
    reason: str = ""
    check: str = ""
    expected: str | None = None
    args: dict[str, Any] = {}


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The steps of one item; a line of the file.

    Args:
        item: its id.
        prompt: what is asked, for those who read the file.
        steps: in order; none where the model's reply could not be read.
        problem: why there are none.
    """

    item: str
    prompt: str
    steps: tuple[ChecklistStep, ...]
    problem: str = ""


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of the file."""

    suite: str
    version: int
    hash: str
    model: str = ""
    prompt: str = ""
    approved_by: str = ""
    approved_at: str = ""


@dataclass(frozen=True)
class Checklist:
    """The steps of every item of a suite.

    Args:
        suite: its name.
        entries: one an item.
        version: raised when an approved one is edited and approved again.
        model, prompt: what made it: the model, and name and version of the prompt.
        approved_by, approved_at: who read it, and when (UTC); "" before that.
    """

    suite: str
    entries: tuple[Entry, ...]
    version: int = 1
    model: str = ""
    prompt: str = ""
    approved_by: str = ""
    approved_at: str = ""

    @cached_property
    def hash(self) -> str:
        """The same for the same steps of the same items, whoever made or approved them."""
        return xxhash.xxh3_128_hexdigest(_encode([self.suite, self.entries]))

    @property
    def is_approved(self) -> bool:
        """Whether somebody put a name to it."""
        return bool(self.approved_by)

    @property
    def label(self) -> str:
        """What stands for it in the results: its hash, and whether nobody approved it."""
        return self.hash if self.is_approved else f"{self.hash} (unapproved)"

    @cached_property
    def by_item(self) -> dict[str, Entry]:
        """Its entries by the items' ids."""
        return {entry.item: entry for entry in self.entries}


_encode = msgspec.json.Encoder().encode


def as_step(step: ChecklistStep) -> Step:
    """The step as the checks of programs take it."""
    return Step(step.text, step.expected, check=step.check, args=step.args)


def steps_of(item: Example) -> tuple[ChecklistStep, ...]:
    """The steps that an item brings itself, each after the one before it."""
    return tuple(
        [
            ChecklistStep(step.text, (place,) if place else (), True, "", step.check, step.expected, step.args)
            for place, step in enumerate(item.steps)
        ]
    )


def own_checklist(items: Iterable[Example], suite: str = "") -> Checklist:
    """The checklist of items that bring their own steps, which came with the rows: its hash tells other steps apart."""
    return Checklist(suite, tuple([Entry(item.id, prompt_text(item), steps_of(item)) for item in items]))


# --- making ----------------------------------------------------------------------------------------------------------


async def build_checklist(
    items: Iterable[Example],
    ask: Judge,
    *,
    suite: str = "",
    in_flight: int = 64,
    say: Callable[[int], object] | None = None,
) -> Checklist:
    """A checklist by a model, a call an item; items that bring their own steps keep them, and need no call.

    Args:
        items: of the suite.
        ask: the model.
        suite: its name.
        in_flight: the most items at once.
        say: called with the number of items so far.

    Raises:
        TeacherError: this model can never answer.
    """
    entries: list[Entry] = []
    async with aclosing(each_in_order(lambda item: _entry(item, ask), items, in_flight=in_flight)) as made:
        async for some in made:
            entries += some
            if say:
                say(len(entries))
    return Checklist(suite, tuple(entries), model=ask.model, prompt=titles("checklist"))


async def _entry(item: Example, ask: Judge) -> Entry:
    request = prompt_text(item)
    if item.steps:
        return Entry(item.id, request, steps_of(item))
    prompt, bound = checklist_prompt(item)
    found = await ask_until_read(
        ask,
        prompt,
        lambda reply: read_steps(reply, bound),
        max_tokens=MAX_TOKENS,
        schema=with_code(CHECKLIST_SCHEMA) if bound else CHECKLIST_SCHEMA,
    )
    if isinstance(found, NotRead):
        return Entry(item.id, sendable(request), (), found.reason)
    return Entry(item.id, sendable(request), found)


def checklist_prompt(item: Example) -> tuple[str, str]:
    """The question for an item's steps, and the code that the reply must bear, "" for none."""
    request = sendable(prompt_text(item))
    bound = code_for_json(request)
    return render("checklist", package=PROMPTS, request=request, mark=fence(request), code=bound), bound


def read_steps(reply: str, bound: str = "") -> tuple[ChecklistStep, ...] | NotRead:
    """The steps in a model's reply; the last list of them where there are several.

    Args:
        reply: the whole reply, in JSON as models write it.
        bound: the code that the reply must bear, "" for none.
    """
    lists = [_listed(value) for value in values(after_thinking(own_json(reply, bound)), _START)]
    whole = [steps for steps in lists if steps]
    return whole[-1] if whole else NotRead("it holds no whole list of tasks in the form asked for")


def _listed(value: Any) -> tuple[ChecklistStep, ...]:
    listed = (value.get("tasks") or value.get("steps")) if isinstance(value, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST:
        return ()
    steps = [_step(place, entry) for place, entry in enumerate(listed, 1)]
    return () if None in steps else tuple([step for step in steps if step])


def _step(place: int, entry: Any) -> ChecklistStep | None:
    text = entry.get("task") or entry.get("text") if isinstance(entry, dict) else None
    if not isinstance(text, str) or not text.strip() or not isinstance(entry.get("can"), bool):
        return None
    after = entry.get("after")
    before = {number for number in after if type(number) is int and 0 < number < place} if type(after) is list else ()
    reason = "" if entry["can"] else str(entry.get("reason") or "the model gave no reason")
    return ChecklistStep(" ".join(text.split()), tuple(sorted(before)), entry["can"], reason)


# --- the file --------------------------------------------------------------------------------------------------------


def write_checklist(checklist: Checklist, path: str | Path) -> None:
    """Write the file: the head with the hash, and a line an item.

    Raises:
        RunFolderError: the disk is full or the place cannot be written.
    """
    with replacing(Path(path)) as file:
        for line in (_head(checklist), *checklist.entries):
            file.write(_encode(line) + b"\n")


def _head(checklist: Checklist) -> _Head:
    return _Head(
        checklist.suite,
        checklist.version,
        checklist.hash,
        checklist.model,
        checklist.prompt,
        checklist.approved_by,
        checklist.approved_at,
    )


def read_checklist(path: str | Path, *, edited: bool = False) -> Checklist:
    """The checklist in a file, approved or not.

    Args:
        path: of the file.
        edited: read it also where it was edited after somebody approved it, as one that nobody did.

    Raises:
        DataError: it cannot be read, a line is none, or it was edited after it was approved.
    """
    head, checklist = _read(Path(path))
    if head.approved_by and head.hash != checklist.hash:
        if edited:
            return replace(checklist, approved_by="", approved_at="")
        raise DataError(
            f"edited after {head.approved_by} approved it: its hash is {checklist.hash}, approved was {head.hash}",
            where=str(path),
            fix=f"take back the edit, or read it again, then: seqtune eval checklist approve {path} --by NAME",
        )
    return checklist


def open_checklist(path: str | Path, *, unapproved: bool = False) -> Checklist:
    """The checklist for judging: only one that somebody approved, unless told otherwise.

    Raises:
        DataError: see `read_checklist`.
        RecipeError: nobody approved it.
    """
    checklist = read_checklist(path)
    if not checklist.is_approved and not unapproved:
        raise RecipeError(
            f"nobody has approved the checklist {str(path)!r}",
            fix=f"read it, then: seqtune eval checklist approve {path} --by NAME; or give --unapproved, which is noted",
        )
    return checklist


def steps_by_item(
    items: Sequence[Example], checklist: Checklist, where: str = ""
) -> dict[str, tuple[ChecklistStep, ...]]:
    """The steps of each item, its own where the checklist has none; what an approved one leaves out is not there.

    An item whose id the checklist does not know has the steps of its prompt: the id also holds what else stands in a
    row, such as a reference.

    Args:
        items: of the suite.
        checklist: of the suite.
        where: its file, for messages.

    Raises:
        RecipeError: items without steps in a checklist that nobody approved, or more of them than of others.
    """
    own = {item.id: steps_of(item) for item in items if item.steps}
    known = own | {item: entry.steps for item, entry in checklist.by_item.items() if entry.steps}
    by_prompt = {entry.prompt: entry.steps for entry in checklist.entries if entry.steps}
    of_each = {item.id: known.get(item.id) or by_prompt.get(sendable(prompt_text(item))) for item in items}
    found = {item: steps for item, steps in of_each.items() if steps}
    missing = [item.id for item in items if item.id not in found]
    if missing and (not checklist.is_approved or len(missing) > len(found)):
        what = f"{len(missing):,} of the suite's {len(items):,} items have no steps in it, the first is {missing[0]}"
        fix = "is it the checklist of another suite? make one with seqtune eval checklist build, and approve it"
        raise RecipeError(what, where=where, fix=fix)
    return found


def approve(path: str | Path, who: str) -> Checklist:
    """Put a name to the checklist in a file, as it stands; if it was edited since its last approval, its version rises.

    Raises:
        DataError: it cannot be read, or an item has no steps.
        RecipeError: no name.
    """
    if not who.strip():
        raise RecipeError(f"who approves it? got {who!r}", fix="give a name")
    head, checklist = _read(Path(path))
    if missing := [entry for entry in checklist.entries if not entry.steps]:
        raise DataError(
            f"{len(missing)} items have no steps, the first is {missing[0].item}: {shorten(missing[0].prompt)!r}",
            where=str(path),
            fix="write their steps into the file, or take their lines out: then they are not judged",
        )
    edited = bool(head.approved_by) and head.hash != checklist.hash
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    approved = replace(checklist, version=checklist.version + edited, approved_by=who.strip(), approved_at=now)
    write_checklist(approved, path)
    return approved


def _read(path: Path) -> tuple[_Head, Checklist]:
    try:
        first, *rest = path.read_bytes().splitlines() or [b""]
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None
    head = _decoded(first, _Head, f"{path}:1")
    lines = [(f"{path}:{number}", line) for number, line in enumerate(rest, 2) if line.strip()]
    entries = [_checked(_decoded(line, Entry, where), where) for where, line in lines]
    _refuse_doubles([entry.item for entry in entries], path)
    said = structs.asdict(head)
    del said["hash"]
    return head, Checklist(entries=tuple(entries), **said)


Record = TypeVar("Record")


def _decoded(line: bytes, kind: type[Record], where: str) -> Record:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"no line of a checklist: {error}", where=where, fix="make one with seqtune eval checklist build"
        ) from None


def _checked(entry: Entry, where: str) -> Entry:
    for place, step in enumerate(entry.steps, 1):
        if not step.text.strip():
            raise DataError(f"step {place} has no text", where=where, fix="write it, or take the step out")
        if wrong := [number for number in step.depends_on if not 0 < number < place]:
            raise DataError(
                f"step {place} depends on {wrong[0]}, which is no earlier step", where=where, fix=f"1 to {place - 1}"
            )
        if is_checkable(as_step(step)):
            find_operation(step.check)
    return entry


def _refuse_doubles(ids: Sequence[str], path: Path) -> None:
    doubled = [item for item, count in Counter(ids).items() if count > 1]
    if doubled:
        raise DataError(
            f"item {doubled[0]} stands in it {ids.count(doubled[0])} times", where=str(path), fix="keep one"
        )


# --- comparing -------------------------------------------------------------------------------------------------------


class Change(msgspec.Struct, frozen=True):
    """What differs between two checklists in one item: its steps before and after, None where it is in one only."""

    item: str
    prompt: str
    before: tuple[ChecklistStep, ...] | None
    after: tuple[ChecklistStep, ...] | None


def diff_checklists(before: Checklist, after: Checklist) -> list[Change]:
    """The items whose steps differ, in the order of the first, and then those that only the second has."""
    old, new = before.by_item, after.by_item
    changes = []
    for item in dict.fromkeys([*old, *new]):
        was, is_ = old.get(item), new.get(item)
        steps = was.steps if was else None, is_.steps if is_ else None
        if steps[0] != steps[1]:
            changes.append(Change(item, (is_ or was or Entry("", "", ())).prompt, *steps))
    return changes
