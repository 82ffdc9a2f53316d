"""seqtune cache: what it lists, deletes and writes, and what it says when something is missing."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from seqtune.cli.app import app
from seqtune.errors import RecipeError, StoreError
from seqtune.llm.mock import replay
from seqtune.llm.reply import Reply
from seqtune.llm.store import Asked, Store


@pytest.fixture
def path(tmp_path):
    async def fill():
        store = Store(tmp_path / "replies.sqlite")
        request = '{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
        await store.keep(Asked("k", "m", request), Reply("Hello", prompt_tokens=3))
        store.close()

    asyncio.run(fill())
    return tmp_path / "replies.sqlite"


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_ls_counts_by_model(path):
    [told] = json.loads(call("cache", "ls", "--store", path, "--json").stdout)["models"]
    assert (told["model"], told["replies"], told["failures"], told["prompt_tokens"]) == ("m", 1, 0, 3)


def test_an_export_can_be_replayed(path, tmp_path):
    out = tmp_path / "replies.jsonl"
    assert "1 replies" in call("cache", "export", out, "--store", path).stdout
    assert replay(out)({"messages": [{"role": "user", "content": "Hi"}]}) == "Hello"


def test_prune_deletes_nothing_unless_told_what(path):
    assert isinstance(call("cache", "prune", "--store", path).exception, RecipeError)
    assert "0 rows" in call("cache", "prune", "--store", path, "--failures").stdout
    assert "1 rows" in call("cache", "prune", "--store", path, "--all").stdout


def test_a_store_that_is_not_there_is_told(tmp_path):
    assert isinstance(call("cache", "ls", "--store", tmp_path / "gone.sqlite").exception, StoreError)


def test_an_unknown_fault_is_told_before_anything_is_served():
    assert isinstance(call("mock-server", "--fault", "50=1").exception, RecipeError)
