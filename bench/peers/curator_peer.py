"""The work through curator: an `LLM` with `prompt` and `parse`, called three times, each on what the last one gave.

By default it sends 200 requests a minute, so its limits are raised here, which its documentation says to do.
"""

# mypy: ignore-errors

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from bench.peers.work import (
    CALLS,
    IN_FLIGHT,
    MAX_TOKENS,
    MODEL,
    TIMEOUT_S,
    TRIES,
    Task,
    first_text,
    open_results,
    prompt,
    told,
)

# Read when curator is imported. It reports its use over the network, and fetches prices and a tokenizer file, which
# takes time, or fails where there is none; the file comes with litellm, which it is installed with.
TOKENIZERS = Path(find_spec("litellm").origin).parent / "litellm_core_utils" / "tokenizers"
os.environ.update(
    TELEMETRY_ENABLED="false",
    LITELLM_LOCAL_MODEL_COST_MAP="true",
    CURATOR_DISABLE_RICH_DISPLAY="1",
    TIKTOKEN_CACHE_DIR=str(TOKENIZERS),
)
NO_LIMIT = 100_000_000

from bespokelabs import curator  # noqa: E402


class Step(curator.LLM):
    """One call for each row."""

    def prompt(self, input: dict) -> str:
        """What is asked."""
        return prompt(input["step"], input["text"])

    def parse(self, input: dict, response: str) -> dict:
        """The row of the next step."""
        return {"row": input["row"], "step": input["step"] + 1, "text": response}


def work(task: Task) -> None:
    """All rows, step after step."""
    settings = {"max_retries": TRIES, "request_timeout": TIMEOUT_S, "require_all_responses": False}
    limits = {"max_requests_per_minute": NO_LIMIT, "max_tokens_per_minute": NO_LIMIT}
    ask = Step(
        model_name=MODEL,
        backend="openai",
        generation_params={"temperature": 0, "max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": task.url,
            "api_key": "none",
            "max_concurrent_requests": IN_FLIGHT,
            **limits,
            **(settings if task.tuned else {}),
        },
    )
    rows = [{"row": row, "step": 0, "text": first_text(row)} for row in range(task.rows)]
    for _ in range(CALLS):
        rows = ask(rows, working_dir=str(task.folder / "cache")).dataset
    with open_results(task.folder) as keep:
        for row in rows:
            keep(row["row"], row["text"])


if __name__ == "__main__":
    work(told())
