"""The suites `seqeval` and `prompts`: every prompt is an item, as often as it stands there, and nothing else is."""

import csv
import json
from collections import Counter

import pytest

from seqtune.data.example import prompt_text
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.suite import GROUP, open_suite
from seqtune.evaluation.suites.prompts import prompts
from seqtune.evaluation.suites.seqeval import seqeval

ROWS = [
    {"instruction": "Name a bird, then say where it lives.", "iteration": 1},
    {"instruction": "Name two rivers, compare them, and sum the comparison up.", "iteration": 2},
    {"instruction": "", "iteration": 2},
    {"instruction": "Name a bird, then say where it lives.", "iteration": 1},
]


def groups(suite):
    return [item.meta[GROUP] for item in suite.items]


def test_items_stand_in_order_by_round_and_only_a_judge_scores_them(rows_file):
    suite = open_suite("seqeval", data=rows_file(ROWS))
    assert [item.instruction for item in suite.items] == [ROWS[i]["instruction"] for i in (0, 3, 1)]
    assert groups(suite) == ["round 1", "round 1", "round 2"]
    assert suite.scorer == ""


def test_a_prompt_that_stands_there_twice_is_two_items(rows_file):
    suite = seqeval(rows_file(ROWS))
    assert len({item.id for item in suite.items}) == 3
    assert prompt_text(suite.items[0]) == prompt_text(suite.items[1])


def test_an_empty_row_is_no_item_and_is_named(rows_file):
    [why, *_] = seqeval(rows_file(ROWS)).notes
    assert why == "row 3 (row 2 counted from 0) is no item: empty instruction"


def test_other_prompts_than_the_published_ones_are_told_and_no_error(rows_file):
    assert any("not the published prompts" in note for note in seqeval(rows_file(ROWS)).notes)


def test_a_copy_in_another_kind_of_file_gives_the_same_items(tmp_path, rows_file):
    path = tmp_path / "copy.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["instruction", "iteration"])
        writer.writeheader()
        writer.writerows(ROWS)
    assert seqeval(str(path)).hash == seqeval(rows_file(ROWS)).hash
    assert groups(seqeval(str(path))) == groups(seqeval(rows_file(ROWS)))


def test_answered_rows_give_the_items_of_their_prompts_without_the_answers(rows_file):
    answered = [{"instruction": row["instruction"], "output": f"answer {i}"} for i, row in enumerate(ROWS)]
    suite = seqeval(rows=answered)
    assert [item.instruction for item in suite.items] == [ROWS[0]["instruction"], ROWS[1]["instruction"]]
    assert any(note.startswith("2 rows; the suite has 804 items") for note in suite.notes)
    assert not any(item.output for item in suite.items)
    assert set(groups(suite)) == {""}


def test_answered_rows_take_their_rounds_from_the_data_where_both_are_given(rows_file):
    answered = [{"instruction": text, "output": "an answer"} for text in (ROWS[1]["instruction"], "Say yes.")]
    suite = seqeval(rows_file(ROWS), rows=answered)
    assert groups(suite) == ["round 1", "round 1", "round 2", "not in the file"]
    assert any(note.startswith("1 of 2 prompts are not in the data") for note in suite.notes)
    assert any("not the published prompts" in note for note in suite.notes)


@pytest.mark.parametrize("name", ["seqeval", "prompts"])
def test_what_a_row_holds_beside_its_prompt_does_no_harm(name):
    row = {"row": 0, "instruction": "Say yes.", "judge_reply": "[[Yes, 5]]", "following": True, "score": 5.0}
    [item] = open_suite(name, options={"rows": [row]}).items
    assert (item.instruction, item.output) == ("Say yes.", "")


def test_without_prompts_the_user_is_told_where_they_are():
    with pytest.raises(RecipeError, match="not part of seqtune") as told:
        seqeval()
    assert "seqEval.json" in told.value.fix
    with pytest.raises(RecipeError, match="no prompts of its own"):
        prompts()


def test_where_prompts_are_given_beside_the_answers_to_them_these_are_the_items(rows_file):
    source = rows_file([{"prompt": "Name a colour."}, {"prompt": "Name a town."}])
    suite = prompts(source, rows=[{"prompt": "Name a town.", "id": 1}])
    assert [item.instruction for item in suite.items] == ["Name a colour.", "Name a town."]


def test_a_file_without_prompts_is_refused(rows_file):
    with pytest.raises(DataError, match="no row holds a prompt"):
        seqeval(rows_file([{"instruction": " ", "iteration": 1}]))


def test_prompts_of_any_format_are_items_and_keep_their_references(rows_file):
    chat = [{"messages": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Red."}]}]
    [item] = open_suite("prompts", data=rows_file(chat)).items
    assert (item.instruction, item.output) == ("Name a colour.", "Red.")
    [item] = prompts(rows_file([{"prompt": "Name a colour."}])).items
    assert item.instruction == "Name a colour."


def test_dialogues_are_no_items_of_prompts_and_are_named(rows_file):
    turns = [{"role": role, "content": "well"} for role in ("user", "assistant", "user", "assistant")]
    single = {"messages": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Red."}]}
    suite = prompts(rows_file([{"messages": turns}, single]))
    assert len(suite.items) == 1
    assert "row 1 is no item: a dialogue" in suite.notes[0]


# --- the published prompts and real answers


def test_the_published_file_has_its_checksum_its_rounds_and_one_empty_row(shared):
    suite = seqeval(shared / "seqeval/seqEval.json")
    assert Counter(groups(suite)) == {"round 1": 81, "round 2": 161, "round 3": 241, "round 4": 321}
    assert [*suite.notes] == ["row 548 (row 547 counted from 0) is no item: empty instruction"]


def test_one_changed_word_or_round_of_the_published_file_is_told(shared, rows_file):
    rows = json.loads((shared / "seqeval/seqEval.json").read_text())
    for changed in ({"instruction": rows[3]["instruction"] + " Go on."}, {"iteration": rows[3]["iteration"] % 4 + 1}):
        other = [*rows[:3], rows[3] | changed, *rows[4:]]
        assert len(seqeval(rows_file(other)).notes) == 2
    assert len(seqeval(rows_file(rows)).notes) == 1


@pytest.mark.parametrize("model", ["it", "sit"])
def test_recorded_answers_give_an_item_each_but_for_the_empty_prompt(shared, model):
    file = shared / f"responses/seqeval_round3/llama3-8b-alpaca-{model}.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]
    asked = [row["instruction"] for row in rows]
    suite = seqeval(rows=rows)
    assert [item.instruction for item in suite.items] == [text for text in asked if text]
    assert len(seqeval(rows=[*rows, rows[0]]).items) == 804
    with_rounds = seqeval(shared / "seqeval/seqEval.json", rows=rows)
    assert Counter(groups(with_rounds)) == {"round 3": 241, "not in the file": 563}
    assert any("563 of 804 prompts" in note for note in with_rounds.notes)
