"""Task suites with a step before the answer: the answer, the step, and the authors' own rule are told apart."""

import json
import sys
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.errors import DataError, MissingExtraError, RecipeError
from seqtune.evaluation.responses import Responses, match
from seqtune.evaluation.scoring import find_scorer
from seqtune.evaluation.suite import open_suite
from seqtune.evaluation.suites import commonsense_qa, gsm8k, mgsm
from seqtune.evaluation.suites.commonsense_qa import chosen
from seqtune.evaluation.tasks import text as texts
from seqtune.evaluation.tasks.items import gold_of
from seqtune.evaluation.tasks.numerals import last_number, number_measures, same_number
from seqtune.evaluation.tasks.parts import parts
from seqtune.evaluation.tasks.text import exact_match, lenient, marked, rouge_l_of_beginning, word_f1

CONTEXT = {
    "en": "The old mill stands on the river Orra. It was built in 1780 by two brothers and closed in 1931.",
    "de": "Die alte Mühle steht am Fluss Orra. Sie wurde 1780 von zwei Brüdern gebaut und 1931 geschlossen.",
    "zh": "古老的磨坊坐落在奥拉河畔。它由两兄弟于1780年建造，并于1931年关闭。",
}
QUESTIONS = {
    "en": [("Who built the mill?", "two brothers"), ("When was it closed?", "1931")],
    "de": [("Wer baute die Mühle?", "zwei Brüdern"), ("Wann wurde sie geschlossen?", "1931")],
    "zh": [("谁建造了磨坊？", "两兄弟"), ("它什么时候关闭？", "1931年")],
}
PROBLEMS = {
    "en": [("A farmer has 12 hens and buys 3 more. How many hens does she have now?", "15")],
    "de": [("Eine Bäuerin hat 12 Hühner und kauft 3 dazu. Wie viele Hühner hat sie jetzt?", "15")],
    "te": [("ఒక రైతు దగ్గర 12 కోళ్లు ఉన్నాయి, ఇంకా 3 కొన్నాడు. ఇప్పుడు ఎన్ని కోళ్లు ఉన్నాయి?", "15")],
}
CHOSEN = {
    "id": "q1",
    "question": {
        "stem": "Where does a sailor sleep on a voyage?",
        "choices": [
            {"label": letter, "text": text}
            for letter, text in zip("ABCDE", ["bunk", "garage", "a tree", "oven", "mailbox"], strict=True)
        ],
    },
    "answerKey": "A",
}
SUITES = ["xquad:en", "xquad:de", "xquad:zh", "mgsm:en", "mgsm:de", "mgsm:te", "gsm8k", "commonsense_qa"]
LENIENT = ("lenient", "marked")  # the authors' own measures, whose faults are kept
HOSTILE = st.text(st.characters(exclude_categories=())) | st.text("\"'*_#:：.,0aA\n -Answerisult?").filter(bool)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with small files of our own in the form of each suite's public ones."""
    folder = tmp_path_factory.mktemp("suites")
    for language, context in CONTEXT.items():
        qas = [
            {"id": f"q{i}", "question": question, "answers": [{"text": answer, "answer_start": 0}]}
            for i, (question, answer) in enumerate(QUESTIONS[language])
        ]
        article = {"title": "Mill", "paragraphs": [{"context": context, "qas": qas}]}
        (folder / f"xquad.{language}.json").write_text(json.dumps({"data": [article], "version": "1.1"}), "utf-8")
    for language, problems in PROBLEMS.items():
        lines = "".join(f"{question}\t{answer}\n" for question, answer in problems)
        (folder / f"mgsm_{language}.tsv").write_text(lines, "utf-8")
    solved = {"question": PROBLEMS["en"][0][0], "answer": "She has 12 + 3 = <<12+3=15>>15 hens.\n#### 15"}
    (folder / "test.jsonl").write_text(json.dumps(solved) + "\n", "utf-8")
    (folder / "dev_rand_split.jsonl").write_text(json.dumps(CHOSEN) + "\n", "utf-8")
    return folder


def measures(suite, text, place=0):
    return find_scorer(suite.scorer)(suite.items[place], text).measures


def good_answer(item):
    return f"{gold_of(item).step[0]}\n\nAnswer: {item.output}"


# What an answer is worth


@pytest.mark.parametrize("spec", SUITES)
def test_the_step_and_then_the_right_answer_score_one_in_everything(data, spec):
    suite = open_suite(spec, data=data)
    found = measures(suite, good_answer(suite.items[0]))
    assert {name: value for name, value in found.items() if value != 1} == (
        {"f1_own": found["f1_own"]} if "f1_own" in found else {}
    )


@pytest.mark.parametrize("spec", SUITES)
@pytest.mark.parametrize(
    "text", ["", "Answer:", "Answer: ", "answer is", "Result:\n", "The answer is:", "####", "\n\n"]
)
def test_an_answer_of_nothing_scores_nothing_in_our_measures(data, spec, text):
    suite = open_suite(spec, data=data)
    found = measures(suite, text)
    assert not any(value for name, value in found.items() if name not in LENIENT)
    assert found["exact_match"] == 0  # told, and wrong


@pytest.mark.parametrize("spec", SUITES)
def test_the_step_without_an_answer_is_the_step_alone(data, spec):
    suite = open_suite(spec, data=data)
    found = measures(suite, f"{gold_of(suite.items[0]).step[0]}\n\nAnswer:")
    assert found["step_done"] == 1
    assert found["exact_match"] == found["strict"] == 0


@pytest.mark.parametrize("spec", SUITES)
def test_the_answer_without_the_step_is_the_answer_alone(data, spec):
    suite = open_suite(spec, data=data)
    found = measures(suite, suite.items[0].output)
    assert found["exact_match"] == 1
    assert found["step_done"] == found["strict"] == 0


@pytest.mark.parametrize("spec", SUITES)
def test_the_step_after_the_answer_is_done_but_out_of_order(data, spec):
    suite = open_suite(spec, data=data)
    item = suite.items[0]
    found = measures(suite, f"Answer: {item.output}\n\n{gold_of(item).step[0]}")
    assert found["exact_match"] == found["step_done"] == 1
    assert found["order"] == 0


@pytest.mark.parametrize("spec", SUITES)
@given(text=HOSTILE)
def test_no_text_breaks_a_scorer_and_no_measure_leaves_its_bounds(data, spec, text):
    suite = open_suite(spec, data=data)
    found = find_scorer(suite.scorer)(suite.items[0], text)
    assert all(value is None or 0 <= value <= 1 for value in found.measures.values())


@pytest.mark.parametrize("spec", ["xquad:zh", "mgsm:de", "gsm8k", "commonsense_qa"])
@pytest.mark.parametrize(
    "text",
    ["a. " * 4_000, "answer to " * 4_000, "Answer: " * 4_000, "\n" * 20_000, "1,2 " * 4_000, "note " * 4_000],
)
def test_a_very_long_text_is_scored_as_well(data, spec, text):
    suite = open_suite(spec, data=data)
    assert measures(suite, text)["strict"] == 0


@pytest.mark.parametrize("spec", ["xquad:de", "mgsm:de"])
def test_a_copy_of_the_prompt_is_no_translation(data, spec):
    suite = open_suite(spec, data=data)
    found = measures(suite, f"{suite.items[0].input}\n\nAnswer: {suite.items[0].output}")
    assert found["exact_match"] == 1
    assert found["step_done"] == 0


def test_a_translation_of_the_question_alone_is_a_part_of_the_step(data):
    suite = open_suite("xquad:zh", data=data)
    found = measures(suite, "The translated question is: Who built the mill?\n\nThe answer is: two brothers")
    assert (found["step_done"], found["step_partly"], found["in_english"]) == (0, 1, 1)


def test_an_answer_in_the_language_of_the_question_is_told_apart_from_one_in_english(data):
    suite = open_suite("xquad:zh", data=data)
    found = measures(suite, "Answer: 两兄弟")
    assert (found["f1"], found["f1_own"]) == (0, 1)


def test_verdicts_say_what_was_found_for_the_step_and_for_the_answer(data):
    suite = open_suite("xquad:de", data=data)
    step, answer = find_scorer("xquad")(suite.items[0], good_answer(suite.items[0])).steps
    assert step.done
    assert answer.done
    assert step.found == CONTEXT["en"]
    assert answer.found == "two brothers"


# An answer taken apart


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("308", "308"),
        ("The answer is 308.", "308."),
        ("**Answer:** 308", "308"),
        ('The answer to the question "Who was it?" is: Ann', "Ann"),
        ("The answer to the question is:\n\nAnn", "Ann"),
        ("It is late.\n\nAntwort: elf", "elf"),
        ("答案：两兄弟", "两兄弟"),
        ("Answer: one\nNo, wait.\nAnswer: two", "two"),
        ("Ann\n\nNote: The answer is: taken from the text.", "Ann"),
        ("Ann Lee\n\nThe answer is extracted from the context.", "The answer is extracted from the context."),
        ("2 + 3 = 5\n#### 5", "5"),
        ("The translation is:\n\n'It rains.'", ""),
        ("It rains in the north.\n\nThe question is: Where does it rain?", ""),
    ],
)
def test_the_answer_is_found_where_it_is_marked_or_else_in_the_last_line(text, answer):
    assert parts(text).answer == answer


@pytest.mark.parametrize(
    "lead", ["", "The translated context is:\n\n", 'Translation: "', "Here is the input in English:\n"]
)
def test_what_announces_the_step_is_not_part_of_it(lead):
    assert parts(f"{lead}The mill is old.\n\nAnswer: old").step.rstrip('"') == "The mill is old."


# Texts compared


@given(st.text())
def test_a_text_with_words_is_equal_to_itself(text):
    has_words = bool(texts.plain_words(text))
    assert exact_match(text, [text]) == word_f1(text, [text]) == float(has_words)
    assert rouge_l_of_beginning(text, text) == float(bool(texts.plain_words(text, "")))


@given(st.text(), st.text())
def test_likeness_is_between_nothing_and_one(one, other):
    assert 0 <= rouge_l_of_beginning(one, other) <= 1
    assert 0 <= word_f1(one, [other]) <= 1


@pytest.mark.parametrize(
    ("said", "gold", "language", "f1"),
    [
        ("The  Orra!", "orra", "en", 1.0),
        ("die Mühle", "Mühle", "de", 1.0),
        ("die Mühle", "Mühle", "en", 2 / 3),
        ("1,345", "1345", "en", 1.0),
        ("两兄弟建造", "两兄弟", "zh", 6 / 8),
        ("สองพี่", "สอง", "th", 6 / 9),
        ("１９３１", "1931", "ja", 1.0),
        ("कि", "की", "hi", 0.0),
    ],
)
def test_words_are_compared_as_squad_does_and_signs_one_by_one(said, gold, language, f1):
    assert word_f1(said, [gold], language) == pytest.approx(f1)
    assert exact_match(said, [gold], language) == float(f1 == 1)


def test_of_several_golds_the_best_counts():
    assert exact_match("blue", ["red", "Blue."]) == 1
    assert word_f1("dark blue", ["red", "blue"]) == pytest.approx(2 / 3)
    assert exact_match("blue", []) == word_f1("blue", []) == 0


def test_chrf_is_one_for_the_same_text_and_names_the_extra_where_it_cannot_be_told(monkeypatch):
    pytest.importorskip("sacrebleu")
    assert texts.chrf("The mill is old.", "The mill is old.") == pytest.approx(1)
    assert texts.chrf("xyz", "The mill is old.") < 0.1
    monkeypatch.setattr(texts, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"seqtune\[eval\]"):
        texts.chrf("a", "b")


# The authors' rule


@pytest.mark.parametrize(
    ("text", "right", "following"),
    [
        ("Answer:", 1, 1),
        ("", 1, 0),
        ("It was built by TWO BROTHERS long ago", 1, 0),
        ("Answer: t", 1, 1),
        ("The answer is: t", 0, 1),
        ("two brothers, I say. Answer: three sisters", 0, 1),
        ("three sisters", 0, 0),
    ],
)
def test_the_lenient_rule_is_the_authors_with_its_faults(text, right, following):
    assert (lenient(text, ["two brothers"]), marked(text)) == (right, following)


@pytest.mark.parametrize(
    ("name", "right", "following"),
    [("it_zh", 32.3, 51.0), ("sit_zh", 42.2, 66.1), ("it_de", 42.1, None), ("sit_de", 52.2, None)],
)
def test_the_lenient_rule_gives_the_recorded_figures_of_xquad(shared, name, right, following):
    rows = recorded(shared, name)
    suite = open_suite(f"xquad:{name[-2:]}", data=shared / "xquad", options={"rows": rows})
    golds = [gold_of(item).answers for item in suite.items]
    assert percent(lenient(row["output"], gold) for row, gold in zip(rows, golds, strict=True)) == right
    if following:
        assert percent(marked(row["output"]) for row in rows) == following


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("it_zh", {"exact_match": 18.1, "f1": 30.8, "step_done": 4.8, "step_partly": 12.6, "strict": 0.7}),
        ("sit_zh", {"exact_match": 23.2, "f1": 38.6, "step_done": 57.5, "step_partly": 66.1, "strict": 13.5}),
        ("it_de", {"exact_match": 28.5, "f1": 40.2, "step_done": 3.3, "step_partly": 7.1, "strict": 0.6}),
        ("sit_de", {"exact_match": 36.9, "f1": 51.6, "step_done": 45.2, "step_partly": 62.4, "strict": 15.8}),
    ],
)
def test_the_strict_figures_of_the_recorded_answers_stand_beside_them(shared, name, expected, monkeypatch):
    monkeypatch.setattr("seqtune.evaluation.tasks.intermediate.has_chrf", lambda: False)  # which takes a second a file
    rows = recorded(shared, name)
    suite = open_suite(f"xquad:{name[-2:]}", data=shared / "xquad", options={"rows": rows})
    found = [find_scorer("xquad")(item, row["output"]).measures for item, row in zip(suite.items, rows, strict=True)]
    assert {key: percent(one[key] for one in found) for key in expected} == pytest.approx(expected, abs=0.1)


def test_without_the_english_side_language_and_length_tell_nearly_the_same_of_the_step(shared, monkeypatch):
    monkeypatch.setattr("seqtune.evaluation.tasks.intermediate.has_chrf", lambda: False)
    same = told = 0
    for name in ("sit_zh", "it_de"):
        rows = recorded(shared, name)
        known = open_suite(f"xquad:{name[-2:]}", data=shared / "xquad", options={"rows": rows})
        alone = open_suite(f"xquad:{name[-2:]}", options={"rows": rows})
        for row, one, other in zip(rows, known.items, alone.items, strict=True):
            step = [find_scorer("xquad")(item, row["output"]).measures["step_done"] for item in (one, other)]
            told += 1
            same += step[0] == step[1]
    assert same / told > 0.98


def recorded(shared, name):
    path = shared / "responses" / "xquad" / f"llama3-8b-alpaca-{name}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def percent(values):
    values = list(values)
    return round(100 * sum(values) / len(values), 1)


# Items from rows that somebody answered


def answered(language, place=0, **more):
    question, answer = QUESTIONS[language][place]
    asked = f"Context: {CONTEXT[language]}\nQuestion: {question}"
    return {"instruction": "Translate, then answer.", "input": asked, "output": "1931", "target": answer, **more}


def test_rows_alone_are_compared_with_the_answer_that_they_bring_and_a_note_says_so():
    suite = open_suite("xquad:de", options={"rows": [answered("de", 1)]})
    assert gold_of(suite.items[0]).answers == ("1931",)
    assert measures(suite, "1931")["exact_match"] == 1
    assert suite.items[0].instruction == "Translate, then answer."
    assert any("xquad.en.json" in note for note in suite.notes)


def test_rows_are_joined_to_the_english_side_in_any_order_and_in_any_number(data):
    rows = [answered("zh", 1), answered("zh", 0), answered("zh", 1)]
    suite = open_suite("xquad:zh", data=data, options={"rows": rows})
    assert [item.output for item in suite.items] == ["two brothers", "1931"]


@pytest.mark.parametrize("spec", ["xquad:zh", "gsm8k"])
def test_items_that_no_row_asks_are_asked_as_the_suite_does_and_stay_unanswered(data, rows_file, spec):
    own = open_suite("xquad:zh", data=data).items if spec == "xquad:zh" else gsm8k_of(rows_file, 3)[1].items
    source = data if spec == "xquad:zh" else gsm8k_of(rows_file, 3)[0]
    rows = [{"instruction": "In my words.", "input": own[1].input}]
    suite = open_suite(spec, data=source, options={"rows": rows})
    assert [item.instruction == "In my words." for item in suite.items] == [place == 1 for place in range(len(own))]
    assert [gold_of(item) for item in suite.items] == [gold_of(item) for item in own]
    found, notes = match(Responses("r.jsonl", tuple(rows), ("said",)), suite.items, from_rows=True)
    assert [suite.items[1].id] == [*found]
    assert notes == []


def gsm8k_of(rows_file, count):
    file = rows_file([{"question": f"What is {i} plus 1?", "answer": f"#### {i + 1}"} for i in range(count)])
    return file, open_suite("gsm8k", data=file)


def test_rows_alone_say_how_many_items_the_suite_has_and_equal_ones_are_one_item():
    row = {"prompt": "How many?", "target": "4"}
    suite = open_suite("gsm8k", options={"rows": [row, {"prompt": "Why?", "target": "5"}, row]})
    assert [item.output for item in suite.items] == ["4", "5"]
    assert any(note.startswith("3 rows; the suite has 1,319 items") for note in suite.notes)
    found, notes = match(Responses("r.jsonl", (row, row), ("first", "last")), suite.items, from_rows=True)
    assert [answer.text for answer in found.values()] == ["last"]
    assert "left out for a later one" in notes[0]


def test_rows_that_the_data_do_not_hold_are_no_items_and_are_told(data):
    stranger = {**answered("zh"), "input": "Context: 没有。\nQuestion: 什么？", "target": "没有"}
    rows = (answered("zh"), stranger, answered("zh", 1))
    suite = open_suite("xquad:zh", data=data, options={"rows": rows})
    assert [gold_of(item).language for item in suite.items] == ["en", "en"]
    found, notes = match(Responses("r.jsonl", rows, ("a", "b", "c")), suite.items, from_rows=True)
    assert [found[item.id].text for item in suite.items] == ["a", "c"]
    assert notes == ["1 of the 3 answers fit no item of the suite and are left out"]


@given(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=20))
def test_every_question_of_rows_is_an_item_in_the_order_in_which_it_is_first_asked(places):
    rows = [answered("de", place) for place in places]
    items = open_suite("xquad:de", options={"rows": rows}).items
    assert [item.output for item in items] == [row["target"] for row in {row["input"]: row for row in rows}.values()]
    assert items == open_suite("xquad:de", options={"rows": rows}).items


def test_the_recorded_files_give_an_item_a_row(shared):
    items = open_suite("xquad:zh", options={"rows": recorded(shared, "it_zh")}).items
    assert len(items) == len({item.id for item in items}) == 1190


@pytest.mark.parametrize(
    ("row", "golds"),
    [
        ({"target": "x"}, ("x",)),
        ({"target": 18}, ("18",)),
        ({"target": 0}, ("0",)),
        ({"answers": ["x", "y"]}, ("x", "y")),
        ({"answers": {"text": ["x"], "answer_start": [0]}}, ("x",)),
        ({"answers": [{"text": "x"}]}, ("x",)),
        ({"answer": "x"}, ("x",)),
        ({"reference": "x", "answer": "what a model said"}, ("x",)),
        ({"target": "", "answer": None}, ()),
    ],
)
def test_the_right_answer_is_found_in_the_usual_columns(row, golds):
    rows = [{"instruction": "Answer.", "target": "known"}, {"instruction": "Answer.", "input": "Why?", **row}]
    assert gold_of(open_suite("xquad:de", options={"rows": rows}).items[1]).answers == golds


def test_an_item_without_a_right_answer_is_unscored_and_never_wrong():
    rows = [answered("de"), {"instruction": "Answer.", "output": "x"}]
    suite = open_suite("xquad:de", options={"rows": rows})
    assert set(measures(suite, "anything", place=1).values()) == {None}
    assert any("1 of 2 rows" in note for note in suite.notes)


def test_rows_of_which_none_says_what_is_right_are_refused():
    with pytest.raises(DataError, match="right answer"):
        open_suite("xquad:de", options={"rows": [{"instruction": "Answer.", "output": "x"}]})


def test_rows_of_the_other_suites_are_items_too(data):
    question, answer = PROBLEMS["de"][0]
    row = {"instruction": f"Solve.\n\nQuestion: {question}", "output": "15", "target": answer}
    for options in ({"rows": [row]}, {"rows": [row, row]}):
        suite = open_suite("mgsm:de", data=data, options=options)
        assert gold_of(suite.items[0]).step == (PROBLEMS["en"][0][0],)
        assert measures(suite, f"{PROBLEMS['en'][0][0]}\nAnswer: 15")["strict"] == 1
    assert gsm8k.gsm8k(rows=[{"prompt": "How many?", "answer": "so\n#### 1,000"}]).items[0].output == "1,000"
    chosen = commonsense_qa.commonsense_qa(rows=[{"prompt": "Where?\nA. here\nB. there", "target": "there"}]).items[0]
    assert chosen.output == "B"
    assert gold_of(chosen).step[0] == "Where?"


JOINED = ["xquad:zh", "mgsm:de", "gsm8k", "commonsense_qa", "gsm8k:plain", "commonsense_qa:plain"]


@pytest.mark.parametrize("spec", JOINED)
@pytest.mark.parametrize(
    "asked",
    [
        lambda item: {"instruction": item.instruction, "input": item.input},
        lambda item: {"prompt": f"{item.instruction}\n\n{item.input}"},
    ],
)
def test_rows_that_ask_a_question_of_the_data_are_scored_by_the_data(data, spec, asked):
    own = open_suite(spec, data=data).items
    rows = [asked(item) for item in reversed(own)]
    suite = open_suite(spec, data=data, options={"rows": rows})
    assert [item.output for item in suite.items] == [item.output for item in own]
    assert [gold_of(item).step for item in suite.items] == [gold_of(item).step for item in own]


@pytest.mark.parametrize("spec", ["mgsm:de", "gsm8k", "commonsense_qa"])
def test_a_question_is_found_in_a_prompt_of_any_template(data, spec):
    [own] = open_suite(spec, data=data).items
    question = own.input.removeprefix("Question: ")
    suite = open_suite(spec, data=data, options={"rows": [{"prompt": f"<|user|> Think. {question}<|end|>"}]})
    assert suite.items[0].output == own.output
    assert suite.items[0].instruction.startswith("<|user|>")


@pytest.mark.parametrize("spec", JOINED)
def test_rows_that_ask_nothing_are_joined_to_the_data_by_their_place_and_foreign_ones_never(data, spec):
    own = open_suite(spec, data=data).items
    for row in ({"note": "x"}, {"prompt": "Question: Who are you?"}, {"id": "unknown"}):
        rows = (row,) * len(own)
        suite = open_suite(spec, data=data, options={"rows": rows})
        assert suite.items == own
        given = Responses("r.jsonl", rows, tuple(map(str, range(len(own)))))
        if "note" in row:
            assert [*match(given, own, from_rows=True)[0]] == [item.id for item in own]
        else:
            with pytest.raises(DataError, match="fits one of the suite"):
                match(given, own, from_rows=True)


@pytest.mark.parametrize("spec", ["xquad:zh", "commonsense_qa"])
def test_rows_that_ask_nothing_are_joined_to_the_data_by_their_ids(data, spec):
    own = open_suite(spec, data=data).items
    rows = tuple([{"id": item.meta["id"]} for item in reversed(own)] * 2)
    suite = open_suite(spec, data=data, options={"rows": rows})
    assert suite.items == own
    found = match(Responses("r.jsonl", rows, tuple(row["id"] for row in rows)), own, from_rows=True)[0]
    assert [found[item.id].text for item in own] == [item.meta["id"] for item in own]


def test_choices_in_another_order_have_another_right_letter_and_other_choices_none(data):
    stem = CHOSEN["question"]["stem"]
    asked = {"\nA. oven\nB. bunk": ("B",), "\nA. oven\nB. mailbox": (), "": ("A",)}
    for choices, right in asked.items():
        rows = [{"prompt": f"Question: {stem}{choices}"}]
        if not right:
            with pytest.raises(DataError, match="right answer"):
                open_suite("commonsense_qa", data=data, options={"rows": rows})
            continue
        assert gold_of(open_suite("commonsense_qa", data=data, options={"rows": rows}).items[0]).answers == right


def test_a_question_that_the_data_answer_in_two_ways_is_not_scored(rows_file):
    twice = [{"question": "How many?", "answer": f"#### {number}"} for number in (1, 2)]
    file = rows_file([*twice, {"question": "How much?", "answer": "#### 3"}])
    asked = [{"instruction": item.instruction, "input": item.input} for item in open_suite("gsm8k", data=file).items]
    for rows in (({"question": "How many?"}, {"question": "How much?"}), (asked[0], asked[2])):
        suite = open_suite("gsm8k", data=file, options={"rows": rows})
        found, notes = match(Responses("r.jsonl", rows, ("1", "3")), suite.items, from_rows=True)
        assert [item.output for item in suite.items if item.id in found] == ["3"]
        assert notes == ["1 of the 2 answers fit no item of the suite and are left out"]


def test_the_public_problems_are_found_for_rows_in_any_order_and_without_their_answers(shared):
    own = open_suite("gsm8k", data=shared / "gsm8k").items
    rows = [{"prompt": f"{item.instruction}\n\n{item.input}"} for item in reversed(own)]
    suite = open_suite("gsm8k", data=shared / "gsm8k", options={"rows": rows})
    assert [item.output for item in suite.items] == [item.output for item in own]


# Numbers


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("So it is 18.", "18"),
        ("$1,234.50!", "1234.5"),
        ("1.234,5 Euro", "1234.5"),
        ("1.250 Gramm", "1250"),
        ("1.250 grams", "1.25"),
        ("১৮টি", "18"),
        ("๑,๒๐๐", "1200"),
        ("٣٫٥", "3.5"),
        ("1 234 567", "1234567"),
        ("12\u202f000", "12000"),
        ("1,00,000", "100000"),
        ("18.00", "18"),
        ("5 100 dollar bills", "100"),
        ("1'000", "1000"),
        ("3 + 4 = 7", "7"),
    ],
)
def test_a_number_is_read_however_it_is_written(text, gold):
    assert same_number(text, gold) == 1


@pytest.mark.parametrize("text", ["", "none", "17 or so, not 18 but 19", "½", "²", "1" * 5000])
def test_another_number_or_none_is_wrong(text):
    assert same_number(text, "18") == 0


@given(st.integers(0, 10**12))
def test_thousands_may_be_parted_in_any_way_and_digits_be_of_any_script(number):
    parted = f"{number:,}"
    bengali = "".join(unicodedata.lookup(f"BENGALI DIGIT {unicodedata.name(d)[6:]}") for d in str(number))
    for written in (str(number), parted, parted.replace(",", "."), parted.replace(",", "\u202f"), bengali):
        assert Fraction(number) in last_number(f"It is {written}.")


def test_what_is_marked_as_the_answer_counts_and_not_a_number_behind_it(data):
    suite = open_suite("mgsm:de", data=data)
    found = measures(suite, "Answer: 15 hens\n\nThat leaves the 3 that she bought.")
    assert (found["exact_match"], found["last_number"]) == (1, 0)


# The prompts and the options


def test_eight_examples_of_our_own_stand_in_the_prompt_of_every_language():
    for language in mgsm.LANGUAGES:
        examples = mgsm._examples(language)
        assert len(examples) == 8
        for example in examples:
            assert same_number(example, example.rpartition("Answer: ")[2]) == 1
    assert {len(mgsm._examples(language)) for language in mgsm.LANGUAGES} == {8}


def test_an_example_is_answered_right_by_its_own_text(data):
    """Each example, scored as an answer to its own question, is translated and right."""
    for language in ("de", "zh", "te", "en"):
        for example in mgsm._examples(language):
            asked, _, reply = example.partition("\n")
            answer = reply.rpartition("Answer: ")[2]
            english = reply.partition(": ")[2].partition("\n")[0]
            item = mgsm.new_item("", asked, mgsm._gold(language, (asked, answer), english, 8))
            assert mgsm.score_mgsm(item, reply).measures["strict"] == 1


def test_what_a_model_goes_on_with_after_examples_is_not_its_answer(data):
    suite = open_suite("mgsm:de", data=data, options={"shots": 8})
    text = f"Translation: {PROBLEMS['en'][0][0]}\n12 + 3 = 15\nAnswer: 15\n\nQuestion: Was noch?\nAnswer: 4"
    assert measures(suite, text)["strict"] == 1


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("A", "A"), ("(a)", "A"), ("a tree", "C"), ("C. a tree", "C"), ("B because it is cold", "B"), ("tree", "C"),
     ("option D", "D"), ("A man", None), ("A or B", None), ("A, B, C", None), ("F", None), ("", None)],
)  # fmt: skip
def test_a_choice_is_named_by_its_letter_or_in_its_words(answer, letter):
    choices = {choice["label"]: choice["text"] for choice in CHOSEN["question"]["choices"]}
    assert commonsense_qa.chosen(answer, choices) == letter


def test_the_columns_of_the_hub_make_the_same_item(rows_file, data):
    nested = open_suite("commonsense_qa", data=data)
    choices = CHOSEN["question"]["choices"]
    flat = {
        "id": "q1",
        "question": CHOSEN["question"]["stem"],
        "choices": {"label": [one["label"] for one in choices], "text": [one["text"] for one in choices]},
        "answerKey": "A",
    }
    assert open_suite("commonsense_qa", data=rows_file([flat])).items == nested.items


def test_the_plain_form_asks_for_no_step_and_scores_none(data):
    for name in ("gsm8k", "commonsense_qa"):
        suite = open_suite(f"{name}:plain", data=data)
        assert "repeat" not in suite.items[0].instruction.lower()
        assert "step_done" not in measures(suite, suite.items[0].output)


@pytest.mark.parametrize(
    ("spec", "options"),
    [("xquad", {}), ("xquad:xx", {}), ("mgsm:ar", {}), ("mgsm:de", {"shots": 3}), ("gsm8k:twice", {})],
)
def test_a_part_or_an_option_that_is_not_there_is_refused_with_those_that_are(data, spec, options):
    with pytest.raises(RecipeError, match=r"en|0 or 8|repeat"):
        open_suite(spec, data=data, options=options)


@pytest.mark.parametrize("spec", ["xquad:de", "mgsm:de", "gsm8k", "commonsense_qa"])
def test_a_folder_without_the_file_is_refused_by_its_name(tmp_path, spec):
    with pytest.raises(DataError, match="there is no"):
        open_suite(spec, data=tmp_path)


def test_a_broken_row_is_refused_with_its_place(tmp_path):
    (tmp_path / "mgsm_de.tsv").write_text("Wie viele?\t3\nohne Zahl\n", "utf-8")
    with pytest.raises(DataError, match=r"mgsm_de.tsv:2"):
        open_suite("mgsm:de", data=tmp_path)
    (tmp_path / "dev_rand_split.jsonl").write_text('{"question": {"stem": "Where?"}, "answerKey": "A"}\n')
    with pytest.raises(DataError, match=r"dev_rand_split.jsonl:1"):
        open_suite("commonsense_qa", data=tmp_path)


def test_without_an_english_file_the_step_is_looked_at_by_its_form(tmp_path, data):
    (tmp_path / "xquad.de.json").write_bytes((data / "xquad.de.json").read_bytes())
    suite = open_suite("xquad:de", data=tmp_path / "xquad.de.json")
    found = measures(suite, f"{CONTEXT['en']} Who was it that built the mill?\n\nAnswer: zwei Brüdern")
    assert (found["exact_match"], found["step_done"]) == (1, 1)
    assert "rouge_l" not in found
    assert any("only the language and the length" in note for note in suite.notes)


def test_sacrebleu_is_not_imported_where_no_translation_is_compared(data):
    loaded = set(sys.modules)
    suite = open_suite("gsm8k", data=data)
    measures(suite, good_answer(suite.items[0]))
    assert not {name for name in set(sys.modules) - loaded if name.startswith("sacrebleu")}


def test_every_suite_says_its_language_as_the_split(data):
    assert [open_suite(spec, data=data).items[0].meta["group"] for spec in SUITES] == [
        "en", "de", "zh", "en", "de", "te", "en", "en",
    ]  # fmt: skip


# --- numbers and choices as models write them


def number_score(text, gold="540"):
    return number_measures(parts(text), text, [gold])["exact_match"]


@pytest.mark.parametrize(
    "answer",
    [
        "-540",
        "−$540",
        "1/540",
        "2^540",
        "2^{540}",
        "x540",
        "x^{540}",
        "1 540",
        "½ 540",
        "540½",
        "not 540",
        "\\frac{1}{540}",
        "540/2",
        "54e1e",
        "5.4e3",
    ],
)
def test_a_number_that_holds_the_right_one_is_another(answer):
    assert number_score(f"Answer: {answer}") == 0.0
    assert number_score("The answer is not 540") == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "540",
        "$540",
        "(540)",
        "540 meters (that is 3 x 180)",
        "540 \\text{ meters}^2",
        "540 m²",
        "5.4e2",
        "5.4 x 10^2",
        "3 * 180 = 540",
        "1080/2",
        "- 540",
        "\\boxed{540}",
        "540 (not 541)",
        "USD540",
    ],
)
def test_the_right_number_counts_however_it_is_written(answer):
    assert number_score(f"Answer: {answer}") == 1.0


def test_a_sign_is_a_part_of_the_right_number_too_and_the_lenient_rule_looks_at_none():
    assert [number_score(f"Answer: {said}", "-5") for said in ("-5", "5", "\u22125")] == [1.0, 0.0, 1.0]
    assert number_measures(parts("Answer: -540"), "Answer: -540", ["540"])["last_number"] == 1.0


@given(st.integers(0, 10**9), st.sampled_from(["Answer: {}", "It is {}.", "So {} of them.", "#### {}"]))
def test_every_whole_number_is_its_own_answer_and_not_its_negative(number, form):
    assert number_score(form.format(number), str(number)) == 1.0
    assert number_score(form.format(f"-{number + 1}"), str(number + 1)) == 0.0


@given(st.text(max_size=60))
def test_reading_a_number_never_fails(text):
    assert number_score(text) in (0.0, 1.0)


CHOICES = {"A": "bench", "B": "sea", "C": "the tree"}


@pytest.mark.parametrize(
    "answer",
    [
        "\\boxed{B}",
        "\\text{B}",
        "$\\boxed{\\text{B}}$",
        "A is wrong, so B",
        "I think it is sea",
        "It's the sea.",
        "So B",
    ],
)
def test_a_choice_is_read_as_models_say_it(answer):
    assert chosen(answer, CHOICES) == "B"


@pytest.mark.parametrize(
    "answer", ["A is not right", "It is A or B", "not B", "it is not sea", "sea or bench", "It", "A, B"]
)
def test_what_names_no_one_choice_is_none(answer):
    assert chosen(answer, CHOICES) is None


@pytest.mark.parametrize("answer", ["The answer is four.", '"four" (from the context)', "My final answer is: four"])
def test_an_answer_is_told_from_what_is_said_around_it(answer):
    assert exact_match(parts(f"Translation: x\nAnswer: {answer}").answer, ["four"]) == 1.0
