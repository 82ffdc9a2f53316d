"""The original form: one call, whose reply [[Yes, 5]] says whether all tasks were attempted and how good it is.

After SeqEval of arXiv 2403.07794, in our own words. A judge that is talked into it by the answer cannot be helped here
(that is what checklists with quotes are for), but one that merely repeats the answer is never read.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from seqtune.building.parsing import after_thinking
from seqtune.building.prompting import render
from seqtune.data.example import Example, prompt_text
from seqtune.evaluation.judging.asking import PROMPTS, Judge, NotRead, ask_until_read, fence, sendable
from seqtune.evaluation.judging.echoes import says_something, without_echoes
from seqtune.evaluation.judging.identity import judge_id, key_of
from seqtune.evaluation.judging.marks import code_for, read_marks
from seqtune.evaluation.scoring import Scored

FOLLOWING, QUALITY = "following", "quality"
MAX_TOKENS = 1024

_SAID = r"(yes|no)\s{0,4},\s{0,4}([1-4](?:\.\d{1,2})?|5(?:\.0{1,2})?)(?![\d.]*\d)"
_POSES = r"(?:yes|no)\s{0,4},\s{0,4}\d"  # what a piece of a text needs to be read as a mark
# The recorded judge was led to begin with the brackets and often left out a pair; a single bracket was no verdict to
# the original's reader, nor is it here: a judge that writes so is asked again.
_BARE = re.compile(rf"(?:\[\[)?\s{{0,4}}{_SAID}\s{{0,4}}(?:\]\])?", re.I)


class Original(NamedTuple):
    """What a reply in the original form says; both None where it does not say, or says two things."""

    followed: bool | None
    quality: float | None


def read_original(reply: str, bound: str = "") -> Original:
    """Whether all tasks were followed, and the quality of 1 to 5.

    Args:
        reply: holds one mark [[Yes, 5]], or is one that lacks brackets. Several marks that differ say nothing.
        bound: the code that the mark must bear, [[code, Yes, 5]], "" for none.
    """
    marks = read_marks(reply, _SAID, bound)
    bare = None if bound else _BARE.fullmatch(after_thinking(reply))
    if not marks and bare:
        marks = {(bare[1].lower(), bare[2])}
    if len(marks) != 1:
        return Original(None, None)
    [(said, quality)] = marks
    return Original(said == "yes", float(quality))


def original_prompt(item: Example, answer_text: str) -> tuple[str, str]:
    """The question, and the code that the reply's mark must bear: "" unless the texts could be read as a mark."""
    request, answer = sendable(prompt_text(item)), sendable(answer_text)
    bound = code_for(_POSES, [request, answer])
    mark = fence(request, answer)
    return render("original", package=PROMPTS, request=request, answer=answer, mark=mark, code=bound), bound


async def judge_original(item: Example, answer_text: str, ask: Judge, *, max_tokens: int = MAX_TOKENS) -> Scored:
    """What a judge says of an answer in the original form: `following` 0 or 1, `quality` 1 to 5.

    An answer that says nothing of substance (empty, a copy of the request, nothing but a verdict on itself or a
    refusal) follows nothing; no judge is asked. The paper asked its judge of every answer.

    Args:
        item: what was asked.
        answer_text: any text.
        ask: the judge.
        max_tokens: of its reply.

    Raises:
        TeacherError: this judge can never answer.
    """
    judge = judge_id("original", ask.model)
    spoken = says_something(without_echoes(answer_text, item))
    found = await _asked(item, answer_text, ask, max_tokens) if spoken else Original(False, 1.0)
    key, unscored = key_of(item, answer_text, judge), found.reason if isinstance(found, NotRead) else ""
    said = Original(None, None) if isinstance(found, NotRead) else found
    following = None if said.followed is None else float(said.followed)
    return Scored(item.id, key, {FOLLOWING: following, QUALITY: said.quality}, judge=judge, unscored=unscored)


async def _asked(item: Example, answer_text: str, ask: Judge, max_tokens: int) -> Original | NotRead:
    prompt, bound = original_prompt(item, answer_text)

    def read(reply: str) -> Original | NotRead:
        found = read_original(reply, bound)
        return NotRead("it does not hold one verdict in the form asked for") if found.followed is None else found

    return await ask_until_read(ask, prompt, read, max_tokens=max_tokens)
