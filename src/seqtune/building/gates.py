"""The gates of Seq-Instruct: functions that say why what a teacher made of a row must not pass.

A gate is one short decorated function from a Draft to a reason, or None. Your own stands beside the shipped ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, overload

import msgspec

from seqtune.building import material
from seqtune.building.draft import Draft
from seqtune.building.idleness import asks_user, is_idle
from seqtune.building.language import is_sign, language, words
from seqtune.building.tells import declines, names_language, prompt_piece, rewrite_talk
from seqtune.data.example import Step
from seqtune.errors import RecipeError, did_you_mean, shorten

On = Literal["instruction", "answer"]


class Refusal(msgspec.Struct, frozen=True):
    """Why a draft must not pass.

    Args:
        reason: worded the same for every row that the gate refuses for this; it is counted.
        detail: what exactly is wrong with this one, e.g. "the number 37"; the teacher is told when asked again.
    """

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


Look = Callable[[Draft], "Refusal | str | None"]


@dataclass(frozen=True)
class Gate:
    """What `@gate` makes of a function.

    Args:
        name: the function's name.
        on: what it looks at: the new instruction, or the answer to it.
        run: the function: draft -> a Refusal (or its reason alone), or None to let it pass.
        survival: it looks only for what is lost, so it lets pass what holds the old instruction word for word.
        summary: the first line of its docstring.
    """

    name: str
    on: On
    run: Look
    summary: str
    survival: bool


_gates: dict[str, Gate] = {}


@overload
def gate(run: Look, /) -> Look: ...


@overload
def gate(*, on: On = "instruction", survival: bool = False) -> Callable[[Look], Look]: ...


def gate(
    run: Look | None = None, /, *, on: On = "instruction", survival: bool = False
) -> Look | Callable[[Look], Look]:
    """Register a function as a gate, by its name; the function itself stays callable as it was.

    Args:
        on: "instruction" to look at it before the teacher is asked for the answer, which saves the call; or "answer".
        survival: it need not look at a new instruction that holds the old one word for word.

    Raises:
        RecipeError: another module's gate has the name.
    """

    def register(run: Look) -> Look:
        name = run.__name__
        known = _gates.get(name)
        if known and known.run.__module__ != run.__module__:
            raise RecipeError(
                f"gate {name!r} is already defined in {known.run.__module__}", fix="give the function another name"
            )
        _gates[name] = Gate(name, on, run, (run.__doc__ or name.replace("_", " ")).strip().splitlines()[0], survival)
        return run

    return register if run is None else register(run)


def gates() -> Mapping[str, Gate]:
    """All gates by name, in the order in which they look: the shipped ones, then your own."""
    return _gates


def refused_by(draft: Draft, on: On, names: Collection[str] | None = None) -> tuple[str, Refusal] | None:
    """The first gate that refuses the draft, and why; None where it passes.

    Args:
        on: which of the gates to ask.
        names: only these of them; all where None.

    Raises:
        RecipeError: no gate has one of the names.
    """
    for name in names or ():
        if name not in _gates:
            raise RecipeError(
                f"no gate is called {name!r}{did_you_mean(name, _gates)}", fix=f"one of {', '.join(_gates)}"
            )
    whole = draft.row.instruction in draft.instruction
    for found in _gates.values():
        if found.on != on or (names is not None and found.name not in names) or (whole and found.survival):
            continue
        if (refusal := found.run(draft)) is not None:
            return found.name, Refusal(refusal) if isinstance(refusal, str) else refusal
    return None


# What the teacher may have written instead of a rewrite or an answer.


@gate
def no_refusal(draft: Draft) -> Refusal | None:
    """The teacher rewrote the instruction, and did not decline to."""
    before = draft.row.instruction
    if declines(draft.instruction, before) and not declines(before, ""):
        return Refusal("the teacher declined to rewrite", shorten(draft.instruction))
    return None


@gate
def no_leaked_prompt(draft: Draft) -> Refusal | None:
    """The instruction holds nothing of the prompt that the teacher was given, and no talk about the rewriting."""
    if talk := rewrite_talk(draft.instruction, draft.row.instruction):
        return Refusal("the instruction talks about its own rewriting", repr(shorten(talk)))
    return None


# A step was really added.


@gate
def instruction_changed(draft: Draft) -> Refusal | None:
    """The instruction differs from the one before by more than case, blanks and punctuation."""
    before, now = draft.row.instruction, draft.instruction
    same = words(now) == words(before) if words(now) else now.strip() == before.strip()
    return Refusal("the instruction is the same as before") if same and draft.choice != "keep" else None


@gate
def step_added(draft: Draft) -> Refusal | None:
    """There are more steps than before."""
    before, now = max(1, len(draft.row.steps)), len(draft.steps)
    if draft.choice == "keep" or now > before:
        return None
    return Refusal("no step was added", f"{now} now, {before} before")


@gate
def steps_differ(draft: Draft) -> Refusal | None:
    """No two steps are the same."""
    seen: set[tuple[str, ...]] = set()
    for step in draft.steps:
        key = words(step.text) or (step.text.strip(),)
        if key in seen:
            return Refusal("two steps are the same", repr(shorten(step.text)))
        seen.add(key)
    return None


_FOUND_SHARE = 0.5  # of a step's words; teachers shorten and inflect when they list steps
_STEM = 5  # letters: "summarise" and "summary", "listing" and "lists"


@gate
def steps_asked(draft: Draft) -> Refusal | None:
    """Every step is one that the instruction asks for."""
    asked = _stems(words(draft.instruction)) | _stems(words(draft.row.input))
    for step in draft.steps:
        own = _stems(words(step.text))
        if len(own & asked) < _FOUND_SHARE * len(own):
            return Refusal("a step is listed that the instruction does not ask for", repr(shorten(step.text)))
    return None


def _stems(found: Iterable[str]) -> set[str]:
    return {word[:_STEM] for word in found if word not in _SMALL_WORDS}


_SMALL_WORDS = frozenset(
    words("a an the of and to in for on with by from that this it its is are be as or their them then first")
)


# The added step has an answer of its own.


@gate
def step_has_answer(draft: Draft) -> Refusal | None:
    """An added step leaves something to write down; "read", "understand", "consider" do not."""
    for step in _added(draft):
        if is_idle(step.text):
            return Refusal("an added step has no answer of its own", repr(shorten(step.text)))
    return None


@gate
def step_is_for_the_model(draft: Draft) -> Refusal | None:
    """An added step asks for something a model can answer, and not the user back: "What is your budget?"."""
    before = draft.row.instruction.lower()
    for step in _added(draft):
        if asks_user(step.text) and step.text.strip().lower() not in before:
            return Refusal("an added step asks the user back", repr(shorten(step.text)))
    return None


def _added(draft: Draft) -> Iterator[Step]:
    earlier = {step.text for step in draft.row.steps}
    return (step for step in draft.steps if step.kind != "seed" and step.text not in earlier)


# Everything that must survive survived.


@gate(survival=True)
def numbers_survive(draft: Draft) -> Refusal | None:
    """Every number of the instruction is still there, in figures or spelt."""
    before = material.numbers(draft.row.instruction)
    if not before:
        return None
    now = material.numbers_in_any_form(draft.instruction)
    missing = [written for value, written in before.items() if value not in now]
    return Refusal("a number is missing", f"the number {', '.join(missing[:3])}") if missing else None


@gate(survival=True)
def quotations_survive(draft: Draft) -> Refusal | None:
    """Every quotation of the instruction is still there, word for word."""
    return _missing_words(draft, material.quotations(draft.row.instruction), "a quotation is missing")


@gate(survival=True)
def options_survive(draft: Draft) -> Refusal | None:
    """Every option or item of a list is still there, word for word."""
    return _missing_words(draft, material.options(draft.row.instruction), "an option or item of a list is missing")


@gate(survival=True)
def table_survives(draft: Draft) -> Refusal | None:
    """Every row of a table is still there."""
    return _missing_words(draft, material.table_rows(draft.row.instruction), "a row of a table is missing")


@gate(survival=True)
def code_survives(draft: Draft) -> Refusal | None:
    """All code is still there, sign for sign but for blanks."""
    return _missing_text(draft, material.code(draft.row.instruction), "code is missing")


@gate(survival=True)
def links_survive(draft: Draft) -> Refusal | None:
    """Every web or mail address is still there."""
    return _missing_text(draft, material.links(draft.row.instruction), "a link is missing")


@gate(survival=True)
def blanks_survive(draft: Draft) -> Refusal | None:
    """The places to be filled in are still there."""
    if material.blanks(draft.row.instruction) > material.blanks(draft.instruction):
        return Refusal("a blank to be filled in is missing")
    return None


_LONG = 30  # words: a shorter instruction may be put in other words
_KEPT_SHARE = 0.6  # of the longer words of a line that is to be worked on
_KEPT_OVERALL, _KEPT_OF_ONE_LINE = 0.3, 0.15  # of a long instruction's, which may be mostly talk


@gate(survival=True)
def text_survives(draft: Draft) -> Refusal | None:
    """A text that the instruction brings along (a passage, data, a hypothesis) is still there."""
    before = draft.row.instruction
    passages = material.passages(before)
    if not passages and len(words(before)) < _LONG:
        return None
    now = _long_stems(draft.instruction)
    lost = [passage for passage in passages if _lost(passage, now) > 1 - _KEPT_SHARE]
    only_opening = len(passages) > 1 and lost == passages[:1] and before.lstrip().startswith(lost[0].lstrip())
    if lost and not only_opening:  # what opens a text with others below it is mostly an introduction to them
        return Refusal("a text to work on is missing", repr(shorten(lost[0])))
    least = _KEPT_OVERALL if "\n" in before.strip() else _KEPT_OF_ONE_LINE
    if len(words(before)) >= _LONG and _lost(before, now) > 1 - least:
        return Refusal("most of the instruction is missing", repr(shorten(before)))
    return None


def _lost(text: str, now: frozenset[str]) -> float:
    own = _long_stems(text)
    return len(own - now) / len(own) if own else 0.0


@lru_cache(maxsize=64)  # several gates ask for the same few texts
def _long_stems(text: str) -> frozenset[str]:
    return frozenset([word[:_STEM] for word in words(text) if len(word) > 3 or is_sign(word)])


_LEAST_KNOWN, _SHARED = 4, 1 / 8  # longer words of the instruction; the share of them that a rewrite always keeps


@gate(survival=True)
def subject_kept(draft: Draft) -> Refusal | None:
    """The instruction is still about the same thing; teachers now and then hand back an example of their prompt."""
    own = _long_stems(draft.row.instruction)
    kept = own & _long_stems(draft.instruction)
    if len(own) < _LEAST_KNOWN or len(kept) > _SHARED * len(own):
        return None
    return Refusal("the instruction is about something else", f"{len(kept)} of its {len(own)} longer words are kept")


def _missing_words(draft: Draft, pieces: Sequence[str], reason: str) -> Refusal | None:
    now = _spaced(draft.instruction) if pieces else ""
    missing = [piece for piece in pieces if _spaced(piece) not in now]
    return Refusal(reason, repr(shorten(missing[0]))) if missing else None


def _spaced(text: str) -> str:
    """The words with a blank around each; an apostrophe parts words, as some teachers glue it to the wrong one."""
    parted = material.plain(text).replace("'", " ")
    return f" {' '.join(words(parted))} "


def _missing_text(draft: Draft, pieces: Sequence[str], reason: str) -> Refusal | None:
    now = _squeezed(draft.instruction) if pieces else ""
    missing = [piece for piece in pieces if _squeezed(piece) not in now]
    return Refusal(reason, repr(shorten(missing[0]))) if missing else None


def _squeezed(text: str) -> str:
    return "".join(material.plain(text).split())


# The input stands below the instruction, and must not stand in it too.

_COPIED_SHARE = 0.6  # of a long input's runs of words
_RUN = 5  # words
_SHORT_INPUT = 8  # words: an instruction may well name what it is about


@gate
def input_not_repeated(draft: Draft) -> Refusal | None:
    """The input is not copied into the instruction."""
    given = words(draft.row.input)
    if len(given) < _SHORT_INPUT:
        return None
    copied = _copied(given, words(draft.instruction))
    if copied < _COPIED_SHARE or _copied(given, words(draft.row.instruction)) >= _COPIED_SHARE:
        return None
    return Refusal("the input is put into the instruction a second time", f"{copied:.0%} of it")


def _copied(given: Sequence[str], text: Sequence[str]) -> float:
    """The share of the given words' runs that the text holds."""
    runs = _word_runs(given, _RUN)
    return len(runs & _word_runs(text, _RUN)) / len(runs) if runs else 0.0


def _word_runs(text: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {*zip(*(text[start:] for start in range(n)), strict=False)}


# Length and language.

_LONGEST, _MOST_TIMES, _MOST_MORE = 700, 4, 60  # words; times the original's and as many more
_LEAST_SHARE = {"decompose": 0.4, "before": 0.6, "after": 0.6, "keep": 0.6}  # of the original's words


@gate
def instruction_length(draft: Draft) -> Refusal | None:
    """The instruction grew, within bounds."""
    before, now = len(words(draft.row.instruction)), len(words(draft.instruction))
    if now < _LEAST_SHARE[draft.choice] * before or not draft.instruction.strip():
        return Refusal("the instruction is much shorter than before", f"{now} words, {before} before")
    if now > max(_LONGEST, before) or now > _MOST_TIMES * before + _MOST_MORE:
        return Refusal("the instruction is much longer than before", f"{now} words, {before} before")
    return None


@gate
def language_kept(draft: Draft) -> Refusal | None:
    """The instruction is still in its own language, where both are clear."""
    before = language(draft.row.instruction)
    now = language(draft.instruction) if before else None
    if now in (None, before) or names_language(draft.row.instruction):  # "translate from ...": it holds two
        return None
    return Refusal("the instruction changed language", f"{before} before, {now} now")


# The answer.


@gate(on="answer")
def answer_given(draft: Draft) -> Refusal | None:
    """There is an answer."""
    return None if draft.output.strip() else Refusal("the answer is empty")


@gate(on="answer")
def no_refused_answer(draft: Draft) -> Refusal | None:
    """The teacher answered, and did not decline to."""
    return (
        Refusal("the teacher declined to answer", shorten(draft.output))
        if declines(draft.output, draft.instruction)
        else None
    )


@gate(on="answer")
def no_leaked_prompt_in_answer(draft: Draft) -> Refusal | None:
    """The answer holds nothing of a prompt or a chat template."""
    if piece := prompt_piece(draft.output, f"{draft.instruction}\n{draft.row.input}"):
        return Refusal("the answer holds a piece of a prompt", repr(shorten(piece)))
    return None


@gate(on="answer")
def answer_is_no_copy(draft: Draft) -> Refusal | None:
    """The answer is not just the instruction or the input again."""
    given, asked, answer = draft.row.input.strip(), draft.instruction.strip(), draft.output.strip()
    if answer and answer in (given, asked, f"{asked}\n{given}", f"{asked}\n\n{given}", draft.row.instruction.strip()):
        return Refusal("the answer only repeats what was given")
    return None


_OFTEN, _LOOP_SHARE = 4, 0.5  # times; of all lines and sentences
_LOOP_WORDS, _NEW_RUNS = 100, 0.25  # words from which runs are counted; the share of them that must be new
_CHUNK = re.compile(r"[\n.!?。！？；;]+")


@gate(on="answer")
def answer_does_not_loop(draft: Draft) -> Refusal | None:
    """The answer does not say the same again and again."""
    chunks = [chunk for chunk in map(words, _CHUNK.split(draft.output)) if len(chunk) >= 4]
    common = Counter(chunks).most_common(1)
    if common and common[0][1] >= max(_OFTEN, _LOOP_SHARE * len(chunks)):
        return Refusal("the answer says the same again and again", repr(shorten(" ".join(common[0][0]))))
    found = words(draft.output)
    if len(found) >= _LOOP_WORDS and len(_word_runs(found, 6)) < _NEW_RUNS * len(found):
        return Refusal("the answer says the same again and again")
    return None


_OPEN_END = re.compile(r"(?:[,(\[{]|\b(?:and|or|the|of|to|a|an|with|for|in|because|such as))\s*$")
_LONG_ANSWER = 30  # words: a short answer may end as it likes


@gate(on="answer")
def answer_ends(draft: Draft) -> Refusal | None:
    """The answer does not break off."""
    if draft.output.count("```") % 2:
        return Refusal("the answer breaks off", "in a block of code")
    cut = _OPEN_END.search(draft.output[-40:])
    if cut and len(words(draft.output)) >= _LONG_ANSWER:
        return Refusal("the answer breaks off", f"after {shorten(draft.output[-40:])!r}")
    return None


_LONGEST_ANSWER = 4000  # words


@gate(on="answer")
def answer_length(draft: Draft) -> Refusal | None:
    """The answer has a word for each step at least, and is no book."""
    count = max(len(draft.output.split()), len(words(draft.output)))
    if count > _LONGEST_ANSWER:
        return Refusal("the answer is too long", f"{count} words")
    return Refusal("the answer is shorter than its steps", f"{count} words") if 0 < count < len(draft.steps) else None


@gate(on="answer")
def answer_language(draft: Draft) -> Refusal | None:
    """The answer is in the instruction's language or its input's, unless another is asked for."""
    asked = language(draft.instruction)
    answered = language(draft.output) if asked else None
    if answered in (None, asked, language(draft.row.input)):
        return None
    if names_language(f"{draft.row.system}\n{draft.instruction}"):
        return None
    return Refusal("the answer is in another language", f"asked in {asked}, answered in {answered}")
