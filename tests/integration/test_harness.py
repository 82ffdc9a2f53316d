"""lm-evaluation-harness: our suites and its own tasks run in it offline, and its numbers are those of our core."""

import json
from dataclasses import replace

import msgspec
import pytest
from tiny_model import save_letters

from seqtune import console
from seqtune.data.example import prompt_text
from seqtune.errors import DataError, RecipeError, RunFolderError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.comparison import compare
from seqtune.evaluation.figures import Figures, figures
from seqtune.evaluation.harness import OUR_TASKS, harness_figures, run_harness
from seqtune.evaluation.intake import kept_task
from seqtune.evaluation.labelling.labels import judgeable_answers
from seqtune.evaluation.scoring import Scored, find_scorer
from seqtune.evaluation.standard import evaluate_by_harness
from seqtune.evaluation.suite import open_suite
from seqtune.evaluation.suites import mgsm, xquad

CLOSING = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
QUESTIONS = [
    ("What keeps rain off a walker?", ["umbrella", "spoon"], "A"),
    ("Where does a boat rest at night?", ["oven", "harbour"], "B"),
    ("What is read page by page?", ["book", "lamp"], "A"),
]


@pytest.fixture(scope="module")
def harness():
    return pytest.importorskip("lm_eval", reason="lm-eval is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model with room for a prompt, and a template that ends answers."""
    folder = save_letters(tmp_path_factory.mktemp("model") / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    (folder / "chat_template.jinja").write_text(CLOSING)
    return str(folder)


@pytest.fixture
def data(tmp_path):
    """Rows of a suite of ours, and of a task of the harness, where --data points."""
    asked = [
        {
            "id": str(i),
            "question": stem,
            "choices": {"label": ["A", "B"], "text": choices},
            "answerKey": key,
        }
        for i, (stem, choices, key) in enumerate(QUESTIONS)
    ]
    lines = "\n".join(map(json.dumps, asked))
    (tmp_path / "commonsense_qa").mkdir()
    (tmp_path / "commonsense_qa" / "dev_rand_split.jsonl").write_text(lines)
    (tmp_path / "arc_easy").mkdir()
    for split in ("train", "validation", "test"):
        (tmp_path / "arc_easy" / f"{split}.jsonl").write_text(lines)
    return tmp_path


def samples_of(out, task):
    return [json.loads(line) for line in (out / f"samples_{task}.jsonl").read_text("utf-8").splitlines()]


def by_core(suite, samples):
    """The measures that our own core finds in the answers that the harness wrote down, in the suite's order."""
    texts = {item.id: sample["filtered_resps"][0] for item, sample in zip(suite.items, samples, strict=True)}
    found = {item.id: find_scorer(suite.scorer)(item, texts[item.id]) for item in suite.items}
    scored = [Scored(id, measures=one.measures, steps=one.steps) for id, one in found.items()]
    return figures(suite.items, {id: Answer(id, "a model", text) for id, text in texts.items()}, scored)[-1].measures


def test_a_suite_of_ours_gets_the_numbers_of_our_core(harness, model, data, tmp_path):
    out = tmp_path / "out"
    [line] = run_harness(model, ["seqtune_commonsense_qa"], out=out, data=data)
    assert (line.group, line.items) == ("seqtune_commonsense_qa", len(QUESTIONS))
    suite = open_suite("commonsense_qa", data=data / "commonsense_qa")
    assert line.measures == by_core(suite, samples_of(out, line.group))
    written = json.loads((out / "metrics.json").read_text("utf-8"))
    assert msgspec.convert(written["figures"], list[Figures]) == [line]
    assert written["suite"] == "lm_eval:seqtune_commonsense_qa"


def test_answers_of_a_served_model_get_the_numbers_of_our_core(
    harness, data, tmp_path, rows_file, mock_server, monkeypatch
):
    pytest.importorskip("tenacity", reason="lm-eval[api] is not installed")
    monkeypatch.setenv("SEQTUNE_API_KEY", "a-key-for-the-test")
    monkeypatch.setenv("OPENAI_API_KEY", "must-not-be-sent")
    suite = open_suite("commonsense_qa", data=data / "commonsense_qa")
    right, only_letter, wrong = suite.items
    replies = [
        (right, f"{right.input}\nAnswer: {right.output}"),
        (only_letter, f"Answer: {only_letter.output}"),
        (wrong, f"{wrong.input}\nAnswer: B"),
    ]
    recorded = rows_file([{"prompt": prompt_text(item), "reply": reply} for item, reply in replies])
    server = mock_server("--replay", recorded, "--key-env", "SEQTUNE_API_KEY")
    out = tmp_path / "out"
    [line] = run_harness(server.llm, ["seqtune_commonsense_qa"], out=out, data=data)
    values = {name: measure.value for name, measure in line.measures.items()}
    assert values["exact_match"] == values["step_done"] == pytest.approx(2 / 3)
    assert values["strict"] == pytest.approx(1 / 3)
    assert line.measures == by_core(suite, samples_of(out, line.group))
    with pytest.raises(RecipeError, match="compares probabilities"):
        run_harness(server.llm, ["arc_easy"], out=out, data=data)


def test_a_run_of_the_harness_holds_figures_but_nothing_to_compare_or_to_label(harness, model, data, tmp_path):
    out, options = tmp_path / "out", {"data": str(data), "limit": 2, "chat_template": False}
    done = evaluate_by_harness(model, "lm_eval:arc_easy", out, options, overwrite=False)
    assert [line.items for line in done.figures] == [2]
    for refused in (lambda: compare([out, tmp_path]), lambda: judgeable_answers(out), lambda: kept_task(out)):
        with pytest.raises(RunFolderError, match="a run of lm-evaluation-harness"):
            refused()


def test_a_task_of_the_harness_runs_on_rows_of_a_folder(harness, model, data, tmp_path):
    [line] = run_harness(model, ["arc_easy"], out=tmp_path / "out", data=data, limit=2, chat_template=False)
    assert line.items == 2
    values = [sample["acc"] for sample in samples_of(tmp_path / "out", "arc_easy")]
    accuracy = line.measures["acc"]
    assert (accuracy.done, accuracy.of) == (sum(values), 2)
    assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1


def test_a_task_that_cannot_be_had_is_named_with_what_to_do(harness, model, tmp_path):
    with pytest.raises(RecipeError, match=r"'seqtune_gsm9k'; did you mean 'seqtune_gsm8k'"):
        run_harness(model, ["seqtune_gsm9k"], out=tmp_path / "out")
    with pytest.raises(DataError, match=r"no mgsm_de\.tsv"):
        run_harness(model, ["seqtune_mgsm_de"], out=tmp_path / "out", data=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"'arc_easy' of lm-eval cannot be loaded") as caught:
        run_harness(model, ["arc_easy"], out=tmp_path / "out", data=tmp_path / "empty")
    assert "HF_HOME" in caught.value.fix
    assert "--data" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_a_folder_that_came_to_nothing_can_be_taken_and_nothing_is_printed_beside_json(
    harness, model, data, tmp_path, capfd
):
    def tried(**options):
        options = {"limit": 2, "chat_template": False, **options}
        return evaluate_by_harness(model, "lm_eval:arc_easy", tmp_path / "out", options, overwrite=False)

    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError):
        tried(data=str(tmp_path / "empty"))
    capfd.readouterr()
    console.set_mode(json=True)
    try:
        assert tried(data=str(data)).items == 2
    finally:
        console.set_mode()
    assert capfd.readouterr() == ("", "")
    with pytest.raises(RunFolderError):
        tried(data=str(data), limit=1)


def test_models_that_only_seqtune_can_ask_are_refused(harness, data, tmp_path):
    with pytest.raises(RecipeError, match="cannot ask 'vllm:tiny'"):
        run_harness("vllm:tiny", ["seqtune_commonsense_qa"], out=tmp_path / "out", data=data)


def test_xquad_runs_on_the_published_questions(harness, model, shared, tmp_path):
    [line] = run_harness(model, ["seqtune_xquad_zh"], out=tmp_path / "out", data=shared, limit=2)
    assert line.items == 2
    suite = open_suite("xquad:zh", data=shared / "xquad")
    first = replace(suite, items=suite.items[:2])
    assert line.measures == by_core(first, samples_of(tmp_path / "out", line.group))


def test_every_language_of_a_suite_has_its_task():
    tasks = {path.stem for path in OUR_TASKS.glob("*.yaml")} - {"_suite"}
    languages = [*((xquad, one) for one in xquad.LANGUAGES), *((mgsm, one) for one in mgsm.LANGUAGES)]
    of_languages = {f"{suite.__name__.rpartition('.')[2]}_{language}" for suite, language in languages}
    assert tasks == of_languages | {"commonsense_qa", "gsm8k"}
    for task in tasks:
        text = (OUR_TASKS / f"{task}.yaml").read_text("utf-8")
        assert f"task: seqtune_{task}\n" in text


# --- figures of what the harness returns


def found(line, samples, effective):
    return {"results": {"t": line}, "samples": {"t": samples}, "n-samples": {"t": {"effective": effective}}}


def test_a_mean_of_shares_has_our_interval_and_what_could_not_be_told_is_unscored():
    samples = [{"filter": "none", "acc": value} for value in (1.0, 0.0, float("nan"), 1.0)]
    [line] = harness_figures(found({"acc,none": 2 / 3, "acc_stderr,none": 0.3}, samples, 4))
    accuracy = line.measures["acc"]
    assert (accuracy.done, accuracy.of, accuracy.unscored) == (2.0, 3, 1)
    assert (accuracy.worst, accuracy.best) == (0.5, 0.75)
    assert accuracy.low < accuracy.value < accuracy.high


def test_a_metric_that_is_no_mean_has_the_interval_of_its_standard_error():
    line = {"alias": "t", "f1,strict": 0.9, "f1_stderr,strict": 0.1, "perplexity,none": 12.0}
    [figure] = harness_figures(found(line, [{"filter": "strict", "f1": (0, 1)}], 50))
    f1, perplexity = figure.measures["f1:strict"], figure.measures["perplexity"]
    assert (f1.value, f1.low, f1.high) == (0.9, pytest.approx(0.704), 1.0)
    assert perplexity.value == 12.0
    assert perplexity.low < 0 < perplexity.high


def test_a_group_counts_the_items_of_its_tasks_also_of_groups_in_it():
    result = {
        "results": {"a": {"acc,none": 1.0}, "b": {"acc,none": 0.0}},
        "groups": {"inner": {"acc,none": 0.0}, "outer": {"acc,none": 0.5, "acc_stderr,none": 0.1}},
        "group_subtasks": {"outer": ["a", "inner"], "inner": ["b"]},
        "n-samples": {"a": {"effective": 10}, "b": {"effective": 30}},
    }
    assert {line.group: line.items for line in harness_figures(result)} == {"a": 10, "b": 30, "inner": 30, "outer": 40}
