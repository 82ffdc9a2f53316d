"""What real teachers write is read as a careful person reads it; what does not say is None, and nothing raises."""

import hashlib
import json
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtune.building.draft import CHOICES
from seqtune.building.parsing import (
    Grown,
    Said,
    read_choice,
    read_grown,
    read_instruction,
    read_parts,
    read_verdicts,
    read_yes_no,
)
from seqtune.building.tasks import bare_task, split_tasks

READERS = {
    "choice": read_choice,
    "instruction": lambda text: read_instruction(text, "Name a river, then draw it."),
    "instruction of itself": lambda text: read_instruction(text, text[:3000]),
    "grown": read_grown,
    "parts": read_parts,
    "verdicts": lambda text: read_verdicts(text, 2),
    "yes or no": read_yes_no,
    "tasks": split_tasks,
}

# --- the choice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("B", "before"),
        ("A.###", "decompose"),
        ("Option: D", "keep"),
        ("**Option: C**", "after"),
        ("(b)", "before"),
        ("keep", "keep"),
        ("Keep it as it is.", "keep"),
        ("A. Decompose it.\n\nThe new one could ask for a list first.", "decompose"),
        ("Option C: Add a task at the end.\n\nThat makes it fuller.", "after"),
        ("So the option is: B.", "before"),  # the original read "option is: B" as D
        ("The best of them is, I think, clear: the option is D.", "keep"),  # and "best ... is D" as A
        ("The best option is D", "keep"),
        ("My answer: **option A**", "decompose"),
        ("A sentence may start with an A, as here. So the option is: `C`", "after"),
        ("<think>It could be A, the option is A.</think>\nOption: D", "keep"),
        ("A suitable adaptation is to add a prefix task. New instruction: ask for names, then sort.", "before"),
        ("This can stay, so a suitable option is to keep the original version of it.", "keep"),
        ("A suitable adaptation is to split it into two tasks.\nIn this form (Option A) it is clearer.", "decompose"),
        ("I change the text. This form (Option C) asks for more at the end, which makes it more useful.", "after"),
        ("A good adaptation is to add a prefix task. This form (Option C) is good. So the option is: B.", "before"),
        ("At first the option is: A. No: it has one task only, with one result. So the option is: D.", "keep"),
    ],
)
def test_the_choice_is_what_the_reply_says_last_as_its_choice(reply, choice):
    assert read_choice(reply) == choice


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I cannot help with that.",
        "A or B",
        "before|after|decompose|keep",
        "A list of towns would be nice to have.",
        "<think>Option: D",
        "A good adaptation is to add a prefix task. It sets the scene for the reader. So the option is: A.",
        "This form (Option A) is clear, but that form (Option B) is too, and each has its merits for the reader.",
    ],
)
def test_a_reply_that_says_nothing_or_two_things_is_no_choice(reply):
    assert read_choice(reply) is None


FORMS = ["{}", "**{}**", "`{}`", "{}.###"]


@given(st.sampled_from(CHOICES), st.text("abc xyz.,\n", max_size=60), st.sampled_from(FORMS))
def test_a_last_line_with_the_option_is_read_below_any_small_talk(choice, talk, form):
    letter = form.format("ABCD"[["decompose", "before", "after", "keep"].index(choice)])
    assert read_choice(letter) == choice
    assert read_choice(f"{talk}\nOption: {letter}") == choice


# --- the rewritten instruction ---------------------------------------------------------------------------------------

NEW = "Name three rivers, then sort them by length."


@pytest.mark.parametrize(
    "mark",
    [
        "#New Instruction#:",
        "#New Instruction#",
        "#New Instruction:#",
        "# New Instruction #:",
        "## New instruction\n",
        "### New Instruction:",
        "**New Instruction:**",
        "**New Instruction**:",
        "**#New Instruction#**:\n",
        "New instruction:",
        "Here is the rewritten instruction:\n",
        "#Rewritten Prompt#:",
        "[New Instruction]\n",
        "<new_instruction>",
        "#new instruction# :",
    ],
)
@pytest.mark.parametrize("form", ["{}", "“{}”", '"{}"', '“{}"', "'{}'", "\n{}"])
@pytest.mark.parametrize("end", ["", "###", " ###", "\n\n###\n", "###\n\n###"])
def test_the_mark_the_quotation_marks_and_the_end_may_be_spelt_in_many_ways(mark, form, end):
    reply = f"A list can be put into an order.\n\n{mark} {form.format(NEW)}{end}"
    assert read_instruction(reply, "Name three rivers.") == NEW
    assert read_instruction(reply) == NEW


@pytest.mark.parametrize(
    "comment",
    [
        "Explanation: An order makes the list more useful.",
        "Here's my thought process:\n\n1. Rivers have a length.\n2. So they can be sorted.",
        "This new instruction keeps the list.\n\nIt adds an order.",
        "Let me know if this is what you want!",
        "**Note:** the order is from long to short.",
        "#Original Instruction#: 'Name a colour.'\n#New Instruction#: “Name a colour and say why.”###",
    ],
)
@pytest.mark.parametrize("form", ["“{}”\n\n", '"{}"\n\n', "{}\n\n", "“{}”###\n\n", "{} ###\n\n"])
def test_what_is_said_below_the_instruction_is_not_part_of_it(comment, form):
    assert read_instruction(f"#New Instruction#: {form.format(NEW)}{comment}") == NEW


@pytest.mark.parametrize(
    "text",
    [
        '"Sort" is a verb. Find two more, then use each in a sentence.',
        'Explain "rain" and "snow"',
        "Say it's late, then say why it isn't.",
        "Describe the picture.\nThen answer:\n(a) Who is it?\n(b) Where?",
        "Write a C# program. Then explain what `#define` does.",
        "Read the poem.\n\nThen, sum it up.",
    ],
)
def test_an_instruction_with_quotes_lines_or_hashes_of_its_own_stays_whole(text):
    assert read_instruction(f"#New Instruction#: {text}###") == text


def test_quotations_inside_the_quotation_are_stepped_over():
    text = 'Find the verb in: "He ran." Then put "He ran." into the present.'
    assert read_instruction(f'#New Instruction#: "{text}"\n\nExplanation: "ran" is a verb.') == text


def test_of_several_marks_the_one_that_answers_the_original_counts():
    echoed = "#Original Instruction#: 'Name a colour.'\n#New Instruction#: “Name a colour, then a fruit of it.”###\n"
    mine = f"#Original Instruction#: 'Name three rivers.'\n#New Instruction#: “{NEW}”###\n"
    for reply in (echoed + mine, mine + echoed):
        assert read_instruction(reply, "Name three rivers.") == NEW
    assert read_instruction(echoed + mine) == NEW
    assert read_instruction(f"#New Instruction#: {NEW}###\n{echoed}") == NEW


def test_answers_to_the_prompts_examples_alone_are_no_answer():
    examples = "#New Instruction#: Name a colour, then a fruit.###\n#New Instruction#: Write a song about snow.###"
    assert read_instruction(examples, "Compare diesel engines with petrol engines.") is None
    echo = "#Original Instruction#: 'Name a colour.'\n#New Instruction#: “Name a colour, then a fruit.”"
    assert read_instruction(echo, "Compare diesel engines with petrol engines.") is None


def test_where_the_teacher_explains_first_the_instruction_is_the_quotation_at_the_end():
    reply = (
        f'#New Instruction#: The original instruction asks for a list. A suffix task could be an order.\n\n"{NEW}"###'
    )
    assert read_instruction(reply) == NEW
    assert read_instruction("#New Instruction#: The original instruction asks for a list of rivers.###") is None


def test_an_instruction_may_stand_in_a_table():
    reply = f"| Original Instruction | New Instruction |\n| --- | --- |\n| Name three rivers. | {NEW} |\n###"
    assert read_instruction(reply, "Name three rivers.") == NEW


def test_material_of_the_original_below_the_end_mark_is_kept():
    original = "Which fits?\n\nOption one: tea\nOption two: milk"
    reply = "#New Instruction#: Which fits? Say why.###\n\n**Option one**: tea\n**Option two**: milk\n###"
    assert read_instruction(reply, original) == "Which fits? Say why.\n\nOption one: tea\nOption two: milk"
    assert read_instruction(reply) == "Which fits? Say why."


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I cannot help with that.",
        "#New Instruction#:",
        "#New Instruction#: ###",
        "#Original Instruction#: 'Name three rivers.'",
        "This new instruction is better.",
        "<think>New instruction: Name a river.",
    ],
)
def test_where_nothing_is_marked_as_new_there_is_no_instruction(reply):
    assert read_instruction(reply, "Name three rivers.") is None


# --- the structured replies ------------------------------------------------------------------------------------------

PROSE = st.text(st.sampled_from("abc XYZ.,:;!?'\n-*#"), max_size=80)
TEXT = st.text(max_size=60).map(str.strip).filter(bool)
GROWN = st.one_of(
    st.builds(
        Grown,
        st.sampled_from(["before", "after", "decompose"]),
        TEXT,
        st.lists(TEXT, min_size=1, max_size=4).map(tuple),
    ),
    st.builds(Grown, st.just("keep"), st.just("") | TEXT, st.lists(TEXT, max_size=2).map(tuple)),
)
WRAPS = ["{}", "```json\n{}\n```", "<think>{{ no: {{</think>\n{}", "Sure!\n\n{}\n\nDo you like it?", '{{"result": {}}}']


@given(GROWN, PROSE, PROSE, st.sampled_from(WRAPS), st.sampled_from([None, 2]), st.booleans())
def test_a_grown_reply_is_read_back_whatever_stands_around_it(grown, before, after, wrap, indent, ascii_only):
    fields = {name: getattr(grown, name) for name in ("choice", "steps", "instruction")}
    reply = wrap.format(json.dumps(fields, indent=indent, ensure_ascii=ascii_only))
    assert read_grown(f"{before}\n{reply}\n{after}") == grown


RIVERS = Grown("after", "Name rivers.\nThen sort them.", ("Name rivers.", "Sort them."))


@pytest.mark.parametrize(
    "reply",
    [
        '{"choice": "after", "steps": ["Name rivers.", "Sort them.",], '
        '"instruction": "Name rivers.\\nThen sort them.",}',
        '{"choice": "after", "steps": ["Name rivers.", "Sort them."], "instruction": "Name rivers.\nThen sort them."}',
        '{"Choice": "C", "STEPS": ["Name rivers.", "Sort them."], "Instruction": "Name rivers.\\nThen sort them."}',
        '{"choice": "Option C", "steps": [{"step": 1, "text": "Name rivers."}, {"step": 2, "text": "Sort them."}], '
        '"new_instruction": "Name rivers.\\nThen sort them."}',
        "{'choice': 'after', 'steps': ['Name rivers.', 'Sort them.'], 'instruction': 'Name rivers.\\nThen sort them.'}",
        '{choice: "after", steps: ["Name rivers.", "Sort them."], instruction: "Name rivers.\\nThen sort them."}',
        "{“choice”: “after”, “steps”: [“Name rivers.”, “Sort them.”], “instruction”: “Name rivers.\nThen sort them.”}",
        '{"choice": "keep", "steps": []} was a draft; {"choice": "after", "steps": ["Name rivers.", "Sort them."], '
        '"instruction": "Name rivers.\\nThen sort them."}',
        '{"choice": "after", "steps": {"1": "Name rivers.", "2": "Sort them."}, '
        '"instruction": "Name rivers.\\nThen sort them."}',
    ],
)
def test_json_is_read_as_models_write_it(reply):
    assert read_grown(reply) == RIVERS


def test_quotation_marks_that_nobody_escaped_stay_in_the_text():
    steps = '["Spell "rain".", "Say "hi", then go."]'
    reply = f'{{"choice": "before", "steps": {steps}, "instruction": "Spell "rain", then go",}}'
    grown = Grown("before", 'Spell "rain", then go', ('Spell "rain".', 'Say "hi", then go.'))
    assert read_grown(reply) == grown


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "{}",
        '{"choice": "after", "steps": ["a"], "instruction": "a',
        '{"choice": "after", "steps": ["a"], "instruction": ""}',
        '{"choice": "after", "steps": [], "instruction": "a"}',
        '{"choice": "after", "steps": ["a", ""], "instruction": "a"}',
        '{"choice": "before|after|decompose|keep", "steps": ["..."], "instruction": "..."}',
        '{"steps": ["a"], "instruction": "a"}',
        '{"choice": 3, "steps": ["a"], "instruction": "a"}',
        '{"choice": "after", "steps": ["a"], "instruction": ["a"]}',
    ],
)
def test_a_grown_reply_that_is_not_whole_is_none(reply):
    assert read_grown(reply) is None


@given(TEXT, st.just("") | TEXT.filter(lambda text: len(text) > 12), PROSE, st.sampled_from(WRAPS))
def test_parts_are_read_back_whatever_stands_around_them(instruction, given_input, prose, wrap):
    reply = wrap.format(json.dumps({"instruction": instruction, "input": given_input}))
    assert read_parts(f"{prose}\n{reply}") == (instruction, given_input)


@pytest.mark.parametrize("nothing", ["", "none", "None.", "N/A", "<noinput>", "(no input)", "null", '""', "No input"])
def test_an_input_may_be_said_to_be_none(nothing):
    assert read_parts(json.dumps({"instruction": "Sing.", "input": nothing})) == ("Sing.", "")
    assert read_parts(f"#Instruction#: Sing.\n#Input#: {nothing}###") == ("Sing.", "")


@pytest.mark.parametrize(
    "reply",
    [
        "#Instruction#: Sum it up.\n#Input#: Rain fell.",
        "#Instruction#: 'Sum it up.' #Input#: 'Rain fell.'###",
        "**Instruction:** Sum it up.\n\n**Input:** Rain fell.",
        "Instruction: Sum it up.\nInput: Rain fell.\n###\nInstruction: Another\nInput: one",
        "<instruction>\nSum it up.\n</instruction>\n<input>\nRain fell.\n</input>",
    ],
)
def test_parts_may_be_marked_text(reply):
    assert read_parts(reply) == ("Sum it up.", "Rain fell.")


@pytest.mark.parametrize("reply", ["", "Sum it up.", '{"instruction": ""}', '{"instruction": "a"}', "Input: a"])
def test_a_reply_without_both_parts_is_none(reply):
    assert read_parts(reply) is None


SAID = st.builds(Said, st.sampled_from([True, False, None]), st.just("") | TEXT)


@given(
    st.lists(SAID, min_size=1, max_size=5).flatmap(
        lambda said: st.tuples(st.just(said), st.permutations(range(len(said))))
    )
)
def test_verdicts_come_back_in_the_steps_order(said_and_order):
    said, order = said_and_order
    steps = [{"step": i + 1, "quote": said[i].quote, "done": said[i].done} for i in order]
    for reply in (json.dumps({"steps": steps}), f"```\n{json.dumps(steps)}\n```", "\n".join(map(json.dumps, steps))):
        assert read_verdicts(f"Well.\n{reply}", len(said)) == tuple(said)
        assert read_verdicts(reply, len(said) + 1) is None


@pytest.mark.parametrize(
    "reply",
    [
        '{"steps": [{"done": "yes", "quote": "a"}, {"done": "No", "quote": ""}]}',
        '{"Steps": [{"Step": "2", "Done": false}, {"Step": "Step 1", "Done": true, "Quote": "a"},]}',
        '{"verdicts": {"1": {"done": 1, "quote": "a"}, "2": {"done": 0}}}',
        '{"steps": [{"step": 1, "quote": ["a"], "done": "Yes."}, {"step": 2, "quote": [], "done": "no"}]}',
        '{"steps": [{"step": 1, "evidence": "a", "done": true}, {"step": 2, "evidence": null, "done": false}]}',
        '{"steps": [{"step": 1, "quote": "a", "done": True}, {"step": 2, "quote": "", "done": False}]}',
    ],
)
def test_verdicts_are_read_as_models_write_them(reply):
    assert read_verdicts(reply, 2) == (Said(True, "a"), Said(False, ""))


@pytest.mark.parametrize(
    "steps",
    [
        [{"step": 1, "done": True}],
        [{"step": 1, "done": True}, {"step": 1, "done": False}],
        [{"step": 1, "done": True}, {"step": 3, "done": True}],
        [{"step": 1, "done": True}, {"done": True}],
        [{"step": 1, "done": True}, {"step": 2}],
        [{"step": 1, "done": True}, {"step": 2, "done": [1]}],
        [{"step": 1, "quote": "a", "done": "perfect"}, {"step": 2, "done": False}],
        [{"step": 1, "quote": {"text": "a"}, "done": True}, {"step": 2, "done": False}],
        [{"step": 1, "quote": ["a", 1], "done": True}, {"step": 2, "done": False}],
        [{"step": 1, "source": "a", "done": True}, {"step": 2, "done": False}],
        [1, 2],
    ],
)
def test_verdicts_that_do_not_judge_each_step_once_are_none(steps):
    assert read_verdicts(json.dumps({"steps": steps}), 2) is None


def test_each_of_several_quotes_is_looked_up():
    [said] = read_verdicts('{"steps": [{"quote": ["one gull ", "", "two terns"], "done": true}]}', 1)
    assert said == Said(True, "one gull ... two terns")


def test_a_judge_that_cannot_tell_is_not_a_no():
    reply = '{"steps": [{"step": 1, "done": "partially"}, {"step": 2, "done": null}]}'
    assert read_verdicts(reply, 2) == (Said(None, ""), Said(None, ""))


# --- yes or no -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Yes", True),
        ("yes.", True),
        ("**Yes**, all of it is.", True),
        ("[[No]]", False),
        ("No, the table has gone.\nNew instruction: Read the table.###", False),
        ("No\nThe number is missing.", False),
        ("no", False),
        ("Nothing is missing.", True),
        ("No information is missing.", True),
        ("I know the text. Nothing was lost.", True),
        ("The options are missing.", False),
        ("Not all of the numbers are there.", False),
        ("All the necessary information is still there.", True),
        ("I compared the two.\nThe answer is: no", False),
        ("Answer: **Yes**", True),
        ("I looked at every line of it. Yes.", True),
        ("<think>No, wait.</think>Yes", True),
        ("I do not know.", None),
        ("", None),
        ("Nobody can say.", None),
    ],
)
def test_yes_and_no_are_whole_words_that_answer(reply, answer):
    assert read_yes_no(reply) is answer


# --- tasks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruction", "count"),
    [
        ("", 0),
        ("Name three rivers.", 1),
        ("First name a river, then draw it. Finally, what is its length?", 3),
        ("Name three rivers, then sort them by length.", 2),
        ("Name a river. Then describe its source.", 2),
        ("Name a river and explain why it floods.", 2),
        ("What is a river, and how does it begin?", 2),
        ("Describe a storm. After describing it, write a headline for it.", 2),
        ("1. Name a river.\n2. Describe it.\n3. Draw it.", 3),
        ("Step 1: Name a river.\nStep 2: Describe it.", 2),
        ("Describe the history and use of salt.", 1),
        ("Write a poem. Use four lines. Make sure it rhymes.", 1),
        ("Sort the words.\n1. river\n2. lake", 1),
        ("Who speaks?\n\nAnna: Where were you? Tell me!\nBen: Out.", 1),
        ('Correct the sentence: "Write it, then send it. Where is it?"', 1),
        ("Premise: Rain fell.\nHypothesis: It is wet.\nDoes it follow?", 1),
        ("Read and sum up the text.", 1),
    ],
)
def test_tasks_are_counted_one_when_in_doubt(instruction, count):
    assert len(split_tasks(instruction)) == count


@given(st.text(st.sampled_from("Name it then. Write the list, and draw a?\n1.2\"'"), max_size=200))
def test_the_tasks_hold_the_words_of_the_instruction_in_order(instruction):
    words = re.findall(r"\w+", instruction)
    left = re.findall(r"\w+", " ".join(split_tasks(instruction)))
    assert [word for word in words if word != "and"] == [word for word in left if word != "and"]


# --- any text --------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *"{}[]\",:'“”#*|<> \n\\ABCD",
        "#New Instruction#:",
        "###",
        "#Original Instruction#:",
        '{"choice":',
        '{"steps": [',
        "instruction",
        "option is",
        "yes",
        "no",
        "done",
        "<think>",
        "</think>",
        "true",
        "then write the",
        "1.",
        "```",
        "x",
    ]
)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@settings(max_examples=60)
@given(text=st.text(max_size=200) | st.lists(PIECES, max_size=60).map("".join))
def test_no_text_makes_a_reader_raise(reader, text):
    reader(text)


HOSTILE = [
    "{",
    "[",
    '{"a":',
    '{"choice": "',
    '{"steps": [{"done":',
    '"',
    '" ',
    "“",
    "'",
    "#",
    "# ",
    "* ",
    "| ",
    "\n",
    " ",
    "a",
]
HOSTILE += [
    "#New Instruction#: ",
    '#New Instruction#: "',
    "#Original Instruction#: x\n",
    "Explanation: x\n",
    "no ",
    "all ",
]
HOSTILE += [
    "option is ",
    "and write the ",
    "then ",
    "1. Write\n",
    "Name: ",
    "<think>",
    "\\",
    "`",
    "? ",
    "|new instruction|\n",
]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_hostile_texts_of_100_kilobytes_do_not_hang_a_reader(reader):
    # What is quadratic takes minutes here, which no test is given; what is linear a second for all of them.
    for piece in HOSTILE:
        reader(piece * (100_000 // len(piece)))
        reader(f"#New Instruction#: {piece * (100_000 // len(piece))}")


# --- recorded replies ------------------------------------------------------------------------------------------------

LETTERS = dict(zip("ABCD", ("decompose", "before", "after", "keep"), strict=True))
TEACHERS = [
    *("alpaca/Meta-Llama-3-8B-Instruct", "alpaca/c4ai-command-r-plus", "alpaca/gpt-3.5-turbo"),
    *("flancot/Meta-Llama-3-8B-Instruct", "flancot/gpt-3.5-turbo"),
]
# Where the recorded choice is not what a person reads in the reply: what is read, and why.
OTHER_CHOICES = {
    "alpaca/Meta-Llama-3-8B-Instruct": {59: ("before", "words and last line say B; a C in passing was recorded")},
    "alpaca/c4ai-command-r-plus": {92: (None, "the words and the new text put a task before, the letter says A")},
    "flancot/gpt-3.5-turbo": {65: ("after", "words and last line say C; the recorded B stands nowhere")},
}
# Where the recorded instruction goes on past its end: commentary, another example, an end mark, a quotation mark.
LEFTOVERS = {
    "alpaca/Meta-Llama-3-8B-Instruct": {9, 27, 31, 37, 72, 76, 80, 87, 96, 97},
    "alpaca/c4ai-command-r-plus": {1, 5, 8, 9, 11, 17, 24, 27, 29, 32, 34, 35, 49, 52, 55, 60, 61, 62, 64, 69, 78, 79}
    | {80, 91},
    "alpaca/gpt-3.5-turbo": {35, 69},
    "flancot/Meta-Llama-3-8B-Instruct": {1, 3, 6, 20, 21, 22, 24, 44, 47, 48, 54, 82, 88, 91, 96, 99},
}
# Where it is another text altogether: the start of the SHA-256 of the right one (None: there is none), and why.
EXAMPLES, EXPLAINS = "the prompt's examples were answered first", "an explanation stands between mark and instruction"
ONLY_EXAMPLES = "only the prompt's examples were answered"
OTHER_INSTRUCTIONS = {
    "alpaca/Meta-Llama-3-8B-Instruct": {65: ("4e423773", EXAMPLES), 71: ("5e4385fe", EXAMPLES)},
    "alpaca/c4ai-command-r-plus": {
        10: ("2d75da2e", EXPLAINS),
        28: ("821b7413", EXPLAINS),
        33: ("d8d88ec3", EXAMPLES),
        37: ("f366e2af", EXPLAINS),
        40: (None, ONLY_EXAMPLES),
        44: ("6c42f744", "the original and advice stand first, the instruction last, as an example"),
        59: ("89f90204", "marked twice, the first time before an explanation"),
        71: ("1f83d46c", EXAMPLES),
        74: ("1c745fdb", EXAMPLES),
        77: ("cdb10741", EXAMPLES),
        83: ("4fff424a", EXPLAINS),
        85: ("db8a5d57", "in a table below the examples"),
        96: (None, ONLY_EXAMPLES),
        98: ("c785c9e4", EXAMPLES),
    },
    "flancot/Meta-Llama-3-8B-Instruct": {
        15: ("511509d0", EXAMPLES),
        55: ("cdd65824", EXAMPLES),
        72: (None, ONLY_EXAMPLES),
        73: (None, ONLY_EXAMPLES),
        87: ("2d38fa5b", EXAMPLES),
    },
}
# Where the recorded prompt of a transcript lost what the user gave, because it stands below the end mark.
OTHER_TRANSCRIPTS = {273: "the last line, which asks for a language", 564: "the two texts that are to be compared"}


def recorded(path):
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def without_quotes(text):
    text = re.sub(r"\s*#+\Z", "", text.strip()).strip()
    return text[1:-1].strip() if text[:1] in tuple("\"“'‘") and text[-1:] in tuple("\"”'’") else text


@pytest.mark.parametrize("teacher", TEACHERS)
def test_the_choice_of_a_recorded_reply_is_the_recorded_one_or_a_better_one(shared, teacher):
    better = OTHER_CHOICES.get(teacher, {})
    for row in recorded(shared / f"teacher_replies/{teacher}.jsonl"):
        choice = LETTERS[row["recorded_option"]]
        said = better[row["idx"]][0] if row["idx"] in better else choice
        assert read_choice(row["classify_reply"]) == said, row["idx"]


@pytest.mark.parametrize("teacher", TEACHERS)
def test_the_instruction_of_a_recorded_reply_is_the_recorded_one_or_a_better_one(shared, teacher):
    better, cut = OTHER_INSTRUCTIONS.get(teacher, {}), LEFTOVERS.get(teacher, ())
    for row in recorded(shared / f"teacher_replies/{teacher}.jsonl"):
        if not row.get("rewrite_reply"):
            continue
        ours = read_instruction(row["rewrite_reply"], row["instruction"])
        theirs = row["recorded_rewrite"] or ""
        if row["idx"] in better:
            digest = ours and hashlib.sha256(ours.encode()).hexdigest()[:8]
            assert digest == better[row["idx"]][0], row["idx"]
        elif row["idx"] in cut:
            assert ours, row["idx"]
            assert theirs.lstrip('"“').startswith(ours.lstrip('"“')), row["idx"]
            assert "###" not in ours, row["idx"]
        else:
            assert (ours or "") == without_quotes(theirs), row["idx"]


def test_the_transcripts_give_the_recorded_prompts_or_what_the_user_gave_with_them(shared):
    for i, row in enumerate(recorded(shared / "seqeval/round1_transcripts.jsonl")):
        ours = read_instruction(row["reply"], row["original"])
        if i in OTHER_TRANSCRIPTS:
            assert ours.startswith(row["rewritten"].strip()), i
            below = ours[len(row["rewritten"].strip()) :]
            assert set(re.findall(r"\w+", below)) <= set(re.findall(r"\w+", row["original"])), i
        else:
            assert ours == without_quotes(row["rewritten"]), i


@pytest.mark.parametrize("end", ["", ","])
def test_an_escaped_emoji_is_one_sign_and_half_of_one_can_be_encoded(end):
    for escaped, meant in ((r"\ud83d\ude00", "\U0001f600"), (r"a \ud83d b", "a \ufffd b")):
        reply = f'{{"choice": "after", "steps": ["x", "y"], "instruction": "{escaped}"{end}}}'
        assert read_grown(reply).instruction == meant
        read_grown(reply).instruction.encode()


@pytest.mark.parametrize(
    ("task", "bare"),
    [
        ("Then, use this adjective.", "Use this adjective."),
        ("and explain why.", "Explain why."),
        ("then sort it", "Sort it"),
        ("After that, for each cause, say why.", "For each cause, say why."),
        ("Last year's figures are below: add them.", "Last year's figures are below: add them."),
        ("Given a text, sum it up.", "Given a text, sum it up."),
    ],
)
def test_a_task_can_be_told_without_the_words_that_join_it_to_others(task, bare):
    assert bare_task(task) == bare


def test_a_shortened_word_ends_no_sentence():
    assert split_tasks("What do Ballina in Co. Mayo and Appleby have in common?") == (
        "What do Ballina in Co. Mayo and Appleby have in common?",
    )
