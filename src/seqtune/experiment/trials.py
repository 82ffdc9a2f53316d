"""Trials: one arm with one seed, trained and tested in run folders of its own; what is finished is not done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import xxhash

from seqtune.data.folder import SEAL, read_summary, write_json
from seqtune.errors import RunFolderError
from seqtune.evaluation.judging.qualification import qualification_file
from seqtune.evaluation.run import evaluate
from seqtune.evaluation.suite import Suite
from seqtune.training.loss import Loss
from seqtune.training.model import model_identity
from seqtune.training.run import train
from seqtune.training.settings import TINY

Say = Callable[[str, "Loss | int"], object]
Tell = Callable[[str], object]


@dataclass(frozen=True)
class Trial:
    """One arm with one seed.

    Args:
        arm: its name.
        seed: of the weights and of the order of rows.
        dataset: its rows, as `train` takes them.
        folder: of the training; tested: of the evaluation.
        train: what `train` is told besides.
        suite: what is asked, where `evaluate` does not say it.
        evaluate: what `evaluate` is told besides.
        model: what is trained; of a trial that goes on after another, `after.model`.
        after: the trial of which this one goes on.
    """

    arm: str
    seed: int
    dataset: str
    folder: Path
    tested: Path
    train: Mapping[str, Any]
    suite: Suite | None = None
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    model: str = TINY
    after: Trial | None = None

    @property
    def start(self) -> str:
        """The model that is trained."""
        return str(self.after.folder / "model") if self.after else self.model

    @property
    def title(self) -> str:
        """What it is called while it runs."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def training_key(self) -> str:
        """The same for a training of the same: rows, settings, and all that led to the model it starts from."""
        start = self.after.training_key if self.after else model_identity(self.model)
        tokenizer = self.train.get("tokenizer")
        held = {"tokenizer": content_hash(str(Path(tokenizer, "tokenizer.json")))} if tokenizer else {}
        return content_key("train", start, self.seed, content_hash(self.dataset), {**self.train, **held})

    @property
    def evaluation_key(self) -> str:
        """The same for the same questions to the same model, scored by the same checklist and a judge checked alike."""
        asked = self.suite.hash if self.suite else content_hash(str(self.evaluate.get("suite", "")))
        held = {name: told(self.evaluate[name]) for name, told in _HELD.items() if self.evaluate.get(name)}
        return content_key("eval", self.training_key, asked, {**self.evaluate, **held})


class TrialOutcome(NamedTuple):
    """A trial that is over: what its two run.json say."""

    trial: Trial
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]


def content_key(*parts: Any) -> str:
    """A hash of values that JSON can hold."""
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode(parts, order="deterministic", enc_hook=str))


def content_hash(name: str) -> str:
    """A hash of what a file holds, or the name of what is no file."""
    if not Path(name).is_file():
        return name
    found = xxhash.xxh3_128()
    with Path(name).open("rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def _folder_hash(name: str) -> str:
    """A hash of what a file holds, or all files of a folder; the name of what is neither."""
    folder = Path(name)
    if not folder.is_dir():
        return content_hash(name)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return content_key(*[(file.relative_to(folder), content_hash(str(file))) for file in files])


# What an evaluation is told by its path, and what says whether it is still the same.
_HELD: Mapping[str, Callable[[str], str]] = {
    "data": _folder_hash,
    "checklist": content_hash,
    "judge_check": lambda place: content_hash(str(qualification_file(place))),
}


def once(folder: Path, key: str, make: Callable[[], object], tell: Tell | None = None) -> dict[str, Any]:
    """Make what belongs into a run folder, unless it stands there finished and made of the same; gives its run.json.

    Args:
        folder: of the run. What was made of something else is moved aside (NAME.old): an evaluation, for one, would
            take the answers of another model for those of this one, which has the same path.
        key: hash of all that it is made of.
        make: runs a command of seqtune, which resumes by itself where it was killed.
        tell: called with what was moved aside.

    Raises:
        RunFolderError: the folder holds something that no experiment made.
    """
    sealed = _sealed(folder)
    if is_made(folder, key):
        return read_summary(folder)
    if sealed is None and folder.exists() and any(folder.iterdir()):
        raise RunFolderError("no experiment made what stands here", where=str(folder), fix="choose another --out")
    if sealed not in (None, key):
        _move_aside(folder, tell)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SEAL, {"key": key})
    make()
    return read_summary(folder)


def _move_aside(folder: Path, tell: Tell | None) -> None:
    names = (f"{folder.name}.old{number or ''}" for number in count())
    aside = next(place for place in map(folder.with_name, names) if not place.exists())
    folder.rename(aside)
    if tell:
        tell(
            f"{folder} was made of other rows, settings or files: it is made anew, and the old one is now {aside.name}"
        )


def is_made(folder: Path, key: str) -> bool:
    """Whether a finished run that was made of the same stands in a folder."""
    return _sealed(folder) == key and is_finished(folder)


def is_finished(folder: Path) -> bool:
    """Whether a run in a folder came to its end."""
    try:
        return bool(read_summary(folder))
    except RunFolderError:
        return False


def _sealed(folder: Path) -> str | None:
    """The key that stands in a folder; None where there is none, "" where it cannot be read."""
    try:
        return str(msgspec.json.decode((folder / SEAL).read_bytes(), type=dict[str, str]).get("key"))
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ""


def carry_out(trials: Sequence[Trial], *, say: Say | None = None, tell: Tell | None = None) -> list[TrialOutcome]:
    """Train and test each trial that is not finished yet, in their order.

    Args:
        trials: one that goes on after another stands after it.
        say: called with what is going on ("train it, seed 0", ...) and how far it is.
        tell: called with what the user should know besides.

    Raises:
        SeqtuneError: as `train` and `evaluate` do; what is finished stays, and the same call goes on from there.
    """
    return [_carry_out(trial, say, tell) for trial in trials]


def _carry_out(trial: Trial, say: Say | None, tell: Tell | None) -> TrialOutcome:
    # "overwrite", because the seal stands in the folder already, which `once` has seen to be ours.
    training = once(trial.folder, trial.training_key, lambda: _train(trial, say, tell), tell)
    evaluation = once(trial.tested, trial.evaluation_key, lambda: _evaluate(trial, say), tell)
    return TrialOutcome(trial, training, evaluation)


def _train(trial: Trial, say: Say | None, tell: Tell | None) -> None:
    train(
        trial.dataset,
        trial.start,
        out=trial.folder,
        seed=trial.seed,
        overwrite=True,
        say=(lambda loss: say(f"train {trial.title}", loss)) if say else None,
        tell=tell,
        **trial.train,
    )


def _evaluate(trial: Trial, say: Say | None) -> None:
    options = {**trial.evaluate, **({"suite": trial.suite} if trial.suite else {})}
    evaluate(
        trial.folder / "model",
        out=trial.tested,
        overwrite=True,
        say=(lambda done: say(f"answer {trial.title}", done)) if say else None,
        **options,
    )
