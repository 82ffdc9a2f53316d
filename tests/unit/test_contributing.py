"""What CONTRIBUTING shows works as it is written."""

import re
from pathlib import Path

import pytest

import seqtune
from seqtune.building.gates import refused_by

GUIDE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
OPERATION, CHAIN, ASKING_CHAIN, GATE, READER = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
ROWS = [{"id": i, "instruction": "Answer.", "input": f"Who? {i}?", "output": "Me."} for i in range(5)]


@pytest.fixture
def rows(rows_file):
    return rows_file(ROWS)


def test_the_operation_can_be_named_at_once(rows, tmp_path):
    exec(OPERATION, {"__name__": "guide"})
    built = seqtune.build(from_=rows, chain="repeat+count_question_marks", out=str(tmp_path / "out"))
    assert [row.steps[1].expected for row in built.rows()] == ["2"] * 5


def test_the_chain_takes_its_option_from_a_recipe(rows, tmp_path):
    exec(CHAIN, {"__name__": "guide"})
    built = seqtune.build(from_=rows, chain=[{"chain": "shout", "mark": "?!"}], out=str(tmp_path / "out"))
    assert [row.steps[0].expected for row in built.rows()] == [f"WHO? {i}??!" for i in range(5)]


def test_the_chain_that_asks_gets_the_teachers_text(rows, tmp_path):
    exec(ASKING_CHAIN, {"__name__": "guide"})
    teacher = "scripted:seqtune.building.rehearsal:rehearse"
    built = seqtune.build(
        from_=rows, chain="explain", llm=teacher, out=str(tmp_path / "out"), store=str(tmp_path / "s")
    )
    assert built.teacher["stages"]["explain"]["calls"] == 5
    assert all(row.output.startswith(f"Explanation: {row.steps[0].expected}") for row in built.rows())


def test_the_gate_refuses_from_then_on():
    exec(GATE, {"__name__": "guide"})
    row = seqtune.Example("Name a town.")
    assert refused_by(seqtune.Draft(row, "after", "Name a town!!", ()), "instruction", ["no_shouting"])
    assert not refused_by(seqtune.Draft(row, "after", "Name a town!", ()), "instruction", ["no_shouting"])


def test_the_reader_is_recognised_from_then_on(rows_file):
    exec(READER, {"__name__": "guide"})
    path = rows_file([{"question_text": "Who?", "answer_text": "Me.", "page": 3}])
    [row] = seqtune.read(path)
    assert (row.instruction, row.output, row.meta) == ("Who?", "Me.", {"page": 3})
