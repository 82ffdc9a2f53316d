"""Our suites as tasks of lm-evaluation-harness: `lm_eval run --include_path` takes this folder.

A task file names a suite; items, prompt and scores are the suite's own. Where its data lie is said by
`--metadata '{"data": "FOLDER"}'`, without which they come from the hub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from seqtune.data.example import Example, prompt_text
from seqtune.evaluation.figures import is_of_figure
from seqtune.evaluation.scoring import Scored, find_scorer, said
from seqtune.evaluation.suite import open_suite

if TYPE_CHECKING:
    from datasets import Dataset

Doc = Mapping[str, Any]


def docs(suite: str, data: str = "", **_: object) -> dict[str, Dataset]:
    """The items of a suite, as the harness keeps them (`custom_dataset` of a task file).

    Args:
        suite: its name and part, e.g. "xquad:zh".
        data: where its data lie, or a folder with such a folder under the suite's name; "" for the hub.
        _: what the harness gives besides, e.g. the model's name.
    """
    from datasets import Dataset

    own = Path(data) / suite.partition(":")[0]
    made = open_suite(suite, data=own if data and own.is_dir() else data or None)
    rows = [{"item": msgspec.json.encode(item).decode(), "scorer": made.scorer} for item in made.items]
    return {"test": Dataset.from_list(rows)}


def prompt(doc: Doc) -> str:
    """What the model is asked (`doc_to_text`)."""
    return prompt_text(_item(doc))


def target(doc: Doc) -> str:
    """The right answer, for reading (`doc_to_target`)."""
    return _item(doc).output


def score(doc: Doc, results: Sequence[str]) -> dict[str, float]:
    """The suite's own measures of an answer (`process_results`); what could not be told is nan."""
    item = _item(doc)
    found = find_scorer(doc["scorer"])(item, said(results[0] or ""))
    scored = Scored(item.id, "", found.measures, found.steps)
    told = {name: value for name, value in found.measures.items() if is_of_figure(name, scored, len(item.steps))}
    return {name: nan if value is None else value for name, value in told.items()}


def _item(doc: Doc) -> Example:
    return msgspec.json.decode(doc["item"], type=Example)
