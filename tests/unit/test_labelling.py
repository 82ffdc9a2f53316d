"""Labels by hand: the page shows what the judge saw and nothing else, and its labels correct the judge's figures."""

import json
import re
import shutil
import subprocess
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.data.example import Example, Step
from seqtune.data.folder import write_json, write_lines
from seqtune.data.writer import write
from seqtune.errors import DataError, RecipeError, RunFolderError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.figures import measure
from seqtune.evaluation.labelling.labels import correct_by_labels, judgeable_answers, read_labels
from seqtune.evaluation.labelling.page import label_page, sample
from seqtune.evaluation.run import evaluate
from seqtune.evaluation.scoring import Scored, Verdict, measures_of
from seqtune.evaluation.statistics.double_sampling import sampled_share
from seqtune.evaluation.statistics.measure import share

JUDGE = "m | verdicts 1, quality 1"
HOSTILE = """</script><script>document.title="taken"</script><img src=x onerror="document.title='taken'">
</div></article><style>*{display:none}</style><meta http-equiv=refresh content="0;url=https://example.org">"""
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


@pytest.fixture
def run_folder(tmp_path):
    """Write a run folder with verdicts of our own: of each item a list of them, or one for the whole."""

    def make(said, texts=None, quality=None):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        items, answers, verdicts = [], [], []
        for i, one in enumerate(said):
            steps = tuple(Step(f"do thing {j}") for j in range(len(one))) if isinstance(one, list) else ()
            item = Example(f"Request {i}", steps=steps, meta={"group": "hard" if i % 4 == 0 else "easy"})
            items.append(item)
            answers.append(Answer(item.id, "m", texts[i] if texts else f"Answer {i}", key=f"a{i}"))
            if isinstance(one, list):
                told = tuple(Verdict(j, "judge", done, text=f"do thing {j - 1}") for j, done in enumerate(one, 1))
                measures = measures_of(one) | ({"quality": quality[i]} if quality else {})
                verdicts.append(Scored(item.id, f"v{i}", measures, told, JUDGE))
            else:
                following = None if one is None else float(one)
                verdicts.append(Scored(item.id, f"v{i}", {"following": following}, (), JUDGE))
        verdicts.append(Scored(items[0].id, "other", {"strict": 0.0}, (), "another judge"))
        write(items, folder / "items.jsonl")
        write_lines(folder / "answers.jsonl", answers)
        write_lines(folder / "verdicts.jsonl", verdicts)
        headline = "strict" if isinstance(said[0], list) else "following"
        summary = {"command": "eval", "fingerprint": "f", "finished": True, "judge": JUDGE}
        write_json(folder / "run.json", {**summary, "settings": {"headline": headline}})
        return folder

    return make


def labels_of(folder, people, by="ann", name="labels.jsonl", quality=None):
    """A file of labels, as the page writes them; `people` gives each answer's, or None for no label."""
    lines = []
    for i, one in enumerate(judgeable_answers(folder).answers):
        if (done := people(i)) is not None:
            places = dict(zip(map(str, one.steps), done, strict=True))
            rated = quality(i) if quality else None
            lines.append({"item": one.item.id, "answer": one.hash, "done": places, "by": by, "quality": rated})
    path = folder / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def html_of(folder, **options):
    return label_page(folder, **options).read_text("utf-8")


# --- the page --------------------------------------------------------------------------------------------------------


def test_a_page_says_nothing_of_the_judge(run_folder):
    folder = run_folder([[True, False], [False, True]])
    html = html_of(folder)
    assert "judge says" not in html
    assert "judge says yes" in html_of(folder, blind=False, overwrite=True)
    flipped = run_folder([[False, True], [True, False]])
    assert html_of(flipped, overwrite=True) == html, "the same whatever the judge said"


def test_nothing_in_a_text_becomes_markup(run_folder):
    html = html_of(run_folder([[True], [False]], texts=[HOSTILE, "plain"]))
    assert html.count("<script>") == html.count("</script>") == html.count("<style>") == 1
    assert "<img" not in html
    assert "http-equiv=refresh" not in html.replace("&lt;meta http-equiv=refresh", "")
    assert "https://" not in html.replace("url=https://example.org", "")


def test_the_page_allows_nothing_but_its_own_script_and_style(run_folder):
    html = html_of(run_folder([[True]]))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert "default-src 'none'" in policy.replace("&#39;", "'")
    assert "unsafe" not in policy
    assert not re.search(r"\s(?:style|on\w+)=", html), "inline styles and handlers would be blocked"


def test_an_answer_with_half_a_character_is_shown(run_folder):
    folder = run_folder([[True]], texts=["plain"])
    answers = (folder / "answers.jsonl").read_text()
    (folder / "answers.jsonl").write_text(answers.replace("plain", "\\ufffd tail"))
    assert "tail" in html_of(folder)


@pytest.mark.skipif(not BROWSER, reason="no browser")
def test_in_a_browser_no_answer_can_run(run_folder, tmp_path):
    page = label_page(run_folder([[True], [False]], texts=[HOSTILE, HOSTILE]))
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", profile, "--dump-dom", page.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if found.returncode or "<article" not in found.stdout:
        pytest.skip("the browser does not run here")
    assert "<title>Labels" in found.stdout
    assert "1 of 2" in found.stdout, "our own script ran"


def test_a_sample_has_of_each_split_its_share(run_folder):
    answers = judgeable_answers(run_folder([[True]] * 100)).answers
    drawn = sample(answers, 40, seed=0)
    assert len({one.item.id for one in drawn}) == 40
    assert sum(one.item.meta["group"] == "hard" for one in drawn) == 10
    assert {one.item.id for one in drawn} != {one.item.id for one in sample(answers, 40, seed=1)}
    assert len(sample(answers, 1000, seed=0)) == 100


@pytest.mark.parametrize("count", [1, 2, 3, 7, 33, 99])
def test_a_sample_is_as_large_as_asked(run_folder, count):
    answers = judgeable_answers(run_folder([[True]] * 100)).answers
    assert len(sample(answers, count, seed=3)) == count


def test_what_the_judge_could_not_say_is_not_asked_of_people(run_folder):
    folder = run_folder([[True], [True]])
    lines = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    lines[0] |= {"unscored": "junk", "steps": []}
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert html_of(folder).count("<article") == 1


def test_a_page_that_somebody_may_be_labelling_is_not_replaced(run_folder):
    folder = run_folder([[True]])
    label_page(folder)
    with pytest.raises(RunFolderError, match="already"):
        label_page(folder)
    with pytest.raises(RecipeError, match="count is 0"):
        label_page(folder, count=0, overwrite=True)


def test_a_real_run_can_be_labelled_and_corrected(tmp_path):
    rows = [Example(f"Say {word}.", output=word, steps=(Step(f"say {word}", word),)) for word in ("one", "two", "six")]
    write(rows, tmp_path / "rows.jsonl")
    given = [{"instruction": row.instruction, "answer": f"{row.output} it is"} for row in rows]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    judge = "scripted:seqtune.evaluation.judging.rehearsal:rehearse"
    out = tmp_path / "out"
    evaluate(None, tmp_path / "rows.jsonl", out=out, responses=tmp_path / "given.jsonl", judge=judge)
    assert html_of(out).count("<article") == 3
    found = correct_by_labels(out, labels_of(out, lambda i: [True]))
    assert found.labelled == 3
    assert found.corrections[0].people.value == 1


# --- labels ----------------------------------------------------------------------------------------------------------


def test_a_file_of_labels_reads_as_it_was_written(run_folder):
    folder = run_folder([[True, False], [False, True]])
    path = labels_of(folder, lambda i: [None, True] if i else [False, True], by="", name="ann.jsonl")
    first, second = read_labels(path)
    assert first.done == {1: False, 2: True}
    assert second.done == {1: None, 2: True}
    assert first.by == "ann", "who gives no name has the file's"


def test_of_an_answer_labelled_twice_the_last_counts(run_folder):
    folder = run_folder([[True]])
    path = labels_of(folder, lambda i: [True])
    again = path.read_text().replace("true", "false")
    path.write_text(path.read_text() + again)
    assert [label.done for label in read_labels(path)] == [{1: False}]


@pytest.mark.parametrize(
    "line", ['{"item": "x"}', "nonsense", '{"item":"x","answer":"y","done":{"1":"yes"}}', "\udcff"]
)
def test_a_line_that_is_no_label_is_told_with_its_place(tmp_path, line):
    path = tmp_path / "labels.jsonl"
    path.write_bytes(b"\n" + line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(DataError, match=r"labels\.jsonl:2"):
        read_labels(path)


def test_labels_of_other_answers_are_refused(run_folder):
    folder = run_folder([[True], [True]])
    path = labels_of(folder, lambda i: [True])
    answers = (folder / "answers.jsonl").read_text()
    (folder / "answers.jsonl").write_text(answers.replace("Answer 1", "Another answer"))
    with pytest.raises(DataError, match="another answer"):
        correct_by_labels(folder, path)
    path.write_text('{"item":"nowhere","answer":"x","done":{"1":true}}\n')
    with pytest.raises(DataError, match="not in this run"):
        correct_by_labels(folder, path)


# --- corrected figures -----------------------------------------------------------------------------------------------


def noisy(truth, rng, hit=0.9, right=0.8):
    return rng.random() < hit if truth else rng.random() > right


def test_corrected_rates_cover_the_truth_where_judged_ones_do_not(run_folder):
    rng = Random(0)
    truth = [[rng.random() < 0.5 for _ in range(3)] for _ in range(1000)]
    folder = run_folder([[noisy(done, rng) for done in row] for row in truth])
    found = correct_by_labels(folder, labels_of(folder, lambda i: truth[i] if i % 5 == 0 else None))
    strict, soft = found.corrections
    of_strict, of_soft = sum(map(all, truth)) / 1000, sum(map(sum, truth)) / 3000
    assert strict.corrected.low < of_strict < strict.corrected.high
    assert soft.corrected.low < of_soft < soft.corrected.high
    assert strict.estimate.low < of_strict < strict.estimate.high
    assert soft.estimate.low < of_soft < soft.estimate.high
    assert not soft.judged.low < of_soft < soft.judged.high
    assert soft.reliability.sensitivity.value == pytest.approx(0.9, abs=0.05)
    assert soft.reliability.specificity.value == pytest.approx(0.8, abs=0.05)
    assert soft.reliability.sensitivity.of <= 200, "an answer is one trial, whatever its steps"
    assert found.kappa["steps"].value == pytest.approx(0.7, abs=0.07)


def test_a_judge_without_error_needs_no_correction(run_folder):
    rng = Random(1)
    truth = [[rng.random() < 0.7, rng.random() < 0.7] for _ in range(100)]
    folder = run_folder(truth)
    found = correct_by_labels(folder, labels_of(folder, lambda i: truth[i]))
    for one in found.corrections:
        assert one.corrected.value == pytest.approx(one.judged.value)
        assert one.estimate.value == pytest.approx(one.judged.value)
    assert found.kappa["strict"].value == found.kappa["steps"].value == 1


def test_a_share_of_steps_has_the_interval_that_the_run_has(run_folder):
    rng = Random(3)
    folder = run_folder([[rng.random() < 0.7 for _ in range(3)] for _ in range(40)])
    judged = [one.scored.measures["soft"] for one in judgeable_answers(folder).answers]
    soft = correct_by_labels(folder, labels_of(folder, lambda i: [True, i % 2 == 0, True])).corrections[1]
    assert soft.judged == measure("soft", judged)
    assert soft.judged.high - soft.judged.low < share(soft.judged.done, 40).high - share(soft.judged.done, 40).low


def test_the_interval_of_kappa_knows_which_steps_are_of_one_answer(run_folder):
    done = [[i % 2 == 0] * 3 for i in range(40)]
    folder = run_folder(done)
    found = correct_by_labels(folder, labels_of(folder, lambda i: [i % 2 == 0 or i % 5 == 0] * 3)).kappa
    assert (found["steps"].of, found["strict"].of) == (120, 40)
    assert found["steps"].value == pytest.approx(found["strict"].value)
    assert found["steps"].low == pytest.approx(found["strict"].low)


@pytest.mark.parametrize(("rate", "hit", "right"), [(0.5, 0.9, 0.8), (0.8, 0.99, 0.97), (0.95, 0.7, 0.7)])
def test_intervals_by_labels_of_the_run_cover_the_truth_as_often_as_they_say(rate, hit, right):
    covered, runs = 0, 300
    for seed in range(runs):
        rng = Random(seed)
        truth = [rng.random() < rate for _ in range(400)]
        judge = [float(noisy(done, rng, hit, right)) for done in truth]
        found = sampled_share(judge, [*zip(judge[:200], map(float, truth[:200]), strict=True)])
        covered += found.low <= rate <= found.high
    assert 0.93 <= covered / runs <= 0.98


def test_a_judge_that_agrees_with_people_is_worth_many_labels():
    truth = [i % 3 == 0 for i in range(900)]
    judge = [*map(float, truth)]
    labelled = [*zip(judge[:90], judge[:90], strict=True)]
    alone = share(30, 90)
    found = sampled_share(judge, labelled)
    assert found.high - found.low < 0.5 * (alone.high - alone.low)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=40), st.lists(st.floats(0, 1), min_size=1))
def test_an_estimate_is_a_share_within_its_interval(labelled, others):
    found = sampled_share([*(ours for ours, _ in labelled), *others], labelled)
    assert 0 <= found.low <= found.high <= 1
    assert found.value is None or found.low <= found.value <= found.high


def test_a_run_without_steps_is_corrected_as_a_whole(run_folder):
    rng = Random(2)
    truth = [rng.random() < 0.6 for _ in range(300)]
    folder = run_folder([noisy(done, rng) for done in truth])
    found = correct_by_labels(folder, labels_of(folder, lambda i: [truth[i]] if i < 150 else None))
    [one] = found.corrections
    assert one.name == "following"
    assert one.corrected.low < sum(truth) / 300 < one.corrected.high


def test_labels_that_say_nothing_of_mistakes_are_told_so(run_folder):
    folder = run_folder([[True]] * 5)
    found = correct_by_labels(folder, labels_of(folder, lambda i: [True]))
    assert all(one.corrected is None for one in found.corrections)
    assert "not done" in found.corrections[0].problem


def test_several_people_are_compared_and_the_most_of_them_count(run_folder):
    folder = run_folder([[i % 2 == 0] for i in range(40)])
    files = [labels_of(folder, lambda i: [i % 2 == 0], by=by, name=f"{by}.jsonl") for by in ("ann", "bob")]
    files.append(labels_of(folder, lambda i: [i % 3 == 0], by="eve", name="eve.jsonl"))
    found = correct_by_labels(folder, files)
    assert found.people == {"ann": 40, "bob": 40, "eve": 40}
    assert found.corrections[0].reliability.sensitivity.value == 1, "two of three say what the judge says"
    assert 0 < found.alpha["steps"].value < 1
    alone = correct_by_labels(folder, files[0])
    assert "steps" not in alone.alpha
    assert correct_by_labels(folder, files[:2]).alpha["steps"].value == 1


def test_who_cannot_tell_says_neither_yes_nor_no(run_folder):
    folder = run_folder([[True, True], [True, False]])
    found = correct_by_labels(folder, labels_of(folder, lambda i: [None, i == 0]))
    strict, soft = found.corrections
    assert strict.people.of == 1, "the first is open, and in the second a step is missing for certain"
    assert soft.people.of == 2
    assert any("could not tell" in note for note in found.notes)


def test_quality_labels_are_compared_with_the_judges(run_folder):
    folder = run_folder([[True]] * 20, quality=[1.0 + i % 5 for i in range(20)])
    found = correct_by_labels(folder, labels_of(folder, lambda i: [True], quality=lambda i: 1 + i % 5))
    assert found.alpha["quality"].value == 1


def test_a_run_that_nobody_judged_is_told_so(run_folder):
    folder = run_folder([[True]])
    path = labels_of(folder, lambda i: [True])
    (folder / "verdicts.jsonl").unlink()
    with pytest.raises(RunFolderError, match="nobody judged"):
        correct_by_labels(folder, path)
    assert html_of(folder).count("<article") == 1, "but labelled it can be"


def test_a_folder_of_something_else_is_told_so(tmp_path):
    write_json(tmp_path / "run.json", {"command": "build", "finished": True})
    with pytest.raises(RunFolderError, match="no run of 'seqtune eval'"):
        label_page(tmp_path)
    assert msgspec.json.decode((tmp_path / "run.json").read_bytes())["command"] == "build"
