"""An answer that was joined can be taken apart again."""

from hypothesis import assume, given
from hypothesis import strategies as st

from seqtune.building.style import STYLES, ambiguous, join, marks, split

parts = st.lists(
    st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=60).map(str.strip).filter(bool),
    min_size=1,
    max_size=4,
)


@given(parts, st.sampled_from(STYLES))
def test_what_is_joined_splits_into_the_same_parts(results, style):
    labels = ["Word count", "Result", "Paraphrase", "Longest word"][: len(results)]
    made = marks(style, labels)
    assume(not ambiguous(made, results))
    assert split(join(made, results), made) == results


def test_an_answer_of_just_a_mark_has_an_empty_part_and_no_more():
    assert split("Result:", ["Word count:", "Result:"]) == [None, ""]
    assert split("1.", ["1.", "2."]) == ["", None]
    assert split("", ["1.", "2."]) == [None, None]


def test_parts_in_the_wrong_order_do_not_count_as_done():
    assert split("2. b\n1. a", ["1.", "2."]) == ["a", None]


def test_a_mark_inside_a_line_is_no_mark():
    assert split("1. see 2. below\n2. yes", ["1.", "2."]) == ["see 2. below", "yes"]
    assert split("1. a\n2.5 litres\n2. b", ["1.", "2."]) == ["a\n2.5 litres", "b"]


@given(
    st.text(max_size=200),
    st.sampled_from([*(marks(s, ["Word count", "Result"]) for s in STYLES), ["", "0"], ["1.", ""]]),
)
def test_splitting_never_fails_whatever_a_model_wrote(answer, given_marks):
    assert len(split(answer, given_marks)) == 2
