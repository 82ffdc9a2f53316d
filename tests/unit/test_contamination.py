"""Rows that hold a prompt of an evaluation set are found and named, and others pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building.contamination import load_overlap
from seqtune.data.example import Example
from seqtune.data.reader import read
from seqtune.errors import DataError

LONG = "A baker sells nine loaves before noon and twice as many after it. How many loaves are sold?"
SHORT = "Where do swifts sleep?"
HAN = "一位面包师上午卖出九条面包，下午卖出的是上午的两倍。他一共卖出多少条面包？"


@pytest.fixture(scope="module")
def overlap(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "sums"
    folder.mkdir()
    file = folder / "test.csv"
    file.write_text("\n".join(["instruction,output", *(f'"{text}",x' for text in (LONG, SHORT, HAN))]), "utf-8")
    return load_overlap([str(file)])


words = st.lists(st.sampled_from(["moss", "tram", "quilt", "ember", "dune", "flute", "?"]), max_size=20).map(" ".join)


@given(words, words, st.integers(0, 8), st.integers(8, 12))
def test_any_run_of_eight_words_is_found_wherever_it_stands(overlap, before, after, start, length):
    run = LONG.split()[start : start + length]
    assert overlap(Example(f"{before} {' '.join(run)} {after}")) == "sums/test"
    assert overlap(Example(before or "x", input=f"{' '.join(run)} {after}".upper())) == "sums/test"


@given(words, words, st.integers(0, 10), st.integers(0, 7))
def test_seven_words_are_not_enough(overlap, before, after, start, length):
    run = LONG.split()[start : start + length]
    assert overlap(Example(f"{before} moss {' '.join(run)} moss {after}")) is None


def test_a_short_prompt_must_be_equal_as_a_whole(overlap):
    assert overlap(Example("where do swifts sleep")) == "sums/test"
    assert overlap(Example("Where do swifts", input="sleep?")) == "sums/test"
    assert overlap(Example("Where do swifts sleep? Then say why.")) is None
    assert overlap(Example("Where do swifts")) is None


def test_scripts_without_blanks_are_compared_by_signs(overlap):
    assert overlap(Example("请先翻译，再回答：", input=HAN)) == "sums/test"
    assert overlap(Example(HAN[3:25])) == "sums/test"
    assert overlap(Example(HAN[:12])) is None
    assert overlap(Example("一位渔夫在河边看见三只白鹭飞过，请描写这一幕。")) is None


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_text_can_be_asked_about(overlap, text):
    assert overlap(Example(text)) in (None, "sums/test")


@given(st.text("?!. \n", max_size=10))
def test_a_row_without_words_overlaps_with_nothing(overlap, text):
    assert overlap(Example(text)) is None


def test_the_first_set_that_holds_the_run_is_named(rows_file):
    one, two = rows_file([{"instruction": LONG}], "one.jsonl"), rows_file([{"instruction": LONG}], "two.jsonl")
    assert load_overlap([two, one])(Example(LONG)).endswith("/two")


def test_a_longer_run_can_be_asked_for(rows_file):
    file = rows_file([{"instruction": LONG}])
    part = " ".join(LONG.split()[:10])
    assert load_overlap([file], n=10)(Example(part))
    assert load_overlap([file], n=11)(Example(part)) is None


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(DataError, match="nowhere"):
        load_overlap(["nowhere.jsonl"])


def test_real_rows_hardly_overlap_and_the_sets_own_prompts_all_do(shared):
    files = [str(shared / name) for name in ("gsm8k/test.jsonl", "ifeval/input_data.jsonl", "seqeval/seqEval.json")]
    overlap = load_overlap(files)
    assert sum(overlap(row) is not None for row in read(str(shared / "alpaca" / "alpaca_1k.json"))) == 1
    for file in files:
        own = [overlap(row) for row in read(file, on_failure=lambda failure: None)]
        assert None not in own
