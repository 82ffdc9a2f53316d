"""What stands in the folder of an evaluation is its own: nothing of another run, model or file is read as such."""

import json

import msgspec
import pytest

from seqtune.building.engine import build
from seqtune.data.example import Example, Step
from seqtune.data.lock import locked
from seqtune.data.writer import write
from seqtune.errors import RecipeError, RunFolderError
from seqtune.evaluation.answering import Answering, answer_key, identity_of
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.construction import build_seqeval
from seqtune.evaluation.intake import read_answers
from seqtune.evaluation.judging.preferring import prefer
from seqtune.evaluation.judging.trial import judge_check
from seqtune.evaluation.ledger import open_ledger, read_records
from seqtune.evaluation.run import evaluate
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.standard import evaluate_by_harness
from seqtune.evaluation.suite import Suite, open_suite
from seqtune.evaluation.suites.generated_chains import chains
from seqtune.experiment.run import run_experiment

SUITE = chains((1, 2), per_length=5)


def answered(path, texts):
    rows = [{"item": id, "output": text} for id, text in texts.items()]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def run(tmp_path, name, text=None, **options):
    texts = {item.id: item.output if text is None else text for item in options.get("suite", SUITE).items}
    path = answered(tmp_path / name / "answers.jsonl", texts)
    return evaluate(responses=path, out=tmp_path / "out", **{"suite": SUITE, **options})


def test_other_answers_of_the_same_file_name_are_another_run(tmp_path):
    assert run(tmp_path, "a").headline.figure.value == 1.0
    with pytest.raises(RunFolderError, match="another run"):
        run(tmp_path, "b", "no")
    found = run(tmp_path, "b", "no", overwrite=True)
    verdicts = [*read_records(tmp_path / "out" / "verdicts.jsonl", Scored)]
    assert found.headline.figure.value == 0.0
    assert [one.measures["strict"] for one in verdicts] == [0.0] * 10
    assert {answer.text for answer in read_answers(tmp_path / "out").values()} == {"no"}


def test_an_overwritten_folder_holds_no_answer_and_no_figure_of_the_run_before(tmp_path):
    run(tmp_path, "a")
    smaller = Suite("chains", SUITE.items[:3])
    found = run(tmp_path, "a", suite=smaller, overwrite=True, phase="answer")
    assert (found.items, found.answered, found.headline) == (3, 3, None)
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert not (tmp_path / "out" / "verdicts.jsonl").exists()
    assert evaluate(phase="judge", out=tmp_path / "out").headline.figure.of == 3


def test_a_suite_with_other_right_answers_is_another_suite():
    first = SUITE.items[0]
    other = msgspec.structs.replace(first, steps=(msgspec.structs.replace(first.steps[0], expected="another"),))
    regrouped = msgspec.structs.replace(first, meta={"group": "another"})
    hashes = {Suite("chains", (item,)).hash for item in (first, other, regrouped)}
    assert len(hashes) == 3


def test_answers_are_told_apart_by_the_model_in_its_folder_however_it_is_named(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    keys = []
    for name in ("model.safetensors", "chat_template.jinja", "generation_config.json"):
        (folder / name).write_text(name)
        keys.append(identity_of(str(folder)))
        (folder / name).write_text(f"{name}, changed")
        keys.append(identity_of(f"hf:{folder}"))
    assert len({*keys}) == len(keys)
    assert identity_of("http://127.0.0.1:8000/v1#mock") == ""
    first, other = [answer_key(SUITE.items[0], "m", key, Answering()) for key in keys[:2]]
    assert first != other


def test_two_commands_do_not_write_one_folder_at_once(tmp_path):
    with locked(tmp_path / "out"), pytest.raises(RunFolderError, match="another process is at work here"):
        run(tmp_path, "a")
    assert run(tmp_path, "a").answered == 10


def write_build(folder):
    write([Example("Say hi.", "", "Hi!")], folder / "rows.jsonl")
    build(from_=str(folder / "rows.jsonl"), chain="operations", unfit="plain", out=str(folder / "out"))


def write_preferences(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        run(folder / name, "a")
    prefer([folder / "one" / "out", folder / "two" / "out"], judge="scripted:builtins:str", out=folder / "out")


def write_experiment(folder):
    arms = {"a": {"dataset": "a.jsonl"}, "b": {"dataset": "b.jsonl"}}
    run_experiment({"experiment": {"arms": arms}}, out=str(folder / "out"))


WRITERS = {
    "build": write_build,
    "compare": write_preferences,
    "judge-check": lambda folder: judge_check(str, out=folder / "out", items=1),
    "build-seqeval": lambda folder: build_seqeval(folder / "rows.jsonl", out=folder / "out", llm=str),
    "harness": lambda folder: evaluate_by_harness("m", "lm_eval:arc", folder / "out", {}, overwrite=False),
    "experiment": write_experiment,
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_no_command_writes_where_another_one_is_at_work(tmp_path, writer):
    with locked(tmp_path / "out"), pytest.raises(RunFolderError, match="another process is at work here"):
        writer(tmp_path)
    assert [*(tmp_path / "out").iterdir()] == []


class Full:
    """A file on a full disk: it takes a part of what is written, then nothing."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        taken, self.room = data[: self.room], self.room - len(data[: self.room])
        if not taken:
            raise OSError(28, "No space left on device")
        return self.file.write(taken)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 30, 90])
def test_a_full_disk_leaves_whole_lines_and_is_told(tmp_path, room):
    path = tmp_path / "a.jsonl"
    with open_ledger(path, Answer) as ledger:
        ledger.add([Answer("first", "m", "t", key="1")])
        ledger._file = Full(ledger._file, room)
        with pytest.raises(RunFolderError, match="No space left"):
            ledger.add([Answer("second", "m", "t" * 100, key="2")])
    assert [one.item for one in read_records(path, Answer)] == ["first"]


def test_rows_that_are_no_items_are_told_and_a_file_takes_no_option_of_a_suite(tmp_path):
    path = tmp_path / "rows.jsonl"
    write([Example("Say hi."), *SUITE.items, SUITE.items[0]], path)
    assert open_suite(path).notes == (
        "1 rows are no items: they have no steps",
        "1 rows stand there twice and are asked once",
    )
    with pytest.raises(RecipeError, match="a file of rows has no option 'steps'"):
        open_suite(path, options={"steps": [1]})


def summary_of(folder):
    return json.loads((folder / "run.json").read_text("utf-8"))


def test_a_run_can_be_asked_for_again_from_what_its_folder_says(tmp_path):
    given = {"steps": [1, 2], "per_length": 3, "seed": 5, "told": True}
    items = open_suite("chains", options=given).items
    path = answered(tmp_path / "a" / "answers.jsonl", {item.id: item.output for item in items})
    evaluate(suite="chains", responses=path, out=tmp_path / "out", by_length=2, **given)
    first = summary_of(tmp_path / "out")
    settings = first["settings"]
    assert settings["options"].items() >= {**given, "by_length": 2, "wordings": "known"}.items()
    evaluate(suite=settings["suite"], responses=path, out=tmp_path / "again", **settings["options"])
    assert summary_of(tmp_path / "again")["fingerprint"] == first["fingerprint"]
    evaluate(phase="judge", out=tmp_path / "out")
    assert summary_of(tmp_path / "out")["settings"] == settings


def test_the_same_items_are_the_same_run_however_they_were_asked_for(tmp_path):
    run(tmp_path, "a", suite=chains(), phase="answer")
    before = summary_of(tmp_path / "out")["fingerprint"]
    path = tmp_path / "a" / "answers.jsonl"
    evaluate(suite="chains", responses=path, out=tmp_path / "out", steps=(1, 2, 3), options={"seed": 0})
    assert summary_of(tmp_path / "out")["fingerprint"] == before


def test_two_items_of_one_prompt_have_verdicts_of_their_own(tmp_path):
    rows = [Example("Say hi.", steps=(Step("say hi"),), meta={"id": str(i)}) for i in range(3)]
    suite = Suite("rows", tuple(rows), "")
    path = answered(tmp_path / "answers.jsonl", {row.id: "Hi!" for row in rows})
    judge = "scripted:seqtune.evaluation.judging.rehearsal:rehearse"
    for _ in range(2):
        found = evaluate(suite=suite, responses=path, out=tmp_path / "out", judge=judge)
        assert found.figures[-1].measures["strict"].of == 3
