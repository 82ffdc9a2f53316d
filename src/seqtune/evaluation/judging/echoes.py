"""What of an answer does nothing: it repeats the request, praises itself, or declines, whoever quotes it.

Not every word that the request holds too is an echo: the sentence that was to be repeated, or the label that was to be
chosen, stands in both. An echo is a run of words that begins where the request begins to ask.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from seqtune.building.evidence import find_quote, plain
from seqtune.building.style import visible
from seqtune.building.tasks import split_tasks
from seqtune.building.tells import declines
from seqtune.data.example import Example, prompt_text

LEAST = 4  # words of a copy, or all of a shorter task: three words are common to many texts

_LONE = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"  # scripts without blanks: each sign counts as a word
_WORD = re.compile(rf"[{_LONE}]|[^\W{_LONE}]+")
_SOME = re.compile(r"\w")
_BLANK = "\0"
_UNSEEN = ("Cf", "Mn", "Me")  # soft hyphens, joiners, accents: what disguises a copy
# Letters of other scripts that look like Latin ones, each below its likeness.
_LIKENESS = str.maketrans("аеорсухіјѕԁһӏԛԝьмткнвαορνικτυχϲ", "aeopcyxijsdhlqwbmtkhbaopviktuxc")

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
# "Alle Aufgaben wurden erledigt.", "所有任务都已完成。"
_CLAIM_ELSEWHERE = re.compile(
    r"(?:^|(?<=[.!?:;。！？\s]))(?:"
    r"(?:ich habe )?(?:alle|sämtliche) (?:\w+ )?(?:aufgaben|schritte|anweisungen|anforderungen)"
    r"(?: (?:wurden|sind|worden|habe ich|vollständig|erfolgreich|wie|gewünscht|korrekt|der reihe nach|in der"
    r"|richtigen|reihenfolge|erledigt|abgeschlossen|ausgeführt|durchgeführt|erfüllt|befolgt|bearbeitet)){1,8}"
    r"|(?:j['’]ai \w+ )?(?:toutes les (?:\w+ )?(?:tâches|étapes|instructions|consignes|demandes)|tous les points)"
    r"(?: (?:ont|été|sont|toutes|bien|correctement|complètement|dans l['’]ordre|effectuées?|terminées?|accomplies?"
    r"|réalisées?|complétées?|achevées?|suivies?|exécutées?|faites?|remplies?|respectées?)){0,8}"
    r"|(?:(?:he|se han) \w+ )?(?:todas las (?:\w+ )?(?:tareas|instrucciones|etapas)|todos los (?:\w+ )?pasos)"
    r"(?: (?:se han|han sido|fueron|están|con éxito|correctamente|en orden|completad[ao]s?|realizad[ao]s?"
    r"|terminad[ao]s?|cumplid[ao]s?|hech[ao]s?|seguid[ao]s?|finalizad[ao]s?|ejecutad[ao]s?)){0,6}"
    r"|我?(?:已经?)?(?:完成了?)?(?:所有|全部)的?(?:任务|步骤|指令|要求|工作)(?:[都均已经全部成功按顺序地]{0,10}"
    r"(?:完成|执行|做完|遵循|达成)(?:了|完毕)?)?|(?:任务|步骤)(?:已经?)?[都均全部]{1,3}已?(?:完成|执行|做完)[了毕]?"
    r")(?=\s*(?:[.!?;。！*\")]|$))",
    re.I | re.M,
)
# An answer of nothing but these: "Verdict: Yes, 5", "Step 1: done. Step 2: done.", "<verdict>yes</verdict> score 5/5".
_ABOUT_ITSELF = re.compile(
    r"\W*(?:verdict|judge?ment|score|rating|quality|steps?|tasks?)(?:\W+(?:verdict|judge?ment|score|rating|quality|steps?"
    r"|tasks?|is|was|has|been|and|out|of|yes|true|ok|done|completed?|finished|fulfilled|passed|success|successful"
    r"|\d{1,3})\b)+\W*",
    re.I,
)
_PLACES = frozenset({"step", "steps", "task", "tasks", "is", "was", "has", "been", "and", "out", "of"})
_LOOSE_YES = re.compile(  # a request that may want a bare yes
    r"\b(?:whether|if|false|no)\b"
    r"|(?:^|[.!?:;,]\s+|\b(?:and|then) )(?:is|are|was|were|do|does|did|has|have|should)\s[^?.!\n]{0,300}\?",
    re.I | re.M,
)
# What may follow declining: it offers something else, or says what the model is.
_SENTENCES = re.compile(r"[^.!?\n。！？]+[.!?\n。！？]*")
_CANNOT = re.compile(
    r"[\s\"'“*]*(?:(?:(?:i(?:'m| am) )?(?:so |very |really )?sorry|i apologi[sz]e|my apologies|unfortunately"
    r"|regrettably|no|as an ai(?: (?:language )?model| assistant)?)[\s,;:-]{1,3})?(?:but |however,? )?"
    r"(?:i(?:'m| am)? (?:(?:must|have to|will have to|need to|would|'ll) )?(?:respectfully |politely )?"
    r"(?:decline|refuse)\b"
    r"|i (?:can(?:no|')t|can not|won't|will not|could not|couldn't) (?:\w+ly )?"
    r"(?:do (?:that|this|it|so|any of)\b|help\b|assist|fulfil|comply|complete (?:this|that|the|your)"
    r"|answer (?:this|that|the|your)|respond to|proceed|continue with|engage|provide|perform|carry out|support)"
    r"|i(?:'m| am) (?:not able|unable|not allowed|not permitted|not willing|unwilling) to (?:do|help|assist|fulfil"
    r"|comply|complete|answer|respond|proceed|continue|engage|provide|perform|carry out|process)"
    r"|(?:i(?:'m| am) )?sorry(?: to say)?(?:,? no)?[.!]*\s*$"
    r"|es tut mir (?:sehr )?leid|(?:leider )?(?:ich )?kann (?:ich )?(?:\w+ ){0,4}nicht (?:helfen|erfüllen|beantworten"
    r"|tun|machen|nachkommen|ausführen|weiterhelfen)|leider (?:kann|darf) ich"
    r"|(?:je suis |je )?(?:vraiment )?(?:désolée?|regrette)\b|je ne (?:peux|puis|suis) pas (?:\w+ ){0,2}(?:aider|faire"
    r"|répondre|capable|en mesure|accéder|traiter|accomplir)|lo siento|(?:me temo que )?no (?:puedo|soy capable de) "
    r"(?:\w+ ){0,2}(?:ayudar|hacer|cumplir|responder|realizar|completar|atender|asistir)"
    r"|(?:很|非常)?(?:抱歉|对不起|遗憾)|我(?:\w{0,4})(?:无法|不能|没办法)(?:\w{0,4})(?:帮|协助|完成|满足|回答|提供|做|执行|处理)"
    r"|申し訳|対応できません|죄송)",
    re.I,
)
_OFFER = re.compile(
    r"\s*(?:(?:however|but|instead|if)\b.{0,80})?"
    r"(?:let me know|feel free|please (?:provide|share|try|ask|let|consult|rephrase)|is there (?:anything|something)"
    r"|(?:how|what) (?:else )?can i|(?:can|may) i help|as an? (?:ai|language)"
    r"|i(?:['’]m| am)(?: just| only)? an? (?:ai|language)"
    r"|i(?:['’]d| would| will|['’]ll)? be (?:happy|glad)|(?:i )?(?:hope|thank|apologi[sz]e)"
    r"|kann ich (?:dir|ihnen) |bei anderen|wenn (?:du|sie) |n['’]hésitez pas|puis-je |si vous |puedo ayudar"
    r"|si (?:tiene|nec)"
    r"|如果|请|有什么|还有)",
    re.I,
)
# A request that may want such words: "Write a polite reply that turns the offer down."
_WANTS_REFUSAL = re.compile(
    r"\b(?:apolog\w+|sorry|declin(?:e|es|ing)|refus(?:e|es|al|ing)|reject(?:s|ing|ion)?"
    r"|turn(?:s|ing)? (?:\w+ ){0,4}down|excuses?|repl(?:y|ies)|dialogues?|(?:rejection|resignation) (?:letter|e?mail)"
    r"|(?:write|draft|compose) (?:\w+ ){0,3}(?:letter|e?mail|message|response))\b",
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
    (text, places), kept = _folded(answer), list(answer)
    sources = [(prompt, split_tasks(instruction)), *((task, (task,)) for task in tasks)]
    copies = [(places[begin], places[end - 1] + 1) for begin, end in _echoes(text, sources)]
    if (letters := _letters(answer)) and letters in (_letters(instruction), _letters(prompt)):
        copies = [(0, len(answer))]  # also with a blank after each letter
    for begin, end in [*copies, *_verdicts(answer, prompt)]:
        kept[begin:end] = [_BLANK * len(sign.casefold()) for sign in answer[begin:end]]
    return "".join(kept)


def _echoes(text: str, sources: Sequence[tuple[str, Sequence[str]]]) -> Iterator[tuple[int, int]]:
    for source, asks in sources:
        words = _WORD.findall(_folded(source)[0])
        for start, length in _leads(words, asks):
            yield from _copies(text, words[start:], min(LEAST, length))


def _verdicts(answer: str, prompt: str) -> Iterator[tuple[int, int]]:
    """The places of what speaks of the answer itself: verdicts and claims, or all of one that only declines."""
    asked = prompt.casefold()
    if only_declines(answer, prompt) or _only_claims(answer, prompt):
        yield 0, len(answer)
    if _OBJECT.search(answer) or _MARK.search(answer):
        yield from [found.span() for form, sign in _FORMS if sign not in asked for found in form.finditer(answer)]
    claims = [*_CLAIM.finditer(answer), *_CLAIM_ELSEWHERE.finditer(answer)]
    yield from [found.span() for found in claims if found[0].casefold().strip(" .!") not in asked]


def _only_claims(answer: str, asked: str) -> bool:
    """Whether an answer is a row of verdicts on itself, and the request does not ask for what could look like one."""
    if not _ABOUT_ITSELF.fullmatch(answer):
        return False
    verdicts = {word for word in _WORD.findall(answer.casefold()) if not word.isdigit()} - _PLACES
    if not verdicts or verdicts & {*_WORD.findall(asked.casefold())}:
        return False
    return bool(verdicts - {"yes", "true"}) or not _LOOSE_YES.search(asked)


def only_declines(answer: str, asked: str) -> bool:
    """Whether an answer says that it cannot help, and nothing else but what it offers in place of it.

    Args:
        answer: any text.
        asked: the prompt; one that may ask for words that decline, such as a reply, has no refusals.
    """
    sentences = [one.strip() for one in _SENTENCES.findall(answer) if one.strip()]
    if not sentences or not _declines(sentences[0], asked) or _WANTS_REFUSAL.search(asked):
        return False
    return all(_declines(one, asked) or _OFFER.match(one) for one in sentences)


def _declines(sentence: str, asked: str) -> bool:
    return declines(sentence, asked) or _CANNOT.match(sentence.replace("’", "'")) is not None


def says_something(rest: str) -> bool:
    """Whether an answer `without_echoes` holds a word of substance, or, where nothing is blanked, any sign to see."""
    return _SOME.search(_OPENING.sub("", rest)) is not None if _BLANK in rest else bool(visible(rest).strip())


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


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """The text as copies are looked for, whatever disguises them, and of each of its signs the place in the text."""
    if text.isascii():
        return text.lower(), range(len(text))
    signs = [
        (one, place)
        for place, sign in enumerate(text)
        for one in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", sign).casefold()).translate(_LIKENESS)
        if unicodedata.category(one) not in _UNSEEN
    ]
    return "".join([one for one, _ in signs]), [place for _, place in signs]


def _letters(text: str) -> str:
    return "".join(_WORD.findall(_folded(text)[0]))


def _leads(words: Sequence[str], asks: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each task begins among the words of its source, and how many words it has."""
    at = 0
    for ask in asks:
        wanted = _WORD.findall(_folded(ask)[0])
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
