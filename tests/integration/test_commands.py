"""From rows to figures by the commands alone, as the README says."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")

COLOURS = ["red", "green", "blue", "black", "white"]
ROWS = [
    {"instruction": "Repeat the input.", "input": f"{a} {b} sky", "output": f"{a} {b} sky"}
    for a in COLOURS
    for b in COLOURS
]


def seqtune(*words):
    ended = subprocess.run([sys.executable, "-m", "seqtune", *map(str, words)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_build_train_eval_and_report_hand_each_other_their_files(rows_file, tmp_path):
    built = tmp_path / "built"
    seqtune("build", "--from", rows_file(ROWS), "--chain", "repeat+count_words", "--out", built, "--quiet")
    trained = json.loads(
        seqtune(
            "train", "--dataset", built / "examples.jsonl", "--model", "tiny", "--out", tmp_path / "model", "--json"
        )
    )
    assert trained["rows"] == 25
    told = json.loads(
        seqtune(
            *("eval", "--model", trained["model"], "--suite", built / "examples.jsonl", "--out", tmp_path / "eval"),
            *("--set", "evaluate.max_new_tokens=8", "--json"),
        )
    )
    assert (told["items"], told["figures"][0]["steps"]) == (25, 3)
    assert "report.html" in seqtune("report", tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "count words" in page
    assert "Is every step done?" in page
