"""Weights, gradients and optimiser states spread over two processes, by FSDP2 and, where it is there, DeepSpeed."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

import seqtune.training
from seqtune.data.writer import write
from seqtune.errors import RunFolderError
from seqtune.evaluation.suites.generated_chains import chain_maker

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
from seqtune.training.run import train  # noqa: E402

LAUNCH = Path(seqtune.training.__file__).parent / "launch"
LAUNCHER = (sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--main_process_port", "0")
MAKER = chain_maker()
ROWS = [MAKER.draw(1 + i % 3, Random(i), for_training=True) for i in range(28)]
OPTIONS = {"batch_tokens": 200, "rows_per_step": 7, "learning_rate": 1e-2, "save_every": 1, "trl": {"logging_steps": 1}}
METHODS = {
    "full": {},
    "lora": {"method": "lora", "lora": {"r": 4}, "packing": True, "gradient_checkpointing": True},
}
# Its own settings keep small weights whole, which are all that there are here.
ZERO3 = {
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
    "zero_optimization": {
        "stage": 3,
        "stage3_param_persistence_threshold": 0,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
}
NO_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="deepspeed is not installed")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model that has learnt a little, and the rows."""
    folder = tmp_path_factory.mktemp("base")
    write(ROWS, folder / "rows.jsonl")
    train(ROWS, out=folder / "run", max_tokens=300)
    return folder


@pytest.fixture(scope="module", params=["fsdp2", pytest.param("zero3", marks=NO_DEEPSPEED)])
def configuration(request, tmp_path_factory):
    if request.param == "fsdp2":
        return LAUNCH / "fsdp2.yaml"
    folder = tmp_path_factory.mktemp("zero3")
    (folder / "zero3.json").write_text(json.dumps(ZERO3))
    path = folder / "zero3.yaml"
    part = f"deepspeed_config: {{deepspeed_config_file: {folder / 'zero3.json'}, zero3_init_flag: false}}\n"
    path.write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: DEEPSPEED\n" + part)
    return path


@pytest.fixture(scope="module")
def spread(base, configuration, tmp_path_factory):
    """The folder of a training in two processes, by its method."""

    @cache
    def run(method):
        out = tmp_path_factory.mktemp("spread") / "run"
        finish(started(configuration, base, out, method))
        return out

    return run


def started(configuration, base, out, method):
    settings = {**OPTIONS, **METHODS[method], "processes": 2}
    sets = [word for name, value in settings.items() for word in ("--set", f"train.{name}={value}".replace("'", ""))]
    words = ("train", "--dataset", base / "rows.jsonl", "--model", base / "run" / "model", "--out", out, *sets)
    return subprocess.Popen(
        [*LAUNCHER, "--config_file", configuration, Path(__file__).with_name("on_cpus.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"},
    )


def finish(process):
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert said.count("model in") == 1
    return said


def kill(process):
    """The launcher and, in sessions of their own, the processes that it started."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout
    for pid in (process.pid, *map(int, found.split())):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "losses.jsonl").read_text().splitlines()]


def weights(model):
    from safetensors.torch import load_file

    (path,) = model.glob("*.safetensors")
    return load_file(path)


@pytest.mark.parametrize("method", METHODS)
def test_weights_spread_over_two_processes_give_the_losses_of_one_and_a_whole_model(method, spread, base, tmp_path):
    out = spread(method)
    one = train(ROWS, base / "run" / "model", out=tmp_path / "one", **OPTIONS, **METHODS[method])
    assert losses(out) == pytest.approx([line.loss for line in one.losses], rel=1e-5)
    run = json.loads((out / "run.json").read_text())
    assert [run[name] for name in ("finished", "processes", "packed")] == [True, 2, method == "lora"]
    assert [run[name] for name in ("parameters", "trained_parameters")] == [one.parameters, one.trained_parameters]
    mine, others = weights(one.model), weights(out / "model")
    assert mine.keys() == others.keys()
    assert all(torch.allclose(others[name], weight, atol=1e-4) for name, weight in mine.items())
    configs = [(model / "config.json") for model in (one.model, out / "model")]
    assert all(path.read_text() == configs[0].read_text() for path in configs if path.exists())


def test_a_spread_training_that_was_killed_goes_on_as_if_it_had_not_been(spread, base, configuration, tmp_path):
    out = tmp_path / "run"
    process = started(configuration, base, out, "full")
    while process.poll() is None and not (out / "checkpoints" / "checkpoint-2").exists():
        time.sleep(0.01)
    kill(process)
    shares = sorted((out / "checkpoints" / "checkpoint-2").glob("pytorch_model_fsdp_0/*.distcp"))
    assert [share.name for share in shares] == ["__0_0.distcp", "__1_0.distcp"] or configuration.stem != "fsdp2"
    with pytest.raises(RunFolderError, match=r"spread over processes by .*, and now they are whole"):
        train(ROWS, base / "run" / "model", out=out, **OPTIONS)
    assert "the run goes on from here" in finish(started(configuration, base, out, "full"))
    assert losses(out) == losses(spread("full"))
    mine, others = weights(spread("full") / "model"), weights(out / "model")
    assert all(torch.equal(others[name], weight) for name, weight in mine.items())
