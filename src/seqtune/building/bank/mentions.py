"""Operations that find what a text mentions: addresses, quotations, years, words with a capital."""

from __future__ import annotations

import re

from seqtune.building.bank.parts import Parts, bounded_text_in, chunks_with_digits, holds_any, on, words_in
from seqtune.building.gold import Skip, operation, same_list, same_number

_EMAIL = re.compile(r"(?<![\w.%+@:/-])[\w%+-]+(?:\.[\w%+-]+)*@[a-z0-9-]+(?:\.[a-z0-9-]+)+(?![\w@/-])", re.I | re.A)
_URL = re.compile(r"(?<![\w/@])https?://[^\s<>\"'()\[\]{}|,“”]+", re.I | re.A)
_BARE_DOMAIN = re.compile(r"\bwww\.|[\w-]\.(?:com|org|net|edu|gov|io|co|uk|de|info)\b", re.I)
_QUOTATION_MARKS = '"“”«»„'
_QUOTATION = re.compile(
    r"[\"“«](?<![^\s(\[:—–].)(?:(?<=\")([^\"\n]+)\"|(?<=“)([^“”\"\n]+)”|(?<=«)([^«»\"\n]+)»)(?=[\s.,;:!?)\]—–]|$)"
)
_LONG_NUMBER = re.compile(r"[0-9]{3,}")
_FOUR_DIGITS = re.compile(r"[0-9](?<![\w.,:/$€£#%+-].)[0-9]{3}(?![\w:/%]|[.,]\d|-)")
_ORDINAL = re.compile(r"\d(?:s|st|nd|rd|th|e)\b|'\d")
_ERA = r"\bB\.?C|\bA\.?D"
_YEAR = re.compile(
    r"(?:\b(?:in|since|until|year|years|early|late|summer|winter|spring|fall|autumn|January|February|March|April|May|"
    r"June|July|August|September|October|November|December)|\b[A-Z][a-z]+ [0-9]{1,2},) $|\($"
)
_NOT_A_YEAR_AFTER = re.compile(
    r"^ (?!and|to|by|the|with|at|for|as|when|after|before|was|were|is|but|or|he|she|it|they)\w"
)


def _once(found: list[str]) -> str | Skip:
    """One a line; skipped where one comes twice, since it is debatable whether to list it twice."""
    return "\n".join(found) if len(set(found)) == len(found) else Skip("one that comes twice")


@operation(
    "list the e-mail addresses in {it}",
    "write every e-mail address in {it} on a line of its own",
    "find all e-mail addresses in {it}",
    label="E-mail addresses",
    gives="lines",
    same=same_list,
)
@on(bounded_text_in)
def extract_emails(text: str) -> str | Skip:
    """Lists the e-mail addresses."""
    found = _EMAIL.findall(text) if "@" in text else []
    return _once(found) if len(found) == text.count("@") and found else Skip("no e-mail addresses")


@operation(
    "list the web addresses in {it}",
    "write every URL in {it} on a line of its own",
    "find all URLs in {it}",
    label="Web addresses",
    gives="lines",
    same=same_list,
)
@on(bounded_text_in)
def extract_urls(text: str) -> str | Skip:
    """Lists the web addresses that begin with http:// or https://."""
    if "://" not in text or not (found := [url.rstrip(".;:!?") for url in _URL.findall(text)]):
        return Skip("no web addresses")
    return Skip("a web address that is debatable") if _BARE_DOMAIN.search(_URL.sub("", text)) else _once(found)


@operation(
    "list what stands between quotation marks in {it}",
    "write each part of {it} that is in quotation marks on a line of its own",
    "copy the quoted parts of {it} without their quotation marks",
    label="Quoted text",
    gives="lines",
    same=same_list,
)
@on(bounded_text_in)
def extract_quotations(text: str) -> str | Skip:
    """Lists what stands between double quotation marks."""
    if not holds_any(text, _QUOTATION_MARKS):
        return Skip("no clear quotations")
    found = ["".join(groups).strip() for groups in _QUOTATION.findall(text)]
    # American printers put the comma or full stop of the sentence around it into the quotation.
    if any(
        quotation.endswith((",", ";")) or (quotation.endswith(".") and quotation[0].islower()) for quotation in found
    ):
        return Skip("a comma or full stop within a quotation")
    if 2 * len(found) != sum(map(text.count, _QUOTATION_MARKS)) or not found:
        return Skip("no clear quotations")
    return Skip("nothing but a quotation") if len(found[0]) + 2 == len(text) else _once(found)


@operation(
    "list the words in {it} that begin with a capital letter",
    "write every word of {it} that starts with a capital on a line of its own",
    "find all words in {it} that start with a capital letter",
    label="Capitalised",
    gives="lines",
    same=same_list,
)
@on(words_in, least=2, most=100)
def extract_capitalised(words: Parts) -> str | Skip:
    """Lists the words that begin with a capital letter, the first word of a sentence too."""
    found = [word for word in words if word[0].isupper()]
    if len(found) < 2:
        return Skip("fewer than two words with a capital")
    return _once(found) if len(found) < len(words) else Skip("every word begins with a capital")


@operation(
    "count the words in {it} that begin with a capital letter",
    "say how many words of {it} start with a capital letter",
    "give the number of words in {it} that start with a capital",
    label="Capitalised count",
    gives="number",
    same=same_number,
)
@on(words_in, least=2, most=100)
def count_capitalised(words: Parts) -> str | Skip:
    """Counts the words that begin with a capital letter, the first word of a sentence too."""
    count = sum(word[0].isupper() for word in words)
    return str(count) if count and not any("-" in word for word in words) else Skip("no words with a clear capital")


@operation(
    "list the years mentioned in {it}",
    "write every year mentioned in {it} on a line of its own",
    "find all the years that {it} mentions",
    label="Years",
    gives="lines",
    same=same_list,
)
@on(bounded_text_in)
def extract_years(text: str) -> str | Skip:
    """Lists the years from 1000 to 2099; skipped where a number may or may not be one."""
    digits = " ".join(chunks_with_digits(text))
    numbers = _LONG_NUMBER.findall(digits)
    years = list(_FOUR_DIGITS.finditer(text)) if numbers else []
    era = holds_any(text, ("BC", "B.C", "AD", "A.D")) and re.search(_ERA, text)
    if len(numbers) > len(years) or _ORDINAL.search(digits) or era:
        return Skip("a number that may be a year")
    if not all(_is_year(text, *year.span()) for year in years):
        return Skip("a number that may be a year")
    return _once([match[0] for match in years]) if years else Skip("no years")


def _is_year(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 20) : start], text[end : end + 10]
    if before.endswith("(") and not after.startswith(")"):
        return False
    return "1000" <= text[start:end] <= "2099" and bool(_YEAR.search(before)) and not _NOT_A_YEAR_AFTER.match(after)
