"""A build: every row read ends in exactly one place, the same rows whatever the order, limit or run."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import seqtune
from seqtune.building.tokens import count_tokens
from seqtune.errors import DataError, RunFolderError

ROWS = [
    {
        "id": f"row-{i}",
        "instruction": f"Name the colour number {i}.",
        "input": "red\nblue\ngreen" if i % 3 else "",
        "output": f"blue {i}",
    }
    for i in range(300)
]


def lines(folder, name):
    return [msgspec.json.decode(line) for line in (folder / f"{name}.jsonl").read_bytes().splitlines()]


def build(source, out, **options):
    return seqtune.build(from_=source, out=str(out), **{"chain": "operations", **options})


def test_every_row_read_ends_in_exactly_one_of_examples_skipped_and_failed(rows_file, tmp_path):
    source = rows_file(
        [*ROWS[:50], {"instruction": "", "output": "x"}, *ROWS[:5], {"instruction": 3.5, "output": None}]
    )
    built = build(source, tmp_path / "out", chain="repeat")
    out = tmp_path / "out"
    read_rows = sorted(
        [example["origin"][0]["row"] for example in lines(out, "examples")]
        + [entry["example"]["origin"][0]["row"] for entry in lines(out, "skipped")]
        + [entry["row"] for entry in lines(out, "failed")]
    )
    assert read_rows == list(range(1, 58))
    assert (built.read, built.examples + built.skipped + built.failed) == (57, 57)
    assert built.reasons["skipped"]["the same row, with the same own id, stands earlier"] == 5
    assert sum(built.reasons["failed"].values()) == built.failed == 2


@given(shuffled=st.permutations(ROWS[:40]))
@settings(max_examples=15, deadline=None)
def test_order_changes_no_row(shuffled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    made = {}
    for name, given_rows in (("a", ROWS[:40]), ("b", shuffled)):
        path = folder / f"{name}.jsonl"
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in given_rows))
        built = build(str(path), folder / name, sets=("build.plain=0.3",))
        made[name] = {row.meta["id"]: (row.instruction, row.output) for row in built.rows()}
    assert made["a"] == made["b"]


def test_a_limit_gives_a_prefix(rows_file, tmp_path):
    source = rows_file(ROWS)
    build(source, tmp_path / "ten", limit=10)
    build(source, tmp_path / "hundred", limit=100)
    ten, hundred = (tmp_path / name / "examples.jsonl" for name in ("ten", "hundred"))
    assert hundred.read_bytes().startswith(ten.read_bytes())
    assert ten.stat().st_size > 0


def test_the_same_build_twice_gives_the_same_bytes_and_another_seed_others(rows_file, tmp_path):
    source = rows_file(ROWS)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(source, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name / "examples.jsonl").read_bytes() for name in "abc")
    assert a == b != c


def test_shares_come_out_as_asked(rows_file, tmp_path):
    source = rows_file([{**row, "input": "a b c d"} for row in ROWS])
    chains = [{"chain": "repeat", "share": 0.5}, {"chain": "operations", "steps": 3, "share": 0.25}]
    built = build(source, tmp_path / "out", chain=chains)
    assert built.asked == {"repeat": 0.5, "operations (3 steps)": 0.25, "plain": 0.25}
    for title, share in built.asked.items():
        assert built.made[title] / built.examples == pytest.approx(share, abs=0.09)
    assert Counter(len(row.steps) or 1 for row in built.rows()) == {int(k): v for k, v in built.steps.items()}


def test_rows_that_no_chain_fits_are_skipped_with_the_reason_or_kept_plain(rows_file, tmp_path):
    source = rows_file(ROWS)
    skipped = build(source, tmp_path / "skip", chain="repeat")
    kept = build(source, tmp_path / "plain", chain="repeat", unfit="plain")
    assert skipped.reasons["skipped"] == {"the row has no input": 100}
    assert kept.made == {"repeat": 200, "plain": 100}


def test_the_control_holds_the_same_rows_unchained(rows_file, tmp_path):
    built = build(rows_file(ROWS), tmp_path / "out", chain="repeat")
    control = list(seqtune.read(str(tmp_path / "out" / "control.jsonl")))
    assert [row.id for row in control] == [row.origin[-1].parent for row in built.rows()]
    assert not any(row.steps for row in control)


def test_the_token_matched_control_has_as_many_tokens(rows_file, tmp_path):
    built = build(rows_file(ROWS), tmp_path / "out", chain="repeat", control="tokens")
    tokens = [
        sum(count_tokens(row) for row in seqtune.read(str(tmp_path / "out" / f"{name}.jsonl")))
        for name in ("examples", "control")
    ]
    assert tokens[1] == built.control["tokens"]
    assert 0 <= tokens[1] - tokens[0] < 60


def test_rows_of_a_parallel_file_are_matched_by_their_id(rows_file, tmp_path):
    german = rows_file(
        [{"id": i, "instruction": "Zähle.", "input": f"Nummer {i}", "output": f"{i}"} for i in range(9)], "de.jsonl"
    )
    english = rows_file(
        [{"id": i, "instruction": "Count.", "input": f"number {i}", "output": f"{i}"} for i in reversed(range(8))],
        "en.jsonl",
    )
    built = build(german, tmp_path / "out", chain="translate", parallel=english)
    assert all(
        row.output.startswith(f"Translation into English: {row.input.replace('Nummer', 'number')}\n")
        for row in built.rows()
    )
    assert built.reasons["skipped"] == {"no row of the parallel file matches": 1}


def test_a_translation_is_asked_for_in_good_english_whatever_the_language(rows_file, tmp_path):
    here, there = [
        rows_file(
            [{"instruction": "Count.", "input": f"{word} {i}", "output": "1"} for i in range(30)], f"{word}.jsonl"
        )
        for word in ("one", "один")
    ]
    chain = [{"chain": "translate", "language": "Ukrainian"}]
    asked = {row.steps[0].text for row in build(here, tmp_path / "out", chain=chain, parallel=there).rows()}
    assert len(asked) > 3
    assert all("into Ukrainian" in ask for ask in asked)


def test_parallel_rows_with_the_same_id_are_refused(rows_file, tmp_path):
    german = rows_file([{"id": 1, "instruction": "a", "input": "b", "output": "c"}], "de.jsonl")
    english = rows_file([{"id": 1, "instruction": "a", "input": x, "output": "c"} for x in "xy"], "en.jsonl")
    with pytest.raises(DataError, match="the id 1 stands in row 1 as well"):
        build(german, tmp_path / "out", chain="translate", parallel=english)


def test_rows_of_several_sources_are_matched_by_id_or_not_at_all(rows_file, tmp_path):
    def row(name, **more):
        return {"instruction": "Zähle.", "input": f"{name} hier", "output": "1", **more}

    sources = [rows_file([row(name, id=name) for name in names], f"{names}.jsonl") for names in ("ab", "cd")]
    told = rows_file([row(name, input=f"{name} here") for name in "abcd"], "places.jsonl")
    with pytest.raises(DataError, match=r"places\.jsonl.*\n.*give both files an 'id' column"):
        build(sources, tmp_path / "out", chain="translate", parallel=told)
    assert not (tmp_path / "out").exists()
    by_id = rows_file([row(name, id=name, input=f"{name} here") for name in "dcba"], "ids.jsonl")
    built = build(sources, tmp_path / "out", chain="translate", parallel=by_id)
    assert [found.steps[0].expected for found in built.rows()] == ["a here", "b here", "c here", "d here"]
    nameless = rows_file([row("e")], "nameless.jsonl")
    built = build([*sources, nameless], tmp_path / "more", chain="translate", parallel=by_id)
    assert built.reasons["skipped"] == {"no row of the parallel file matches": 1}


def test_a_parallel_file_that_was_written_anew_is_read_anew(rows_file, tmp_path):
    source = rows_file([{"instruction": "Zähle.", "input": "eins", "output": "1"}])
    for text in ("one", "two"):
        other = rows_file([{"instruction": "Count.", "input": text, "output": "1"}], "en.jsonl")
        built = build(source, tmp_path / text, chain="translate", parallel=other)
        assert [row.steps[0].expected for row in built.rows()] == [text]


def test_strict_stops_at_the_first_bad_row_and_leaves_no_half_file(rows_file, tmp_path):
    source = rows_file([*ROWS[:3], {"instruction": "", "output": "x"}])
    with pytest.raises(DataError, match=r"rows\.jsonl:4"):
        build(source, tmp_path / "out", strict=True)
    assert os.listdir(tmp_path / "out") == ["run.json"]
    assert build(source, tmp_path / "out", overwrite=True).failed == 1


def test_a_second_build_in_a_folder_is_told_of_the_first_which_ends_whole(rows_file, tmp_path):
    source, told = rows_file(ROWS * 4), []

    def build_again(counts):
        with pytest.raises(RunFolderError, match="another process is at work here") as error:
            build(source, tmp_path / "out", overwrite=True)
        told.append(error)

    built = build(source, tmp_path / "out", duplicates="keep", on_progress=build_again)
    assert len(told) == 1
    assert len(lines(tmp_path / "out", "examples")) == built.examples > 0


def test_a_folder_of_something_else_is_not_touched(rows_file, tmp_path):
    source = rows_file(ROWS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(RunFolderError, match="something else"):
        build(source, tmp_path / "mine")
    build(source, tmp_path / "out", seed=1)
    before = (tmp_path / "out" / "examples.jsonl").read_bytes()
    with pytest.raises(RunFolderError, match="another run"):
        build(source, tmp_path / "out", seed=2)
    assert (tmp_path / "out" / "examples.jsonl").read_bytes() == before
    assert build(source, tmp_path / "out", seed=1).examples > 0


def test_a_killed_build_never_looks_whole_and_the_same_command_finishes_it(rows_file, tmp_path):
    source = rows_file([{**row, "id": i} for i, row in enumerate(ROWS * 200)])
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "seqtune",
        "build",
        "--from",
        source,
        "--chain",
        "operations",
        "--out",
        str(out),
        "--quiet",
    ]
    process = subprocess.Popen(command)
    while not (out / "examples.jsonl.partial").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "examples.jsonl").exists()
    with pytest.raises(RunFolderError, match="did not finish"):
        seqtune.data.folder.read_summary(out)
    built = build(source, out, limit=100, overwrite=True)
    assert built.examples + built.skipped == 100
    assert not list(out.glob("*.partial"))


def test_a_full_disk_is_told_and_leaves_nothing_that_looks_whole(rows_file, tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(RunFolderError, match="No space left on device"):
        build(rows_file(ROWS[:5]), tmp_path / "out")


def test_a_source_that_cannot_be_read_leaves_no_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        build(str(tmp_path / "gone.jsonl"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_build_that_makes_no_example_is_no_error(rows_file, tmp_path):
    built = build(rows_file([ROWS[0]]), tmp_path / "out", chain="repeat", control="tokens")
    assert (built.examples, built.skipped, list(built.rows())) == (0, 1, [])
