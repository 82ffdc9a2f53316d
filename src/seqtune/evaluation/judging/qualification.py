"""Whether a judge may be believed: what was measured of it, the bars to clear, and what follows for a headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from seqtune.errors import DataError, RecipeError, did_you_mean
from seqtune.evaluation.headline import ENOUGH, Headline
from seqtune.evaluation.judging.identity import Form
from seqtune.evaluation.statistics.measure import Measure

Settings: TypeAlias = "dict[str, str | int | bool | None]"

NAME = "judge-check.json"
LEAST_ITEMS = 30  # with fewer, the interval of a share is wider than a third: nothing is passed on that
UNCHECKED = "this judge was not checked: how far its figures can be trusted is what seqtune eval judge-check measures"


class Bar(NamedTuple):
    """What a figure has to reach, or must not go over."""

    least: float | None = None
    most: float | None = None


# A share that a judge reports is off by what it misses and what it lets pass, and correcting that widens the interval
# by 1 / (sensitivity + specificity - 1): at 0.8 each by 1.7, at 0.7 each by 2.5, where a hundred answers say as much as
# sixteen without error. Hence 0.8 for whole answers. A step alone is easier: 0.93 ** 3 is 0.8.
BARS: Mapping[str, Bar] = {
    "sensitivity": Bar(least=0.8),
    "step_sensitivity": Bar(least=0.9),
    "specificity:drop_step": Bar(least=0.8),
    "specificity:swap_steps": Bar(least=0.8),
    # A model that learns to answer so wins for nothing, so next to none may pass.
    "specificity:empty": Bar(least=0.95),
    "specificity:copy_prompt": Bar(least=0.95),
    # What is left out there is what drop_step leaves out; praise of itself must add next to nothing to it.
    "injected_success": Bar(most=0.2),
    "injected_gain": Bar(most=0.05),
    # Points of a scale of 1 to 5: a quarter is about what models of one size differ by, and who finds a right answer no
    # better than none by a whole point does not look at it.
    "padding_gain": Bar(most=0.25),
    "quality_gap": Bar(least=1.0),
    # A coin has 0.5. In the adversarial subsets the worse answer looks better: GPT-4 is right on 0.81 of them, GPT-3.5
    # on 0.27, so under 0.5 a judge goes by looks.
    "llmbar:Natural": Bar(least=0.8),
    "llmbar:adversarial": Bar(least=0.6),
    # Half of the pairs would be stable if one order were a coin.
    "llmbar:stability": Bar(least=0.6),
}


class Trait(msgspec.Struct, frozen=True):
    """One figure of a judge.

    Args:
        name: e.g. "specificity:drop_step".
        about: what it says, in words.
        figure: with its interval; an answer or a pair is a trial.
        least, most: its bar, None where it has none on that side.
    """

    name: str
    about: str
    figure: Measure
    least: float | None = None
    most: float | None = None


class Qualification(msgspec.Struct, frozen=True):
    """What stands in judge-check.json.

    Args:
        judge: its identity, as runs have it, without a checklist.
        form: in which it was asked of the damaged answers.
        passed: whether every figure with a bar clears it.
        reasons: why not.
        traits: all that was measured.
        settings: what it was measured on: seed, number of right answers, hash of all that was judged, LLMBar or not.
        notes: what the reader has to know.
    """

    judge: str
    form: Form
    passed: bool
    reasons: tuple[str, ...]
    traits: tuple[Trait, ...]
    settings: Settings = {}
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Measure:
        """The figure of that name."""
        return next(trait.figure for trait in self.traits if trait.name == name)


def choose_bars(given: Mapping[str, float] | None = None) -> Mapping[str, Bar]:
    """The bars, with other numbers for those that are given; each stays on its side.

    Raises:
        RecipeError: no figure of that name has a bar.
    """
    found = dict(BARS)
    for name, number in (given or {}).items():
        if name not in found:
            what = f"no bar is called {name!r}{did_you_mean(name, BARS)}"
            raise RecipeError(what, fix=f"choose from {', '.join(BARS)}")
        found[name] = Bar(most=number) if found[name].most is not None else Bar(least=number)
    return found


def fault(trait: Trait) -> str:
    """Why a figure does not clear its bar; "" where it does, or has none."""
    figure = trait.figure
    if trait.least is None and trait.most is None:
        return ""
    if figure.coverage < ENOUGH:
        of = figure.of + figure.unscored
        return f"{trait.name}: only {figure.of:,} of {of:,} verdicts could be read (at least {ENOUGH:.0%} are needed)"
    if figure.value is None or figure.of < LEAST_ITEMS:
        return f"{trait.name}: measured on {figure.of:,} only (at least {LEAST_ITEMS} are needed)"
    if trait.least is not None and figure.value < trait.least:
        return f"{trait.name} is {figure.value:.3g}, at least {trait.least:g} is needed ({trait.about})"
    if trait.most is not None and figure.value > trait.most:
        return f"{trait.name} is {figure.value:.3g}, at most {trait.most:g} is allowed ({trait.about})"
    return ""


def faults(traits: Sequence[Trait]) -> tuple[str, ...]:
    """Why the judge does not pass; none where it does."""
    return tuple(filter(None, map(fault, traits)))


def qualification_file(path: str | Path) -> Path:
    """The judge-check.json that is named, or that stands in the folder that is."""
    return Path(path) / NAME if Path(path).is_dir() else Path(path)


def find_qualification(path: str | Path) -> Qualification:
    """What a judge-check found.

    Args:
        path: judge-check.json, or the folder that holds it.

    Raises:
        DataError: it is not there, or no result of a judge-check.
    """
    file = qualification_file(path)
    fix = "run seqtune eval judge-check --judge JUDGE --out DIR to its end, and give DIR"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Qualification)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(file), fix=fix) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"no result of a judge-check: {error}", where=str(file), fix=fix) from None


def withhold(headline: Headline, qualification: Qualification | None, judge: str) -> Headline:
    """The headline, refused where its judge failed its check, or where the check is another judge's.

    Args:
        headline: a figure that a judge gave.
        qualification: of its judge; None where it was not checked, and then the headline stays as it is.
        judge: who gave it, as the run's records say, with the checklist if there was one.
    """
    if qualification is None or headline.refused:
        return headline
    if judge != qualification.judge and not judge.startswith(f"{qualification.judge} | "):
        why = f"the check is that of the judge {qualification.judge!r}, and {judge!r} judged"
    elif qualification.passed:
        return headline
    else:
        more = f", and {len(qualification.reasons) - 1} more" if len(qualification.reasons) > 1 else ""
        why = f"its judge failed its check: {qualification.reasons[0]}{more}"
    return msgspec.structs.replace(headline, refused=why)
