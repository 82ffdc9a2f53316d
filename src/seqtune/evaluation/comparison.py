"""Runs side by side: how they differ on the same items, how surely, at what length, and which items changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from operator import itemgetter
from pathlib import Path

import msgspec

from seqtune.data.example import Example, prompt_text
from seqtune.errors import RecipeError, did_you_mean
from seqtune.evaluation.figures import ALL, QUALITY, Figures, figures
from seqtune.evaluation.figures import measure as as_measure
from seqtune.evaluation.headline import Headline
from seqtune.evaluation.run_folders import RunFolder, check_alike, open_runs
from seqtune.evaluation.statistics.bootstrap import Interval, paired_bootstrap
from seqtune.evaluation.statistics.measure import Measure, share
from seqtune.evaluation.suite import ASIDE, GROUP
from seqtune.evaluation.tax import ChainTax

Key = tuple[str, int | None]  # a split and a number of steps


class Compared(msgspec.Struct, frozen=True):
    """One of the runs.

    Args:
        name: what it is called here: as much of its folder's path as tells it from the others.
        folder, model, suite, judge: where it stands, who answered what, and who said what of it.
        items, answered, cut: how many there are, how many were answered, how many stopped at the token limit.
        headline: its own figure, over all that it scored; refused where that is too little.
        by_position: share of items whose first, second, ... step is done, of those with two steps or more that all runs
            have scored.
        chain_taxes: see `Evaluation`.
    """

    name: str
    folder: str
    model: str
    suite: str
    judge: str
    items: int
    answered: int
    cut: int
    headline: Headline | None
    by_position: tuple[Measure, ...]
    chain_taxes: tuple[ChainTax, ...]


class Length(msgspec.Struct, frozen=True):
    """How long a run's answers are: means; tokens are None where they were not counted."""

    tokens: float | None
    words: float


class Difference(msgspec.Struct, frozen=True):
    """One measure of one run less that of the first run, on the items of which both could tell it.

    Args:
        run: the run's name.
        measure: the measure's.
        first, other: each run's own, on these items.
        difference: other less first, with the interval of paired bootstrap over items.
        won, lost: items where the other is better, and worse.
        left_out: items of which one of the two, or neither, could be told.
        worst, best: the difference if all that is not known were as bad, or as good, for the other as can be.
    """

    run: str
    measure: str
    first: Measure
    other: Measure
    difference: Interval
    won: int
    lost: int
    left_out: int
    worst: float | None
    best: float | None

    @property
    def differs(self) -> bool:
        """Whether the interval leaves nought out; else it may be chance."""
        low, high = self.difference.low, self.difference.high
        return self.difference.value is not None and low is not None and high is not None and (low > 0 or high < 0)

    @property
    def said(self) -> str:
        """That in words, with the p that a correction for many lines takes; "" where there is no difference to tell."""
        if self.difference.p is None:
            return ""
        return f"{'differs' if self.differs else 'may be chance'}, p {self.difference.p:.2g}"


class Slice(msgspec.Struct, frozen=True):
    """The items of one split with the same number of steps, or all ("all", None).

    Args:
        group, steps: see `Figures`.
        items: how many.
        lengths: by run.
        differences: a run and a measure each.
    """

    group: str
    steps: int | None
    items: int
    lengths: dict[str, Length]
    differences: tuple[Difference, ...]


class Change(msgspec.Struct, frozen=True):
    """An item that the other run does better or worse than the first.

    Args:
        run: the other's name.
        item, group, steps: which item.
        asked: the prompt.
        before, after: the measure in the first run, and in the other.
        answers: the first's, and the other's.
        gained, lost: steps, in words, that only the other did, and only the first.
    """

    run: str
    item: str
    group: str
    steps: int | None
    asked: str
    before: float
    after: float
    answers: tuple[str, str]
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """What tells runs apart.

    Args:
        runs: the first is the one that the others are compared with.
        measure: which one `changes` are about.
        slices: all items together first, then each split and number of steps.
        changes: the largest first.
        warnings: what makes these runs unlike each other, where they were compared by force.
        notes: what else a reader must know.
    """

    runs: tuple[Compared, ...]
    measure: str
    slices: tuple[Slice, ...]
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def compare(
    runs: Sequence[str | Path],
    *,
    measure: str | None = None,
    force: bool = False,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> Comparison:
    """How runs differ from the first one, on the items that both have scored.

    Args:
        runs: two or more run folders of `seqtune eval`. Runs of one model with several seeds stay apart.
        measure: compare only this one, e.g. "strict"; all that all runs have by default.
        force: compare runs though their items, their scorer, their judge or its checklist differ.
        seed: of the bootstrap: the same gives the same intervals.
        names: what to call the runs; by default what tells their paths apart.

    Raises:
        RecipeError: less than two runs, runs that are not comparable, or a measure that they do not have.
        RunFolderError: a folder that holds no finished evaluation, or one that nobody scored.
        DataError: a line of its files that cannot be read.
    """
    read = open_runs(runs, names)
    warnings = check_alike(read, force=force)
    measures, items = _measures(read, measure), _counted(read)
    steps = {item: _steps(item, items[item], read) for item in items}
    splits = _keys(items, steps)
    kept = [(ALL, None), *(splits if len(splits) > 1 else ())]
    slices = [_slice(key, _within(key, items, steps), read, measures, seed) for key in kept]
    chosen = measures[0]
    changes = [one for run in read[1:] for one in _changes(chosen, items, steps, read[0], run)]
    described = tuple([_compared(run, _told_by_all(items, read)) for run in read])
    ranked = sorted(changes, key=lambda one: -abs(one.after - one.before))
    return Comparison(described, chosen, tuple(slices), tuple(ranked), tuple(warnings), tuple(_notes(read)))


def pick_changes(changes: Sequence[Change], most: int) -> list[Change]:
    """A few changes: of each run better and worse in turn, of each of its splits one before another, long chains first.

    Args:
        changes: of a `Comparison`.
        most: how many.
    """
    seen: Counter[tuple[object, ...]] = Counter()
    kinds: dict[tuple[bool, str], list[tuple[int, int, Change]]] = {}
    for change in changes:
        kind = (change.after < change.before, change.run)
        split = (*kind, change.group, change.steps)
        kinds.setdefault(kind, []).append((seen[split], -(change.steps or 0), change))
        seen[split] += 1
    queues = [[one for _, _, one in sorted(kinds[kind], key=itemgetter(0, 1))] for kind in sorted(kinds)]
    in_turn = chain.from_iterable(zip_longest(*queues))
    return [one for one in in_turn if one][:most]


# --- what is compared


def _measures(runs: Sequence[RunFolder], wanted: str | None) -> list[str]:
    """Those that all runs have, the headline's first; or the one that is wanted."""
    have = [dict.fromkeys(name for one in run.scored.values() for name in one.measures) for run in runs]
    common = [name for name in have[0] if all(name in names for names in have)]
    if not common:
        raise RecipeError(
            "these runs have no measure in common",
            where=", ".join(run.name for run in runs),
            fix="compare runs that were scored in the same form",
        )
    if wanted and wanted not in common:
        hint = did_you_mean(wanted, common)
        raise RecipeError(f"these runs have no measure {wanted!r}{hint}", fix=f"choose from {', '.join(common)}")
    headline = runs[0].metrics.headline
    first = wanted or (headline.measure if headline and headline.measure in common else common[0])
    return [first] if wanted else [first, *[name for name in common if name != first]]


def _notes(runs: Sequence[RunFolder]) -> Iterator[str]:
    for run in runs:
        if missing := run.metrics.items - run.metrics.answered:
            yield f"{run.name} did not answer {missing:,} of its {run.metrics.items:,} items"
    for what, told in (("answers may be as long as", _limit), ("was made by seqtune", _version)):
        found = {run.name: value for run in runs if (value := told(run))}
        if len({*found.values()}) > 1:
            yield "; ".join(f"{name} {what} {value}" for name, value in found.items())


def _limit(run: RunFolder) -> str:
    longest = run.summary.get("settings", {}).get("max_new_tokens")  # of answers that others made nobody knows it
    return f"{longest} tokens" if longest else ""


def _version(run: RunFolder) -> str:
    return str(run.summary.get("versions", {}).get("seqtune", ""))


# --- items


def _counted(runs: Sequence[RunFolder]) -> dict[str, Example]:
    """The first run's items but those that were answered and that no run was to judge: no model can do their steps."""
    return {
        item: example
        for item, example in runs[0].items.items()
        if any(item in run.scored for run in runs) or not any(item in run.answers for run in runs)
    }


def _steps(item: str, example: Example, runs: Sequence[RunFolder]) -> int | None:
    """How many were judged, which a checklist may say in place of the item."""
    judged = (len(run.scored[item].steps) for run in runs if item in run.scored)
    return next(filter(None, judged), 0) or len(example.steps) or None


def _keys(items: Mapping[str, Example], steps: Mapping[str, int | None]) -> list[Key]:
    """Splits in the order in which they come, and numbers of steps."""
    found = dict.fromkeys((_group(example), steps[item]) for item, example in items.items())
    groups = [*dict.fromkeys(group for group, _ in found)]
    return sorted(found, key=lambda key: (groups.index(key[0]), key[1] or 0))


def _group(example: Example) -> str:
    return str(example.meta.get(GROUP, ""))


def _within(key: Key, items: Mapping[str, Example], steps: Mapping[str, int | None]) -> list[str]:
    if key == (ALL, None):
        return [item for item, example in items.items() if not example.meta.get(ASIDE)]
    return [item for item, example in items.items() if key == (_group(example), steps[item])]


# --- differences


def _slice(key: Key, items: Sequence[str], runs: Sequence[RunFolder], measures: Sequence[str], seed: int) -> Slice:
    first, *others = runs
    found = [_difference(measure, items, first, other, seed) for measure in measures for other in others]
    return Slice(*key, len(items), {run.name: _length(run, items) for run in runs}, tuple(found))


def _length(run: RunFolder, items: Sequence[str]) -> Length:
    answers = [run.answers[item] for item in items if item in run.answers]
    tokens = [answer.tokens for answer in answers if answer.tokens is not None]
    words = [len(answer.text.split()) for answer in answers]
    return Length(sum(tokens) / len(tokens) if tokens else None, sum(words) / len(words) if words else 0.0)


def _difference(measure: str, items: Sequence[str], first: RunFolder, other: RunFolder, seed: int) -> Difference:
    pairs = [(_value(first, item, measure), _value(other, item, measure)) for item in items]
    told = [(one, two) for one, two in pairs if one is not None and two is not None]
    low, high = QUALITY if measure == "quality" else (0.0, 1.0)
    gaps = [two - one for one, two in told]
    return Difference(
        run=other.name,
        measure=measure,
        first=as_measure(measure, [one for one, _ in told]),
        other=as_measure(measure, [two for _, two in told]),
        difference=paired_bootstrap(gaps, ends=(low - high, high - low), seed=seed),
        won=sum(gap > 0 for gap in gaps),
        lost=sum(gap < 0 for gap in gaps),
        left_out=len(pairs) - len(told),
        worst=_bound(pairs, high, low),
        best=_bound(pairs, low, high),
    )


def _value(run: RunFolder, item: str, measure: str) -> float | None:
    scored = run.scored.get(item)
    return scored.measures.get(measure) if scored else None


def _bound(pairs: Sequence[tuple[float | None, float | None]], first: float, other: float) -> float | None:
    """The mean difference with what is not known put at these."""
    gaps = [(other if two is None else two) - (first if one is None else one) for one, two in pairs]
    return sum(gaps) / len(gaps) if gaps else None


# --- items that changed


def _changes(
    measure: str, items: Mapping[str, Example], steps: Mapping[str, int | None], first: RunFolder, other: RunFolder
) -> Iterator[Change]:
    for item, example in items.items():
        before, after = _value(first, item, measure), _value(other, item, measure)
        if before is None or after is None or before == after:
            continue
        texts = (_text(first, item), _text(other, item))
        yield Change(
            other.name, item, _group(example), steps[item], prompt_text(example), before, after, texts,
            gained=_only(other, first, item), lost=_only(first, other, item),
        )  # fmt: skip


def _text(run: RunFolder, item: str) -> str:
    return run.answers[item].text if item in run.answers else ""


def _only(one: RunFolder, other: RunFolder, item: str) -> tuple[str, ...]:
    """Steps that the one does and the other does not, in words; of what was not judged nothing is said."""
    missed = {step.step for step in other.scored[item].steps if step.done is False}
    steps = one.scored[item].steps
    return tuple([f"{step.step}. {step.text or step.check}" for step in steps if step.done and step.step in missed])


# --- one run


def _told_by_all(items: Mapping[str, Example], runs: Sequence[RunFolder]) -> list[Example]:
    """The items whose steps all runs were judged by."""
    return [
        example for item, example in items.items() if all(item in run.scored and run.scored[item].steps for run in runs)
    ]


def _compared(run: RunFolder, common: Sequence[Example]) -> Compared:
    metrics = run.metrics
    return Compared(
        name=run.name,
        folder=str(run.folder),
        model=metrics.model,
        suite=metrics.suite,
        judge=metrics.judge,
        items=metrics.items,
        answered=metrics.answered,
        cut=sum(answer.cut for answer in run.answers.values()),
        headline=metrics.headline,
        by_position=by_position(_lines(run, common)),
        chain_taxes=metrics.chain_taxes,
    )


def _lines(run: RunFolder, items: Sequence[Example]) -> list[Figures]:
    scored = [run.scored[item.id] for item in items]
    return figures(items, run.answers, scored, {one.item: len(one.steps) for one in scored})


def by_position(lines: Sequence[Figures]) -> tuple[Measure, ...]:
    """Share of items whose first, second, ... step is done; of items with one step only there is nothing to tell.

    Args:
        lines: the figures of a run.
    """
    rows = [line.by_position for line in lines if not line.whole and (line.steps or 0) > 1]
    columns = [[one for one in column if one] for column in zip_longest(*rows)]
    return tuple([_sum(column) for column in columns])


def _sum(column: Sequence[Measure]) -> Measure:
    done, of, unscored = (
        sum(parts) for parts in zip(*[(one.done, one.of, one.unscored) for one in column], strict=True)
    )
    return share(done, of, unscored)
