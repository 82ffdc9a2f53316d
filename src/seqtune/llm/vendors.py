"""Vendors with an API of their own, through LiteLLM, behind the same seam and with the same patience as a server.

LiteLLM takes seconds and 200 MB to load, so only `litellm:VENDOR/MODEL` imports it. It finds the vendor's key in the
environment by itself; its own tries again are switched off, as ours know what came back.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from seqtune.errors import MissingExtraError, shorten
from seqtune.llm.client import FLOOR_SHARE, Client, Patience, Route, Tried, refusal, retry_after_s_of, without_key
from seqtune.llm.endpoint import find_key
from seqtune.llm.reply import Failed, Reply, read_completion
from seqtune.llm.request import Request
from seqtune.llm.throttle import Throttle

if TYPE_CHECKING:
    from seqtune.llm.asking import Backend

OUR_OWN = ("model", "attempt", "cut_ok")
SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")


@asynccontextmanager
async def open_vendor(
    name: str,
    *,
    concurrency: int,
    adaptive: bool = False,
    patience: Patience | None = None,
    key_file: str | Path | None = None,
) -> AsyncIterator[Backend]:
    """Asking a vendor.

    Args:
        name: VENDOR/MODEL, as LiteLLM spells it.
        concurrency, adaptive, patience: as in `open_client`.
        key_file: holds the key, where the environment does not.

    Raises:
        MissingExtraError: LiteLLM is not installed.
        TeacherError: the key file cannot be read.
    """
    key = find_key("", key_file=key_file)
    # Its import would fetch a table of prices from the network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        litellm: Any = await asyncio.to_thread(__import__, "litellm")
    except ImportError:
        raise MissingExtraError("litellm", "litellm", "asking a vendor by litellm:VENDOR/MODEL") from None
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = True  # `top_k` and the like, where the vendor knows none
    throttle = Throttle(concurrency, floor=max(1, concurrency // FLOOR_SHARE) if adaptive else None)
    route = Route(partial(_complete, litellm, name, key), throttle)
    try:
        yield Client([route], patience or Patience(), lambda: True).ask  # its connections cannot be watched
    finally:
        await _closed(litellm)


async def _closed(litellm: Any) -> None:
    close = getattr(litellm, "close_litellm_async_clients", None)  # not in all versions
    if close is not None:
        await close()


async def _complete(litellm: Any, name: str, key: str | None, request: Request, body: bytes, timeout_s: float) -> Tried:
    fields = {k: v for k, v in msgspec.to_builtins(request).items() if k not in OUR_OWN and v is not None}
    started = time.monotonic()
    calling = litellm.acompletion(model=name, api_key=key, timeout=timeout_s, num_retries=0, max_retries=0, **fields)
    try:
        said = await asyncio.wait_for(calling, timeout_s)
    except (asyncio.TimeoutError, TimeoutError):
        return Tried(Failed("timeout", f"no whole answer within {timeout_s:.3g} s"))
    except Exception as error:  # LiteLLM's errors follow openai's, and others come through
        return _tried(litellm, error, key)
    raw = said.model_dump_json().encode()
    outcome = read_completion(raw, round(time.monotonic() - started, 4), cut_ok=request.cut_ok)
    return Tried(outcome if isinstance(outcome, Reply) else _without_keys(outcome, key))


def _tried(litellm: Any, error: Exception, key: str | None) -> Tried:
    """The error as a server's answer: LiteLLM gives each an HTTP status, also where there was no answer at all."""
    said = shorten(f"{type(error).__name__}: {error}", 300)
    if isinstance(error, litellm.exceptions.Timeout):
        return Tried(Failed("timeout", _without_keys(Failed("timeout", said), key).detail))
    if isinstance(error, litellm.exceptions.APIConnectionError):
        return Tried(_without_keys(Failed("connection", said), key))
    status = getattr(error, "status_code", None)
    failed = refusal(status, said.encode()) if isinstance(status, int) else Failed("server_error", said)
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", None) or {}
    return Tried(_without_keys(failed, key), retry_after_s_of(headers))


def _without_keys(failed: Failed, key: str | None) -> Failed:
    """The failure without any secret of the environment: which of them LiteLLM took is its own affair."""
    secrets = [value for name, value in os.environ.items() if name.endswith(SECRET_ENDINGS) and len(value) >= 8]
    for secret in [*secrets, *([key] if key else [])]:
        failed = without_key(failed, secret)
    return failed
