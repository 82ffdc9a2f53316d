"""The suites inside Inspect: the same answers give the same figures, and what cannot be told is never a number."""

import json
from dataclasses import replace
from itertools import count

import pytest

pytest.importorskip("inspect_ai", reason="inspect_ai is not installed (the extra `inspect`)")

from inspect_ai import eval as inspect_eval
from inspect_ai import score as inspect_score
from inspect_ai.log import read_eval_log
from inspect_ai.model import GenerateConfig, ModelOutput, ModelUsage, get_model

from seqtune.data.example import Example, Step, prompt_text
from seqtune.data.writer import write
from seqtune.errors import RecipeError
from seqtune.evaluation.figures import ALL
from seqtune.evaluation.hosts import inspect_tasks
from seqtune.evaluation.hosts.inspect_grader import Grader, read_output
from seqtune.evaluation.hosts.inspect_tasks import suite_task
from seqtune.evaluation.judging import rehearsal
from seqtune.evaluation.judging.checklist import approve, own_checklist, write_checklist
from seqtune.evaluation.run import evaluate
from seqtune.evaluation.suite import Suite, open_suite
from seqtune.evaluation.suites.generated_chains import chains
from seqtune.llm.reply import Failed, Reply
from seqtune.llm.request import Request, user

# Inspect leaves streams of its own to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Unclosed <Memory:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

REHEARSAL = "seqtune.evaluation.judging.rehearsal"
JUDGE = f"scripted:{REHEARSAL}:rehearse"


def output(text, stop_reason="stop"):
    made = ModelOutput.from_content("mock", text, stop_reason=stop_reason)
    made.usage = ModelUsage(
        input_tokens=1, output_tokens=1, total_tokens=2
    )  # else a tokenizer is fetched to count them
    return made


def model(rule):
    """A model of Inspect that replies by a rule of the mock server's."""

    def reply(turns, tools, choice, config):
        return output(rule({"messages": [{"role": turn.role, "content": turn.text} for turn in turns]}))

    return get_model("mockllm/model", custom_outputs=reply, memoize=False)


def answering(texts):
    """A model that answers each prompt with the text that belongs to it."""
    return model(lambda asked: texts[asked["messages"][-1]["content"]])


def run(task, candidate, tmp_path, **more):
    [log] = inspect_eval(task, model=candidate, log_dir=str(tmp_path / "logs"), display="none", **more)
    return log


def figures_in(log):
    [score] = log.results.scores
    return {name: figure.value for name, figure in score.metrics.items()}


def responses(path, items, texts):
    path.write_text("".join(json.dumps({"id": item.id, "output": texts[prompt_text(item)]}) + "\n" for item in items))
    return path


def require_same_figures(log, core):
    """Every measure of the whole, its interval and what is unscored, and the headline by split."""
    found = figures_in(log)
    whole = next((line for line in core.figures if line.group == ALL), core.figures[0])
    assert next(iter(found)) == core.headline.measure
    for name, figure in whole.measures.items():
        assert found.get(name) == pytest.approx(figure.value)
        assert found.get(f"{name}_unscored", 0) == figure.unscored
        if figure.value is not None:
            assert (found[f"{name}_low"], found[f"{name}_high"]) == pytest.approx((figure.low, figure.high), abs=0.002)
    splits = [line.measures[core.headline.measure].value for line in core.figures if line is not whole]
    assert sorted(value for name, value in found.items() if "(" in name) == pytest.approx(sorted(splits))


def flag(number):
    steps = (Step(f"name three colours of flag {number}"), Step("say which of these colours is warmest"))
    return Example(
        f"First name three colours of flag {number}, then say which of these colours is warmest.", steps=steps
    )


@pytest.fixture
def flags(tmp_path):
    """A file of rows with steps that only a judge can tell, and answers of which some leave out a step."""
    items = [flag(i) for i in range(40)]
    write(items, tmp_path / "flags.jsonl")
    texts = ["The colours are red, white and green.", "The colours are red and blue.\nOf these, red is the warmest."]
    answers = {prompt_text(item): texts[i % 3 > 0] if i % 8 else "" for i, item in enumerate(items)}
    return tmp_path / "flags.jsonl", items, answers


# --- the same figures


def test_chains_have_the_same_figures_in_inspect_as_in_the_core(tmp_path):
    suite = chains((1, 2, 3), per_length=15, singles=True)
    texts = {prompt_text(item): item.output for item in suite.items}
    texts |= {prompt: text.splitlines()[0] for prompt, text in list(texts.items())[::3]}
    core = evaluate(suite=suite, responses=responses(tmp_path / "r.jsonl", suite.items, texts), out=tmp_path / "out")
    assert 0 < core.headline.figure.value < 1
    log = run(suite_task(suite), answering(texts), tmp_path)
    assert log.status == "success"
    require_same_figures(log, core)


def test_xquad_has_the_same_figures_in_inspect_as_in_the_core(tmp_path, shared):
    given = shared / "responses" / "xquad" / "llama3-8b-alpaca-sit_zh.jsonl"
    rows = [json.loads(line) for line in given.read_text("utf-8").splitlines()]
    rows = list({row["input"]: row for row in rows}.values())[:120]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = {f"{row['instruction']}\n\n{row['input']}": row["output"] for row in rows}
    suite = open_suite("xquad:zh", data=shared / "xquad", options={"rows": rows})
    part = replace(suite, items=tuple([item for item in suite.items if prompt_text(item) in texts]))
    assert len(part.items) > 100
    core = evaluate(suite=part, responses=path, out=tmp_path / "out")
    require_same_figures(run(suite_task(part), answering(texts), tmp_path), core)


def test_seqeval_in_the_original_form_has_the_same_figures_in_inspect_as_in_the_core(tmp_path, shared):
    given = shared / "responses" / "seqeval_round3" / "llama3-8b-alpaca-sit.jsonl"
    texts = {row["instruction"]: row["output"] for row in map(json.loads, given.read_text("utf-8").splitlines())}
    suite = open_suite("seqeval", data=shared / "seqeval" / "seqEval.json")
    items = tuple([item for item in suite.items if item.instruction in texts][::8])
    part = Suite("seqeval", items, scorer="")
    path = responses(tmp_path / "r.jsonl", items, texts)
    core = evaluate(suite=part, responses=path, judge=JUDGE, form="original", out=tmp_path / "out")
    log = run(suite_task(part), answering(texts), tmp_path, model_roles={"grader": model(rehearsal.answer)})
    require_same_figures(log, core)


@pytest.mark.parametrize("quality", [True, False])
def test_a_checklist_has_the_same_figures_in_inspect_as_in_the_core(tmp_path, flags, quality):
    path, items, texts = flags
    write_checklist(own_checklist(items, "flags"), tmp_path / "checklist.jsonl")
    approve(tmp_path / "checklist.jsonl", "the test")
    how = {"checklist": str(tmp_path / "checklist.jsonl"), "form": "checklist", "quality": quality}
    given = responses(tmp_path / "r.jsonl", items, texts)
    core = evaluate(suite=str(path), responses=given, judge=JUDGE, out=tmp_path / "out", **how)
    task = inspect_tasks.rows(data=str(path), **how)
    log = run(task, answering(texts), tmp_path, model_roles={"grader": model(rehearsal.answer)})
    require_same_figures(log, core)
    assert log.samples[0].scores["seqtune/judged"].metadata["judge"].endswith(core.judge.partition(" | ")[2])


def test_a_log_without_scores_is_scored_later_with_the_same_figures(tmp_path, flags):
    path, _, texts = flags
    grader = model(rehearsal.answer)
    task = inspect_tasks.rows(data=str(path), form="original")
    both = run(task, answering(texts), tmp_path, model_roles={"grader": grader})
    answered = run(task, answering(texts), tmp_path, score=False)
    assert answered.results.scores == []
    kept = read_eval_log(answered.location)
    scored = inspect_score(kept, inspect_tasks.judged(), model_roles={"grader": grader}, display="none")
    assert figures_in(scored) == figures_in(both)


def test_an_item_asked_several_times_counts_once_with_the_mean_of_what_was_told(tmp_path):
    suite = chains((1,), per_length=10)
    texts = {prompt_text(item): item.output for item in suite.items}
    turns = count()
    candidate = model(lambda asked: texts[asked["messages"][-1]["content"]] if next(turns) % 2 else "?")
    found = figures_in(run(suite_task(suite), candidate, tmp_path, epochs=2, max_samples=1))
    assert found["exact"] == 0.5
    assert found["exact_high"] - found["exact_low"] > 0.5  # ten items, not twenty


# --- what cannot be told


@pytest.mark.parametrize("junk", ["some_junk", "all_junk"])
def test_with_too_many_unreadable_verdicts_the_headline_is_withheld_and_the_task_is_no_success(
    tmp_path, flags, mock_server, junk
):
    path, items, texts = flags
    server = mock_server("--rule", f"{REHEARSAL}:{junk}")
    given = responses(tmp_path / "r.jsonl", items, texts)
    core = evaluate(suite=str(path), responses=given, judge=server.llm, form="original", out=tmp_path / "out")
    task = inspect_tasks.rows(data=str(path), form="original")
    log = run(task, answering(texts), tmp_path, model_roles={"grader": model(getattr(rehearsal, junk))})
    found, figure = figures_in(log), core.headline.figure
    assert core.headline.refused
    assert log.status == "error"
    assert "following" not in found
    assert (log.results.headline.metric, next(iter(found))) == ("following_withheld_coverage",) * 2
    assert found["following_withheld_coverage"] == figure.coverage
    assert (found["following_worst"], found["following_best"]) == (figure.worst, figure.best)
    assert found["following_unscored"] == figure.unscored
    assert all(value == value for value in found.values())


def test_an_item_without_an_answer_is_unscored_and_an_empty_answer_is_wrong(tmp_path):
    suite = chains((1,), per_length=40)
    texts = {prompt_text(item): item.output for item in suite.items}
    lost, empty = [*texts][:2]

    def rule(asked):
        prompt = asked["messages"][-1]["content"]
        if prompt == lost:
            raise RuntimeError("no answer today")
        return "" if prompt == empty else texts[prompt]

    log = run(suite_task(suite), model(rule), tmp_path)
    found = figures_in(log)
    assert log.status == "success"
    assert (found["strict"], found["strict_unscored"]) == (pytest.approx(38 / 39), 1)


def test_without_a_grader_nobody_judges_and_least_of_all_the_candidate(tmp_path, flags):
    path, _, texts = flags
    asked = []

    def rule(request):
        asked.append(request["messages"][-1]["content"])
        return texts[asked[-1]]

    log = run(inspect_tasks.rows(data=str(path), form="original"), model(rule), tmp_path)
    assert log.status == "error"
    assert sorted(asked) == sorted(texts)
    assert "grader" in log.samples[-1].error.message


def test_a_dead_judge_is_asked_once_and_the_answers_are_kept(tmp_path, flags):
    path, _, texts = flags
    asked = []

    def dead(request):
        asked.append(request)
        raise ConnectionError("nobody there")

    roles = {"grader": model(dead)}
    log = run(inspect_tasks.rows(data=str(path), form="checklist"), answering(texts), tmp_path, model_roles=roles)
    assert (log.status, len(asked)) == ("error", 1)
    assert {sample.output.completion for sample in log.samples} == set(texts.values())


def test_a_judge_is_asked_a_bounded_number_of_times_unless_the_user_says_otherwise():
    config = Grader(model(rehearsal.answer))._config(_request())
    assert (config.max_retries, config.attempt_timeout, config.temperature) == (3, 120, 0.0)
    own = get_model("mockllm/model", config=GenerateConfig(max_retries=9, temperature=0.7), memoize=False)
    assert (Grader(own)._config(_request()).max_retries, Grader(own)._config(_request()).temperature) == (9, 0.0)


def _request():
    return Request(model="m", messages=(user("Hello!"),), temperature=0.0, max_tokens=5)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (output("[[Yes, 5", "max_tokens"), "length"),
        (output("[[Yes, 5]]", "content_filter"), "filtered"),
        (output("  "), "empty"),
        (ModelOutput(model="m"), "refused"),
    ],
)
def test_a_reply_that_is_cut_or_empty_or_held_back_is_no_reply(made, reason):
    found = read_output(made)
    assert isinstance(found, Failed)
    assert found.reason == reason
    assert isinstance(read_output(output("[[Yes, 5]]")), Reply)


# --- finding tasks


def test_inspect_finds_the_tasks_by_name_and_passes_options_as_it_reads_them(tmp_path):
    args = {"steps": ["1", "2"], "per_length": 3}
    log = run("seqtune/chains", model(lambda asked: "?"), tmp_path, task_args=args)
    assert log.eval.task == "seqtune/chains"
    assert {"strict (1 step)", "strict (2 steps)"} < figures_in(log).keys()
    assert log.eval.metadata["suite"] == "chains"
    assert len(log.samples) == 6


@pytest.mark.parametrize("name", ["xquad", "mgsm", "gsm8k", "ifeval"])
def test_suites_with_data_are_tasks_with_their_own_program(shared, name):
    data = {"gsm8k": "gsm8k/test.jsonl", "ifeval": "ifeval/input_data.jsonl"}.get(name, name)
    part = {"xquad": "zh", "mgsm": "de"}.get(name)
    task = getattr(inspect_tasks, name)(data=str(shared / data), **({"part": part} if part else {}))
    assert len(task.dataset) > 100
    assert [sample.id for sample in task.dataset] == [sample.metadata["item"]["id"] for sample in task.dataset]


def test_wrong_forms_and_missing_files_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="there is no form 'pairwise'"):
        inspect_tasks.rows(data=str(_one_row(tmp_path)), form="pairwise")
    with pytest.raises(RecipeError, match="has no rows of its own"):
        inspect_tasks.rows()
    with pytest.raises(RecipeError, match="no option 'step'"):
        inspect_tasks.chains(step=1)


def _one_row(tmp_path):
    write([flag(0)], tmp_path / "one.jsonl")
    return tmp_path / "one.jsonl"
