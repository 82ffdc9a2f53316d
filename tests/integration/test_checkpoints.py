"""Checkpoints: a run that is killed ends as one that was not, and what is torn is seen and passed over."""

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.errors import RunFolderError
from seqtune.training.checkpoints import HALF, MANIFEST, WholeCheckpoints, last_whole, losses_until, step_of
from seqtune.training.loss import Loss

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

STEPS, SAVE_EVERY, LOG_EVERY, KEEP = 17, 4, 3, 2
RUN = "the same rows and settings"
# Processes that know torch already and share nothing with the one that runs the tests: real ones, cheap to kill.
PROCESSES = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module", autouse=True)
def known_already():
    # One server serves all files, and keeps what it was first told to load: so also what test_resuming needs.
    PROCESSES.set_forkserver_preload(
        ["torch", "transformers.models.gpt2.modeling_gpt2", "seqtune.cli", "seqtune.training.trainer"]
    )


class Planned(WholeCheckpoints, transformers.Trainer):
    """A training with dropout, whose batches are planned; it kills itself at one step of a save, if told so."""

    fingerprint = RUN
    killed_in = None

    def get_train_dataloader(self):
        plan = [[(3 * step + i) % 40 for i in range(4)] for step in range(2 * STEPS)]
        return self.accelerator.prepare(torch.utils.data.DataLoader(self.train_dataset, batch_sampler=plan))

    def _save_rng_state(self, output_dir):
        super()._save_rng_state(output_dir)
        if self.killed_in == self.state.global_step:
            os.kill(os.getpid(), signal.SIGKILL)


def trainer(folder, killed_in=None):
    torch.set_num_threads(1)
    transformers.set_seed(0)
    rng = Random(0)
    ids = [torch.tensor([rng.randrange(64) for _ in range(16)]) for _ in range(40)]
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=16, vocab_size=64)
    args = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        learning_rate=1e-2,
        lr_scheduler_type="cosine",
        gradient_accumulation_steps=2,
        logging_steps=LOG_EVERY,
        save_strategy="steps",
        save_steps=SAVE_EVERY,
        save_total_limit=KEEP,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    rows = [{"input_ids": row, "labels": row} for row in ids]
    made = Planned(model=transformers.GPT2LMHeadModel(config), args=args, train_dataset=rows)
    made.remove_callback(transformers.PrinterCallback)
    made.killed_in = killed_in
    return made


def run(folder, killed_in=None):
    """What a command does: goes on from the last whole checkpoint, and writes what came of it when it is done."""
    told = []
    checkpoint = last_whole(folder, RUN, told.append)
    made = trainer(folder, killed_in)
    made.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    losses = [(line["step"], line["loss"]) for line in made.state.log_history if "loss" in line]
    result = {"losses": losses, "from": step_of(checkpoint), "told": told}
    torch.save(made.model.state_dict(), folder / "weights.pt")
    (folder / "result.json").write_text(json.dumps(result))


def started(*args, **kwargs):
    process = PROCESSES.Process(target=run, args=args, kwargs=kwargs)
    process.start()
    return process


def finished(folder, **kwargs):
    """Run to the end in a process of its own; gives what it wrote."""
    process = started(folder, **kwargs)
    process.join()
    assert process.exitcode == 0
    return written(folder)


def written(folder):
    return json.loads((folder / "result.json").read_text()), torch.load(folder / "weights.pt", weights_only=True)


def same(one, other):
    return one[0]["losses"] == other[0]["losses"] and all(torch.equal(one[1][name], other[1][name]) for name in one[1])


def checkpoints(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    process = started(folder, killed_in=3 * SAVE_EVERY)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return folder


@pytest.fixture
def half_way(killed, tmp_path):
    """The folder of a run that was killed while it wrote its third checkpoint."""
    return Path(shutil.copytree(killed, tmp_path / "half_way"))


# --- killed


def test_a_run_killed_while_it_saves_goes_on_from_the_checkpoint_before_and_ends_the_same(half_way, undisturbed):
    assert checkpoints(half_way) == ["checkpoint-4", "checkpoint-8", HALF]
    again = finished(half_way)
    assert again[0]["from"] == 2 * SAVE_EVERY
    assert "while a checkpoint was being written" in again[0]["told"][0]
    assert same(again, undisturbed)
    assert checkpoints(half_way) == ["checkpoint-16", "checkpoint-17"]


def test_a_run_killed_again_and_again_at_any_moment_ends_as_one_that_was_not(tmp_path, undisturbed):
    rng = Random(0)
    kills = [killed_soon(tmp_path, rng.random() * 0.05) for _ in range(5)]
    assert any(kills)
    assert same(finished(tmp_path), undisturbed)


def killed_soon(folder, wait_s):
    """Kill a run a little after it wrote something, so that it comes close to a save and some steps are done each time;
    gives whether it was still running."""
    before, process = names(folder), started(folder)
    while process.is_alive() and names(folder) == before:
        time.sleep(0.001)
    time.sleep(wait_s)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def names(folder):
    return {name for _, folders, files in os.walk(folder) for name in folders + files}


def test_a_run_that_is_done_is_not_trained_again(tmp_path, undisturbed):
    first = finished(tmp_path)
    again = finished(tmp_path)
    assert again[0]["from"] == STEPS
    assert same(first, undisturbed)
    assert same(again, undisturbed)


# --- torn


def cut(file):
    os.truncate(file, file.stat().st_size // 2)


def flip(file):
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)


@pytest.mark.parametrize(
    ("harm", "name", "said"),
    [
        (cut, "optimizer.pt", r"optimizer.pt has \d+ of \d+ bytes"),
        (flip, "model.safetensors", "model.safetensors is not what was written"),
        (Path.unlink, "rng_state.pth", "rng_state.pth cannot be read"),
        (cut, MANIFEST, "manifest.json cannot be read"),
        (Path.unlink, MANIFEST, "not written to its end"),
    ],
)
def test_a_torn_checkpoint_is_told_and_the_one_before_is_used(harm, name, said, half_way):
    harm(half_way / "checkpoint-8" / name)
    told = []
    assert last_whole(half_way, RUN, told.append) == half_way / "checkpoint-4"
    (of_it,) = [line for line in told if "checkpoint-8" in line]
    assert re.search(said, of_it)


def test_a_run_with_a_torn_checkpoint_ends_the_same_and_leaves_none(half_way, undisturbed):
    cut(half_way / "checkpoint-8" / "model.safetensors")
    again = finished(half_way)
    assert again[0]["from"] == SAVE_EVERY
    assert same(again, undisturbed)
    assert checkpoints(half_way) == ["checkpoint-16", "checkpoint-17"]


def test_the_checkpoint_of_another_run_is_never_gone_on_from(half_way):
    told = []
    assert last_whole(half_way, "other rows", told.append) is None
    assert sum("other rows or settings" in line for line in told) == 2


def test_where_there_is_no_checkpoint_there_is_nothing_to_tell(tmp_path):
    told = []
    assert last_whole(tmp_path, RUN, told.append) is last_whole(tmp_path / "none", RUN, told.append) is None
    (tmp_path / "checkpoint-best").mkdir()
    assert last_whole(tmp_path, RUN, told.append) is None
    assert told == []
    assert step_of(None) == 0


@pytest.mark.parametrize("most_bytes", [5_000, 20_000, 30_000])
def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing_half_written(most_bytes, tmp_path):
    with pytest.raises(RunFolderError, match=r"checkpoint of step 4 cannot be written.*\n.*free some space"):
        with_little_room(tmp_path, most_bytes)
    assert checkpoints(tmp_path) == []


def with_little_room(folder, most_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))  # as a full disk does it: a write fails midway
    try:
        trainer(folder).train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- the losses of a run that goes on


@given(st.integers(0, 12), st.integers(0, 40))
def test_losses_up_to_a_step_are_kept_wherever_the_file_was_cut(step, cut_bytes):
    lines = [Loss(i, 10, 1 / i, 1e-3, 5 * i, 2.0, 0.5 * i) for i in range(1, 11)]
    text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "losses.jsonl")
        assert losses_until(path, step) == []
        path.write_bytes(text[: len(text) - cut_bytes])
        whole = lines if cut_bytes == 0 else lines[:-1]
        assert losses_until(path, step) == whole[:step]
