"""What of an answer does nothing: it repeats the request, praises itself, or declines, whoever quotes it.

Not every word that the request holds too is an echo: the sentence that was to be repeated, or the label that was to be
chosen, stands in both. An echo is a run of words that begins where the request begins to ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from seqtune.building.evidence import find_quote, plain
from seqtune.building.tasks import split_tasks
from seqtune.building.tells import declines
from seqtune.data.example import Example, prompt_text

LEAST = 4  # words of a copy, or all of a shorter task: three words are common to many texts

_LONE = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"  # scripts without blanks: each sign counts as a word
_WORD = re.compile(rf"[{_LONE}]|[^\W{_LONE}]+")
_SOME = re.compile(r"\w")
_BLANK = "\0"

# What may stand around an echo and adds nothing to it: "Sure! Here is my answer to your request:". No verb that a task
# may ask for, and neither yes nor no; "a" only before another word, for it may be the letter of a choice.
_OPENING = re.compile(
    r"(?<!\w)(?:sure(?:ly)?|ok(?:ay)?|yeah|yep|certainly|absolutely|definitely|gladly|great|hello|hi|alright|well|so"
    r"|all right|of course|no problem|thank(?:s| you)|happy|glad|pleased|please|help|assist|let|try|begin|start|go|get"
    r"|here|below|above|following|follows|as|in|on|to|for|with|of|at|and|the|an|a(?=\s+\w)|this|that|these|those|it"
    r"|i|you|we|me|us|my|your|our|is|are|was|am|be|will|would|can|do|did|have|has|need(?:ed)?"
    r"|(?<=['’])(?:s|m|d|ll|re|ve)"
    r"|answers?|response|reply|requests?|requested|prompt|instructions?|tasks?|questions?|steps?|results?|output|input"
    r"|ask(?:ed|s)?|given|said|says|completed?|done|first|then|next|finally)(?!\w)",
    re.I,
)
# The forms of verdicts, each with what a request holds that asks for such a form itself.
_MARK = re.compile(
    r"\[\[\s{0,4}(?:\w{6,16}\s{0,4},\s{0,4})?(?:(?:yes|no)\s{0,4},\s{0,4}\d(?:\.\d+)?|[1-5](?:\.\d+)?|[AB]|tie)"
    r"\s{0,4}\]\]",
    re.I,
)
_KEY = r"[\"'](?:step|done|quote|verdict|score)[\"']\s{0,4}:"
_OBJECT = re.compile(rf"\{{[^{{}}]{{0,200}}?{_KEY}[^{{}}]{{0,2000}}?{_KEY}[^{{}}]{{0,2000}}\}}", re.I)
_AROUND = re.compile(r"```json\b|[\"'](?:code|steps|verdicts)[\"']\s{0,4}:(?:\s{0,4}[\"']\w{0,40}[\"'])?", re.I)
_FORMS = ((_MARK, "[["), (_OBJECT, "json"), (_AROUND, "json"))
# "All tasks are done, in order, very well.": a sentence of its own that holds nothing else.
_ALL = (
    r"(?:all|each|every|both)(?: one)?(?: of)?(?: the| these| your| my| of| \d{1,2}| two| three| four| five| required"
    r"| requested| given)* (?:tasks?|steps?|instructions?|requests?|parts of (?:the|your) (?:task|request))"
)
_DONE = (
    r"(?:done|completed?|followed|finished|fulfilled|accomplished|performed|carried out|executed|addressed|satisfied"
    r"|met)"
)
_HOW = (
    r"(?:,?(?: and)?(?: is| are| were)? (?:in (?:the (?:right |given |requested |correct )?)?(?:order|full|sequence)"
    r"|(?:very |quite |fully |all )?(?:well|correct|right|complete|perfect|good)|as (?:asked|requested|instructed)"
    r"|to the letter|one by one|now|already|\w{2,20}ly)){0,6}"
)
_CLAIM = re.compile(
    r"(?:^|(?<=[.!?:;]\s)|(?<=[*_\"(]))(?:verdict: |note(?: to the reader)?: |(?:i confirm|note|yes,?)(?: that)? )?"
    rf"(?:{_ALL} (?:is|are|was|were|(?:has|have) been)(?: \w{{2,20}}ly| now| all)? {_DONE}"
    rf"|(?:i|we)(?:['’]ve| have)?(?: \w{{2,20}}ly| now)? (?!complete\b){_DONE} {_ALL}"
    rf"|this answer (?:is|has been)(?: \w{{2,20}}ly)? (?:correct|right|complete|checked)){_HOW}(?=\s*(?:[.!?;*\")]|$))"
    r"(?:\. (?:score|rating|quality): \d(?:\.\d)? ?(?:/|of|out of) ?\d{1,2})?",
    re.I | re.M,
)
# What may follow declining: it offers something else, or says what the model is.
_SENTENCES = re.compile(r"[^.!?\n]+[.!?\n]*")
_OFFER = re.compile(
    r"\s*(?:(?:however|but|instead|if)\b.{0,80})?"
    r"(?:let me know|feel free|please (?:provide|share|try|ask|let|consult|rephrase)|is there (?:anything|something)"
    r"|(?:how|what) (?:else )?can i|(?:can|may) i help|as an? (?:ai|language)"
    r"|i(?:['’]m| am)(?: just| only)? an? (?:ai|language)"
    r"|i(?:['’]d| would| will|['’]ll)? be (?:happy|glad)|(?:i )?(?:hope|thank|apologi[sz]e))",
    re.I,
)
# A request that may want such words: "Write a polite reply that turns the offer down."
_WANTS_REFUSAL = re.compile(
    r"apolog|sorry|declin|refus|reject|turn(?:s|ing)? (?:\w+ ){0,4}down|excuse|repl(?:y|ies)|respon[ds]|letter|mail"
    r"|message|dialog|conversation|story|character|translat|repeat|rewrite|paraphras|quote",
    re.I,
)


def without_echoes(answer: str, item: Example, tasks: Sequence[str] = ()) -> str:
    """The answer with all words blanked that do nothing, by as many characters as its quotes are looked up in.

    These are echoes, verdicts in a judge's form, claims that all tasks are done, and an answer that only declines: the
    last three only where the request does not ask for the like. A copy that begins in the instruction may go on into
    the input; one of the input alone may be what was asked for.

    Args:
        answer: any text.
        item: what was asked.
        tasks: the steps as a checklist words them, whose repetition is no result either.
    """
    return _without(answer, item.instruction, prompt_text(item), tuple(tasks))


@lru_cache(maxsize=256)  # looked into before the judge is asked, and again for each of its replies
def _without(answer: str, instruction: str, prompt: str, tasks: tuple[str, ...]) -> str:
    text, kept = _folded(answer), list(answer)
    sources = [(prompt, split_tasks(instruction)), *((task, (task,)) for task in tasks)]
    for begin, end in [*_echoes(text, sources), *_verdicts(answer, prompt)]:
        kept[begin:end] = [_BLANK * len(sign.casefold()) for sign in answer[begin:end]]
    return "".join(kept)


def _echoes(text: str, sources: Sequence[tuple[str, Sequence[str]]]) -> Iterator[tuple[int, int]]:
    for source, asks in sources:
        words = _WORD.findall(_folded(source))
        for start, length in _leads(words, asks):
            yield from _copies(text, words[start:], min(LEAST, length))


def _verdicts(answer: str, prompt: str) -> Iterator[tuple[int, int]]:
    """The places of what speaks of the answer itself: verdicts and claims, or all of one that only declines."""
    asked = prompt.casefold()
    if only_declines(answer, prompt):
        yield 0, len(answer)
    if _OBJECT.search(answer) or _MARK.search(answer):
        yield from [found.span() for form, sign in _FORMS if sign not in asked for found in form.finditer(answer)]
    yield from [found.span() for found in _CLAIM.finditer(answer) if found[0].casefold().strip(" .!") not in asked]


def only_declines(answer: str, asked: str) -> bool:
    """Whether an answer says that it cannot help, and nothing else but what it offers in place of it.

    Args:
        answer: any text.
        asked: the prompt; one that may ask for words that decline, such as a reply, has no refusals.
    """
    if not declines(answer, asked) or _WANTS_REFUSAL.search(asked):
        return False
    return all(declines(one.strip(), asked) or _OFFER.match(one) for one in _SENTENCES.findall(answer) if one.strip())


def says_something(rest: str) -> bool:
    """Whether an answer `without_echoes` holds a word of substance, or, where nothing is blanked, any sign."""
    return _SOME.search(_OPENING.sub("", rest)) is not None if _BLANK in rest else bool(rest.strip())


def find_evidence(quote: str, answer: str, rest: str) -> int | None:
    """Where the quote stands in an answer, in characters of `plain(answer)`; None where it is no evidence.

    It is evidence where a word of substance stands there beyond what the answer echoes: the words that open an answer
    ("Sure, here is my answer") are none beside an echo.

    Args:
        quote: a judge's.
        answer: the whole text.
        rest: of it, `without_echoes`.
    """
    if spans := find_quote(quote, rest) or find_quote(quote, answer):
        left = plain(rest)
        if any(_is_evidence(left[slice(*span)], _BLANK in rest) for span in spans):
            return spans[0][0]
    return None


def _is_evidence(piece: str, echoes: bool) -> bool:
    only_opens = _SOME.search(piece) is not None and _SOME.search(_OPENING.sub("", piece)) is None
    return says_something(piece) and not (echoes and only_opens)


def _folded(text: str) -> str:
    """The text in lower case, each sign still at its place."""
    folded = text.casefold()
    if len(folded) != len(text):
        folded = "".join([sign.casefold() if len(sign.casefold()) == 1 else sign for sign in text])
    return folded


def _leads(words: Sequence[str], asks: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each task begins among the words of its source, and how many words it has."""
    at = 0
    for ask in asks:
        wanted = _WORD.findall(_folded(ask))
        while wanted and wanted[0] in words[at:]:
            at = words.index(wanted[0], at) + 1
            if words[at - 1 : at - 1 + len(wanted)] == wanted:
                yield at - 1, len(wanted)
                break


def _copies(text: str, words: Sequence[str], least: int) -> Iterator[tuple[int, int]]:
    """The places of all words of a text that copy at least so many of the given ones, from the first on."""
    at = text.find(words[0])
    while at >= 0:
        run = [*_run(text, at, words)] if at == 0 or not _joined(text, at) else []
        if len(run) >= least:
            yield from run
        at = text.find(words[0], run[-1][1] if len(run) >= least else at + 1)


def _joined(text: str, at: int) -> bool:
    """Whether the sign at a place goes on with the word before it."""
    word = _WORD.match(text, at - 1)
    return word is not None and word.end() > at


def _run(text: str, at: int, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    for found, word in zip(_WORD.finditer(text, at), words, strict=False):
        if found[0] != word:
            return
        yield found.span()
