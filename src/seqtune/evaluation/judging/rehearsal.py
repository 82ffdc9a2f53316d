"""Stand-ins for a judge: one by simple rules, and bad ones to try the readers on. No model.

`seqtune mock-server --rule seqtune.evaluation.judging.rehearsal:answer` serves the first and, for all other requests,
the stand-in teacher; `always_yes`, `echo`, `some_junk` and `all_junk` in its place are the bad ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from random import Random
from typing import Any

import msgspec

from seqtune.building import rehearsal
from seqtune.building.idleness import is_idle
from seqtune.building.prompting import find_prompt, prompt_names
from seqtune.building.rehearsal import first_text
from seqtune.building.tasks import bare_task, split_tasks
from seqtune.evaluation.judging.asking import PROMPTS
from seqtune.llm.mock import WORDS, Rule
from seqtune.llm.request import Request, body_of

INVENTED = "as the answer plainly shows in its own words"
NEAR = 0.1  # shares of two answers that differ by less count as equal

_FENCE = re.compile(r"^The request:\n(?P<mark>----- [0-9a-f]{12} -----)\n", re.M)
_CODE = re.compile(r"(?:the code|a string that holds) (?P<code>[0-9a-f]{12})\b")
_WORD = re.compile(r"[^\W\d_]{4,}|\d+")


class Asked(msgspec.Struct, frozen=True):
    """What stands in one of the judge's prompts.

    Args:
        form: the prompt's name.
        request: what the judged model was asked.
        answers: one, or two side by side, or none.
        tasks: as listed.
        code: what the verdict must bear, "" for nothing.
    """

    form: str
    request: str
    answers: tuple[str, ...]
    tasks: tuple[str, ...]
    code: str


def read_prompt(text: str) -> Asked | None:
    """What stands in a judge's prompt; None for any other text."""
    form = next((name for name, head in _heads().items() if text.startswith(head)), "")
    fence = _FENCE.search(text) if form else None
    if not fence:
        return None
    # No text within the fences holds their mark.
    _, request, between, *rest = text[fence.start() :].split(fence["mark"])
    tasks = re.findall(r"^\d+\. (.*)$", between.partition("The tasks:\n")[2], re.M)
    code = _CODE.search(rest[-1] if rest else between)
    return Asked(
        form, request[1:-1], tuple(one[1:-1] for one in rest[:-1:2]), tuple(tasks), code["code"] if code else ""
    )


@cache
def _heads() -> dict[str, str]:
    return {name: find_prompt(name, PROMPTS).head for name in prompt_names(PROMPTS)}


def answer(asked: dict[str, Any]) -> str:
    """A judge by rule: a step is done where a line of the answer holds one of its words and says more than that."""
    found = read_prompt(first_text(asked))
    return _by_rule(found) if found else rehearsal.answer(asked)


def rehearse(request: Request) -> str:
    """The judge by rule without a server: `scripted:seqtune.evaluation.judging.rehearsal:rehearse`."""
    return answer(msgspec.json.decode(body_of(request)))


def always_yes(asked: dict[str, Any]) -> str:
    """A judge that finds everything done and very good, the first answer better, and invents its quotes."""
    found = read_prompt(first_text(asked))
    if not found or found.form == "checklist":
        return answer(asked)
    if found.form == "verdicts":
        return _verdicts(found, [(True, INVENTED)] * len(found.tasks))
    return _mark(found, {"original": "Yes, 5", "quality": "5", "pairwise": "A"}[found.form])


def quoting_yes(asked: dict[str, Any]) -> str:
    """A judge that finds everything done, and quotes whatever stands in the answer."""
    found = read_prompt(first_text(asked))
    if not found or found.form != "verdicts":
        return always_yes(asked)
    return _verdicts(found, [(True, found.answers[0])] * len(found.tasks))


def echo(asked: dict[str, Any]) -> str:
    """A judge that replies with the answer that it is shown, or with "?" where there is nothing in it."""
    found = read_prompt(first_text(asked))
    if not found or not found.answers:
        return answer(asked)
    return found.answers[0].strip() or "?"


def junk(rate: float) -> Rule:
    """The judge by rule, which talks nonsense of some questions, however often it is asked.

    Args:
        rate: share of the questions, 0 to 1.
    """

    def rule(asked: dict[str, Any]) -> str:
        text = first_text(asked)
        rng = Random(text)
        if read_prompt(text) and rng.random() < rate:
            return " ".join(rng.choices(WORDS, k=12))
        return answer(asked)

    return rule


some_junk = junk(0.2)
all_junk = junk(1.0)


def _by_rule(found: Asked) -> str:
    if found.form == "checklist":
        return _checklist(found)
    if found.form == "verdicts":
        return _verdicts(found, [_judged(task, found.answers[0]) for task in found.tasks])
    shares = [_share(found.request, text) for text in found.answers]
    if found.form == "pairwise":
        gap = shares[0] - shares[1]
        return _mark(found, "tie" if abs(gap) < NEAR else "A" if gap > 0 else "B")
    score = 1 + round(4 * shares[0])
    done = all(_judged(task, found.answers[0])[0] for task in split_tasks(found.request))
    return _mark(found, f"{'Yes' if done else 'No'}, {score}" if found.form == "original" else str(score))


def _judged(task: str, text: str) -> tuple[bool, str]:
    """Whether a line of the text has to do with the task and says more, and that line."""
    wanted = _bag(task)
    lines = [line for line in text.splitlines() if _bag(line) & wanted and _bag(line) - wanted]
    best = max(lines, key=lambda line: len(_bag(line) & wanted), default="")
    return bool(best), best.strip()


def _share(request: str, text: str) -> float:
    wanted = _bag(request)
    return len(wanted & _bag(text)) / len(wanted) if wanted else 0.0


@lru_cache(maxsize=4096)  # a line of an answer is held against each task
def _bag(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _verdicts(found: Asked, said: Sequence[tuple[bool, str]]) -> str:
    steps = [{"step": i, "quote": quote, "done": done} for i, (done, quote) in enumerate(said, 1)]
    return _json(found, {"steps": steps})


def _checklist(found: Asked) -> str:
    texts = [bare_task(task) for task in split_tasks(found.request)]
    tasks = [
        {
            "task": text,
            "after": [place] if place else [],
            "can": not is_idle(text),
            "reason": "leaves no result" if is_idle(text) else "",
        }
        for place, text in enumerate(texts)
    ]
    return _json(found, {"tasks": tasks})


def _json(found: Asked, value: dict[str, Any]) -> str:
    return json.dumps({"code": found.code, **value} if found.code else value, ensure_ascii=False)


def _mark(found: Asked, inner: str) -> str:
    return f"[[{found.code}, {inner}]]" if found.code else f"[[{inner}]]"
