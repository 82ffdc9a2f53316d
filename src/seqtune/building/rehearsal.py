"""A stand-in teacher: replies in the prompts' forms, no model. For trying out, for tests, and for counting beforehand.

What it chooses has the paper's shares (its recorded Alpaca rounds 1 and 2). A few of its replies are bad in the ways of
real teachers: idle tasks, lost numbers, prose around the JSON, steps left out. It draws from the hash of the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from seqtune.building.draft import CHOICES, Choice
from seqtune.building.prompting import find_prompt, prompt_names
from seqtune.errors import DataError
from seqtune.llm.mock import Rule, answer_by_hash
from seqtune.llm.request import Request, body_of

# decompose, before, after, keep (shares of the original: first round, and second round)
SHARES = {"first": (0.25, 0.51, 0.07, 0.17), "later": (0.30, 0.04, 0.03, 0.63)}
LETTERS = dict(zip(CHOICES, "ABCD", strict=True))
IDLE_RATE, LOSING_RATE, CHATTY_RATE, MISSED_RATE = 0.03, 0.02, 0.04, 0.03

BEFORE = (
    "List three facts that matter for the task",
    "Name the two most important words of the task",
    "Write one sentence that says what a good result looks like",
    "Draw up a plan in three points",
    "Give a definition of the main term",
    "Translate the most important word into French",
)
AFTER = (
    "Sum up your result in one sentence",
    "Give your result a title of at most six words",
    "Count the words of your result",
    "Translate the first sentence of your result into Spanish",
    "Name one objection to your result",
)
IDLE = ("Read the text carefully", "Understand what is asked for", "Consider the task")

_NUMBER = re.compile(r"\d+")


def answer(asked: dict[str, Any]) -> str:
    """A reply to a request of the build, in the form that its prompt asks for; a few words to any other request."""
    said = first_text(asked)
    name = prompt_name(said)
    if name not in _ACTS:
        return answer_by_hash(asked)
    rng = Random(msgspec.json.encode([asked["messages"], asked["model"]]))
    return _ACTS[name](said, rng, len(asked["messages"]) > 1)


def rehearse(request: Request) -> str:
    """The stand-in as a teacher without a server: `--llm scripted:seqtune.building.rehearsal:rehearse`."""
    return answer(msgspec.json.decode(body_of(request)))


def first_text(asked: dict[str, Any]) -> str:
    """The first message of the user: later ones only complain."""
    content = next((m["content"] for m in asked["messages"] if m["role"] == "user"), "")
    return content if isinstance(content, str) else ""


def prompt_name(text: str) -> str:
    """Which of the shipped prompts a text was made with; "" for none."""
    return next((name for name, opening in _openings().items() if text.startswith(opening)), "")


@cache
def _openings() -> dict[str, str]:
    prompts = [find_prompt(name) for name in prompt_names()]
    shown = {prompt.name: prompt.head or prompt.opening for prompt in prompts}
    return {name: opening[:200] for name, opening in shown.items() if opening}


def tagged(text: str, name: str) -> str:
    """The text in the last tags of that name, "" where there are none."""
    found = re.findall(rf"^<({name}(?:-\d+)?)>\n(.*?)\n</\1>$", text, re.S | re.M)
    return found[-1][1] if found else ""


def _row_part(text: str, name: str) -> str:
    """What follows the examples: only there does the input belong to the row."""
    return text[text.rfind(f"<{name}") :]


def _grow(text: str, rng: Random, again: bool) -> str:
    instruction, tasks = tagged(text, "instruction"), _tasks(_row_part(text, "instruction"))
    choice = _drawn("later" if tasks else "first", rng)
    if choice == "keep":
        return json.dumps({"choice": "keep", "steps": [], "instruction": ""})
    steps, grown = _grown(instruction, tasks or [_as_step(instruction)], choice, rng, again)
    reply = json.dumps({"choice": choice, "steps": steps, "instruction": grown}, ensure_ascii=False)
    return f"Here is my suggestion.\n```json\n{reply}\n```" if rng.random() < CHATTY_RATE else reply


def _grown(instruction: str, tasks: Sequence[str], choice: Choice, rng: Random, again: bool) -> tuple[list[str], str]:
    idle = rng.random() < IDLE_RATE and not again
    fresh = [task for task in (AFTER if choice == "after" else BEFORE) if f"{task}." not in tasks]
    added = rng.choice(IDLE if idle else fresh)
    if choice == "after":
        steps, grown = [*tasks, f"{added}."], f"{instruction}\n\nAfter that, {added[0].lower()}{added[1:]}."
    else:
        steps, grown = [f"{added}.", *tasks], f"First {added[0].lower()}{added[1:]}. Then: {instruction}"
    if rng.random() < LOSING_RATE and not again:
        grown = _NUMBER.sub("some", grown)
    return steps, grown


def _as_step(instruction: str) -> str:
    line = instruction.strip().partition("\n")[0]
    return line if len(line) < 160 else f"{line[:160].rpartition(' ')[0]} ..."


def _tasks(text: str) -> list[str]:
    return re.findall(r"^\d+\. (.*)$", tagged(text, "tasks"), re.M)


def _drawn(round_: str, rng: Random) -> Choice:
    return rng.choices(CHOICES, SHARES[round_])[0]


def _classify(text: str, rng: Random, again: bool) -> str:
    later = tagged(text, "instruction").startswith("First ") or "\n\nAfter that, " in tagged(text, "instruction")
    letter = LETTERS[_drawn("later" if later else "first", rng)]
    return f"This is the change that suits the instruction best, as far as I can tell.\nOption: {letter}"


def _rewrite(choice: Choice) -> Callable[[str, Random, bool], str]:
    def act(text: str, rng: Random, again: bool) -> str:
        instruction = tagged(text, "instruction")
        _, grown = _grown(instruction, [_as_step(instruction)], choice, rng, again)
        return f"The added task has a result of its own.\nNew instruction: {grown}###"

    return act


def _extract(text: str, rng: Random, again: bool) -> str:
    instruction, _, input = tagged(text, "prompt").partition("\n")
    return json.dumps({"instruction": instruction.strip(), "input": input.strip()}, ensure_ascii=False)


def _judge(text: str, rng: Random, again: bool) -> str:
    """Quotes a piece of the answer for each task, in order; now and then it finds that one was not done."""
    listed, _, found = text.partition("The tasks:\n")[2].partition("\n\nThe request that they stand in:\n")
    tasks = listed.splitlines()
    words = found.rpartition("\n\nThe answer:\n")[2].partition("\n")[2].rpartition("\n")[0].split()
    size = max(1, len(words) // max(len(tasks), 1))
    missed = rng.randrange(len(tasks)) if tasks and rng.random() < MISSED_RATE else -1
    steps = []
    for i in range(len(tasks)):
        quote = "" if i == missed else " ".join(words[i * size : (i + 1) * size] or words[-1:])
        steps.append({"step": i + 1, "quote": quote, "done": bool(quote)})
    return json.dumps({"steps": steps}, ensure_ascii=False)


def _paraphrase(text: str, rng: Random, again: bool) -> str:
    return f"In other words: {tagged(text, 'text')}"


def _summarise(text: str, rng: Random, again: bool) -> str:
    return f"In short: {' '.join(tagged(text, 'text').split()[:12])}"


def _keywords(text: str, rng: Random, again: bool) -> str:
    words = dict.fromkeys(re.findall(r"\w+", tagged(text, "text")))
    return ", ".join(sorted(words, key=len, reverse=True)[:4])


def _translate(text: str, rng: Random, again: bool) -> str:
    return " ".join(word[::-1] for word in tagged(text, "text").split())


_ACTS: dict[str, Callable[[str, Random, bool], str]] = {
    "grow": _grow,
    "classify": _classify,
    "decompose": _rewrite("decompose"),
    "before": _rewrite("before"),
    "after": _rewrite("after"),
    "refine": lambda text, rng, again: "Yes, nothing is missing.",
    "extract": _extract,
    "judge": _judge,
    "paraphrase": _paraphrase,
    "summarise": _summarise,
    "keywords": _keywords,
    "translate": _translate,
}


class _Recorded(msgspec.Struct):
    """What a real teacher said about one row, stage by stage."""

    instruction: str
    classify_reply: str
    input: str = ""
    rewrite_reply: str = ""
    responded_to: str = ""
    response: str = ""


def recorded(path: Path) -> Rule:
    """A rule that answers with a real teacher's recorded replies of the paper's stages, and else as the stand-in does.

    Args:
        path: JSON lines with `instruction`, `input`, `classify_reply`, `rewrite_reply`, and `response` to
            `responded_to`.

    Raises:
        DataError: the file cannot be read, or a line is none of these.
    """
    try:
        rows = msgspec.json.Decoder(_Recorded).decode_lines(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"not the recorded replies of a teacher: {error}", where=str(path)) from None
    by_row = {(row.instruction.strip(), row.input.strip()): row for row in rows}
    responses = {row.responded_to.strip(): row.response for row in rows if row.response}

    def rule(asked: dict[str, Any]) -> str | None:
        text = first_text(asked)
        name = prompt_name(text)
        part = _row_part(text, "instruction") if name else ""
        row = by_row.get((tagged(part, "instruction").strip(), tagged(part, "input").strip()))
        if row and name == "classify":
            return row.classify_reply
        if row and name in CHOICES and row.rewrite_reply:
            return row.rewrite_reply
        return (responses.get(text.strip()) if not name else None) or answer(asked)

    return rule
