"""What a teacher meant: choices, rewritten instructions and verdicts, out of replies as real models write them.

A reader gives None where the reply does not say, never a guess. None of them raises, whatever the text, and all take
time in proportion to its length: every repetition in a pattern is bounded, or cannot begin at the same place twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, cast

import msgspec

from seqtune.building.draft import Choice
from seqtune.building.loose_json import values


class Grown(msgspec.Struct, frozen=True):
    """A whole reply of the fused stage.

    Args:
        choice: what the teacher chose to do with the row.
        instruction: the new instruction; may be "" for "keep".
        steps: the new instruction's tasks in order; may be empty for "keep".
    """

    choice: Choice
    instruction: str
    steps: tuple[str, ...]


class Said(msgspec.Struct, frozen=True):
    """What a judge said of one step: whether it was done (None: could not tell), and the words that show it."""

    done: bool | None
    quote: str


def after_thinking(reply: str) -> str:
    """The reply without the reasoning that some models send first; nothing where the reasoning never ends."""
    _, end, answer = reply.rpartition("</think>")
    return (answer if end else reply.partition("<think>")[0]).strip()


# --- the choice ------------------------------------------------------------------------------------------------------

_CHOICE_OF: dict[str, Choice] = {"A": "decompose", "B": "before", "C": "after", "D": "keep"}
_CHOICE_WORD = re.compile(
    r"\b(?:(?P<decompose>decompos\w*|split(?:ting)?"
    r"|break(?:ing)? (?:it |the \w{1,20} )?(?:down|into|up)|divid(?:e|ing))"
    r"|(?P<before>before|prefix\w*|prepend\w*)|(?P<after>after|suffix\w*|append\w*)"
    r"|(?P<keep>keep(?:ing)?|kept|unchanged|leav(?:e|ing)|as (?:it )?is|(?:as )?(?:the |an )?original version))\b",
    re.I,
)
_DECOR = r"[\s*_`'\"“”‘’(\[{]{0,6}"
_LETTER = r"(?:[Oo]ption[\s*_]{1,3})?(?P<letter>[A-D])(?![\w'’+#&-]|\.\w)(?! [a-z])"
# "So the option is: B", "Answer: **C**", "the best choice would be option D": the choice by its letter.
_SAID_BY_LETTER = re.compile(
    rf"(?<!\()\b(?i:option|choice|answer|adaptation)\b{_DECOR}(?:\s?(?i:is|would be|will be|should be)\b)?"
    rf"{_DECOR}[:=]?{_DECOR}{_LETTER}"
)
_HEAD_LETTER = re.compile(rf"{_DECOR}(?:[Oo]ption[\s*_]{{1,3}})?(?P<letter>[A-D])(?=[.):,*\]}}\s#\"']|$)(?! [a-z])")
# "a suitable adaptation is to add a prefix task", "I would propose ... by adding a suffix task": the choice in words.
_SAID_IN_WORDS = re.compile(
    r"\b(?:adaptation|option|choice|answer)\b[^\n.!?:]{0,24}?(?:\b(?:is|be)\b|:)(?P<words>[^\n.!?;]{1,70})"
    r"|\b(?:propose|suggest|choose|recommend)\b(?P<act>[^\n.!?;]{1,80})",
    re.I,
)
_ADDS_TASK = re.compile(r"\b(?:add(?:ing)?|needs?) (?:a |the )?(?P<words>prefix|suffix) task", re.I)
_MENTIONED = re.compile(r"\([Oo]ption (?P<letter>[A-D])\)")


def read_choice(reply: str) -> Choice | None:
    """The option that a reply of the classify stage chooses; None where it does not say, or says two things.

    What is said as the choice counts ("the option is: B", "a suitable adaptation is to ..."), the last time that it is
    said; a letter in passing ("this modification (Option C)") only where nothing else does. A reply whose words choose
    one thing and whose letter another says two things.
    """
    text = after_thinking(reply)
    if len(text) < 60 and (word := _only_word(text)):
        return word
    said = {_last_letter(text), _last_words(text)} - {None}
    if not said:
        said = {_CHOICE_OF[found["letter"]] for found in _MENTIONED.finditer(text)} or {_added(text)} - {None}
    return said.pop() if len(said) == 1 else None


def _only_word(text: str) -> Choice | None:
    words = {cast(Choice, found.lastgroup) for found in _CHOICE_WORD.finditer(text)}
    letters = {_CHOICE_OF[found["letter"]] for found in [_HEAD_LETTER.match(text)] if found}
    bare = text.strip(" *_`'\"()[].#").upper()
    letters |= {_CHOICE_OF[bare]} if bare in _CHOICE_OF else set()
    said = words | letters
    return said.pop() if len(said) == 1 and not _SAID_BY_LETTER.search(text) else None


def _last_letter(text: str) -> Choice | None:
    said = [*_SAID_BY_LETTER.finditer(text)] or [*filter(None, [_HEAD_LETTER.match(text)])]
    return _CHOICE_OF[said[-1]["letter"]] if said else None


def _last_words(text: str) -> Choice | None:
    for said in reversed([*_SAID_IN_WORDS.finditer(text)]):
        words = [cast(Choice, found.lastgroup) for found in _CHOICE_WORD.finditer(said["words"] or said["act"])]
        if words:
            return words[0]
    return None


def _added(text: str) -> Choice | None:
    added = {found["words"].lower() for found in _ADDS_TASK.finditer(text)}
    return ("before" if "prefix" in added else "after") if len(added) == 1 else None


# --- the rewritten instruction ---------------------------------------------------------------------------------------

_MARK = re.compile(
    r"(?P<open>[#*_\[<]{0,6}) {0,2}"
    r"\b(?P<kind>new|rewritten|revised|modified|updated|adapted|reworded|original|given|old|initial)"
    r"[ _-](?:instruction|prompt)s?\b(?: ?\d{1,2})?(?P<close> {0,2}[#*_\]>]{0,6}) {0,2}(?P<colon>[:：]?)[*_#]{0,4}",
    re.I,
)
# What ends an instruction: the agreed mark, another section's heading, the next example of a prompt that goes on.
_END = re.compile(
    r"#{3,}[ \t]{0,4}(?=\n|$)|(?<![\n#])#{3,}(?!#)|^ {0,3}#[A-Z][A-Za-z ]{1,40}#"
    r"|^ {0,3}</?(?:new_)?(?:instruction|input|prompt)s?>|</new_instruction>|^===",
    re.M,
)
# What teachers write below an instruction of their own accord.
_COMMENT = re.compile(
    r"(?:[#*_\s(]{0,8})(?:explanation\b|reasoning\b|rationale\b|note\b[:*]|justification\b|thought process\b"
    r"|here(?:'s|’s| is| are) (?:my|the|a|how|why)\b|(?:in )?this (?:new |revised |modified |rewritten )?(?:instruction"
    r"|modification|addition|decomposition|version|prompt|adaptation|rewrite|way)\b"
    r"|by (?:breaking|adding|following|doing"
    r"|decomposing|asking|including|first)\b[^\n]{0,200}\b(?:we|you|I|users?|this|the (?:new |original )?(?:instruction"
    r"|task|prompt|response))\b|let me know\b|i hope\b"
    r"|i(?:'ve|’ve| have) (?:added|broken|split|kept|rewritten|decomposed|divided)\b"
    r"|in this (?:new|revised|modified)\b"
    r"|the (?:original|new|first|modified|revised|added|suffix|prefix) (?:instruction|task|part|prompt)s? "
    r"(?:is|asks?|seeks?|requires?|involves?|already|can|could|now|now|maintains?|adds?|encourages?|breaks?)\b"
    r"|(?:for|as for|moving on to) the (?:first|second|third|fourth|fifth|next) (?:instruction|prompt)\b)",
    re.I,
)
# The marks that may open, stand in and close a quotation, by the mark that it begins with. Models mix “ and ".
_QUOTES = {'"': '"“”', "“": '"“”', "'": "'‘’", "‘": "'‘’", "«": "«»", "「": "「」"}
_WORDS = re.compile(r"\w+")


_COMMON = frozenset(
    {"that", "this", "with", "then", "from", "what", "which", "following", "given", "into", "have", "same"}
)
_TABLE = re.compile(
    r"^\|(?=[^\n]{0,200}new instruction)([^\n]{1,200})\|\s*\n\|[-:| \t]{3,200}\n\|([^\n]+)", re.I | re.M
)
_MATERIAL = 500  # lines below the end mark that are looked at
_SPEAKS_OF_IT = re.compile(r"\b(?:suffix|prefix) task\b", re.I)


class _Block(NamedTuple):
    original: str
    new: str


def read_instruction(reply: str, original: str = "") -> str | None:
    """The rewritten instruction in a free-text reply, without its mark, quotation marks, end mark and commentary.

    Args:
        reply: the whole reply.
        original: the instruction that was to be rewritten; it tells the answer from examples that the reply echoes, and
            says of the text below the end mark (options, a passage) whether it is still the instruction's.

    Returns:
        None where nothing is marked as the new instruction.
    """
    blocks = [block for block in _blocks(after_thinking(reply), original) if block.new]
    if not blocks:
        return None
    if len(blocks) == 1:
        [block] = blocks
        echo = block.original and original and not _bag(original) & _bag(f"{block.original} {block.new}")
        return None if echo else block.new  # one of the prompt's examples, and nothing after it
    return _answering(blocks, original)


def _answering(blocks: list[_Block], original: str) -> str | None:
    """The block that answers: the others are echoed examples, drafts, or replies to questions that nobody asked."""
    asked = _bag(original)
    if asked:
        about = [len(asked & _bag(block.original or block.new)) / len(asked) for block in blocks]
        best = max(about)
        if best < 0.25:
            return None  # every block answers one of the prompt's examples
        return next(block.new for block, share in reversed([*zip(blocks, about, strict=True)]) if share >= best)
    later_examples = not blocks[0].original and any(block.original for block in blocks)
    return blocks[0 if later_examples else -1].new


def _bag(text: str) -> frozenset[str]:
    """The words that say what a text is about."""
    return frozenset(word for word in _WORDS.findall(text.casefold()) if len(word) > 3) - _COMMON


def _blocks(text: str, original: str) -> Iterator[_Block]:
    marks = [mark for mark in _MARK.finditer(text) if _is_heading(mark, text)]
    echoed = ""
    for i, mark in enumerate(marks):
        section = text[mark.end() : marks[i + 1].start() if i + 1 < len(marks) else len(text)]
        if mark["kind"].lower() in ("original", "given", "old", "initial"):
            echoed = section.strip()
        else:
            yield _Block(echoed, _instruction_in(re.sub(r"\A\s*#{3,}", "", section), original))
            echoed = ""
    yield from map(_row, _TABLE.finditer(text))


def _row(table: re.Match[str]) -> _Block:
    """The first row of a table that has the new instructions in a column."""
    names, cells = ([cell.strip() for cell in part.strip(" |").split("|")] for part in table.groups())
    new = next((cell for name, cell in zip(names, cells, strict=False) if "new" in name.lower()), "")
    return _Block("", new)


def _is_heading(mark: re.Match[str], text: str) -> bool:
    line = text.rfind("\n", max(0, mark.start() - 400), mark.start()) + 1
    before = text[line : mark.start()].strip(" \t>*_#-")
    if "|" in before:
        return False  # a table's column
    after = text[mark.end() : mark.end() + 80].lstrip(" \t")
    if "#" in mark["open"] + mark["close"] or mark["open"][-1:] in ("<", "[") or "**" in mark["open"]:
        return not mark["open"].startswith("</") and (bool(mark["colon"]) or "#" in mark["close"] or not before)
    if mark["colon"]:
        return not before or before[-1] in ".!?:)" or after[:1] in ("\n", "", *_QUOTES)
    return not before and after[:1] in ("\n", "")


def _instruction_in(section: str, original: str) -> str:
    end = _end_of(section, original)
    body, tail = section[:end], section[end:].lstrip("#").strip()
    text = _unquoted(body.strip(), original)
    if (_COMMENT.match(text) or _SPEAKS_OF_IT.search(text)) and not _stands_in(text, original):
        text = _quoted_last(text)  # the teacher explains where the instruction should be
    return _with_material(text, tail, original)


def _end_of(section: str, original: str) -> int:
    own_hashes = "###" in original
    for found in _END.finditer(section):
        if not section[: found.start()].strip():
            continue
        if not own_hashes or section[found.end() :].lstrip(" ")[:1] in ("", "\n"):
            return found.start()
    return len(section)


def _unquoted(text: str, original: str) -> str:
    """The text without the quotation marks around the whole of it, and without commentary below it."""
    close = _closing_quote(text) if text[:1] in _QUOTES else None
    if close is None:
        text = _without_comment(text, original)
        return _without_opening(text)
    below = text[close + 1 :]
    if not below.strip(" .*_#`"):
        return text[1:close].strip()
    if below.lstrip(" .*_").startswith("\n"):
        return _with_material(text[1:close].strip(), below.strip(), original)
    return _without_comment(text, original)


def _without_opening(text: str) -> str:
    # A quotation that is never closed, or by the wrong mark, as models do.
    double = text.count('"')
    unclosed = "”" not in text and ((text[:1] == '"' and double % 2) or (text[:1] == "“" and double % 2 == 0))
    return text[1:].rstrip("’'").strip() if unclosed else text


def _quoted_last(text: str) -> str:
    """The quotation that a text ends with; "" where it ends with none."""
    openings = [found.start() for found in re.finditer(r"(?<![^\s(])[\"“](?=\S)", text)][-16:]
    return next((text[at + 1 : -1].strip() for at in openings if _closing_quote(text[at:]) == len(text) - 1 - at), "")


def _closing_quote(text: str) -> int | None:
    """Where the quotation that the text begins with ends; quotations inside it are stepped over."""
    depth = 0
    for found in re.finditer(f"[{_QUOTES[text[0]]}]", text):
        at, mark = found.start(), found[0]
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if mark in "'’" and before.isalnum() and after.isalnum():
            continue  # an apostrophe
        opens = not at or mark in "“‘«「" or (mark in "\"'" and _opens(before, after))
        depth += 1 if opens else -1
        if not depth:
            return at
    return None


def _opens(before: str, after: str) -> bool:
    return (before.isspace() or before in "([{:—-") and not after.isspace() and after != ""


def _without_comment(text: str, original: str) -> str:
    """Cut before the first paragraph that speaks of the instruction instead of being part of it."""
    for found in re.finditer(r"\n[ \t]{0,8}\n\s{0,8}|\n", text):
        line = text[found.end() : found.end() + 300]
        if _COMMENT.match(line) and not _stands_in(line.partition("\n")[0], original):
            return text[: found.start()].strip()
    return text


def _with_material(text: str, below: str, original: str) -> str:
    """Put back what stands below the instruction's end where it is the original's own: options, a passage, code."""
    kept: list[str] = []
    for paragraph in below.split("\n")[:_MATERIAL]:
        if paragraph.strip() and not _stands_in(paragraph, original):
            break
        kept.append(re.sub(r"\*\*|__", "", paragraph))
    material = "\n".join(kept).strip()
    if not material or _stands_in(material, text) or _stands_in(original, material):
        return text
    return f"{text}\n\n{material}"


def _stands_in(part: str, whole: str) -> bool:
    plain = _plain(part)
    return bool(plain) and f" {plain} " in f" {_plain(whole)} "


@lru_cache(8)  # the original is looked into again and again
def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold().replace("_", " ")))


# --- replies in JSON -------------------------------------------------------------------------------------------------


def _start_of(keys: str) -> re.Pattern[str]:
    """Where an object begins that has one of these keys first."""
    return re.compile(rf"\{{\s*[\"'“‘]?\s?(?:{keys})\s?[\"'”’]?\s?:", re.I)


def _lowered(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    return {_letters(str(key)): entry for key, entry in value.items()}


@lru_cache(256)
def _letters(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _first(entries: dict[str, Any], *keys: str) -> Any:
    return next((entries[key] for key in keys if key in entries), None)


def _last_whole(reply: str, start: re.Pattern[str], read: Callable[[dict[str, Any]], Any]) -> Any:
    """The last object in the reply that reads as a whole one, or one that another object wraps."""
    whole = None
    for value in values(after_thinking(reply), start):
        entries = _lowered(value)
        for candidate in (entries, *map(_lowered, entries.values())):
            if (got := read(candidate)) is not None:
                whole = got
                break
    return whole


# --- the structured replies ------------------------------------------------------------------------------------------

_WRAPS = "result|response|output|answer|reply|json|data|final"
_GROWN_START = _start_of(rf"choice|option|steps|tasks|(?:new[ _]?)?instruction|{_WRAPS}|reason\w{{0,10}}|explanation")
_PARTS_START = _start_of(rf"instruction|task|input|{_WRAPS}")
_VERDICTS_START = re.compile(
    rf"{_start_of(rf'steps?|step[ _]?(?:number|id)|task|number|verdicts|results|done|quote|{_WRAPS}').pattern}"
    r"|\[\s*(?=\{)",
    re.I,
)


def read_grown(reply: str) -> Grown | None:
    """The choice, the new instruction and its tasks in a structured reply; None where it is not whole.

    Args:
        reply: holds {"choice": ..., "steps": [...], "instruction": "..."} somewhere; where it does so several times, as
            in a draft and its final form, the last whole one counts.
    """
    return cast("Grown | None", _last_whole(reply, _GROWN_START, _grown))


def _grown(entries: dict[str, Any]) -> Grown | None:
    said = _first(entries, "choice", "option")
    choice = _named_choice(said) if isinstance(said, str) else None
    instruction = _first(entries, "instruction", "newinstruction", "rewritteninstruction") or ""
    steps = _step_texts(_first(entries, "steps", "tasks"))
    if choice is None or steps is None or not isinstance(instruction, str):
        return None
    instruction = instruction.strip()
    if choice != "keep" and not (instruction and steps):
        return None
    return Grown(choice, instruction, steps)


def _named_choice(said: str) -> Choice | None:
    word = said.strip().lower()
    return cast(Choice, word) if word in _CHOICE_OF.values() else read_choice(said)


def _step_texts(value: object) -> tuple[str, ...] | None:
    """The steps' texts; None where one of them holds none."""
    if isinstance(value, str):
        value = [line for line in value.splitlines() if line.strip()]
    if isinstance(value, dict):
        value = [*value.values()]
    texts = [_step_text(step) for step in value] if isinstance(value, list) else [] if value is None else [""]
    return tuple(texts) if all(texts) else None


def _step_text(step: object) -> str:
    if isinstance(step, str):
        return step.strip()
    entries = _lowered(step)
    named = [entries.get(key) for key in ("text", "task", "instruction", "description", "step")]
    return next((text.strip() for text in [*named, *entries.values()] if isinstance(text, str) and text.strip()), "")


_PART = re.compile(
    r"^[ \t>]{0,4}(?P<mark>[#*_<\[]{0,5}) {0,2}(?P<kind>instruction|input|prompt|task)(?P<close>[#*_>\]]{0,5})"
    r" {0,2}(?P<colon>:?)[*_]{0,3}",
    re.I | re.M,
)
_PART_INPUT = re.compile(r"[ \t]#{1,3}input#{1,3}:?", re.I)
_NO_INPUT = re.compile(r"[\s<\[(*_\"'`]*(?:no ?input|none|n/?a|null|empty|nothing|-+)?[\s>\])*_\"'`.]*", re.I)


def read_parts(reply: str) -> tuple[str, str] | None:
    """A prompt taken apart into its instruction and its input, "" where it has none; None where the reply has no parts.

    Args:
        reply: holds {"instruction": ..., "input": ...} somewhere, or both below marks such as "#Input#:".
    """
    whole = _last_whole(reply, _PARTS_START, _parts)
    return cast("tuple[str, str]", whole) if whole else _marked_parts(after_thinking(reply))


def _parts(entries: dict[str, Any]) -> tuple[str, str] | None:
    instruction, given = entries.get("instruction"), entries.get("input", "")
    given = "" if given is None else given
    if not isinstance(instruction, str) or not instruction.strip() or "input" not in entries:
        return None
    if not isinstance(given, str):
        given = json.dumps(given, ensure_ascii=False)
    return instruction.strip(), _input(given)


def _input(text: str) -> str:
    text = text.strip()
    return "" if len(text) < 40 and _NO_INPUT.fullmatch(text) else text


def _marked_parts(text: str) -> tuple[str, str] | None:
    text = _PART_INPUT.sub("\n#Input#:", text)
    marks = [mark for mark in _PART.finditer(text) if mark["colon"] or "#" in mark["close"] or "<" in mark["mark"]]
    for mark, after in pairwise(marks):
        if mark["kind"].lower() != "input" and after["kind"].lower() == "input":
            instruction = _section(text[mark.end() : after.start()])
            given = _input(_section(text[after.end() :]))
            return (instruction, given) if instruction else None
    return None


def _section(text: str) -> str:
    text = text.strip()
    close = re.search(r"</(?:instruction|input|prompt|task)>|^#{3,}[ \t]{0,4}$|#{3,}\s{0,9}\Z", text, re.I | re.M)
    text = (text[: close.start()] if close else text).strip()
    at = _closing_quote(text) if text[:1] in _QUOTES else None
    return text[1:at].strip() if at is not None and at == len(text) - 1 else text


_UNCLEAR = re.compile(
    r"\s*(?:partial\w*|partly|unclear|unknown|cannot tell|can't tell|not sure|unsure|maybe|n/?a)\b", re.I
)


VERDICTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "step": {"type": "integer"},
                    "quote": {"type": "string"},
                    "done": {"type": "boolean"},
                },
                "required": ["step", "quote", "done"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["steps"],
    "additionalProperties": False,
}


def read_verdicts(reply: str, count: int) -> tuple[Said, ...] | None:
    """What a judge said of every step, in the steps' order; None unless exactly `count` steps are judged, each once.

    Args:
        reply: holds {"steps": [{"step": 1, "done": true, "quote": "..."}, ...]} somewhere.
        count: the number of steps. An entry belongs to the step whose number it names; entries without numbers count in
            order, and where only some have one, nobody knows.
    """
    whole = None
    loose: list[object] = []
    for value in values(after_thinking(reply), _VERDICTS_START):
        entries = _entries(value)
        whole = (_judged(entries, count) or whole) if entries is not None else whole
        loose += [value] if entries is None else []
    return whole or _judged(loose, count)


def _entries(value: object) -> list[Any] | None:
    """The list of verdicts in a value; None where the value is itself one verdict."""
    if isinstance(value, list):
        return value
    entries = _lowered(value)
    if "done" in entries:
        return None
    listed = _first(entries, "steps", "verdicts", "results", "tasks")
    if isinstance(listed, dict):
        return [{"step": key, **entry} for key, entry in listed.items() if isinstance(entry, dict)]
    if isinstance(listed, list):
        return listed
    return next((found for inner in entries.values() if isinstance(inner, dict) and (found := _entries(inner))), [])


def _judged(entries: list[Any], count: int) -> tuple[Said, ...] | None:
    if len(entries) != count or not count:
        return None
    lowered = [_lowered(entry) for entry in entries]
    numbered = [(_number(entry), _said(entry)) for entry in lowered]
    numbers = [number for number, _ in numbered]
    if all(number is None for number in numbers):
        numbers = [*range(1, count + 1)]
    if any(said is None for _, said in numbered) or sorted(n or 0 for n in numbers) != [*range(1, count + 1)]:
        return None
    in_order = sorted(zip(numbers, numbered, strict=True), key=lambda pair: pair[0] or 0)
    return tuple(said for _, (_, said) in in_order if said)


def _number(entry: dict[str, Any]) -> int | None:
    value = _first(entry, "step", "stepnumber", "number", "stepid", "id", "index", "task")
    found = re.search(r"\d{1,6}", str(value)[:200]) if isinstance(value, int | str) else None
    return int(found[0]) if found else None


_QUOTE_KEYS = ("quote", "quotes", "evidence")


def _said(entry: dict[str, Any]) -> Said | None:
    """What an entry says; None where its verdict is no yes or no, or its quote no text or not to be found."""
    if "done" not in entry:
        return None
    done, shown = entry["done"], [key for key in _QUOTE_KEYS if key in entry]
    quote = _quote(_first(entry, *shown))
    if isinstance(done, str):
        unclear = _UNCLEAR.match(done)
        done = None if unclear else read_yes_no(done)
        if done is None and not unclear:
            return None
    elif done not in (True, False, None):  # 1 and 0 are among them
        return None
    if quote is None or (done and not shown):
        return None
    return Said(None if done is None else bool(done), quote)


def _quote(value: object) -> str | None:
    """A quote, or a list of them with cuts in between, so that each is looked up; None for what is none."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ... ".join(one.strip() for one in value if one.strip())
    if value is None or isinstance(value, int | float):
        return "" if value is None or isinstance(value, bool) else str(value)
    return value.strip() if isinstance(value, str) else None


# --- yes or no -------------------------------------------------------------------------------------------------------

_YES_NO = r"(?P<word>yes|no|true|false|yeah|nope)\b(?!-)"
_HEAD_YES_NO = re.compile(rf"[\s*_`'\"“‘(\[{{#]{{0,12}}{_YES_NO}(?=(?P<next>.?\s?\w{{0,20}}))", re.I | re.S)
_SAID_YES_NO = re.compile(
    rf"\b(?:answer|verdict|conclusion|judg(?:e)?ment|final)\b[\s*_`'\"“(\[]{{0,6}}(?:is\b)?[\s:=*_`'\"“(\[]{{0,8}}{_YES_NO}",
    re.I,
)
_TAIL_YES_NO = re.compile(rf"(?:^|[\n.:;!?])[\s*_`'\"“(\[]{{0,8}}{_YES_NO}[\s*_`'\"”)\].!#}}]{{0,12}}\Z", re.I)
_GONE = r"(?:missing|lost|omitted|dropped|left out|removed|absent)"
_THERE = r"(?:present|included|preserved|retained|there|kept|maintained|intact|contained)"
_NOTHING_GONE = re.compile(rf"\b(?:no(?:thing|ne| \w+| \w+ \w+)|not? any\w*)\b[^.!?\n]{{0,40}}\b{_GONE}\b", re.I)
_SOME_GONE = re.compile(rf"\b(?:is|are|was|were|been|some \w{{1,20}}) (?:now |also )?{_GONE}\b|\bnot all\b", re.I)
_NOT_THERE = re.compile(rf"\b(?:not|isn't|aren't|no longer|isn’t|aren’t)\b[^.!?\n]{{0,25}}\b{_THERE}\b", re.I)
_ALL_THERE = re.compile(rf"\b(?:all|every\w*)\b[^.!?\n]{{0,60}}\b{_THERE}\b", re.I)


def read_yes_no(reply: str) -> bool | None:
    """The answer to a question such as "is all that is needed still there?"; None where the reply does not give one.

    Whole words only: the original took the "no" in "nothing" and in "know" for a refusal. "No information is missing"
    begins with "no" and means yes.
    """
    text = after_thinking(reply)
    for found in (_head_answer(text), _last(_SAID_YES_NO, text), _TAIL_YES_NO.search(text[-200:])):
        if found:
            return found["word"].lower() in ("yes", "true", "yeah")
    return _in_words(text)


def _head_answer(text: str) -> re.Match[str] | None:
    found = _HEAD_YES_NO.match(text)
    runs_on = found and found["word"].lower() == "no" and found["next"][:1].isspace() and found["next"].strip()
    return None if not found or (runs_on and "\n" not in found["next"]) else found


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return ([None, *pattern.finditer(text)])[-1]


def _in_words(text: str) -> bool | None:
    good = bool(_NOTHING_GONE.search(text) or (_ALL_THERE.search(text) and not _NOT_THERE.search(text)))
    bad = bool(_SOME_GONE.search(_NOTHING_GONE.sub(" ", text)) or _NOT_THERE.search(text))
    return good if good != bad else None
