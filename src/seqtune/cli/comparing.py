"""seqtune compare"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqtune import console
from seqtune.cli.evaluation import UNCERTAIN, Json, Overwrite, Quiet
from seqtune.errors import RecipeError, shorten

if TYPE_CHECKING:
    from seqtune.evaluation.comparison import Change, Comparison, Difference, Length, Slice
    from seqtune.evaluation.judging.preferring import Preferred
    from seqtune.evaluation.statistics.bootstrap import Interval
    from seqtune.evaluation.statistics.measure import Measure
    from seqtune.evaluation.tax import ChainTax

LONGEST = 200  # letters of a prompt or an answer


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of seqtune eval; all are compared with the first.")],
    measure: Annotated[str | None, typer.Option(help="Only this one, e.g. strict.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare though items, scorer, judge or checklist differ.")
    ] = False,
    judge: Annotated[
        str | None, typer.Option(help="Who says in both orders which answer is better: http://HOST/v1#MODEL.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Of --judge: the folder for what it says.")] = None,
    store: Annotated[str | None, typer.Option(help="Of --judge: the reply store; a file in --out by default.")] = None,
    concurrency: Annotated[int, typer.Option(help="Of --judge: the most requests in flight.")] = 64,
    max_cost: Annotated[float | None, typer.Option(help="Of --judge: the most US dollars.")] = None,
    changed: Annotated[int, typer.Option(min=0, help="How many of the items that changed to show.")] = 4,
    page: Annotated[Path | None, typer.Option(help="Write a page of all this, to open in a browser.")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how runs differ on the same items, how surely, and which items changed."""
    from seqtune.evaluation.comparison import compare as compare_runs
    from seqtune.evaluation.run_folders import unscored

    console.set_mode(quiet=quiet, json=json)
    if judge and not out:
        raise RecipeError("there is no place for what the judge says", fix="name a folder: --out DIR")
    bare = unscored(runs) if judge else []
    if bare and page:
        raise RecipeError("a page needs scores", where=str(bare[0]), fix="score the run, or leave out --page")
    found = None if bare else compare_runs(runs, measure=measure, force=force)
    preferred = None
    if judge and out:
        from seqtune.evaluation.judging.preferring import prefer

        with console.progress("compare", "pairs") as report:
            preferred = prefer(
                runs, judge=judge, out=out, force=force, store=store, concurrency=concurrency, max_cost=max_cost,
                overwrite=overwrite, say=lambda pairs: report(pairs),
            )  # fmt: skip
    if found:
        _show(found, changed)
    else:
        console.note(f"nobody scored {', '.join(map(str, bare))}: there is nothing to say but what the judge prefers")
    if preferred:
        _show_preferred(preferred)
    if found and page:
        from seqtune.report.compared import write_comparison

        console.result(f"page: {write_comparison(found, page, preferred)}")
    console.result_json({"comparison": found, "preferred": preferred})
    described = found.runs if found else ()
    refused = [f"{run.name}: {run.headline.refused}" for run in described if run.headline and run.headline.refused]
    refused += [preferred.refused] if preferred and preferred.refused else []
    for one in refused:
        console.complain(f"no headline: {one}")
    if refused:
        raise typer.Exit(UNCERTAIN)


def _show(found: Comparison, changed: int) -> None:
    for warning in found.warnings:
        console.result(f"compared by force: {warning}")
    for run in found.runs:
        counts = f"{run.answered:,} of {run.items:,} items answered, {run.cut:,} cut"
        console.result(f"{run.name}: {run.model} on {run.suite}, {counts}, scored by {run.judge}")
    for note in found.notes:
        console.note(note)
    first = found.runs[0].name
    whole, *splits = found.slices
    console.result(
        console.table("", ["", "run", first, "run's", "difference", "", "items", ""], _overall(whole, first))
    )
    if splits:
        title = f"{_words(found.measure)} by split and number of steps"
        columns = ["split", "steps", "items", "run", first, "run's", "difference", "", "length"]
        console.result(
            console.table(title, columns, [row for one in splits for row in _split(one, first, found.measure)])
        )
    _show_positions(found)
    _show_taxes(found)
    console.result(
        "differences with 95 % intervals, over items that both runs have scored; each line stands for itself: of 20"
        " lines without any difference, about one reads 'differs' (p is two-sided)"
    )
    _show_changes(found, changed)


def _overall(whole: Slice, first: str) -> list[list[object]]:
    """A line for each other run and measure, its lengths beneath."""
    rows: list[list[object]] = []
    for run, length in whole.lengths.items():
        if run == first:
            continue
        ones = [one for one in whole.differences if one.run == run]
        rows += [[_words(one.measure), run, *_cells(one), _counts(one)] for one in ones]
        rows.append(["length", run, _length(whole.lengths[first]), _length(length), "", "", "", ""])
    return rows


def _split(line: Slice, first: str, measure: str) -> list[list[object]]:
    ones = [one for one in line.differences if one.measure == measure]
    return [
        [
            line.group, line.steps or "", line.items, one.run, *_cells(one)[:4],
            f"{_length(line.lengths[first])} / {_length(line.lengths[one.run])}",
        ]
        for one in ones
    ]  # fmt: skip


def _cells(one: Difference) -> list[object]:
    """Both runs' figures, the difference, what it is worth, and on how many items."""
    return [_figure(one.first, one), _figure(one.other, one), _gap(one), one.said, one.difference.of]


def _figure(measure: Measure, one: Difference) -> str:
    if measure.value is None:
        return "-"
    return f"{measure.value:.2f}" if one.measure == "quality" else f"{measure.value:.1%}"


def _gap(one: Difference) -> str:
    found, scale, digits = one.difference, *((1, 2) if one.measure == "quality" else (100, 1))
    if found.value is None or found.low is None or found.high is None:
        return "-"
    # Adding nought makes -0.0 of a rounded -0.001 a 0.0.
    value, low, high = (f"{round(scale * x, digits) + 0.0:+.{digits}f}" for x in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _counts(one: Difference) -> str:
    left_out = f", {one.left_out:,} left out" if one.left_out else ""
    return f"{one.won:,} won, {one.lost:,} lost{left_out}"


def _length(length: Length) -> str:
    words = f"{length.words:.0f} words"
    return words if length.tokens is None else f"{length.tokens:.0f} tokens, {words}"


def _words(measure: str) -> str:
    return measure.replace("_", " ")


def _show_positions(found: Comparison) -> None:
    most = max((len(run.by_position) for run in found.runs), default=0)
    if not most:
        return
    rows = [[run.name, *map(_share, run.by_position)] for run in found.runs if run.by_position]
    rows.append(["items", *[str(one.of) for one in next(run.by_position for run in found.runs if run.by_position)]])
    rows = [[*row, *[""] * (most + 1 - len(row))] for row in rows]
    title = "share done of the first, second, ... step, of items with two steps or more"
    console.result(console.table(title, ["run", *map(str, range(1, most + 1))], rows))


def _share(measure: Measure) -> str:
    return "-" if measure.value is None else f"{measure.value:.1%}"


def _show_taxes(found: Comparison) -> None:
    rows = [
        [run.name, tax.group, tax.steps, _chains(tax), _share(tax.alone), _share(tax.in_chain), _points(tax.tax)]
        for run in found.runs
        for tax in run.chain_taxes
    ]
    if rows:
        columns = ["run", "split", "steps", "chains", "asked alone", "in the chain", "tax"]
        console.result(console.table("chain tax: what steps lose by standing in a chain", columns, rows))


def _chains(tax: ChainTax) -> str:
    return f"{tax.chains:,}, {tax.left_out:,} left out" if tax.left_out else f"{tax.chains:,}"


def _points(found: Interval) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "-"
    value, low, high = (round(100 * x, 1) + 0.0 for x in (found.value, found.low, found.high))
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def _show_changes(found: Comparison, most: int) -> None:
    from seqtune.evaluation.comparison import pick_changes

    for run in [run.name for run in found.runs[1:]]:
        ones = [one for one in found.changes if one.run == run]
        won = sum(one.after > one.before for one in ones)
        console.result(f"{_words(found.measure)}: {run} does better on {won:,} items, and worse on {len(ones) - won:,}")
    for change in pick_changes(found.changes, most):
        console.result(_change(change, found.runs[0].name))


def _change(change: Change, first: str) -> str:
    better = "better" if change.after > change.before else "worse"
    where = f"item {change.item}{f', {change.group}' if change.group else ''}"
    lines = [f"\n{change.run} does {better} ({change.before:.3g} -> {change.after:.3g}), {where}"]
    lines.append(f"  asked: {_both_ends(change.asked)}")
    for name, text in zip((first, change.run), change.answers, strict=True):
        lines.append(f"  {name}, {len(text.split()):,} words: {shorten(text, LONGEST)}")
    lines += [f"  only {change.run} does: {shorten(step, LONGEST)}" for step in change.gained]
    lines += [f"  only {first} does: {shorten(step, LONGEST)}" for step in change.lost]
    return "\n".join(lines)


def _both_ends(text: str) -> str:
    """A prompt as one line, its beginning and its end: the question mostly stands last."""
    line = " ".join(text.split())
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]} … {line[-half:]}"


def _show_preferred(found: Preferred) -> None:
    level = found.at_equal_length.rates if found.at_equal_length else {}
    rows = [
        [
            one.model, _points(one.rate), _points(level[one.model]) if one.model in level else "-",
            f"{one.wins:,}/{one.ties:,}/{one.losses:,}", one.unscored, _points(one.first_gain),
            "-" if one.stable is None else f"{one.stable:.1%}",
        ]
        for one in found.rates
    ]  # fmt: skip
    columns = ["run", "win rate", "at equal length", "won/tied/lost", "unscored", "gain of being first", "same in both"]
    title = f"preferred to {found.against} by {found.judge}, per cent with 95 % intervals, a tie being half a win"
    console.result(console.table(title, columns, rows))
    for note in found.notes:
        console.note(note)
    console.result(f"{found.items:,} items, asked in both orders; everything in {found.out}")
