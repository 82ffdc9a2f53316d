"""Which separate tasks an instruction asks for, by a rule of thumb that says one when in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from seqtune.building.wording import verbs

_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]{1,300}`|\"[^\"\n]{1,600}\"|“[^”\n]{1,600}”|(?<!\w)'[^'\n]{1,200}'(?!\w)", re.S
)
_ORDER = (
    r"(?:first(?:ly)?|second(?:ly)?|third(?:ly)?|then|next|after(?:wards?| that| this| which)|finally|lastly|last"
    r"|subsequently|following (?:that|this)|once (?:that is |this is )?done|in addition|additionally|also"
    r"|to (?:begin|start)(?: with)?|now)\b[,:]?"
    r"|(?:after|once|based on|using|upon|when|with|from|before|following|given|for each)\s[^,.?!\n]{1,100},"
)
_LEAD = re.compile(
    r"[\s,;:*_-]{0,6}(?:(?:\(?\d{1,2}[.):]|step \d{1,2}[.:)]?)\s+)?"
    rf"(?:(?:and|but)\s)?(?P<order>(?:(?:{_ORDER})\s{{0,4}}){{1,3}})?"
    r"(?:(?!(?:apply|reply|supply|multiply|comply|rely|imply)\b)[a-z]{3,20}ly,?\s)?",
    re.I,
)
_SHORTENED = ("Co", "Mr", "Mrs", "Ms", "Dr", "St", "No", "vs", "Inc", "Ltd", "Prof", r"e\.g", r"i\.e")
_ABBREVIATED = "".join(rf"(?<!\b{word}\.)" for word in _SHORTENED)
_JOINED_ON = re.compile(
    r"[\s,;:]*(?:(?:and|but)\s+)?"
    r"(?:(?:then|afterwards|finally|lastly|subsequently|additionally)\b[,:]?\s+"
    r"|(?:first(?:ly)?|second(?:ly)?|third(?:ly)?|next|last|also|now|in addition|after (?:that|this|which)"
    r"|following (?:that|this)|once (?:that is |this is )?done|to (?:begin|start)(?: with)?)[,:]\s+)*",
    re.I,
)
_SENTENCE = re.compile(rf"(?<=[.!?]){_ABBREVIATED}[\")'”]?\s+|\n+")
_AUXILIARY = r"(?:do|does|did|is|are|was|were|can|could|might|may|would|should|will|has|have)"
_JOINT = re.compile(
    r"(?:[,;]\s(?:and |but )?(?:finally|afterwards|subsequently|lastly|next|after (?:that|this|which))"
    r"|[,;]\s(?:and )?(?:based on|using|with|from) (?:this|these|that|those|your)\b[^,.\n]{0,60}"
    r"|[,;]?\s(?:and )?then)"
    r",?\s(?=(?P<then>[A-Za-z-]+))"
    r"|,?\sand\s(?=(?P<verb>[a-z-]+)\s(?:(?:a|an|the|its|their|your|his|her|each|every|any|all|some|how|why|what|which"
    r"|whether|where|when|who|one|two|three|four|five|potential|possible|specific)\b|\d))"
    rf"|,?\sand\s(?=(?P<asks>how|what|why|which|who|where|when)\s(?:[a-z]+\s)?{_AUXILIARY}\b)"
)
_TOLD = re.compile(
    r"\s{0,8}(?:[-*•]\s"
    r"|(?!step|task|instruction|question|then|next|first|finally)[A-Z]\w{0,20}(?: ?\w{1,20})?\s?:\s)",
    re.I,
)
_ITEM = re.compile(
    r"^\s{0,8}(?:\(?(?P<n>\d{1,2})[.)]|(?:step|task) (?P<s>\d{1,2})\s?[:.)])\s+(?P<text>\S[^\n]*)", re.I | re.M
)
_SOFT = frozenset(
    {"use", "keep", "include", "ensure", "be", "avoid", "limit", "try", "remember", "note", "consider", "assume", "do"}
    | {
        "don't",
        "let",
        "start",
        "begin",
        "end",
        "follow",
        "suppose",
        "imagine",
        "see",
        "exclude",
        "incorporate",
        "focus",
    }
    | {"think", "feel", "refer", "answer", "respond", "reply", "stay", "mention", "output", "return"}
)
_SOFT_START = re.compile(
    r"make sure|(?:choose|select|pick) (?:from|between|one|(?:your|the|an) (?:\w+ )?(?:answer|option))"
    r"|give (?:your|the) answer",
    re.I,
)
_ASKING = re.compile(
    r"(?:can|could|would|will) you (?:please |also )?|please (?:also )?"
    r"|you (?:should|must|need to) |your \w+ task is to ",
    re.I,
)
_QUESTION = frozenset({"what", "how", "why", "which", "who", "whose", "where", "when"})


def split_tasks(instruction: str) -> tuple[str, ...]:
    """The separate tasks that an instruction asks for, in order: a rule of thumb that says one when in doubt.

    A task is a question, or a clause that starts with an imperative verb and either has a sentence of its own or is
    joined by a word of order ("then", "finally") or by "and" with an object of its own. Sentences that say how to do a
    task ("use ...", "make sure ...") belong to the task before them, as does what is only told (a passage, a dialogue,
    list items). What stands in quotation marks or code asks for nothing.
    """
    masked = _QUOTED.sub(lambda found: "x" * len(found[0]), instruction)
    starts = _item_starts(masked) or [at for at, end in _clauses(masked) if _is_task(masked[at:end])]
    if len(starts) < 2:
        return (instruction.strip(),) if instruction.strip() else ()
    parts = [instruction[at:end].strip(" \n,;") for at, end in pairwise([0, *starts[1:], len(instruction)])]
    return tuple(part.removesuffix(" and").rstrip(" ,;") for part in parts)


def bare_task(text: str) -> str:
    """A task without the words that put it into an order: "then count them." is "Count them."."""
    bare = _JOINED_ON.sub("", text, count=1)
    return bare[:1].upper() + bare[1:]


def _item_starts(text: str) -> list[int]:
    """Where the tasks of a numbered list begin: numbers that count up from 1, each before an imperative verb."""
    items = [*_ITEM.finditer(text)]
    counts = [int(item["n"] or item["s"]) for item in items] == [*range(1, len(items) + 1)]
    tasks = counts and len(items) > 1 and all(_word_at(item["text"]) in verbs() for item in items)
    return [item.start() for item in items] if tasks else []


def _clauses(text: str) -> Iterator[tuple[int, int]]:
    """Where the clauses begin and end that may be tasks; lines that only tell (a speaker's, a bullet's) hold none."""
    at, told = 0, bool(_TOLD.match(text))
    for end in [*(found.end() for found in _SENTENCE.finditer(text)), len(text)]:
        if not told:
            joints = [joint.start() for joint in _JOINT.finditer(text, at, end) if _joins(text, at, joint)]
            yield from pairwise([at, *joints, end])
        at = end
        if text[at - 1 : at] == "\n" or "\n" in text[max(0, at - 4) : at]:
            told = bool(_TOLD.match(text, at))


def _joins(text: str, at: int, joint: re.Match[str]) -> bool:
    if joint["asks"]:
        return True
    before = text[max(at, joint.start() - 60) : joint.start()]
    word = (joint["then"] or joint["verb"]).lower()
    if joint["then"]:
        return word in verbs()
    return word in verbs() and word not in _SOFT and len(before.split()) > 2


def _is_task(clause: str) -> bool:
    lead = _LEAD.match(clause)
    text = clause[lead.end() if lead else 0 :]
    ordered = bool(lead and lead["order"])
    text = text[asking.end() :] if (asking := _ASKING.match(text)) else text
    word = _word_at(text)
    if _SOFT_START.match(text):
        return ordered
    if word in verbs() and (ordered or word not in _SOFT):
        return True
    closed = clause.rstrip(" \n\"”')")
    return len(text.split(None, 3)) > 2 and (closed.endswith("?") or (word in _QUESTION and closed[-1:].isalnum()))


def _word_at(text: str) -> str:
    found = re.match(r"[A-Za-z][A-Za-z'’-]{0,30}", text)
    return found[0].lower() if found else ""
