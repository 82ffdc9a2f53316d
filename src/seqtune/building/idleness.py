"""Whether a step leaves nothing to write down: "read the text", "consider the audience", "what is your budget?"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

from seqtune.building.language import words
from seqtune.building.wording import verbs

_LEAD_IN = re.compile(
    r"(?:(?:step|task) \d+\W+|\d+[.):]\W*|[-*•]\s*|(?:first(?:ly)?|then|next|second(?:ly)?|third(?:ly)?|finally|lastly"
    r"|afterwards?|after that|before (?:that|answering|responding|starting|proceeding)|now|please|kindly|carefully"
    r"|thoroughly|closely|briefly|quickly|simply|critically"
    r"|(?:take|spend) (?:a|some|your|a few|the)(?: \w+)? (?:moments?|time|minutes?) (?:to|and)|take time to"
    r"|(?:begin|start)(?: off)? (?:by|with)|you (?:should|must|need to|have to|will|can|may)|your (?:\w+ )?task is to"
    r"|be sure to|try to|remember to|by|and|to|let's|do)\b[\s,:]*)+",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"(?:[,;:.]|\b(?:and|then|to|before|by))\s+(?:(?:and|then|also|to|\w+ly)\s+)*(\w+)", re.IGNORECASE
)
_ASPECT = re.compile(
    r"\b(?:of|for|between|whether|how|why|what|which|who|where|when|if|in terms|differences?)\b", re.IGNORECASE
)
_THING_AT_HAND = re.compile(
    r"(?:\W*(?:the|this|that|these|those|each|every|both|all|given|provided|following|above|below|input|original|two"
    r"|three|your|its|it|them)\b)+\W+(?:\w+ )?(?:texts?|passages?|paragraphs?|sentences?|statements?|articles?"
    r"|questions?|premises?|contexts?|hypothes[ie]s|information|data|dataset|inputs?|expressions?|equations?|problems?"
    r"|tasks?|instructions?|prompts?|reviews?|tweets?|poems?|stor(?:y|ies)|lyrics|images?|tables?|lists?|codes?"
    r"|options|choices|phrases?|words?|documents?|emails?|conversations?|dialogues?|examples?|items?|numbers?|topics?"
    r"|scenarios?|situations?|quer(?:y|ies))\b|\W*(?:it|them|this|these)\b(?!\s\w)",
    re.IGNORECASE,
)
_LOOKED_AT = 300  # characters: how a step begins and goes on


def is_idle(step: str) -> bool:
    """Whether the step's leading verb is idle, and no verb after it asks for something; only English is known.

    "Read the text" is; "read the text and list its characters" is not, nor is "analyse the tone of the text".
    """
    text = step.replace("’", "'").strip()[:_LOOKED_AT]
    lead_in = _LEAD_IN.match(text)
    task = text[lead_in.end() :] if lead_in else text
    found = words(task)
    if not found or task.endswith("?"):
        return False
    phrase, mild = _idle_phrase(found)
    if not phrase or (mild and not _is_whole(task[len(phrase) :])):
        return False
    return not any(_asks(verb[1], task[verb.end() :]) for verb in _GOES_ON.finditer(task))


def _idle_phrase(found: Sequence[str]) -> tuple[str, bool]:
    """The idle phrase that the words begin with ("" for none), and whether it is idle only on the thing at hand."""
    table = idle_verbs()
    for first in _uninflected(found[0]):
        for length in (5, 4, 3, 2, 1):
            phrase = " ".join([first, *found[1:length]])
            if len(found) >= length and phrase in table:
                return phrase, table[phrase]
    return "", False


def _is_whole(thing: str) -> bool:
    """Whether what is to be analysed is the thing at hand as such, and nothing particular of it."""
    return _THING_AT_HAND.match(thing) is not None and not _ASPECT.search(thing)


def _asks(verb: str, thing: str) -> bool:
    idle = idle_verbs()
    forms = [form for form in _uninflected(verb.lower()) if form in verbs() or idle.get(form)]
    return any(form not in idle or (idle[form] and not _is_whole(thing)) for form in forms)


def _uninflected(word: str) -> tuple[str, ...]:
    """The word, and what it may be the -ing form of."""
    if not word.endswith("ing") or len(word) < 6:
        return (word,)
    stem = word[:-3]
    return word, stem, f"{stem}e", stem[:-1]


@cache
def idle_verbs() -> dict[str, bool]:
    """The verbs and phrases that lead idle steps, and whether each is idle only on the thing at hand."""
    text = resources.files("seqtune.building").joinpath("idle_verbs.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.lstrip("~ "): line.startswith("~") for line in lines}


_TO_USER = re.compile(
    r"\b(?:are|were) you (?:most |currently |also |more |already |specifically )?(?:interested|looking|planning|using"
    r"|trying|familiar|aiming|working|hoping|attempting|comfortable|considering)\b"
    r"|\b(?:do|did|would|will) you (?:currently |usually |typically |already |personally |most )?(?:want|prefer|like"
    r"|enjoy|need|plan|own|use|feel|hope|wish|have(?! (?:any )?(?:suggest|recommend|tips|advice|ideas|information)))\b"
    r"|\bhave you\b|\bwhat (?:is|are|were|was) your (?!opinion|recommend|suggest|advice|thought|take)"
    r"|\bhow (?:old|often|long|familiar|experienced|comfortable) (?:is|are|do|were|have)\b[^?.]*\byour?\b"
    r"|\b(?:specify|clarify|indicate|share)\b[^.?]*\b(?:you(?!r)|your (?!answer|reason|findings|result))",
    re.IGNORECASE,
)


def asks_user(step: str) -> bool:
    """Whether the step asks the user back ("What is your budget?"), which no answer of a model can do; English only."""
    return _TO_USER.search(step[:_LOOKED_AT]) is not None
