"""Seq-Instruct over HTTP against the mock server: every row ends somewhere, and nothing is paid for twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from seqtune.building.engine import build
from seqtune.building.weaving import chain
from seqtune.data.reader import read
from seqtune.errors import BudgetSpent, RunFolderError, TeacherError
from seqtune.llm import batch

TASKS = ("Name {n} rivers of Europe.", "Write {n} sentences about a town.", "List {n} tools of a carpenter.")
SECRET = "sk-planted-0123456789abcdef"


def rows(count):
    """Instructions that differ in more than a number, every third with an input."""
    rng = random.Random(7)
    words = [
        f"{a}{b}" for a in ("mal", "ter", "vin", "ros", "kel", "dun") for b in ("ta", "no", "ri", "ka", "so", "mi")
    ]
    for i in range(count):
        drawn = " ".join(rng.sample(words, 6))
        row = {"instruction": f"{TASKS[i % 3].format(n=i + 2)} Use these words: {drawn}.", "output": "Something."}
        yield {**row, "input": f"The {drawn} stands at number {i}."} if i % 3 == 0 else row


@pytest.fixture
def source(rows_file):
    return rows_file(rows(60))


def made(out, name="examples"):
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_bytes().splitlines()]


def files(out):
    return {name: (out / f"{name}.jsonl").read_bytes() for name in ("examples", "skipped", "failed", "control")}


def seq_instruct(source, server, tmp_path, out="out", **options):
    options = {"store": str(tmp_path / "replies.sqlite"), "concurrency": 32, **options}
    return build(from_=source, chain="seq_instruct", llm=server.llm, out=str(tmp_path / out), **options)


def test_every_row_ends_in_one_place_with_steps_choices_and_reply_keys(source, mock_server, tmp_path):
    built = seq_instruct(source, mock_server(), tmp_path)
    assert built.finished
    assert built.read == 60 == built.examples + built.skipped + built.failed
    assert built.examples > 45
    for row in made(built.out):
        choices = [origin["choice"] for origin in row["origin"] if "choice" in origin]
        grown = [choice for choice in choices if choice != "keep"]
        assert len(row.get("steps", [])) == (len(grown) + 1 if grown else 0)
        assert all(origin["replies"] and origin["model"] == "mock" for origin in row["origin"][1:])
        assert all(
            step["verdict"]["done"] and step["verdict"]["evidence"] in row["output"] for step in row.get("steps", [])
        )
        assert row["output"]
    assert built.teacher["stages"].keys() == {"grow", "respond", "judge"}


def test_the_same_build_again_asks_nothing_and_writes_the_same(source, mock_server, tmp_path):
    server = mock_server()
    first = seq_instruct(source, server, tmp_path)
    sent, before = server.stats()["requests"], files(first.out)
    again = seq_instruct(source, server, tmp_path, concurrency=3)
    assert server.stats()["requests"] == sent
    assert files(again.out) == before
    assert again.teacher["sent"] == 0


def test_a_limit_gives_a_prefix(source, mock_server, tmp_path):
    server = mock_server()
    whole = made(seq_instruct(source, server, tmp_path).out)
    part = made(seq_instruct(source, server, tmp_path, "part", limit=20).out)
    assert part
    assert part == whole[: len(part)]


def test_under_faults_every_row_ends_right_or_in_failed_and_none_is_wrong(rows_file, mock_server, tmp_path):
    source = rows_file(rows(500), "many.jsonl")
    right = seq_instruct(
        source, mock_server(), tmp_path, "right", store=str(tmp_path / "right.sqlite"), concurrency=128
    )
    faults = ("500=0.05", "429=0.05", "empty=0.02", "not_json=0.01", "cut=0.01", "hang=0.01")
    server = mock_server("--retry-after-s", "0.2", *[word for fault in faults for word in ("--fault", fault)])
    built = seq_instruct(source, server, tmp_path, concurrency=128, timeout_s=1.0)
    assert built.read == 500 == built.examples + built.skipped + built.failed
    assert server.stats()["happened"].keys() >= {"500", "429", "empty", "not_json", "cut", "hang"}
    by_parent = {row["origin"][0]["row"]: row for row in made(right.out)}
    for row in made(built.out):
        assert row == by_parent[row["origin"][0]["row"]]
    assert built.examples + built.failed >= right.examples
    assert all(line["reason"] for line in made(built.out, "failed"))


def test_refusals_and_unread_replies_never_become_data(source, mock_server, tmp_path):
    server = mock_server("--fault", "refusal=0.3")
    built = seq_instruct(source, server, tmp_path)
    assert built.read == 60
    assert not any("sorry" in row["output"] + row["instruction"] for row in made(built.out))
    unread = [line for line in made(built.out, "failed") if "cannot be read" in line["reason"]]
    assert all(line["reply"] and line["key"] for line in unread)
    assert built.skipped + built.failed


def start(source, server, tmp_path, out, *options):
    command = [
        sys.executable,
        "-m",
        "seqtune",
        "build",
        "--from",
        source,
        "--chain",
        "seq_instruct",
        "--llm",
        server.llm,
    ]
    command += ["--out", str(tmp_path / out), "--store", str(tmp_path / f"{out}.sqlite"), "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_killed_at_ten_random_moments_and_run_again_no_completed_request_comes_twice(source, mock_server, tmp_path):
    server = mock_server("--latency-ms", "60")
    undisturbed = seq_instruct(source, mock_server(), tmp_path, "undisturbed", store=str(tmp_path / "other.sqlite"))
    rng, in_flight = random.Random(3), 16
    for _ in range(10):
        process = start(source, server, tmp_path, "killed", "--concurrency", str(in_flight))
        time.sleep(rng.uniform(0.35, 0.9))
        process.kill()
        process.communicate()
    last = start(source, server, tmp_path, "killed", "--concurrency", str(in_flight))
    assert last.communicate()[1] == b""
    assert last.returncode == 0
    assert files(tmp_path / "killed") == files(undisturbed.out)
    again = sum(times - 1 for times in server.stats()["answered"].values())
    assert again <= 10 * in_flight  # answered while the build was being killed, so never seen to be complete


def test_two_builds_at_once_on_one_store_give_the_same(source, mock_server, tmp_path):
    server = mock_server("--latency-ms", "20")
    store = str(tmp_path / "shared.sqlite")
    both = [start(source, server, tmp_path, out, "--store", store) for out in ("one", "two")]
    for process in both:
        assert process.communicate()[1] == b""
        assert process.returncode == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_ctrl_c_writes_what_is_finished_says_how_to_go_on_and_exits_with_130(source, mock_server, tmp_path):
    server = mock_server("--latency-ms", "150")
    process = start(source, server, tmp_path, "stopped", "--concurrency", "4")
    time.sleep(1.6)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"goes on from here" in err
    summary = json.loads(out)
    assert summary["finished"] is False
    assert 0 < summary["read"] < 60
    assert len(made(tmp_path / "stopped")) == summary["examples"]
    whole = start(source, server, tmp_path, "stopped", "--concurrency", "64")
    assert json.loads(whole.communicate()[0])["finished"] is True
    assert max(server.stats()["answered"].values()) == 1


def test_ctrl_c_twice_ends_at_once_with_one_line(source, mock_server, tmp_path):
    server = mock_server("--fault", "hang=1")
    process = start(source, server, tmp_path, "hung", "--concurrency", "4")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert b"pending" not in err


def test_a_folder_of_something_else_is_refused_before_anything_is_asked(source, mock_server, tmp_path):
    server = mock_server()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="something else"):
        seq_instruct(source, server, tmp_path)
    assert server.stats()["requests"] == 0


def test_a_finished_build_with_refused_rows_keeps_its_rows_when_it_is_run_again(rows_file, tmp_path):
    source = rows_file(rows(60))
    options = {"store": str(tmp_path / "r.sqlite"), "out": str(tmp_path / "out"), "chain": "seq_instruct"}
    first = build(from_=source, llm="scripted:teachers:refusing", **options)
    again = build(from_=source, llm="scripted:teachers:refusing", **options)
    assert first.failed == 20
    assert (again.examples, again.failed) == (first.examples, 20)


def test_an_error_of_an_own_chain_loses_no_finished_row(rows_file, tmp_path):
    @chain(name="fragile")
    async def fragile(example, means):
        """Fails on one row."""
        await means.ask(f"Say something of: {example.instruction}")
        if "Write 42 " in example.instruction:
            raise ValueError("a mistake in the chain")
        return example

    with pytest.raises(ValueError, match="a mistake in the chain"):
        build(
            from_=rows_file(rows(60)), chain="fragile", llm="scripted:teachers:obedient", out=str(tmp_path / "out"),
            store=str(tmp_path / "r.sqlite"), concurrency=4,
        )  # fmt: skip
    assert 0 < len(made(tmp_path / "out")) < 60


@pytest.mark.parametrize(("teacher", "unreadable"), [("mumbling", 60), ("stubborn", 120)])
def test_a_reply_that_cannot_be_read_is_told_so_twice_and_what_it_then_says_is_taken(
    source, tmp_path, teacher, unreadable
):
    built = build(
        from_=source, chain="seq_instruct", llm=f"scripted:teachers:{teacher}", out=str(tmp_path / "out"),
        store=str(tmp_path / "r.sqlite"), rounds=1,
    )  # fmt: skip
    assert built.failed == 0
    assert built.teacher["stages"]["grow"]["unreadable"] == unreadable


def test_lineage_leads_from_the_read_row_to_the_last_reply(source, mock_server, tmp_path):
    built = seq_instruct(source, mock_server(), tmp_path)
    ids = {row.origin[0].row: row.id for row in read(source)}
    for row in made(built.out):
        first, *grown = row["origin"]
        assert grown[0]["parent"] == ids[first["row"]]
        keys = [key for origin in grown for key in origin["replies"]]
        assert len(keys) == len(set(keys))


def test_a_stopped_build_is_in_the_order_of_the_source(rows_file, mock_server, tmp_path):
    with pytest.raises(BudgetSpent):
        seq_instruct(rows_file(rows(700)), mock_server(), tmp_path, max_requests=1500, concurrency=64)
    places = [row["origin"][0]["row"] for row in made(tmp_path / "out")]
    assert len(places) > 100
    assert places == sorted(places)


def test_near_duplicates_are_looked_for_among_the_teachers_rows_only(rows_file, tmp_path):
    same = [{"id": i, "instruction": "Name a town.", "input": "a b c d e f g h", "output": str(i)} for i in range(5)]
    options = {"llm": "scripted:teachers:obedient", "store": str(tmp_path / "r.sqlite")}
    assert build(from_=rows_file(same), chain="repeat", out=str(tmp_path / "a"), **options).examples == 5
    assert build(from_=rows_file(same), chain="seq_instruct", out=str(tmp_path / "b"), **options).examples < 5


def test_a_spent_budget_writes_what_is_finished(source, mock_server, tmp_path):
    with pytest.raises(BudgetSpent, match="40 requests"):
        seq_instruct(source, mock_server(), tmp_path, max_requests=40, concurrency=2)
    summary = json.loads((tmp_path / "out" / "run.json").read_bytes())
    assert summary["finished"] is False
    assert len(made(tmp_path / "out")) == summary["examples"] > 0


def test_teacher_and_judge_share_one_budget(source, mock_server, tmp_path):
    teacher, judge = mock_server(), mock_server()
    with pytest.raises(BudgetSpent, match="40 requests"):
        seq_instruct(source, teacher, tmp_path, judge=f"{judge.url}#other", max_requests=40, concurrency=2)
    assert 0 < judge.stats()["requests"] < 40
    assert teacher.stats()["requests"] + judge.stats()["requests"] == 40


def test_a_server_that_refuses_settings_gives_the_same_rows_and_a_finished_build_asks_it_nothing(
    source, mock_server, tmp_path
):
    server = mock_server("--refuse", "response_format", "--refuse", "temperature", "--refuse", "max_tokens")
    usual = files(seq_instruct(source, mock_server(), tmp_path, "usual", store=str(tmp_path / "usual.sqlite")).out)
    built = seq_instruct(source, server, tmp_path)
    assert files(built.out) == usual
    assert built.teacher["left_out"] == ["max_tokens", "response_format", "temperature"]
    sent = server.stats()["requests"]
    assert files(seq_instruct(source, server, tmp_path, "again").out) == usual
    assert server.stats()["requests"] == sent


def test_the_batch_api_gives_the_same_rows_in_a_batch_a_stage(source, mock_server, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "QUIET_S", 0.3)
    monkeypatch.setattr(batch, "POLL_S", 0.1)
    server = mock_server("--batch-s", "0.2")
    usual = files(seq_instruct(source, server, tmp_path, "usual", store=str(tmp_path / "usual.sqlite")).out)
    built = seq_instruct(source, server, tmp_path, batch=True)
    assert files(built.out) == usual
    assert 4 <= server.stats()["batches"] <= 12
    assert max(server.stats()["batched"].values()) == 1


def test_the_control_arm_is_answered_by_the_same_teacher_row_by_row(source, mock_server, tmp_path):
    built = seq_instruct(source, mock_server(), tmp_path, control="direct")
    originals = [row.instruction for row in read(source)]
    control = made(built.out, "control")
    assert len(control) == built.examples
    for row, direct in zip(made(built.out), control, strict=True):
        assert direct["instruction"] in originals
        assert row["origin"][0] == direct["origin"][0]
        assert direct["output"] != "Something."
        assert direct["origin"][-1]["replies"]


def test_the_papers_style_makes_the_calls_of_the_original(source, mock_server, tmp_path):
    chain = {"chain": "seq_instruct", "procedure": "paper", "rounds": 1, "gates": []}
    server = mock_server()
    built = build(
        from_=source, chain=[chain], llm=server.llm, out=str(tmp_path / "out"), store=str(tmp_path / "r.sqlite")
    )
    assert built.teacher["stages"].keys() == {"classify", "rewrite", "respond"}
    assert built.teacher["stages"]["respond"]["calls"] == 60
    kept = built.teacher["choices"]["1"].get("keep", 0)
    assert built.teacher["stages"]["rewrite"]["calls"] == 60 - kept


@pytest.mark.parametrize("procedure", ["fused", "paper"])
def test_refine_and_extract_are_further_stages(source, mock_server, tmp_path, procedure):
    chain = {"chain": "seq_instruct", "procedure": procedure, "extract": True, "refine": True}
    server = mock_server()
    built = build(
        from_=source, chain=[chain], llm=server.llm, out=str(tmp_path / "out"), store=str(tmp_path / "r.sqlite")
    )
    assert built.teacher["stages"]["extract"]["calls"] == 40
    assert ("refine" in built.teacher["stages"]) is (procedure == "paper")


def test_a_wrong_key_stops_the_build_at_once_and_a_planted_key_appears_nowhere(
    source, mock_server, tmp_path, monkeypatch
):
    monkeypatch.setenv("PLANTED", SECRET)
    server = mock_server("--key-env", "PLANTED")
    monkeypatch.setenv("SEQTUNE_API_KEY", f"{SECRET}-wrong")
    with pytest.raises(TeacherError, match="401"):
        seq_instruct(source, server, tmp_path)
    assert server.stats()["requests"] <= 64
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("SEQTUNE_API_KEY", SECRET)
    process = start(source, server, tmp_path, "keyed")
    printed = b"".join(process.communicate())
    assert process.returncode == 0
    assert SECRET.encode() not in printed
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert SECRET.encode() not in file.read(), name


def test_nobody_at_the_address_is_told_and_nothing_is_written(source, tmp_path):
    with pytest.raises(TeacherError, match="cannot be asked"):
        build(from_=source, chain="seq_instruct", llm="http://127.0.0.1:9/v1#m", out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_rows_that_overlap_with_an_evaluation_set_are_not_even_asked_about(source, rows_file, mock_server, tmp_path):
    seen = [row for i, row in enumerate(rows(60)) if i in (3, 30)]
    held_out = rows_file([{"instruction": row["instruction"], "output": "x"} for row in seen], "held_out.jsonl")
    built = seq_instruct(source, mock_server(), tmp_path, contamination=[held_out])
    assert sum(count for reason, count in built.reasons["skipped"].items() if "held_out" in reason) >= 2


@pytest.mark.parametrize("chain", ["paraphrase", "summarise", "keywords+repeat", "translate", "answer+summarise"])
def test_a_teacher_writes_the_text_of_a_manual_chain(source, mock_server, tmp_path, chain):
    server = mock_server()
    built = build(
        from_=source, chain=chain, llm=server.llm, out=str(tmp_path / "out"), store=str(tmp_path / "r.sqlite")
    )
    assert built.examples in (20, 60)
    for row in made(built.out):
        assert len(row["steps"]) == chain.count("+") + 2 - ("answer" in chain)
        assert all(step["expected"] in row["output"] for step in row["steps"])
        assert row["origin"][-1]["replies"]


def test_a_text_that_the_teacher_declined_to_write_is_no_data(source, mock_server, tmp_path):
    server = mock_server("--fault", "refusal=1")
    built = build(from_=source, chain="translate", llm=server.llm, out=str(tmp_path / "out"), store=str(tmp_path / "r"))
    assert built.examples == 0
    assert sum("declined" in reason for reason in built.reasons["skipped"]) == 1


GERMAN = "Die Stadt liegt an einem Fluss, und sie ist nicht weit von der Küste, wo die Schiffe sind."


@pytest.mark.parametrize(
    ("teacher", "chain", "reason"),
    [
        ("parroting", "summarise", "holds its prompt"),
        ("english", "paraphrase", "another language"),
        ("english", {"chain": "translate", "language": "French"}, "another language"),
        ("english", "keywords", "does not stand in the text"),
        ("english", {"chain": "translate", "input_language": "German"}, "in that language already"),
    ],
)
def test_a_text_that_is_not_what_was_asked_for_is_no_data(rows_file, tmp_path, teacher, chain, reason):
    source = rows_file([{"instruction": "Worum geht es?", "input": GERMAN, "output": "Um eine Stadt."}])
    built = build(
        from_=source, chain=[chain], llm=f"scripted:teachers:{teacher}", out=str(tmp_path / "out"),
        store=str(tmp_path / "r.sqlite"),
    )  # fmt: skip
    assert built.examples == 0
    assert reason in next(iter(built.reasons["skipped"]))


def test_an_english_set_becomes_translate_then_answer_rows(source, mock_server, tmp_path):
    chain = {"chain": "translate", "input_language": "German"}
    server = mock_server()
    built = build(
        from_=source, chain=[chain], llm=server.llm, out=str(tmp_path / "out"), store=str(tmp_path / "r.sqlite")
    )
    inputs = [row.input for row in read(source) if row.input]
    for row, original in zip(made(built.out), inputs, strict=True):
        assert row["input"] != original
        assert original in row["output"]
        assert "English" in row["instruction"]


def test_a_chain_that_asks_says_so_where_there_is_no_teacher(source, tmp_path):
    with pytest.raises(TeacherError, match="--llm"):
        build(from_=source, chain="seq_instruct", out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_gates_are_counted_by_reason_and_by_what_became_of_the_row(rows_file, mock_server, tmp_path):
    built = seq_instruct(rows_file(rows(300), "many.jsonl"), mock_server(), tmp_path, concurrency=128)
    became = Counter(entry["became"] for entry in built.teacher["gates"])
    assert became["mended"] > 0
    assert all(entry["reason"] and entry["rows"] > 0 for entry in built.teacher["gates"])
