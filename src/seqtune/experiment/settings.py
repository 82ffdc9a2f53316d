"""What an experiment may be told: the `experiment:` section of a recipe, and what its arms share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import xxhash
from pydantic import Field, field_validator

from seqtune.building.settings import check_build
from seqtune.errors import RecipeError, did_you_mean
from seqtune.evaluation.resolution import resolve
from seqtune.evaluation.settings import EvaluateSettings
from seqtune.recipe import Document, Location, Strict, check, check_sections
from seqtune.training.settings import NOT_OF_PREFERENCES, PREFERENCES, RATES, RATES_OF_ANSWERS, TrainSettings

Match = Literal["rows", "tokens", "steps"]
Take = Literal["chains", "control"]

# What an experiment itself says to each training and evaluation; nobody else may.
OURS = {
    "train": ("dataset", "out", "seed", "overwrite", "push", "processes"),
    "evaluate": ("model", "out", "overwrite", "responses", "phase"),
    "build": ("out",),
}
LENGTH = ("epochs", "max_tokens")  # how long an arm trains is what arms are matched in
ADAPTERS = ("lora", "qlora")
# What means something else, or nothing, to a method that learns in another way.
OF_LEARNING = (*NOT_OF_PREFERENCES, "rows_per_step", "accumulate", "too_long", "save_every", "trl")


class ArmSettings(Strict):
    """One of the `arms:`; its name is that of its folders.

    Args:
        dataset: a file of rows; by default the rows are built as the recipe's `build:` says.
        build: keys that go over the recipe's `build:` section for this arm.
        take: of a build, "chains" are its examples, and "control" the same rows without the chains.
        train: keys that go over the recipe's `train:` section for this arm. Where its `method` is another than the
            shared one, what belongs to that one is not taken over: `learning_rate` where the methods have different
            defaults (whole weights, adapters, preference); `lora` and `merge` unless it is lora or qlora; and
            between answers, dpo and grpo also `rows_per_step`, `accumulate`, `batch_tokens`, `packing`, `order`,
            `max_tokens`, `too_long`, `save_every`, `trl` and whatever only one of them has (`beta`, `answers`, ...).
        after: an arm that stands before this one, and whose model this one goes on from, seed by seed; an adapter that
            was not merged is trained on. It takes neither `epochs` nor `max_tokens` from the shared `train:` section.
    """

    dataset: str = ""
    build: dict[str, Any] = Field(default={})
    take: Take = "chains"
    train: dict[str, Any] = Field(default={})
    after: str = ""


class ExperimentSettings(Strict):
    """The `experiment:` section.

    Args:
        out: the folder for everything.
        seeds: of the weights and of the order of rows; each arm is trained once with each. Seeds may be added later:
            the same command goes on with those.
        match: what the arms are equal in. "rows": as many rows; larger sets are sampled down, before what is too long
            is left out, which the table tells. "tokens": as many tokens, prompts and answers together:
            `train.max_tokens`, or those of the largest arm, and the others go over their rows more often. "steps": as
            many optimiser steps, those of the largest arm. An arm that goes on after another is not matched; the table
            says what it took. Arms with method dpo or grpo can only be matched in rows.
        measure: the one that is printed, e.g. "exact", "strict", "soft"; by default that which stands for the suite.
            results.json has all.
        build_each_seed: build the rows anew for each seed, in place of once (`build.seed` is then the seed).
        arms: name -> see ArmSettings; all others are compared with the first.
    """

    out: str
    seeds: Annotated[list[int], Field(min_length=1)] = Field(default=[0, 1, 2])
    match: Match = "rows"
    measure: str = ""
    build_each_seed: bool = False
    arms: Annotated[dict[Annotated[str, Field(pattern=r"^\w[\w.+-]*$")], Any], Field(min_length=1)]

    @field_validator("seeds")
    @classmethod
    def _differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands there twice, and would be the same run")
        return seeds


@dataclass(frozen=True)
class Experiment:
    """A checked recipe of an experiment.

    Args:
        recipe: as it was given, with what was put over it.
        settings: its own section.
        arms: by name, in their order.
        builds: by arm, the whole `build:` section; none for arms with a dataset.
        trains: by arm, the whole `train:` section.
        evaluate: the `evaluate:` section.
    """

    recipe: Mapping[str, Any]
    settings: ExperimentSettings
    arms: Mapping[str, ArmSettings]
    builds: Mapping[str, Mapping[str, Any]]
    trains: Mapping[str, Mapping[str, Any]]
    evaluate: Mapping[str, Any]

    @property
    def out(self) -> Path:
        """The folder for everything."""
        return Path(self.settings.out)

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.recipe.get("name") or "experiment")

    @property
    def fingerprint(self) -> str:
        """The same for the same recipe, wherever it writes and whatever its seeds: no seed touches another's runs."""
        own = {key: value for key, value in self.recipe["experiment"].items() if key not in ("out", "seeds")}
        values = {**self.recipe, "experiment": own}
        return xxhash.xxh3_128_hexdigest(msgspec.json.encode(values, order="deterministic"))

    @property
    def matched(self) -> list[str]:
        """The arms that are to be equal: those that do not go on from another."""
        return [name for name, arm in self.arms.items() if not arm.after]


def check_experiment(document: Document) -> tuple[Experiment | None, list[str]]:
    """The recipe of an experiment, and every problem in it at once."""
    if problems := check_sections(document):
        return None, problems
    sections = {name: document.values.get(name) or {} for name in ("build", "train", "evaluate", "experiment")}
    settings, problems = check(document, ("experiment",), sections["experiment"], ExperimentSettings)
    arms, more = _check_arms(document, sections["experiment"].get("arms"))
    problems += [*more, *_ours(document, ("train",)), *_ours(document, ("evaluate",)), *_ours(document, ("build",))]
    problems += _check_evaluate(document)
    problems += _check_trainings(document, arms, settings.match if settings else None)
    builds, more = _check_builds(document, arms)
    problems += more
    if problems or settings is None:
        return None, [*dict.fromkeys(problems)]
    trains = {name: _training(sections["train"], arm) for name, arm in arms.items()}
    # As JSON has it: numbers that were read from YAML know how they were written, and cannot be written plainly.
    recipe = json.loads(json.dumps(document.values))
    return Experiment(recipe, settings, arms, builds, trains, sections["evaluate"]), []


def _training(shared: Mapping[str, Any], arm: ArmSettings) -> dict[str, Any]:
    """An arm's whole `train:` section."""
    method = shared.get("method", "full")
    left_out = _belonging(str(method), str(arm.train.get("method", method)))
    left_out |= {"model", "tokenizer", *LENGTH} if arm.after else set()
    return {**{key: value for key, value in shared.items() if key not in left_out}, **arm.train}


def _belonging(one: str, other: str) -> set[str]:
    """The keys that belong to one method and are not for the other."""
    if one == other:
        return set()
    found: set[str] = set() if other in ADAPTERS else {"lora", "merge"}
    if _rates(one) != _rates(other):
        found |= {"learning_rate"}
    if one in PREFERENCES or other in PREFERENCES:
        found |= {*OF_LEARNING, *PREFERENCES.get(one, ())}
    return found


def _rates(method: str) -> tuple[float, ...]:
    """What the learning rate is by default, for methods that take an adapter always, or never, or may take one."""
    return RATES.get(method) or RATES_OF_ANSWERS[method in ADAPTERS :][:1]


def _check_arms(document: Document, given: Any) -> tuple[dict[str, ArmSettings], list[str]]:
    arms: dict[str, ArmSettings] = {}
    problems: list[str] = []
    for name, value in given.items() if isinstance(given, dict) else ():
        at = ("experiment", "arms", name)
        arm, found = check(document, at, {} if value is None else value, ArmSettings)
        if arm:
            found += [f"{document.place((*at, key))}: {text}" for key, text in _faults(arm, arms)]
        problems += found
        arms[name] = arm or ArmSettings()
    return arms, problems


def _faults(arm: ArmSettings, before: Sequence[str] | Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What does not go together in an arm, by the key that it stands at."""
    if arm.dataset and arm.build:
        yield "build", "an arm has rows of its own from 'dataset' or from 'build', not from both"
    if arm.dataset and arm.take == "control":
        yield "take", "'take: control' is of a build, and this arm has a dataset"
    if arm.after and arm.after not in before:
        known = ", ".join(before) or "none"
        yield "after", f"no arm before this one is called {arm.after!r}{did_you_mean(arm.after, before)} ({known})"


def _ours(document: Document, location: Location, more: Mapping[str, str] | None = None) -> list[str]:
    """Keys of a section that the experiment sets, or that `more` says why not to set."""
    section: Any = document.values
    for key in location:
        section = (section or {}).get(key)
    said = dict.fromkeys(OURS[str(location[-1])], "the experiment sets it itself")
    said |= {"seed": "give experiment.seeds"} if location[-1] == "train" else {}
    said |= more or {}
    name = ".".join(map(str, location))
    return [f"{document.place((*location, key))}: {name}.{key}: {said[key]}" for key in section or {} if key in said]


def _check_evaluate(document: Document) -> list[str]:
    section = document.values.get("evaluate") or {}
    values = {"model": "model", "out": "out", **section}
    return check(document, ("evaluate",), values, EvaluateSettings)[1] or _check_suite(document, section)


def _check_suite(document: Document, section: Mapping[str, Any]) -> list[str]:
    """What the suite cannot take, which no one is to hear after hours of training."""
    own = {name: value for name, value in section.items() if name not in ("model", "out", "suite")}
    try:
        resolve("model", section.get("suite", "chains"), "out", own)
    except RecipeError as error:
        return [f"{document.place(('evaluate',))}: {error.what}"]
    return []


def _check_trainings(document: Document, arms: Mapping[str, ArmSettings], match: Match | None) -> list[str]:
    """What is wrong with the trainings; of a match that is none, nothing more is said."""
    shared = document.values.get("train") or {}
    fixed = {"dataset": "dataset", "out": "out"}
    problems = check(document, ("train",), {**fixed, **shared}, TrainSettings)[1]
    if "max_tokens" in shared and match in ("rows", "steps"):
        place = document.place(("train", "max_tokens"))
        problems.append(
            f"{place}: train.max_tokens says how long an arm trains, and so does 'match: {match}'; drop one"
        )
    sound = {} if problems else shared
    for name, arm in arms.items():
        at = ("experiment", "arms", name, "train")
        matched = dict.fromkeys(LENGTH, "arms are matched in how long they train; say it in 'train:', for all of them")
        said = {"model": f"it goes on from {arm.after!r}"} if arm.after else matched
        problems += _ours(document, at, said)
        values = {**fixed, **_training(sound, arm), **({"model": arm.after} if arm.after else {})}
        settings, found = check(document, at, values, TrainSettings)
        problems += found if arm.train else []
        if settings and settings.prefers and not arm.after and match in ("tokens", "steps"):
            place = document.place((*at, "method") if "method" in arm.train else ("train", "method"))
            what = f"how long method {settings.method} trains is not matched in {match}"
            problems.append(f"{place}: {what}: give 'match: rows', or let {name!r} go on 'after' another arm")
    return problems


def _check_builds(document: Document, arms: Mapping[str, ArmSettings]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    builds: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name, arm in arms.items():
        if arm.dataset:
            continue
        at = ("experiment", "arms", name, "build")
        problems += _ours(document, at)
        builds[name] = {**(document.values.get("build") or {}), **arm.build}
        _, _, found = check_build(_for_build(document, builds[name], at, arm))
        problems += found
        if arm.take == "control" and builds[name].get("control") == "none":
            problems.append(
                f"{document.place((*at[:3], 'take'))}: 'take: control' needs a build whose control is not none"
            )
    return builds, problems


def _for_build(document: Document, section: Mapping[str, Any], at: Location, arm: ArmSettings) -> Document:
    """A recipe with that one build, whose keys stand where they were written: at the arm, or in the shared section."""

    def moved(places: Mapping[Location, Any]) -> dict[Location, Any]:
        inherited = {
            key: place for key, place in places.items() if key[:1] == ("build",) and not {*key[1:2]} & arm.build.keys()
        }
        own = {("build", *key[len(at) :]): place for key, place in places.items() if key[: len(at)] == at}
        return inherited | own

    return Document({"build": {**section}}, document.source, moved(document.lines), moved(document.given))
