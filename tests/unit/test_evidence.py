"""A judge's quote counts only where it stands in the answer."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seqtune.building.evidence import LONG, supported

ANSWER = "The three towns are **Arles**, Nîmes and Orange.\nTheir common river, so to speak, is the “Rhône”."


@pytest.mark.parametrize(
    "quote",
    [
        "Arles, Nîmes and Orange",
        "the three  towns are",
        'is the "Rhône"',
        "Their common river ... is the",
        "Their common rivr, so to speak",
        "“The three towns are Arles”",
    ],
)
def test_a_quote_is_found_whatever_its_blanks_case_marks_and_cuts(quote):
    assert supported(quote, ANSWER)


@pytest.mark.parametrize("quote", ["", "...", "Lyon", "The four towns are Paris, Lille and Metz", "Ar1es", '""'])
def test_an_invented_quote_is_not(quote):
    assert not supported(quote, ANSWER)


@pytest.mark.parametrize(
    ("quote", "answer", "found"),
    [
        ("3", "Word count: 3", True),
        ("3", "Word count: 13", False),
        ("the", "nothing of the kind", True),
        ("the", "nothing of the kind was ever said. " * 10, False),
        ("Arles", "Towns:\n1. Arles\n2. Orange\n" + "They lie on a river, and much is to be said of it. " * 5, True),
        ("7", "Word count: 7\n" + "A long text follows here, and it goes on and on. " * 5, True),
        ("三条河", "这里有三条河，都流入大海。", True),
    ],
)
def test_a_short_quote_must_be_words_and_in_a_long_answer_all_of_a_line(quote, answer, found):
    assert supported(quote, answer) is found


TOLD = (
    "People first walked on the Moon in 1969, sent there by the USA.一九六九年，人类登月。 Été, so they say, was hot. "
    * 4
)


@pytest.mark.parametrize("quote", ["1969", "the USA", "Moon", '"walked"', "人类", "été", "in 1969, sent"])
def test_a_few_words_of_substance_are_enough_in_a_long_answer(quote):
    assert len(TOLD) > LONG
    assert supported(quote, TOLD)


@pytest.mark.parametrize(
    "quote", ["the", "on the", "1", "a", "by", ",", ".", "年", "té", "96", "oon", "done", "all of it"]
)
def test_what_any_long_answer_may_hold_by_chance_shows_nothing(quote):
    assert not supported(quote, f"{TOLD} All of it is done by 1 of them.")


def test_lines_that_are_quoted_with_strokes_between_them_must_stand_in_their_order():
    assert supported("The three towns are Arles / Their common river", ANSWER)
    assert not supported("Their common river / The three towns are Arles", ANSWER)
    assert not supported("The three towns are Arles / Their common mountain", ANSWER)


@given(st.text(min_size=1), st.text(), st.text())
def test_what_is_copied_letter_for_letter_is_found(quote, before, after):
    assume(
        quote.strip() and quote.strip("\"'*_#> \t\n“”„«»‘’‚`´.…[]") == quote and "..." not in quote and "…" not in quote
    )
    assert supported(quote, f"{before[:20]} {quote} {after[:20]}") or len(quote) > LONG - 50
