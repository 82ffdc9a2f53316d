"""Operations on the words of a text: count, find, move, drop and replace them."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

from seqtune.building.bank.parts import (
    MOST_WORDS,
    Parts,
    alphabetical,
    has_foreign_letters,
    holds_any,
    is_bare,
    is_one_line,
    marked_words_in,
    on,
    plain_words_in,
    remembered,
    short_prose_in,
    words_in,
)
from seqtune.building.gold import Skip, operation, same_list, same_number, same_word

_ARTICLES = frozenset(("a", "an", "the", "my", "your", "his", "her", "its", "our", "their"))
_PAIRED = '"“”„«»()'
_WHOLE_WORD = re.compile(r"[\w'’-]+")
NEUTRAL_WORDS = ("river", "window", "garden", "lamp", "stone", "bridge", "paper", "cloud")


@remembered
def _line_of_words_in(text: str) -> Parts | Skip:
    return marked_words_in(text) if is_one_line(text) else Skip("more than one line")


@remembered
def _short_line_of_words_in(text: str) -> Parts | Skip:
    words = _line_of_words_in(text)
    return words if isinstance(words, Skip) or len(words) <= MOST_WORDS else Skip("too long to rewrite")


@remembered
def _clear_words(text: str, words: Parts) -> Parts:
    """The words that are written alike each time and that no other holds as a part (every "cat" is no "category")."""
    folded = text.casefold()
    counts = Counter(w for w in words if len(w) > 2 and w.isalpha())
    return tuple(sorted(word for word, count in counts.items() if folded.count(word.casefold()) == count))


@remembered
def _absent_words(text: str) -> tuple[str, ...]:
    folded = text.casefold()
    return tuple([word for word in NEUTRAL_WORDS if word not in folded])


def _draw_word(text: str, rng: Random) -> dict[str, Any] | Skip:
    words = words_in(text)
    if isinstance(words, Skip):
        return words
    if len(words) > 100:
        return Skip("too many words")
    clear = _clear_words(text, words)
    chosen = [word for word in clear if words.count(word) > 1] or clear
    return {"word": rng.choice(chosen)} if len(words) > 1 and chosen else Skip("no word to ask for")


def _draw_present_or_absent_word(text: str, rng: Random) -> dict[str, Any] | Skip:
    absent = _absent_words(text)
    return {"word": rng.choice(absent)} if absent and rng.random() < 0.5 else _draw_word(text, rng)


def _draw_lower_word(text: str, rng: Random) -> dict[str, Any] | Skip:
    words = words_in(text)
    if isinstance(words, Skip):
        return words
    if len(words) > MOST_WORDS:
        return Skip("too long to rewrite")
    clear = [word for word in _clear_words(text, words) if word.islower()]
    named = {noun for article, noun in pairwise(words) if article.lower() in _ARTICLES}
    chosen = [word for word in clear if word in named] or clear  # "the cat" rather than "was" and "without"
    return {"word": rng.choice(chosen)} if len(words) > 1 and chosen else Skip("no word to ask for")


def _draw_replacement(text: str, rng: Random) -> dict[str, Any] | Skip:
    if has_foreign_letters(text):
        return Skip("letters beyond a to z")
    drawn = _draw_lower_word(text, rng)
    new = _absent_words(text)
    if isinstance(drawn, Skip) or not new:
        return drawn if isinstance(drawn, Skip) else Skip("no word to ask for")
    return {"old": drawn["word"], "new": rng.choice(new)}


def _draw_first_count(text: str, rng: Random) -> dict[str, Any] | Skip:
    words = marked_words_in(text)
    if isinstance(words, Skip):
        return words
    counts = [n for n in range(2, min(6, len(words))) if is_bare(words[n - 1])]
    return {"n": rng.choice(counts)} if counts else Skip("too few words to part")


def _draw_last_count(text: str, rng: Random) -> dict[str, Any] | Skip:
    words = marked_words_in(text)
    if isinstance(words, Skip):
        return words
    counts = [n for n in range(2, min(6, len(words))) if is_bare(words[-n - 1])]
    return {"n": rng.choice(counts)} if counts else Skip("too few words to part")


# --- counting


@operation(
    "count the words in {it}",
    "say how many words {it} has",
    "give the number of words in {it}",
    "work out how many words there are in {it}",
    label="Word count",
    gives="number",
    same=same_number,
)
@on(words_in, least=2, most=100)
def count_words(words: Parts) -> str | Skip:
    """Counts the words."""
    return _not_counted(words) or str(len(words))


def _not_counted(words: Parts) -> Skip | None:
    """Word counters disagree on "well-known", and readers on whether 12 is a word."""
    if any("-" in word for word in words):
        return Skip("a hyphenated word")
    return Skip("numbers among the words") if any(not word[-1].isalpha() for word in words) else None


@operation(
    "count how many different words {it} has, treating upper and lower case alike",
    "say how many different words there are in {it}, ignoring case",
    "count the distinct words in {it} without regard to case",
    label="Distinct words",
    gives="number",
    same=same_number,
)
@on(words_in, least=2, most=60)
def count_distinct_words(words: Parts) -> str | Skip:
    """Counts the different words, upper and lower case alike."""
    if debatable := _not_counted(words):
        return debatable
    distinct = len({word.casefold() for word in words})
    return str(distinct) if distinct < len(words) else Skip("every word is there once")


@operation(
    'count how often the word "{word}" occurs in {it}',
    'say how many times the word "{word}" appears in {it}',
    'give the number of times the word "{word}" is used in {it}',
    label="Occurrences",
    gives="number",
    draw=_draw_word,
    same=same_number,
)
@on(words_in, least=2, most=100)
def count_word(words: Parts, word: str) -> str | Skip:
    """Counts how often a word of the text occurs."""
    return str(words.count(word)) if word in words else Skip("the word does not occur")


@operation(
    'say "yes" or "no" to whether the word "{word}" occurs in {it}',
    'check whether {it} has the word "{word}" in it and say "yes" or "no"',
    'write "yes" if the word "{word}" is used in {it} and "no" if it is not',
    label="Word present",
    draw=_draw_present_or_absent_word,
    same=same_word,
)
@on(words_in, least=2, most=100)
def contains_word(words: Parts, word: str) -> str:
    """Says whether a word occurs in the text."""
    return "yes" if word in words else "no"


# --- finding


@operation(
    "write the first word of {it}",
    "say which word {it} begins with",
    "give only the first word of {it}",
    "copy the very first word of {it}",
    label="First word",
    same=same_word,
)
@on(words_in, least=2)
def first_word(words: Parts) -> str | Skip:
    """Gives the first word."""
    return words[0] if words[0][-1].isalpha() else Skip("a number for a word")


@operation(
    "write the last word of {it}",
    "say which word {it} ends with",
    "give only the last word of {it}",
    "copy the very last word of {it}",
    label="Last word",
    same=same_word,
)
@on(words_in, least=2)
def last_word(words: Parts) -> str | Skip:
    """Gives the last word."""
    return words[-1] if words[-1][-1].isalpha() else Skip("a number for a word")


@operation(
    "write the first {n} words of {it}",
    "copy the first {n} words of {it}",
    "give only the {n} words that {it} begins with",
    label="First words",
    draw=_draw_first_count,
)
@on(_line_of_words_in, least=3)
def first_words(words: Parts, n: int) -> str | Skip:
    """Gives the first few words."""
    return _part(words[:n]) if n < len(words) and is_bare(words[n - 1]) else Skip("too few words to part")


def _part(words: Parts) -> str | Skip:
    part = " ".join(words)
    return Skip("brackets or quotation marks to cut") if holds_any(part, _PAIRED) else part


@operation(
    "write the last {n} words of {it}",
    "copy the last {n} words of {it}",
    "give only the {n} words that {it} ends with",
    label="Last words",
    draw=_draw_last_count,
)
@on(_line_of_words_in, least=3)
def last_words(words: Parts, n: int) -> str | Skip:
    """Gives the last few words."""
    return _part(words[-n:]) if n < len(words) and is_bare(words[-n - 1]) else Skip("too few words to part")


@operation(
    "say which word in {it} is the longest",
    "write the longest word of {it}",
    "find the longest word in {it}",
    "pick out the longest word in {it}",
    label="Longest word",
    same=same_word,
)
@on(words_in, least=2, most=100)
def longest_word(words: Parts) -> str | Skip:
    """Gives the longest word; skipped where two are equally long."""
    longest = max(words, key=len)
    if len({word.casefold() for word in words if len(word) >= len(longest) - 1 and not word.isalpha()}):
        return Skip("a longest word that is debatable")
    rivals = {word.casefold() for word in words if len(word) == len(longest)}
    return longest if len(rivals) == 1 else Skip("words of the same length")


@operation(
    "say which word in {it} is the shortest",
    "write the shortest word of {it}",
    "find the shortest word in {it}",
    "pick out the shortest word in {it}",
    label="Shortest word",
    same=same_word,
)
@on(words_in, least=2, most=100)
def shortest_word(words: Parts) -> str | Skip:
    """Gives the shortest word; skipped where two are equally short."""
    shortest = min(words, key=len)
    if any(len(word) <= len(shortest) + 2 and not word.isalpha() for word in words):
        return Skip("a shortest word that is debatable")
    rivals = {word.casefold() for word in words if len(word) == len(shortest)}
    return shortest if len(rivals) == 1 else Skip("words of the same length")


# --- order: on words alone, since a mark between them would have no clear place


@operation(
    "reverse the order of the words in {it}",
    "write the words of {it} in reverse order",
    "put the words of {it} in the opposite order",
    "write {it} with its words from last to first",
    label="Reversed words",
)
@on(plain_words_in, least=2)
def reverse_words(words: Parts) -> str:
    """Puts the words in reverse order."""
    return " ".join(reversed(words))


@operation(
    "sort the words in {it} alphabetically",
    "put the words of {it} in alphabetical order",
    "write the words of {it} from A to Z",
    label="Sorted words",
)
@on(plain_words_in, least=2)
def sort_words(words: Parts) -> str | Skip:
    """Sorts the words alphabetically."""
    order = alphabetical(words)
    return order if isinstance(order, Skip) else " ".join(order)


@operation(
    "swap the first and the last word of {it}",
    "let the first and the last word of {it} change places",
    "write {it} with its first and last words exchanged",
    label="Swapped ends",
)
@on(plain_words_in, least=2)
def swap_ends(words: Parts) -> str:
    """Swaps the first and the last word."""
    return " ".join((words[-1], *words[1:-1], words[0]))


@operation(
    "move the first word of {it} to the end",
    "take the first word of {it} and put it at the end",
    "write {it} with its first word moved to the end",
    label="Rotated words",
)
@on(plain_words_in, least=2)
def rotate_words(words: Parts) -> str:
    """Moves the first word to the end."""
    return " ".join((*words[1:], words[0]))


@operation(
    "write every word of {it} twice in a row",
    "double each word of {it}",
    "repeat each word of {it} right after itself",
    label="Doubled words",
)
@on(plain_words_in, least=2, most=30)
def double_words(words: Parts) -> str:
    """Writes each word twice in a row."""
    return " ".join(f"{word} {word}" for word in words)


# --- dropping


@operation(
    "drop the first word of {it}",
    "write {it} without its first word",
    "leave out the first word of {it}",
    "remove the first word from {it}",
    label="Without the first word",
)
@on(_short_line_of_words_in, least=2)
def drop_first_word(words: Parts) -> str | Skip:
    """Drops the first word."""
    return " ".join(words[1:]) if is_bare(words[0]) else Skip("punctuation on the word to drop")


@operation(
    "drop the last word of {it}",
    "write {it} without its last word",
    "leave out the last word of {it}",
    "remove the last word from {it}",
    label="Without the last word",
)
@on(_short_line_of_words_in, least=2)
def drop_last_word(words: Parts) -> str | Skip:
    """Drops the last word."""
    if not (is_bare(words[-1]) and is_bare(words[-2])):
        return Skip("punctuation on the word to drop")
    return " ".join(words[:-1])


@operation(
    "keep only every second word of {it}, starting with the first",
    "write the first, third, fifth and so on of the words in {it}",
    "leave out every second word of {it}, keeping the first",
    label="Every second word",
)
@on(plain_words_in, least=3)
def every_second_word(words: Parts) -> str:
    """Keeps the first, the third, the fifth word and so on."""
    return " ".join(words[::2])


@operation(
    "remove the repeated words from {it}, keeping the first of each",
    "write {it} with each word only where it first occurs",
    "drop every word of {it} that has occurred before",
    label="Without repeats",
)
@on(plain_words_in, least=2)
def remove_duplicate_words(words: Parts) -> str | Skip:
    """Keeps each word only where it first occurs."""
    once = dict.fromkeys(words)
    if len({word.casefold() for word in once}) < len(once):
        return Skip("a repeat that differs in case")
    return " ".join(once)


@operation(
    'remove the word "{word}" from {it}',
    'write {it} without the word "{word}"',
    'leave out the word "{word}" wherever it occurs in {it}',
    label="Without the word",
    draw=_draw_lower_word,
)
@on(_short_line_of_words_in, least=2)
def remove_word(words: Parts, word: str) -> str | Skip:
    """Removes a word of the text wherever it occurs."""
    kept = [w for w in words if w != word]
    before_a_mark = any(word in w and w != word for w in words)  # "phone," would leave its comma behind
    if before_a_mark or len(kept) == len(words):
        return Skip("punctuation on the word to drop" if before_a_mark else "the word does not occur")
    return " ".join(kept)


# --- replacing


@operation(
    'replace the word "{old}" with "{new}" in {it}',
    'write {it} with "{new}" in place of the word "{old}"',
    'change the word "{old}" to "{new}" wherever it occurs in {it}',
    label="Replaced word",
    draw=_draw_replacement,
)
@on(short_prose_in)
def replace_word(text: str, old: str, new: str) -> str:
    """Replaces a word of the text wherever it occurs."""
    return _WHOLE_WORD.sub(lambda word: new if word[0] == old else word[0], text)


@operation(
    "write every word of {it} on a line of its own",
    "list the words of {it} one per line",
    "put each word of {it} on a separate line",
    label="Words",
    gives="lines",
    same=same_list,
)
@on(plain_words_in, least=2, most=30)
def words_to_lines(words: Parts) -> str:
    """Writes each word on a line of its own."""
    return "\n".join(words)
