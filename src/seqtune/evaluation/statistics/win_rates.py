"""Which of two answers is better: win rates from verdicts in both orders, raw and at equal length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from seqtune.errors import DataError
from seqtune.evaluation.statistics.bootstrap import Floats, Interval, mean_interval

Places: TypeAlias = NDArray[np.intp]
HARDNESS_PENALTY = 1.0  # a prompt moves the odds by about e, as the spread of a normal prior of 1
SMALL_PENALTY = 1e-2  # on the rest: only keeps a model that won everything from going to infinity
MOST_STEPS = 100
CLOSE = 1e-8  # a step in log odds that no longer matters


class Duel(msgspec.Struct, frozen=True):
    """Two answers to a prompt, and which of them a judge prefers.

    Args:
        prompt: its id.
        first, second: the models, in the order in which the judge saw their answers.
        preference: for the first: 1 it won, 0.5 a tie, 0 it lost, or the judge's probability; None where the reply
            could not be read.
        first_length, second_length: of the answers, in any one unit (tokens, characters).
    """

    prompt: str
    first: str
    second: str
    preference: float | None
    first_length: float = 0.0
    second_length: float = 0.0

    def __post_init__(self) -> None:
        if self.preference is not None and not 0 <= self.preference <= 1:
            raise ValueError(f"prompt {self.prompt!r}: a preference of {self.preference} is not between 0 and 1")
        if self.first == self.second:
            raise ValueError(f"prompt {self.prompt!r}: {self.first!r} is compared with itself")


class WinRate(msgspec.Struct, frozen=True):
    """How often one model's answer is preferred to another's; a tie is half a win.

    Args:
        model, against: the two.
        rate: the share, over prompts.
        wins, ties, losses: prompts by their preference, averaged over the orders.
        unscored: prompts without a verdict in either order (or, `both_orders=False`, without any).
        first_gain: what being shown first is worth: the mean preference for the first answer, less 0.5.
        stable: share of the prompts with the same winner in both orders.
    """

    model: str
    against: str
    rate: Interval
    wins: int
    ties: int
    losses: int
    unscored: int
    first_gain: Interval
    stable: float | None


class LengthControlled(msgspec.Struct, frozen=True):
    """Win rates against one model, as they would be if all answers were of one length.

    Args:
        baseline: the model that the others are compared with.
        rates: by model.
        length_weight: log odds that one standard unit of length is worth at most; 0 where length does not matter.
        length_unit: that unit, as the lengths were given: the root mean square of the differences.
        prompts: prompts with at least one verdict.
        unscored: meetings of two models on a prompt that were left out.
    """

    baseline: str
    rates: dict[str, Interval]
    length_weight: float
    length_unit: float
    prompts: int
    unscored: int


class _Meeting(NamedTuple):
    """Two models on one prompt: preferences for `a`, by who was shown first, and by how much a's answer is longer."""

    prompt: str
    a: str
    b: str
    a_first: float | None
    b_first: float | None
    longer: float

    def preference(self, both_orders: bool) -> float | None:
        found = [one for one in (self.a_first, self.b_first) if one is not None]
        return sum(found) / len(found) if len(found) > (1 if both_orders else 0) else None


def win_rate(
    duels: Iterable[Duel],
    model: str,
    against: str,
    *,
    both_orders: bool = True,
    seed: int = 0,
    draws: int = 10_000,
) -> WinRate:
    """The raw win rate of one model against another.

    Args:
        duels: those of other models are left out.
        model, against: the two.
        both_orders: count only prompts with a verdict in either order, so that the gain of being first cancels out.
            False takes what there is: right where the order was drawn by chance.
        seed, draws: see `mean_interval`.
    """
    wanted = [one for one in duels if {one.first, one.second} == {model, against}]
    meetings = [_turned(meeting, model) for meeting in _meetings(wanted)]
    scored = [one for meeting in meetings if (one := meeting.preference(both_orders)) is not None]
    orders = [(m.a_first, m.b_first) for m in meetings if m.a_first is not None and m.b_first is not None]

    def interval(values: Sequence[float], ends: tuple[float, float]) -> Interval:
        return mean_interval(values, ends=ends, seed=seed, draws=draws)

    return WinRate(
        model,
        against,
        interval(scored, (0, 1)),
        wins=sum(one > 0.5 for one in scored),
        ties=sum(one == 0.5 for one in scored),
        losses=sum(one < 0.5 for one in scored),
        unscored=len(meetings) - len(scored),
        first_gain=interval([(a_first - b_first) / 2 for a_first, b_first in orders], (-0.5, 0.5)),
        stable=sum(_winner(a) == _winner(b) for a, b in orders) / len(orders) if orders else None,
    )


def length_controlled(duels: Iterable[Duel], baseline: str, *, both_orders: bool = True) -> LengthControlled:
    """Win rates at equal length of all models against one, from one logistic model of all duels.

    The log odds that a is preferred to b on a prompt are strength(a) - strength(b) + weight * tanh(difference of length
    in units) and, where one of them is the baseline, the prompt's hardness for the other. The rate is the mean
    prediction over all prompts with the length term left out: Dubois et al. 2024 (arXiv 2404.04475), except that the
    weight of length and the hardness are shared by all models and fitted together with their strengths, where theirs
    come from other fits. The fit keeps the means: with the length term, a model's mean prediction is its raw rate. That
    hardness tells for every model alike is simpler than theirs; where it tells twice as much for one, that one's rate
    was up to 2.4 points off in simulations. Every prompt is predicted for every model, whether it met it or not.

    The intervals are over prompts (sandwich). What no fit can say is whether a longer answer is rightly preferred.

    Args:
        duels: of any number of models, not all of which need have met the baseline.
        baseline: the model to compare with.
        both_orders: see `win_rate`.

    Raises:
        DataError: no verdict is left, or none that ties a model to the baseline.
    """
    meetings = _meetings(duels)
    scored = [(meeting, one) for meeting in meetings if (one := meeting.preference(both_orders)) is not None]
    if not scored:
        raise DataError("there is no verdict to fit", fix="see how many replies of the judge could not be read")
    models = _connected([meeting for meeting, _ in scored], baseline)
    unit = float(np.sqrt(np.mean([meeting.longer**2 for meeting, _ in scored])))
    fit = _fit(
        _design([meeting for meeting, _ in scored], models, baseline, unit), np.array([one for _, one in scored])
    )
    return LengthControlled(
        baseline,
        {model: _rate(fit, place) for model, place in models.items()},
        length_weight=float(fit.weights[-1]),
        length_unit=unit,
        prompts=len(fit.hardness),
        unscored=len(meetings) - len(scored),
    )


def _meetings(duels: Iterable[Duel]) -> list[_Meeting]:
    """A meeting for each prompt and pair, in the order in which they come."""
    found: dict[tuple[str, str, str], list[Duel]] = defaultdict(list)
    for one in duels:
        a, b = sorted((one.first, one.second))
        found[one.prompt, a, b].append(one)
    return [_meeting(*key, ones) for key, ones in found.items()]


def _meeting(prompt: str, a: str, b: str, ones: Sequence[Duel]) -> _Meeting:
    first = [one.preference for one in ones if one.first == a and one.preference is not None]
    second = [1 - one.preference for one in ones if one.first == b and one.preference is not None]
    longer = [(one.first_length - one.second_length) * (1 if one.first == a else -1) for one in ones]
    return _Meeting(prompt, a, b, _mean(first), _mean(second), sum(longer) / len(longer))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _turned(meeting: _Meeting, model: str) -> _Meeting:
    """The meeting seen from the model."""
    if meeting.a == model:
        return meeting
    a_first, b_first = (None if one is None else 1 - one for one in (meeting.b_first, meeting.a_first))
    return _Meeting(meeting.prompt, meeting.b, meeting.a, a_first, b_first, -meeting.longer)


def _winner(preference: float) -> int:
    return int(preference > 0.5) - int(preference < 0.5)


def _connected(meetings: Sequence[_Meeting], baseline: str) -> dict[str, int]:
    """A place for each model but the baseline; every one must have met it, or one that did, and so on."""
    met: dict[str, set[str]] = defaultdict(set)
    for meeting in meetings:
        met[meeting.a].add(meeting.b)
        met[meeting.b].add(meeting.a)
    reached, ahead = {baseline}, [baseline]
    while ahead:
        new = met[ahead.pop()] - reached
        reached |= new
        ahead += new
    for model in sorted(met.keys() - reached):
        raise DataError(f"no verdict ties {model!r} to the baseline {baseline!r}", fix="compare it, or leave it out")
    return {model: place for place, model in enumerate(sorted(met.keys() - {baseline}))}


class _Design(NamedTuple):
    """What the log odds are made of, a row each meeting.

    Args:
        known: (R, K): 1 for model a, -1 for b, nothing for the baseline; the last column is the length term.
        prompt: (R,), a place each.
        hard: (R,): 1 where b is the baseline, -1 where a is, 0 for two others.
    """

    known: Floats
    prompt: Places
    hard: Floats

    def by_prompt(self, rows: Floats) -> Floats:
        """Sums over the meetings of each prompt: of (R, K) to (P, K)."""
        prompts = int(self.prompt.max()) + 1
        return np.stack([np.bincount(self.prompt, column, minlength=prompts) for column in rows.T], axis=1)


class _Fit(NamedTuple):
    """Where the penalised likelihood is greatest.

    Args:
        weights: (K,): strengths, then the weight of length.
        hardness: (P,).
        slope: (P, K): by how much a prompt's hardness moves with the weights.
        scores: (P, K): where each prompt alone would move the weights to.
        curve: (K, K): what holds them.
    """

    weights: Floats
    hardness: Floats
    slope: Floats
    scores: Floats
    curve: Floats


def _design(meetings: Sequence[_Meeting], models: Mapping[str, int], baseline: str, unit: float) -> _Design:
    places: dict[str, int] = {}
    prompt = np.array([places.setdefault(meeting.prompt, len(places)) for meeting in meetings], dtype=np.intp)
    known = np.zeros((len(meetings), len(models) + 1))
    for row, meeting in zip(known, meetings, strict=True):
        for model, sign in ((meeting.a, 1), (meeting.b, -1)):
            if model != baseline:
                row[models[model]] = sign
        row[-1] = np.tanh(meeting.longer / unit) if unit else 0.0
    hard = np.array([float((meeting.b == baseline) - (meeting.a == baseline)) for meeting in meetings])
    return _Design(known, prompt, hard)


class _Derivatives(NamedTuple):
    """Of the penalised log likelihood.

    Args:
        weights: (K,), its slope.
        hardness: (P,), its slope.
        curve: (K, K), of the weights once the prompts are eliminated.
        mixed: (P, K), of a prompt with the weights.
        own: (P,), of a prompt alone: a meeting has one prompt, so that part of the Hessian is diagonal.
    """

    weights: Floats
    hardness: Floats
    curve: Floats
    mixed: Floats
    own: Floats


def _fit(design: _Design, wanted: Floats) -> _Fit:
    """Newton's method, halving a step that overshoots."""
    weights, hardness = np.zeros(design.known.shape[1]), np.zeros(int(design.prompt.max()) + 1)
    loss = _loss(design, wanted, weights, hardness)
    for _ in range(MOST_STEPS):
        at = _derivatives(design, wanted, weights, hardness)
        step = np.linalg.solve(at.curve, at.weights - at.mixed.T @ (at.hardness / at.own))
        move = (at.hardness - at.mixed @ step) / at.own
        size = 1.0
        while (new := _loss(design, wanted, weights + size * step, hardness + size * move)) > loss and size > 1e-6:
            size /= 2
        weights, hardness, loss = weights + size * step, hardness + size * move, new
        if max(np.abs(step).max(), np.abs(move).max()) < CLOSE:
            break
    at = _derivatives(design, wanted, weights, hardness)
    missed = wanted - _logistic(_odds(design, weights, hardness))
    scores = design.by_prompt(design.known * missed[:, None])
    return _Fit(weights, hardness, -at.mixed / at.own[:, None], scores, at.curve)


def _derivatives(design: _Design, wanted: Floats, weights: Floats, hardness: Floats) -> _Derivatives:
    chance = _logistic(_odds(design, weights, hardness))
    missed, spread = wanted - chance, chance * (1 - chance)
    own = design.by_prompt((design.hard**2 * spread)[:, None])[:, 0] + HARDNESS_PENALTY
    mixed = design.by_prompt(design.known * (design.hard * spread)[:, None])
    curve = (design.known * spread[:, None]).T @ design.known + SMALL_PENALTY * np.eye(len(weights))
    return _Derivatives(
        design.known.T @ missed - SMALL_PENALTY * weights,
        design.by_prompt((design.hard * missed)[:, None])[:, 0] - HARDNESS_PENALTY * hardness,
        curve - mixed.T @ (mixed / own[:, None]),
        mixed,
        own,
    )


def _odds(design: _Design, weights: Floats, hardness: Floats) -> Floats:
    odds: Floats = design.known @ weights + design.hard * hardness[design.prompt]
    return odds


def _loss(design: _Design, wanted: Floats, weights: Floats, hardness: Floats) -> float:
    odds = _odds(design, weights, hardness)
    penalty = SMALL_PENALTY * (weights @ weights) + HARDNESS_PENALTY * (hardness @ hardness)
    return float((np.logaddexp(0, odds) - wanted * odds).sum() + penalty / 2)


def _logistic(odds: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -odds))


def _rate(fit: _Fit, place: int) -> Interval:
    """The mean prediction without the length term, with its interval over prompts.

    A prompt counts by its own prediction and by how it moves the weights; as in `mean_interval`, half an imaginary
    prompt at each end takes part. What only the penalty holds (strength and length, if a model is always longer by as
    much) is as open as the penalty lets it be.
    """
    chance = _logistic(fit.weights[place] + fit.hardness)  # (P,)
    spread = chance * (1 - chance)
    slope = (spread[:, None] * fit.slope).mean(axis=0)
    slope[place] += spread.mean()
    moved = np.linalg.solve(fit.curve, slope)
    each = chance + len(chance) * (fit.scores @ moved)
    pool = np.concatenate([each, each, [0.0, 1.0]])
    value, centre = float(chance.mean()), float(pool.mean())
    reach = NormalDist().inv_cdf(0.975) * float(pool.var() / (len(each) + 1) + SMALL_PENALTY * (moved @ moved)) ** 0.5
    low, high = max(0.0, min(value, centre - reach)), min(1.0, max(value, centre + reach))
    return Interval(value, low, high, len(each))
