"""The pages say what the code says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from seqtune.evaluation.answers import Answer
from seqtune.evaluation.scoring import score_suite
from seqtune.evaluation.suite import open_suite

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_only_to_what_is_there(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
