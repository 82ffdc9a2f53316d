"""Diversity of steps: verbs and objects are told from real wordings, counts add up, and the plot shows all it says."""

import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building.parsing import read_choice, read_instruction
from seqtune.building.rehearsal import rehearse
from seqtune.data.example import Example, Step
from seqtune.data.reader import read
from seqtune.evaluation.construction import build_seqeval
from seqtune.evaluation.diversity import (
    YES_OR_NO,
    Diversity,
    Pair,
    added_tasks,
    verb_and_object,
    verbs_and_objects,
)
from seqtune.report.sunburst import describe_sunburst, draw_sunburst

# --- one step


@pytest.mark.parametrize(
    ("step", "pair"),
    [
        ("List the three main causes of the drought.", ("list", "cause")),
        ("Then, translate it into Polish", ("translate", "polish")),
        ("Could you also name two birds that live here?", ("name", "bird")),
        ("Based on your list, write a short and friendly letter to the mayor.", ("write", "letter")),
        ("After that, please give each of the towns a new name.", ("give", "town")),
        ("Begin by sorting the numbers", ("sort", "number")),
        ("Compare and rank the answers above.", ("compare", "answer")),
        ("Sum up the story in one line.", ("sum", "story")),
        ("Describe the steps involved in baking bread.", ("describe", "step")),
        ("Write an essay arguing that tea is better.", ("write", "essay")),
        ("Explain why the sky is blue.", ("explain", "why")),
        ("Check whether it rains.", ("check", "whether")),
        ("Find the most commonly used words.", ("find", "word")),
        ("Suggest creative and useful gifts for a child.", ("suggest", "gift")),
        ("Classify the following animals", ("classify", "animal")),
        ("Talk about the weather.", ("talk", "weather")),
        ("What are the parts of a violin?", ("what?", "part")),
        ("In which countries does it grow?", ("which?", "country")),
        ("How many people are there?", ("how?", "person")),
        ("How does it work?", ("how?", "")),
        ("Is it open on Sundays?", (YES_OR_NO, "")),
        ("1. Define 'drought'.", ("define", "drought")),
        ("I have three cats. Suggest names for them.", ("suggest", "name")),
        ("Add up the costs first, then the gains.", ("add", "cost")),
        ("Name a song covered by a choir.", ("name", "song")),
        ("Judge the claim 'all swans are white'.", ("judge", "claim")),
        ("Use it.", ("use", "")),
    ],
)
def test_the_verb_and_the_head_of_its_object_are_told(step, pair):
    assert verb_and_object(step) == pair


@pytest.mark.parametrize("step", ["", "12 + 4 =", "Nenne drei Vögel.", "列出三种鸟。", "The rain in spring"])
def test_where_no_sentence_begins_with_a_known_verb_nothing_is_told(step):
    assert verb_and_object(step) is None


@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(["list", "and", "then", ",", ".", "the", "to", "first", "'a", "'", "of", "birds", "is", "ly"])
    ).map(" ".join)
)
def test_any_text_gives_a_pair_or_nothing(text):
    pair = verb_and_object(text)
    assert pair is None or (pair.verb and pair.object == pair.object.lower())


# --- which steps were added


def test_of_a_built_row_the_seed_is_not_an_added_step():
    steps = (Step("name a bird", kind="before"), Step("Write a poem."), Step("count its lines", kind="after"))
    found = verbs_and_objects([Example("...", steps=steps)])
    assert found.pairs == {("name", "bird"): 1, ("count", "line"): 1}
    assert verbs_and_objects([Example("...", steps=steps)], of="all").steps == 3


def test_of_a_row_without_steps_all_tasks_are_those_of_its_instruction():
    row = Example("Name a bird, then draw its nest.")
    assert verbs_and_objects([row]).steps == 0
    assert verbs_and_objects([row], of="all").pairs == {("name", "bird"): 1, ("draw", "nest"): 1}


def test_a_rewrite_adds_what_stands_before_or_after_the_tasks_that_were_there():
    old = "Write a poem. Then count its lines."
    assert added_tasks(old, "before", f"List five images. {old}") == ["List five images."]
    assert added_tasks(old, "after", f"{old} Finally, translate it.") == ["Translate it."]


def test_a_built_evaluation_set_is_read_round_by_round(tmp_path, rows_file):
    rows = [{"instruction": f"Write a poem about {thing}."} for thing in ("rain", "bread", "a clock", "the sea")]
    done = build_seqeval(
        rows_file(rows), out=tmp_path / "out", llm=rehearse, store=tmp_path / "replies.sqlite", rounds=2, gates=[]
    )
    found = verbs_and_objects(read(str(tmp_path / "out/prompts.jsonl")))
    rewrites, split = sum(done.modes.values()), done.modes.get("decompose", 0)
    assert found.rows == 4
    assert found.steps == rewrites + split  # of a prompt that was split, both halves count


# --- a set


pairs = st.dictionaries(
    st.builds(Pair, st.sampled_from(["list", "write", "name"]), st.sampled_from(["", "bird", "poem", "line", "word"])),
    st.integers(1, 30),
    min_size=1,
)


@given(pairs)
def test_shares_of_verbs_add_up_and_measures_stay_in_their_range(counts):
    found = Diversity(1, counts)
    table = found.verbs()
    assert sum(line.steps for line in table) == found.steps == sum(counts.values())
    assert sum(line.share for line in table) == pytest.approx(1)
    assert all(line.steps == sum(count for _, count in line.objects) for line in table)
    assert 0 < found.distinct_share <= 1
    assert found.entropy is None or -1e-9 <= found.entropy <= 1 + 1e-9


def test_the_measures_tell_the_same_step_again_and_again_from_different_ones():
    same, different = verbs_and_objects(["Name a bird."] * 4), verbs_and_objects(["Name a bird.", "Draw a nest."])
    assert (same.entropy, same.distinct_share) == (0, 0.25)
    assert (different.entropy, different.distinct_share) == (pytest.approx(1), 1)


def test_an_empty_set_has_no_figures():
    none = verbs_and_objects([])
    assert (none.steps, none.distinct_share, none.entropy, none.verbs()) == (0, None, None, [])


# --- the plot


def drawn(verbs, **options):
    return ElementTree.fromstring(str(draw_sunburst(verbs, title="a set", **options)))


def labels(plot):
    return [text.text for text in plot.iter("text")]


VERBS = [("list", [("bird", 20), ("", 10), ("rare", 1)]), ("write", [("poem", 15)]), ("sing", [("song", 1)])]


def test_a_part_says_its_count_and_its_share_of_all():
    told = [title.text for path in drawn(VERBS).iter("path") for title in path.iter("title")]
    assert told[:3] == ["list: 31 (66 %)", "list bird: 20 (43 %)", "list: 10 (21 %)"]


def test_each_ring_goes_once_round():
    plot = drawn([("list", [("bird", 3)])])
    assert len([*plot.iter("path")]) == 2
    assert labels(plot) == ["list", "bird", "3", "steps"]


def test_what_has_no_room_has_no_label_and_no_part_of_the_outer_ring():
    verbs = [("list", [("bird", 500), *[(f"thing{i}", 1) for i in range(400)]]), ("sing", [("song", 1)])]
    assert labels(drawn(verbs)) == ["list", "bird", "901", "steps"]
    assert "thing0" not in str(draw_sunburst(verbs, title="a set"))


def test_text_of_a_set_cannot_become_markup():
    assert "<b>" not in draw_sunburst([("<b>", [("<i>&", 3)])], title="<u>")


def test_what_is_shown_of_a_large_set_is_told_below():
    verbs = [(f"verb{i}", [("thing", 1)]) for i in range(28)]
    assert "14 of 28 verbs, which lead 50 % of the steps" in describe_sunburst(verbs)
    assert len([*drawn(verbs).iter("path")]) == 28
    assert (draw_sunburst([], title=""), describe_sunburst([])) == ("", "")


@given(st.integers(1, 40))
def test_neighbours_never_have_the_same_colour(count):
    plot = drawn([(f"verb{i}", [("thing", 1)]) for i in range(count)], most=40)
    colours = [fill[1] for path in plot.iter("path") if (fill := re.search(r"--c(\d)", path.get("style")))]
    assert len(colours) == count
    assert count == 1 or all(a != b for a, b in zip(colours, [*colours[1:], colours[0]], strict=True))


# --- real rewrites


def test_of_real_teachers_steps_nearly_all_are_told(shared):
    steps = []
    for file in sorted((shared / "teacher_replies").glob("*/*.jsonl")):
        for row in map(json.loads, file.read_text("utf-8").splitlines()):
            choice, text = (
                read_choice(row["classify_reply"]),
                read_instruction(row.get("rewrite_reply") or "", row["instruction"]),
            )
            if text and choice and choice != "keep":
                steps += added_tasks(row["instruction"], choice, text)
    found = verbs_and_objects(steps)
    assert len(steps) > 600
    assert len(found.untold) < 0.01 * len(steps)
    assert {line.verb for line in found.verbs(6)} >= {"identify", "analyze", "provide", "explain"}
    assert next(iter(found.pairs)) == ("provide", "example")  # the most frequent one
