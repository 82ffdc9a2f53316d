"""Operations on the letters of a text: their case, their number, and what is left without some of them."""

from __future__ import annotations

import re
from random import Random
from typing import Any

from seqtune.building.bank.parts import (
    Parts,
    has_foreign_letters,
    has_letters,
    on,
    plain_characters_in,
    plain_words_in,
    prose_in,
    remembered,
    short_prose_in,
    split_lines,
    words_in,
)
from seqtune.building.gold import Skip, operation, same_number, same_word

# Capitals are the same for everybody in Latin and Cyrillic, but for ß, the Turkish i's and the like.
_OTHER_CASED = "[\u00b5ßıİŉǰſ\u01c4-\u01cc\u01f1-\u01f3\u0250-\u03ff\u0530-\u1fff\u2100-\u214f\u2c00-\uffff]"
_VOWEL = re.compile("[aeiouAEIOU]")
_LETTER = re.compile(r"[^\W\d_]")


def _draw_letter(text: str, rng: Random) -> dict[str, Any] | Skip:
    if isinstance(prose := _plain_letters(text), Skip):
        return prose
    return {"letter": rng.choice(sorted({c for c in prose.casefold() if c.isalpha()}))}


@remembered
def _lettered_prose_in(text: str) -> str | Skip:
    prose = short_prose_in(text)
    return prose if isinstance(prose, Skip) or has_letters(prose) else Skip("no letters")


@remembered
def _plain_letters(text: str) -> str | Skip:
    """Short prose whose letters are all from a to z, so that no é raises the question whether it is an e."""
    prose = _lettered_prose_in(text)
    if isinstance(prose, Skip):
        return prose
    return Skip("letters beyond a to z") if has_foreign_letters(prose) or "\u0301" in prose else prose


@remembered
def _cased_in(text: str) -> str | Skip:
    prose = _lettered_prose_in(text)
    if isinstance(prose, Skip):
        return prose
    return Skip("letters whose capitals are debatable") if _has_other_cased(prose) else prose


def _has_other_cased(text: str) -> bool:
    return not text.isascii() and bool(re.search(_OTHER_CASED, text))


# --- case


@operation(
    "write {it} in upper case",
    "put {it} in capital letters",
    "rewrite {it} in all caps",
    "turn every letter of {it} into a capital",
    label="Upper case",
)
@on(_cased_in)
def upper_case(text: str) -> str:
    """Writes the text in upper case."""
    return text.upper()


@operation(
    "write {it} in lower case",
    "put {it} in small letters",
    "rewrite {it} without any capital letters",
    "write {it} with small letters only",
    label="Lower case",
)
@on(_cased_in)
def lower_case(text: str) -> str:
    """Writes the text in lower case."""
    return text.lower()


@operation(
    "capitalise the first letter of every word in {it}",
    "write {it} with a capital at the start of each word",
    "make every word of {it} begin with a capital letter",
    label="Capitalised words",
)
@on(_cased_in)
def capitalise_words(text: str) -> str | Skip:
    """Capitalises the first letter of every word and leaves the other letters as they are."""
    words = words_in(text)
    if isinstance(words, Skip):
        return words
    if any("-" in word or (word[0].isdigit() and not word.isdigit()) for word in words):
        return Skip("a word whose first letter is debatable")
    if len(words) < 2:
        return Skip("fewer than two words")
    return re.sub(r"(?<![\w'’])[^\W\d_]", lambda m: m[0].upper(), text)


# --- counting


@operation(
    "count the characters in {it}, including spaces",
    "say how many characters {it} has, counting spaces and punctuation too",
    "give the length of {it} in characters with all spaces counted",
    label="Character count",
    gives="number",
    same=same_number,
)
@on(plain_characters_in)
def count_characters(text: str) -> str:
    """Counts the characters, with blanks and punctuation."""
    return str(len(text))


@operation(
    "count the letters in {it}",
    "say how many letters {it} has, leaving out spaces and punctuation",
    "give the number of letters in {it} without spaces",
    label="Letter count",
    gives="number",
    same=same_number,
)
@on(plain_characters_in)
def count_letters(text: str) -> str | Skip:
    """Counts the letters, without blanks, digits and punctuation."""
    if isinstance(prose := prose_in(text), Skip):
        return prose
    return str(len(_LETTER.findall(text))) if _LETTER.search(text) else Skip("no letters")


@operation(
    'count how often the letter "{letter}" occurs in {it}, in upper or lower case',
    'say how many times the letter "{letter}" appears in {it}, ignoring case',
    'give the number of times {it} uses the letter "{letter}", whether small or capital',
    label="Letter occurrences",
    gives="number",
    draw=_draw_letter,
    same=same_number,
)
@on(_plain_letters)
def count_letter(text: str, letter: str) -> str | Skip:
    """Counts how often a letter of the text occurs, upper and lower case alike."""
    return str(text.casefold().count(letter)) if letter in text.casefold() else Skip("the letter does not occur")


@operation(
    "count the vowels (a, e, i, o, u) in {it}",
    "say how many of the letters a, e, i, o and u {it} has altogether",
    "give the total number of vowels (a, e, i, o, u) in {it}",
    label="Vowel count",
    gives="number",
    same=same_number,
)
@on(_plain_letters)
def count_vowels(text: str) -> str | Skip:
    """Counts the letters a, e, i, o and u."""
    return str(len(_VOWEL.findall(text))) if len(text) <= 100 else Skip("too long to count or turn letter by letter")


@operation(
    "count the capital letters in {it}",
    "say how many capital letters {it} has",
    "give the number of upper-case letters in {it}",
    label="Capital letters",
    gives="number",
    same=same_number,
)
@on(_cased_in)
def count_capitals(text: str) -> str | Skip:
    """Counts the capital letters."""
    count = sum(c.isupper() for c in text)
    return str(count) if count > 1 else Skip("fewer than two capital letters")


# --- leaving out


@operation(
    "remove all vowels (a, e, i, o, u) from {it}",
    "write {it} without the letters a, e, i, o and u",
    "leave out every a, e, i, o and u in {it}",
    label="Without vowels",
)
@on(_plain_letters)
def remove_vowels(text: str) -> str | Skip:
    """Removes the letters a, e, i, o and u; skipped where a word would vanish."""
    if len(text) > 200:
        return Skip("too long to count or turn letter by letter")
    vowels_only = any(_LETTER.search(word) and not _LETTER.search(_VOWEL.sub("", word)) for word in text.split())
    return Skip("a word that would vanish") if vowels_only else _VOWEL.sub("", text)


@operation(
    "remove all punctuation from {it}",
    "write {it} without any punctuation marks",
    "leave out every punctuation mark in {it}",
    label="Without punctuation",
)
@on(short_prose_in)
def remove_punctuation(text: str) -> str | Skip:
    """Removes the punctuation; skipped where a mark stands within a word, as in don't or 3.5."""
    words = words_in(text)
    if isinstance(words, Skip):
        return words
    if not all(word.isalnum() for word in words):
        return Skip("a mark within a word")
    rest = iter(words)
    return "\n".join(" ".join(next(rest) for _ in line.split()) for line in split_lines(text))


# --- letter by letter


@operation(
    "write {it} backwards, character by character",
    "reverse the order of all the characters in {it}",
    "spell {it} backwards from its last character to its first",
    label="Reversed characters",
)
@on(plain_characters_in, least=2, most=40)
def reverse_characters(text: str) -> str | Skip:
    """Writes the text backwards, character by character."""
    return Skip("a script written from right to left") if re.search("[\u0590-\u08ff]", text) else text[::-1]


@operation(
    "write each word of {it} backwards and keep the order of the words",
    "reverse the letters of every word in {it} without moving the words",
    "spell every word of {it} backwards and leave the words in their places",
    label="Words backwards",
)
@on(plain_words_in, least=2, most=10)
def reverse_each_word(words: Parts) -> str | Skip:
    """Writes each word backwards and keeps the order of the words."""
    return " ".join(word[::-1] for word in words) if all(map(str.isalpha, words)) else Skip("a mark within a word")


@operation(
    "spell the first word of {it} with a hyphen between the letters",
    "write the first word of {it} letter by letter with hyphens in between",
    "split the first word of {it} into letters joined by hyphens",
    label="Spelling",
    same=same_word,
)
@on(words_in, least=2)
def spell_first_word(words: Parts) -> str | Skip:
    """Spells the first word letter by letter, as in w-o-r-d."""
    return "-".join(words[0]) if words[0].isalpha() and 3 < len(words[0]) < 15 else Skip("a first word not to spell")


@operation(
    "write the first letters of all the words in {it} as one word in capitals",
    "make an acronym in capitals from the first letters of all the words in {it}",
    "join the initials of all the words in {it} in capitals, without spaces",
    label="Acronym",
)
@on(plain_words_in, least=2)
def acronym(words: Parts) -> str | Skip:
    """Joins the first letters of all the words, in capitals."""
    if len(words) > 12 or not all(word.isalpha() for word in words):
        return Skip("too many words" if len(words) > 12 else "a mark within a word")
    return Skip("letters whose capitals are debatable") if _has_other_cased("".join(words)) else _initials(words)


def _initials(words: Parts) -> str:
    return "".join(word[0] for word in words).upper()
