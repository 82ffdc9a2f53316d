"""How far the judges of one run agree: kappa of two, alpha of any number, on whole answers, steps and quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import msgspec

from seqtune.data.folder import read_summary
from seqtune.errors import RecipeError, RunFolderError
from seqtune.evaluation.judging.original import FOLLOWING
from seqtune.evaluation.ledger import open_ledger
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.statistics.agreement import cohen_kappa, krippendorff_alpha
from seqtune.evaluation.statistics.bootstrap import Interval

Unit = tuple[Hashable, ...]  # of what a judge says something: an item, or one of its steps; the item comes first
Said = dict[Unit, "float | bool"]


class Agreement(msgspec.Struct, frozen=True):
    """How far judges agree, 0 as by chance and 1 in everything, with 95 % intervals.

    Args:
        judges: whose verdicts are compared.
        answers: how many at least two of them judged.
        kappa: of two judges, Cohen's: "strict" and "steps"; nothing of three or more.
        alpha: of all, Krippendorff's: "strict" and "steps" (nominal), "quality" (ordinal). What no two judged
            is not there.
    """

    judges: tuple[str, ...]
    answers: int
    kappa: dict[str, Interval]
    alpha: dict[str, Interval]


def agree(run_folder: str | Path, judges: Sequence[str] | None = None) -> Agreement:
    """How far the judges of a run agree on the same answers.

    Args:
        run_folder: of `seqtune eval`, judged by two or more, one after another.
        judges: their names as verdicts.jsonl has them, or how these begin (a model's name); all by default.

    Raises:
        RunFolderError: no finished run of `seqtune eval` stands there, or fewer than two judged it.
        RecipeError: no judge, or more than one, is called so.
        DataError: a line of verdicts.jsonl that is none.
    """
    folder = Path(run_folder)
    if read_summary(folder).get("command") != "eval" or not (folder / "verdicts.jsonl").is_file():
        fix = "give the folder of one that was judged"
        raise RunFolderError("this is no judged run of 'seqtune eval'", where=str(folder), fix=fix)
    found: dict[str, dict[str, Scored]] = {}
    with open_ledger(folder / "verdicts.jsonl", Scored) as ledger:
        for one in ledger:
            found.setdefault(one.judge, {})[one.item] = one
    wanted = [*found] if judges is None else [*dict.fromkeys(_named(judge, [*found]) for judge in judges)]
    if len(wanted) < 2:
        what = f"only {', '.join(wanted) or 'nobody'} judged this run" if judges is None else f"only {wanted} is named"
        fix = "judge it again: seqtune eval --phase judge --out DIR --judge ANOTHER"
        raise RunFolderError(what, where=str(folder), fix=fix)
    return _agreement({judge: found[judge] for judge in wanted})


def _named(judge: str, known: Sequence[str]) -> str:
    fitting = [one for one in known if one == judge] or [one for one in known if one.startswith(judge)]
    if len(fitting) == 1:
        return fitting[0]
    what = f"{len(fitting) or 'none'} of the run's judges is called {judge!r}"
    raise RecipeError(what, fix=f"choose from {'; '.join(known)}")


def _agreement(scored: Mapping[str, Mapping[str, Scored]]) -> Agreement:
    kappa: dict[str, Interval] = {}
    alpha: dict[str, Interval] = {}
    for name, (of, ordinal) in _KINDS.items():
        items, rows = _rows([of([*one.values()]) for one in scored.values()])
        if items:
            alpha[name] = krippendorff_alpha(rows, "ordinal" if ordinal else "nominal", clusters=items)
            if len(rows) == 2 and not ordinal:
                kappa[name] = cohen_kappa(*rows, clusters=items)
    judged = Counter(item for one in scored.values() for item in one)
    return Agreement(tuple(scored), sum(count > 1 for count in judged.values()), kappa, alpha)


def _rows(said: Sequence[Said]) -> tuple[list[Hashable], list[list[float | bool | None]]]:
    """Of all of which two judges or more say something the item, and a row for each judge, None where it does not."""
    units = [
        unit for unit in dict.fromkeys(unit for one in said for unit in one) if sum(unit in one for one in said) > 1
    ]
    return [unit[0] for unit in units], [[one.get(unit) for unit in units] for one in said]


def _wholes(scored: Sequence[Scored]) -> Said:
    """Whether all was done, in whatever form the judge was asked."""
    values = {one.item: one.measures.get("strict", one.measures.get(FOLLOWING)) for one in scored}
    return {(item,): bool(value) for item, value in values.items() if value in (0, 1)}


def _steps(scored: Sequence[Scored]) -> Said:
    """Whether each step was done; steps that two checklists word differently are not the same."""
    return {
        (one.item, step.step, step.text): step.done for one in scored for step in one.steps if step.done is not None
    }


def _qualities(scored: Sequence[Scored]) -> Said:
    """Rounded: a judge that gives halves differs no more from others for that."""
    values = {one.item: one.measures.get("quality") for one in scored}
    return {(item,): float(round(value)) for item, value in values.items() if value is not None}


_KINDS: dict[str, tuple[Callable[[Sequence[Scored]], Said], bool]] = {
    "strict": (_wholes, False),
    "steps": (_steps, False),
    "quality": (_qualities, True),
}
