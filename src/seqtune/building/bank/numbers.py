"""Operations on the numbers that a text writes in digits, and on a number that an earlier step gave."""

from __future__ import annotations

import re
from decimal import Decimal
from random import Random
from typing import Any

from seqtune.building.bank.parts import Parts, chunks_with_digits, numbers_in, on, remembered
from seqtune.building.gold import Skip, operation, same_number, same_numbers, same_word

_WHOLE = re.compile(r"[0-9]{1,9}")
_DATE = re.compile(
    r"\b(?:Jan(?:uary)?|Feb(?:ruary)?|March|April|May|June|July|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|"
    r"Dec(?:ember)?|[ap]\.?m\.?|o'clock|AM|PM)\b|(?<![\d.,$€£])(?:1[0-9]|20)[0-9]{2}(?![\d.,]\d|\d)|%"
)
_LIKE_A_DATE = re.compile(  # what each date begins with; the pattern above takes ten times as long to find none
    r"Jan|Feb|Mar|Apr|May|Ju[nl]|Aug|Sep|Oct|Nov|Dec|AM|PM|m\b(?:(?<=\b[ap].)|(?<=\b[ap]\..))|'clock|1[0-9]{3}|20[0-9]{2}|%"
)
_ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


# "Room 12" and "Sentence 1:" are names; "5 apples and 2 years" are different things, "5 and 2 apples" are not.
_NAMED = re.compile(r"[A-ZÀ-ÖØ-ÞА-Я](?<!\w.)[^\W\d_]* [0-9]")
_HEADED = re.compile(r" (?<=[^\W\d_].)[0-9]+:")
_UNIT = re.compile(r"[0-9](?:(?<=([$€£]).)|)[0-9,.]*(?: ?([^\W\d_]+))?")
_NO_UNITS = frozenset(
    ("and", "or", "to", "is", "are", "in", "for", "on", "at", "of", "the", "from", "y", "o", "и", "und")
)


@remembered
def like_numbers_in(text: str) -> Parts | Skip:
    """Numbers that may be compared and added up: no dates, times, percentages and names, and all of one thing."""
    if _LIKE_A_DATE.search(text) and _DATE.search(text):
        return Skip("dates, times or percentages")
    if not chunks_with_digits(text):
        return numbers_in(text)
    if _NAMED.search(text) or (":" in text and _HEADED.search(text)):
        return Skip("numbers that are names")
    if len({(sign, "" if unit.lower() in _NO_UNITS else unit.lower()) for sign, unit in _UNIT.findall(text)}) > 1:
        return Skip("numbers of different things")
    return numbers_in(text)


def whole_number_in(text: str) -> str | Skip:
    """A text that is one whole number and nothing else."""
    return text.strip() if _WHOLE.fullmatch(text.strip()) else Skip("not a whole number")


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", ""))


def _repeated(numbers: Parts) -> bool:
    return len({_value(number) for number in numbers}) < len(numbers)


# --- the numbers of a text


@operation(
    "list the numbers written in digits in {it}",
    "write every number that {it} gives in digits on a line of its own",
    "find all the numbers written in digits in {it}",
    "copy out each number that is written in digits in {it}",
    label="Numbers",
    gives="lines",
    same=same_numbers,
)
@on(numbers_in, most=20)
def extract_numbers(numbers: Parts) -> str | Skip:
    """Lists the numbers that are written in digits."""
    return Skip("one that comes twice") if _repeated(numbers) else "\n".join(numbers)


@operation(
    "count the numbers written in digits in {it}",
    "say how many numbers {it} gives in digits",
    "find out how many numbers written in digits there are in {it}",
    label="Count of numbers",
    gives="number",
    same=same_number,
)
@on(numbers_in, least=2, most=20)
def count_numbers(numbers: Parts) -> str | Skip:
    """Counts the numbers that are written in digits."""
    return Skip("one that comes twice") if _repeated(numbers) else str(len(numbers))


@operation(
    "add up the numbers written in digits in {it}",
    "give the sum of the numbers written in digits in {it}",
    "work out the total of all the numbers written in digits in {it}",
    label="Sum",
    gives="number",
    same=same_number,
)
@on(like_numbers_in, least=2, most=10)
def sum_numbers(numbers: Parts) -> str:
    """Adds up the numbers that are written in digits."""
    return f"{sum(map(_value, numbers), Decimal()):f}"


@operation(
    "say which number written in digits in {it} is the largest",
    "find the largest number written in digits in {it}",
    "write the largest of the numbers that {it} gives in digits",
    label="Largest number",
    gives="number",
    same=same_number,
)
@on(like_numbers_in, least=2)
def largest_number(numbers: Parts) -> str:
    """Gives the largest of the numbers that are written in digits."""
    return max(numbers, key=_value)


@operation(
    "say which number written in digits in {it} is the smallest",
    "find the smallest number written in digits in {it}",
    "write the smallest of the numbers that {it} gives in digits",
    label="Smallest number",
    gives="number",
    same=same_number,
)
@on(like_numbers_in, least=2)
def smallest_number(numbers: Parts) -> str:
    """Gives the smallest of the numbers that are written in digits."""
    return min(numbers, key=_value)


@operation(
    "subtract the smallest number written in digits in {it} from the largest",
    "give the difference between the largest and the smallest number written in digits in {it}",
    "work out how far apart the largest and the smallest number written in digits in {it} are",
    label="Difference",
    gives="number",
    same=same_number,
)
@on(like_numbers_in, least=2)
def number_span(numbers: Parts) -> str:
    """Subtracts the smallest number from the largest."""
    values = [_value(number) for number in numbers]
    return f"{max(values) - min(values):f}"


@operation(
    "list the numbers written in digits in {it} from the smallest to the largest",
    "sort the numbers written in digits in {it} in ascending order",
    "put the numbers that {it} gives in digits in ascending order",
    label="Sorted numbers",
    gives="lines",
    same=same_numbers,
)
@on(like_numbers_in, least=2, most=20)
def sort_numbers(numbers: Parts) -> str | Skip:
    """Lists the numbers from the smallest to the largest."""
    order = sorted(numbers, key=_value)
    if _repeated(numbers):
        return Skip("one that comes twice")
    return "\n".join(order) if order != list(numbers) else Skip("in order already")


@operation(
    "list the even numbers among those written in digits in {it}",
    "write each even number that {it} gives in digits on a line of its own",
    "find all the even numbers written in digits in {it}",
    label="Even numbers",
    gives="lines",
    same=same_numbers,
)
@on(like_numbers_in, least=2, most=20)
def even_numbers(numbers: Parts) -> str | Skip:
    """Lists the even numbers."""
    if any("." in number for number in numbers) or _repeated(numbers):
        return Skip("not all are different whole numbers")
    return "\n".join(number for number in numbers if _value(number) % 2 == 0) or Skip("no even numbers")


# --- a number that an earlier step gave


@operation(
    'say whether {it} is "even" or "odd"',
    'write "even" if {it} is an even number and "odd" if it is not',
    'check whether {it} is even or odd and write "even" or "odd"',
    label="Parity",
    takes=("number",),
    same=same_word,
)
@on(whole_number_in)
def parity(number: str) -> str:
    """Says whether a number is even or odd."""
    return "odd" if int(number) % 2 else "even"


@operation(
    "double {it}",
    "multiply {it} by two",
    "work out twice {it}",
    label="Doubled",
    gives="number",
    takes=("number",),
    same=same_number,
)
@on(whole_number_in)
def double_number(number: str) -> str:
    """Doubles a number."""
    return str(2 * int(number))


def _draw_summand(text: str, rng: Random) -> dict[str, Any] | Skip:
    number = whole_number_in(text)
    return number if isinstance(number, Skip) else {"n": rng.randint(2, 20)}


@operation(
    "add {n} to {it}",
    "increase {it} by {n}",
    "work out {it} plus {n}",
    label="Plus",
    gives="number",
    takes=("number",),
    draw=_draw_summand,
    same=same_number,
)
@on(whole_number_in)
def add_number(number: str, n: int) -> str:
    """Adds a small number to a number."""
    return str(int(number) + n)


@operation(
    "write {it} in words",
    "spell {it} out as an English word",
    "write {it} with letters instead of digits",
    label="In words",
    takes=("number",),
    same=same_word,
)
@on(whole_number_in)
def number_in_words(number: str) -> str | Skip:
    """Writes a number from 0 to 99 in words."""
    value = int(number)
    if value < 20:
        return _ONES[value]
    return f"{_TENS[value // 10 - 2]}-{_ONES[value % 10]}".removesuffix("-zero") if value < 100 else Skip("over 99")
