"""Runs are compared only where they are alike, item by item, and what could not be told is never counted as a loss."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from seqtune.cli.app import app
from seqtune.data.example import Example, Step
from seqtune.errors import DataError, RecipeError, RunFolderError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.comparison import by_position, compare, pick_changes
from seqtune.evaluation.figures import figures
from seqtune.evaluation.headline import choose_headline
from seqtune.evaluation.judging.preferring import prefer
from seqtune.evaluation.judging.rehearsal import rehearse
from seqtune.evaluation.scoring import Scored, Verdict
from seqtune.evaluation.suite import GROUP, Suite
from seqtune.report.compared import write_comparison

JUDGE = "scripted:seqtune.evaluation.judging.rehearsal:rehearse"


def item_of(number, steps=2, group=""):
    asked = tuple(Step(f"task {place} of {number}", mark=f"{place}.") for place in range(1, steps + 1))
    return Example(f"Do the {steps} tasks of {number}.", steps=asked, meta={GROUP: group} if group else {})


def scored_of(item, done, judge="program", **measures):
    steps = tuple(Verdict(place, "c", one, text=item.steps[place - 1].text) for place, one in enumerate(done, 1))
    told = {"strict": None if None in done else float(all(done)), "soft": sum(map(bool, done)) / len(done)}
    return Scored(item.id, f"{item.id} {judge}", {**told, **measures}, steps, judge)


def lines(records):
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def write_run(folder, items, verdicts, *, judge="program", texts=None, model="m", earlier=(), told=()):
    """A run folder as `seqtune eval` writes it; `earlier` are lines of verdicts.jsonl before those that count."""
    folder.mkdir(parents=True)
    texts = texts or [f"the answer of {folder.name} to {i}" for i in range(len(items))]
    answers = [Answer(one.id, model, text, len(text.split())) for one, text in zip(items, texts, strict=False)]
    (folder / "items.jsonl").write_bytes(lines(items))
    (folder / "answers.jsonl").write_bytes(lines(answers))
    (folder / "verdicts.jsonl").write_bytes(lines([*earlier, *verdicts]))
    found = figures(items, {one.item: one for one in answers}, verdicts)
    counts = {"judge": judge, "items": len(items), "answered": len(answers)}
    metrics = {"suite": "s", "model": model, "headline": choose_headline("strict", found), "figures": found, **counts}
    (folder / "metrics.json").write_bytes(msgspec.json.encode(metrics))
    settings = {"model": model, "suite": "s", "scorer": "steps", "items": Suite("s", tuple(items)).hash, **dict(told)}
    summary = {"command": "eval", "fingerprint": folder.name, "finished": True, "settings": settings}
    (folder / "run.json").write_text(json.dumps(summary))
    return folder


def two_runs(tmp_path, first, other, *, steps=2, **options):
    """Runs over the same items; `first` and `other` say an item which of its steps are done."""
    items = [item_of(i, steps) for i in range(len(first))]
    pairs = zip(("one", "two"), (first, other), strict=True)
    return [
        write_run(tmp_path / name, items, [scored_of(*one) for one in zip(items, done, strict=True)], **options)
        for name, done in pairs
    ]


ALL, NONE, OPEN = (True, True), (False, False), (True, None)


# --- differences


def test_items_are_paired_by_their_ids_whatever_their_order(tmp_path):
    items = [item_of(i) for i in range(40)]
    done = {item.id: ALL if i % 2 else NONE for i, item in enumerate(items)}
    one = write_run(tmp_path / "one", items, [scored_of(item, done[item.id]) for item in items])
    two = write_run(tmp_path / "two", items, [scored_of(item, done[item.id]) for item in reversed(items)])
    [strict, *_] = compare([one, two]).slices[0].differences
    assert (strict.measure, strict.difference.value, strict.won, strict.lost) == ("strict", 0.0, 0, 0)
    assert not strict.differs


def test_a_difference_that_holds_on_every_item_is_no_chance_and_one_on_a_single_item_is(tmp_path):
    one, two = two_runs(tmp_path, [NONE] * 30, [ALL] * 30)
    [strict, *_] = compare([one, two]).slices[0].differences
    assert strict.differs
    assert strict.said == "differs, p 0.0002"
    one, two = two_runs(tmp_path / "b", [NONE, *[ALL] * 29], [ALL] * 30)
    [strict, *_] = compare([one, two]).slices[0].differences
    assert (strict.won, strict.lost, strict.differs) == (1, 0, False)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from([ALL, NONE, OPEN])] * 2), min_size=1, max_size=12))
def test_what_one_run_could_not_tell_is_left_out_of_both_and_bounded(tmp_path_factory, done):
    one, two = two_runs(tmp_path_factory.mktemp("runs"), *zip(*done, strict=True))
    [strict, *_] = compare([one, two]).slices[0].differences
    told = [(float(a == ALL), float(b == ALL)) for a, b in done if OPEN not in (a, b)]
    assert strict.difference.of == strict.first.of == strict.other.of == len(told)
    assert strict.left_out == len(done) - len(told)
    assert (strict.won, strict.lost) == (sum(b > a for a, b in told), sum(b < a for a, b in told))
    assert -1 <= strict.worst <= strict.best <= 1
    if not strict.left_out:
        assert strict.worst == strict.best == pytest.approx(strict.difference.value)


def test_the_same_seed_gives_the_same_intervals(tmp_path):
    runs = two_runs(tmp_path, [ALL, NONE, ALL, NONE] * 5, [ALL, ALL, NONE, NONE] * 5)
    assert compare(runs, seed=3) == compare(runs, seed=3)


def test_all_together_come_first_then_each_split_and_number_of_steps_each_with_its_lengths(tmp_path):
    items = [item_of(i, 1 + i % 2, "seen" if i < 4 else "unseen") for i in range(8)]
    verdicts = [scored_of(item, (True,) * len(item.steps)) for item in items]
    runs = [write_run(tmp_path / "one", items, verdicts, texts=["a b"] * 8)]
    runs.append(write_run(tmp_path / "two", items, verdicts, texts=["a b c d"] * 8))
    found = compare(runs)
    keys = [(one.group, one.steps, one.items) for one in found.slices]
    assert keys == [("all", None, 8), ("seen", 1, 2), ("seen", 2, 2), ("unseen", 1, 2), ("unseen", 2, 2)]
    assert all(one.lengths["one"].words == 2 and one.lengths["two"].tokens == 4 for one in found.slices)


def test_every_run_is_compared_with_the_first_and_named_by_what_tells_its_path_apart(tmp_path):
    items = [item_of(i) for i in range(3)]
    verdicts = [scored_of(item, ALL) for item in items]
    runs = [write_run(tmp_path / name, items, verdicts) for name in ("it/seed0", "it/seed1", "sit/seed0")]
    found = compare(runs, measure="strict")
    assert [run.name for run in found.runs] == ["it/seed0", "it/seed1", "sit/seed0"]
    assert [one.run for one in found.slices[0].differences] == ["it/seed1", "sit/seed0"]


def test_positions_are_those_of_items_with_two_steps_or_more(tmp_path):
    items = [item_of(i, 1 + i % 3) for i in range(9)]
    verdicts = [scored_of(item, (len(item.steps) > 1, *[False] * (len(item.steps) - 1))) for item in items]
    answers = {item.id: Answer(item.id, "m", "text") for item in items}
    found = by_position(figures(items, answers, verdicts))
    assert [(one.value, one.of) for one in found] == [(1.0, 6), (0.0, 6), (0.0, 3)]


def test_positions_are_shares_of_the_items_that_all_runs_were_judged_on(tmp_path):
    items = [item_of(i) for i in range(6)]
    one = write_run(tmp_path / "one", items, [scored_of(item, ALL) for item in items])
    verdicts = [scored_of(item, ALL if i == 5 else NONE) for i, item in enumerate(items)]
    two = write_run(tmp_path / "two", items, verdicts[:4])
    found = compare([one, two])
    assert [[(each.value, each.of) for each in run.by_position] for run in found.runs] == [
        [(1.0, 4), (1.0, 4)],
        [(0.0, 4), (0.0, 4)],
    ]


# --- which verdicts count


def test_only_the_verdicts_of_the_judge_of_the_figures_count_and_of_an_item_the_last(tmp_path):
    items = [item_of(i) for i in range(4)]
    stale = [scored_of(item, NONE, "another") for item in items] + [scored_of(item, NONE, "judge a") for item in items]
    one = write_run(tmp_path / "one", items, [scored_of(item, ALL, "judge a") for item in items], judge="judge a")
    right = [scored_of(item, ALL, "judge a") for item in items]
    late = [scored_of(item, NONE, "another") for item in items]
    two = write_run(tmp_path / "two", items, [*right, *late], judge="judge a", earlier=stale)
    [strict, *_] = compare([one, two]).slices[0].differences
    assert (strict.other.value, strict.lost) == (1.0, 0)


def test_items_that_were_answered_but_that_nobody_was_to_judge_are_no_losses(tmp_path):
    items = [item_of(i) for i in range(5)]
    runs = [write_run(tmp_path / name, items, [scored_of(item, ALL) for item in items[:3]]) for name in ("one", "two")]
    assert [compare(runs).slices[0].items, compare(runs).slices[0].differences[0].left_out] == [3, 0]


def test_a_line_that_a_kill_tore_is_passed_over_and_nothing_is_written(tmp_path):
    one, two = two_runs(tmp_path, [ALL] * 3, [ALL] * 3)
    torn = (two / "verdicts.jsonl").read_bytes() + b'{"item": "x'
    (two / "verdicts.jsonl").write_bytes(torn)
    assert compare([one, two]).slices[0].differences[0].left_out == 0
    assert (two / "verdicts.jsonl").read_bytes() == torn


# --- what is refused


@pytest.mark.parametrize("what", ["suite", "items", "scorer"])
def test_runs_of_different_suites_are_compared_only_by_force_which_is_said(tmp_path, what):
    items = [item_of(i) for i in range(3)]
    verdicts = [scored_of(item, ALL) for item in items]
    runs = [
        write_run(tmp_path / "one", items, verdicts),
        write_run(tmp_path / "two", items, verdicts, told={what: "x"}),
    ]
    with pytest.raises(RecipeError, match=f"two and one differ in {what}"):
        compare(runs)
    [warning] = compare(runs, force=True).warnings
    assert warning.startswith(f"two and one differ in {what}")


@pytest.mark.parametrize(
    ("meta", "told"), [({"group": "x"}, "3 with another split"), ({"gold": {"answers": ["x"]}}, "3 with another right")]
)
def test_what_the_same_items_differ_in_is_said(tmp_path, meta, told):
    items = [item_of(i) for i in range(3)]
    others = [msgspec.structs.replace(item, meta={**item.meta, **meta}) for item in items]
    verdicts = [scored_of(item, ALL) for item in items]
    runs = [
        write_run(tmp_path / "one", items, verdicts),
        write_run(tmp_path / "two", others, verdicts, told={"items": "x"}),
    ]
    with pytest.raises(RecipeError, match=f"of which 3 are the same, {told}"):
        compare(runs)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("gpt | verdicts 1 | aaaa", r"judge \(gpt"),
        ("m | verdicts 2 | aaaa", r"prompts of the judge \(verdicts 2 and verdicts 1\)"),
        ("m | verdicts 1 | bbbb", r"checklist \(bbbb and aaaa\)"),
        ("m | verdicts 1", r"checklist \(none and aaaa\)"),
    ],
)
def test_runs_of_different_judges_or_checklists_are_refused_with_what_differs(tmp_path, other, told):
    items = [item_of(i) for i in range(3)]
    runs = [
        write_run(tmp_path / name, items, [scored_of(item, ALL, judge) for item in items], judge=judge)
        for name, judge in (("one", "m | verdicts 1 | aaaa"), ("two", other))
    ]
    with pytest.raises(RecipeError, match=told):
        compare(runs)
    assert compare(runs, force=True).warnings


def test_runs_without_a_common_item_cannot_be_compared_even_by_force(tmp_path):
    runs = [
        write_run(tmp_path / name, [item], [scored_of(item, ALL)])
        for name, item in (("one", item_of(1)), ("two", item_of(2)))
    ]
    with pytest.raises(RecipeError, match="no item in common"):
        compare(runs, force=True)


def test_what_is_no_scored_run_is_named(tmp_path):
    one, two = two_runs(tmp_path, [ALL], [ALL])
    with pytest.raises(RecipeError, match="1 run to compare"):
        compare([one])
    with pytest.raises(RecipeError, match="given twice"):
        compare([one, tmp_path / "one" / ".." / "one"])
    with pytest.raises(RecipeError, match="no measure 'strct'; did you mean 'strict'"):
        compare([one, two], measure="strct")
    (two / "verdicts.jsonl").write_text('{"item": 3}\n')
    with pytest.raises(DataError, match=r"verdicts.jsonl:1"):
        compare([one, two])
    (two / "metrics.json").unlink()
    with pytest.raises(RunFolderError, match="not scored yet"):
        compare([one, two])
    (two / "run.json").write_text('{"command": "build", "finished": true}')
    with pytest.raises(RunFolderError, match="no run of 'seqtune eval'"):
        compare([one, two])


def test_a_run_of_the_harness_is_refused_by_name(tmp_path):
    one, two = two_runs(tmp_path, [ALL], [ALL])
    summary = json.loads((two / "run.json").read_text())
    (two / "run.json").write_text(json.dumps({**summary, "harness": True}))
    for refused in (compare, lambda runs: prefer(runs, judge=JUDGE, out=tmp_path / "pairs")):
        with pytest.raises(RunFolderError, match="a run of lm-evaluation-harness"):
            refused([one, two])


def test_how_long_answers_may_be_is_told_of_the_runs_that_know_it(tmp_path):
    items = [item_of(0)]
    limits = {"one": {"max_new_tokens": 64}, "two": {"max_new_tokens": 512}, "given": {}}
    runs = [write_run(tmp_path / name, items, [scored_of(items[0], ALL)], told=told) for name, told in limits.items()]
    assert compare(runs).notes == ("one answers may be as long as 64 tokens; two answers may be as long as 512 tokens",)
    assert compare(runs[1:]).notes == ()


# --- items that changed


def test_an_item_that_changed_brings_both_answers_and_the_steps_that_only_one_does(tmp_path):
    one, two = two_runs(tmp_path, [(True, False), ALL, ALL], [(False, True), NONE, ALL])
    found = compare([one, two], measure="soft")
    [change] = found.changes
    assert (change.before, change.after, change.lost) == (1.0, 0.0, ("1. task 1 of 1", "2. task 2 of 1"))
    assert change.answers == ("the answer of one to 1", "the answer of two to 1")


def test_steps_that_the_other_run_was_not_judged_by_are_neither_gained_nor_lost(tmp_path):
    items = [item_of(0)]
    one = write_run(tmp_path / "one", items, [scored_of(items[0], ALL)])
    two = write_run(tmp_path / "two", items, [Scored(items[0].id, "k", {"strict": 0.0}, judge="program")])
    [change] = compare([one, two], measure="strict").changes
    assert (change.gained, change.lost) == ((), ())


def test_shown_changes_are_better_and_worse_in_turn(tmp_path):
    one, two = two_runs(tmp_path, [*[NONE] * 5, *[ALL] * 2], [*[ALL] * 5, *[NONE] * 2])
    shown = pick_changes(compare([one, two]).changes, 5)
    assert [change.after for change in shown] == [1, 0, 1, 0, 1]
    assert pick_changes([], 3) == []


# --- preferences


def pair_runs(tmp_path, texts, **options):
    items = [Example(f"Name the colours of flag {i}, then count them.") for i in range(len(texts[0]))]
    return [
        write_run(tmp_path / name, items, [Scored(item.id, judge="program") for item in items], texts=row, **options)
        for name, row in zip(("one", "two"), texts, strict=True)
    ]


def test_a_judge_is_asked_in_both_orders_and_only_once(tmp_path):
    good = [f"the colours of flag {i} are red and blue; I count them: two" for i in range(6)]
    runs = pair_runs(tmp_path, (["?"] * 6, good))
    done = prefer(runs, judge=COUNTING, out=tmp_path / "pairs")
    [rate] = done.rates
    assert (rate.model, rate.against, rate.wins, rate.losses, rate.stable) == ("two", "one", 6, 0, 1.0)
    assert set(done.at_equal_length.rates) == {"two"}
    before = len(asked)
    (tmp_path / "pairs" / "replies.sqlite").unlink()
    assert prefer(runs, judge=COUNTING, out=tmp_path / "pairs") == done
    assert len(asked) == before == 12
    path = tmp_path / "pairs" / "pairs.jsonl"
    path.write_bytes(path.read_bytes()[:-5])  # as a kill leaves it
    (tmp_path / "pairs" / "replies.sqlite").unlink(missing_ok=True)
    assert prefer(runs, judge=COUNTING, out=tmp_path / "pairs") == done
    assert len(asked) == 14


asked = []
COUNTING = f"scripted:{__name__}:counting"


def always_first(_request):
    return "[[A]]"


def test_a_judge_that_goes_by_the_place_is_told(tmp_path):
    runs = pair_runs(tmp_path, [["a"] * 3, ["b"] * 3])
    found = prefer(runs, judge=f"scripted:{__name__}:always_first", out=tmp_path / "p")
    [note] = found.notes
    assert "0.0% of the pairs with two" in note


def counting(request):
    asked.append(request)
    return rehearse(request)


def test_a_judge_that_cannot_be_read_gives_no_figure_to_quote(tmp_path):
    runs = pair_runs(tmp_path, (["a thing"] * 4, ["another thing"] * 4))
    done = prefer(runs, judge=f"scripted:{__name__}:babble", out=tmp_path / "pairs")
    assert (done.rates[0].unscored, done.at_equal_length) == (4, None)
    assert "0 of the 4 pairs with two" in done.refused
    again = prefer(runs, judge=f"scripted:{__name__}:babble", out=tmp_path / "pairs")
    assert again == done


def babble(_request):
    return "well, well"


def test_answers_that_nobody_scored_can_be_preferred(tmp_path):
    runs = pair_runs(tmp_path, (["same"] * 3, ["same"] * 3))
    for run in runs:
        (run / "metrics.json").unlink()
        (run / "verdicts.jsonl").unlink()
    assert prefer(runs, judge=JUDGE, out=tmp_path / "pairs").rates[0].ties == 3


def test_the_command_shows_what_a_judge_prefers_of_answers_that_nobody_scored(tmp_path):
    runs = pair_runs(tmp_path, (["same"] * 3, ["same"] * 3))
    (runs[1] / "metrics.json").unlink()
    asking = (*runs, "--judge", JUDGE, "--out", tmp_path / "pairs")
    assert isinstance(run_command(*asking, "--page", tmp_path / "page.html").exception, RecipeError)
    assert not (tmp_path / "pairs").exists(), "before anybody is asked"
    told = run_command(*asking).output
    assert "nobody scored" in told
    assert "0/3/0" in told
    found = json.loads(run_command(*asking, "--json").output)
    assert (found["comparison"], found["preferred"]["items"]) == (None, 3)


# --- the command and the page


def run_command(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_the_command_prints_the_table_and_ends_with_one_object(tmp_path):
    runs = two_runs(tmp_path, [NONE] * 20, [ALL] * 20)
    told = run_command(*runs).output
    for word in ("strict", "differs", "+100.0", "20 won, 0 lost", "only two does: 1. task 1 of 0"):
        assert word in told, word
    found = json.loads(run_command(*runs, "--json").output)
    assert found["comparison"]["measure"] == "strict"
    assert found["preferred"] is None


def test_the_command_ends_with_3_where_a_run_has_no_figure_to_quote(tmp_path):
    runs = two_runs(tmp_path, [ALL] * 4, [ALL, OPEN, OPEN, OPEN])
    done = run_command(*runs)
    assert done.exit_code == 3
    assert "no headline: two: only 1 of 4" in done.output


def test_a_judge_without_a_folder_is_refused(tmp_path):
    done = run_command(*two_runs(tmp_path, [ALL], [ALL]), "--judge", JUDGE)
    assert isinstance(done.exception, RecipeError)


def test_the_page_shows_differences_preferences_and_changed_items_and_lets_no_answer_through_as_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    one, two = two_runs(tmp_path, [NONE] * 12, [ALL] * 12, texts=[evil] * 12)
    found = compare([one, two])
    page = write_comparison(found, tmp_path / "page.html", prefer([one, two], judge=JUDGE, out=tmp_path / "pairs"))
    text = page.read_text()
    assert "<script" not in text
    for told in (
        "Compared",
        "differs",
        "+100.0",
        "two does better",
        "only two does:",
        "won / tied / lost",
        "0 / 12 / 0",
    ):
        assert told in text, told
    assert (
        text
        == write_comparison(
            found, tmp_path / "again.html", prefer([one, two], judge=JUDGE, out=tmp_path / "pairs")
        ).read_text()
    )
