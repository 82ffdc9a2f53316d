"""`run_experiment`: a recipe in; builds, trainings and evaluations of all arms and seeds, and one table, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seqtune.data.folder import SUMMARY, check_folder, read_object, versions, working_in, write_summary
from seqtune.errors import RunFolderError
from seqtune.experiment.matching import Size, match_lengths, size
from seqtune.experiment.results import Results, gather
from seqtune.experiment.rows import is_known, make_rows, make_tokenizer
from seqtune.experiment.settings import Experiment, check_experiment
from seqtune.experiment.table import write_results
from seqtune.experiment.trials import Say, Tell, Trial, carry_out, is_made
from seqtune.recipe import Document, put, read_recipe, refuse, write_recipe
from seqtune.training.model import PACKAGES, load_tokenizer, require_packages
from seqtune.training.settings import TINY


@dataclass(frozen=True)
class Experimented:
    """An experiment that is over.

    Args:
        out: its folder: build/, train/ and eval/ with a run folder for each arm (and seed), results.json, results.md.
        results: the table.
    """

    out: Path
    results: Results


@dataclass(frozen=True)
class Prospect:
    """What would be done for an arm with a seed.

    Args:
        arm, seed, after: which.
        size: what its training would take; None where its rows, or the model that it goes on from, are not there yet.
        trained, tested: whether these are finished already.
    """

    arm: str
    seed: int
    after: str
    size: Size | None
    trained: bool = False
    tested: bool = False


def plan_experiment(recipe: str | Path | Mapping[str, Any], *, sets: Sequence[str] = (), **options: Any) -> Experiment:
    """Check a recipe, and options put over it, without touching any data.

    Args:
        recipe: a YAML file, the name of a shipped one, or the same as a mapping.
        sets: "train.epochs=2" and the like.
        options: keys of the `experiment:` section; also `model` (of `train:`) and `from_` (of `build:`).

    Raises:
        RecipeError: with every problem at once.
    """
    document = Document(dict(recipe), "the recipe") if isinstance(recipe, Mapping) else read_recipe(recipe)
    for name, value in options.items():
        section, key = {"model": ("train", "model"), "from_": ("build", "from")}.get(name, ("experiment", name))
        written = document.values.get(section) or {}
        if value is not None and isinstance(written, dict):  # what is no mapping is told by the check
            document.values[section] = {**written, key: value}
    found, problems = check_experiment(put(document, sets))
    refuse(problems)
    assert found
    return found


def run_experiment(
    recipe: str | Path | Mapping[str, Any],
    *,
    sets: Sequence[str] = (),
    overwrite: bool = False,
    say: Say | None = None,
    tell: Tell | None = None,
    **options: Any,
) -> Experimented:
    """Build, train and test every arm with every seed, and say how far they differ.

    Killed at any time, the same call goes on: finished runs are not done again, and half of one is resumed.

    Args:
        recipe, sets, options: see `plan_experiment`.
        overwrite: take the folder whatever it holds; runs in it that are the same are still not done again.
        say: called with what is going on ("train sit, seed 0", ...) and how far it is: a Loss, or a number of answers.
        tell: called with what the user should know besides.

    Raises:
        RecipeError: with every problem of the recipe at once.
        SeqtuneError: as `build`, `train` and `evaluate` do.
    """
    require_packages("an experiment")
    experiment = plan_experiment(recipe, sets=sets, **options)
    claimed: dict[str, Any] = {"command": "experiment", "fingerprint": experiment.fingerprint}
    _check_folder(experiment, overwrite)
    with working_in(experiment.out, **claimed, overwrite=overwrite):
        write_recipe(experiment.recipe, experiment.out / "recipe.yaml")
        outcomes = carry_out(_trials(experiment, experiment.out, tell), say=say, tell=tell)
        settings = experiment.settings
        results = gather(outcomes, name=experiment.name, match=settings.match, measure=settings.measure)
        write_results(results, experiment.out)
        write_summary(experiment.out, {**claimed, "finished": True, "versions": versions(*PACKAGES)})
    return Experimented(experiment.out, results)


def look_ahead(experiment: Experiment) -> list[Prospect]:
    """What `run_experiment` would do; rows for which no teacher is asked are built aside and thrown away.

    Raises:
        RunFolderError: the folder holds something else.
    """
    require_packages("an experiment")
    _check_folder(experiment)
    seeds = experiment.settings.seeds
    if not all(is_known(experiment, seed) for seed in seeds):
        return [Prospect(name, seed, arm.after, None) for seed in seeds for name, arm in experiment.arms.items()]
    with TemporaryDirectory() as spare:
        return [_prospect(trial, experiment.out) for trial in _trials(experiment, Path(spare), None)]


def _check_folder(experiment: Experiment, overwrite: bool = False) -> None:
    """As `check_folder`, which does not know that an experiment keeps the runs that stay the same.

    Raises:
        RunFolderError: the folder holds something else.
    """
    try:
        check_folder(experiment.out, "experiment", experiment.fingerprint, overwrite=overwrite)
    except RunFolderError as error:
        if read_object(experiment.out / SUMMARY).get("command") != "experiment":
            raise
        raise RunFolderError(
            "an experiment with another recipe stands here (recipe.yaml; other seeds alone would go on)",
            where=error.where,
            fix="choose another --out, or pass --overwrite: finished runs made of the same rows, settings and model are"
            " kept, and only the others are done again",
        ) from None


def _prospect(trial: Trial, out: Path) -> Prospect:
    """The folders of the trial itself are aside; what is finished stands in the experiment's own."""
    place = Path(trial.arm, f"seed-{trial.seed}")
    trained = is_made(out / "train" / place, trial.training_key)
    tested = trained and is_made(out / "eval" / place, trial.evaluation_key)
    after = trial.after.arm if trial.after else ""
    return Prospect(trial.arm, trial.seed, after, None if trial.after else size(trial), trained, tested)


def _trials(experiment: Experiment, root: Path, tell: Tell | None) -> list[Trial]:
    """All that is to be trained and tested, seed by seed; their rows are made here.

    Args:
        experiment: checked.
        root: where everything is written.
        tell: called before a build starts.
    """
    trials: list[Trial] = []
    for model in {str(experiment.trains[arm].get("model", TINY)) for arm in experiment.matched} - {TINY}:
        load_tokenizer(model)  # a model of the hub is known by its commit only once this is here
    for i, seed in enumerate(experiment.settings.seeds):
        if experiment.settings.build_each_seed or i == 0:
            rows = make_rows(experiment, seed, root, tell)
            tokenizer = _tokenizer(experiment, rows, root / "tokenizer" / f"seed-{seed}")
        trials += _trials_of(experiment, seed, rows, tokenizer, root)
    return trials


def _tokenizer(experiment: Experiment, rows: Mapping[str, str], folder: Path) -> str:
    """One for all models that are made from scratch without one; "" where there is no such model."""
    models = [experiment.trains[arm] for arm in experiment.matched]
    bare = any(train.get("model", TINY) == TINY and not train.get("tokenizer") for train in models)
    return make_tokenizer(rows, folder) if bare else ""


def _trials_of(experiment: Experiment, seed: int, rows: Mapping[str, str], tokenizer: str, root: Path) -> list[Trial]:
    def trial(name: str) -> Trial:
        options = dict(experiment.trains[name])
        model = str(options.pop("model", TINY))
        if model == TINY and not experiment.arms[name].after:
            options.setdefault("tokenizer", tokenizer)
        folders = root / "train" / name / f"seed-{seed}", root / "eval" / name / f"seed-{seed}"
        return Trial(name, seed, rows[name], *folders, options, evaluate=experiment.evaluate, model=model)

    equal = match_lengths([trial(name) for name in experiment.matched], experiment.settings.match)
    found = {one.arm: one for one in equal}
    for name, arm in experiment.arms.items():
        if arm.after:
            found[name] = replace(trial(name), after=found[arm.after])
    return [found[name] for name in experiment.arms]
