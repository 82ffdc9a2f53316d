"""seqtune cache, seqtune mock-server"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqtune import console
from seqtune.errors import RecipeError

if TYPE_CHECKING:
    from seqtune.llm.mock import Rule

Store = Annotated[Path | None, typer.Option(help="The reply store; SEQTUNE_STORE or the user's own by default.")]
Model = Annotated[str | None, typer.Option(help="Only replies of this model.")]
Json = Annotated[bool, typer.Option("--json", help="End with one JSON object, print nothing else.")]

cache = typer.Typer(help="Look into the store of models' replies.", no_args_is_help=True)


@cache.command("ls")
def list_models(store: Store = None, json: Json = False) -> None:
    """List what the store holds, by model."""
    from seqtune.llm.store import Shelf, default_store, shelves

    console.set_mode(json=json)
    path = store or default_store()
    found = shelves(path)
    console.result(console.table(f"{path}", list(Shelf._fields), found))
    console.result_json({"store": path, "models": [shelf._asdict() for shelf in found]})


@cache.command("prune")
def prune_store(
    store: Store = None,
    model: Model = None,
    older_than_days: Annotated[float | None, typer.Option(help="Only what is older than this.")] = None,
    failures: Annotated[bool, typer.Option("--failures", help="Only failures.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    json: Json = False,
) -> None:
    """Delete replies; what is deleted is asked, and paid for, again."""
    from seqtune.llm.store import default_store, prune

    console.set_mode(json=json)
    if not (model or older_than_days is not None or failures or all_):
        raise RecipeError(
            "nothing says what to delete", fix="give --model, --older-than-days or --failures, or --all for everything"
        )
    deleted = prune(store or default_store(), model=model, older_than_days=older_than_days, failures_only=failures)
    console.result(f"{deleted:,} rows deleted")
    console.result_json({"deleted": deleted})


@cache.command("export")
def export_replies(
    out: Annotated[Path, typer.Argument(help="The file of JSON lines to write.")],
    store: Store = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Write the good replies as JSON lines, with their requests; mock-server --replay answers from them."""
    import msgspec

    from seqtune.data.folder import replacing
    from seqtune.llm.store import default_store, records

    console.set_mode(json=json)
    count = 0
    with replacing(out) as file:
        for count, record in enumerate(records(store or default_store(), model=model), 1):  # noqa: B007
            file.write(msgspec.json.encode(record) + b"\n")
    console.result(f"{count:,} replies in {out}")
    console.result_json({"replies": count, "out": out})


def mock_server(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    latency_ms: Annotated[float, typer.Option(help="Before every answer.")] = 0.0,
    fault: Annotated[list[str] | None, typer.Option(help="NAME=RATE, e.g. 429=0.05; 'help' lists the names.")] = None,
    retry_after_s: Annotated[float, typer.Option(help="What a 429 asks for.")] = 1.0,
    replay: Annotated[
        Path | None,
        typer.Option(help="Answer from recorded replies: prompt and reply, a cache export, or a teacher's stages."),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="Answer by module:function, from the request's JSON.")] = None,
    seed: Annotated[int, typer.Option(help="Of the faults.")] = 0,
    key_env: Annotated[str | None, typer.Option(help="The variable with the key that requests must bring.")] = None,
    batch_s: Annotated[float, typer.Option(help="How long a batch of the batch API takes.")] = 0.0,
    refuse: Annotated[
        list[str] | None, typer.Option(help="Refuse requests with this setting, e.g. response_format, temperature.")
    ] = None,
    json: Json = False,
) -> None:
    """An OpenAI-compatible server for trying things out: a stand-in for a teacher or a judge, faults, /stats."""
    import asyncio
    import os

    from seqtune.evaluation.judging import rehearsal
    from seqtune.llm import mock

    console.set_mode(json=json)
    answers = mock.find_rule(rule) if rule else _replay(replay) if replay else rehearsal.answer
    key = os.environ.get(key_env) if key_env else None
    server = mock.Mock(
        answers,
        latency_ms / 1000,
        _rates(fault or []),
        retry_after_s,
        seed,
        key,
        refuses=refuse or (),
        batch_s=batch_s,
    )

    def say(url: str) -> None:
        console.result(f"{url}#mock answers; Ctrl-C ends it")
        console.result_json({"url": url, "model": "mock"})

    asyncio.run(mock.serve(server, port, say))


def _replay(path: Path) -> Rule:
    """Recorded replies by their prompt, or those of a teacher's stages."""
    from seqtune.building import rehearsal
    from seqtune.llm import mock

    is_staged = False
    if path.is_file():
        with path.open("rb") as file:
            is_staged = b'"classify_reply"' in file.read(20_000)
    return rehearsal.recorded(path) if is_staged else mock.replay(path)


def _rates(faults: list[str]) -> dict[str, float]:
    from seqtune.llm.mock import FAULTS

    rates = {}
    for given in faults:
        name, _, rate = given.partition("=")
        try:
            rates[name] = float(rate)
        except ValueError:
            raise RecipeError(
                f"--fault {given!r} is not of the form NAME=RATE", fix=f"e.g. 429=0.05; there are {', '.join(FAULTS)}"
            ) from None
    return rates
