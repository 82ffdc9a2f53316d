"""Judges of one run: whether they agree on whole answers, on steps, and on quality."""

import json

import msgspec
import pytest

from seqtune.errors import RecipeError, RunFolderError
from seqtune.evaluation.judging.agreement import agree
from seqtune.evaluation.scoring import Scored, Verdict, measures_of

ONE, TWO, THREE = "alpha | verdicts 1 | c0ffee", "beta | verdicts 1 | c0ffee", "gamma | original 1"
ROWS = [(True, True), (True, False), (False, False), (True, True), (False, True), (True, True)]


def line_of(judge, place, done, quality=4.0, text="thing {}"):
    steps = tuple([Verdict(i, "judge", one, text=text.format(i)) for i, one in enumerate(done, 1)])
    return Scored(f"item {place}", f"{place}{judge}{done}", measures_of(done) | {"quality": quality}, steps, judge)


@pytest.fixture
def run_folder(tmp_path):
    def write(*scored):
        (tmp_path / "verdicts.jsonl").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in scored))
        (tmp_path / "run.json").write_text(json.dumps({"command": "eval", "finished": True, "settings": {}}))
        return tmp_path

    return write


def said_by(judge, rows=ROWS, **more):
    return [line_of(judge, place, done, 1.0 + place % 5, **more) for place, done in enumerate(rows)]


def test_judges_who_say_the_same_agree_in_all(run_folder):
    found = agree(run_folder(*said_by(ONE), *said_by(TWO)))
    assert (found.judges, found.answers) == ((ONE, TWO), 6)
    assert {name: one.value for name, one in found.kappa.items()} == {"strict": 1.0, "steps": 1.0}
    assert {name: one.value for name, one in found.alpha.items()} == {"strict": 1.0, "steps": 1.0, "quality": 1.0}
    assert (found.kappa["strict"].of, found.kappa["steps"].of) == (6, 12)


def test_of_three_judges_there_is_alpha_and_of_any_two_named_ones_kappa(run_folder):
    turned = [tuple(not one for one in row) for row in ROWS]
    folder = run_folder(*said_by(ONE), *said_by(TWO), *said_by(THREE, turned))
    assert agree(folder).kappa == {}
    assert agree(folder).alpha["steps"].value < 1
    assert (
        agree(folder, ["alpha", "gamma"]).kappa["steps"].value < 0 < agree(folder, [ONE, "beta"]).kappa["steps"].value
    )


def test_of_an_answer_that_was_judged_twice_the_last_verdict_counts(run_folder):
    stale = [line_of(ONE, place, (False,)) for place in range(6)]
    assert agree(run_folder(*stale, *said_by(ONE), *said_by(TWO))).kappa["strict"].value == 1.0


def test_steps_that_are_worded_differently_are_not_compared_and_whole_answers_in_any_form_are(run_folder):
    original = [Scored(f"item {i}", f"o{i}", {"following": float(all(row))}, judge=THREE) for i, row in enumerate(ROWS)]
    found = agree(run_folder(*said_by(ONE), *original))
    assert (found.kappa.keys(), found.kappa["strict"].value) == ({"strict"}, 1.0)
    assert "steps" not in agree(run_folder(*said_by(ONE), *said_by(TWO, text="another {}"))).alpha


def test_one_judge_or_an_unknown_one_is_refused(run_folder):
    with pytest.raises(RunFolderError, match="only alpha"):
        agree(run_folder(*said_by(ONE)))
    folder = run_folder(*said_by(ONE), *said_by(TWO))
    with pytest.raises(RecipeError, match="none of the run's judges is called 'delta'"):
        agree(folder, ["alpha", "delta"])
    with pytest.raises(RecipeError, match="2 of the run's judges"):
        agree(folder, ["", "alpha"])
    with pytest.raises(RunFolderError, match=r"only .* is named"):
        agree(folder, ["alpha", ONE])
    (folder / "verdicts.jsonl").unlink()
    with pytest.raises(RunFolderError, match="no judged run"):
        agree(folder)
