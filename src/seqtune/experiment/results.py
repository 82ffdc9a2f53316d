"""Results of an experiment: each arm's measures over seeds and items, and what it took to get them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from seqtune.data.example import Example
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.suite import GROUP
from seqtune.experiment.spread import Spread, Values, spread
from seqtune.experiment.trials import TrialOutcome

Where = tuple[str, int]  # an arm and a seed
Splits = dict[tuple[str, int | None], dict[str, dict[str, float | None]]]  # (split, steps) -> measure -> item -> value
Struct = TypeVar("Struct", bound=msgspec.Struct)


class Cell(msgspec.Struct, frozen=True):
    """An arm in a line of the table.

    Args:
        arm: its name.
        measure: of its answers.
        difference: to the first arm; None for that one itself.
        gain: over the arm that it goes on from; None where there is none.
    """

    arm: str
    measure: Spread
    difference: Spread | None = None
    gain: Spread | None = None


class TableRow(msgspec.Struct, frozen=True):
    """A split and a number of steps: how many different items, of how many answers each arm gave, and the arms."""

    group: str
    steps: int | None
    items: int
    cells: tuple[Cell, ...]


class Taken(msgspec.Struct, frozen=True):
    """What one training took; of one that went on from another, without what that one took.

    Args:
        rows: that it was trained on; unused: those left out, being too long or without what the method needs.
    """

    arm: str
    seed: int
    after: str
    rows: int
    unused: int
    tokens: int
    trained_tokens: int
    steps: int
    cpu_s: float


class Results(msgspec.Struct, frozen=True):
    """What an experiment found: results.json.

    Args:
        name: of the experiment.
        match: what its arms are equal in.
        seeds: in the order of every `Spread.seeds`.
        measure: the one that is printed.
        lines: of each measure, a line for each split and number of steps.
        taken: what each training took.
        notes: what a reader must know.
    """

    name: str
    match: str
    seeds: tuple[int, ...]
    measure: str
    lines: dict[str, tuple[TableRow, ...]]
    taken: tuple[Taken, ...]
    notes: tuple[str, ...]


def gather(outcomes: Sequence[TrialOutcome], *, name: str, match: str, measure: str) -> Results:
    """The results of trials that are over; all arms have the same seeds.

    Args:
        outcomes: arm by arm; the first arm is what the others are compared with.
        name, match: of the experiment.
        measure: what is printed; "" for what stands for the suite.
    """
    afters = {one.trial.arm: one.trial.after.arm if one.trial.after else "" for one in outcomes}
    seeds = tuple(dict.fromkeys(one.trial.seed for one in outcomes))
    read = {(one.trial.arm, one.trial.seed): _read(one.trial.tested) for one in outcomes}
    names = list(dict.fromkeys(n for splits in read.values() for split in splits.values() for n in split))
    wanted = measure or str(outcomes[0].evaluation["settings"]["headline"])
    shown = wanted if wanted in names else names[0]
    taken = tuple([_taken(one) for one in outcomes])
    notes = [*_notes(seeds, match, taken), *_unscored(shown, read)]
    if shown != wanted:
        notes.append(f"The suite has no measure {wanted!r}; it has {', '.join(names)}.")
    lines = {n: tuple(_lines(n, afters, seeds, read)) for n in names}
    return Results(name, match, seeds, shown, lines, taken, tuple(notes))


def _read(folder: Path) -> Splits:
    """What an evaluation found."""
    items = list(_decoded(folder / "items.jsonl", Example))
    scored = {one.item: one for one in _decoded(folder / "verdicts.jsonl", Scored)}
    names = dict.fromkeys(name for one in scored.values() for name in one.measures)
    found: Splits = {}
    for item in items:
        split = found.setdefault((str(item.meta.get(GROUP, "")), len(item.steps) or None), {name: {} for name in names})
        for name in names:
            split[name][item.id] = scored[item.id].measures.get(name) if item.id in scored else None
    return found


def _decoded(path: Path, type: type[Struct]) -> Iterable[Struct]:
    return map(msgspec.json.Decoder(type).decode, path.read_bytes().splitlines())


def _lines(
    name: str, afters: Mapping[str, str], seeds: Sequence[int], read: Mapping[Where, Splits]
) -> Iterable[TableRow]:
    first = next(iter(afters))
    for group, steps in dict.fromkeys(key for splits in read.values() for key in splits):
        values = {arm: [read[arm, seed].get((group, steps), {}).get(name, {}) for seed in seeds] for arm in afters}
        cells = [
            Cell(
                arm,
                spread(values[arm], name=name),
                _difference(name, values[arm], values[first]) if arm != first else None,
                _difference(name, values[arm], values[after]) if after else None,
            )
            for arm, after in afters.items()
        ]
        yield TableRow(group, steps, len({item for ones in values[first] for item in ones}), tuple(cells))


def _difference(name: str, values: Sequence[Values], first: Sequence[Values]) -> Spread:
    """Paired by item and seed; an item that one of the two has not told is left out."""
    pairs = [
        {item: _minus(value, base.get(item)) for item, value in ones.items()}
        for ones, base in zip(values, first, strict=True)
    ]
    return spread(pairs, name=name, difference=True)


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _taken(outcome: TrialOutcome) -> Taken:
    said, trial = outcome.training, outcome.trial
    figures = {name: int(said[name]) for name in ("rows", "unused", "tokens", "trained_tokens", "steps")}
    return Taken(trial.arm, trial.seed, trial.after.arm if trial.after else "", **figures, cpu_s=float(said["cpu_s"]))


def _notes(seeds: Sequence[int], match: str, taken: Sequence[Taken]) -> Iterable[str]:
    if len(seeds) == 1:
        yield "One seed: the intervals are of the items alone, and say nothing of another seed."
    matched = [one for one in taken if not one.after]
    fix = " (sampled before some were left out: raise train.max_length, or match in tokens)" if match == "rows" else ""
    for seed in seeds:
        counts = {one.arm: int(getattr(one, match)) for one in matched if one.seed == seed}
        # The last batch overshoots a number of tokens by at most its own.
        if max(counts.values()) > min(counts.values()) * (1.01 if match == "tokens" else 1):
            said = ", ".join(f"{arm} {count:,}" for arm, count in counts.items())
            yield f"The arms of seed {seed} are not equal in {match}: {said}{fix}."
    yield from _left_out(taken)
    for arm, ones in _by_arm(one for one in taken if one.after).items():
        said = _range(one.tokens for one in ones)
        yield f"{arm} goes on from {ones[0].after}, so it was trained on {said} tokens more than that."


def _left_out(taken: Sequence[Taken]) -> Iterable[str]:
    arms = _by_arm(taken)
    if any(one.unused for one in taken):
        said = [
            f"{arm} {_range(one.unused for one in ones)} of {_range(one.rows + one.unused for one in ones)}"
            for arm, ones in arms.items()
        ]
        yield f"Rows left out of the trainings (unused.jsonl of each says why): {', '.join(said)}."


def _by_arm(taken: Iterable[Taken]) -> dict[str, list[Taken]]:
    found: dict[str, list[Taken]] = {}
    for one in taken:
        found.setdefault(one.arm, []).append(one)
    return found


def _range(counts: Iterable[int]) -> str:
    """ "120", or "100 to 140" where the seeds differ."""
    found = sorted({*counts})
    return " to ".join(f"{count:,}" for count in dict.fromkeys((found[0], found[-1])))


def _unscored(name: str, read: Mapping[Where, Splits]) -> Iterable[str]:
    for (arm, seed), splits in read.items():
        values = [value for split in splits.values() for value in split.get(name, {}).values()]
        if missing := values.count(None):
            yield f"{arm}, seed {seed}: {missing:,} of {len(values):,} answers could not be scored and are left out."
