"""Near-duplicates are found, different rows are kept, and the index stays small."""

import json
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building.near import NearSet
from seqtune.data.example import prompt_text
from seqtune.data.reader import read

signs = st.characters(exclude_categories=())
texts = st.text(signs, max_size=120)
cased_texts = st.text(signs.filter(lambda sign: sign.upper().casefold() == sign.casefold()), max_size=120)
SIGNS = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]


def made(rng, length, signs=False):
    if signs:
        return rng.choices(SIGNS, k=length)
    return [f"w{rng.randrange(20_000)}" for _ in range(length)]


def joined(parts, signs):
    return ("" if signs else " ").join(parts)


def similarity(a, b):
    one, other = ({*zip(part, part[1:], part[2:], strict=False)} for part in (a, b))
    return len(one & other) / len(one | other)


@given(st.lists(texts, max_size=8))
def test_a_text_is_near_itself_whatever_it_holds(given_texts):
    near = NearSet()
    for text in given_texts:
        near.add(text)
        assert near.add(text) is not None
    assert len(near) <= len({*given_texts})


# Without "ı", whose capital is that of "i".
@given(cased_texts, st.sampled_from([str.upper, str.lower, "{} ".format, "\n{}".format, "{}!".format]))
def test_case_blanks_and_punctuation_make_no_difference(text, change):
    text = f"the river runs past seven old towns {text.strip()}"
    near = NearSet()
    assert near.add(text.casefold()) is None
    assert near.add(change(text.casefold())) == 0


@pytest.mark.parametrize("signs", [False, True])
def test_nine_of_ten_copies_at_a_similarity_of_nine_tenths_are_found(signs):
    rng, found, tried = Random(7), 0, 0
    while tried < 300:
        parts = made(rng, rng.randint(40, 200), signs)
        copy = list(parts)
        for _ in range(rng.randint(1, 4)):
            copy[rng.randrange(len(copy))] = made(rng, 1, signs)[0]
        if similarity(parts, copy) < 0.9:
            continue
        near = NearSet()
        near.add(joined(parts, signs))
        tried, found = tried + 1, found + (near.add(joined(copy, signs)) is not None)
    assert found / tried >= 0.9


@pytest.mark.parametrize("signs", [False, True])
def test_texts_that_share_seven_tenths_are_different(signs):
    rng = Random(8)
    for _ in range(200):
        parts = made(rng, 100, signs)
        copy = [*parts[:80], *made(rng, 20, signs)]
        near = NearSet()
        near.add(joined(parts, signs))
        assert near.add(joined(copy, signs)) is None


def test_rows_of_one_mould_with_other_fillings_are_different():
    near = NearSet()
    things = ["lamp", "boat", "kite", "oven", "drum", "sled", "harp", "tent"]
    assert [near.add(f"Write a short advertisement for a {thing}.") for thing in things] == [None] * len(things)


def test_it_names_the_earlier_text_and_forgets_none_while_it_grows():
    rng = Random(9)
    kept = [joined(made(rng, 30), False) for _ in range(3000)]
    near = NearSet()
    assert [near.add(text) for text in kept] == [None] * len(kept)
    assert [near.add(text) for text in kept] == list(range(len(kept)))
    assert len(near) == len(kept)


def test_no_row_takes_more_than_two_hundred_bytes_however_many_there_are():
    near, rng = NearSet(), Random(10)
    for number in range(1, 20_000):
        near.add(f"{rng.random()} {rng.random()} {rng.random()}")
        taken = len(near._signatures) + 4 * len(near._slots)
        assert number < 1000 or taken <= 205 * number  # 20 MiB for a hundred thousand


def test_every_process_finds_the_same():
    script = (
        "from seqtune.building.near import _signature; "
        "print(_signature('the river runs past seven old towns').hex(), _signature('河流经过七座古镇').hex())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].split()[0]) == 256


def test_among_real_rows_only_copies_are_near(shared):
    near, seen = NearSet(), []
    for row in read(str(shared / "alpaca" / "alpaca_1k.json")):
        text = prompt_text(row)
        earlier = near.add(text)
        if earlier is None:
            seen.append(text)
        else:
            assert seen[earlier] == text
    assert len(seen) == len(set(seen)) == 985


def test_real_questions_in_chinese_are_not_near_one_another(shared):
    data = json.loads((shared / "xquad" / "xquad.zh.json").read_text("utf-8"))["data"]
    asked = {q["question"] for article in data for part in article["paragraphs"] for q in part["qas"]}
    near = NearSet()
    found = [text for text in sorted(asked) if near.add(text) is not None]
    assert len(found) <= len(asked) // 200
