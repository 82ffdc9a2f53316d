"""The demo and its long form, end to end, at a hundredth of their size: everything is there, and it adds up."""

import json
from itertools import pairwise

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from seqtune.data.lock import locked
from seqtune.data.reader import read
from seqtune.demo import ARMS, CAVEAT, FURTHER, KINDS, LONG_ARMS, LONG_CAVEAT, UNSEEN, demo, long_demo
from seqtune.errors import RunFolderError
from seqtune.evaluation.suites.generated_chains import is_held_out


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return demo(tmp_path_factory.mktemp("demo") / "run", tokens=12_000, items=5, threads=1)


def test_the_table_has_a_line_for_each_kind_of_item_and_says_what_it_does_not_show(done):
    assert [(cell.group, cell.steps, cell.items) for cell in done.table] == [(*kind, 5) for kind in KINDS]
    assert all(0 <= cell.sit.low <= cell.sit.value <= cell.sit.high <= 1 for cell in done.table)
    written = json.loads((done.out / "demo.json").read_text("utf-8"))
    assert written["caveat"] == done.caveat == CAVEAT
    assert [line["sit"]["value"] for line in written["table"]] == [cell.sit.value for cell in done.table]


def test_both_arms_see_equally_many_tokens_and_no_test_text(done):
    tokens = [outcome.training["tokens"] for outcome in done.outcomes]
    assert all(12_000 <= count < 12_512 for count in tokens)
    rows = {arm: list(read(str(done.out / "rows" / f"{arm}.jsonl"))) for arm in ARMS}
    assert {len(row.steps) for row in rows["it"]} == {1}
    assert {len(row.steps) for row in rows["sit"]} == {1, 2, 3}
    assert not any(is_held_out(row.input) for arm in ARMS for row in rows[arm])


def test_no_unseen_pair_is_trained_on_and_every_item_of_that_split_holds_one(done):
    def pairs(row):
        names = [step.check for step in row.steps]
        return set(pairwise(names))

    unseen = {tuple(pair) for pair in json.loads((done.out / "demo.json").read_text("utf-8"))["unseen_pairs"]}
    assert len(unseen) == 6
    assert not any(pairs(row) & unseen for row in read(str(done.out / "rows" / "sit.jsonl")))
    items = list(read(str(done.out / "eval" / "sit" / "items.jsonl")))
    assert all(bool(pairs(item) & unseen) == (item.meta["group"] == UNSEEN) for item in items)


def test_both_arms_answer_the_same_items_and_no_answer_is_lost(done):
    items = [row.id for row in read(str(done.out / "eval" / "it" / "items.jsonl"))]
    assert len(set(items)) == len(items) == 5 * len(KINDS)
    for arm in ARMS:
        folder = done.out / "eval" / arm
        assert sorted(line["item"] for line in lines(folder / "answers.jsonl")) == sorted(items)
        assert list(dict.fromkeys(line["item"] for line in lines(folder / "verdicts.jsonl"))) == items
        assert {"model.safetensors", "tokenizer.json"} <= {path.name for path in (done.out / arm / "model").iterdir()}
        assert lines(done.out / arm / "losses.jsonl")[-1]["loss"] < lines(done.out / arm / "losses.jsonl")[0]["loss"]


def test_the_folder_of_another_demo_is_not_written_to(done):
    with pytest.raises(RunFolderError, match="another run"):
        demo(done.out, tokens=12_000, items=6)


@pytest.mark.parametrize("form", [demo, long_demo])
def test_a_folder_in_which_another_demo_is_at_work_is_left_alone(tmp_path, form):
    pytest.importorskip("fcntl")
    with locked(tmp_path), pytest.raises(RunFolderError, match="another process is at work"):
        form(tmp_path, tokens=12_000, items=5)
    assert list(tmp_path.iterdir()) == []


# --- the long form


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return long_demo(tmp_path_factory.mktemp("demo") / "long", seeds=(0, 1), tokens=6_000, items=2, further=32)


def test_the_long_table_has_every_arm_with_every_seed_and_says_what_it_does_not_show(long):
    arms = [*LONG_ARMS, *FURTHER]
    lines = long.results.lines["exact"]
    assert [(line.group, line.steps, line.items) for line in lines] == [(*kind, 4) for kind in KINDS]
    assert all([cell.arm for cell in line.cells] == arms for line in lines)
    assert all(len(cell.measure.seeds) == 2 for line in lines for cell in line.cells)
    assert LONG_CAVEAT in (long.out / "results.md").read_text("utf-8")


def test_all_arms_of_a_seed_begin_with_as_many_tokens(long):
    assert all(6_000 <= one.tokens < 6_512 for one in long.results.taken if not one.after)


def test_arms_that_go_on_see_the_same_rows_as_often_and_leave_none_out(long):
    further = [one for one in long.results.taken if one.after]
    assert {one.arm: one.after for one in further} == {name: arm for name, (arm, _) in FURTHER.items()}
    assert {(one.rows, one.unused, one.steps) for one in further} == {(32, 0, 2)}
    rows = list(read(str(long.out / "seed-0" / "rows" / "further.jsonl")))
    assert {len(row.steps) for row in rows} == {1, 2, 3}
    assert not any(is_held_out(row.input) for row in rows)


def test_seeds_have_rows_of_their_own(long):
    rows = [(long.out / f"seed-{seed}/rows/sit3.jsonl").read_bytes() for seed in (0, 1)]
    assert rows[0] != rows[1]


def test_the_arms_that_both_forms_have_are_the_same_in_both(long, tmp_path):
    short = demo(tmp_path / "run", tokens=6_000, items=2)
    for arm, same in (("it", "it"), ("sit", "sit3")):
        assert (short.out / f"rows/{arm}.jsonl").read_bytes() == (long.out / f"seed-0/rows/{same}.jsonl").read_bytes()
