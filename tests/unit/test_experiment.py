"""An experiment's recipe is refused with all its mistakes at once, and its intervals say what a reader may believe."""

import json
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.errors import RecipeError, RunFolderError
from seqtune.experiment.results import Taken, _notes
from seqtune.experiment.run import plan_experiment
from seqtune.experiment.spread import spread
from seqtune.experiment.trials import Trial, is_made, once
from seqtune.recipe import read_recipe, shipped_recipes

BUILD = {"from": "rows.jsonl", "chains": ["repeat"]}
ARMS = {"it": {"take": "control"}, "sit": {}}


def recipe(**sections):
    experiment = {"out": "runs/x", "arms": ARMS, **sections.pop("experiment", {})}
    return {"build": BUILD, "experiment": experiment, **sections}


def refused(made):
    with pytest.raises(RecipeError) as error:
        plan_experiment(made)
    return str(error.value)


# --- the recipe


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if "experiment" in name])
def test_every_shipped_experiment_matches_it_and_sit(name):
    assert plan_experiment(name).matched == ["it", "sit"]


def test_arms_share_the_sections_and_say_only_what_differs():
    arms = {
        **ARMS,
        "short": {"build": {"limit": 10}},
        "other": {"dataset": "own.jsonl", "train": {"learning_rate": 0.1}},
    }
    found = plan_experiment(recipe(train={"warmup": 0.1}, experiment={"arms": arms}))
    assert found.builds["it"] == found.builds["sit"] == BUILD
    assert found.builds["short"] == {**BUILD, "limit": 10}
    assert "other" not in found.builds
    assert found.trains["other"] == {"warmup": 0.1, "learning_rate": 0.1}
    assert found.settings.seeds == [0, 1, 2]


def test_options_go_over_the_recipe_and_sets_over_these():
    found = plan_experiment(
        recipe(), from_="other.jsonl", model="m", out="o", sets=["experiment.out=p", "train.epochs=4"]
    )
    assert found.builds["sit"]["from"] == "other.jsonl"
    assert found.trains["it"] == {"model": "m", "epochs": 4}
    assert str(found.out) == "p"


def test_every_mistake_is_told_at_once_with_its_line_and_the_nearest_name(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """build:
  from: rows.jsonl
  chains: [repaet]
train:
  lerning_rate: 1
  seed: 4
evaluate:
  per_lenght: 3
experiment:
  out: runs/x
  match: row
  arms:
    it: {take: contrl}
    sit:
      datset: rows.jsonl
      train: {epochs: 3}
    more:
      after: sitt
"""
    )
    said = refused(path)
    for line, text in {
        3: "no chain or operation is called 'repaet'",
        5: "unknown key 'lerning_rate' in train; did you mean 'learning_rate'?",
        6: "train.seed: give experiment.seeds",
        8: "unknown key 'per_lenght' in evaluate; did you mean 'per_length'?",
        11: "experiment.match",
        13: "experiment.arms.it.take = contrl",
        15: "unknown key 'datset' in experiment.arms.sit; did you mean 'dataset'?",
        16: "experiment.arms.sit.train.epochs: arms are matched in how long they train",
        18: "no arm before this one is called 'sitt'; did you mean 'sit'?",
    }.items():
        assert f"recipe.yaml:{line}: {text}" in said, said


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"experiment": {"seeds": [1, 1]}}, "a seed stands there twice"),
        ({"experiment": {"arms": {}}}, "experiment.arms"),
        ({"experiment": {"arms": {"a/b": {}}}}, "experiment.arms"),
        ({"experiment": {"arms": {"a": {"dataset": "x", "take": "control"}}}}, "is of a build"),
        ({"experiment": {"arms": {"a": {"dataset": "x", "build": {"seed": 1}}}}}, "not from both"),
        ({"experiment": {"arms": {"a": {}, "b": {"after": "a", "train": {"model": "m"}}}}}, "it goes on from 'a'"),
        ({"experiment": {"arms": {"b": {"after": "a"}, "a": {}}}}, "no arm before this one is called 'a'"),
        ({"train": {"max_tokens": 9}}, "drop one"),
        ({"train": {"out": "x"}}, "the experiment sets it itself"),
        ({"evaluate": {"model": "x"}}, "the experiment sets it itself"),
        ({"evaluate": {"options": {"wording": "both"}}}, "no option 'wording'; did you mean 'wordings'?"),
        ({"evaluate": {"options": {"wordings": "all"}}}, "suite 'chains': options.wordings = all"),
        ({"build": {**BUILD, "control": "none"}}, "needs a build whose control is not none"),
        ({"train": {"method": "dpo"}}, "made from scratch"),
        ({"train": [1]}, "train is a mapping, this is [1]"),
    ],
)
def test_what_does_not_go_together_is_refused(sections, said):
    assert said in refused(recipe(**sections))


def test_an_arm_that_goes_on_says_itself_how_long():
    arms = {**ARMS, "dpo": {"after": "sit", "dataset": "x.jsonl", "train": {"method": "dpo", "damages": ["drop_step"]}}}
    found = plan_experiment(recipe(train={"epochs": 3, "warmup": 0.1}, experiment={"arms": arms}))
    assert found.trains["dpo"] == {"warmup": 0.1, "method": "dpo", "damages": ["drop_step"]}
    assert found.matched == ["it", "sit"]


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("method", ["dpo", "grpo", "lora", "full"])
def test_an_arm_goes_on_from_an_adapter_merged_or_not_and_takes_its_shape_from_there(method, merge):
    arms = {**ARMS, "more": {"after": "sit", "train": {"method": method}}}
    lora = {"model": "m", "method": "lora", "lora": {"r": 4}, "merge": merge}
    found = plan_experiment(recipe(train=lora, experiment={"arms": arms}))
    own = {"lora": {"r": 4}, "merge": merge} if method == "lora" else {}
    assert found.trains["more"] == {"method": method, **own}


def test_the_fingerprint_is_of_the_recipe_wherever_it_writes():
    one, other = (plan_experiment(recipe(), out=out).fingerprint for out in ("a", "b"))
    assert one == other != plan_experiment(recipe(), out="a", match="steps").fingerprint


def test_other_seeds_go_on_in_the_same_folder():
    assert plan_experiment(recipe()).fingerprint == plan_experiment(recipe(), seeds=[0, 1, 2, 3]).fingerprint


# --- arms of other methods

PREFERRING = {"method": "dpo", "damages": ["drop_step"]}
OF_ANSWERS = {"learning_rate": 0.003, "batch_tokens": 64, "packing": True, "rows_per_step": 8, "epochs": 3}


@given(st.sets(st.sampled_from([*OF_ANSWERS])))
def test_an_arm_of_preference_takes_over_nothing_that_is_of_answers(names):
    shared = {name: OF_ANSWERS[name] for name in names}
    arms = {**ARMS, "dpo": {"after": "sit", "train": PREFERRING}}
    found = plan_experiment(recipe(train={**shared, "warmup": 0.2}, experiment={"arms": arms}))
    assert found.trains["dpo"] == {**PREFERRING, "warmup": 0.2}
    assert found.trains["sit"] == {**shared, "warmup": 0.2}


@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_the_papers_experiment_takes_an_arm_of_preference(method, tmp_path):
    document = read_recipe("paper-experiment").values
    document["experiment"]["arms"]["more"] = {"after": "sit", "train": {"method": method}}
    train = plan_experiment(document).trains["more"]
    assert train["template"] == "tulu"
    assert not {"learning_rate", "batch_tokens", "rows_per_step", "epochs"} & {*train}


def test_adapters_and_whole_weights_share_all_but_their_rate():
    arms = {"full": {}, "lora": {"train": {"method": "lora"}}, "qlora": {"train": {"method": "qlora"}}}
    shared = {"model": "m", "learning_rate": 0.1, "rows_per_step": 8, "lora": {"r": 4}}
    found = plan_experiment(recipe(train=shared, experiment={"arms": arms})).trains
    assert found["full"] == shared
    for name in ("lora", "qlora"):
        assert found[name] == {"model": "m", "rows_per_step": 8, "lora": {"r": 4}, "method": name}


@pytest.mark.parametrize("match", ["tokens", "steps"])
@pytest.mark.parametrize("at", ["shared", "arm"])
def test_how_long_preference_takes_is_matched_in_rows_alone(match, at):
    arms = {"it": {"take": "control"}, "dpo": {"train": PREFERRING if at == "arm" else {}}}
    shared = {"model": "m", **(PREFERRING if at == "shared" else {})}
    made = recipe(train=shared, experiment={"match": match, "arms": arms})
    assert f"how long method dpo trains is not matched in {match}: give 'match: rows'" in refused(made)
    made["experiment"]["match"] = "rows"
    assert plan_experiment(made).matched == ["it", "dpo"]


def test_an_unknown_match_is_the_only_problem_of_it():
    said = refused(recipe(train={"max_tokens": 9}, experiment={"match": "token"}))
    assert said.startswith("1 problem in the recipe:\n  the recipe: experiment.match = token")


def test_what_is_wrong_with_an_arms_own_chains_stands_at_the_arm(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """build:
  from: rows.jsonl
  chains:
    - chain: repeat
experiment:
  out: runs/x
  arms:
    it: {}
    sit:
      build:
        chains:
          - repaet
"""
    )
    assert "recipe.yaml:12: no chain or operation is called 'repaet'" in refused(path)


# --- intervals


def answers(shares, items=100, seed=0):
    rng = Random(seed)
    return [{str(i): float(rng.random() < share) for i in range(items)} for share in shares]


shares = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@given(shares, st.integers(1, 30))
def test_a_mean_lies_in_its_interval_and_the_interval_among_what_can_be(made, items):
    found = spread(answers(made, items))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert len(found.seeds) == len(made)
    assert found.value == pytest.approx(fmean(found.seeds))


def test_seeds_that_disagree_widen_the_interval_and_seeds_that_agree_do_not_make_items_more():
    alike, unlike = spread(answers([0.5] * 3, 1000)), spread(answers([0.2, 0.5, 0.8], 1000))
    assert unlike.high - unlike.low > 5 * (alike.high - alike.low)
    same = answers([0.5])
    assert spread(same * 3).low == pytest.approx(spread(same).low)


def test_all_right_is_not_certain():
    assert 0.9 < spread(answers([1.0] * 3)).low < 0.99


def test_more_seeds_and_more_items_tell_more():
    def width(half, items):
        found = spread(answers([0.4, 0.6] * half, items))
        return found.high - found.low

    widths = [width(1, 50), width(2, 50), width(2, 900)]
    assert widths == sorted(widths, reverse=True)


def test_what_could_not_be_told_is_left_out_and_of_nothing_everything_is_possible():
    assert spread([{"a": 1.0, "b": None}]).value == 1.0
    nothing = spread([{"a": None}])
    assert (nothing.value, nothing.low, nothing.high) == (None, 0.0, 1.0)


def test_differences_and_quality_have_ends_of_their_own():
    change = spread([{"a": -1.0, "b": -1.0}], difference=True)
    assert -1 <= change.low <= change.value <= change.high <= 1
    quality = spread([{"a": 5.0, "b": 4.0}, {"a": 4.0, "b": 4.0}], name="quality")
    assert 1 <= quality.low < 4.25 < quality.high <= 5


def test_the_interval_holds_the_truth_at_least_as_often_as_it_says():
    rng, held = Random(1), 0
    for _ in range(200):
        seeds = [min(1.0, max(0.0, 0.7 + rng.gauss(0, 0.05))) for _ in range(3)]
        found = spread(answers(seeds, 100, rng.random()))
        held += found.low <= 0.7 <= found.high
    assert held >= 186


# --- what a table tells of its trainings


def told(match, *taken):
    return "\n".join(_notes((0, 1), match, [Taken(*one, cpu_s=1.0) for one in taken]))


def test_what_an_arm_took_besides_is_told_over_all_seeds():
    sit = [("sit", seed, "", 10, 0, 500, 100, 5) for seed in (0, 1)]
    dpo = [("dpo", seed, "sit", 10, 0, tokens, 100, 5) for seed, tokens in ((0, 1200), (1, 900))]
    assert "dpo goes on from sit, so it was trained on 900 to 1,200 tokens more" in told("tokens", *sit, *dpo)
    assert "trained on 900 tokens more" in told("tokens", *sit, ("dpo", 0, "sit", 10, 0, 900, 100, 5))


def test_rows_that_were_left_out_are_told_by_arm():
    arms = [("it", 0, "", 10, 0, 9, 9, 9), ("sit", 0, "", 7, 3, 9, 9, 9), ("sit", 1, "", 8, 2, 9, 9, 9)]
    said = told("tokens", *arms)
    assert "it 0 of 10, sit 2 to 3 of 10." in said
    assert "left out" not in told("tokens", arms[0], ("it", 1, *arms[0][2:]))


# --- runs that are done once


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_a_training_is_known_by_what_its_model_is_not_by_where_it_stands(tmp_path_factory, one, other):
    def key(weights, name):
        folder = tmp_path_factory.mktemp("models") / name
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(weights)
        return Trial("a", 0, "rows", folder, folder, {}, model=str(folder)).training_key

    assert (key(one, "x") == key(other, "y")) == (one == other)


def test_a_model_that_changed_in_its_place_is_another(tmp_path):
    trial = Trial("a", 0, "rows", tmp_path, tmp_path, {}, model=str(tmp_path))
    keys = []
    for weights in (b"one", b"other"):
        (tmp_path / "model.safetensors").write_bytes(weights)
        keys.append(trial.training_key)
    assert keys[0] != keys[1]


def finished(folder, runs):
    def make():
        runs.append(1)
        (folder / "run.json").write_text(json.dumps({"command": "x", "finished": True}))

    return make


@pytest.mark.parametrize("name", ["data", "checklist", "judge_check", "suite"])
def test_an_evaluation_is_known_by_what_its_files_hold_not_by_where_they_lie(tmp_path, name):
    def key(place, text):
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        file = folder / ("judge-check.json" if name == "judge_check" else "file")
        file.write_text(text)
        given = str(folder if name in ("data", "judge_check") else file)
        return Trial("a", 0, "rows", tmp_path, tmp_path, {}, evaluate={name: given}).evaluation_key

    before = key("here", "one")
    assert before != key("here", "another")
    assert before == key("here", "one")
    assert (before == key("there", "one")) == (name != "suite"), "metrics.json bears the name of a suite of rows"


def test_a_tokenizer_in_the_working_folder_is_none_of_a_training_that_names_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trial = Trial("a", 0, "rows", tmp_path, tmp_path, {})
    before = trial.training_key
    (tmp_path / "tokenizer.json").write_text("{}")
    assert trial.training_key == before
    (tmp_path / "own").mkdir()
    own = Trial("a", 0, "rows", tmp_path, tmp_path, {"tokenizer": str(tmp_path / "own")})
    keys = [before, own.training_key]
    (tmp_path / "own" / "tokenizer.json").write_text("{}")
    assert len({*keys, own.training_key}) == 3


def test_a_finished_run_of_the_same_is_not_done_again_and_one_of_something_else_is_moved_aside_and_told(tmp_path):
    runs, folder = [], tmp_path / "run"
    for key in ("a", "a", "b"):
        once(folder, key, finished(folder, runs))
        assert is_made(folder, key)
    assert len(runs) == 2
    (folder / "answers.jsonl").touch()
    told = []
    once(folder, "a", finished(folder, runs), told.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.old", "run.old1"]
    assert (tmp_path / "run.old1" / "answers.jsonl").exists()
    assert not (folder / "answers.jsonl").exists()
    [moved] = told
    assert "the old one is now run.old1" in moved


def test_a_half_run_of_the_same_keeps_what_it_has(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        once(folder, "a", interrupted(folder))
    assert not is_made(folder, "a")
    once(folder, "a", finished(folder, []))
    assert (folder / "half").exists()


def interrupted(folder):
    def make():
        (folder / "half").touch()
        raise KeyboardInterrupt

    return make


def test_what_no_experiment_made_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunFolderError, match="no experiment made"):
        once(tmp_path, "a", finished(tmp_path, []))
    assert (tmp_path / "mine.txt").exists()
