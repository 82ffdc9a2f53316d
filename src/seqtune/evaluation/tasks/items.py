"""Items of task suites: read from their files or from rows that somebody answered, each with what is right."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seqtune.data.example import Example
from seqtune.data.source import open_source
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.suite import GOLD, GROUP

GOLD_COLUMNS = ("target", "answers", "gold", "reference", "references", "answer")
ASKED_COLUMNS = ("instruction", "prompt", "question")
FORMS = ("repeat", "plain")  # of suites whose question may be repeated first
ID_COLUMNS = ("item", "item_id", "id")

Row = Mapping[str, Any]
Rows = Sequence[Row]
Places = tuple[int, ...]  # of items in the data


class Gold(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is right in an item: `meta["gold"]`.

    Args:
        answers: any of them; none where nobody knows, and then nothing is scored.
        language: of these answers.
        own_language: of what the item asks about.
        own_answers: the answers in that language, where others are asked for.
        step: what the first step gives, any of these; none where only its form can be looked at.
        partly: what may follow in the first step, and alone is a half of it.
        source: what the first step is done on, where nothing is known of what it gives.
        choices: the options by their letter.
        shots: examples in the prompt.
    """

    answers: tuple[str, ...]
    language: str = "en"
    own_language: str = ""
    own_answers: tuple[str, ...] = ()
    step: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
    source: str = ""
    choices: dict[str, str] = {}
    shots: int = 0


def new_item(instruction: str, input: str, gold: Gold, *, group: str = "", own_id: str = "") -> Example:
    """An item whose output is its first right answer, so that other answers make it another item."""
    meta = {GROUP: group, GOLD: msgspec.to_builtins(gold)} | ({"id": own_id} if own_id else {})
    return Example(instruction, input, gold.answers[0] if gold.answers else "", meta=meta)


def gold_of(item: Example) -> Gold:
    """What is right in an item; of an item that no suite made, nothing is known."""
    return msgspec.convert(item.meta.get(GOLD) or {"answers": ()}, Gold)


def apart(items: Iterable[Example]) -> tuple[Example, ...]:
    """The items with repeated ones told apart by an own id: XQuAD asks some questions twice."""
    seen: Counter[str] = Counter()
    kept = []
    for item in items:
        seen[item.id] += 1
        if (times := seen[item.id]) > 1:
            own_id = "#".join([*filter(None, [str(item.meta.get("id", ""))]), str(times)])
            item = msgspec.structs.replace(item, meta={**item.meta, "id": own_id})
        kept.append(item)
    return tuple(kept)


def raw_rows(source: str | Path) -> list[Row]:
    """The rows of a file or a dataset of the hub, as they stand there.

    Raises:
        DataError: it cannot be read, a row is broken, or there is none.
    """
    rows: list[Row] = []
    for number, record in open_source(str(source)).records:
        if not isinstance(record, Mapping):
            raise DataError("a row that cannot be read", where=f"{source}:{number}", fix="mend it or take it out")
        rows.append(record)
    if not rows:
        raise DataError("holds no rows", where=str(source), fix="check the file: was its writing finished?")
    return rows


def asked_in(row: Row) -> tuple[str, str]:
    """Instruction and input of a row that somebody answered; "" for what it does not hold."""
    asked = next((_text_of(row[name]) for name in ASKED_COLUMNS if row.get(name)), "")
    return asked, str(row.get("input") or "")


def _text_of(prompt: object) -> str:
    """A prompt's text, or the texts of its messages."""
    turns = prompt if isinstance(prompt, list) else [{"content": prompt}]
    return "\n\n".join(str(turn.get("content")) for turn in turns if isinstance(turn, Mapping))


def id_in(row: Row) -> str:
    """The id that a row brings, "" for none."""
    return next((str(row[name]) for name in ID_COLUMNS if row.get(name) not in (None, "")), "")


def golds_in(row: Row) -> tuple[str, ...]:
    """The right answers that a row brings: a text, a number, a list, or SQuAD's {"text": [...]}."""
    value = next((row[name] for name in GOLD_COLUMNS if row.get(name) not in (None, "", [])), None)
    if isinstance(value, Mapping):
        value = value.get("text")
    listed = value if isinstance(value, list | tuple) else [value]
    texts = [one.get("text") if isinstance(one, Mapping) else one for one in listed]
    return tuple([str(text) for text in texts if text not in (None, "")])


def joined(
    rows: Sequence[Row], items: Sequence[Example], questions: Callable[[Example], Iterable[str]]
) -> list[Places]:
    """Where in the data the item of each row stands: the one whose question it asks, or else the one of its id.

    Several places where a question stands there several times, none where it does not.

    Args:
        rows: that somebody answered.
        items: of the data.
        questions: how an item's question may stand in a prompt.
    """
    by_id = {str(item.meta["id"]): (place,) for place, item in enumerate(items) if "id" in item.meta}
    known: dict[str, Places] = defaultdict(tuple)
    for place, item in enumerate(items):
        for question in {_plain(question) for question in questions(item)}:
            known[question] += (place,)
    asked = [_plain(" ".join(asked_in(row))) for row in rows]
    return [
        _asked_for(text, known) if text else by_id.get(id_in(row), ()) for row, text in zip(rows, asked, strict=True)
    ]


def _asked_for(text: str, known: Mapping[str, Places]) -> Places:
    """The place of the item whose question is asked last in a text, or stands somewhere in it: the longest."""
    question = text.rpartition("Question:")[2].strip()
    if question not in known:
        question = max((one for one in known if one in text), key=len, default="")
    return known.get(question, ())


def _plain(text: str) -> str:
    return " ".join(text.split())


def asked_by_rows(
    items: Sequence[Example],
    rows: Sequence[Row],
    places: Sequence[Places],
    asked: Callable[[Example, Row], Example] | None = None,
) -> tuple[Example, ...]:
    """All items of the data: those that rows ask in the words of the last such row, the others as the suite asks them.

    Args:
        items: of the data.
        rows: that somebody answered.
        places: of `joined`.
        asked: an item as a row asks it; `asked_as` by default.
    """
    together: dict[Places, list[Row]] = defaultdict(list)
    for row, those in zip(rows, places, strict=True):
        together[those].append(row)
    found = [*items]
    for those, asking in together.items():
        if one_right([items[place] for place in those]) or len(asking) >= len(those):
            for place, row in zip(those, asking[-len(those) :], strict=False):
                found[place] = (asked or asked_as)(items[place], row)
    return apart(found)


def one_right(items: Sequence[Example]) -> bool:
    """Whether all of them have the same right answer: of a question with two, a single row does not say which it is."""
    return all(item.output == items[0].output and gold_of(item) == gold_of(items[0]) for item in items)


def asked_as(item: Example, row: Row) -> Example:
    """The item of the data as a row asks it; as it is where the row asks nothing."""
    instruction, input = asked_in(row)
    return msgspec.structs.replace(item, instruction=instruction, input=input) if instruction or input else item


def items_alone(rows: Sequence[Row], make: Callable[[Row], Example], size: int) -> tuple[Example, ...]:
    """The items of rows without the suite's data, in their order.

    Rows that ask the same, with the same right answer, are one item; but in a file with as many rows as the suite has
    items each is its own, for a suite's own questions may stand there twice.

    Args:
        rows: that somebody answered.
        make: the item of a row.
        size: how many items the suite has.
    """
    items = [make(row) for row in rows]
    return apart(items if len(rows) == size else without_repeats(items))


def without_repeats(items: Sequence[Example]) -> list[Example]:
    """The items, the first of those that ask the same and have the same right answer."""
    same: dict[tuple[str, str, str], list[Example]] = defaultdict(list)
    for item in items:
        same[_asks(item)].append(item)
    # Those that ask nothing are told apart by their place alone.
    return [
        one for one in items if one is same[_asks(one)][0] or not any(_asks(one)) or not one_right(same[_asks(one)])
    ]


def _asks(item: Example) -> tuple[str, str, str]:
    return item.system, item.instruction, item.input


def items_of(
    rows: Rows | None,
    data: object,
    size: int,
    *,
    read: Callable[[], Sequence[Example]],
    alone: Callable[[Row], Example],
    places: Callable[[Rows, Sequence[Example]], list[Places]],
    asked: Callable[[Example, Row], Example] | None = None,
) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """The items of a suite, and what is to be known of them: those of its data, in its order; with rows as these ask
    them; of rows without data theirs, in their order.

    Args:
        rows: that somebody answered, with instruction (or prompt), input, and target (or answers, reference, ...).
        data: where the suite's own lie, where that was said.
        size: how many items the suite has.
        read: its items.
        alone: the item of a row, whose right answers are those of the row.
        places: where in the data the item of each row stands, see `joined`.
        asked: an item of the data as a row asks it; `asked_as` by default.

    Raises:
        DataError: nothing says what is right.
    """
    if rows is None:
        items = apart(read())
    elif not data:
        items = items_alone(rows, alone, size)
    else:
        known = read()
        items = asked_by_rows(known, rows, places(rows, known), asked)
    return items, (*unknown_golds(items), *size_note(rows, data, size))


def size_note(rows: Sequence[object] | None, data: object, size: int) -> tuple[str, ...]:
    """A note where rows alone, without the suite's data, are not as many as its items."""
    if rows is None or data or len(rows) == size:
        return ()
    return (f"{len(rows):,} rows; the suite has {size:,} items: those that no row asks do not count without --data",)


def unknown_golds(items: Sequence[Example]) -> tuple[str, ...]:
    """A note of the items whose right answer nobody knows.

    Raises:
        DataError: it is known of none.
    """
    without = sum(not gold_of(item).answers for item in items)
    if without == len(items):
        columns = f"{', '.join(GOLD_COLUMNS[:-1])} or {GOLD_COLUMNS[-1]}"
        fix = f"give --data with the suite's own questions, or rows with a column {columns} beside the answers"
        raise DataError("no row says what the right answer is", fix=fix)
    return (f"{without:,} of {len(items):,} rows say no right answer: they are not scored",) if without else ()


def choose_language(suite: str, part: str, known: Sequence[str]) -> str:
    """The language that a suite's part names.

    Raises:
        RecipeError: none, or one that the suite does not have.
    """
    if part not in known:
        what = f"suite {suite!r} has no language {part!r}" if part else f"suite {suite!r} needs a language"
        raise RecipeError(what, fix=f"write {suite}:{known[0]}; known are {', '.join(known)}")
    return part


def choose_form(suite: str, part: str) -> str:
    """The form that a suite's part names.

    Raises:
        RecipeError: one that the suite does not have.
    """
    if part not in FORMS:
        raise RecipeError(f"suite {suite!r} has no form {part!r}", fix=f"choose from {', '.join(FORMS)}")
    return part


def language_file(data: str | Path, name: str) -> Path | None:
    """The file of that name in the folder, or beside the file, that the user gave; None where there is none."""
    given = Path(data)
    found = (given if given.is_dir() else given.parent) / name
    return found if found.is_file() else None


def data_file(data: str | Path, name: str) -> str:
    """The data that the user gave: a file or a name of the hub as it is, of a folder the file of that name.

    Raises:
        DataError: the folder does not hold it.
    """
    if not Path(data).is_dir():
        return str(data)
    if not (Path(data) / name).is_file():
        raise DataError(f"there is no {name}", where=str(data), fix=f"name a file, or the folder with {name}")
    return str(Path(data) / name)
