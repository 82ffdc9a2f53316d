"""The gates let a careful rewrite pass, and say what a careless one has lost, added or given away."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building import gates as module
from seqtune.building.draft import Draft
from seqtune.building.gates import Refusal, gate, gates, refused_by
from seqtune.building.idleness import asks_user, is_idle
from seqtune.building.language import language, words
from seqtune.data.example import Example, Step
from seqtune.data.reader import read
from seqtune.errors import RecipeError

SURVIVAL = [name for name in gates() if name.endswith(("_survive", "_survives"))] + [
    "subject_kept",
    "input_not_repeated",
]
ADDED = Step("name a fitting title", kind="after")
surrogates = st.text(st.characters(exclude_categories=()), max_size=80)
marked = st.text(st.sampled_from(list("ab 1\n\"'`|-.,:()A<#_?=;{}“”学ж")), max_size=120)


def drafted(before, now, *, given="", choice="after", steps=None, output="", had=()):
    row = Example(before, given, steps=tuple(Step(text) for text in had))
    chain = (Step(before), ADDED) if steps is None else tuple(Step(text, kind="before") for text in steps)
    return Draft(row, choice, now, chain, output)


def refusal(name, draft):
    assert name in gates()
    found = refused_by(draft, gates()[name].on, [name])
    return found and found[1]


# What holds for every text.


@given(surrogates | marked, surrogates | marked, surrogates | marked, st.sampled_from(["decompose", "before", "keep"]))
def test_no_text_breaks_a_gate(before, now, other, choice):
    steps = (Step(before), Step(other, kind="before"), Step(now, kind="decomposed"))
    draft = Draft(Example(before, other), choice, now, steps, other)
    for found in gates().values():
        result = found.run(draft)
        assert result is None or (
            isinstance(result, Refusal) and result.reason and result.reason == result.reason.strip()
        )


@given(surrogates | marked)
def test_what_only_has_a_sentence_added_loses_nothing(text):
    draft = drafted(text, f"{text}\nAfter that, name a fitting title.")
    assert refused_by(draft, "instruction", SURVIVAL) is None


@given(surrogates | marked)
def test_what_has_a_sentence_put_before_it_loses_nothing(text):
    draft = drafted(text, f"First, name a fitting title.\n{text}", choice="before")
    assert refused_by(draft, "instruction", SURVIVAL) is None


@given(st.lists(st.integers(21, 10**7), min_size=1, max_size=5, unique=True), st.data())
def test_any_number_that_is_dropped_is_missed(values, data):
    lost = data.draw(st.sampled_from(values))
    before = "Add " + " and ".join(map(str, values))
    now = "First explain addition, then add " + " and ".join(str(value) for value in values if value != lost)
    assert refusal("numbers_survive", drafted(before, now)) == Refusal("a number is missing", f"the number {lost}")


@given(st.integers(0, 10**7))
def test_a_number_may_be_grouped_or_not(value):
    for one, other in (
        (f"Halve {value:,}.", f"Halve {value}, then double it."),
        (f"Halve {value}.", f"Halve {value:,}."),
    ):
        assert refusal("numbers_survive", drafted(one, other)) is None


@given(st.sampled_from(["instruction", "answer"]), surrogates | marked)
def test_the_first_gate_that_refuses_is_told(on, text):
    draft = drafted("Name a river.", text, output=text)
    refusing = [found.name for found in gates().values() if found.on == on and found.run(draft)]
    found = refused_by(draft, on)
    assert (found and found[0]) == (refusing[0] if refusing else None)


@given(st.lists(st.sampled_from(["the", "river", "学", "习", "Übung", "don't", "42"]), max_size=30))
def test_words_are_the_same_whatever_stands_between_them(parts):
    assert words(" ".join(parts)) == words(", ".join(parts)) == words("\n".join(part.upper() for part in parts))


# A rewrite that is as it should be passes every gate.


CAREFUL = [
    ("List three rivers in Peru.", "List three rivers in Peru. Then say which is longest.", "say which is longest"),
    ("Translate the text into German.", "Summarise the text, then translate it into German.", "summarise the text"),
    ("Is 17 prime?", "Define a prime number. Then decide whether 17 is prime.", "define a prime number"),
    ('Explain why "all is well".', "Outline the scene, then explain why 'all is well'.", "outline the scene"),
    ("Pick one:\nA) a red kite\nB) an owl", "Draw each, then pick: (a) a red kite (b) an owl", "draw each"),
    ("列出三种常见的水果。", "列出三种常见的水果，然后说明每种水果的颜色。", "说明每种水果的颜色"),
    ("Nenne einen Fluss in Peru.", "Nenne einen Fluss in Peru und beschreibe ihn dann.", "beschreibe ihn"),
]


@pytest.mark.parametrize(("before", "now", "step"), CAREFUL)
def test_a_careful_rewrite_passes(before, now, step):
    draft = Draft(Example(before, "Owls hunt."), "before", now, (Step(step, kind="before"), Step(before)))
    assert refused_by(draft, "instruction") is None


def test_the_real_rows_with_a_sentence_added_pass(shared):
    for row in read(str(shared / "alpaca" / "alpaca_1k.json")):
        now = f"{row.instruction.strip()} Then name a fitting title."
        steps = (Step(row.instruction), ADDED)
        found = refused_by(Draft(row, "after", now, steps), "instruction")
        assert found is None, (row.instruction, found)


def test_answers_of_real_rows_are_refused_only_where_they_decline_break_off_or_echo(shared):
    reasons = []
    for row in read(str(shared / "alpaca" / "alpaca_1k.json")):
        found = refused_by(Draft(row, "keep", row.instruction, row.steps, row.output), "answer")
        reasons += [found[0]] if found else []
    assert len(reasons) < 40
    assert set(reasons) <= {"no_refused_answer", "answer_ends", "answer_is_no_copy", "no_leaked_prompt_in_answer"}


def test_real_rewrites_pass_or_fail_in_these_shares(shared):
    """Read by eye when the bounds were set: about one in five is damaged, and hardly a refusal was wrong."""
    refused = total = 0
    for file in sorted((shared / "teacher_replies").glob("*/*.jsonl")):
        for record in map(json.loads, file.read_text("utf-8").splitlines()):
            if now := record.get("recorded_rewrite"):
                total += 1
                draft = drafted(
                    record["instruction"], now.strip('“”"'), given=record["input"] or "", choice="decompose"
                )
                refused += refused_by(draft, "instruction", set(gates()) - {"steps_asked"}) is not None
    assert total > 400
    assert 0.2 < refused / total < 0.4


# A step was really added, and it has an answer.


def test_case_and_punctuation_alone_are_no_change():
    assert refusal("instruction_changed", drafted("Name a river.", "name a  river!"))
    assert refusal("instruction_changed", drafted("Name a river.", "Name a river.", choice="keep")) is None


@pytest.mark.parametrize(("had", "steps", "refused"), [(0, 1, True), (0, 2, False), (2, 2, True), (2, 3, False)])
def test_the_number_of_steps_must_grow(had, steps, refused):
    draft = drafted("x", "y", steps=[f"step {i}" for i in range(steps)], had=[f"old {i}" for i in range(had)])
    assert (refusal("step_added", draft) is not None) == refused


def test_the_same_step_twice_is_none():
    assert (
        refusal("steps_differ", drafted("x", "y", steps=["Name a river.", "name a river"])).detail == "'name a river'"
    )


def test_a_step_must_be_asked_for():
    now = "Summarise the article, then list its sources."
    assert refusal("steps_asked", drafted("x", now, steps=["summarising the article", "list the sources"])) is None
    assert refusal("steps_asked", drafted("x", now, steps=["compose a haiku about autumn"]))


@pytest.mark.parametrize(
    "step",
    [
        "Read the text carefully.",
        "First, carefully read and understand the passage",
        "Familiarize yourself with the rules of chess",
        "Take a moment to consider the audience",
        "Begin by reading the letter",
        "1. Think about your goals",
        "Please make sure the code runs",
        "Analyse the given sentence",
        "Examine the text to understand it",
        "Read and analyse the poem",
    ],
)
def test_a_step_without_an_answer_is_idle(step):
    assert is_idle(step)
    assert refusal("step_has_answer", drafted("x", "y", steps=[step])).detail


@pytest.mark.parametrize(
    "step",
    [
        "Summarise the text",
        "Read the book and write down its characters",
        "Review the plan, then list its risks",
        "Analyse the tone of the letter",
        "Analyse the causes of the war",
        "Understand the sum by listing what is known",
        "Think of a title",
        "What should a reader consider?",
        "Lies den Text und verstehe ihn",
        "阅读文章",
        "",
    ],
)
def test_a_step_with_an_answer_and_one_in_another_language_is_not_idle(step):
    assert not is_idle(step)


def test_only_added_steps_are_looked_at():
    row = Example("Read this.", steps=(Step("read this", kind="before"),))
    draft = Draft(row, "after", "Read this. Sum it up.", (*row.steps, Step("sum it up", kind="after")))
    assert refusal("step_has_answer", draft) is None
    seed = Draft(Example("Consider a cube."), "after", "y", (Step("Consider a cube."), Step("draw it", kind="after")))
    assert refusal("step_has_answer", seed) is None


@pytest.mark.parametrize(
    ("step", "asks"),
    [
        ("What is your budget?", True),
        ("Which colours do you prefer?", True),
        ("Have you painted before?", True),
        ("Specify whether you need metres or feet", True),
        ("Can you list the colours?", False),
        ("Do you have any advice on brushes?", False),
        ("What steps should you take first?", False),
        ("Specify the reasons for your answer", False),
    ],
)
def test_a_question_back_to_the_user_is_no_step(step, asks):
    assert asks_user(step) == asks
    assert (refusal("step_is_for_the_model", drafted("Paint a wall.", "y", steps=[step])) is not None) == asks


# Everything survives.

KEEP = {
    "numbers_survive": ("Write 250 words on bees.", "Outline the essay, then write two hundred words on bees."),
    "quotations_survive": ('Rhyme with "the old grey mare".', "Find rhymes, then rhyme with the mare."),
    "options_survive": (
        "Which floats?\nA. a dry cork\nB. an iron nail",
        "Define density, then say which floats: a dry cork.",
    ),
    "table_survives": ("Total it.\n| tea | 4 |\n| jam | 7 |", "Describe the table, then total it: 4, 7.\n| tea | 4 |"),
    "code_survives": ("Fix `for i in xs print(i)`.", "Name the error, then fix the loop."),
    "links_survive": ("Sum up https://example.org/a.", "Say who wrote it, then sum up the page."),
    "blanks_survive": ("Fill in: the ____ barks.", "Define a noun, then fill in the gap: the dog barks."),
    "text_survives": (
        "Shorten this: The ferry left the harbour at dawn with a crowd of pilgrims aboard.",
        "Say what the sentence is about, then shorten it.",
    ),
    "subject_kept": ("Compare lemons with oranges and limes.", "Write a function that sorts numbers."),
}


@pytest.mark.parametrize("name", KEEP)
def test_what_is_lost_is_named(name):
    before, now = KEEP[name]
    found = refusal(name, drafted(before, now))
    assert found is not None
    assert found.reason == refusal(name, drafted(before, now + " Also be brief.")).reason


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("Give 3 tips.", "Give three tips, then rank them."),
        ("Name the 3rd planet.", "Define a planet, then name the third one."),
        ("1. Wash it.\n2. Dry it.", "Wash it. Then dry it. Last, fold it."),
        ("(1) wash it or (2) dry it", "say why it is wet, then wash it or dry it"),
        ("Is 1,200.50 more than 7?", "Is 1200.5 more than 7? Show why."),
        ("Round 1.0 and 007.", "Explain rounding, then round 1 and 7."),
    ],
)
def test_a_number_may_be_spelt_and_one_that_counts_items_may_go(before, now):
    assert refusal("numbers_survive", drafted(before, now)) is None


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("Explain “a stitch in time”.", "Define stitch, then explain 'a stitch in time'."),
        ("Explain 'the cat's cradle' now.", 'Say what a cradle is, then explain "the cat’s cradle".'),
        ('"Draw a map of the old town for me"', "Name the streets, then draw a map of the old town."),
        ('Spell "owl".', "Define the bird, then spell it."),
    ],
)
def test_quotation_marks_may_change_and_single_words_and_whole_instructions_are_no_quotations(before, now):
    assert refusal("quotations_survive", drafted(before, now)) is None


def test_code_may_be_indented_anew_but_not_altered():
    before = "Explain:\n```python\ndef f(x):\n    return x + 1\n```"
    assert (
        refusal("code_survives", drafted(before, "Name it, then explain:\n```\ndef f(x):\n  return x + 1\n```")) is None
    )
    assert refusal("code_survives", drafted(before, "Name it, then explain:\n```\ndef f(x):\n    return x + 2\n```"))


def test_a_line_that_looks_like_code_is_code_and_prose_is_not():
    assert refusal(
        "code_survives", drafted("What does this do?\nint x = f(3);", "Name the type, then say what it does.")
    )
    assert refusal("code_survives", drafted("Pick: yes; no; maybe (if so, why);", "Define yes, then pick.")) is None


def test_the_rule_under_a_tables_head_is_no_row():
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    assert refusal("table_survives", drafted(f"Sum:\n{table}", "List, then sum: | a | b | and | 1 | 2 |")) is None


def test_a_request_may_be_put_in_other_words_but_its_premise_may_not():
    before = "You are given a premise. Decide whether it is true.\nPremise: Every swan in the park is white."
    told = "Define a premise. Then decide whether this is true: Every swan in the park is white."
    assert refusal("text_survives", drafted(before, told)) is None
    assert refusal("text_survives", drafted(before, "Define a premise. Then decide whether it is true or false."))


FABLE = "A fox once saw a bunch of ripe grapes hanging from a vine and could not reach them however high he leapt"


def test_the_input_is_not_put_in_twice():
    assert refusal("input_not_repeated", drafted("Retell it.", f"Sum up, then retell: {FABLE}.", given=FABLE))
    assert refusal("input_not_repeated", drafted("Retell it.", f"Retell: {FABLE[:75]}", given=FABLE))
    assert (
        refusal("input_not_repeated", drafted("Retell it.", "Sum up the fox's story, then retell it.", given=FABLE))
        is None
    )


def test_a_short_input_may_be_named_and_one_that_was_there_may_stay():
    assert (
        refusal(
            "input_not_repeated", drafted("Describe it.", "Define a lake, then describe Lake Como.", given="Lake Como")
        )
        is None
    )
    assert (
        refusal("input_not_repeated", drafted(f"Retell: {FABLE}", f"Sum up and retell: {FABLE}", given=FABLE)) is None
    )


# What the teacher gives away.


@pytest.mark.parametrize(
    "now",
    [
        "#New Instruction#: Name a river, then a lake.",
        "Name a river, then a lake.\n\nExplanation: this adds a task.",
        "Here is the rewritten instruction: name a river, then a lake.",
        "Name a river. The suffix task is to name a lake.",
        "<instruction>Name a river, then a lake.</instruction>",
        '{"choice": "after", "instruction": "Name a river, then a lake."}',
        "Name a river, then a lake. ###",
        "Here's the step-by-step explanation: 1. name a river",
    ],
)
def test_talk_about_the_rewriting_is_leaked_prompt(now):
    assert refusal("no_leaked_prompt", drafted("Name a river.", now))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("Answer the prompt below.", "Sum up the given prompt, then answer it."),
        ("Reply in JSON: ```json {}```", "Define JSON, then reply in JSON: ```json {}```"),
        ("Name a river.", "Name a river, then describe here what option you like."),
        ("Pick option A or B.", "Describe option A, then pick option A or B."),
        ("Name a river.", "Name a river. Then give an explanation of its name."),
    ],
)
def test_what_the_row_itself_speaks_of_is_no_leak(before, now):
    assert refusal("no_leaked_prompt", drafted(before, now)) is None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot rewrite this.",
        "As an AI language model, I have no house.",
        "I cannot provide that.",
        "Unfortunately, I don't have access to the page.",
        "抱歉，我无法回答。",
        "Es tut mir leid, aber ich kann das nicht.",
    ],
)
def test_declining_is_refused_at_the_start_only(text):
    assert refusal("no_refused_answer", drafted("Name a river.", "Name a river and a lake.", output=text))
    assert refusal("no_refusal", drafted("Name a river.", text))
    later = f"The Nile. A visitor once said: {text}"
    assert refusal("no_refused_answer", drafted("Name a river.", "Name a river and a lake.", output=later)) is None


@pytest.mark.parametrize(
    "text",
    [
        "Nothing is known of it.",
        "No.",
        "I know it.",
        "I'm sorry, but I can't make it to your party.",
        "Sorry seems the word.",
    ],
)
def test_a_no_is_not_a_refusal(text):
    assert refusal("no_refused_answer", drafted("x", "Write a note.", output=text)) is None


def test_a_model_may_speak_of_itself_where_it_is_asked_to():
    said = "As an AI, I read no books."
    assert refusal("no_refused_answer", drafted("x", "As an AI, do you read?", output=said)) is None
    assert refusal("no_refused_answer", drafted("x", "Do robins read?", output=said))


# Length and language.


def test_an_instruction_grows_within_bounds():
    before = "List the rivers of Peru in order of their length"
    assert refusal("instruction_length", drafted(before, before + ", then name the towns on each of them")) is None
    assert refusal("instruction_length", drafted(before, "List rivers")).detail == "2 words, 10 before"
    assert refusal("instruction_length", drafted(before, "and more " * 60)).reason.endswith("longer than before")
    assert refusal("instruction_length", drafted("x", " "))


TEXTS = {
    "en": "What is the name of the river that you can see from the bridge in the old town?",
    "de": "Wie heißt der Fluss, den man von der Brücke in der alten Stadt sehen kann, und wie lang ist er?",
    "fr": "Quel est le nom de la rivière que vous voyez depuis le pont dans la vieille ville ?",
    "es": "¿Cuál es el nombre del río que se puede ver desde el puente en la ciudad y qué hay más allá?",
    "it": "Qual è il nome del fiume che si può vedere dal ponte nella città e che cosa è più lontano?",
    "ru": "Как называется река, которую видно с моста в старом городе, и где её исток?",
    "uk": "Як називається річка, яку видно з мосту в старому місті, і де її витік?",
    "zh": "从老城的桥上能看到的那条河叫什么名字？",
    "ja": "旧市街の橋から見える川の名前は何ですか。",
    "ko": "구시가지의 다리에서 보이는 강의 이름은 무엇입니까?",
    "ar": "ما اسم النهر الذي يمكن رؤيته من الجسر في المدينة القديمة؟",
    "hi": "पुराने शहर के पुल से दिखने वाली नदी का नाम क्या है?",
    "th": "แม่น้ำที่มองเห็นได้จากสะพานในเมืองเก่าชื่ออะไร",
}  # fmt: skip


@pytest.mark.parametrize("code", TEXTS)
def test_the_language_of_a_sentence_is_told(code):
    assert language(TEXTS[code]) == code


@pytest.mark.parametrize(
    "text", ["", "Paris", "2 + 2", "OK, no problem", "print(x)", "Der Hund sleeps in the Haus of the Mann"]
)
def test_a_short_or_mixed_text_has_no_language(text):
    assert language(text) is None


@pytest.mark.parametrize("code", sorted({*TEXTS} - {"en"}))
def test_a_change_of_language_is_refused(code):
    assert refusal("language_kept", drafted(TEXTS[code], TEXTS["en"])).detail == f"{code} before, en now"
    assert refusal("language_kept", drafted(TEXTS[code], TEXTS[code])) is None
    asked, answer = TEXTS[code], TEXTS["en"]
    assert refusal("answer_language", drafted("x", asked, output=answer)).detail == f"asked in {code}, answered in en"


def test_an_answer_in_the_language_that_is_asked_for_or_of_the_input_passes():
    asked, answer = TEXTS["en"] + " Translate the answer.", TEXTS["de"]
    assert refusal("answer_language", drafted("x", asked, output=answer)) is None
    assert refusal("answer_language", drafted("x", TEXTS["en"] + " Answer in German.", output=answer)) is None
    assert refusal("answer_language", drafted("x", TEXTS["en"], given=answer, output=answer)) is None
    assert refusal("answer_language", drafted("x", TEXTS["en"], output=answer))


def test_no_real_question_is_taken_for_another_language(shared):
    for code in ("de", "en", "es", "ru", "zh"):
        data = json.loads((shared / "xquad" / f"xquad.{code}.json").read_text("utf-8"))["data"]
        found = [language(part["context"]) for article in data for part in article["paragraphs"]]
        assert set(found) <= {code, None}
        assert found.count(code) > 0.95 * len(found)


# The answer.


@pytest.mark.parametrize("output", ["", " \n"])
def test_an_empty_answer_is_refused(output):
    assert refused_by(drafted("x", "y", output=output), "answer")[0] == "answer_given"


def test_an_answer_that_repeats_what_was_given_is_refused():
    draft = drafted("Mend it.", "Mend it, then shorten it.", given="she go home")
    for output in ("she go home", "Mend it, then shorten it.", "Mend it, then shorten it.\n\nshe go home"):
        assert refusal("answer_is_no_copy", Draft(draft.row, "after", draft.instruction, draft.steps, output))
    mended = Draft(draft.row, "after", draft.instruction, draft.steps, "She goes home.")
    assert refusal("answer_is_no_copy", mended) is None


def test_an_answer_that_goes_in_circles_is_refused():
    line = "The river runs to the sea. "
    assert refusal("answer_does_not_loop", drafted("x", "y", output=line * 6)).detail == "'the river runs to the sea'"
    assert refusal("answer_does_not_loop", drafted("x", "y", output="on and on it goes " * 40))
    assert (
        refusal("answer_does_not_loop", drafted("x", "y", output=line * 2 + "Ships sail on it. Towns lie by it."))
        is None
    )
    table = "\n".join(f"{a} x {b} = {a * b}" for a in range(2, 10) for b in range(1, 11))
    assert refusal("answer_does_not_loop", drafted("x", "y", output=table)) is None


def test_an_answer_that_breaks_off_is_refused():
    long = "Rivers carry water and silt from the hills to the plain, " * 4
    assert refusal("answer_ends", drafted("x", "y", output=long + "which is why the")).reason == "the answer breaks off"
    assert refusal("answer_ends", drafted("x", "y", output="```python\nx = 1")).detail == "in a block of code"
    assert refusal("answer_ends", drafted("x", "y", output=long + "which is why")) is None
    assert refusal("answer_ends", drafted("x", "y", output="bread and")) is None


def test_an_answer_has_a_word_for_each_step():
    assert refusal("answer_length", drafted("x", "y", output="42")).detail == "1 words"
    assert refusal("answer_length", drafted("x", "y", output="42; even")) is None
    assert refusal("answer_length", drafted("x", "y", output="你好")) is None
    assert refusal("answer_length", drafted("x", "y", output="word " * 5000))


def test_a_piece_of_a_prompt_in_the_answer_is_refused_unless_it_was_asked_for():
    assert refusal("no_leaked_prompt_in_answer", drafted("x", "y", output="### Response: the Nile"))
    assert refusal("no_leaked_prompt_in_answer", drafted("x", "Explain [INST].", output="[INST] opens a turn.")) is None
    assert refusal("no_leaked_prompt_in_answer", drafted("x", "y", output="Option B is better. User: hello")) is None


# Your own gates.


@pytest.fixture
def own_gates(monkeypatch):
    monkeypatch.setattr(module, "_gates", dict(gates()))


@pytest.mark.usefixtures("own_gates")
def test_a_gate_of_ones_own_is_one_function():
    @gate
    def speaks_softly(draft: Draft) -> str | None:
        """Nobody shouts."""
        return "the instruction shouts" if draft.instruction.isupper() else None

    assert gates()["speaks_softly"].summary == "Nobody shouts."
    assert refused_by(drafted("x", "NAME IT"), "instruction", ["speaks_softly"]) == (
        "speaks_softly",
        Refusal("the instruction shouts"),
    )
    assert speaks_softly(drafted("x", "name it")) is None


@pytest.mark.usefixtures("own_gates")
def test_a_gate_on_the_answer_looks_at_answers_only():
    @gate(on="answer")
    def ends_with_a_stop(draft: Draft) -> Refusal | None:
        return None if draft.output.endswith(".") else Refusal("no full stop", draft.output)

    assert refused_by(drafted("x", "y", output="yes"), "answer", ["ends_with_a_stop"])[1].detail == "yes"
    assert refused_by(drafted("x", "y", output="yes"), "instruction", ["ends_with_a_stop"]) is None


@pytest.mark.usefixtures("own_gates")
def test_a_name_that_is_taken_and_a_name_that_is_unknown_are_told():
    def answer_given(draft):
        return None

    with pytest.raises(RecipeError, match=r"already defined in seqtune\.building\.gates"):
        gate(answer_given)
    with pytest.raises(RecipeError, match="no gate is called 'numbers'"):
        refused_by(drafted("x", "y"), "instruction", ["numbers"])


def test_a_refusal_reads_as_a_sentence():
    assert str(Refusal("a number is missing", "the number 37")) == "a number is missing: the number 37"
    assert str(Refusal("the answer is empty")) == "the answer is empty"
