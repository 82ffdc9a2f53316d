"""Answers that somebody else made: the rows of a file, each put to the item that it answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import msgspec
import xxhash

from seqtune.data.chat import conversation, described, turn_text
from seqtune.data.detection import renamed
from seqtune.data.example import Example, Turn
from seqtune.data.failure import Fault
from seqtune.data.source import open_source
from seqtune.errors import DataError, RecipeError, did_you_mean, shorten
from seqtune.evaluation.answering import prompt_of
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.tasks.items import Row, id_in, one_right

# The first of these that the rows have is taken, where nothing else was said: what only an answer is called, and then
# what a reference may be called as well.
ANSWER_COLUMNS = ("response", "completion", "generation", "prediction", "output", "text", "answer")
PROMPT_COLUMNS = ("prompt", "instruction", "question")
OURS = {"answer": "answer", "id": "item", "prompt": "instruction"}  # what --columns may name -> the column it becomes


@dataclass(frozen=True)
class Responses:
    """Rows with answers.

    Args:
        source: the file.
        rows: its rows without the answers, so that no answer is ever taken for what is right; the columns that the user
            named are called `item` and `instruction`.
        answers: the text of each row's answer; None where it has none.
        notes: rows and answers that cannot be used, with the reason, and what was chosen for the user.
    """

    source: str
    rows: tuple[Row, ...]
    answers: tuple[str | None, ...]
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """What whoever answered is called: the file's name."""
        return Path(self.source).name


def read_responses(path: str | Path, columns: Mapping[str, str] | None = None) -> Responses:
    """The rows of a file with their answers.

    Args:
        path: any file that `read` reads.
        columns: our name -> the file's column: answer, id, prompt; found by their usual names by default.

    Raises:
        DataError: no row that can be read, or no column with answers.
        RecipeError: a column that is not known, here or in the file.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for number, record in open_source(str(path)).records:
        if isinstance(record, Mapping):
            rows.append(record)
        else:
            why = f"{record.reason}: {shorten(record.value)}" if isinstance(record, Fault) else "it is no object"
            notes.append(f"{path}:{number}: this row cannot be read ({why})")
    if not rows:
        fix = "give a file of rows, each with its prompt and its answer"
        raise DataError("no row can be read", where=str(path), fix=fix)
    named = columns or {}
    column, others = _answer_column(str(path), list(dict.fromkeys(name for row in rows for name in row)), named)
    if others:
        notes.append(
            f"the answers are those of the column {column!r}; --columns answer=NAME takes {' or '.join(others)}"
        )
    answers = tuple([answer_text(row.get(column)) for row in rows])
    ours = {OURS[name]: theirs for name, theirs in named.items() if name != "answer"}
    return Responses(
        source=str(path),
        rows=tuple([_one_prompt(renamed(_without(row, column), ours)) for row in rows]),
        answers=answers,
        notes=(*notes, *_unusable(column, [row.get(column) for row in rows], answers)),
    )


def _answer_column(path: str, known: Sequence[str], named: Mapping[str, str]) -> tuple[str, list[str]]:
    """The column with the answers; and the others that may be meant, where the user named none."""
    for ours, theirs in named.items():
        if ours not in OURS:
            what = f"responses have no {ours!r}{did_you_mean(ours, OURS)}"
            raise RecipeError(what, where=path, fix=f"map {', '.join(OURS)}")
        if theirs not in known:
            what = f"no column is called {theirs!r}{did_you_mean(theirs, known)}"
            raise RecipeError(what, where=path, fix=f"choose from {', '.join(known)}")
    if "answer" in named:
        return named["answer"], []
    found = [name for name in ANSWER_COLUMNS if name in known and name not in named.values()]
    if not found:
        fix = "name the column that holds the answers: --columns answer=NAME"
        raise DataError(f"no column of {', '.join(known)} holds answers", where=path, fix=fix)
    return found[0], found[1:]


def _without(row: Row, column: str) -> Row:
    return {name: value for name, value in row.items() if name != column}


def _one_prompt(row: Row) -> Row:
    """The row with a prompt of one chat message as its text, and the system's message before it in its own column."""
    for name in PROMPT_COLUMNS:
        if isinstance(row.get(name), list):
            try:
                fields = conversation(row[name])
            except Fault:
                continue
            if "turns" not in fields:
                row = {"system": fields["system"], **row, name: fields["instruction"]}
    return row


def answer_text(value: object) -> str | None:
    """The text of an answer: a text, a number, or what the assistant says last in chat messages; None for all else."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    messages = value if isinstance(value, list) else [value]
    said = [one.get("content") for one in messages if isinstance(one, Mapping) and one.get("role") == "assistant"]
    return turn_text(Turn("assistant", said[-1])) if said and isinstance(said[-1], str | list) else None


def _unusable(column: str, values: Sequence[object], answers: Sequence[str | None]) -> list[str]:
    """A note of values that are no answers. Null is none either, but says so itself: the figures count it."""
    strange = [value for value, text in zip(values, answers, strict=True) if text is None and value is not None]
    if not strange:
        return []
    what = f"{len(strange):,} of {len(values):,} values of the column {column!r} are no answers and are not scored"
    return [f"{what}: neither a text, a number nor chat messages, as {described(strange[0])}"]


def find_data(responses: str | Path, suite: str) -> Path | None:
    """The folder with a suite's data that stands near somebody's answers: X/xquad/xquad.en.json for X/answers/it.jsonl.

    Args:
        responses: the file of answers.
        suite: its name, with its part.
    """
    name = suite.partition(":")[0]
    for folder in Path(responses).resolve().parents[:3]:
        if any((folder / name).glob(f"{name}[._]*")):
            return folder / name
    return None


def match(responses: Responses, items: Sequence[Example], *, from_rows: bool) -> tuple[dict[str, Answer], list[str]]:
    """Answers by item, and what the user is to know of those that fit no item.

    A row belongs to the item of its id, or else to the one with its prompt; where it has both they must agree. Rows
    that have neither belong to the item at their place, if there are as many. Of several answers to one item the last
    counts.

    Args:
        responses: as read.
        items: of the suite.
        from_rows: items may have been made from these rows, in their order.

    Raises:
        DataError: no answer fits any item.
    """
    if len(items) == len(responses.rows):
        in_order = {item.id: place for place, item in enumerate(items)}
        if not any(id_in(row) or _prompts(row) for row in responses.rows):
            note = "the answers have neither ids nor prompts: they were put to the suite's items in order"
            return _answers(responses, in_order), [note]
        if from_rows and all(map(_made_of, items, responses.rows)):
            return _answers(responses, in_order), []
    found, notes = _by_id_and_prompt(responses, items)
    return _answers(responses, found), notes


def _made_of(item: Example, row: Row) -> bool:
    """Whether nothing says that a row belongs to another item than the one at its place."""
    asked, named = _prompts(row), id_in(row)
    if named and str(item.meta.get("id", named)) != named:
        return False
    return any(text in _renderings(item) for text in asked) if asked else not named or "id" in item.meta


def _by_id_and_prompt(responses: Responses, items: Sequence[Example]) -> tuple[dict[str, int], list[str]]:
    """The row's place by item, and what is left out."""
    fitting = _fitting(responses.rows, items)
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, ids in enumerate(fitting):
        places[ids or ()].append(place)
    strange, crossed = len(places.pop((), ())), fitting.count(None)
    why = f" ({crossed:,} have the id of one item, and not its prompt)" if crossed else ""
    of_all = f"of the {len(fitting):,} answers"
    if not places:
        what = f"none {of_all} fits one of the suite's {len(items):,} items{why}"
        fix = "give rows with the items' ids or prompts, and no others (--columns id=NAME or prompt=NAME)"
        raise DataError(what, where=responses.source, fix=fix)
    found, again = dict[str, int](), 0
    by_id = {item.id: item for item in items}
    for ids, known in places.items():
        answered = [place for place in known if responses.answers[place] is not None]
        if len(answered) < len(ids) and not one_right([by_id[item] for item in ids]):
            strange += len(answered)  # a question with two right answers: nobody knows which is meant
            continue
        found |= zip(ids, answered[-len(ids) :], strict=False)
        again += max(0, len(answered) - len(ids))
    notes = [f"{strange:,} {of_all} fit no item of the suite and are left out{why}"] if strange else []
    return found, notes + ([f"{again:,} {of_all} are left out for a later one to the same item"] if again else [])


def _fitting(rows: Iterable[Row], items: Sequence[Example]) -> list[tuple[str, ...] | None]:
    """The ids of the items that each row may answer: several where they have one prompt; None for one that its id and
    its prompt contradict.
    """
    prompts = {item.id: _renderings(item) for item in items}
    by_id = {str(item.meta["id"]): item.id for item in items if "id" in item.meta} | {item: item for item in prompts}
    by_prompt: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for item, texts in prompts.items():
        for text in texts:
            by_prompt[text] += (item,)

    def fits(row: Row) -> tuple[str, ...] | None:
        asked, named = _prompts(row), by_id.get(id_in(row))
        same = next((by_prompt[text] for text in asked if text in by_prompt), ())
        if named is None:
            return same
        # A prompt may be written down in a chat template, or without the input: then it is enough that one holds the
        # other, as long as it is not the prompt of another item.
        held = not same and any(_holds(text, own) for text, own in product(asked, prompts[named]))
        return (named,) if not asked or named in same or held else None

    return [fits(row) for row in rows]


def _renderings(item: Example) -> set[str]:
    """An item's prompt as one text, with its system message and without it."""
    turns = [(turn["role"], str(turn["content"])) for turn in prompt_of(item)]
    return {_plain(*[text for _, text in turns]), _plain(*[text for role, text in turns if role != "system"])}


def _prompts(row: Row) -> list[str]:
    """What a row says that was asked, the longest first: with its system message and its input, and without them."""
    system, input = str(row.get("system") or ""), str(row.get("input") or "")
    asked = [_asked(row[name]) for name in PROMPT_COLUMNS if row.get(name)] or [""]
    texts = {_plain(*parts) for parts in product({"", system}, asked, {"", input})} - {"", _plain(system)}
    return sorted(texts, key=lambda text: (-len(text), text))


def _asked(prompt: object) -> str:
    """A prompt's text, or the texts of its messages."""
    turns = prompt if isinstance(prompt, list) else [{"content": prompt}]
    return _plain(*[str(turn.get("content")) for turn in turns if isinstance(turn, Mapping)])


def _plain(*texts: str) -> str:
    return " ".join(" ".join(texts).split())


def _holds(one: str, other: str) -> bool:
    """Whether one of two texts stands in the other, from word to word."""
    return f" {one} " in f" {other} " or f" {other} " in f" {one} "


def _answers(responses: Responses, places: Mapping[str, int]) -> dict[str, Answer]:
    found = {}
    for item, place in places.items():
        text = responses.answers[place]
        if text is not None:  # null is no answer, and so unscored; "" is one, and wrong
            key = xxhash.xxh3_128_hexdigest(msgspec.json.encode([item, responses.model, text]))
            found[item] = Answer(item, responses.model, text, key=key)
    return found
