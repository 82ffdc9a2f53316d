"""Building SeqEval over other prompts: the shares are met, nothing empty is written, and what failed is listed."""

import json
from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building.draft import Draft
from seqtune.building.gates import refused_by
from seqtune.building.parsing import read_instruction
from seqtune.building.rehearsal import rehearse
from seqtune.building.seq_instruct import step_kinds
from seqtune.building.tasks import bare_task, split_tasks
from seqtune.data.example import Example
from seqtune.errors import BudgetSpent, DataError, RecipeError, RunFolderError
from seqtune.evaluation.construction import (
    LEFT_OUT_GATES,
    PUBLISHED_SHARES,
    build_seqeval,
    deal_rounds,
    draw_mode,
    usable_gates,
)
from seqtune.evaluation.suite import GROUP
from seqtune.evaluation.suites.seqeval import seqeval
from seqtune.llm.budget import Budget

THINGS = ("a bridge", "a lamp", "the moon", "two cats", "an old map", "rain", "a violin", "the sea", "bread", "a clock")
SOURCE = [{"instruction": f"Write {n} lines about {thing}."} for thing in THINGS for n in (3, 5, 7)]
# One of them that gets a task before it in the first round.
BEFORE = next(row["instruction"] for row in SOURCE if draw_mode(0, Example(row["instruction"]).id, 1) == "before")


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def build(tmp_path, rows_file):
    """Build with the stand-in teacher, or another; gives what came of it, the prompts and the failures."""

    def run(rows=SOURCE, out="out", llm=rehearse, **options):
        folder = tmp_path / out
        options.setdefault("store", tmp_path / "replies.sqlite")
        done = build_seqeval(rows_file(rows), out=folder, llm=llm, **options)
        return done, lines(folder / "prompts.jsonl"), lines(folder / "failed.jsonl")

    return run


# --- which prompt goes through how many rounds, and what is done to it


def test_of_805_prompts_each_round_gets_its_published_number():
    dealt = Counter(islice(deal_rounds(PUBLISHED_SHARES), 805))
    assert dealt == {1: 81, 2: 161, 3: 242, 4: 321}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.integers(1, 300))
def test_of_any_first_part_no_round_is_a_whole_prompt_ahead_of_its_share(shares, count):
    dealt = Counter(islice(deal_rounds(shares), count))
    assert all(dealt[i] - share * count / sum(shares) < 1 for i, share in enumerate(shares, 1))
    assert Counter(islice(deal_rounds(shares), sum(shares))) == {i: n for i, n in enumerate(shares, 1) if n}


def test_the_first_round_has_three_modes_and_later_ones_two_about_equally_often():
    first = Counter(draw_mode(0, str(i), 1) for i in range(3000))
    later = Counter(draw_mode(0, str(i), 3) for i in range(3000))
    assert first.keys() == {"before", "after", "decompose"}
    assert later.keys() == {"before", "after"}
    assert min(first.values()) > 900
    assert min(later.values()) > 1400
    assert [draw_mode(0, str(i), 1) for i in range(50)] != [draw_mode(1, str(i), 1) for i in range(50)]


# --- a build


def test_each_round_is_made_on_the_result_of_the_round_before(build):
    _, prompts, _ = build()
    for prompt in prompts:
        texts = [prompt["original"], *[one["instruction"] for one in prompt["rounds"]]]
        assert texts[-1] == prompt["instruction"]
        assert len(texts) == prompt["iteration"] + 1
        assert all(set(a.split()) - {"Write"} <= set(b.split()) for a, b in pairwise(texts))
        assert prompt["mode"] == (prompt["rounds"][-1]["mode"] if prompt["rounds"] else "")
        assert "decompose" not in [one["mode"] for one in prompt["rounds"][1:]]


def test_every_row_is_in_prompts_once_and_one_that_failed_is_listed_with_its_round(build):
    done, prompts, failed = build()
    assert [prompt["original"] for prompt in prompts] == [row["instruction"] for row in SOURCE]
    assert all(prompt["instruction"] for prompt in prompts)
    wanted = [*islice(deal_rounds(PUBLISHED_SHARES), len(SOURCE))]
    short = {i for i, prompt in enumerate(prompts) if prompt["iteration"] < wanted[i]}
    assert {one["row"] - 1 for one in failed} == short
    for one in failed:
        assert prompts[one["row"] - 1]["instruction"] == one["instruction"]
        assert prompts[one["row"] - 1]["iteration"] == one["round"] - 1
    assert sum(done.prompts.values()) == len(SOURCE)
    assert sum(done.failed.values()) == len(failed)


def test_a_teacher_that_declines_leaves_every_prompt_as_it_was(build):
    done, prompts, failed = build(llm=lambda request: "New instruction: I'm sorry, but I can't help with that.###")
    assert [prompt["instruction"] for prompt in prompts] == [row["instruction"] for row in SOURCE]
    assert done.prompts == {0: len(SOURCE)}
    assert len(failed) == len(SOURCE)
    assert {one["reason"] for one in failed} == {"the teacher declined to rewrite"}
    assert all(one["draft"] for one in failed)


def test_a_reply_that_cannot_be_read_or_does_not_come_is_listed(build, tmp_path):
    _, _, silent = build(out="silent", llm=lambda request: "")
    assert {one["reason"] for one in silent} == {"no answer of the teacher (empty)"}
    _, prompts, mute = build(
        out="mute", llm=lambda request: "<think>A task before it, or", store=tmp_path / "mute.sqlite"
    )
    assert {one["reason"] for one in mute} == {"the teacher's reply cannot be read"}
    assert {prompt["iteration"] for prompt in prompts} == {0}
    assert len(mute) == len(SOURCE)


def test_without_gates_what_a_gate_would_refuse_is_kept(build):
    idle, rows = f"New instruction: Read the task carefully. {BEFORE}###", [{"instruction": BEFORE}]
    done, _, failed = build(rows, llm=lambda request: idle)
    assert done.prompts == {0: 1}
    assert failed[0]["reason"] == "an added step has no answer of its own"
    done, _, failed = build(rows, out="open", llm=lambda request: idle, gates=[], rounds=1)
    assert done.prompts == {1: 1}
    assert not failed


def test_a_refused_rewrite_is_told_why_once_and_asked_for_again(build):
    said = []

    def teacher(request):
        said.append(len(request.messages))
        better = len(request.messages) > 1
        return f"New instruction: {'Name a tree' if better else 'Read the task'}. {BEFORE}###"

    done, [prompt], failed = build([{"instruction": BEFORE}], llm=teacher, rounds=1)
    assert prompt["instruction"].startswith("Name a tree")
    assert not failed
    assert (said, done.calls) == ([1, 3], 2)


def test_empty_rows_and_dialogues_are_listed_and_make_no_prompt(build):
    turns = [{"role": role, "content": "well"} for role in ("user", "assistant", "user", "assistant")]
    asks = [{"role": "user", "content": text} for text in ("Name a tree.", "")]
    _, prompts, failed = build([{"messages": said} for said in (asks[:1], asks[1:], turns)])
    assert len(prompts) == 1
    assert [one["row"] for one in failed if one["round"] == 0] == [2, 3]


def test_the_input_stays_beside_the_instruction(build):
    _, [prompt], _ = build([{"instruction": "Count the words.", "input": "one two three", "output": "3"}], rounds=1)
    assert prompt["input"] == "one two three"


def test_a_prompt_that_stands_there_twice_grows_twice(build):
    _, prompts, _ = build([SOURCE[0]] * 12, rounds=1, gates=[])
    assert len({prompt["parent"] for prompt in prompts}) == 12
    assert len({prompt["instruction"] for prompt in prompts}) > 1


def test_a_limit_gives_the_first_of_those_without_one(build):
    _, every, _ = build(out="every")
    _, some, _ = build(out="some", limit=7)
    assert some == every[:7]


def test_the_same_command_again_asks_nothing_and_writes_the_same(build):
    first, prompts, failed = build()
    again, *same = build()
    assert same == [prompts, failed]
    assert first.asked == first.calls > 0
    assert again.asked == 0


def test_a_build_that_was_cut_off_goes_on_with_what_is_missing(build, tmp_path):
    asked = []

    def teacher(request):
        asked.append(request)
        if len(asked) == 20:
            raise KeyboardInterrupt
        return rehearse(request)

    with pytest.raises(KeyboardInterrupt):
        build(llm=teacher, concurrency=1)
    done, prompts, _ = build(llm=rehearse, overwrite=True)
    assert done.asked < done.calls
    assert prompts == build(out="undisturbed", llm=rehearse, store=tmp_path / "other.sqlite")[1]


def test_a_spent_budget_stops_the_build_and_what_was_asked_is_not_asked_again(build):
    with pytest.raises(BudgetSpent):
        build(budget=Budget(requests=10))
    done, _, _ = build()
    assert done.asked == done.calls - 10


def test_the_folder_is_the_runs_own_and_says_what_made_it(build, tmp_path):
    build(seed=1)
    summary = json.loads((tmp_path / "out/run.json").read_text())
    assert (summary["finished"], summary["settings"]["seed"]) == (True, 1)
    assert summary["stages"]["before"]["calls"] > 0
    with pytest.raises(RunFolderError, match="another run"):
        build(seed=2)


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"shares": [1, 2]}, {"shares": [0, 0, 0, 0]}, {"shares": [1, 1, 1, -1]}, {"gates": ["no"]}]
)
def test_shares_and_gates_that_cannot_be_used_are_refused(build, wrong):
    with pytest.raises(RecipeError):
        build(**wrong)


def test_a_file_without_prompts_is_refused(build):
    with pytest.raises(DataError, match="no row holds a prompt"):
        build([{"instruction": " "}])


def test_the_set_that_was_built_is_a_suite_by_rounds(build, tmp_path):
    _, prompts, _ = build()
    suite = seqeval(tmp_path / "out/prompts.jsonl")
    rounds = sorted(prompt["iteration"] for prompt in prompts)
    assert [item.meta[GROUP] for item in suite.items] == [f"round {one}" for one in rounds]


def test_over_a_server_that_refuses_now_and_then_no_prompt_is_empty(build, mock_server):
    server = mock_server("--fault", "refusal=0.3")
    done, prompts, failed = build(llm=server.llm)
    assert failed
    assert all(prompt["instruction"] for prompt in prompts)
    assert done.asked == server.stats()["requests"]


# --- the recorded first round


MODES = {"prefix": "before", "suffix": "after", "interpolate": "decompose"}


def test_of_the_recorded_first_round_the_gates_refuse_a_tenth(shared):
    refused = Counter()
    for row in lines(shared / "seqeval/round1_transcripts.jsonl"):
        text, mode = read_instruction(row["reply"], row["original"]), MODES[row["mode"]]
        steps = step_kinds(Example(row["original"]), mode, [bare_task(task) for task in split_tasks(text)])
        found = refused_by(Draft(Example(row["original"]), mode, text, steps), "instruction", usable_gates(None))
        refused[found and found[0]] += 1
    assert refused.total() == 805
    assert 700 <= refused[None] <= 740
    assert not refused.keys() & LEFT_OUT_GATES
