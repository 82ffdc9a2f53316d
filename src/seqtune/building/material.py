"""What an instruction carries besides its task, and a rewrite must keep: numbers, code, quotations, options, texts."""

from __future__ import annotations

import html
import re
import unicodedata

from seqtune.building.language import words
from seqtune.building.wording import verbs

_PLAIN_MARKS = str.maketrans({**dict.fromkeys("‘’‚´", "'"), **dict.fromkeys("“”„«»", '"'), **dict.fromkeys("–—−", "-")})
_MARKUP = re.compile(r"</?(?:br|p) ?/?>|#\d{2,4};", re.IGNORECASE)


def plain(text: str) -> str:
    """The text with plain quotation marks and dashes, HTML entities resolved, line breaks of HTML as blanks."""
    if "&" in text or "<" in text or "#" in text:
        text = _MARKUP.sub(" ", html.unescape(text))
    return text if text.isascii() else text.translate(_PLAIN_MARKS)


_NUMBER = re.compile(
    r"(?<![\w.])\d+(?:[.,]\d+)*(?!\w)|(?<!\w)\d+(?=(?:st|nd|rd|th|k|m|km|kg|cm|mm|ml|g|%|x)\b)", re.IGNORECASE
)
_ENUMERATOR = re.compile(
    r"(?:^|(?<=\n))[ \t]*(?:[-*•][ \t]*)?\(?\d{1,2}[.):]+(?=\s)|\b[A-Z]\w+ ?\d{1,2}(?=:)"
    r"|\(\d\)|(?<=[\s;:])\d\)(?=\s)"
)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_ORDINALS = words("zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")
_CARDINALS = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
_TENS = words("zero ten twenty thirty forty fifty sixty seventy eighty ninety hundred")
_OTHERWISE = {
    "once": "1",
    "single": "1",
    "twice": "2",
    "double": "2",
    "pair": "2",
    "couple": "2",
    "dozen": "12",
    "thousand": "1000",
}
_SPELT_AS = {
    **{word: str(value) for listed in (_ORDINALS, _CARDINALS) for value, word in enumerate(listed)},
    **{word: str(10 * value) for value, word in enumerate(_TENS)},
    **_OTHERWISE,
}


def numbers(text: str) -> dict[str, str]:
    """The numbers in figures, by value, each as it is written there: "1,200.50" -> {"1200.5": "1,200.50"}.

    What only counts the items of a list ("1.", "(2)") is none.
    """
    found = _NUMBER.findall(_ENUMERATOR.sub(" ", plain(text)))
    return {value: written for written in found for value in _values(written)}


def numbers_in_any_form(text: str) -> set[str]:
    """The values of all numbers, spelt ones ("three", "third") and those that count items among them."""
    text = plain(text)
    written = {*re.findall(r"\d+(?:[.,]\d+)*", text), *re.findall(r"\d+", text)}
    in_figures = {value for figures in written for value in _values(figures)}
    return in_figures | {_SPELT_AS[word] for word in words(text) if word in _SPELT_AS}


def _values(written: str) -> list[str]:
    """One value; or several where commas part the items of a list written without blanks ("3,7,12")."""
    if _GROUPED.fullmatch(written):
        return [_value(written.replace(",", ""))]
    return [_value(part) for part in written.split(",") if part]


def _value(figures: str) -> str:
    if not figures.isascii():
        figures = "".join(str(unicodedata.digit(sign, sign)) for sign in figures)
    whole, point, rest = figures.partition(".")
    if "." in rest:  # a date, a version, an address
        return figures
    rest = rest.rstrip("0")
    return (whole.lstrip("0") or "0") + (point + rest if rest else "")


_QUOTED = re.compile(
    r"[\"“”„«]([^\"“”„«»\n]{3,}?)[\"“”»]|(?<!\w)['‘]([^'‘’\n]{3,}?(?:(?<=\w)['’](?=\w)[^'‘’\n]*)*)['’](?!\w)|「([^」\n]+)」"
)


def quotations(text: str) -> list[str]:
    """What stands between quotation marks, where it is two words or more."""
    found = ["".join(groups).strip() for groups in _QUOTED.findall(text)]
    whole = len(text.strip()) - 4  # some data sets put the whole instruction between marks
    return [quoted for quoted in found if len(words(quoted)) >= 2 and len(quoted) < whole]


_FENCE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_CODE_LINE = re.compile(
    r"^[ \t]*(?:(?:def|class) \w+.*:|import [\w.]+|from [\w.]+ import .*|#include\b.*|(?:for|while|if|elif) .*:"
    r"|return\b.*|print ?\(.*\)|(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE)\b.*|[^\n=(]*(?:=|\w\()[^\n]*;"
    r"|.*[{}]|\\\w+.*|[\w.\[\]]+ ?[-+*/]?= ?\S.*|</?\w+[^>\n]*>.*)[ \t]*$",
    re.MULTILINE,
)
_CODE_SIGN = re.compile(r"[(){}\[\]=<>;_]")


def code(text: str) -> list[str]:
    """Fenced blocks, what stands between backticks, and lines that look like code."""
    if "`" in text:
        fenced = _FENCE.findall(text)
        rest = _FENCE.sub("\n", text)
        found = [*fenced, *_INLINE.findall(rest)]
    else:
        found, rest = [], text
    if _CODE_SIGN.search(rest):
        found += [line for line in _CODE_LINE.findall(rest) if len(_CODE_SIGN.findall(line)) >= 2]
    return [piece for piece in found if piece.strip()]


def table_rows(text: str) -> list[str]:
    """Lines of a table that hold words: two bars or two tabs at least."""
    if "|" not in text and "\t" not in text:
        return []
    rows = [line for line in text.splitlines() if line.count("|") >= 2 or line.strip().count("\t") >= 2]
    return [row for row in rows if words(row)]


_ITEM = re.compile(
    r"^[ \t]*(?:[-*•][ \t]*)?(?:\(?(?:[A-Za-z]|\d{1,2}|[ivx]{1,4})[ \t]?[.):]+|\[[A-Za-z0-9]\])[ \t]*(\S.*)$",
    re.MULTILINE,
)
_BULLET = re.compile(r"^[ \t]*[-*•][ \t]*(\S.*)$", re.MULTILINE)
_OPTIONS = re.compile(
    r"\b(?:options?|choices|select from|choose from|pick from|answers?)\b[^:\n]{0,60}:(.*)", re.IGNORECASE | re.DOTALL
)
_INLINE_ITEM = re.compile(r"(?:^|[\s;,.:])\(?(?:[A-H]|[a-h]|\d)[).:][).]?[ \t]+")


def options(text: str) -> list[str]:
    """The items of a lettered or numbered list, and those that stand after "Options:"."""
    found = _ITEM.findall(text)
    listed = _OPTIONS.search(text)
    if listed and len(found) < 2:
        found = _BULLET.findall(listed[1]) or _INLINE_ITEM.split(listed[1])[1:]
    if len(found) < 2:
        inline = re.split(r"(?:^|\s)\([A-Ha-h1-8]\)[ \t]*", text)
        found = inline[1:] if len(inline) > 2 else []
    items = [_item(text) for text in found]
    return [item for item in items if words(item)] if len(items) >= 2 else []


def _item(text: str) -> str:
    """An item without what follows it: a line of its own, and the "or" before the next."""
    item = text.partition("\n")[0].rstrip(" \t;,.")
    return item.removesuffix(" or").removesuffix(" and").rstrip(" \t;,.")


_LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"'”’)\]]+|[\w.+-]+@[\w-]+\.[\w.]+")


def links(text: str) -> list[str]:
    """Web and mail addresses."""
    if "://" not in text and "www." not in text and "@" not in text:
        return []
    return [link.rstrip(".,;:!?") for link in _LINK.findall(text)]


_BLANK = re.compile(r"_{2,}|\[(?:blank|mask|MASK|BLANK)\]|\.{4,}|…{2,}")


def blanks(text: str) -> int:
    """How many places are left to be filled in: "____"."""
    return len(_BLANK.findall(text)) if "__" in text or "[" in text or "..." in text or "…" in text else 0


_REQUEST = re.compile(
    r"\b(?:you (?:are|will|should|need|must|can|may)|your (?:\w+ )?(?:task|help|job)|please|provided|following|given"
    r"|below|above|help me|i(?:'m| am| want| would| need|'d)|can you|could you|based on|on the basis|let's|should be"
    r"|answer is)\b",
    re.IGNORECASE,
)
_QUESTION = frozenset(
    words("what which who whom whose where when why how is are was were do does did can could should would will if")
)
_LABEL = re.compile(r"^[^:\n]{1,60}: +(?=\S)")
_NAMED = re.compile(
    r"(?!(?:question|q|task|instruction|problem|answer|output|options?|note|example):)[a-z]+ ?\d*: +\S+ \S+ \S",
    re.IGNORECASE,
)
_LEAST_WORDS, _MOST_WORDS = 6, 40  # a longer line may well hold "you can" or "given" and yet be a text


def passages(text: str) -> list[str]:
    """The lines that bring a text to work on (a premise, a review, data), and what follows a colon: "Shorten: ...".

    A line that asks for something is none: it may be put in other words. Nor is the only line of a text.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    bare = [(line, _LABEL.sub("", line, count=1)) for line in lines]
    return [piece for line, piece in bare if (len(lines) > 1 or piece != line) and _is_text(line, piece)]


def _is_text(line: str, piece: str) -> bool:
    if _NAMED.match(line):  # "Premise: ...", "Question 2: ..."
        return True
    return len(words(piece)) >= _LEAST_WORDS and not _asks(piece)


def _asks(line: str) -> bool:
    found = words(line)
    if len(found) > _MOST_WORDS:
        return False
    ends_asking = line.rstrip("\"'”’)* ").endswith(("?", ":"))
    return ends_asking or found[0] in _QUESTION or found[0] in verbs() or bool(_REQUEST.search(line.replace("’", "'")))
