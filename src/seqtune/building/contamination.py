"""Overlap with evaluation sets: rows that hold a prompt which a model will later be tested on.

The usual rule: any shared run of n words, case and punctuation left aside (Brown et al. 2020, appendix C, with n = 13
for web pages; prompts are shorter), and the whole prompt where it has fewer words than that.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from xxhash import xxh3_64_intdigest

from seqtune.building.language import is_sign, words
from seqtune.data.example import Example, prompt_text
from seqtune.data.failure import Failure
from seqtune.data.reader import read

Overlap = Callable[[Example], "str | None"]


def load_overlap(files: Sequence[str], n: int = 8) -> Overlap:
    """A function that names the evaluation set a row overlaps with, or says None; 9 bytes a word of the sets are kept.

    Args:
        files: evaluation sets, in any form that `read` takes; each is named by its folder and file: "gsm8k/test".
        n: length of a shared run, in words; two signs of Chinese, Japanese or Thai count as one word.

    Raises:
        DataError: a file cannot be read.
    """
    names = ["/".join(Path(file).parts[-2:]).split(".")[0] for file in files]
    runs: dict[int, int] = {}
    for number, file in enumerate(files):
        for example in read(file, on_failure=_leave_out):
            for run in _hashes(prompt_text(example), n):
                runs.setdefault(run, number)
    known = array("Q", sorted(runs))
    owners = array("H", (runs[run] for run in known))

    def overlap(row: Example) -> str | None:
        for run in _hashes(prompt_text(row), n):
            at = bisect_left(known, run)
            if at < len(known) and known[at] == run:
                return names[owners[at]]
        return None

    return overlap


def _leave_out(failure: Failure) -> None:
    """A row of the set that cannot be read (an empty prompt, mostly) is one that nothing can overlap with."""


def _hashes(text: str, n: int) -> Iterator[int]:
    for run in _runs(words(text), n):
        yield xxh3_64_intdigest(" ".join(run).encode("utf-8", "surrogatepass"))


def _runs(found: Sequence[str], n: int) -> Iterator[Sequence[str]]:
    """Every run of n words, two signs counting as one; the whole where it is shorter."""
    halves = [1 if is_sign(word) else 2 for word in found]
    if sum(halves) < 2 * n:
        yield from [found] if found else []
        return
    end = held = 0
    for start, half in enumerate(halves):
        while held < 2 * n and end < len(halves):
            held += halves[end]
            end += 1
        if held < 2 * n:
            return
        yield found[start:end]
        held -= half
