"""A page to label answers by hand: one file, which needs no network and works from the disk."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from random import Random
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from seqtune.data.example import prompt_text
from seqtune.data.folder import replacing
from seqtune.errors import RecipeError, RunFolderError
from seqtune.evaluation.labelling.labels import WHOLE, Shown, judgeable_answers
from seqtune.evaluation.suite import GROUP

NAME = "label.html"


class _Asked(NamedTuple):
    """One question of the page: a step, what the judge said ("" where that is hidden), whether a program judged it."""

    place: int
    text: str
    judge: str
    by_program: bool


class _Card(NamedTuple):
    """One answer of the page."""

    item: str
    hash: str
    system: str
    prompt: str
    answer: str
    steps: tuple[_Asked, ...]


def label_page(
    run_folder: str | Path,
    *,
    out: str | Path | None = None,
    count: int = 200,
    seed: int = 0,
    blind: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a page on which some answers of a run are labelled by hand: is each step done, and how good is the whole?

    What was labelled stays in the browser, and `Save` gives it as labels.jsonl, for `correct_by_labels`. The answers
    are drawn at random, of each split as many as it has of all, and stand in random order: the first fifty are a sample
    too.

    Args:
        run_folder: of `seqtune eval`.
        out: the page; label.html in the folder by default.
        count: the most answers.
        seed: other seeds draw others.
        blind: show nothing of what the judge said. Who sees it agrees with it more often.
        overwrite: replace a page that is there, though somebody may be labelling it.

    Raises:
        RecipeError: a count under 1.
        RunFolderError: no run with answers stands there, or a page is there already.
        DataError: one of the run's files holds a broken line.
    """
    if count < 1:
        raise RecipeError(f"count is {count}", fix="give a number above 0")
    run = judgeable_answers(run_folder)
    told = [one for one in run.answers if one.scored and not one.scored.unscored] or run.answers
    if not told:
        raise RunFolderError("the run holds no answers", where=str(run_folder), fix="run seqtune eval to its end")
    path = Path(out) if out else Path(run_folder) / NAME
    if path.exists() and not overwrite:
        fix = "go on with it, or choose another --out, or pass --overwrite"
        raise RunFolderError("a page is here already", where=str(path), fix=fix)
    html = _render([_card(one, blind) for one in sample(told, count, seed)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(html.encode("utf-8", "replace"))
    return path


def sample(answers: Sequence[Shown], count: int, seed: int) -> list[Shown]:
    """Answers drawn at random, of each split in proportion; the largest remainders get what is left over."""
    splits: dict[str, list[Shown]] = {}
    for one in answers:
        splits.setdefault(str(one.item.meta.get(GROUP, "")), []).append(one)
    exact = {name: min(count, len(answers)) * len(ones) / len(answers) for name, ones in splits.items()}
    wanted = {name: int(share) for name, share in exact.items()}
    left = min(count, len(answers)) - sum(wanted.values())
    for name in sorted(exact, key=lambda name: (wanted[name] - exact[name], name))[:left]:
        wanted[name] += 1
    drawn = [one for name, ones in splits.items() for one in Random(f"{seed}/label/{name}").sample(ones, wanted[name])]
    Random(f"{seed}/label order").shuffle(drawn)
    return drawn


def _card(shown: Shown, blind: bool) -> _Card:
    said = {} if blind or not shown.scored else {step.step: step.done for step in shown.scored.steps}
    checked = {step.step for step in shown.scored.steps if step.check != "judge"} if shown.scored else ()
    steps = [_Asked(place, text, _words(said.get(place)), place in checked) for place, text in shown.steps.items()]
    return _Card(shown.item.id, shown.hash, shown.item.system, prompt_text(shown.item), shown.text, tuple(steps))


def _words(done: bool | None) -> str:
    return "" if done is None else "yes" if done else "no"


def _render(cards: Sequence[_Card]) -> str:
    style, script = _part("page.css"), _part("page.js")
    environment = Environment(
        loader=PackageLoader("seqtune.evaluation.labelling", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    key = hashlib.sha256("".join(card.hash for card in cards).encode()).hexdigest()[:16]
    # The policy lets in nothing but the two parts by their hashes, so that nothing in an answer can run, or call home.
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; " + (
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html").render(
        cards=cards, style=Markup(style), script=Markup(script), policy=policy, key=key, whole=WHOLE
    )


def _part(name: str) -> str:
    return resources.files("seqtune.evaluation.labelling").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
