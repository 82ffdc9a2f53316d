"""An experiment, end to end, with models from scratch: what it leaves, what it repeats, what its arms share."""

import json
import shutil
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file

from seqtune import read, write
from seqtune.cli import main
from seqtune.demo import SEED_ROWS
from seqtune.errors import RunFolderError
from seqtune.experiment.matching import Size
from seqtune.experiment.run import look_ahead, plan_experiment, run_experiment
from seqtune.experiment.table import table_rows
from seqtune.report import write_report

RECIPE = {
    "build": {
        "from": str(SEED_ROWS),
        "limit": 16,
        "chains": [{"chain": "operations", "steps": 2}],
        "unfit": "plain",
    },
    "train": {"model": "tiny"},
    "evaluate": {"suite": "chains", "steps": [1, 2], "per_length": 2, "max_new_tokens": 3},
    "experiment": {
        "out": "set by each test",
        "seeds": [0, 1],
        "match": "tokens",
        "arms": {
            "it": {"take": "control"},
            "sit": {},
            "dpo": {"after": "sit", "train": {"method": "dpo", "damages": ["drop_step"], "rows_per_step": 4}},
        },
    },
}


def recipe(**experiment):
    return {**RECIPE, "experiment": {**RECIPE["experiment"], **experiment}}


ARMS = {"arms": {"it": {"take": "control"}, "sit": {}}, "seeds": [0]}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_experiment(RECIPE, out=str(tmp_path_factory.mktemp("experiment") / "run"))


def test_every_arm_and_seed_is_in_the_table_and_in_run_folders_of_its_own(done):
    columns, rows = table_rows(done.results)
    assert {"seed 0", "seed 1", "minus it (95 %)", "minus where it goes on (95 %)"} <= {*columns}
    assert [(row[1], row[3]) for row in rows] == [(steps, arm) for steps in "12" for arm in ("it", "sit", "dpo")]
    for arm in ("it", "sit", "dpo"):
        for seed in (0, 1):
            for kind, command in (("train", "train"), ("eval", "eval")):
                summary = json.loads((done.out / kind / arm / f"seed-{seed}" / "run.json").read_text())
                assert (summary["command"], summary["finished"]) == (command, True)
    assert json.loads((done.out / "results.json").read_text())["seeds"] == [0, 1]
    assert "| sit |" in (done.out / "results.md").read_text()


def test_matched_arms_see_as_many_tokens_in_the_same_words(done):
    taken = {(one.arm, one.seed): one for one in done.results.taken}
    for seed in (0, 1):
        it, sit = taken["it", seed].tokens, taken["sit", seed].tokens
        assert abs(it - sit) < 512  # tokens of a batch
        words = [(done.out / "train" / arm / f"seed-{seed}/model/tokenizer.json").read_text() for arm in ("it", "sit")]
        assert words[0] == words[1]
    assert taken["dpo", 0].after == "sit"
    assert any("dpo goes on from sit" in note for note in done.results.notes)


def test_the_report_takes_the_folder(done, tmp_path):
    page = write_report(done.out, tmp_path / "page.html").read_text("utf-8")
    assert all(f"train/{arm}/seed-1" in page for arm in ("it", "sit", "dpo"))
    assert "minus where it goes on (95 %)" in page


def test_a_finished_experiment_is_not_done_again(done, monkeypatch):
    monkeypatch.setattr("seqtune.experiment.trials.train", None)
    monkeypatch.setattr("seqtune.experiment.trials.evaluate", None)
    again = run_experiment(RECIPE, out=str(done.out))
    assert again.results == done.results
    assert all(one.trained and one.tested for one in look_ahead(plan_experiment(RECIPE, out=str(done.out))))


def test_another_experiment_does_not_write_there(done):
    with pytest.raises(RunFolderError, match="another recipe stands here") as error:
        run_experiment(recipe(match="steps"), out=str(done.out))
    assert "finished runs made of the same rows, settings and model are kept" in error.value.fix


def test_another_seed_is_added_to_those_that_are_finished(tmp_path):
    run_experiment(recipe(**ARMS), out=str(tmp_path))
    stages = []
    more = run_experiment(
        recipe(**ARMS | {"seeds": [0, 1]}), out=str(tmp_path), say=lambda stage, at: stages.append(stage)
    )
    assert more.results.seeds == (0, 1)
    assert {stage[-6:] for stage in stages} == {"seed 1"}
    assert not any("another" in note for note in more.results.notes)


def test_what_another_model_in_the_same_place_gives_is_found_anew(done, tmp_path):
    base, stages = tmp_path / "base", []
    for arm in ("it", "sit", "sit"):
        shutil.copytree(done.out / "train" / arm / "seed-0/model", base, dirs_exist_ok=True)
        small = {"arms": {"it": {"take": "control"}}, "seeds": [0], "match": "rows"}
        before = len(stages)
        run_experiment(
            recipe(**small), out=str(tmp_path / "run"), model=str(base), say=lambda stage, at: stages.append(stage)
        )
    assert stages[:before].count("answer it, seed 0") > 1
    assert stages[before:] == []


def test_an_arm_that_was_taken_out_is_left_over_in_the_report(done, tmp_path):
    shutil.copytree(done.out, tmp_path / "run")
    run_experiment(recipe(**ARMS), out=str(tmp_path / "run"), overwrite=True)
    text = write_report(tmp_path / "run").read_text("utf-8")
    shown, _, made = text.partition('id="made"')
    for name in ("dpo/seed-0", "dpo/seed-1", "it/seed-1", "sit/seed-1"):
        assert f"train/{name}" not in shown
        assert f"train/{name}" in made
    assert "train/it/seed-0" in shown


def test_losses_of_other_methods_are_drawn_apart(done):
    text = write_report(done.out).read_text("utf-8")
    assert text.count("<title>Training loss over tokens seen</title>") == 2
    assert "loss of dpo" in text


def test_a_killed_experiment_goes_on_and_comes_to_the_same(done, tmp_path):
    def kill(stage, at):
        if stage == "answer sit, seed 0":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(RECIPE, out=str(tmp_path), say=kill)
    stages = []
    again = run_experiment(RECIPE, out=str(tmp_path), say=lambda stage, at: stages.append(stage))
    assert again.results.lines == done.results.lines
    assert not {"train it, seed 0", "answer it, seed 0", "train sit, seed 0"} & {*stages}
    assert "train it, seed 1" in stages


def test_a_look_ahead_says_what_is_then_done_and_writes_nothing(done, tmp_path):
    found = look_ahead(plan_experiment(RECIPE, out=str(tmp_path / "run")))
    taken = [
        (one.arm, one.seed, Size(one.rows, one.unused, one.tokens, one.steps))
        for one in done.results.taken
        if not one.after
    ]
    assert [(one.arm, one.seed, one.size) for one in found if one.size] == taken
    assert not any(one.trained or one.tested for one in found)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("match", ["rows", "steps"])
def test_arms_of_unlike_sets_are_made_equal(tmp_path, match):
    rows = list(read(str(SEED_ROWS), limit=16))
    write(rows, tmp_path / "all.jsonl")
    write(rows[:7], tmp_path / "few.jsonl")
    arms = {"all": {"dataset": str(tmp_path / "all.jsonl")}, "few": {"dataset": str(tmp_path / "few.jsonl")}}
    done = run_experiment(recipe(match=match, arms=arms, seeds=[0]), out=str(tmp_path / "run"))
    one, other = (getattr(taken, match) for taken in done.results.taken)
    assert one == other > 1
    assert not any("not equal" in note for note in done.results.notes)


def test_rows_may_be_built_anew_for_each_seed(tmp_path):
    done = run_experiment(recipe(**ARMS | {"seeds": [0, 1]}, build_each_seed=True), out=str(tmp_path / "run"))
    built = [(done.out / f"build/it/seed-{seed}/examples.jsonl").read_bytes() for seed in (0, 1)]
    assert built[0] != built[1]


def test_an_arm_after_an_adapter_trains_that_adapter_on_beside_the_same_base(done, tmp_path):
    pytest.importorskip("peft")
    base = str(done.out / "train/it/seed-0/model")
    arms = {"sit": {}, "dpo": RECIPE["experiment"]["arms"]["dpo"], "more": {"after": "sit"}}
    train = {"model": base, "method": "lora", "lora": {"r": 2}}
    run = run_experiment({**recipe(match="rows", arms=arms, seeds=[0]), "train": train}, out=str(tmp_path))
    assert {one.arm: one.after for one in run.results.taken} == {"sit": "", "dpo": "sit", "more": "sit"}
    adapters = [tmp_path / "train" / arm / "seed-0/model" for arm in arms]
    configs = [json.loads((folder / "adapter_config.json").read_text()) for folder in adapters]
    assert {(one["base_model_name_or_path"], one["r"]) for one in configs} == {(base, 2)}
    weights = [load_file(folder / "adapter_model.safetensors") for folder in adapters]
    assert weights[0].keys() == weights[1].keys() == weights[2].keys()
    for further in weights[1:]:
        moved = [float((further[name] - weights[0][name]).abs().max()) for name in further]
        assert 0 < max(moved) < 0.05


def test_one_seed_is_said_to_tell_nothing_of_another(tmp_path):
    done = run_experiment(recipe(**ARMS), out=str(tmp_path / "run"))
    assert any("One seed" in note for note in done.results.notes)


def test_the_command_shows_the_table_and_looks_ahead(tmp_path, monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["seqtune", "experiment", "small-experiment", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    options = ["--from", SEED_ROWS, "--out", tmp_path / "run", "--seed", 0, "--set", "evaluate.max_new_tokens=4"]
    options += ["--set", "train.max_tokens=400"]
    ahead = json.loads(call(*options, "--dry-run", "--json"))
    assert [(one["arm"], one["seed"], one["trained"]) for one in ahead] == [("it", 0, False), ("sit", 0, False)]
    assert "would go to" in call(*options, "--dry-run")
    said = call(*options, "--quiet")
    assert "minus it (95 %)" in said
    assert "results.md" in said
