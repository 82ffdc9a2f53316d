"""LLMBar: pairs of answers of which people say that one follows its request and the other does not.

Zeng et al. 2024, "Evaluating Large Language Models at Evaluating Instruction Following". Its file is never bundled: the
folder comes from the user. In `Natural` the better answer mostly looks better too; in the others the worse one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from seqtune.data.example import Example
from seqtune.errors import DataError
from seqtune.evaluation.judging.pairwise import PairVerdict
from seqtune.evaluation.statistics.measure import Measure, share

SUBSETS = ("Natural", "Neighbor", "GPTInst", "GPTOut", "Manual")
EASY = "Natural"
FILE = "dataset.json"


class Pair(NamedTuple):
    """A request with two answers.

    Args:
        subset: of LLMBar.
        item: the request.
        right, wrong: the answer that follows it, and the one that does not.
    """

    subset: str
    item: Example
    right: str
    wrong: str


class _Row(msgspec.Struct):
    input: str
    output_1: str
    output_2: str
    label: Literal[1, 2]


def read_pairs(folder: str | Path, limit: int | None = None) -> tuple[Pair, ...]:
    """The pairs of a folder that holds a folder with dataset.json for each subset.

    Args:
        folder: where the subsets lie.
        limit: the most pairs of each subset.

    Raises:
        DataError: no subset is there, or a file is none of LLMBar's.
    """
    files = [(name, Path(folder) / name / FILE) for name in SUBSETS]
    found = [(name, path) for name, path in files if path.is_file()]
    if not found:
        fix = f"give the folder that holds {', '.join(SUBSETS)}, each with its {FILE}"
        raise DataError("holds no subset of LLMBar", where=str(folder), fix=fix)
    return tuple([pair for name, path in found for pair in _read(name, path)[:limit]])


def _read(subset: str, path: Path) -> list[Pair]:
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[_Row])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fix = "take the file as LLMBar publishes it"
        raise DataError(f"no list of LLMBar's pairs: {error}", where=str(path), fix=fix) from None
    return [_pair(subset, place, row) for place, row in enumerate(rows, 1)]


def _pair(subset: str, place: int, row: _Row) -> Pair:
    right, wrong = (row.output_1, row.output_2) if row.label == 1 else (row.output_2, row.output_1)
    return Pair(subset, Example(row.input, meta={"id": f"llmbar/{subset}/{place}"}), right, wrong)


# --- figures: a pair is a trial, and one of whose two orders either could not be read is unscored --------------------


def accuracy(verdicts: Sequence[PairVerdict]) -> Measure:
    """How often the right answer ("a") wins, over both orders; a tie is half right, as a coin would be."""
    return _share([(_half(one.a_first) + _half(one.b_first)) / 2 for one in _told(verdicts)], verdicts)


def stability(verdicts: Sequence[PairVerdict]) -> Measure:
    """How often the verdict is the same in both orders."""
    return _share([float(one.a_first == one.b_first) for one in _told(verdicts)], verdicts)


def first_preferred(verdicts: Sequence[PairVerdict]) -> Measure:
    """How much of the preference goes to the answer shown first: 50 % where the place does not matter."""
    return _share([(_half(one.a_first) + 1 - _half(one.b_first)) / 2 for one in _told(verdicts)], verdicts)


def _told(verdicts: Iterable[PairVerdict]) -> list[PairVerdict]:
    return [one for one in verdicts if one.a_first and one.b_first]


def _half(winner: str | None) -> float:
    return 0.5 if winner == "tie" else float(winner == "a")


def _share(values: Sequence[float], verdicts: Sequence[PairVerdict]) -> Measure:
    return share(sum(values), len(values), len(verdicts) - len(values))
