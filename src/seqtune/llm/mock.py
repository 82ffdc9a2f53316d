"""A deterministic OpenAI-compatible server on this machine only: replies by rule or from a record, and faults by rate.

What happens to a request is drawn from hash(seed, request, how often it came), so that runs repeat whatever the order.
`/stats` counts what came, by the hash of the request's body.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from seqtune.errors import DataError, RecipeError, did_you_mean

Rule = Callable[[dict[str, Any]], "str | None"]

FAULTS = ("500", "429", "hang", "cut", "empty", "not_json", "wrong_json", "refusal", "length")
CHANGED = ("empty", "length", "refusal")  # these come as a completion
REFUSAL = "I'm sorry, but I can't help with that."
LOOPBACK = "127.0.0.1"
HANG_S = 3600.0
WORDS = (
    *("amber", "birch", "cloud", "delta", "ember", "field", "grove", "harbor"),
    *("island", "juniper", "kernel", "lantern", "meadow", "north", "olive", "pebble"),
)


@dataclass
class Mock:
    """How the server answers, and what it has seen.

    Args:
        rule: from the request's JSON to the text of the reply; None where it has none, which is answered with 422.
        latency_s: before every answer.
        faults: rate by name, 0 to 1; the names are those of `FAULTS`.
        retry_after_s: what a 429 asks for.
        seed: of the faults.
        key: where given, requests without it as bearer token are refused with 401.
        batch_s: how long a batch takes.
        files, batches: what the Batch API was given and made, by id; `batched` counts the requests by their custom_id.
        refuses: settings that requests are refused for with 400, such as "response_format".
        came, answered: number of requests, and of good answers, by the hash of the body.
        happened: number of requests by fault, or "good".
    """

    rule: Rule
    latency_s: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    retry_after_s: float = 1.0
    seed: int = 0
    key: str | None = None
    came: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    inside: int = 0
    refuses: Collection[str] = ()
    batch_s: float = 0.0
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    batched: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for name, rate in self.faults.items():
            if name not in FAULTS:
                raise RecipeError(
                    f"no fault is called {name!r}{did_you_mean(name, FAULTS)}", fix=f"there are {', '.join(FAULTS)}"
                )
            if not 0 <= rate <= 1:
                raise RecipeError(f"the rate of fault {name!r} is {rate}", fix="give 0 to 1")
        if sum(self.faults.values()) > 1:
            raise RecipeError(f"the rates of faults add up to {sum(self.faults.values()):g}", fix="at most 1 in all")


def body_hash(body: bytes) -> str:
    """What `/stats` calls a request: 32 hex digits."""
    return blake2b(body, digest_size=16).hexdigest()


@asynccontextmanager
async def serving(mock: Mock, port: int = 0) -> AsyncIterator[str]:
    """Serve on the loopback address; gives the address as the client spells it, but for the model.

    Args:
        mock: how to answer.
        port: 0 for any that is free.
    """
    app = web.Application(client_max_size=256 << 20)
    app.add_routes(_batch_routes(mock))
    app.router.add_post("/v1/chat/completions", partial(_complete, mock))
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/stats", partial(_stats, mock))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        await site.start()
        [(_, bound, *_)] = runner.addresses
        yield f"http://{LOOPBACK}:{bound}/v1"
    finally:
        await runner.cleanup()


async def _models(request: web.Request) -> web.Response:
    return _json(200, {"object": "list", "data": [{"id": "mock", "object": "model", "owned_by": "seqtune"}]})


async def _stats(mock: Mock, request: web.Request) -> web.Response:
    return _json(
        200,
        {
            "requests": mock.came.total(),
            "most_at_once": mock.most_at_once,
            "happened": mock.happened,
            "came": mock.came,
            "answered": mock.answered,
            "batches": len(mock.batches),
            "batched": mock.batched,
        },
    )


async def _complete(mock: Mock, request: web.Request) -> web.StreamResponse:
    body = await request.read()
    if mock.key is not None and request.headers.get("Authorization") != f"Bearer {mock.key}":
        # Like the real ones, it repeats the key that it was given.
        return _error(401, f"Incorrect API key provided: {request.headers.get('Authorization', '')}")
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
        name = body_hash(body)
        fault = _draw_fault(mock, name)
        if refused := [name for name in mock.refuses if name in asked]:
            return _error(400, f"Unrecognized request argument supplied: {refused[0]}")
        mock.inside += 1
        mock.most_at_once = max(mock.most_at_once, mock.inside)
        try:
            await asyncio.sleep(mock.latency_s)
            return await _answer(mock, request, asked, name, fault)
        finally:
            mock.inside -= 1
    except (msgspec.DecodeError, KeyError, TypeError, IndexError) as error:
        return _error(400, f"not a chat request: {error!r}")


def _draw_fault(mock: Mock, name: str) -> str:
    mock.came[name] += 1
    left = Random(f"{mock.seed} {name} {mock.came[name]}").random()
    for fault, rate in mock.faults.items():
        left -= rate
        if left < 0:
            return fault
    return "good"


async def _answer(mock: Mock, request: web.Request, asked: dict[str, Any], name: str, fault: str) -> web.StreamResponse:
    mock.happened[fault] += 1
    if fault == "500":
        return _error(500, "the server has a bad moment")
    if fault == "429":
        return _error(429, "too many requests", {"Retry-After": f"{mock.retry_after_s:g}"})
    if fault == "hang":
        await asyncio.sleep(HANG_S)
    if fault == "not_json":
        return web.Response(text="<html>upstream is gone</html>", content_type="text/html")
    if fault == "wrong_json":
        return _json(200, {"object": "error", "message": "this is no completion"})
    text = mock.rule(asked)
    if text is None:
        return _error(422, "there is no recorded reply to this prompt")
    if fault == "cut":
        return await _send_half(request, msgspec.json.encode(_completion(asked, text, "stop")))
    if fault == "good":
        mock.answered[name] += 1
    return _json(200, _completion(asked, *_changed(text, fault)))


def _changed(text: str, fault: str) -> tuple[str, str]:
    """The reply's text and finish reason under a fault of `CHANGED`, or none."""
    if fault == "empty":
        return "", "stop"
    if fault == "length":
        return text[: len(text) // 2], "length"
    return (REFUSAL if fault == "refusal" else text), "stop"


def _batch_routes(mock: Mock) -> list[web.RouteDef]:
    return [
        web.post("/v1/files", partial(_take_file, mock)),
        web.get("/v1/files/{id}/content", partial(_give_file, mock)),
        web.post("/v1/batches", partial(_take_batch, mock)),
        web.get("/v1/batches", partial(_list_batches, mock)),
        web.get("/v1/batches/{id}", partial(_give_batch, mock)),
    ]


async def _take_file(mock: Mock, request: web.Request) -> web.Response:
    form = await request.post()
    file = form.get("file")
    if form.get("purpose") != "batch" or not isinstance(file, web.FileField):
        return _error(400, "a file for purpose 'batch' is wanted")
    return _json(200, {"id": _filed(mock, file.file.read()), "object": "file", "purpose": "batch"})


def _filed(mock: Mock, content: bytes) -> str:
    name = f"file-{len(mock.files)}"
    mock.files[name] = content
    return name


async def _give_file(mock: Mock, request: web.Request) -> web.Response:
    content = mock.files.get(request.match_info["id"])
    return _error(404, "no such file") if content is None else web.Response(body=content)


async def _take_batch(mock: Mock, request: web.Request) -> web.Response:
    asked = await request.json()
    if (lines := mock.files.get(asked.get("input_file_id"))) is None:
        return _error(400, "no such input file")
    batch = {
        "id": f"batch-{len(mock.batches)}",
        "object": "batch",
        "input_file_id": asked["input_file_id"],
        "metadata": asked.get("metadata"),
        "status": "in_progress",
    }
    mock.batches[batch["id"]] = batch
    mock.batched.update(msgspec.json.decode(line)["custom_id"] for line in lines.splitlines())
    asyncio.get_running_loop().call_later(mock.batch_s, _finish_batch, mock, batch, lines)
    return _json(200, batch)


def _finish_batch(mock: Mock, batch: dict[str, Any], lines: bytes) -> None:
    answered = [_batch_line(mock, msgspec.json.decode(line)) for line in lines.splitlines()]
    for name, good in (("output_file_id", True), ("error_file_id", False)):
        if some := [line for line in answered if (line["error"] is None) == good]:
            batch[name] = _filed(mock, b"".join([msgspec.json.encode(line) + b"\n" for line in some]))
    batch["status"] = "completed"


def _batch_line(mock: Mock, line: dict[str, Any]) -> dict[str, Any]:
    """A line's answer; faults that a line cannot show are shown as a line that expired."""
    asked, name = line["body"], body_hash(msgspec.json.encode(line["body"]))
    fault = _draw_fault(mock, name)
    mock.happened[fault] += 1
    text = mock.rule(asked)
    status = 200
    body: Any = None
    if text is None or fault == "500":
        status, body = (422, "there is no recorded reply") if text is None else (500, "the server has a bad moment")
    elif fault in ("good", *CHANGED):
        mock.answered[name] += fault == "good"
        body = _completion(asked, *_changed(text, fault))
    error = None if body else {"code": "batch_expired", "message": "This request could not be executed in time."}
    response = {"status_code": status, "body": body} if body else None
    return {"id": f"line-{name}", "custom_id": line["custom_id"], "response": response, "error": error}


async def _list_batches(mock: Mock, request: web.Request) -> web.Response:
    newest = [*mock.batches.values()][::-1][: int(request.query.get("limit", 20))]
    return _json(200, {"object": "list", "data": newest, "has_more": len(newest) < len(mock.batches)})


async def _give_batch(mock: Mock, request: web.Request) -> web.Response:
    batch = mock.batches.get(request.match_info["id"])
    return _error(404, "no such batch") if batch is None else _json(200, batch)


async def _send_half(request: web.Request, body: bytes) -> web.StreamResponse:
    """Promise the whole body, send half of it, and hang up."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport:
        request.transport.close()
    return response


def _completion(asked: dict[str, Any], text: str, finish_reason: str) -> dict[str, Any]:
    prompt_tokens = len(prompt_of(asked).split())
    completion_tokens = len(text.split())
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "model": asked["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json(status, {"error": {"message": message, "code": status}}, headers)


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def prompt_of(asked: Mapping[str, Any]) -> str:
    """The text of the last message of a request's JSON."""
    content = asked["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def answer_by_hash(asked: dict[str, Any]) -> str:
    """A few words drawn from the hash of the messages; JSON that fits the schema where one is asked for."""
    rng = Random(msgspec.json.encode([asked["messages"], asked.get("seed"), asked["model"]]))
    wanted = asked.get("response_format") or {}
    if schema := (wanted.get("json_schema") or {}).get("schema"):
        return msgspec.json.encode(_instance(schema, rng)).decode()
    return " ".join(rng.choices(WORDS, k=rng.randint(4, 24))).capitalize() + "."


def _instance(schema: dict[str, Any], rng: Random) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    if kind == "object":
        return {name: _instance(inner, rng) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [_instance(schema.get("items", {}), rng) for _ in range(schema.get("minItems") or rng.randint(1, 3))]
    drawn = {
        "boolean": rng.random() < 0.5,
        "integer": rng.randint(0, 9),
        "number": round(rng.random(), 3),
        "null": None,
    }
    return drawn[kind] if kind in drawn else " ".join(rng.choices(WORDS, k=5))


def replay(path: Path) -> Rule:
    """A rule that answers as recorded, by the text of the last message.

    Args:
        path: JSON lines with `prompt` and `reply`, or those that `seqtune cache export` writes.

    Raises:
        DataError: the file cannot be read, or a line is neither.
    """
    recorded: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    prompt, reply = _recorded_pair(line, f"{path}:{number}")
                    recorded[prompt] = reply
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return lambda asked: recorded.get(prompt_of(asked))


def _recorded_pair(line: bytes, where: str) -> tuple[str, str]:
    try:
        record = msgspec.json.decode(line)
        if "prompt" in record:
            return str(record["prompt"]), str(record["reply"])
        return prompt_of(record["request"]), str(record["reply"]["text"])
    except (msgspec.DecodeError, KeyError, TypeError, IndexError):
        raise DataError(
            "neither a recorded pair nor a record of a store",
            where=where,
            fix='write {"prompt": "...", "reply": "..."}, or use a file of seqtune cache export',
        ) from None


def find_rule(spec: str) -> Rule:
    """The function that `module:function` names.

    Raises:
        RecipeError: there is none.
    """
    module, _, name = spec.rpartition(":")
    try:
        rule: Rule = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(f"{spec!r} names no function: {error}", fix="write package.module:function") from None
    return rule


async def serve(mock: Mock, port: int, say: Callable[[str], object]) -> None:
    """Serve until cancelled.

    Args:
        mock: how to answer.
        port: 0 for any that is free.
        say: told the address once it answers.

    Raises:
        RecipeError: the port is taken.
    """
    try:
        async with serving(mock, port) as url:
            say(url)
            await asyncio.Event().wait()
    except OSError as error:
        raise RecipeError(f"port {port} cannot be used: {error.strerror}", fix="give another --port, or 0") from None
