"""The command `seqtune train`, killed and started again: it ends as one that nobody disturbed."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from random import Random

import pytest

from seqtune.data.writer import write
from seqtune.evaluation.suites.generated_chains import chain_maker

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
from seqtune.training.checkpoints import CHECKPOINTS, HALF  # noqa: E402
from seqtune.training.run import train  # noqa: E402

# Processes that know torch and TRL already and share nothing with the one that runs the tests: real, cheap to kill.
PROCESSES = multiprocessing.get_context("forkserver")

MAKER = chain_maker()
ROWS = [MAKER.draw(1 + i % 3, Random(i), for_training=True) for i in range(60)]
EVERY_STEP = ("--set", "train.trl.logging_steps=3", "--set", "train.save_every=4", "--set", "train.batch_tokens=256")
LORA = ("--method", "lora", "--packing", "--set", "train.lora={dropout: 0.2, r: 4}", "--epochs", "2")


@pytest.fixture(scope="module", autouse=True)
def known_already():
    # When it is used, not when it is read: one server serves all files, and keeps what it was first told to load.
    PROCESSES.set_forkserver_preload(["torch", "seqtune.cli", "seqtune.training.trainer"])


def command(words, said):
    torch.set_num_threads(1)
    sys.argv = ["seqtune", "train", *map(str, words)]
    from seqtune.cli import main

    with open(said, "a") as sys.stderr:
        main()


def started(words, said=os.devnull):
    process = PROCESSES.Process(target=command, args=(words, said))
    process.start()
    return process


def finished(words, said=os.devnull):
    process = started(words, said)
    process.join()
    assert process.exitcode == 0


def losses(out):
    """All that is written of them but the times."""
    lines = map(json.loads, (out / "losses.jsonl").read_text().splitlines())
    return [{name: line[name] for name in ("step", "steps", "loss", "learning_rate", "tokens")} for line in lines]


def weights(out):
    from safetensors.torch import load_file

    (path,) = (out / "model").glob("*.safetensors")
    return load_file(path)


def same(one, other):
    mine, others = weights(one), weights(other)
    return losses(one) == losses(other) and all(torch.equal(mine[name], others[name]) for name in mine | others)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write(ROWS, folder / "rows.jsonl")
    return folder / "rows.jsonl"


@pytest.fixture(scope="module", params=[("--epochs", "2"), LORA], ids=["full", "lora"])
def words(request, rows, tmp_path_factory):
    """A command, without its --out."""
    base = ()
    if request.param is LORA:
        made = train(rows, out=tmp_path_factory.mktemp("base") / "run", max_tokens=500)
        base = ("--model", made.model)
    return ("--dataset", rows, *base, *EVERY_STEP, *request.param)


@pytest.fixture(scope="module")
def undisturbed(words, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    finished((*words, "--out", out))
    return out


def killed(words, out, ready, wait_s=0.0):
    """Kill a run a little after it is so far."""
    process = started((*words, "--out", out))
    while process.is_alive() and not ready():
        time.sleep(0.001)
    time.sleep(wait_s)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def whole(out):
    """The steps of the checkpoints that are in their place."""
    return sorted(int(path.name[11:]) for path in (out / CHECKPOINTS).glob("checkpoint-*"))


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(words, undisturbed, tmp_path):
    rng, out = Random(0), tmp_path / "run"
    for _ in range(3):
        before = whole(out)
        killed(words, out, lambda before=before: whole(out)[-1:] > before[-1:], rng.random() * 0.1)
    half = out / CHECKPOINTS / HALF
    shutil.rmtree(half, ignore_errors=True)  # of one that was killed while it saved, as the next one will be
    killed(words, out, lambda: any(half.glob("checkpoint-*/*")))
    assert half.exists()
    finished((*words, "--out", out), tmp_path / "said")
    assert same(out, undisturbed)
    assert json.loads((out / "run.json").read_text())["resumed"] > 0
    told = (tmp_path / "said").read_text()
    assert "while a checkpoint was being written" in told
    assert "the run goes on from here" in told
    assert not (out / CHECKPOINTS).exists()


def test_a_torn_checkpoint_is_told_and_the_one_before_is_used(words, undisturbed, tmp_path):
    out = tmp_path / "run"
    killed(words, out, lambda: len(whole(out)) > 1)
    *_, before, last = (out / CHECKPOINTS / f"checkpoint-{step}" for step in whole(out))
    os.truncate(last / "optimizer.pt", 100)
    finished((*words, "--out", out), tmp_path / "said")
    told = (tmp_path / "said").read_text()
    assert f"{last}: its optimizer.pt has 100 of " in told
    assert f"{before}: the run goes on from here" in told
    assert same(out, undisturbed)


def test_the_clock_of_a_run_that_goes_on_does_not_start_anew(rows, tmp_path):
    words, out = ("--dataset", rows, *EVERY_STEP), tmp_path / "run"
    killed(words, out, lambda: whole(out))
    finished((*words, "--out", out))
    lines = [json.loads(line) for line in Path(out / "losses.jsonl").read_text().splitlines()]
    times = [line["wall_s"] for line in lines]
    assert times == sorted(times)
    assert all(line["tokens_per_s"] == pytest.approx(line["tokens"] / line["wall_s"]) for line in lines)
