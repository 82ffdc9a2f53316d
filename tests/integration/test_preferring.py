"""Methods dpo and grpo as commands: killed and started again they end as if nobody had disturbed them."""

import json
from random import Random

import pytest
from test_resuming import finished, killed, known_already, same, whole  # noqa: F401

from seqtune.data.writer import write
from seqtune.evaluation.suites.generated_chains import chain_maker

pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("peft")
from seqtune.training.checkpoints import CHECKPOINTS
from seqtune.training.run import train

MAKER = chain_maker()
ROWS = [MAKER.draw(2, Random(i), for_training=True) for i in range(24)]
RATE = ("--set", "train.learning_rate=1e-3")
EVERY_STEP = ("--set", "train.trl.logging_steps=3", "--set", "train.save_every=4")
SHORT = ("--set", "train.rows_per_step=2", "--set", "train.answers=4", "--set", "train.max_new_tokens=24")
METHODS = {
    "dpo": ("--method", "dpo", "--set", "train.rows_per_step=4", "--set", "train.accumulate=2", "--epochs", "3"),
    "dpo with an adapter": ("--method", "dpo", "--set", "train.rows_per_step=2", "--set", "train.lora={r: 4}"),
    "grpo": ("--method", "grpo", *SHORT, "--set", "train.accumulate=2"),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A file of rows, and a model that has learnt a little from them."""
    folder = tmp_path_factory.mktemp("given")
    write(ROWS, folder / "rows.jsonl")
    return ("--dataset", folder / "rows.jsonl", "--model", train(ROWS, out=folder / "base", max_tokens=20_000).model)


@pytest.fixture(scope="module")
def adapter(given, tmp_path_factory):
    """An adapter on that model that has learnt a little more."""
    rows, model = given[1::2]
    lora = {"method": "lora", "lora": {"r": 4}, "rows_per_step": 8, "learning_rate": 1e-2}
    return train(rows, model, out=tmp_path_factory.mktemp("adapter") / "run", **lora).model


@pytest.mark.parametrize("method", METHODS)
def test_a_preference_run_that_was_killed_ends_as_one_that_was_not(method, given, tmp_path):
    words, out = (*given, *EVERY_STEP, *RATE, *METHODS[method]), tmp_path / "run"
    finished((*words, "--out", tmp_path / "undisturbed"))
    killed(words, out, lambda: whole(out)[-1:] >= [8])
    finished((*words, "--out", out), tmp_path / "said")
    told = (tmp_path / "said").read_text()
    assert "the run goes on from here" in told
    assert "missing keys" not in told
    assert json.loads((out / "run.json").read_text())["resumed"] >= 8
    assert same(out, tmp_path / "undisturbed")
    scores = [
        [json.loads(line)["score"] for line in (folder / "losses.jsonl").read_text().splitlines()]
        for folder in (out, tmp_path / "undisturbed")
    ]
    assert scores[0] == scores[1]
    assert not (out / CHECKPOINTS).exists()


@pytest.mark.parametrize("method", ["lora", "dpo"])
def test_a_run_that_goes_on_from_an_adapter_and_was_killed_ends_as_one_that_was_not(method, given, adapter, tmp_path):
    words = ("--dataset", given[1], "--model", adapter, *EVERY_STEP, *RATE, "--method", method)
    words, out = (*words, "--set", "train.rows_per_step=2"), tmp_path / "run"
    finished((*words, "--out", tmp_path / "undisturbed"))
    killed(words, out, lambda: whole(out)[-1:] >= [8])
    finished((*words, "--out", out), tmp_path / "said")
    told = (tmp_path / "said").read_text()
    assert "this adapter (rank 4, on" in told
    assert "the run goes on from here" in told
    assert same(out, tmp_path / "undisturbed")
    assert not same(out, adapter.parent)
