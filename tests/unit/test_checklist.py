"""A checklist is made once, read by a person, and frozen: what changes after that is noticed."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtune.data.example import Example, Step
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.judging import rehearsal
from seqtune.evaluation.judging.asking import NotRead
from seqtune.evaluation.judging.checklist import (
    Checklist,
    ChecklistStep,
    Entry,
    approve,
    build_checklist,
    diff_checklists,
    open_checklist,
    own_checklist,
    read_checklist,
    read_steps,
    steps_by_item,
    steps_of,
    write_checklist,
)
from seqtune.llm.asking import open_teacher

ITEMS = [
    Example("Name three birds that live by the sea. Then describe what gulls eat."),
    Example("Read the letter carefully. Then write a reply to it. Finally, list its dates."),
    Example("What is the tide?"),
]
CHECKLIST = Checklist(
    "gulls",
    (
        Entry(
            "a",
            "Name a gull, then draw it.",
            (ChecklistStep("Name a gull"), ChecklistStep("Draw it", (1,), False, "no pen")),
        ),
        Entry("b", "Say hello.", (ChecklistStep("Say hello"),)),
    ),
    model="m",
    prompt="checklist 1",
)


def built(items, script, tmp_path, **options):
    async def run():
        async with open_teacher(script, store=tmp_path / "replies.sqlite") as ask:
            return await build_checklist(items, ask, **options), ask.counts.asked

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path):
    write_checklist(CHECKLIST, tmp_path / "gulls.jsonl")
    return tmp_path / "gulls.jsonl"


def edit(path, old, new):
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")


# --- made by a model -------------------------------------------------------------------------------------------------


def test_a_model_makes_the_steps_of_each_item_in_the_items_order(tmp_path):
    made, asked = built(ITEMS, rehearsal.rehearse, tmp_path, suite="birds")
    assert [entry.item for entry in made.entries] == [item.id for item in ITEMS]
    assert [len(entry.steps) for entry in made.entries] == [2, 3, 1]
    assert made.entries[0].steps[1].depends_on == (1,)
    assert (made.suite, made.model, made.prompt, made.is_approved) == ("birds", "scripted", "checklist 1", False)
    assert asked == 3


def test_steps_that_no_text_model_can_do_are_marked_with_the_reason(tmp_path):
    made, _ = built(ITEMS, rehearsal.rehearse, tmp_path)
    assert [step.doable for step in made.entries[1].steps] == [False, True, True]
    assert made.entries[1].steps[0].reason


def test_items_that_bring_their_steps_keep_them_and_need_no_call(tmp_path):
    item = Example("Count, then reverse.", steps=(Step("count", "3", check="count_words"), Step("reverse")))
    made, asked = built([item], rehearsal.rehearse, tmp_path)
    assert made.entries[0].steps == steps_of(item)
    assert [(step.check, step.expected, step.depends_on) for step in steps_of(item)] == [
        ("count_words", "3", ()),
        ("", None, (1,)),
    ]
    assert asked == 0


def test_own_steps_have_a_hash_of_their_own():
    one, other = (Example("Count.", steps=(Step("count", expected),)) for expected in ("3", "4"))
    assert own_checklist([one]).hash == own_checklist([one]).hash != own_checklist([other]).hash


def test_an_item_whose_reply_cannot_be_read_has_a_problem_and_is_never_approved(tmp_path):
    made, asked = built(ITEMS[:1], lambda request: "no idea", tmp_path)
    assert (made.entries[0].steps, asked) == ((), 3)
    assert "list of tasks" in made.entries[0].problem
    write_checklist(made, tmp_path / "c.jsonl")
    with pytest.raises(DataError, match=f"1 items have no steps, the first is {ITEMS[0].id}"):
        approve(tmp_path / "c.jsonl", "Ada")


TASKS = [
    {"task": " Name\na gull ", "after": [], "can": True, "reason": ""},
    {"task": "Draw", "after": [1, 2, 9, "x"], "can": False},
]


@pytest.mark.parametrize("wrap", ["{}", "Here it is:\n```json\n{}\n```", '<think>{{"tasks": []}}</think>{}'])
def test_steps_are_read_from_json_as_models_write_it(wrap):
    reply = wrap.replace("{{", "{").replace("}}", "}").replace("{}", json.dumps({"tasks": TASKS}))
    steps = read_steps(reply)
    assert [(step.text, step.depends_on, step.doable) for step in steps] == [
        ("Name a gull", (), True),
        ("Draw", (1,), False),
    ]
    assert steps[1].reason


@pytest.mark.parametrize(
    "tasks",
    [
        [],
        [{"task": "", "can": True}],
        [{"task": "x"}],
        [{"task": "x", "can": "perhaps"}],
        ["x"],
        "x",
        [TASKS[0]] * 41,
        None,
    ],
)
def test_half_a_list_of_steps_is_none(tasks):
    assert isinstance(read_steps(json.dumps({"tasks": tasks})), NotRead)


@given(st.text())
@settings(deadline=None)
def test_reading_steps_never_fails(reply):
    assert isinstance(read_steps(reply), NotRead)


def test_a_prompt_that_holds_json_makes_the_model_sign_its_own(tmp_path):
    item = Example(
        'Mend this and then explain it: {"tasks": [{"task": "Praise", "after": [], "can": true, "reason": ""}]}'
    )
    echoed, _ = built([item], lambda request: item.instruction, tmp_path / "echo")
    signed, _ = built([item], rehearsal.rehearse, tmp_path / "judge")
    assert echoed.entries[0].problem
    assert signed.entries[0].steps[0].text == "Mend this"


# --- the file --------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read(path):
    assert read_checklist(path) == CHECKLIST
    head = json.loads(path.read_text("utf-8").splitlines()[0])
    assert (head["suite"], head["version"], head["hash"], head["model"]) == ("gulls", 1, CHECKLIST.hash, "m")


steps = st.builds(
    ChecklistStep,
    st.text(min_size=1).filter(str.strip),
    doable=st.booleans(),
    reason=st.text(),
    expected=st.none() | st.text(),
)
entries = st.builds(Entry, st.uuids().map(str), st.text(), st.lists(steps, max_size=4).map(tuple))


@given(st.lists(entries, max_size=4, unique_by=lambda entry: entry.item).map(tuple), st.text())
@settings(deadline=None, max_examples=60)
def test_any_checklist_comes_back_as_it_was(tmp_path_factory, entries, suite):
    file = tmp_path_factory.mktemp("lists") / "c.jsonl"
    write_checklist(Checklist(suite, entries), file)
    assert read_checklist(file) == Checklist(suite, entries)


def test_the_hash_is_of_the_steps_and_not_of_who_approved_them(path):
    assert approve(path, "Ada").hash == CHECKLIST.hash
    assert Checklist("gulls", CHECKLIST.entries[:1]).hash != CHECKLIST.hash


def test_judging_refuses_what_nobody_approved_unless_told_otherwise(path):
    with pytest.raises(RecipeError, match="nobody has approved"):
        open_checklist(path)
    assert open_checklist(path, unapproved=True).label == f"{CHECKLIST.hash} (unapproved)"
    approve(path, "Ada")
    assert open_checklist(path).label == CHECKLIST.hash
    assert (open_checklist(path).approved_by, open_checklist(path).version) == ("Ada", 1)
    assert open_checklist(path).approved_at.endswith("+00:00")


def test_an_edit_after_the_approval_is_noticed(path):
    approve(path, "Ada")
    edit(path, "Say hello", "Say goodbye")
    with pytest.raises(DataError, match="edited after Ada approved it") as caught:
        open_checklist(path, unapproved=True)
    assert caught.value.where == str(path)


def test_an_edit_before_the_approval_is_what_the_file_is_for(path):
    edit(path, "Say hello", "Say goodbye")
    assert approve(path, "Ada").entries[1].steps[0].text == "Say goodbye"
    assert open_checklist(path).version == 1


def test_an_approved_file_that_was_edited_gets_a_new_version_when_approved_again(path):
    approve(path, "Ada")
    edit(path, "Say hello", "Say goodbye")
    assert approve(path, "Grace").version == 2
    assert approve(path, "Grace").version == 2
    assert open_checklist(path).approved_by == "Grace"


def test_nobody_is_no_approver(path):
    with pytest.raises(RecipeError, match="who approves it"):
        approve(path, " ")


@pytest.mark.parametrize(
    ("old", "new", "said", "line"),
    [
        ('"item":"a"', '"item":"b"', "stands in it 2 times", ""),
        ('"depends_on":[1]', '"depends_on":[2]', "depends on 2, which is no earlier step", ":2"),
        ('"doable":false', '"doabel":false', "doabel", ":2"),
        ('"text":"Say hello"', '"text":" "', "step 1 has no text", ":3"),
        ('"suite":"gulls"', '"suite":', "no line of a checklist", ":1"),
        ('"text":"Say hello"', '"text":"Say hello","check":"no_such","expected":"x"', "no operation is called", ""),
    ],
)
def test_a_bad_line_is_named(path, old, new, said, line):
    edit(path, old, new)
    with pytest.raises((DataError, RecipeError), match=said) as caught:
        read_checklist(path)
    assert caught.value.where == (f"{path}{line}" if isinstance(caught.value, DataError) else "")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]\n"])
def test_a_file_that_is_no_checklist_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="no line of a checklist"):
        read_checklist(tmp_path / "x")
    with pytest.raises(DataError, match="cannot be read"):
        read_checklist(tmp_path / "missing")


# --- compared --------------------------------------------------------------------------------------------------------


def test_a_diff_names_what_was_added_removed_and_changed():
    new_step = (ChecklistStep("Say goodbye"),)
    other = Checklist("gulls", (Entry("b", "Say hello.", new_step), Entry("c", "Wave.", (ChecklistStep("Wave"),))))
    changes = {change.item: (change.before, change.after) for change in diff_checklists(CHECKLIST, other)}
    assert changes == {
        "a": (CHECKLIST.entries[0].steps, None),
        "b": (CHECKLIST.entries[1].steps, new_step),
        "c": (None, other.entries[1].steps),
    }
    assert diff_checklists(CHECKLIST, CHECKLIST) == []


def test_an_item_has_the_steps_of_its_prompt_where_only_its_id_is_another():
    made = Checklist("birds", tuple([Entry(item.id, item.instruction, steps_of(item)) for item in ITEMS]))
    made = Checklist("birds", tuple([Entry(one.item, one.prompt, (ChecklistStep("do it"),)) for one in made.entries]))
    with_reference = [Example(item.instruction, output="a reference") for item in ITEMS]
    assert not {item.id for item in with_reference} & {item.id for item in ITEMS}
    assert [*steps_by_item(with_reference, made).values()] == [(ChecklistStep("do it"),)] * 3


def test_what_an_approved_checklist_leaves_out_has_no_steps_and_more_than_half_is_refused():
    kept = tuple([Entry(item.id, item.instruction, (ChecklistStep("do it"),)) for item in ITEMS[:2]])
    approved = Checklist("birds", kept, approved_by="Ann")
    assert [*steps_by_item(ITEMS, approved)] == [item.id for item in ITEMS[:2]]
    with_steps = Example("Say hello.", steps=(Step("say hello"),))
    assert steps_by_item([*ITEMS, with_steps], approved)[with_steps.id] == steps_of(with_steps)
    for checklist in (Checklist("birds", kept), Checklist("birds", kept[:1], approved_by="Ann")):
        with pytest.raises(RecipeError, match="of the suite's 3 items have no steps in it"):
            steps_by_item(ITEMS, checklist)
