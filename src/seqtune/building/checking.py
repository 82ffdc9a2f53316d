"""What a program can say of an answer: which steps it does, and whether it does them in order."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

from msgspec import structs

from seqtune.building import style
from seqtune.building.gold import Skip, find_operation, same_text
from seqtune.building.language import function_words
from seqtune.data.example import Step, Verdict

_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)]|[Ss]tep \d{1,2}[.:])\s+")
# What is no result: "Reversed words:", "**Step 1:**", "1.", a heading, a fence; or all bold, which a result may be too.
_LABEL = re.compile(r"(?:[^\n]{0,200}[:：][*_`]{0,3}|#{1,6}\s[^\n]*|[-*•]|\(?\d{1,2}[.)]|`{3}\w*)")
_COUNT = re.compile(r"\d{1,2}\.")  # a label, or a number that is a result with a full stop after it
_BOLD = re.compile(r"(?:[-*•]\s+|\d{1,2}[.)]\s+)?\*\*[^*\n]+\*\*")
_ARROW = re.compile(r"\s*(?:->|=>|→|⇒)\s*")
_PAIRS = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "„": "“"}
# What an answer may go on with that nobody asked for: "Reversed words: ...", "3. ...", "**Step 3:** ...".
_EXTRA = re.compile(
    r"\s*\*{0,2}(?:\(?\d{1,2}[.)]|[Ss]tep \d{1,2}[.:]|[A-Z][\w'’-]{0,30}(?: [\w'’-]{1,30}){0,4}:)\*{0,2}(?:\s|$)"
)
GUESSES = 5  # values of one kind under one label, of which one may be the result
TALK = 20  # words around a result in the sentence that tells it
_DIGITS = re.compile(r"\d+")
_WORDS = re.compile(r"\d+(?:[.,]\d+)*|\w+")
_UP_TO_WORD = re.compile(r"\A\W*")
_AROUND = " .,;\"'“”‘’`*"  # what may stand around a result
_WITHIN = ".,'’-$€£%"  # and in any
_PROSE = re.compile(r"[^\n\d]{12,400}[.!?…。！？।)]\W*")
_MOST_CLOSINGS = 2  # paragraphs
_MOST_EXTRAS = 20  # lines that may begin one: a result that is a list has many


class Checked(NamedTuple):
    """One step of an answer.

    Args:
        done: None where no check can tell (which is never counted as not done).
        part: the step's part of the answer; None where it is missing, which is not done.
    """

    done: bool | None
    part: str | None


def check_steps(steps: Sequence[Step], answer: str, *, extras: bool = False) -> tuple[Checked, ...]:
    """Check an answer step by step. A part counts only after the part of the step before it, so order is checked too.

    Args:
        steps: with the marks that their parts stand behind.
        answer: the model's text, which may be anything.
        extras: whether the last part may be right before more parts that nobody asked for. Not where a model learns
            from it: it would learn to go on.
    """
    marks = [step.mark for step in steps]
    parts = style.split(answer, marks)
    if extras and any(marks) and parts[-1]:
        parts[-1] = _without_extras(steps[-1], parts[-1], marks)
    return tuple([Checked(is_done(step, part), part) for step, part in zip(steps, parts, strict=True)])


def _without_extras(step: Step, part: str, marks: Sequence[str]) -> str:
    """The part up to a line that begins another, where that alone is right; a step said again is no extra."""
    lines = part.splitlines()
    starts = [at for at, line in enumerate(lines) if at and _EXTRA.match(line) and not _begins(line, marks)]
    heads = ("\n".join(lines[:at]).strip() for at in starts[:_MOST_EXTRAS])
    again = any(_begins(line, marks) for line in lines)
    return part if again or is_done(step, part) else next((head for head in heads if is_done(step, head)), part)


def _begins(line: str, marks: Sequence[str]) -> bool:
    return line.strip().startswith(tuple([mark for mark in marks if mark]))


def check_lines(steps: Sequence[Step], answer: str) -> tuple[Checked, ...]:
    """Check an answer whose parts bear no marks, or others than the steps': by lines that hold the right results.

    A line counts, or what follows a number, a bullet, a colon, "is" or the last arrow in it, with or without quotation
    marks and a full stop, and only after the line of the step before. No line counts unless there are about as many as
    steps, or all is said twice: who writes all that could be right has given no answer. Not counted are empty lines,
    labels on a line of their own, an introduction and a closing line.

    Args:
        steps: with their right results; one that no program can check is not told.
        answer: the model's text, which may be anything.
    """
    return max(
        [_found_in(lines, steps) for lines in _readings(answer, len(steps))],
        key=lambda found: sum(one.done is True for one in found),
    )


def places_of_lines(steps: Sequence[Step], answer: str) -> list[int | None]:
    """Where a line holds each step's right result, wherever the others stand, as lines are read by `check_lines`.

    A line is one step's: that after the line of the step before, where several hold the same.
    """
    found = [_placed(lines, steps) for lines in _readings(answer, len(steps))]
    return max(found, key=_told_and_sorted)


def _told_and_sorted(places: Sequence[int | None]) -> tuple[int, bool]:
    told = [place for place in places if place is not None]
    return len(told), told == sorted(told)


def _placed(lines: Sequence[str], steps: Sequence[Step]) -> list[int | None]:
    places: list[int | None] = []
    for step in steps:
        free = [at for at, line in enumerate(lines) if at not in places and is_checkable(step) and _holds(line, step)]
        last = max([at for at in places if at is not None], default=-1)
        places.append(next((at for at in free if at > last), free[0] if free else None))
    return places


def _readings(answer: str, steps: int) -> list[list[str]]:
    """The lines of an answer that may hold results, in as many ways as they can be read."""
    bare = answer.strip()
    return [kept for text in dict.fromkeys([bare, _unquoted(bare)]) for kept in _lines_of(text, steps)]


def _lines_of(text: str, steps: int) -> list[list[str]]:
    whole = [line.strip() for line in text.splitlines()]
    with_counts = [line for line in whole if line and (_COUNT.fullmatch(line) or not _LABEL.fullmatch(line))]
    lines = [line for line in with_counts if not _COUNT.fullmatch(line)]
    without_bold = [line for line in lines if not _BOLD.fullmatch(line)]
    return [part for some in (lines, without_bold, with_counts) for part in _without_talk(some, steps)]


def _without_talk(lines: list[str], steps: int) -> list[list[str]]:
    """The lines without what is too many: one is an introduction or a closing line, two are both, of more none counts.

    Where all is said twice, with a line of talk at most, the last time counts.

    Returns:
        Lines, no more than there are steps, in as many ways as they can be read.
    """
    readings = {1: [lines[1:], lines[:-1]], 2: [lines[1:-1]]}
    last = [lines[-steps:]] if steps > 1 and len(lines) in (2 * steps, 2 * steps + 1) else []
    return [lines] if len(lines) <= steps else [*readings.get(len(lines) - steps, [[]]), *last]


def _found_in(lines: Sequence[str], steps: Sequence[Step]) -> tuple[Checked, ...]:
    found: list[Checked] = []
    at = 0
    for step in steps:
        place = next((i for i in range(at, len(lines)) if _holds(lines[i], step)), None) if is_checkable(step) else None
        found.append(
            Checked(place is not None if is_checkable(step) else None, None if place is None else lines[place])
        )
        at = at if place is None else place + 1
    return tuple(found)


def _holds(line: str, step: Step) -> bool:
    same, expected = find_operation(step.check).same, step.expected or ""
    bare = _LIST_MARK.sub("", line.replace("**", "").replace("`", "")).strip()
    whole = (line.strip(), bare, bare.partition(":")[2].strip(), bare.partition(" is ")[2], _ARROW.split(bare)[-1])
    return any(same(one, expected) for text in whole for one in (text, *_undressed(text)) if one)


def _undressed(text: str) -> tuple[str, ...]:
    """A text without one full stop at its end, without one pair of quotation marks around it, and without both."""
    unstopped = text.removesuffix(".")
    return unstopped, _unquoted(text), _unquoted(unstopped), _unquoted(text).removesuffix(".")


def _unquoted(text: str) -> str:
    return text[1:-1].strip() if len(text) > 2 and _PAIRS.get(text[0]) == text[-1] else text


def readings_of(steps: Sequence[Step], answer: str, given: str = "") -> Iterator[tuple[Sequence[Step], str]]:
    """An answer with its steps in the ways in which it may be read: as it is, `style.legible`, without closing words.

    Args:
        steps: with their right results, which are made legible too.
        answer: any text.
        given: the input, whose words a closing does not bear.
    """
    yield steps, answer
    clear = style.legible(answer).strip()
    plain = [structs.replace(step, expected=step.expected and style.legible(step.expected)) for step in steps]
    yield plain, clear
    words = _content_of(given, *[step.expected or "" for step in plain])
    for _ in range(_MOST_CLOSINGS):
        clear, _, last = clear.rpartition("\n\n")
        if not clear.strip() or not _is_closing(last.strip(), words, [step.mark for step in steps]):
            return
        clear = clear.strip()
        yield plain, clear


def _is_closing(text: str, words: Set[str], marks: Sequence[str]) -> bool:
    """Whether a paragraph is a sentence or two that tell nothing of what was to be worked on, nor any number."""
    said = _content_of(text)
    is_prose = _PROSE.fullmatch(text) and not _EXTRA.match(text) and not _begins(text, marks)
    return bool(is_prose) and len(said & words) * 4 < len(said)


def _content_of(*texts: str) -> set[str]:
    """The words of texts but the most frequent ones of languages, in lower case."""
    return {word for text in texts for word in _WORDS.findall(text.casefold())} - function_words().keys()


def is_done(step: Step, part: str | None) -> bool | None:
    """Whether a part of an answer is the step's right result; None for a step that no program can check."""
    if not is_checkable(step):
        return None
    return part is not None and find_operation(step.check).same(part, step.expected or "")


def is_checkable(step: Step) -> bool:
    """Whether a program knows the step's right result and how to compare with it."""
    return bool(step.check) and step.expected is not None


def share_in_order(steps: Sequence[Step], answer: str) -> float | None:
    """Share of the checkable steps that an answer does, each in its place; None where there are none.

    A step that no program can check counts only where nothing stands in its place: then it is not done. Else a model
    that is rewarded so would learn to leave it out. Steps after the row's own task work on its answer: where that is
    not checked, they are compared with what they make of the answer that stands there, not of the row's.
    """
    if not any(map(is_checkable, steps)):
        return None
    found = check_steps(_on_own_answer(steps, answer), answer)
    judged = [bool(done) for done, part in found if done is not None or not part]
    return sum(judged) / len(judged)


def _on_own_answer(steps: Sequence[Step], answer: str) -> list[Step]:
    """The steps with the results that those after an unchecked own task have on the answer to it."""
    own = next((i for i, step in enumerate(steps) if step.kind == "seed" and not is_checkable(step)), None)
    said = None if own is None else style.split(answer, [step.mark for step in steps])[own]
    if own is None or not said or same_text(said, steps[own].expected or ""):
        return list(steps)
    return [_redone(step, said) if step.kind == "after" and is_checkable(step) else step for step in steps]


def _redone(step: Step, text: str) -> Step:
    try:
        result = find_operation(step.check).run(text, **step.args)
    except (ArithmeticError, LookupError, ValueError):  # its arguments were drawn for another text
        return step
    return step if isinstance(result, Skip) else structs.replace(step, expected=result)


def find_result(step: Step, answer: str, *, given: str = "", steps: int = 1, quote: str = "") -> Verdict | None:
    """Whether the step's right result stands anywhere in an answer: for free text, whose parts have no marks.

    The whole answer counts, a line of it, what follows a mark or a colon in a line, or a block of lines that stands
    apart; order is not looked at. No line counts that stands in a copy of the whole input, nor one of many values of
    its kind under one label: who writes all that could be right has given no answer.

    Args:
        step: with its right result.
        answer: any text.
        given: the input; a copy of one line may be the result.
        steps: how many the answer is to do: so many values of a kind are never too many.
        quote: what of the answer shows by a judge's word that the step is done. In prose, where no line is a result,
            it is done if its result stands in those words.

    Returns:
        The verdict with its evidence; None for a step that no program can check.
    """
    if not is_checkable(step):
        return None
    same, expected = find_operation(step.check).same, step.expected or ""
    if same(answer, expected):
        return Verdict(True, answer.strip())
    is_copy = "\n" not in given.strip() or same(given, expected)
    lines = (answer if is_copy else answer.replace(given.strip(), "\n")).splitlines()
    said = [(label, value, line) for line in lines for label, value in _values_of(line)]
    said += [("", value, block) for block in _blocks_of(lines, expected) for value in _unmarked(block)]
    guesses: dict[str, set[str]] = defaultdict(set)
    for label, value, line in said:
        if _alike(value, expected):
            guesses[label].add(line if "\n" in line else value)  # a block is one guess, however it is read
    right = [(label, line) for label, value, line in said if same(value, expected)]
    for label, line in right:
        if len(guesses[label]) <= max(GUESSES, steps):
            return Verdict(True, line.strip())
    if not right and " ".join(quote.split()) in " ".join(answer.split()) and _stands_in(quote, step):
        return Verdict(True, quote)
    return Verdict(False, f"{'one of many that could be' if right else 'no line is'} {expected!r}")


def _values_of(line: str) -> list[tuple[str, str]]:
    """What a line may give as a result: all of it, and what follows its mark or colon; each with label and bullet."""
    label, _, value = line.partition(":")
    found = [("", line.strip()), (_DIGITS.sub("", label).strip().casefold(), value.strip())]
    if mark := _LIST_MARK.match(line):
        found.append((_DIGITS.sub("", mark[0]).strip(), line[mark.end() :].strip()))
    return [(label + _UP_TO_WORD.findall(value)[0], value) for label, value in found if value]


def _blocks_of(lines: Sequence[str], expected: str) -> list[str]:
    """All blocks of as many lines as the result has, of several, that stand apart from the lines around them."""
    count = len(expected.strip().splitlines())
    places = range(len(lines) - count + 1) if count > 1 else ()
    blocks = [(at, lines[at : at + count]) for at in places]
    return ["\n".join(block) for at, block in blocks if _stands_apart(lines[:at], lines[at + count :], block)]


def _stands_apart(before: Sequence[str], after: Sequence[str], block: Sequence[str]) -> bool:
    """Whether an empty line or a label is next to a block, or a line with a mark such as none within it has."""
    marked = any(map(_EXTRA.match, block[1:]))
    return all(
        not line.strip() or _LABEL.fullmatch(line.strip()) or (not marked and _EXTRA.match(line))
        for line in (*before[-1:], *after[:1])
    )


def _unmarked(block: str) -> tuple[str, ...]:
    """A block as it is, without the label or the mark of its first line, and without a bullet before each line."""
    first, _, rest = block.partition("\n")
    bare = "\n".join([_LIST_MARK.sub("", line) for line in block.splitlines()])
    return block, f"{first.partition(':')[2].strip()}\n{rest}", f"{_LIST_MARK.sub('', first)}\n{rest}", bare


def _stands_in(quote: str, step: Step) -> bool:
    """Whether the right result stands in a short quote as words of their own."""
    same, expected = find_operation(step.check).same, step.expected or ""
    words, wanted = quote.split(), " ".join(expected.split())
    count = len(wanted.split())
    spans = [" ".join(words[at : at + count]) for at in range(len(words) - count + 1)] if count else []
    return len(words) <= count + TALK and any(
        same(one, wanted) for span in spans for one in (span, span.strip(_AROUND))
    )


def _alike(value: str, expected: str) -> bool:
    """Whether a value is as bare as a result, and as that one word or one number, or of no other words than it.

    Of several lines, whether each is so, or all together have its words.
    """
    lines = expected.strip().splitlines()
    if "\n" in value and len(lines) > 1 and all(map(_alike, value.splitlines(), lines)):
        return True
    marks = {sign for sign in value.strip(_AROUND) if not sign.isalnum() and not sign.isspace()}
    if not marks <= {*expected, *_WITHIN}:
        return False
    words, wanted = _WORDS.findall(value.casefold()), _WORDS.findall(expected.casefold())
    if len(wanted) == 1:
        return len(words) == 1 and words[0][0].isdecimal() == wanted[0][0].isdecimal()
    if len(expected.split()) == 1:  # an address or a date
        return len(value.strip(_AROUND + "-•").split()) == 1
    return bool(words) and not Counter(words) - Counter(wanted) and (len(lines) < 2 or len(words) == len(wanted))
