"""What gives a teacher's reply away: that it declined, or wrote about its prompt in place of doing what it says."""

from __future__ import annotations

import re

_OPENING = r"[\s\"'“*]*"
_CANNOT = (
    r"(?:can(?:no|')?t|can not|won't|will not|(?:am|'m) (?:not able|unable) to|(?:am|'m) not capable of)"
    # A letter may open so: "I'm sorry, but I can't make it to the party".
    r"(?! (?:\w+ )?(?:make it|come|attend|join|go|be|work|stay|meet|accept|talk|leave|wait|forgive|love|sleep|stop)\b)"
)
_DO = r"(?:assist|help|provide|fulfil|comply|generate|create|answer|rewrite|complete|process|access|see|view)\b"
_SORRY = (
    r"(?:(?:i(?:'m| am)(?: so| very| really)? )?sorry|i apologi[sz]e|my apologies|unfortunately|regrettably),?"
    r" (?:but )?"
)
_APOLOGY = re.compile(
    rf"{_OPENING}(?:{_SORRY}i ?{_CANNOT}"
    rf"|{_SORRY}(?:i don't (?:have|feel comfortable|see)|i do not have|as an? |i(?:'m| am) an? )"
    rf"|i (?:can(?:no|')t|can not|won't|will not|(?:am|'m) (?:unable|not able) to) {_DO}"
    r"|es tut mir leid,? aber ich|leider kann ich|lo siento,? pero no puedo|(?:je suis )?désolée?,? (?:mais )?je ne p"
    r"|mi dispiace,? ma non posso|desculpe,? mas não posso|извините,? но я|к сожалению,? я не могу"
    r"|(?:很?抱歉|对不起)[，,]?(?:但|我)|申し訳(?:ありません|ございません)|죄송(?:합니다|하지만))",
    re.IGNORECASE,
)
_AI = r"(?:ai|artificial intelligence|(?:large )?language model)\b"
_AS_AI = re.compile(rf"{_OPENING}(?:as|i(?:'m| am)(?: just| only)?) an? {_AI}", re.IGNORECASE)
_ABOUT_AI = re.compile(rf"\b{_AI}|assistant|chatbot", re.IGNORECASE)


def declines(text: str, asked: str) -> bool:
    """Whether the text opens with declining, or as a model that speaks of itself where it was not asked to."""
    opening = text[:200].replace("’", "'")
    return _APOLOGY.match(opening) is not None or (_AS_AI.match(opening) is not None and not _ABOUT_AI.search(asked))


_REWRITE_TALK = re.compile(
    r"(?<!#)#+ ?(?:the )?(?:new|original|given|rewritten|final|refined|your)(?: (?:instruction|prompt|input|task))?\b"
    r" ?#*|(?<!#)#{3,}[ \t]*(?:\n|$)"
    r"|\b(?:new|original|rewritten|revised|refined|modified|updated) (?:instruction|prompt)s?\b"
    r"|\b(?:prefix|suffix|intermediate) task\b|\bthe (?:given|above) prompt\b"
    r"|\bhere(?:'s| is| are) (?:the|my|a|your) (?:\w+ )?(?:new|rewrit|revised|refined|modified|updated"
    r"|thought|reasoning)"
    r"|\bstep-by-step (?:breakdown|explanation|thought process)s?:"
    r"|</?(?:new_|original_)?(?:instruction|prompt|choice|steps?|option)>"
    r"|\"(?:choice|steps|instruction)\"\s*:|```json\b"
    r"|(?:^|\n)\W{0,6}(?:explanation|reasoning|rationale|justification|thought process)\W{0,6}:"
    r"|\b(?:my|the) (?:best|chosen) option is\b|\boption [a-d]\b(?=[.:,]? ?(?:is the best|add|decompos|keep))"
    r"|<\|\w+\|>|\[/?inst\]|</?s>"
)
# One of these stands in all that is found by it, and looking for them is several times as quick.
_SIGNS = (
    *("#", "instruction", "prompt", "task", "here", "explanation", "reasoning", "rationale", "justification"),
    *("thought", "option", "steps", "choice", "```json", "<|", "inst]", "s>", "<step>", "</step>"),
)


def rewrite_talk(text: str, before: str) -> str | None:
    """The first piece of the text that speaks of its own rewriting, and of which the text before it did not speak."""
    now = text.replace("’", "'").lower()
    if not any(sign in now for sign in _SIGNS):
        return None
    before = before.replace("’", "'").lower()
    for found in _REWRITE_TALK.finditer(now):
        talk = found[0].strip()
        subject = talk[:1].isalpha() and talk.split()[-1] in before  # "the given prompt", where that was "this prompt"
        if talk not in before and not subject:
            return talk
    return None


_PROMPT_PIECE = re.compile(
    r"(?<!#)#+ ?(?:the )?(?:new|rewritten|refined) (?:instruction|prompt)\b|\b(?:prefix|suffix) task\b"
    r"|</?(?:instruction|prompt|choice)>|\"choice\"\s*:\s*\"|<\|\w+\|>|\[/?inst\]|</?s>"
    r"|(?:^|\n)### ?(?:instruction|response|input|output)\s*:",
    re.IGNORECASE,
)


def prompt_piece(answer: str, asked: str) -> str | None:
    """The first piece of a prompt or of a chat template in an answer, where what was asked holds none."""
    found = _PROMPT_PIECE.search(answer)
    return found[0].strip() if found and found[0].strip().lower() not in asked.lower() else None


_LANGUAGE = re.compile(
    r"translat|language|übersetz|sprache|traduc|traduz|tradui|idioma|langue|lingua|língua|vertaal|przetłumacz|översätt"
    r"|oversæt|перев[оеё]|язык|翻译|翻譯|译成|译为|訳|語|语|번역|어로|ترجم|अनुवाद"
    r"|english|french|german|spanish|italian|portuguese|dutch|polish|swedish|danish|norwegian|finnish|czech|romanian"
    r"|turkish|hungarian|russian|ukrainian|bulgarian|serbian|chinese|mandarin|cantonese|japanese|korean|arabic|hebrew"
    r"|hindi|bengali|tamil|telugu|thai|vietnamese|indonesian|malay|swahili|latin|greek|armenian|georgian|esperanto"
    r"|englisch|deutsch|französisch|spanisch|anglais|français|espagnol|allemand|inglés|español|francés|alemán|inglês"
    r"|английск|русск|英文|中文|日文",
    re.IGNORECASE,
)


def names_language(text: str) -> bool:
    """Whether the text speaks of a language or of translating, so that another language may be right."""
    return _LANGUAGE.search(text) is not None
