"""Evaluation: items nobody trained on, each step checked, what cannot be judged never counted as wrong."""

import json
from random import Random

import msgspec
import pytest

from seqtune.building.gold import find_operation
from seqtune.building.style import join
from seqtune.data.example import Example, Step
from seqtune.data.writer import write
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.run import evaluate, judge
from seqtune.evaluation.scoring import Verdict, figures, score
from seqtune.evaluation.suite import GROUP, Suite, WordLists, chain_maker, chains, is_held_out, rows_suite, seed_words


def answer_to(item, text, cut=False):
    return Answer(item.id, "a model", text, len(text.split()), cut)


def right(item):
    return answer_to(item, item.output)


def without_part(item, place):
    kept = [step for i, step in enumerate(item.steps) if i != place]
    return answer_to(item, join([step.mark for step in kept], [step.expected for step in kept]))


# --- suites


def test_items_have_the_asked_lengths_and_no_two_are_the_same():
    suite = chains((1, 2, 4), per_length=30)
    assert [len(item.steps) for item in suite.items] == [1] * 30 + [2] * 30 + [4] * 30
    assert len({item.id for item in suite.items}) == 90


def test_a_seed_gives_the_same_items_and_fewer_are_the_first_of_more():
    assert chains(seed=3, per_length=5) == chains(seed=3, per_length=5)
    assert chains((2,), seed=3, per_length=5).items == chains((2,), seed=3, per_length=20).items[:5]
    assert not {i.id for i in chains(seed=3).items} & {i.id for i in chains(seed=4).items}


def test_no_text_of_an_item_is_ever_drawn_for_training():
    maker, rng = chain_maker(), Random(0)
    rows = [maker.draw(1 + i % 3, rng, for_training=True) for i in range(300)]
    assert not any(is_held_out(row.input) for row in rows)
    assert all(is_held_out(item.input) for item in chains(per_length=100).items)


def test_unseen_pairs_stand_in_no_training_row_and_in_every_item_of_their_split():
    maker, rng = chain_maker(unseen=6, seed=2), Random(0)
    assert len(maker.unseen_pairs) == 6
    rows = [maker.draw(3, rng, for_training=True) for _ in range(200)]
    assert not any(maker.holds_unseen_pair(row) for row in rows)
    assert not any(maker.holds_unseen_pair(item) for item in chains(maker=maker).items)
    assert all(maker.holds_unseen_pair(item) for item in chains((2,), maker=maker, unseen_pairs=True).items)
    assert {step.check for row in rows for step in row.steps} == {operation.name for operation in maker.operations}


def test_each_step_works_on_the_result_of_the_one_before():
    for item in chains((3,), per_length=50).items:
        text = item.input
        for step in item.steps:
            assert find_operation(step.check).run(text) == step.expected
            text = step.expected


def test_words_are_those_of_the_seed_rows_and_none_is_worded_with():
    words = seed_words(60)
    assert len(set(words)) == 60
    assert all(word.isalpha() and word.islower() for word in words)
    assert not {"first", "last", "word", "second", "end"} & set(words)


def test_chains_that_cannot_be_drawn_are_refused_with_a_way_out():
    with pytest.raises(RecipeError, match="no chain of 9 steps can be drawn from 8 operations"):
        chains((9,), per_length=1)
    with pytest.raises(RecipeError, match="too few texts can be made of 1 words"):
        WordLists(("one",), 1, 1).draw(Random(0), for_training=is_held_out("one"))


def test_rows_without_steps_are_no_items(tmp_path):
    item = chains((2,), per_length=1).items[0]
    path = tmp_path / "rows.jsonl"
    write([Example("Hello", "", "there"), item], path)
    assert [row.id for row in rows_suite(path).items] == [item.id]
    write([Example("Hello", "", "there")], path)
    with pytest.raises(DataError, match="no row has steps to check"):
        rows_suite(path)


# --- verdicts


def test_a_right_answer_does_every_step():
    for item in chains((1, 2, 3, 4), per_length=20).items:
        scored = score(item, right(item))
        assert scored.exact
        assert [verdict.done for verdict in scored.verdicts] == [True] * len(item.steps)


def test_a_missing_part_is_a_step_not_done_and_the_others_still_count():
    for item in chains((3,), per_length=30).items:
        for place in range(3):
            scored = score(item, without_part(item, place))
            assert not scored.exact
            assert [verdict.done for verdict in scored.verdicts] == [i != place for i in range(3)]
            assert scored.verdicts[place].found is None


@pytest.mark.parametrize("text", ["", "\n\n", "I cannot do that.", "Reversed words:", ":", "1. 2. 3."])
def test_an_answer_that_is_none_does_nothing_and_is_no_error(text):
    for item in chains((2, 3), per_length=10).items:
        assert not any(verdict.done for verdict in score(item, answer_to(item, text)).verdicts)


def test_a_copy_of_the_request_is_not_following():
    for item in chains((2, 3), per_length=30).items:
        assert not any(verdict.done for verdict in score(item, answer_to(item, item.instruction)).verdicts)


def test_text_around_the_parts_keeps_the_steps_but_is_not_exact():
    item = chains((2,), per_length=1).items[0]
    scored = score(item, answer_to(item, f"Sure, here you go:\n{item.output}"))
    assert not scored.exact
    assert all(verdict.done for verdict in scored.verdicts)


def test_a_step_without_a_check_is_unscored_and_never_counted_as_not_done():
    item = Example(
        "Count the words, then say hello.",
        "one two",
        "Word count: 2\nAnswer: Hello!",
        steps=(
            Step("count the words", "2", "before", "count_words", mark="Word count:"),
            Step("say hello", "Hello!", mark="Answer:"),
        ),
    )
    scored = score(item, right(item))
    assert [verdict.done for verdict in scored.verdicts] == [True, None]
    (line,) = figures([scored])
    assert (line.unscored, line.all_steps.of, line.per_step.value) == (1, 0, 1.0)
    assert [position.of for position in line.by_position] == [1, 0]


# --- figures


def test_figures_count_by_split_and_number_of_steps():
    items = chains((1, 3), per_length=10, group="a").items + chains((1,), per_length=10, group="b", seed=1).items
    scored = [score(item, right(item) if i % 2 else without_part(item, 0)) for i, item in enumerate(items)]
    lines = figures(scored)
    assert [(line.group, line.steps, line.items) for line in lines] == [("a", 1, 10), ("a", 3, 10), ("b", 1, 10)]
    assert [line.exact.value for line in lines] == [0.5, 0.5, 0.5]
    assert lines[1].per_step.value == pytest.approx((5 * 3 + 5 * 2) / 30)
    assert [position.value for position in lines[1].by_position] == [0.5, 1.0, 1.0]
    assert all(line.exact.low < 0.5 < line.exact.high for line in lines)


def test_cut_answers_and_their_lengths_are_counted():
    items = chains((2,), per_length=4).items
    (line,) = figures([score(item, answer_to(item, "a b c", cut=i == 0)) for i, item in enumerate(items)])
    assert (line.cut, line.mean_tokens) == (1, 3.0)


def test_what_is_written_holds_every_item_and_every_step(tmp_path):
    suite = chains((1, 2), per_length=5, group="seen")
    found = judge(suite, [right(item) for item in suite.items], tmp_path)
    lines = (tmp_path / "verdicts.jsonl").read_bytes().splitlines()
    verdicts = [msgspec.json.decode(line, type=Verdict) for line in lines]
    assert [(v.item, v.step) for v in verdicts] == [
        (item.id, place) for item in suite.items for place in range(1, len(item.steps) + 1)
    ]
    metrics = msgspec.json.decode((tmp_path / "metrics.json").read_bytes())
    assert metrics == {"suite": "chains", "figures": json.loads(msgspec.json.encode(found))}
    assert suite.items[0].meta == {GROUP: "seen"}


# --- what is refused


@pytest.mark.parametrize(
    ("suite", "options", "message"),
    [
        ("chain", {}, "there is no suite 'chain'; did you mean 'chains'?"),
        ("chains", {"step": (1,)}, "suite 'chains' has no option 'step'; did you mean 'steps'?"),
        ("chains", {"steps": ()}, "steps is"),
    ],
)
def test_unknown_suites_and_options_are_refused_by_name(tmp_path, suite, options, message):
    with pytest.raises(RecipeError) as error:
        evaluate("no/model", suite, out=tmp_path / "out", **options)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_model_is_refused(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "empty").mkdir()
    suite = Suite("one", chains((1,), per_length=1).items)
    with pytest.raises(RecipeError, match="no model can be loaded from"):
        evaluate(tmp_path / "empty", suite, out=tmp_path / "out")
