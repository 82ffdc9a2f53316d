"""Arms that train equally long: as many tokens, or as many optimiser steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple

from seqtune.experiment.settings import Match
from seqtune.experiment.trials import Trial
from seqtune.training.intake import rendered_rows
from seqtune.training.plan import Plan
from seqtune.training.planning import plan_figures, planned
from seqtune.training.resolution import resolve
from seqtune.training.rows import Rendered
from seqtune.training.settings import TrainSettings


@dataclass(frozen=True)
class Size:
    """What a training takes: rows, and those left out; tokens of prompts and answers; optimiser steps."""

    rows: int
    unused: int
    tokens: int
    steps: int


def match_lengths(trials: Sequence[Trial], match: Match) -> list[Trial]:
    """The trials of one seed, with how long each of them trains.

    Both tokens and steps are asked for as `max_tokens`: a plan stops at the step with which so many were seen.

    Args:
        trials: of one seed; those that go on after another stay as they are.
        match: "rows" changes nothing here.
    """
    matched = [trial for trial in trials if not trial.after and "max_tokens" not in trial.train]
    if match == "rows" or not matched:
        return [*trials]
    looks = {trial.arm: _look(trial) for trial in matched}
    if match == "tokens":
        limits = dict.fromkeys(looks, max(look.size().tokens for look in looks.values()))
    else:
        steps = max(look.size().steps for look in looks.values())
        limits = {arm: look.tokens_of(steps) for arm, look in looks.items()}
    return [
        replace(trial, train={**trial.train, "max_tokens": limits[trial.arm]}) if trial.arm in limits else trial
        for trial in trials
    ]


def size(trial: Trial) -> Size:
    """What the training of a trial takes that goes on from no other."""
    return _look(trial).size()


class _Look(NamedTuple):
    """A trial's settings and rendered rows, from which plans are made."""

    settings: TrainSettings
    rendered: Rendered[Any]

    def size(self) -> Size:
        found = plan_figures(self.settings, self.rendered, self._plan(self.settings))
        return Size(found["rows"], found["unused"], found["tokens"], found["steps"])

    def tokens_of(self, steps: int) -> int:
        """How many tokens the first so many steps see, over as many epochs as that takes."""
        plans = (self._plan(self.settings.model_copy(update={"epochs": epochs})).steps for epochs in count(1))
        first = next(plan for plan in plans if len(plan) >= steps)[:steps]
        return sum(len(self.rendered.rows[i].ids) for step in first for batch in step for i in batch)

    def _plan(self, settings: TrainSettings) -> Plan:
        return planned(settings, self.rendered, "positions" if settings.packing else None)


def _look(trial: Trial) -> _Look:
    settings = resolve(trial.dataset, trial.model, trial.folder, {**trial.train, "seed": trial.seed})
    return _Look(settings, rendered_rows(settings, trial.dataset)[1])
