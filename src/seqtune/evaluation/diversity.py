"""How diverse the steps of a set are: which verb leads each, on which object, and how these are spread.

As in the figures of the paper and of Self-Instruct, but told by rules from the words, without a parser: the verb is
the first word after what puts a step in its place ("then", "based on this,", "could you"), and the object is the head
of the first group of nouns after it. Questions count under their question word. Only English is known.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from seqtune.building.draft import Choice
from seqtune.building.seq_instruct import step_kinds
from seqtune.building.tasks import bare_task, split_tasks
from seqtune.building.wording import verbs
from seqtune.data.example import Example, Step

YES_OR_NO = "is it so?"  # the verb of "Is ...?", "Does ...?"


class Pair(NamedTuple):
    """The verb of a step, and the head of its object; "" where it has none."""

    verb: str
    object: str


class VerbLine(NamedTuple):
    """One line of the table of verbs.

    Args:
        verb: or a question word with its mark: "what?".
        steps, share: how many it leads, and which share of those whose verb could be told.
        objects: with their counts, the most frequent first.
    """

    verb: str
    steps: int
    share: float
    objects: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Diversity:
    """The verbs and objects of a set's steps.

    Args:
        rows: how many rows were looked at.
        pairs: verb and object -> in how many steps, the most frequent first.
        untold: steps whose verb could not be told, such as those of another language.
    """

    rows: int
    pairs: Mapping[Pair, int]
    untold: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps whose verb could be told."""
        return sum(self.pairs.values())

    @property
    def distinct_share(self) -> float | None:
        """Different pairs by steps; smaller for larger sets, so compare sets of one size."""
        return len(self.pairs) / self.steps if self.steps else None

    @property
    def entropy(self) -> float | None:
        """1 where no two steps have the same pair, 0 where all have; None of less than two steps."""
        if self.steps < 2:
            return None
        shares = [count / self.steps for count in self.pairs.values()]
        return sum(-share * math.log(share) for share in shares) / math.log(self.steps)

    def verbs(self, most: int | None = None, objects: int | None = None) -> list[VerbLine]:
        """The verbs, the most frequent first.

        Args:
            most: how many verbs.
            objects: how many objects of each.
        """
        by_verb: dict[str, Counter[str]] = {}
        for pair, count in self.pairs.items():
            by_verb.setdefault(pair.verb, Counter())[pair.object] += count
        order = sorted(by_verb.items(), key=lambda item: (-item[1].total(), item[0]))[:most]
        return [
            VerbLine(verb, found.total(), found.total() / self.steps, tuple(found.most_common(objects)))
            for verb, found in order
        ]


def verbs_and_objects(rows: Iterable[Example | str], of: Literal["added", "all"] = "added") -> Diversity:
    """The verb and the object of each step of a set.

    Args:
        rows: rows that `seqtune build` or `build_seqeval` wrote, as `seqtune.read` gives them; or steps, as text.
        of: of rows: only the steps that were added, or all tasks of the instruction.
    """
    found, untold, seen = Counter[Pair](), list[str](), 0
    for row in rows:
        seen += 1
        steps = [row] if isinstance(row, str) else added_steps(row) if of == "added" else all_steps(row)
        for step in steps:
            if pair := verb_and_object(step):
                found[pair] += 1
            else:
                untold.append(step)
    return Diversity(seen, dict(found.most_common()), tuple(untold))


def all_steps(row: Example) -> list[str]:
    """All tasks of a row: its steps, or else what its instruction can be split into."""
    return [step.text for step in row.steps] or [*split_tasks(row.instruction)]


def added_steps(row: Example) -> list[str]:
    """What a build or `build_seqeval` put to a row's own task, or made of it by splitting it."""
    if row.steps:
        return [step.text for step in row.steps if step.kind != "seed"]
    rounds, text, added = row.meta.get("rounds"), str(row.meta.get("original", "")), list[str]()
    for one in rounds if isinstance(rounds, Sequence) else ():
        if isinstance(one, Mapping) and one.get("mode") in get_args(Choice):
            added += added_tasks(text, one["mode"], text := str(one.get("instruction", "")))
    return added


def added_tasks(before: str, choice: Choice, after: str) -> list[str]:
    """The tasks of a rewritten instruction that the one before it did not have.

    Args:
        before, after: the instructions.
        choice: what was done to it; of a decomposed instruction all tasks count.
    """
    row = Example(before, steps=tuple([Step(bare_task(task)) for task in split_tasks(before)]))
    steps = step_kinds(row, choice, [bare_task(task) for task in split_tasks(after)])
    return [step.text for step in steps if step.kind != "seed"]


# --- the verb --------------------------------------------------------------------------------------------------------

_ORDER = (
    r"first(?:ly)?|second(?:ly)?|third(?:ly)?|then|next|finally|lastly|last|now|also|additionally|furthermore|moreover"
    r"|afterwards?|subsequently|in addition|after (?:that|this|which)|following (?:that|this)|if so|and|but|or|so|too"
)
_CLAUSE = (  # "based on your list, ...": with its comma
    r"(?:after|once|based on|using|with|from|given|for|before|in|upon|when|while|if|by|as|at|on|to|considering"
    r"|following|followed|having|building|beyond|besides|under|within|regarding|drawing|through|during|without|despite"
    r"|instead of|assuming)"
    r"\s[^,.?!;\n]{1,120}[,;]"
)
_ASKING = (
    r"please|kindly|(?:can|could|would|will) you|you (?:should|must|need to|have to|are to|will|can|may)"
    r"|(?:i|we) (?:want|need|would like|'d like) you to|(?:i|we) (?:want|need|would like|'d like) to"
    r"|(?:i )?would like to|your (?:\w+ )?(?:task|job|goal) is to|be sure to|try to|make sure to|remember to"
    r"|do(?: not|n't) forget to|go on to|proceed to|help (?:me|us)(?: to)?|take (?:a|some) (?:\w+ )?(?:time|moment) to"
    r"|(?:begin|start)(?: off)? by|continue by|follow(?:ed)?(?: (?:this|that|it))?(?: up)? (?:by|with)|let's|let us"
    r"|(?:in|on|at|for|by|to|from|with|of|under) (?=which|what|whom|how)"
)
_NO_ADVERB = r"(?!(?:apply|reply|supply|multiply|comply|rely|imply|tally|rally|ally|bully|fly)\b)"
_BEFORE_VERB = re.compile(
    r"(?:[\s,;:*_#>\"'“”‘’`(\[-]+|(?:step |task )?\d{1,2}[.):]\s"
    rf"|(?:{_ORDER}|{_ASKING}|{_NO_ADVERB}[a-z]{{3,20}}ly)\b|{_CLAUSE})*",
    re.I,
)
_AND_VERB = re.compile(r"\s*(?:,|(?:,\s*)?\b(?:and|or)\b)\s*([A-Za-z]+)", re.I)
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")
_LOOKED_AT = 800  # characters of a step
_WORD = re.compile(r"[^\W\d_][\w'’-]*")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ASKS = frozenset({"what", "which", "who", "whom", "whose", "how", "why", "where", "when"})
_IS = _words(
    "is are was were am be been do does did can could should would will shall may might must has have had isn't "
    "aren't doesn't don't"
)


def verb_and_object(step: str) -> Pair | None:
    """The verb that leads a step and the head of its object; None where no sentence of it begins with a known verb.

    "Then list the three main causes of the war" is ("list", "cause"), "What are its parts?" is ("what?", "part").
    """
    told = (_of_sentence(sentence) for sentence in _SENTENCE.split(step.replace("’", "'")[:_LOOKED_AT]))
    return next(filter(None, told), None)


def _of_sentence(text: str) -> Pair | None:
    lead = _BEFORE_VERB.match(text)
    word = _WORD.match(text, lead.end() if lead else 0)
    if not word:
        return None
    said, rest = word[0].lower(), text[word.end() :]
    if verb := _base(said):
        second = _AND_VERB.match(rest)  # "research and list the causes": both have the one object
        return Pair(verb, _object(rest[second.end() :] if second and _base(second[1].lower()) else rest))
    asks, _, _ = said.partition("'")  # "what's"
    if asks in _ASKS:
        return Pair(f"{asks}?", _asked(asks, rest))
    return Pair(YES_OR_NO, "") if said in _IS else None


# Verbs that teachers add; a row's own instruction that begins with one of them may begin with a name or a noun as well.
_MORE_VERBS = frozenset({"acknowledge", "deconstruct", "empathise", "empathize", "play", "watch", "contextualize"})


def _base(word: str) -> str:
    """The verb that a word is a form of, "" for none."""
    forms = [word]
    if word.endswith("ing") and len(word) > 5:
        forms += [word[:-3], f"{word[:-3]}e", word[:-4]]
    return next((form for form in forms if form in verbs() or form in _MORE_VERBS), "")


# --- the object ------------------------------------------------------------------------------------------------------

_SKIPPED = _words(  # before the nouns, and no part of them
    "a an the this that these those my your his her its our their another any some each every all both either "
    "no such one two three four five six seven eight nine ten several many few more most other further "
    "additional different various multiple certain following given provided me us them it him you out up down "
    "off back over through about on upon at for with between to into from of in as least only just also "
    "possible specific own same whole entire single first second third next last final"
)
_ENDS = _words(  # what comes after the nouns
    "of in on at for with without from to into by about between among against during across through over under "
    "after before within throughout towards toward upon around along like per via regarding concerning than as "
    "and or but nor so then while because since though although if unless until not that which who whom whose "
    "where when how why what whether using based including such below above again together here there now aloud "
    "only too either i you he she it we they them him us me this these those your my his her its our their the "
    "a an each every any all both mean means"
)
_CLAUSES = frozenset({"how", "why", "what", "whether", "which", "who", "whose", "where", "when", "if"})
_ARTICLES = frozenset({"a", "an", "the", "its", "their", "your", "this", "that", "these", "each"})
_IN_ORDER = frozenset({"first", "second", "third", "next", "last", "step-by-step"})
_BY = frozenset({"by", "in", "at", "to", "on", "from", "for", "with", "of", "as", "into", "during"})
_QUOTES = frozenset("\"“'‘")
_ADJECTIVE = ("ive", "ful", "ous", "able", "ible", "less", "ical", "ary")  # "creative and clear titles"
_ADJECTIVES = _words(
    "short long brief concise detailed simple clear new old good bad main key major minor big small strong weak unique"
    " common important relevant interesting engaging similar positive negative basic general formal informal"
)
_AFTER_NOUN = _words(
    "present available used involved mentioned listed needed required discussed identified described found "
    "generated related associated made created written called named given provided taken necessary worth "
    "relevant known needed containing explaining describing showing highlighting detailing outlining comparing "
    "summarising summarizing introducing illustrating listing relating according due starting beginning ending "
    "obtained chosen selected outlined expressed observed stated introduced caused presented contained affected "
    "located similar specific"
)
_TOKEN = re.compile(r"[^\W\d_](?:[\w'-]*\w)?|\d[\w.,]*|[.,;:!?()\n–—\"“]|(?<!\w)['‘]")


def _object(text: str) -> str:
    """The head of the first group of nouns, or the word that opens a clause in its place ("how", "why")."""
    tokens: list[str] = [*_TOKEN.findall(text.lower())[:24], "."]
    found: list[str] = []
    for token, after in pairwise(tokens):
        if not found and token in _CLAUSES:
            return token
        if not found and (token in _SKIPPED or token[0].isdigit() or token in _QUOTES or _is_adverb(token)):
            continue
        if found and token in ("and", "or", ",") and (found[-1] in _ADJECTIVES or found[-1].endswith(_ADJECTIVE)):
            continue
        if not token[0].isalpha() or token in _ENDS | _IS or (found and _ends_nouns(found[-1], token, after)):
            break
        found.append(token)
    while len(found) > 1 and _is_adverb(found[-1]):
        found.pop()
    return _singular(found[-1].removesuffix("'s")) if found else ""


def _ends_nouns(before: str, word: str, after: str) -> bool:
    """ "steps involved", "an essay arguing how": but not "the most commonly used words"."""
    if word in _AFTER_NOUN:
        return not _is_adverb(before) and before not in ("well", "best", "often")
    if word.endswith("ed") and after in _BY:
        return True
    return word in _IN_ORDER or (word.endswith("ing") and after in _ARTICLES | _CLAUSES)


def _is_adverb(word: str) -> bool:
    return word.endswith("ly") and word not in ("family", "assembly", "anomaly", "reply", "supply", "fly", "butterfly")


def _asked(word: str, rest: str) -> str:
    """What a question is about, where that is a noun: "what are the parts", "which countries", "how many people"."""
    first = _TOKEN.match(rest.strip().lower())
    if word == "how" and (not first or first[0] not in ("many", "much")):
        return ""
    if word in ("why", "where", "when", "who", "whom"):
        return ""
    start = first.end() if first and first[0] in _IS else 0
    return _object(rest.strip()[start:])


_PLURALS = {
    "people": "person", "children": "child", "men": "man", "women": "woman", "criteria": "criterion", "lives": "life",
    "phenomena": "phenomenon", "analyses": "analysis", "hypotheses": "hypothesis", "theses": "thesis", "bases": "basis",
    "crises": "crisis", "leaves": "leaf", "halves": "half", "feet": "foot", "teeth": "tooth", "indices": "index",
    "movies": "movie", "cookies": "cookie", "series": "series", "species": "species", "news": "news", "lens": "lens",
    "emphases": "emphasis", "axes": "axis", "calories": "calorie", "pros": "pros",
}  # fmt: skip


_SCIENCES = frozenset(
    {"mathematics", "physics", "economics", "politics", "ethics", "statistics", "linguistics", "genetics"}
)


def _singular(word: str) -> str:
    if word in _PLURALS:
        return _PLURALS[word]
    if word in _SCIENCES:
        return word
    if len(word) < 4 or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes", "zes")) else word[:-1]
