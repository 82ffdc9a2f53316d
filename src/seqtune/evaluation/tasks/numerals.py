"""Numbers in a text, however they are written: thousands separators, decimals, digits of other scripts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from seqtune.evaluation.tasks.parts import Parts

# A blank parts thousands only before three digits; Indian grouping parts hundreds as well ("1,00,000").
_NUMBER = re.compile(r"(?<![\d.,])\d+(?:[.,'’٫٬]\d+|[ \u00a0\u2009\u202f]\d{3}(?!\d))*")
_HALVES = "¼-¾⅐-⅞"
_ANSWERED = re.compile(
    rf"(?P<sign>(?<![\w)\]}}])[-−–])?[$€£¥₹]?(?P<number>{_NUMBER.pattern})"
    r"(?:[eE](?P<e>[+-]?\d{1,2})(?!\w)|\s*(?:[x×*]|\\times)\s*10\^\{?(?P<ten>[+-]?\d{1,2})\}?)?"
    rf"(?:\s*[/⁄]\s*(?P<below>\d[\d.,]*\d|\d))?(?P<half>[ ]?[{_HALVES}])?"
)
_IS_PART = re.compile(
    rf"(?:\^\{{?|(?<![^\W\d_])[a-z_]|[{_HALVES}]\s?|(?:\bnot|n['’]t)(?: be| equal to| exactly)?\s*)[-−–$€£¥₹]?\Z",
    re.IGNORECASE,
)
_UNIT_POWER = re.compile(r"(?<=[^\W\d_]|\})\^\{?\d+\}?")
_FRAC = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_REMARK = re.compile(r"\([^()]*\)")
_BLANK = re.compile("[ \u00a0\u2009\u202f'’٬]")
_LONGEST = 40  # digits; whoever writes more writes no answer


def answered_number(text: str) -> frozenset[Fraction]:
    """What the number that a text answers with may mean, with its sign, power of ten and denominator; empty for none.

    It is the last one that is no remark in brackets and no unit's exponent. None is a number that is only a part: of a
    power, a name ("x540") or a mixed fraction, nor one that the text says is not the answer.
    """
    plain = _FRAC.sub(r"\1/\2", _UNIT_POWER.sub("", _plain_digits(text)))
    found = [*_ANSWERED.finditer(_REMARK.sub(" ", plain))] or [*_ANSWERED.finditer(plain)]
    if not found or _IS_PART.search(found[-1].string[: found[-1].start()]) or found[-1]["half"]:
        return frozenset()
    last = found[-1]
    scale = (-1 if last["sign"] else 1) * Fraction(10) ** int(last["e"] or last["ten"] or 0)
    below = readings(last["below"]) - {0} if last["below"] else {Fraction(1)}
    return frozenset([scale * value / one for value in readings(last["number"]) for one in below])


def last_number(text: str) -> frozenset[Fraction]:
    """What the last number of the text may mean: "1.250" is 1250 in German and 1.25 in English; empty for none."""
    found = _NUMBER.findall(_plain_digits(text))
    if not found:
        return frozenset()
    return readings(found[-1]) | readings(found[-1].split(" ")[-1])  # "5 100 dollar bills" are five of 100


def readings(number: str) -> frozenset[Fraction]:
    """All that a number of digits and separators may mean."""
    found = {_value(reading) for reading in _readings(_plain_digits(number).strip())}
    return frozenset(value for value in found if value is not None)


def same_number(text: str, gold: str) -> float:
    """1 where the last number of the text can mean the gold; a sign before it is not looked at."""
    return float(bool(last_number(text) & last_number(gold)))


def number_measures(parts: Parts, text: str, golds: Sequence[str]) -> dict[str, float | None]:
    """`exact_match` of the number in what is marked as the answer, else in the text: see `answered_number`.

    `last_number` is lenient: the last number in all of the text, whatever stands around it.

    Args:
        parts: of the answer.
        text: all of it.
        golds: right numbers.
    """
    said = answered_number(parts.answer if parts.is_marked else text)
    return {
        "exact_match": float(any(said & answered_number(gold) for gold in golds)),
        "last_number": max(same_number(text, gold) for gold in golds),
    }


def _plain_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join([str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in text])


def _readings(number: str) -> list[str]:
    """The number with at most a point in it; twice, where its only separator may part thousands or decimals."""
    bare = _BLANK.sub("", number).replace("٫", ".")
    marks = [sign for sign in bare if sign in ".,"]
    if not marks:
        return [bare]
    if len(set(marks)) == 2:  # the last one parts the decimals
        whole, _, rest = bare.rpartition(marks[-1])
        return [_digits(whole) + "." + rest]
    if len(marks) > 1:
        return [_digits(bare)]
    decimal = bare.replace(",", ".")
    return [decimal, _digits(bare)] if len(bare.rpartition(marks[0])[2]) == 3 else [decimal]


def _digits(text: str) -> str:
    return text.replace(".", "").replace(",", "")


def _value(number: str) -> Fraction | None:
    return Fraction(number) if len(number) <= _LONGEST and number[-1:].isdigit() and number.count(".") < 2 else None
