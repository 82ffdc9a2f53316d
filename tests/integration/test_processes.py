"""One training on several processes, started as torchrun starts them."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from seqtune.evaluation.suite import chain_maker
from seqtune.training.batches import plan_steps
from seqtune.training.settings import TrainSettings

pytest.importorskip("torch")
pytest.importorskip("trl")
from seqtune.training.model import load
from seqtune.training.rendering import training_row
from seqtune.training.run import train
from seqtune.training.trainer import optimise

LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
MAKER = chain_maker()
ROWS = [MAKER.draw(1 + i % 3, Random(i), for_training=True) for i in range(20)]


def losses_of_a_process(folder, out):
    loaded, losses = load(folder, dtype="float32"), []
    rows = [training_row(row, loaded.tokenizer) for row in ROWS]
    options = {"learning_rate": 1e-2, "trl": {"logging_steps": 1}}
    settings = TrainSettings(dataset="rows", model=str(folder), out=str(out), **options).resolved()
    steps = plan_steps([len(row.ids) for row in rows], batch_tokens=200, seed=0, rows_per_step=7)
    optimise(loaded, rows, steps, settings, bfloat16=False, folder=out, say=losses.append)
    return [line.loss for line in losses]


def test_two_processes_have_the_losses_of_one(tmp_path):
    train(ROWS, out=tmp_path / "first", max_tokens=500)
    (tmp_path / "first" / "model").rename(tmp_path / "model")
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import test_processes\n"
        "for loss in test_processes.losses_of_a_process(Path(sys.argv[2]), Path(sys.argv[3])):\n"
        "    print(f'loss {loss!r}', flush=True)\n"
    )
    (tmp_path / "each.py").write_text(script, "utf-8")
    done = subprocess.run(
        [*LAUNCHER, tmp_path / "each.py", Path(__file__).parent, tmp_path / "model", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    found = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("loss")]
    one = losses_of_a_process(tmp_path / "model", tmp_path / "alone")
    assert len(one) == 3
    assert sorted(found) == pytest.approx(sorted([*one, *one]), rel=1e-5)
