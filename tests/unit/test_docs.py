"""The reference page says what the code says."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_is_the_one_that_make_docs_writes():
    code = "import make_reference; print(make_reference.reference(), end='')"
    written = subprocess.run([sys.executable, "-c", code], cwd=DOCS, capture_output=True, text=True, check=True).stdout
    assert (DOCS / "reference.md").read_text("utf-8") == written, "run 'make docs'"
