"""seqtune build"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqtune import console

if TYPE_CHECKING:
    from seqtune.building.engine import Build, Plan
    from seqtune.building.estimate import Estimate
    from seqtune.building.flow import Counts


def build(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe in YAML; none with --from and --chain.")] = None,
    from_: Annotated[list[str] | None, typer.Option("--from", help="Rows: a file, a saved dataset, a hub id.")] = None,
    chain: Annotated[
        list[str] | None, typer.Option(help="A chain, an operation, or steps joined by '+'. Several: a mix.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="The run folder; runs/NAME by default.")] = None,
    parallel: Annotated[str | None, typer.Option(help="The same rows in another language (translate chains).")] = None,
    paraphrases: Annotated[str | None, typer.Option(help="Paraphrases of the inputs (chain paraphrase).")] = None,
    format: Annotated[str | None, typer.Option(help="What the rows are; found from the content by default.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(help="OURS=THEIRS, e.g. instruction=prompt,output=answer.")
    ] = None,
    llm: Annotated[
        list[str] | None,
        typer.Option(help="The teacher: http://127.0.0.1:8000/v1#MODEL, hf:PATH_OR_ID. Several share."),
    ] = None,
    judge: Annotated[list[str] | None, typer.Option(help="Who checks the answers; the teacher by default.")] = None,
    rounds: Annotated[int | None, typer.Option(help="How often Seq-Instruct grows a row; 2 by default.")] = None,
    contamination: Annotated[
        list[str] | None, typer.Option(help="Evaluation prompts; rows that overlap with them are skipped.")
    ] = None,
    unfit: Annotated[str | None, typer.Option(help="What becomes of rows no chain fits: skip or plain.")] = None,
    control: Annotated[
        str | None, typer.Option(help="The control set: none, rows, tokens, or direct (teacher).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of every draw; 0 by default.")] = None,
    limit: Annotated[int | None, typer.Option(help="Read at most this many rows.")] = None,
    store: Annotated[
        str | None, typer.Option(help="The reply store; SEQTUNE_STORE or the user's own by default.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="The most requests in flight; 64 by default.")] = None,
    adaptive: Annotated[bool, typer.Option("--adaptive", help="Fewer while the server refuses for load.")] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Through the batch API: half the price, within a day.")
    ] = False,
    max_cost: Annotated[float | None, typer.Option(help="The most US dollars to spend.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens, read and written.")] = None,
    max_requests: Annotated[int | None, typer.Option(help="The most requests, tries again included.")] = None,
    price: Annotated[str | None, typer.Option(help="$ a million tokens read,written: 0.15,0.60.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any key of the recipe, e.g. build.plain=0.2.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Use the folder whatever it holds.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be built, asked and spent; write nothing.")
    ] = False,
    sample: Annotated[
        int, typer.Option(min=0, help="With --dry-run and a teacher: really ask for so many rows, for better figures.")
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="End with one JSON object, print nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
) -> None:
    """Turn instruction rows into sequential ones ("First ..., then ...")."""
    from seqtune.building import engine

    console.set_mode(quiet=quiet, json=json)
    options: dict[str, Any] = {
        "from": _one_or_many(from_),
        "chain": chain,
        "parallel": parallel,
        "paraphrases": paraphrases,
        "out": out,
        "format": format,
        "columns": mapping(columns),
        "llm": _one_or_many(llm),
        "judge": _one_or_many(judge),
        "rounds": rounds,
        "contamination": contamination or None,
        "unfit": unfit,
        "control": control,
        "seed": seed,
        "limit": limit,
        "strict": strict or None,
        "store": store,
        "concurrency": concurrency,
        "adaptive": adaptive or None,
        "batch": batch or None,
        "max_cost": max_cost,
        "max_tokens": max_tokens,
        "max_requests": max_requests,
        "price": price,
    }
    sets = tuple(set_ or ())
    if sample and not dry_run:
        raise typer.BadParameter("it is for --dry-run", param_hint="--sample")
    if dry_run:
        planned = engine.plan(recipe, sets=sets, **options)
        if planned.settings.llm:
            _show_estimate(planned, sample)
        else:
            _preview(planned)
        return
    with console.progress("build", "rows") as report:

        def tell(counts: Counts) -> None:
            report(counts.worked or counts.done, _so_far(counts))

        built = engine.build(
            recipe,
            sets=sets,
            overwrite=overwrite,
            on_progress=tell if console.shows_progress() else None,
            on_detect=lambda found: console.note(f"{found.source}: {found.container}, {found.reason}"),
            **options,
        )
    _show(built)
    console.result_json(engine.summarise(built))
    if not built.finished:
        console.complain(
            f"stopped: {built.read:,} rows are written, every reply is kept; the same command goes on from here"
        )
        raise typer.Exit(130)
    if not built.examples:
        console.complain(f"no row became an example: {built.skipped:,} are skipped and {built.failed:,} failed")
        raise typer.Exit(1)


def _one_or_many(values: list[str] | None) -> str | list[str] | None:
    return values[0] if values and len(values) == 1 else values or None


def mapping(pairs: list[str] | None) -> dict[str, str] | None:
    """ "ours=theirs" pairs, several in one text or in many."""
    named = [pair for given in pairs or () for pair in given.split(",")]
    for pair in named:
        if "=" not in pair:
            raise typer.BadParameter(f"{pair!r} is not of the form OURS=THEIRS", param_hint="--columns")
    return dict(pair.split("=", 1) for pair in named) or None


def _so_far(counts: Counts) -> str:
    ended = f"{counts.examples:,} examples, {counts.skipped.total():,} skipped, {counts.failed.total():,} failed"
    return f"{_time_left(counts)}{ended}; {_spent(counts)}" if counts.model else ended


def _time_left(counts: Counts) -> str:
    if not counts.rows_in_all or not counts.worked:
        return ""
    minutes = (counts.rows_in_all - counts.worked) * counts.asking_s / counts.worked / 60
    return f"of {counts.rows_in_all:,}, {f'{minutes:.0f} min' if minutes >= 2 else f'{minutes * 60:.0f} s'} left, "


def _spent(counts: Counts) -> str:
    """What asking came to so far: calls, how fast, tokens, money."""
    spent = counts.spent
    calls = spent.asked - sum(spent.failed.values())
    parts = [f"{calls:,} calls ({spent.from_store:,} from the store, {calls / max(counts.asking_s, 1e-9):,.0f}/s)"]
    parts.append(f"{spent.prompt_tokens:,} + {spent.completion_tokens:,} tokens")
    parts.append("price unknown" if counts.cost_usd is None else f"${counts.cost_usd:,.4f}")
    if spent.retried:
        parts.append(f"{spent.retried:,} tries again")
    return ", ".join(parts)


def _show(built: Build) -> None:
    console.result(
        f"{built.read:,} rows read: {built.examples:,} examples, {built.skipped:,} skipped, {built.failed:,} failed"
    )
    for title, count in built.made.items():
        console.result(f"  {count:,} {title}: {count / built.examples:.1%}, asked {built.asked.get(title, 0):.1%}")
    _show_reasons(built.reasons)
    if built.teacher.get("stages"):
        _show_teacher(built.teacher)
    if built.failed:
        console.result(f"each with place, value and fix in {built.out / 'failed.jsonl'}")
    console.result(f"{built.wall_s:.1f} s; rows in {built.out / 'examples.jsonl'}")


def _show_teacher(teacher: Mapping[str, Any]) -> None:
    """What the teacher chose, what the gates said, and what each stage came to."""
    console.result("")
    columns = ["stage", "calls", "failed", "unreadable", "tokens read", "tokens written"]
    fields = ("calls", "failed", "unreadable", "prompt_tokens", "completion_tokens")
    rows = [[name, *[f"{stage[field]:,}" for field in fields]] for name, stage in teacher["stages"].items()]
    console.result(console.table(f"asked of {teacher['model']}", columns, rows))
    for number, chosen in teacher["choices"].items():
        total = sum(chosen.values())
        shares = ", ".join(f"{name} {count / total:.1%}" for name, count in sorted(chosen.items()))
        console.result(f"round {number}: {total:,} rows: {shares}")
    for entry in teacher["gates"]:
        console.result(f"  {entry['rows']:,} {entry['became']} by gate {entry['gate']}: {entry['reason']}")
    if teacher["left_out"]:
        console.result(f"the server does not take {', '.join(teacher['left_out'])}; it was asked without")
    words = teacher["words_a_kept_row"]
    if words["answers"]:
        grown = f"instructions of {words['read']:g} words became {words['made']:g}"
        console.result(f"{grown}; answers have {words['answers']:g} (means)")
    cost = "price unknown" if teacher["cost_usd"] is None else f"${teacher['cost_usd']:,.4f}"
    console.result(
        f"{teacher['calls_a_kept_row']:g} calls and {teacher['tokens_a_kept_row']:,g} tokens a kept row; this time"
        f" {teacher['sent']:,} requests were sent, {teacher['from_store']:,} replies came from the store, {cost}\n"
    )


def _show_reasons(reasons: Mapping[str, Mapping[str, int]]) -> None:
    for kind, counted in reasons.items():
        for reason, count in counted.items():
            console.result(f"  {count:,} {kind}: {reason}")


def _show_estimate(planned: Plan, sample_rows: int) -> None:
    from seqtune.building.estimate import estimate

    found = estimate(planned, sample_rows=sample_rows)
    rows = []
    for name, stage in [*found.stages.items(), ("in all", found.total)]:
        cost = stage.cost_usd
        amounts = [_range(r.low, r.high) for r in (stage.requests, stage.prompt_tokens, stage.completion_tokens)]
        rows.append([name, *amounts, "price unknown" if cost is None else f"${cost.low:,.2f} - ${cost.high:,.2f}"])
    columns = ["stage", "requests", "tokens read", "tokens written", "cost"]
    console.result(console.table(f"{found.rows:,} rows of {planned.settings.from_}", columns, rows))
    console.result(_basis(found))
    console.result(f"nothing was written; the rows would go to {planned.out}")
    console.result_json(
        {"dry_run": True, "rows": found.rows, "asked_rows": found.sampled if found.asked else 0, "stages": found.stages}
        | {"total": found.total, "out": str(planned.out)}
    )


def _range(low: float, high: float) -> str:
    return f"{low:,.0f} - {high:,.0f}"


def _basis(found: Estimate) -> str:
    """What the figures rest on, and how they get better."""
    if found.asked:
        return f"from {found.sampled:,} rows that were asked for; their replies are kept and not paid again"
    tokens = (
        f"tokens as {found.known:,} replies of this model in the store used them"
        if found.known
        else "tokens by rule of thumb, since the store holds no reply of this model"
    )
    return (
        f"from {found.sampled:,} rows rehearsed without asking; {tokens}. --sample 10 asks for ten rows and tells more"
    )


def _preview(plan: Plan) -> None:
    from itertools import islice

    from seqtune.building.flow import Chained, Counts, outcomes
    from seqtune.data.example import prompt_text

    counts = Counts()
    shown = 0
    for outcome in islice(outcomes(plan.settings, plan.mix, counts), 1000):
        if isinstance(outcome, Chained) and shown < 3:
            shown += 1
            console.result(f"--- row {shown}\n{prompt_text(outcome.example)}\n>>>\n{outcome.example.output}\n")
    console.result(f"of the first {counts.read:,} rows: {_so_far(counts)}")
    reasons = {"skipped": dict(counts.skipped.most_common()), "failed": dict(counts.failed.most_common())}
    _show_reasons(reasons)
    console.result(f"nothing was written; the rows would go to {plan.out}")
    console.result_json(
        {
            "dry_run": True,
            "read": counts.read,
            "examples": counts.examples,
            "skipped": counts.skipped.total(),
            "failed": counts.failed.total(),
            "reasons": reasons,
            "out": str(plan.out),
        }
    )
