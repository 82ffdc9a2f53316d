"""The one figure of a run that may be quoted, or why none may."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from seqtune.evaluation.figures import Figures, whole_of
from seqtune.evaluation.statistics.measure import Measure

JUDGED = "strict"  # what a judge is quoted by; in the original form, which knows no steps, the first of its measures
ENOUGH = 0.95  # of the items must be scored


class Headline(msgspec.Struct, frozen=True):
    """The figure that stands for a run.

    Args:
        measure: its name.
        figure: with its interval, coverage and bounds.
        refused: why it must not be quoted; "" where it may.
    """

    measure: str
    figure: Measure
    refused: str = ""


def choose_headline(measure: str, lines: Sequence[Figures]) -> Headline:
    """The measure over all items, refused where none or too few of them were scored.

    Args:
        measure: the suite's; where nothing of the name was measured, the first that was.
        lines: the figures of a run.
    """
    whole = whole_of(lines)
    name = measure if measure in whole.measures else next(iter(whole.measures), measure)
    figure = whole.measures.get(name) or Measure(0, 0, None, 0.0, 1.0, whole.items, 0.0, 1.0)
    if not figure.of:
        which = f"none of {whole.items:,} items could be scored" if whole.items else "there is no item to be scored"
        return Headline(name, figure, f"{which}, so of {name} nothing is known")
    if figure.coverage >= ENOUGH:
        return Headline(name, figure)
    scored = "scored in all their steps" if figure.partly else "scored"
    bounds = f"it lies between {figure.worst:.1%} and {figure.best:.1%}" if name != "quality" else "it is not known"
    return Headline(
        name, figure, f"only {figure.of - figure.partly:,} of {figure.of + figure.unscored:,} items could be {scored} "
        f"({figure.coverage:.1%}, at least {ENOUGH:.0%} are needed), so of {name} is only known that {bounds}",
    )  # fmt: skip
