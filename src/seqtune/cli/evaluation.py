"""seqtune eval and what belongs to it"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from seqtune import console
from seqtune.errors import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seqtune.data.failure import Failure
    from seqtune.evaluation.figures import Figures
    from seqtune.evaluation.judging.qualification import Trait
    from seqtune.evaluation.labelling.labels import Correction
    from seqtune.evaluation.outcome import Evaluation
    from seqtune.evaluation.statistics.bootstrap import Interval
    from seqtune.evaluation.statistics.measure import Measure
    from seqtune.evaluation.tax import ChainTax

IN_POINTS = ("padding_gain", "quality_gap", "quality:right")  # figures of a judge that are points of 1 to 5
UNCERTAIN = 3  # exit code: too few items could be scored
WIDEST = 6  # measures in a table
FIRST = ("strict", "soft", "step_done")  # of them, after the headline's

Out = Annotated[str | None, typer.Option(help="The run folder.")]
Data = Annotated[str | None, typer.Option(help="Where the suite's own data lie.")]
Store = Annotated[str | None, typer.Option(help="The reply store; the user's own by default.")]
InFlight = Annotated[int, typer.Option(help="The most requests in flight.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Any key of the recipe, e.g. evaluate.batch_size=8.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Use the folder whatever it holds.")]
Json = Annotated[bool, typer.Option("--json", help="End with one JSON object, print nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")]


class _EvaluateByDefault(TyperGroup):
    """`seqtune eval --model M` evaluates; `seqtune eval COMMAND` is another command of the group."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


evaluation = typer.Typer(
    cls=_EvaluateByDefault,
    help="Let a model answer a suite, score every step, and what belongs to it.",
    rich_markup_mode=None,
)


@evaluation.command("run", epilog="Other commands: seqtune eval COMMAND --help.")
def evaluate(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe in YAML; options go over it.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A local folder, a hub id, or http://127.0.0.1:8000/v1#MODEL.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="A suite (seqtune ls suites), or a file of rows with steps.")
    ] = None,
    responses: Annotated[str | None, typer.Option(help="Answers somebody else made, in place of a model.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(help="Of --responses: OURS=THEIRS, e.g. answer=completion,prompt=query.")
    ] = None,
    data: Data = None,
    out: Out = None,
    judge: Annotated[
        str | None, typer.Option(help="Who scores the answers, where no program can: http://HOST/v1#MODEL.")
    ] = None,
    form: Annotated[str | None, typer.Option(help="Of the judge: checklist (a verdict a step) or original.")] = None,
    checklist: Annotated[
        str | None, typer.Option(help="The steps of each item (seqtune eval checklist build).")
    ] = None,
    unapproved: Annotated[bool, typer.Option("--unapproved", help="Use a checklist nobody approved.")] = False,
    judge_check: Annotated[str | None, typer.Option(help="The folder of a judge-check of this judge.")] = None,
    store: Annotated[str | None, typer.Option(help="The reply store; a file in the run folder by default.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="The most requests in flight; 64 by default.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="The most US dollars for the judge.")] = None,
    phase: Annotated[
        str | None, typer.Option(help="both, answer (score nothing), judge (score what is there).")
    ] = None,
    steps: Annotated[list[str] | None, typer.Option(help="Of chains: numbers of steps to test, e.g. 1..5.")] = None,
    per_length: Annotated[int | None, typer.Option(help="Of chains: items for each number of steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of chains: other seeds give other items.")] = None,
    singles: Annotated[
        bool, typer.Option("--singles", help="Of chains: ask each step by itself as well, for the chain tax.")
    ] = False,
    told: Annotated[
        bool, typer.Option("--told", help="Of chains: say how to answer, to models not trained on seqtune's rows.")
    ] = False,
    max_new_tokens: Annotated[int | None, typer.Option(help="Tokens of the longest answer.")] = None,
    set_: Sets = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let a model answer a suite once, and score every step of every answer."""
    from seqtune.cli.building import mapping
    from seqtune.evaluation.run import evaluate as run_evaluation
    from seqtune.evaluation.settings import EvaluateSettings
    from seqtune.recipe import section_options

    console.set_mode(quiet=quiet, json=json)
    given: dict[str, Any] = {"model": model, "suite": suite, "out": out, "overwrite": overwrite or None}
    given |= {"responses": responses, "columns": mapping(columns), "data": data, "phase": phase}
    given |= {"steps": _numbers(steps), "per_length": per_length, "seed": seed, "max_new_tokens": max_new_tokens}
    given |= {"judge": judge, "form": form, "checklist": checklist, "unapproved": unapproved or None}
    given |= {"store": store, "concurrency": concurrency, "max_cost": max_cost, "judge_check": judge_check}
    given |= {"singles": singles or None, "told": told or None}
    options = section_options("evaluate", EvaluateSettings, recipe, set_ or (), given)
    try:
        with console.progress("eval", "items") as report:
            done = run_evaluation(**options, say=lambda items: report(items))
    except KeyboardInterrupt:
        console.complain("stopped: what was answered and judged is kept; the same command goes on from here")
        raise typer.Exit(130) from None
    _show(done)
    console.result_json(done)
    if done.headline and done.headline.refused:
        console.complain(f"no headline: {done.headline.refused}")
        raise typer.Exit(UNCERTAIN)


def _numbers(given: list[str] | None) -> list[int] | None:
    """ "1..3" and "1,2,3" and several of them as numbers."""
    found: list[int] = []
    for part in [part for text in given or () for part in text.split(",")]:
        low, dots, high = part.partition("..")
        if not low.strip().isdecimal() or (dots and not high.strip().isdecimal()):
            raise typer.BadParameter(f"{part!r} is no number, and no range such as 1..5", param_hint="--steps")
        numbers = [*range(int(low), int(high) + 1)] if dots else [int(low)]
        if not numbers:
            raise typer.BadParameter(f"{part!r} holds no number: write the smaller one first", param_hint="--steps")
        found += numbers
    return found or None


def _show(done: Evaluation) -> None:
    every = dict.fromkeys(name for line in done.figures for name in line.measures)
    first = [done.headline.measure if done.headline else "", *FIRST]
    names = [*dict.fromkeys([*filter(every.__contains__, first), *every])]
    names, others = names[:WIDEST], names[WIDEST:]
    columns = ["split", "steps", "items", *[name.replace("_", " ") for name in names], "length", "cut"]
    rows = [[f.group, f.steps or "", f.items, *_cells(f, names), _length(f), f.cut] for f in done.figures]
    for note in done.notes:
        console.note(note)
    console.result(console.table("", columns, rows))
    if others:
        console.result(f"in metrics.json as well: {', '.join(others)}")
    for tax in done.chain_taxes:
        console.result(_tax(tax))
    missing = f", {done.items - done.answered:,} not answered" if done.answered < done.items else ""
    console.result(f"{done.items:,} items{missing}; shares with 95 % intervals; everything in {done.out}")


def _tax(found: ChainTax) -> str:
    split = f", {found.group}" if found.group else ""
    loss = f"{found.tax.value:.1%} ({found.tax.low:.1%} to {found.tax.high:.1%})"
    left_out = f"; {found.left_out:,} chains, not all of whose steps could be told, are left out"
    return (
        f"chain tax{split} at {found.steps} steps: {loss}: of the steps of {found.chains:,} chains"
        f" {_figure(found.alone)} are done when asked alone, {_figure(found.in_chain)} in the chain"
        f"{left_out if found.left_out else ''}"
    )


def _cells(line: Figures, names: list[str]) -> list[str]:
    return [_figure(line.measures[name]) if name in line.measures else "-" for name in names]


def _figure(measure: Measure, *, points: bool = False) -> str:
    unscored = f", {measure.unscored} unscored" if measure.unscored else ""
    if measure.value is None:
        return f"-{unscored}"
    if points or measure.value > 1 or measure.high > 1:
        return f"{measure.value:.2f} ({measure.low:.2f}-{measure.high:.2f}){unscored}"
    return f"{measure.value:.1%} ({100 * measure.low:.1f}-{100 * measure.high:.1f}){unscored}"


def _length(line: Figures) -> str:
    if line.mean_tokens is not None:
        return f"{line.mean_tokens:.0f} tokens"
    return f"{line.mean_words:.0f} words" if line.mean_words else "-"


checklists = typer.Typer(
    help="The steps of each prompt: made once by a model, read and approved by a person.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
evaluation.add_typer(checklists, name="checklist")


@checklists.command("build")
def build_checklist(
    suite: Annotated[str, typer.Option(help="A suite, or a file of prompts.")],
    judge: Annotated[str, typer.Option(help="The model that takes the prompts apart: http://HOST/v1#MODEL.")],
    out: Annotated[Path, typer.Option(help="The file to write, e.g. seqeval.checklist.jsonl.")],
    data: Data = None,
    responses: Annotated[str | None, typer.Option(help="Answers whose prompts are to be taken apart.")] = None,
    store: Store = None,
    concurrency: InFlight = 64,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Have a model list the steps of every prompt of a suite."""
    from seqtune.evaluation.checklists import make_checklist

    console.set_mode(quiet=quiet, json=json)
    with console.progress("checklist", "items") as report:
        made = make_checklist(
            suite, judge, out=out, data=data, responses=responses, store=store, concurrency=concurrency, say=report
        )
    console.result(
        f"{made.items:,} items with {made.steps:,} steps in {out}; {made.not_doable:,} steps no text model can do,"
        f" {made.without:,} items without steps\nread it, then: seqtune eval checklist approve {out} --by NAME"
    )
    console.result_json(made)


@checklists.command("diff")
def diff_checklists(
    before: Annotated[Path, typer.Argument(help="A checklist.")],
    after: Annotated[Path, typer.Argument(help="Another one.")],
    json: Json = False,
) -> None:
    """Show the items whose steps differ between two checklists."""
    from seqtune.evaluation.judging.checklist import diff_checklists as changes_of
    from seqtune.evaluation.judging.checklist import read_checklist

    console.set_mode(json=json)
    changes = changes_of(read_checklist(before, edited=True), read_checklist(after, edited=True))
    for change in changes:
        console.result(f"--- {change.item}: {shorten(change.prompt, 100)}")
        for sign, steps in (("-", change.before), ("+", change.after)):
            for place, step in enumerate(steps or (), 1):
                console.result(f"{sign} {place}. {step.text}{'' if step.doable else f' (not doable: {step.reason})'}")
    console.result(f"{len(changes):,} items differ")
    console.result_json({"changes": changes})


@checklists.command("approve")
def approve_checklist(
    path: Annotated[Path, typer.Argument(help="The checklist, as it was read.")],
    by: Annotated[str, typer.Option(help="Who read it.")],
    json: Json = False,
) -> None:
    """Put a name to a checklist; from then on an edit is noticed."""
    from seqtune.evaluation.judging.checklist import approve

    console.set_mode(json=json)
    approved = approve(path, by)
    console.result(f"version {approved.version}, approved by {approved.approved_by}: {approved.hash}")
    console.result_json({"path": path, "version": approved.version, "by": approved.approved_by, "hash": approved.hash})


@evaluation.command("judge-check")
def judge_check(
    judge: Annotated[str, typer.Option(help="The judge: http://HOST/v1#MODEL.")],
    out: Annotated[Path, typer.Option(help="The folder.")],
    data: Annotated[Path | None, typer.Option(help="The folder of LLMBar, for its pairs as well.")] = None,
    form: Annotated[str, typer.Option(help="How it will be asked: checklist or original.")] = "checklist",
    items: Annotated[int, typer.Option(help="Right answers, each judged as it is and damaged.")] = 100,
    threshold: Annotated[
        list[str] | None, typer.Option(help="Another bar, e.g. sensitivity=0.7; see the table for the names.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the answers and what is done to them.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Only so many pairs of each set of LLMBar.")] = None,
    store: Annotated[str | None, typer.Option(help="The reply store; a file in the folder by default.")] = None,
    concurrency: InFlight = 64,
    max_cost: Annotated[float | None, typer.Option(help="The most US dollars.")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a judge on answers known to be right or damaged, before its figures are quoted."""
    from seqtune.evaluation.judging.trial import judge_check as check_judge

    console.set_mode(quiet=quiet, json=json)
    if form not in ("checklist", "original"):
        raise typer.BadParameter(f"{form!r} is neither checklist nor original", param_hint="--form")
    with console.progress("judge-check", "questions") as report:
        done = check_judge(
            judge,
            out=out,
            data=data,
            form="original" if form == "original" else "checklist",
            items=items,
            thresholds=_bars(threshold),
            seed=seed,
            limit=limit,
            store=store,
            concurrency=concurrency,
            max_cost=max_cost,
            overwrite=overwrite,
            say=report,
        )
    found = done.qualification
    rows = [[one.name, _figure(one.figure, points=one.name in IN_POINTS), _bar(one), one.about] for one in found.traits]
    for note in found.notes:
        console.note(note)
    console.result(console.table("", ["figure", "value", "bar", "what it says"], rows))
    console.result_json(found)
    if not found.passed:
        console.complain("this judge failed: " + "; ".join(found.reasons))
        raise typer.Exit(UNCERTAIN)
    console.result(f"{found.judge} passed; name it to an evaluation with --judge-check {out}")


def _bars(given: list[str] | None) -> dict[str, float] | None:
    bars = {}
    for text in given or ():
        name, _, number = text.partition("=")
        try:
            bars[name] = float(number)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not of the form NAME=NUMBER", param_hint="--threshold") from None
        if name not in IN_POINTS and not 0 <= bars[name] <= 1:
            raise typer.BadParameter(f"{text!r} is no share: give 0 to 1", param_hint="--threshold")
    return bars or None


def _bar(trait: Trait) -> str:
    if trait.least is not None:
        return f"at least {trait.least:g}"
    return "" if trait.most is None else f"at most {trait.most:g}"


@evaluation.command("label")
def label(
    run: Annotated[Path, typer.Argument(help="The folder of an evaluation.")],
    out: Annotated[Path | None, typer.Option(help="The page; label.html in the folder by default.")] = None,
    count: Annotated[int, typer.Option(help="How many answers to label.")] = 200,
    seed: Annotated[int, typer.Option(help="Of which.")] = 0,
    not_blind: Annotated[bool, typer.Option("--not-blind", help="Show what the judge said.")] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a page to label answers by hand: one file, no network; its labels are saved as labels.jsonl."""
    from seqtune.evaluation.labelling.page import label_page

    console.set_mode(json=json)
    page = label_page(run, out=out, count=count, seed=seed, blind=not not_blind, overwrite=overwrite)
    console.result(f"open {page} in a browser, then: seqtune eval correct {run} labels.jsonl")
    console.result_json({"page": page})


@evaluation.command("correct")
def correct(
    run: Annotated[Path, typer.Argument(help="The folder of an evaluation.")],
    labels: Annotated[list[Path], typer.Argument(help="What the page saved; several people, several files.")],
    json: Json = False,
) -> None:
    """Correct a judge's figures by what people labelled, and say how far judge and people agree."""
    from seqtune.evaluation.labelling.labels import correct_by_labels

    console.set_mode(json=json)
    found = correct_by_labels(run, labels)
    rows = [
        [one.name, *map(_figure, (one.judged, one.people, one.reliability.sensitivity, one.reliability.specificity)),
         _figure(one.estimate), _corrected(one)]
        for one in found.corrections
    ]  # fmt: skip
    columns = ["", "judged", "people, labelled", "sensitivity", "specificity", "estimate", "Rogan-Gladen"]
    console.result(console.table("", columns, rows))
    _show_agreement({"kappa of judge and people": found.kappa, "alpha": found.alpha})
    for note in found.notes:
        console.note(note)
    console.result_json(found)


def _corrected(one: Correction) -> str:
    found = one.corrected
    return one.problem if found is None else f"{found.value:.1%} ({100 * found.low:.1f}-{100 * found.high:.1f})"


def _show_agreement(found: Mapping[str, Mapping[str, Interval]]) -> None:
    for what, agreement in found.items():
        for name, value in agreement.items():
            console.result(f"{what}, {name}: {_interval(value)}")


def _interval(found: Interval) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "not known"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f}), of {found.of:,}"


@evaluation.command("agree")
def agree(
    run: Annotated[Path, typer.Argument(help="The folder of an evaluation that several judges judged.")],
    judge: Annotated[list[str] | None, typer.Option(help="Only these, by the beginning of their names.")] = None,
    json: Json = False,
) -> None:
    """Say how far the judges of one run agree: kappa of two, Krippendorff's alpha of all."""
    from seqtune.evaluation.judging.agreement import agree as agreement_of

    console.set_mode(json=json)
    found = agreement_of(run, judge)
    console.result(f"{found.answers:,} answers, judged by " + "; ".join(found.judges))
    _show_agreement({"kappa": found.kappa, "alpha": found.alpha})
    console.result_json(found)


@evaluation.command("diversity")
def diversity(
    rows: Annotated[Path, typer.Argument(help="Rows that a build wrote, or prompts of build-seqeval.")],
    of: Annotated[str, typer.Option(help="added: only what was added; all: every task.")] = "added",
    most: Annotated[int, typer.Option(help="Verbs in the table.")] = 20,
    plot: Annotated[Path | None, typer.Option(help="Write a sunburst of verbs and objects, as HTML.")] = None,
    json: Json = False,
) -> None:
    """Count the verbs and objects of a set's steps: how different are they?"""
    from seqtune.data.reader import read
    from seqtune.evaluation.diversity import verbs_and_objects
    from seqtune.report.sunburst import write_sunburst

    console.set_mode(json=json)
    if of not in ("added", "all"):
        raise typer.BadParameter(f"{of!r} is neither added nor all", param_hint="--of")
    failed: list[Failure] = []
    read_rows = read(str(_rows_of(rows)), on_failure=failed.append)
    found = verbs_and_objects(read_rows, of="added" if of == "added" else "all")
    for failure in failed[:3]:
        console.note(f"left out: {failure}")
    lines = found.verbs(most)
    table = [
        [line.verb, line.steps, f"{line.share:.1%}", ", ".join(f"{o} {n}" for o, n in line.objects)] for line in lines
    ]
    console.result(console.table("", ["verb", "steps", "share", "objects"], table))
    console.result(
        f"{found.steps:,} steps of {found.rows:,} rows, {len(found.pairs):,} different pairs of verb and object"
        f" ({_or_dash(found.distinct_share, '.1%')}), normalised entropy {_or_dash(found.entropy, '.2f')},"
        f" {len(found.untold):,} untold"
    )
    if plot:
        console.result(f"sunburst: {write_sunburst([(one.verb, one.objects) for one in found.verbs()], plot)}")
    shares = {"distinct_share": found.distinct_share, "entropy": found.entropy, "untold": len(found.untold)}
    console.result_json({"rows": found.rows, "steps": found.steps, **shares, "verbs": lines})


def _rows_of(path: Path) -> Path:
    """The rows in the folder of a build, or the file itself."""
    return next((path / name for name in ("examples.jsonl", "prompts.jsonl") if (path / name).is_file()), path)


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


@evaluation.command("build-seqeval")
def build_seqeval(
    from_: Annotated[str, typer.Option("--from", help="Prompts: a file, a saved dataset, a hub id.")],
    llm: Annotated[list[str], typer.Option(help="The teacher: http://HOST/v1#MODEL. Several share.")],
    out: Annotated[Path, typer.Option(help="The folder.")],
    rounds: Annotated[int, typer.Option(help="The most rounds that a prompt goes through.")] = 4,
    seed: Annotated[int, typer.Option(help="Of what is done to each prompt.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Only the first rows.")] = None,
    store: Store = None,
    concurrency: InFlight = 64,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make prompts of several tasks from any prompts, as SeqEval was made."""
    from seqtune.evaluation.construction import build_seqeval as construct

    console.set_mode(quiet=quiet, json=json)
    with console.progress("build-seqeval", "prompts") as report:
        made = construct(
            from_,
            out=out,
            llm=llm,
            rounds=rounds,
            seed=seed,
            limit=limit,
            store=store,
            concurrency=concurrency,
            overwrite=overwrite,
            say=report,
        )
    by_round = ", ".join(f"{count:,} of round {round}" for round, count in sorted(made.prompts.items()))
    console.result(f"{by_round} in {made.out / 'prompts.jsonl'}")
    for reason, count in made.failed.items():
        console.result(f"  {count:,} times as before: {reason}")
    console.result_json(made)
