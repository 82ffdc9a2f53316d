"""One training on several processes, started as torchrun starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

import seqtune.training
from seqtune.data.writer import write
from seqtune.errors import RecipeError
from seqtune.evaluation.suites.generated_chains import chain_maker

pytest.importorskip("torch")
pytest.importorskip("trl")
from seqtune.training.model import load
from seqtune.training.run import train

LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "seqtune")
MAKER = chain_maker()
ROWS = [MAKER.draw(1 + i % 3, Random(i), for_training=True) for i in range(40)]
OPTIONS = {"batch_tokens": 200, "rows_per_step": 7, "learning_rate": 1e-2, "trl": {"logging_steps": 1}, "save_every": 3}


def launched(*words):
    return subprocess.run(
        [*LAUNCHER, "train", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
def test_two_processes_have_the_losses_and_weights_of_one_and_write_once(packing, tmp_path):
    write(ROWS, tmp_path / "rows.jsonl")
    one = train(ROWS, out=tmp_path / "one", packing=packing, **OPTIONS)
    sets = [word for name, value in OPTIONS.items() for word in ("--set", f"train.{name}={value}".replace("'", ""))]
    out = tmp_path / "two"
    done = launched(
        "--dataset", tmp_path / "rows.jsonl", "--out", out, *["--packing"] * packing, *sets, "--processes", 2
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model in") == 1
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == pytest.approx([line.loss for line in one.losses], rel=1e-5)
    assert len(lines) == 6
    run = json.loads((out / "run.json").read_text())
    assert (run["finished"], run["processes"], run["packed"]) == (True, 2, packing)
    mine, others = (load(folder).model.state_dict() for folder in (one.model, out / "model"))
    assert all(others[name].numpy() == pytest.approx(weight.numpy(), abs=1e-4) for name, weight in mine.items())


@pytest.mark.parametrize("lora", [None, {"r": 4}], ids=["whole", "adapter"])
def test_two_processes_prefer_as_one_does_in_two_parts(lora, tmp_path):
    rows = [MAKER.draw(2, Random(i), for_training=True) for i in range(16)]
    write(rows, tmp_path / "rows.jsonl")
    model = train(rows, out=tmp_path / "base", max_tokens=2000).model
    options = {"method": "dpo", "rows_per_step": 4, "learning_rate": 1e-3, "trl": {"logging_steps": 1}, "save_every": 3}
    options |= {"lora": lora} if lora else {}
    one = train(rows, model, out=tmp_path / "one", accumulate=2, **options)
    sets = [word for name, value in options.items() for word in ("--set", f"train.{name}={value}".replace("'", ""))]
    out = tmp_path / "two"
    done = launched("--dataset", tmp_path / "rows.jsonl", "--model", model, "--out", out, *sets, "--processes", 2)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == pytest.approx([line.loss for line in one.losses], rel=1e-4)
    assert [line["score"] for line in lines] == pytest.approx([line.score for line in one.losses])
    run = json.loads((out / "run.json").read_text())
    assert (run["finished"], run["processes"], run["padding"]) == (True, 2, pytest.approx(one.padding))
    mine, others = (load(folder).model.state_dict() for folder in (one.model, out / "model"))
    assert all(others[name].numpy() == pytest.approx(weight.numpy(), abs=1e-4) for name, weight in mine.items())


def test_fewer_processes_than_asked_is_an_error_and_nothing_is_written(tmp_path):
    with pytest.raises(RecipeError, match=r"train.processes is 2, and 1 process started[\s\S]*torchrun"):
        train(ROWS, out=tmp_path / "run", processes=2)
    assert not (tmp_path / "run").exists()


LAUNCH = Path(seqtune.training.__file__).parent / "launch"


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_configuration_is_one_that_accelerate_reads_and_says_whether_it_is_tested(path):
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(path))
    assert found.distributed_type.value in ("MULTI_GPU", "FSDP", "DEEPSPEED")
    said = path.read_text("utf-8").partition("compute_environment")[0]
    assert "ested with two processes on CPUs" in said
    assert ("on GPUs not tested" in said) == (path.stem != "ddp")
    assert found.mixed_precision in (None, "no")  # it would be taken before train.precision
