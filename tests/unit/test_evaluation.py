"""Evaluation: items nobody trained on, each step checked, what cannot be judged never counted as wrong."""

import json
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building.gold import find_operation
from seqtune.building.style import join
from seqtune.data.example import Example, Step, prompt_text
from seqtune.data.writer import write
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.figures import figures
from seqtune.evaluation.headline import choose_headline
from seqtune.evaluation.ledger import open_ledger
from seqtune.evaluation.run import evaluate
from seqtune.evaluation.scoring import Scored, measures_of, score_steps, score_suite
from seqtune.evaluation.settings import EvaluateSettings
from seqtune.evaluation.suite import GROUP, Suite, by_length, open_suite, rows_suite, suite, suites
from seqtune.evaluation.suites.generated_chains import WordLists, chain_maker, chains, is_held_out, seed_words
from seqtune.evaluation.tax import chain_taxes
from seqtune.recipe import section_options


def answer_to(item, text, cut=False):
    return Answer(item.id, "a model", text, len(text.split()), cut)


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
    for steps in (3, 9):
        with pytest.raises(RecipeError, match=f"no chain of {steps} steps can be drawn from 2 operations"):
            chains((steps,), per_length=1, operations=("first_word", "last_word"))
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


def done(item, text):
    return [verdict.done for verdict in score_steps(item, text).steps]


def test_a_right_answer_does_every_step():
    for item in chains((1, 2, 3, 4), per_length=20).items:
        found = score_steps(item, item.output)
        assert [verdict.done for verdict in found.steps] == [True] * len(item.steps)
        order = 1.0 if len(item.steps) > 1 else None
        assert found.measures == {"exact": 1.0, "strict": 1.0, "soft": 1.0, "depth": 1.0, "order": order}


def test_a_missing_part_is_a_step_not_done_and_the_others_still_count():
    for item in chains((3,), per_length=30).items:
        for place in range(3):
            found = score_steps(item, without_part(item, place).text)
            assert [verdict.done for verdict in found.steps] == [i != place for i in range(3)]
            assert found.steps[place].found is None
            assert found.measures["soft"] == pytest.approx(2 / 3)
            assert (found.measures["exact"], found.measures["strict"]) == (0.0, 0.0)
            assert found.measures["depth"] == place / 3


@pytest.mark.parametrize("text", ["", "\n\n", "I cannot do that.", "Reversed words:", ":", "1. 2. 3."])
def test_an_answer_that_is_none_does_nothing_and_is_no_error(text):
    for item in chains((2, 3), per_length=10).items:
        assert not any(done(item, text))


def test_a_copy_of_the_request_is_not_following():
    for item in chains((2, 3), per_length=30).items:
        assert not any(done(item, item.instruction))


def test_text_around_the_parts_keeps_the_steps_but_is_not_exact():
    item = chains((2,), per_length=1).items[0]
    found = score_steps(item, f"Sure, here you go:\n{item.output}")
    assert (found.measures["exact"], found.measures["strict"]) == (0.0, 1.0)


def test_parts_in_another_order_are_told_from_missing_ones():
    item = chains((2,), per_length=1).items[0]
    swapped = join([step.mark for step in item.steps[::-1]], [step.expected for step in item.steps[::-1]])
    assert score_steps(item, swapped).measures["order"] == 0.0
    assert score_steps(item, without_part(item, 0).text).measures["order"] is None


COUNT_AND_GREET = Example(
    "Count the words, then say hello.",
    "one two",
    "Word count: 2\nAnswer: Hello!",
    steps=(
        Step("count the words", "2", "before", "count_words", mark="Word count:"),
        Step("say hello", "Hello!", mark="Answer:"),
    ),
)


def test_rows_with_steps_that_only_a_judge_can_tell_have_the_share_of_the_others_as_their_headline(tmp_path):
    path = tmp_path / "rows.jsonl"
    write([COUNT_AND_GREET, chains((2,), per_length=1).items[0]], path)
    given = {row.id: answer_to(row, row.output) for row in rows_suite(path).items}
    scored = score_suite(rows_suite(path), given)
    headline = choose_headline(rows_suite(path).headline, figures(rows_suite(path).items, given, scored))
    assert (headline.measure, headline.figure.value, headline.refused) == ("checked", 1.0, "")
    assert choose_headline("soft", figures(rows_suite(path).items, given, scored)).refused


def test_a_step_without_a_check_is_unscored_and_never_counted_as_not_done():
    item = COUNT_AND_GREET
    assert done(item, item.output) == [True, None]
    (line,) = figures_of([item], [item.output])
    assert (line.unscored_steps, line.measures["strict"].of, line.measures["soft"].value) == (1, 0, 1.0)
    assert (line.measures["strict"].worst, line.measures["strict"].best) == (0.0, 1.0)
    assert [position.of for position in line.by_position] == [1, 0]


@given(st.lists(st.sampled_from([True, False, None]), max_size=6))
def test_every_measure_of_steps_lies_between_0_and_1_and_agrees_with_the_others(told):
    found = measures_of(told)
    assert all(value is None or 0 <= value <= 1 for value in found.values())
    if None not in told and told:
        assert (found["strict"] == 1.0) == (found["soft"] == 1.0) == (found["depth"] == 1.0)
        assert found["depth"] <= found["soft"]


# --- figures


def figures_of(items, texts):
    answers = {item.id: answer_to(item, text) for item, text in zip(items, texts, strict=True) if text is not None}
    return figures(items, answers, score_suite(Suite("a suite", tuple(items)), answers))


def test_figures_count_by_split_and_number_of_steps_and_over_all():
    items = chains((1, 3), per_length=10, group="a").items + chains((1,), per_length=10, group="b", seed=1).items
    lines = figures_of(items, [item.output if i % 2 else without_part(item, 0).text for i, item in enumerate(items)])
    assert [(line.group, line.steps, line.items) for line in lines] == [
        ("a", 1, 10), ("a", 3, 10), ("b", 1, 10), ("all", None, 30),
    ]  # fmt: skip
    assert [line.measures["exact"].value for line in lines] == [0.5] * 4
    assert lines[1].measures["soft"].value == pytest.approx((5 * 3 + 5 * 2) / 30)
    assert [position.value for position in lines[1].by_position] == [0.5, 1.0, 1.0]
    assert all(line.measures["exact"].low < 0.5 < line.measures["exact"].high for line in lines)


def test_an_item_without_an_answer_is_unscored_and_bounds_say_what_it_could_have_been():
    items = chains((1,), per_length=10).items
    (line,) = figures_of(items, [None] * 2 + [item.output for item in items[2:]])
    strict = line.measures["strict"]
    assert (line.answered, strict.value, strict.unscored, strict.coverage) == (8, 1.0, 2, 0.8)
    assert (strict.worst, strict.best) == (0.8, 1.0)
    head = choose_headline("strict", [line])
    assert "only 8 of 10 items could be scored" in head.refused
    assert not choose_headline("strict", figures_of(items, [item.output for item in items])).refused


def test_cut_answers_and_their_lengths_are_counted():
    items = chains((2,), per_length=4).items
    answers = {item.id: answer_to(item, "a b c", cut=i == 0) for i, item in enumerate(items)}
    (line,) = figures(items, answers, ())
    assert (line.cut, line.mean_tokens) == (1, 3.0)


# --- answers of others


def responses(path, rows):
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def test_answers_of_others_are_put_to_items_by_id_or_by_prompt_whatever_their_order(tmp_path):
    suite = chains((1, 2), per_length=5)
    rows = [{"item": item.id, "completion": item.output} for item in suite.items[:5]]
    rows += [{"prompt": prompt_text(item), "completion": item.output} for item in suite.items[5:]]
    found = evaluate(suite=suite, responses=responses(tmp_path / "r.jsonl", rows[::-1]), out=tmp_path / "out")
    assert found.headline.figure.value == 1.0
    assert (found.answered, found.model) == (10, "r.jsonl")


def test_the_folder_holds_all_that_the_figures_come_from_and_can_be_judged_again(tmp_path):
    suite = chains((1, 2), per_length=5, group="seen")
    rows = [{"id": item.id, "output": item.output} for item in suite.items]
    out = tmp_path / "out"
    found = evaluate(suite=suite, responses=responses(tmp_path / "r.jsonl", rows), out=out)
    scored = [msgspec.json.decode(line, type=Scored) for line in (out / "verdicts.jsonl").read_bytes().splitlines()]
    assert [one.item for one in scored] == [item.id for item in suite.items]
    assert [len(one.steps) for one in scored] == [len(item.steps) for item in suite.items]
    metrics = (out / "metrics.json").read_bytes()
    assert msgspec.json.decode(metrics)["figures"] == json.loads(msgspec.json.encode(found.figures))
    (out / "metrics.json").unlink()
    again = evaluate(phase="judge", out=out)
    assert (again.figures, again.headline) == (found.figures, found.headline)
    assert (out / "metrics.json").read_bytes() == metrics
    assert suite.items[0].meta == {GROUP: "seen"}


def test_an_empty_answer_is_wrong_and_a_missing_one_is_unscored(tmp_path):
    suite = chains((1,), per_length=20)
    texts = ["", None, *[item.output for item in suite.items[2:]]]
    rows = [{"id": item.id, "output": text} for item, text in zip(suite.items, texts, strict=True)]
    found = evaluate(suite=suite, responses=responses(tmp_path / "r.jsonl", rows), out=tmp_path / "out")
    figure = found.headline.figure
    assert (figure.done, figure.of, figure.unscored) == (18, 19, 1)


def test_answers_that_fit_nothing_are_refused_and_some_that_do_not_are_told(tmp_path):
    suite = chains((1,), per_length=3)
    strange = [{"prompt": f"What is {i}?", "output": "?"} for i in range(5)]
    with pytest.raises(DataError, match="none of the 5 answers fits one of the suite's 3 items"):
        evaluate(suite=suite, responses=responses(tmp_path / "r.jsonl", strange), out=tmp_path / "out")
    rows = [{"prompt": prompt_text(item), "output": item.output} for item in suite.items]
    found = evaluate(suite=suite, responses=responses(tmp_path / "r.jsonl", rows + strange), out=tmp_path / "out")
    assert found.notes == ("5 of the 8 answers fit no item of the suite and are left out",)


def test_columns_are_named_where_they_are_not_usual_and_wrong_names_are_refused(tmp_path):
    suite = chains((1,), per_length=3)
    rows = [{"query": prompt_text(item), "said": item.output} for item in suite.items]
    path = responses(tmp_path / "r.jsonl", rows)
    with pytest.raises(DataError, match="no column of query, said holds answers"):
        evaluate(suite=suite, responses=path, out=tmp_path / "out")
    with pytest.raises(RecipeError, match="no column is called 'sayd'; did you mean 'said'"):
        evaluate(suite=suite, responses=path, columns={"answer": "sayd"}, out=tmp_path / "out")
    found = evaluate(suite=suite, responses=path, columns={"answer": "said", "prompt": "query"}, out=tmp_path / "out")
    assert found.headline.figure.value == 1.0


# --- ledgers


def test_a_ledger_keeps_what_was_written_and_cuts_off_what_a_kill_tore(tmp_path):
    path = tmp_path / "answers.jsonl"
    kept = [Answer(f"item {i}", "m", "text", key=str(i)) for i in range(3)]
    with open_ledger(path, Answer) as ledger:
        ledger.add(kept)
        ledger.add(kept[:1])
    whole = path.read_bytes()
    for cut in (1, 10, 40):
        path.write_bytes(whole + whole[:cut])
        with open_ledger(path, Answer) as ledger:
            assert [*ledger] == kept
            ledger.add([Answer("item 3", "m", "text", key="3")])
        with open_ledger(path, Answer) as ledger:
            assert [one.key for one in ledger] == ["0", "1", "2", "3"]


def test_a_line_of_a_ledger_that_is_none_is_named(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"item": 1}\n')
    with pytest.raises(DataError, match=r"answers.jsonl:1: not a line of this file"), open_ledger(path, Answer):
        pass


# --- what is refused


@pytest.mark.parametrize(
    ("suite", "options", "message"),
    [
        ("chain", {}, "there is no suite 'chain'; did you mean 'chains'?"),
        ("chain", {"steps": (1,)}, "there is no suite 'chain'; did you mean 'chains'?"),
        ("chains", {"step": (1,)}, "suite 'chains' has no option 'step'; did you mean 'steps'?"),
        ("chains", {"options": {"step": (1,)}}, "suite 'chains' has no option 'step'; did you mean 'steps'?"),
        ("chains", {"concurency": 3}, "suite 'chains' has no option 'concurency'; did you mean 'concurrency'?"),
        ("gsm8k", {"seed": 1}, "suite 'gsm8k' has no option 'seed'\n"),
        ("lm_eval:arc", {"limt": 1}, "suite 'lm_eval' has no option 'limt'; did you mean 'limit'?"),
        ("lm_eval:arc", {"options": {"out": "x"}}, "suite 'lm_eval' has no option 'out'\n"),
        (chains((1,)), {"jugde": "x"}, "a suite that is made already takes no option 'jugde'; did you mean 'judge'?"),
        ("chains", {"jugde": "x", "phase": "judge"}, "no option 'jugde'; did you mean 'judge'?"),
    ],
)
def test_unknown_suites_and_names_are_refused_with_the_nearest_one(tmp_path, suite, options, message):
    with pytest.raises(RecipeError) as error:
        evaluate("no/model", suite, out=tmp_path / "out", **options)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("suite", "options", "message"),
    [
        ("chains", {"concurrency": 0, "phase": "anwser"}, "evaluate.concurrency = 0: input should be greater than 0"),
        ("chains", {"concurrency": 0, "phase": "anwser"}, "evaluate.phase = anwser: input should be 'both', 'answer'"),
        ("chains", {"by_length": 1}, "evaluate.by_length = 1"),
        ("chains", {"options": 5}, "evaluate.options = 5"),
        (5, {}, "evaluate.suite = 5"),
        ("chains", {"steps": "x", "seed": "a"}, "suite 'chains': options.steps = x"),
        ("chains", {"steps": "x", "seed": "a"}, "suite 'chains': options.seed = a: input should be a valid integer"),
        ("chains", {"steps": ()}, "suite 'chains': steps is []"),
        ("chains", {"per_length": -1}, "suite 'chains': steps is [1, 2, 3] and per_length -1"),
        ("chains", {"maker": "x"}, "suite 'chains': options.maker = x: input should be a dictionary or an instance"),
        ("chains", {"wordings": "any"}, "suite 'chains': options.wordings = any: input should be 'known', 'unseen'"),
        ("mgsm:zh", {"shots": "many"}, "suite 'mgsm': options.shots = many"),
        ("mgsm:zh", {"shots": 99}, "suite 'mgsm': shots is 99"),
        ("xquad:zz", {}, "suite 'xquad' has no language 'zz'"),
        ("xquad:zh", {"rows": 5}, "suite 'xquad': options.rows = 5"),
        ("gsm8k:foo", {}, "suite 'gsm8k' has no form 'foo'"),
        ("lm_eval:arc", {"limit": "few"}, "suite 'lm_eval': options.limit = few"),
        ("lm_eval:arc", {"limit": 0}, "suite 'lm_eval': options.limit = 0: input should be greater than 0"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_before_anything_is_asked_or_written(tmp_path, suite, options, message):
    with pytest.raises(RecipeError) as error:
        evaluate("no/model", suite, out=tmp_path / "out", **options)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["rows", "maker"])
def test_what_is_an_object_can_be_given_in_python_only(name):
    with pytest.raises(RecipeError, match=rf"--set evaluate.options.{name}=5: .*only Python can give it"):
        section_options("evaluate", EvaluateSettings, None, [f"evaluate.options.{name}=5"], {"out": "out"})
    assert all(name not in kind.options for kind in suites())
    assert chains((1,), per_length=2, maker=chain_maker()) == open_suite(
        "chains", options={"steps": [1], "per_length": 2, "maker": chain_maker()}
    )


def test_a_suite_of_ones_own_takes_whatever_its_function_says():
    @suite("of-our-own")
    def make(seed, path: "Unknown", *, told: bool = False) -> Suite:  # noqa: F821
        return Suite(f"{seed} {path} {told}", chains((1,), per_length=1).items)

    assert open_suite("of-our-own", options={"seed": "a", "path": {1}}).name == "a {1} False"
    with pytest.raises(RecipeError, match=r"options\.path is missing"):
        open_suite("of-our-own", options={"seed": "a"})


def test_a_folder_without_a_model_is_refused(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "empty").mkdir()
    suite = Suite("one", chains((1,), per_length=1).items)
    with pytest.raises(RecipeError, match="no model can be loaded from"):
        evaluate(tmp_path / "empty", suite, out=tmp_path / "out")


# --- splits of the suite `chains`, and its tax


def test_results_on_lines_of_their_own_count_without_marks_and_only_in_their_order():
    for item in chains((3,), per_length=30).items:
        lines = [step.expected for step in item.steps]
        for form in ("{}", "- {}", "{n}. {}", "Step {n}: {}", "**Result**: {}"):
            text = "\n".join(form.format(line, n=n) for n, line in enumerate(lines, 1))
            assert done(item, f"Here is what you asked for.\n\n{text}") == [True] * 3
        if len({*lines}) == 3:
            assert not all(done(item, "\n".join(lines[::-1])))


def test_without_marks_order_is_told_by_the_lines_found():
    for item in chains((2, 3), per_length=30).items:
        lines = [step.expected for step in item.steps]
        assert score_steps(item, "\n".join(lines)).measures["order"] == 1.0
        assert score_steps(item, "\n".join(lines * 2)).measures["order"] == 1.0
        assert score_steps(item, lines[0]).measures["order"] in (None, 1.0)
        if len({*lines}) == len(lines) and all(len(line.split()) > 1 for line in lines):
            assert score_steps(item, "\n".join(lines[::-1])).measures["order"] == 0.0
        assert score_steps(item, "I do not know.").measures["order"] is None


def test_a_part_that_nobody_asked_for_costs_only_exactness():
    for item in chains((2, 3), per_length=20).items:
        found = score_steps(item, f"{item.output}\nWords put aside: foo bar").measures
        assert (found["strict"], found["exact"]) == (1.0, 0.0)


def test_every_chain_of_the_tax_has_its_steps_as_single_tasks_on_the_right_input():
    items = {item.id: item for item in chains((1, 2, 3), per_length=10, singles=True).items}
    asked = [item for item in items.values() if len(item.steps) > 1]
    assert len(asked) == 20
    for item in asked:
        singles = [items[one] for one in item.meta["singles"]]
        assert [one.steps[0].expected for one in singles] == [step.expected for step in item.steps]
        assert [one.input for one in singles] == [item.input, *[step.expected for step in item.steps[:-1]]]
        assert [find_operation(one.steps[0].check).run(one.input) for one in singles] == [
            step.expected for step in item.steps
        ]


def test_the_tax_is_what_single_steps_lose_in_a_chain():
    suite = chains((1, 2), per_length=30, singles=True)
    answers = {
        item.id: answer_to(item, item.output if len(item.steps) == 1 else without_part(item, 1).text)
        for item in suite.items
    }
    [tax] = chain_taxes(suite.items, score_suite(suite, answers))
    assert (tax.steps, tax.chains, tax.alone.value, tax.in_chain.value, tax.tax.value) == (2, 30, 1.0, 0.5, 0.5)
    assert tax.tax.low <= 0.5 <= tax.tax.high
    assert chain_taxes(chains((1, 2), per_length=5).items, ()) == []


def test_unseen_wordings_ask_for_the_same_steps_in_words_that_no_build_writes():
    known = chains((1, 2, 3), per_length=20).items
    both = chains((1, 2, 3), per_length=20, wordings="both").items
    new = [item for item in both if item.meta["group"] == "unseen wordings"]
    assert both[:60] == known
    assert [(item.input, item.output) for item in new] == [(item.input, item.output) for item in known]
    assert not {item.instruction for item in new} & {item.instruction for item in known}


def test_splits_by_training_rows_hold_trained_operations_or_others_and_never_both(tmp_path):
    maker, rng = chain_maker(("first_word", "last_word", "swap_ends")), Random(0)
    path = tmp_path / "rows.jsonl"
    write([maker.draw(2, rng, for_training=True) for _ in range(50)], path)
    items = chains((1, 2), per_length=10, trained_on=str(path)).items
    trained = {"first_word", "last_word", "swap_ends"}
    for item in items:
        checks = {step.check for step in item.steps}
        assert checks <= trained if item.meta["group"] == "known operations" else not checks & trained
    assert {item.meta["group"] for item in items} == {"known operations", "unseen operations"}
    write([Example("Say hi.", "", "Hi!")], path)
    with pytest.raises(RecipeError, match="is a step of these rows"):
        chains(trained_on=str(path))


def test_with_a_given_first_result_what_is_right_follows_from_the_text_that_stands_there():
    items = chains((2, 3), per_length=20, given="all").items
    by_group = {group: [i for i in items if i.meta["group"] == group] for group in {i.meta["group"] for i in items}}
    assert by_group.keys() == {"", "first result right", "first result wrong"}
    assert [i.steps for i in by_group["first result right"]] == [i.steps[1:] for i in by_group[""]]
    for item in by_group["first result wrong"] + by_group["first result right"]:
        text = item.instruction.rpartition("\n")[2].partition(": ")[2]
        for step in item.steps:
            assert find_operation(step.check).run(text) == step.expected
            text = step.expected
        assert score_steps(item, item.output).measures["exact"] == 1.0
    rights = {(i.input, i.steps[-1].check): i.output for i in by_group["first result right"]}
    assert all(rights.get((i.input, i.steps[-1].check)) != i.output for i in by_group["first result wrong"])


def test_items_by_length_fall_into_ranges_that_hold_all_of_them_in_order():
    suite = chains((1, 2, 3, 4), per_length=25)
    split = by_length(suite, 4)
    assert {item.id for item in split.items} == {item.id for item in suite.items}
    for item in split.items:
        low, high = [int(word) for word in item.meta["group"].split() if word.isdecimal()]
        assert low <= len(prompt_text(item).split()) <= high
    assert 2 <= len({item.meta["group"] for item in split.items}) <= 4
    with pytest.raises(RecipeError, match="by_length is 1"):
        by_length(suite, 1)


def test_chains_of_up_to_ten_steps_can_be_drawn_and_their_right_answers_are_right():
    for item in chains(range(6, 11), per_length=20).items:
        text = item.input
        for step in item.steps:
            assert find_operation(step.check).run(text) == step.expected
            text = step.expected
        assert score_steps(item, item.output).measures["strict"] == 1.0


# --- what may stand around the answer


def test_closing_words_and_fences_cost_only_the_exact_answer():
    for item in chains((1, 2, 3), per_length=5).items:
        for form in (
            "{}\n\nLet me know if you need anything else!",
            "```\n{}\n```",
            "Sure:\n```\n{}\n```\n\nI hope this helps.",
        ):
            found = score_steps(item, form.format(item.output))
            assert (found.measures["strict"], found.measures["soft"], found.measures["exact"]) == (1.0, 1.0, 0.0)
            assert score_steps(item, form.format(f"{item.output}x")).measures["strict"] == 0.0


def test_of_two_answers_to_a_step_none_counts():
    item = chains((3,), per_length=1).items[0]
    last = item.steps[-1]
    for more in (item.input, f"{last.mark} {item.input}", f"Or it could be {item.input}."):
        assert (
            score_steps(item, f"{item.output.replace(last.expected, item.input)}\n\n{last.expected}").measures["strict"]
            == 0
        )
        assert score_steps(item, f"{item.output}\n\n{more}").measures["strict"] == 0
