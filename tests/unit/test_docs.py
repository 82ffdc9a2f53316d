"""The pages say what the code says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from seqtune.building.engine import plan
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.scoring import score_suite
from seqtune.evaluation.suite import open_suite
from seqtune.experiment.run import plan_experiment

DOCS = Path(__file__).parents[2] / "docs"
ROOT = DOCS.parent
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "bench" / "README.md", *sorted(DOCS.rglob("*.md"))]
RECIPES = [
    pytest.param(block, id=f"{page.name}-{i}")
    for page in PAGES
    for i, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
]


def test_the_reference_is_the_one_that_make_docs_writes():
    code = "import make_reference; print(make_reference.reference(), end='')"
    written = subprocess.run([sys.executable, "-c", code], cwd=DOCS, capture_output=True, text=True, check=True).stdout
    assert (DOCS / "reference.md").read_text("utf-8") == written, "run 'make docs'"


def test_the_suite_that_the_page_on_evaluation_shows_is_scored_as_it_says():
    [block] = re.findall(r"```python\n(.*?)```", (DOCS / "evaluation.md").read_text("utf-8"), re.DOTALL)
    exec(compile(block, "evaluation.md", "exec"), {})
    suite = open_suite("capitals")
    answers = {suite.items[0].id: Answer(suite.items[0].id, "a model", "It is Paris.")}
    assert [one.measures for one in score_suite(suite, answers)] == [{"named": 1.0}]


@pytest.mark.parametrize("block", RECIPES)
def test_a_recipe_that_a_page_shows_is_one_that_is_taken(block, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(block, "utf-8")
    assert (plan_experiment if "\nexperiment:\n" in block else plan)(path)


def test_there_are_recipes_of_both_kinds_to_look_at():
    assert {"\nexperiment:\n" in recipe.values[0] for recipe in RECIPES} == {True, False}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_only_to_what_is_there(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
