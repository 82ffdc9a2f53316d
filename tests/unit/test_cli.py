"""The command line: what it says when all is well, and when the user mistypes."""

import json
import subprocess
import sys

import pytest

from seqtune import console
from seqtune.cli import main
from seqtune.errors import SeqtuneError

ROWS = [{"instruction": f"Name number {i}.", "input": "red green blue", "output": "red"} for i in range(20)]


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["seqtune", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return code or 0, said.out, said.err

    return call


def test_build_says_what_became_of_the_rows(run, rows_file, tmp_path):
    code, out, err = run("build", "--from", rows_file(ROWS), "--chain", "repeat", "--out", tmp_path / "out")
    assert code == 0
    assert "20 rows read: 20 examples, 0 skipped, 0 failed" in out
    assert "JSON Lines, columns instruction, input, output: alpaca" in err


def test_json_ends_with_one_object_and_prints_nothing_else(run, rows_file, tmp_path):
    code, out, err = run("build", "--from", rows_file(ROWS), "--chain", "repeat", "--out", tmp_path / "out", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["examples"], told["skipped"], told["failed"]) == (20, 0, 0)
    assert told["reasons"] == {"skipped": {}, "failed": {}}
    assert told["wall_s"] >= 0


@pytest.mark.parametrize("row", [{"instruction": "Count.", "output": "1"}, {"instruction": "", "output": "1"}])
def test_a_build_without_an_example_says_so_and_ends_with_exit_code_1(run, rows_file, tmp_path, row):
    source = rows_file([row, {"instruction": "Name one.", "output": "1"}])
    code, _, err = run("build", "--from", source, "--chain", "repeat", "--out", tmp_path / "out", "--quiet")
    assert code == 1
    assert "no row became an example: " in err


def test_dry_run_shows_rows_and_writes_nothing(run, rows_file, tmp_path):
    code, out, _ = run("build", "--from", rows_file(ROWS), "--chain", "repeat", "--out", tmp_path / "out", "--dry-run")
    assert code == 0
    assert "red green blue" in out
    assert "nothing was written" in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "--from", "ROWS", "--chain", "repaet"], "did you mean 'repeat'?"),
        (["build", "--from", "ROWS", "--chain", "translate"], "needs a parallel file or a teacher"),
        (["build", "--from", "ROWS", "--chain", "repeat", "--set", "build.sed=1"], "did you mean 'seed'?"),
        (["build", "--from", "ROWS", "--chain", "repeat", "--limit", "-3"], "build.limit = -3"),
        (["build", "--from", "ROWS", "--chain", "repeat", "--unfit", "plane"], "build.unfit = plane"),
        (["build", "--from", "ROWS.gone", "--chain", "repeat"], "ROWS.gone"),
        (["build", "--chain", "repeat"], "build.from is missing"),
        (["build", "--from", "ROWS"], "build.chains is missing"),
        (["build"], "build.from is missing"),
        (["build", "operatoins"], "did you mean 'operations'?"),
        (["build", "--from", "ROWS", "--chain", "repeat", "--columns", "x"], "OURS=THEIRS"),
        (["ls", "chain"], "'chain' is not one of"),
        (["biuld"], "biuld"),
    ],
)
def test_a_mistake_is_told_in_plain_words_with_exit_code_2(run, rows_file, tmp_path, words, said):
    rows = rows_file(ROWS)
    extra = ["--out", tmp_path / "out"] if words[0] == "build" else []
    code, _, err = run(*[word.replace("ROWS", rows) for word in words], *extra)
    assert code == 2
    assert said.replace("ROWS", rows) in " ".join(err.split()) or said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", ["chains", "operations", "formats", "recipes"])
def test_ls_lists_what_there_is(run, kind):
    code, out, _ = run("ls", kind)
    listed = json.loads(run("ls", kind, "--json")[1])[kind]
    assert code == 0
    assert len(listed) >= (24 if kind == "operations" else 3)
    assert all(next(iter(entry.values())) in out for entry in listed)


def test_convert_writes_another_format(run, rows_file, tmp_path):
    code, out, _ = run("convert", rows_file(ROWS), tmp_path / "chat.jsonl", "--format", "chat")
    first = json.loads((tmp_path / "chat.jsonl").read_text().splitlines()[0])
    assert code == 0
    assert "20 rows" in out
    assert [m["role"] for m in first["messages"]] == ["user", "assistant"]


def test_help_and_version_answer(run):
    assert "build" in run("--help")[1]
    assert run("--version")[1].startswith("seqtune 0.")


def test_an_error_is_told_on_a_line_of_its_own(monkeypatch, capsys):
    console.set_mode()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def fail():
        with console.progress("build", "rows") as report:
            report(15)
            raise SeqtuneError("no")

    with pytest.raises(SeqtuneError):
        fail()
    assert capsys.readouterr().err.endswith("rows/s\r\x1b[K")


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path):
    command = f"{sys.executable} -m seqtune ls operations | head -2"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert ended.stderr == ""
