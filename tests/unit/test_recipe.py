"""A recipe is refused with every mistake at once, each with its line and the nearest known name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building.engine import plan
from seqtune.errors import RecipeError
from seqtune.evaluation.resolution import resolve
from seqtune.evaluation.settings import EvaluateSettings
from seqtune.experiment.run import plan_experiment
from seqtune.recipe import Document, put, read_recipe, section_options, shipped_recipes, write_recipe
from seqtune.training.settings import TrainSettings


def saved(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    return path


def problems(path, **options):
    with pytest.raises(RecipeError) as caught:
        plan(path, **options)
    return str(caught.value)


def train_problems(tmp_path, text):
    path = saved(tmp_path, f"train:\n  dataset: a\n  out: b\n{text}")
    with pytest.raises(RecipeError) as caught:
        section_options("train", TrainSettings, path, (), {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  method: lora\n  lora:\n    r: 0\n", "recipe.yaml:6: train.lora.r = 0"),
        (
            "  method: lora\n  lora:\n    r: 8\n    droput: 0.1\n",
            "recipe.yaml:7: unknown key 'droput' in train.lora; did you mean 'dropout'?",
        ),
        ("  method: lora\n  lora:\n    r: 8\n    target_modules: 3\n", "recipe.yaml:7: train.lora.target_modules = 3"),
        ("  lora: 3\n", "recipe.yaml:4: train.lora = 3"),
        ("  trl:\n    adam_beta9: 0.9\n", "recipe.yaml:5: train.trl.adam_beta9 = 0.9"),
        ("  droput: 1\n", "recipe.yaml:4: unknown key 'droput' in train"),
        ("  damages: drop_step\n", "recipe.yaml:4: train.damages = drop_step"),
    ],
)
def test_a_nested_key_is_named_whole_and_compared_with_its_neighbours(tmp_path, text, said):
    if "trl:" in text:
        pytest.importorskip("trl")
    found = train_problems(tmp_path, text)
    assert said in found
    assert "list[" not in found


def test_every_mistake_is_told_at_once_with_its_line(tmp_path):
    path = saved(
        tmp_path,
        "name: x\n"
        "biuld: {}\n"
        "build:\n"
        "  from: rows.jsonl\n"
        "  sead: 3\n"
        "  control: rowz\n"
        "  chains:\n"
        "    - chain: repaet\n"
        "    - chain: operations\n"
        "      stpes: 2\n"
        "    - chain: translate_query\n"
        "    - chain: tasks\n"
        "      steps: [repeat, count_wrods]\n",
    )
    text = problems(path)
    assert text.startswith("7 problems in the recipe:")
    assert f"{path}:2: unknown section 'biuld'; did you mean 'build'?" in text
    assert f"{path}:5: unknown key 'sead' in build; did you mean 'seed'?" in text
    assert f"{path}:6: build.control = rowz" in text
    assert f"{path}:8: no chain or operation is called 'repaet'; did you mean 'repeat'?" in text
    assert f"{path}:10: unknown key 'stpes' in build.chains.0" not in text
    assert f"{path}:10: unknown key 'stpes' in build.chains.1; did you mean 'steps'?" in text
    assert f"{path}:11: build.chains.2.parallel is missing" in text
    assert f"{path}:12: no operation is called 'count_wrods'; did you mean 'count_words'?" in text


@pytest.mark.parametrize("style", ["fused", "paper", "numbered"])
def test_a_chain_whose_answers_bear_no_marks_takes_no_style_and_names_its_procedure(tmp_path, style):
    text = (
        f"build:\n  from: a\n  llm: hf:x\n  chains:\n    - chain: seq_instruct\n      style: {style}\n      ruonds: 1\n"
    )
    said = problems(saved(tmp_path, text))
    assert f":6: style = {style}: the parts of its answers bear no marks" in said
    assert "'procedure: fused' or 'procedure: paper'" in said
    assert "did you mean 'rounds'?" in said
    good = text.replace("style: ", "procedure: ").replace("numbered", "paper").replace("ruonds", "rounds")
    [portion] = plan(saved(tmp_path, good)).mix.portions
    assert portion.options["procedure"] in ("fused", "paper")


@pytest.mark.parametrize(
    ("chains", "plain", "said"),
    [
        ("[{chain: repeat, share: 0.7}, {chain: operations, share: 0.5}]", "", "the shares add up to more than 1"),
        ("[{chain: repeat, share: 1}, operations]", "", "nothing is left for the chains without a share"),
        ("[{chain: repeat, share: 0.5}]", "plain: 0.2", "add up to 0.7, not 1"),
        ("[{chain: repeat, share: 1.5}]", "", "build.chains.0.share = 1.5"),
        ("[]", "", "build.chains = []"),
        ("[3]", "", "a chain is a name"),
    ],
)
def test_shares_must_make_sense(tmp_path, chains, plain, said):
    assert said in problems(saved(tmp_path, f"build:\n  from: a.jsonl\n  chains: {chains}\n  {plain}\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("build: [1]\n", "recipe.yaml:1: build is a mapping, this is [1]"),
        ("name: x\ntrain: foo\n", "recipe.yaml:2: train is a mapping, this is 'foo'"),
        ("evaluate: 0\n", "recipe.yaml:1: evaluate is a mapping, this is 0"),
    ],
)
def test_a_section_that_is_no_mapping_is_told_by_whoever_reads_it(tmp_path, text, said):
    path = saved(tmp_path, text)
    assert said in problems(path, limit=3)
    for section, model in (("train", TrainSettings), ("evaluate", EvaluateSettings)):
        with pytest.raises(RecipeError) as caught:
            section_options(section, model, path, (), {"out": "x"})
        assert said in str(caught.value)


def test_a_chain_is_a_name_wherever_it_is_said(tmp_path):
    path = saved(tmp_path, "build:\n  from: rows.json\n  chains: [repeat]\n")
    for sets in ((), ("build.chains=[repeat]",), ("build.chains.0=repeat",), ("build.chains.0.share=1",)):
        assert [portion.title for portion in plan(path, sets=sets).mix.portions] == ["repeat"]


def test_shares_that_are_not_given_divide_the_rest(tmp_path):
    text = "build:\n  from: a\n  chains: [{chain: repeat, share: 0.4}, operations, paraphrase]\n  plain: 0.2\n"
    shares = [choice.share for choice in plan(saved(tmp_path, text)).mix.portions]
    assert shares == pytest.approx([0.4, 0.2, 0.2])


def test_the_command_line_and_python_put_their_values_over_the_recipe(tmp_path):
    path = saved(tmp_path, "build:\n  from: a\n  seed: 1\n  chains: [repeat]\n")
    settings = plan(path, sets=("build.seed=7", "build.plain=0.25"), limit=5, from_="b").settings
    assert (settings.seed, settings.plain, settings.limit, settings.from_) == (7, 0.25, 5, "b")
    assert "--set build.seed=x: build.seed = x" in problems(path, sets=("build.seed=x",))
    assert "unknown key 'sed'" in problems(path, sets=("build.sed=x",))
    assert "not of the form key=value" in problems(path, sets=("build.seed",))


def test_yaml_is_read_as_version_1_2(tmp_path):
    document = read_recipe(saved(tmp_path, "name: no\nbuild: {from: on, chains: [yes]}\n"))
    assert document.values == {"name": "no", "build": {"from": "on", "chains": ["yes"]}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("build:\n  from: [a\n", "not valid YAML"),
        ("- a\n", "a recipe is a mapping"),
        ("a: 1\na: 2\n", "found duplicate key"),
        ("", "a recipe is a mapping"),
    ],
)
def test_a_broken_file_is_said_to_be_broken(tmp_path, text, said):
    assert said in problems(saved(tmp_path, text))


def test_a_missing_recipe_names_the_near_ones(tmp_path):
    saved(tmp_path, "name: x\n")
    with pytest.raises(RecipeError, match=r"did you mean '.*recipe\.yaml'"):
        read_recipe(tmp_path / "recipes.yaml")


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_section_of_every_shipped_recipe_is_valid_and_can_be_named(name):
    checked = {
        "build": lambda: plan(name, from_="rows.jsonl", parallel="rows.en.jsonl").mix.portions,
        "train": lambda: section_options("train", TrainSettings, name, (), {"dataset": "rows.jsonl", "out": "run"}),
        "evaluate": lambda: resolve(**evaluation(name)),
        "experiment": lambda: plan_experiment(name).matched,
    }
    sections = read_recipe(name).values.keys() - {"name"}
    assert sections
    assert all(checked[section]() for section in sections)


def evaluation(name):
    found = section_options("evaluate", EvaluateSettings, name, (), {"model": "m", "out": "run"})
    return {"suite": "chains", **{key: found.pop(key) for key in ("model", "out", "suite") if key in found}} | {
        "options": found
    }


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc: -#é\n", max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), values, max_size=4))
def test_a_written_recipe_reads_back_equal(tmp_path_factory, recipe):
    path = Path(tmp_path_factory.mktemp("recipes") / "recipe.yaml")
    write_recipe({"build": recipe}, path)
    assert read_recipe(path).values == {"build": recipe}


@given(st.text(max_size=30), values)
def test_set_never_fails_but_with_a_recipe_error(text, value):
    refused = ""
    try:
        given = put(Document({"build": {"a": [value]}}), [text]).given
    except RecipeError as error:
        given, refused = {}, str(error)
    assert f"--set {text}" in given.values() or refused.startswith("--set ")
