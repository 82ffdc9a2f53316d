"""Ctrl-C: a command says that it was stopped and what to do, and the same command goes on."""

import json
import signal
import subprocess
import sys
import time

import pytest

from seqtune.data.example import Example
from seqtune.data.writer import write


def stopped_when(ready, words, log):
    """Start a command, interrupt it once it is at work; gives its exit code and what it said."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "seqtune", *words],
            stderr=said,
            stdout=said,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )
        while process.poll() is None and not ready():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        return process.wait(), log.read_text()


def test_a_training_says_that_it_was_stopped(tmp_path):
    pytest.importorskip("trl")
    write([Example(f"Say {i}", "one two", f"two {i}") for i in range(200)], tmp_path / "rows.jsonl")
    out = tmp_path / "run"
    words = ["train", "--dataset", str(tmp_path / "rows.jsonl"), "--out", str(out), "--set", "train.save_every=2"]
    words += ["--set", "train.max_tokens=4000000"]
    code, said = stopped_when(lambda: any(out.glob("checkpoints/checkpoint-*")), words, tmp_path / "log")
    assert code == 130
    assert "stopped; the same command goes on" in said
    assert "Traceback" not in said
    assert not json.loads((out / "run.json").read_text())["finished"]


def test_a_build_says_that_it_was_stopped(tmp_path, mock_server):
    served = mock_server("--latency-ms", "300")
    write([Example(f"Say {i}", "one two", f"two {i}") for i in range(20)], tmp_path / "rows.jsonl")
    words = ["build", "--from", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "run")]
    words += ["--chain", "seq_instruct", "--llm", served.llm, "--store", str(tmp_path / "store"), "--concurrency", "1"]
    code, said = stopped_when(lambda: served.stats()["requests"] > 0, words, tmp_path / "log")
    assert code == 130, said
    assert "stopped: " in said
    assert "the same command goes on" in said
    assert "Traceback" not in said
