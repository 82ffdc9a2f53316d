"""What a share would be if the judge were right, from how often it was on answers that people labelled."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import msgspec

from seqtune.errors import DataError
from seqtune.evaluation.statistics.measure import Measure, share


class Reliability(msgspec.Struct, frozen=True):
    """How a judge did on what people labelled.

    Args:
        sensitivity: of the answers that people say did it, those of which the judge says so.
        specificity: of the answers that people say did not, those of which the judge says so.
    """

    sensitivity: Measure
    specificity: Measure


class Corrected(msgspec.Struct, frozen=True):
    """A share as the judge sees it, and as it is after correction, with its 95 % interval.

    Args:
        value: the corrected share, 0 to 1.
        low, high: the ends of its interval.
        judged: the share as judged.
        reliability: what it was corrected by.
    """

    value: float
    low: float
    high: float
    judged: Measure
    reliability: Reliability


def reliability(judge: Sequence[bool | None], people: Sequence[bool | None]) -> Reliability:
    """How the judge did on the same answers, in the same order; what either left open (None) is left out.

    Raises:
        ValueError: the two are not of one length.
    """
    pairs = [(ours, true) for ours, true in zip(judge, people, strict=True) if ours is not None and true is not None]
    done, undone = [ours for ours, true in pairs if true], [not ours for ours, true in pairs if not true]
    return Reliability(share(sum(done), len(done)), share(sum(undone), len(undone)))


def corrected_share(done: float, judged: int, known: Reliability) -> Corrected:
    """The share that a judge of this reliability would have to see to say so (Rogan and Gladen 1978).

    The interval is that of Lang and Reiczigel (2014, Preventive Veterinary Medicine 113:13), which also counts how few
    answers the reliability was measured on. It takes the labelled answers to be drawn from like ones: a judge that is
    measured on easy answers is not corrected on hard ones.

    Args:
        done: answers that the judge says did it.
        judged: answers that it judged.
        known: its reliability on labelled answers.

    Raises:
        DataError: people labelled none that did it or none that did not, or the judge is no better than a coin.
        ValueError: more done than judged, or nothing judged.
    """
    if not 0 <= done <= judged or not judged:
        raise ValueError(f"{done} done of {judged} judged")
    value = _rogan_gladen(done / judged, *_rates(known))
    low, high = _lang_reiczigel(done, judged, known, NormalDist().inv_cdf(0.975))
    return Corrected(value, min(low, value), max(high, value), share(done, judged), known)


def _rates(known: Reliability) -> tuple[float, float]:
    """Sensitivity and specificity, if anything can be corrected with them."""
    for rate, kind in ((known.sensitivity, "done"), (known.specificity, "not done")):
        if rate.value is None:
            fix = "label more answers, some of either kind"
            raise DataError(f"none of the labelled answers is labelled {kind!r}", fix=fix)
    sensitivity, specificity = known.sensitivity.value or 0.0, known.specificity.value or 0.0
    if sensitivity + specificity <= 1:
        raise DataError(
            f"the judge says yes to {sensitivity:.1%} of what people call done, and to {1 - specificity:.1%} of what"
            " they call not done: no rate can be corrected by one who tells them apart no better than chance",
            fix="take a better judge, or check that its labels and the people's mean the same",
        )
    return sensitivity, specificity


def _rogan_gladen(seen: float, sensitivity: float, specificity: float) -> float:
    return min(1.0, max(0.0, (seen + specificity - 1) / (sensitivity + specificity - 1)))


def _lang_reiczigel(done: float, judged: int, known: Reliability, z: float) -> tuple[float, float]:
    """A Wald interval on counts with some imaginary ones (of each kind z²/2 judged, 1 labelled), moved inwards."""
    n, n_done, n_undone = judged + z * z, known.sensitivity.of + 2, known.specificity.of + 2
    seen = (done + z * z / 2) / n
    hit, right = (known.sensitivity.done + 1) / n_done, (known.specificity.done + 1) / n_undone
    gain = hit + right - 1
    if gain <= 0:  # better than a coin by less than the imaginary ones are worth
        return 0.0, 1.0
    true = (seen + right - 1) / gain  # not cut to 0 and 1: its distance from them counts
    of_seen, of_hit, of_right = seen * (1 - seen) / n, hit * (1 - hit) / n_done, right * (1 - right) / n_undone
    error = sqrt(of_seen + true**2 * of_hit + (1 - true) ** 2 * of_right) / gain
    centre = true + 2 * z * z * (true * of_hit - (1 - true) * of_right)
    return min(1.0, max(0.0, centre - z * error)), min(1.0, max(0.0, centre + z * error))
