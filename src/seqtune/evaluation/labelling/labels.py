"""Labels: what people say of a run's answers, how far the judge agrees, and the figures corrected by that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from seqtune.data.example import Example, prompt_text
from seqtune.data.reader import read
from seqtune.errors import DataError, RunFolderError
from seqtune.evaluation.intake import read_answers
from seqtune.evaluation.ledger import open_ledger
from seqtune.evaluation.run_folders import read_evaluation
from seqtune.evaluation.scoring import Scored, said
from seqtune.evaluation.statistics.agreement import cohen_kappa, krippendorff_alpha
from seqtune.evaluation.statistics.bootstrap import Interval
from seqtune.evaluation.statistics.correction import Corrected, Reliability, corrected_share, reliability
from seqtune.evaluation.statistics.double_sampling import sampled_share
from seqtune.evaluation.statistics.measure import Measure, mean_of

WHOLE = 0  # the place of the one question where an item has no steps: is everything done that was asked?

Done = Mapping[int, "bool | None"]


class Label(msgspec.Struct, frozen=True):
    """What one person says of one answer: a line of labels.jsonl, as the page writes it.

    Args:
        item: id of the item.
        answer: hash of what was shown (`shown_hash`), so that a label is never taken for another answer's.
        done: by the step's place, counted from 1 (0 for the whole where there are no steps); None for "cannot tell".
        by: who says so.
        quality: 1 to 5, where it was given.
        seconds: how long the answer was looked at.
    """

    item: str
    answer: str
    done: dict[int, bool | None]
    by: str = ""
    quality: int | None = None
    seconds: float | None = None


class Shown(msgspec.Struct, frozen=True):
    """An answer of a run that can be labelled.

    Args:
        item: what was asked.
        text: the answer.
        steps: what is to be told, by place.
        scored: what the judge says; None where nobody judged yet.
    """

    item: Example
    text: str
    steps: dict[int, str]
    scored: Scored | None

    @property
    def hash(self) -> str:
        """See `shown_hash`."""
        return shown_hash(self.item, self.text, self.steps)


class Judgeable(msgspec.Struct, frozen=True):
    """The answers of a run folder, who judged them, and the measure that stands for a whole answer."""

    judge: str
    headline: str
    answers: tuple[Shown, ...]


class Correction(msgspec.Struct, frozen=True):
    """One rate of a run, as judged and as corrected by labels.

    Args:
        name: "strict" (or what stands for it in a run without steps) or "soft".
        judged: as the judge has it, over the whole run.
        people: as people have it, over what they labelled.
        reliability: of the judge, on what people labelled.
        estimate: what people would find in the whole run: the figure to quote. It needs the labelled answers to be
            drawn from this run, as the page's are.
        corrected: Rogan and Gladen's, which takes the reliability for that of any run of the judge; its interval is
            wider, for it makes no use of the labels being of this run. None where the labels do not allow it.
        problem: why not.
    """

    name: str
    judged: Measure
    people: Measure
    reliability: Reliability
    estimate: Measure
    corrected: Corrected | None
    problem: str = ""


class LabelledRun(msgspec.Struct, frozen=True):
    """A run, seen through people's labels.

    Args:
        judge: whose verdicts are corrected.
        labelled: answers with a label.
        people: who labelled, with the number of their labels.
        corrections: of strict, and of soft where there are steps.
        kappa: of the judge and people: "steps" and "strict".
        alpha: among people (Krippendorff's, nominal), where there are several; "quality" (ordinal) is of the judge and
            all people, where there are such labels.
        notes: what the reader has to know.
    """

    judge: str
    labelled: int
    people: dict[str, int]
    corrections: tuple[Correction, ...]
    kappa: dict[str, Interval]
    alpha: dict[str, Interval]
    notes: tuple[str, ...] = ()


def shown_hash(item: Example, text: str, steps: Mapping[int, str]) -> str:
    """The hash of what a person was shown: request, answer, and steps."""
    told = "\x1e".join([prompt_text(item), text, *[f"{place} {step}" for place, step in steps.items()]])
    return xxhash.xxh3_128_hexdigest(told.encode("utf-8", "surrogatepass"))


def judgeable_answers(run_folder: str | Path) -> Judgeable:
    """The answers of a run folder with the verdicts of its last judge, or with none where nobody judged.

    Raises:
        RunFolderError: no finished run of `seqtune eval` stands there.
        DataError: one of its files holds a broken line.
    """
    folder = Path(run_folder)
    summary = read_evaluation(folder)
    scored = _scored(folder / "verdicts.jsonl", summary.get("judge", ""))
    answers = read_answers(folder)
    items = [item for item in read(str(folder / "items.jsonl")) if item.id in answers]
    shown = [_shown(item, said(answers[item.id].text), scored.get(item.id)) for item in items]
    return Judgeable(summary.get("judge", ""), summary["settings"]["headline"], tuple(shown))


def _scored(path: Path, judge: str) -> dict[str, Scored]:
    if not path.is_file():
        return {}
    with open_ledger(path, Scored) as ledger:
        return {one.item: one for one in ledger if one.judge == judge}


def _shown(item: Example, text: str, scored: Scored | None) -> Shown:
    judged = {step.step: step.text for step in scored.steps} if scored else {}
    own = {place: step.text for place, step in enumerate(item.steps, 1)}
    return Shown(item, text, judged or own or {WHOLE: "do everything that was asked"}, scored)


def read_labels(path: str | Path) -> tuple[Label, ...]:
    """The labels of a file; of an answer that one person labelled twice, the last. Who gave no name has the file's.

    Raises:
        DataError: the file cannot be read, or a line is no label.
    """
    file = Path(path)
    fix = "give the labels.jsonl that the page of `seqtune eval label` saved"
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(file), fix=fix) from None
    found: dict[tuple[str, str], Label] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            label = _label(line, f"{file}:{number}", fix)
            label = msgspec.structs.replace(label, by=label.by or file.stem)
            found[label.item, label.by] = label
    return tuple(found.values())


def _label(line: bytes, where: str, fix: str) -> Label:
    try:
        label = msgspec.json.decode(line, type=Label)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not a label: {error}", where=where, fix=fix) from None
    if label.quality is not None and not 1 <= label.quality <= 5:
        raise DataError(f"a quality of {label.quality} is not between 1 and 5", where=where, fix=fix)
    return label


def correct_by_labels(run_folder: str | Path, labels: str | Path | Sequence[str | Path]) -> LabelledRun:
    """The rates of a run as they would be if its judge were right, from what people say of some of its answers.

    Several people's labels of an answer count as what most of them say. An answer is one trial, however many steps it
    has, because they hang together.

    Args:
        run_folder: of `seqtune eval`, judged.
        labels: files of labels, of one or of several people.

    Raises:
        RunFolderError: no judged run stands there.
        DataError: a file is none of labels, or was made for another run or for other answers.
    """
    run = judgeable_answers(run_folder)
    if not any(one.scored for one in run.answers):
        fix = "judge it first: seqtune eval --phase judge --out DIR --judge JUDGE"
        raise RunFolderError("nobody judged this run", where=str(run_folder), fix=fix)
    files = [labels] if isinstance(labels, str | Path) else [*labels]
    given = {(one.item, one.by): one for file in files for one in _fitting(read_labels(file), run, str(file))}
    if not given:
        raise DataError("there is no label in it", where=", ".join(map(str, files)), fix="label some answers, and save")
    by_item: dict[str, list[Label]] = {}
    for label in given.values():
        by_item.setdefault(label.item, []).append(label)
    people = {by: sum(label.by == by for label in given.values()) for _, by in given}
    pairs = [(one, by_item[one.item.id]) for one in run.answers if one.item.id in by_item and one.scored]
    return LabelledRun(
        run.judge,
        len(by_item),
        people,
        _corrections(run, pairs),
        _kappas(run, pairs),
        _alphas(pairs, [*people]),
        _notes(given.values(), pairs, len(by_item)),
    )


def _fitting(labels: Sequence[Label], run: Judgeable, where: str) -> Sequence[Label]:
    known = {one.item.id: one for one in run.answers}
    for label in labels:
        shown = known.get(label.item)
        if shown is None:
            fix = "give the run that the page was made of"
            raise DataError(f"item {label.item!r} is not in this run", where=where, fix=fix)
        if label.answer != shown.hash or label.done.keys() != shown.steps.keys():
            what = f"item {label.item!r} was labelled with another answer, or with other steps"
            raise DataError(what, where=where, fix="make the page again from this run, and label that")
    return labels


Pairs = Sequence[tuple[Shown, Sequence[Label]]]


def _corrections(run: Judgeable, pairs: Pairs) -> tuple[Correction, ...]:
    name = "strict" if any(_has_steps(one) for one in run.answers) else run.headline
    strict = _strict(name, [judged_whole(run, one) for one in run.answers], _wholes(run, pairs))
    with_steps = [(shown, labels) for shown, labels in pairs if _has_steps(shown)]
    return (strict, _soft(run, with_steps)) if with_steps else (strict,)


def _wholes(run: Judgeable, pairs: Pairs) -> list[tuple[bool | None, bool | None]]:
    """What judge and people say of each labelled answer as a whole."""
    return [(judged_whole(run, shown), people_whole(_together(labels))) for shown, labels in pairs]


def _strict(name: str, judged: Sequence[bool | None], pairs: Sequence[tuple[bool | None, bool | None]]) -> Correction:
    known = reliability([judge for judge, _ in pairs], [people for _, people in pairs])
    return _correction(name, judged, pairs, known)


def _soft(run: Judgeable, pairs: Pairs) -> Correction:
    judged = [_judged_soft(one) for one in run.answers]
    by_step = [_step_pairs(shown, labels) for shown, labels in pairs]
    people = [sum(true for _, true in steps) / len(steps) if steps else None for steps in by_step]
    told = [(_judged_soft(shown), one) for (shown, _), one in zip(pairs, people, strict=True)]
    return _correction("soft", judged, told, _step_reliability(by_step))


def _judged_soft(shown: Shown) -> float | None:
    return shown.scored.measures.get("soft") if shown.scored else None


def _correction(
    name: str,
    judged: Sequence[float | None],
    pairs: Sequence[tuple[float | None, float | None]],
    known: Reliability,
) -> Correction:
    both = [(ours, true) for ours, true in pairs if ours is not None and true is not None]
    estimate = sampled_share([one for one in judged if one is not None], both)
    seen, people = mean_of(judged), mean_of([true for _, true in pairs])
    try:
        corrected = corrected_share(seen.done, seen.of, known) if seen.of else None
    except DataError as error:
        return Correction(name, seen, people, known, estimate, None, error.what)
    return Correction(name, seen, people, known, estimate, corrected, "" if seen.of else "the judge scored nothing")


def judged_whole(run: Judgeable, shown: Shown) -> bool | None:
    """Whether the judge says that the whole answer is as asked; None where it does not say yes or no."""
    if shown.scored is None:
        return None
    names = ("strict",) if _has_steps(shown) else (run.headline, "following", "exact")
    value = next((shown.scored.measures[name] for name in names if name in shown.scored.measures), None)
    return bool(value) if value in (0, 1) else None


def people_whole(done: Done) -> bool | None:
    """Whether people say that the whole answer is as asked: one step that is not done is enough to say no."""
    if False in done.values():
        return False
    return None if None in done.values() else True


def _together(labels: Sequence[Label]) -> dict[int, bool | None]:
    """What most of those who can tell say of each step; None for a tie."""
    found: dict[int, bool | None] = {}
    for place in labels[0].done:
        said = [label.done[place] for label in labels if label.done[place] is not None]
        found[place] = None if 2 * said.count(True) == len(said) else 2 * said.count(True) > len(said)
    return found


def _has_steps(shown: Shown) -> bool:
    return WHOLE not in shown.steps


def _step_pairs(shown: Shown, labels: Sequence[Label]) -> list[tuple[bool, bool]]:
    """What judge and people say of each step of which both can tell."""
    people = _together(labels)
    judge = {step.step: step.done for step in shown.scored.steps} if shown.scored else {}
    told = [(judge.get(place), done) for place, done in people.items()]
    return [(ours, true) for ours, true in told if ours is not None and true is not None]


def _step_reliability(by_step: Sequence[Sequence[tuple[bool, bool]]]) -> Reliability:
    """Of steps, with an answer as a trial."""
    hits = [[ours for ours, true in steps if true] for steps in by_step]
    rejected = [[not ours for ours, true in steps if not true] for steps in by_step]
    return Reliability(*[mean_of([*map(_mean, filter(None, told))]) for told in (hits, rejected)])


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def _kappas(run: Judgeable, pairs: Pairs) -> dict[str, Interval]:
    whole = _wholes(run, pairs)
    found = {"strict": cohen_kappa([judge for judge, _ in whole], [people for _, people in whole])}
    told = [(shown.item.id, _step_pairs(shown, labels)) for shown, labels in pairs if _has_steps(shown)]
    steps = [(item, *pair) for item, ones in told for pair in ones]
    if steps:
        items, judge, people = zip(*steps, strict=True)
        found["steps"] = cohen_kappa(judge, people, clusters=items)  # steps of an answer hang together
    return found


def _alphas(pairs: Pairs, people: Sequence[str]) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    if len(people) > 1:
        found["strict"] = krippendorff_alpha(_ratings(pairs, people, lambda label: [people_whole(label.done)]))
        items = [shown.item.id for shown, labels in pairs for _ in labels[0].done]
        steps = _ratings(pairs, people, lambda label: [*label.done.values()])
        found["steps"] = krippendorff_alpha(steps, clusters=items)
    if any(label.quality is not None for _, labels in pairs for label in labels):
        judge = [_rounded(shown.scored.measures.get("quality")) if shown.scored else None for shown, _ in pairs]
        ratings = _ratings(pairs, people, lambda label: [label.quality])
        found["quality"] = krippendorff_alpha([judge, *ratings], "ordinal")
    return found


def _rounded(quality: float | None) -> float | None:
    return None if quality is None else float(round(quality))


def _ratings(pairs: Pairs, people: Sequence[str], of: Callable[[Label], Sequence[Any]]) -> list[list[Any]]:
    """A row for each person with what they say of every unit of every answer, None where they say nothing."""
    return [[said for _, labels in pairs for said in _said(labels, by, of)] for by in people]


def _said(labels: Sequence[Label], by: str, of: Callable[[Label], Sequence[Any]]) -> Sequence[Any]:
    own = [label for label in labels if label.by == by]
    return of(own[0]) if own else [None] * len(of(labels[0]))


def _notes(labels: Any, pairs: Pairs, labelled: int) -> tuple[str, ...]:
    notes = []
    if untold := sum(done is None for label in labels for done in label.done.values()):
        notes.append(f"{untold:,} times somebody could not tell: these steps are left out")
    if labelled > len(pairs):
        notes.append(f"{labelled - len(pairs):,} labelled answers were not judged: they say nothing of the judge")
    if open_ones := sum(bool(shown.scored and shown.scored.unscored) for shown, _ in pairs):
        notes.append(f"{open_ones:,} labelled answers are unscored by the judge: they say nothing of it")
    return tuple(notes)
