"""The page shows what the runs wrote, whatever stands in them, and asks nobody for anything."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.building.style import STYLES, ambiguous, join, marks
from seqtune.data.example import Example, Origin, Step, Turn
from seqtune.errors import RunFolderError
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.figures import figures
from seqtune.evaluation.headline import choose_headline
from seqtune.evaluation.scoring import Scored, Verdict, measures_of
from seqtune.evaluation.statistics.bootstrap import Interval
from seqtune.evaluation.statistics.measure import share
from seqtune.evaluation.tax import ChainTax
from seqtune.report import write_report
from seqtune.report.losses import SPEEDS, _speeds
from seqtune.report.page import pick_series
from seqtune.report.plot import (
    LABEL_GAP,
    WIDTH,
    Dot,
    Group,
    Line,
    compact,
    draw_bars,
    draw_differences,
    draw_intervals,
    draw_key,
    draw_lines,
    percent,
    spread,
    ticks,
)
from seqtune.report.runs import Run, find_runs
from seqtune.report.samples import pick_pairs
from seqtune.report.sections import name_runs
from seqtune.report.steps import Segment, find_answers, find_asks, shorten_segments, show_row

PLOTS = ("Training loss over tokens seen", "Tokens per second by step", "Memory in use by step")
EVIL = '<script>alert(1)</script>" "onload="x()" \' & </style> </title> --> ]]>'


# --- run folders, as the commands write them ---------------------------------------------------------------------


def chained(text="Say hello.", output="hello", answer="2", kind="operations"):
    parent = Example(text, "a b", output, origin=(Origin("read", source="rows.jsonl", row=1),))
    steps = (
        Step("count the words in the input", answer, "before", "count_words", mark="Word count:"),
        Step(text, output, mark="Result:"),
    )
    row = Example(
        f"First count the words in the input, then {text}",
        "a b",
        f"Word count: {answer}\nResult: {output}",
        steps=steps,
        origin=(*parent.origin, Origin(kind, parent=parent.id, seed=0)),
    )
    return parent, row


def write_lines(path, rows):
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def write_build(folder, pairs, **summary):
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "control.jsonl", [parent for parent, _ in pairs if parent])
    write_lines(folder / "examples.jsonl", [row for _, row in pairs])
    counts = {"read": len(pairs), "examples": len(pairs), "skipped": 0, "failed": 0, "made": {"operations": len(pairs)}}
    whole = {"command": "build", "finished": True, **counts, "steps": {"2": len(pairs)}, "seed": 7, "wall_s": 0.5}
    (folder / "run.json").write_text(json.dumps(whole | summary))
    return folder


def write_training(folder, losses=((10, 2.0), (20, 0.125)), **more):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"step": i, "tokens": t, "loss": v, "wall_s": 1 + i / 2} for i, (t, v) in enumerate(losses)]
    write_lines(folder / "losses.jsonl", [line | more for line in lines])
    figures = {"rows": 5, "tokens": 1234, "parameters": 555264, "wall_s": 2.0, "seed": 3}
    summary = {"command": "train", "finished": True, "settings": {"epochs": 3}, "versions": {"torch": "2.13.0"}}
    (folder / "run.json").write_text(json.dumps(summary | figures))
    return folder


def verdict_line(item, row):
    steps = [
        {"step": i, "check": "c", "done": ok, "found": "f" if ok else None, "expected": "the gold"}
        for i, ok in enumerate(row, 1)
    ]
    return {"item": item.id, "measures": {}, "steps": steps}


def write_evaluation(folder, model, items, texts, group="", done=()):
    """`texts`: an answer an item; `done`: verdicts an item, none for a step that cannot be judged."""
    pytest.importorskip("seqtune.evaluation.scoring")
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "items.jsonl", items)
    answers = [
        {"item": item.id, "model": str(model), "text": text, "tokens": 3, "cut": False}
        for item, text in zip(items, texts, strict=True)
    ]
    write_lines(folder / "answers.jsonl", answers)
    write_lines(folder / "verdicts.jsonl", [verdict_line(item, row) for item, row in zip(items, done, strict=True)])
    whole = {"done": 1, "of": 4, "value": 0.25, "low": 0.046, "high": 0.699}
    none = {"done": 0, "of": 0, "value": None, "low": 0.0, "high": 1.0}
    figures = {
        "group": group, "steps": 2, "items": 4, "measures": {"exact": whole, "strict": whole, "soft": none},
        "by_position": [whole, whole], "answered": 4, "unscored_steps": 1, "cut": 2, "mean_tokens": 3.5,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps({"suite": "chains", "figures": [figures]}))
    settings = {"model": str(model), "suite": "chains"}
    summary = {"command": "eval", "finished": True, "settings": settings, "wall_s": 1.5}
    (folder / "run.json").write_text(json.dumps(summary))
    return folder


class _Page(HTMLParser):
    """All start tags with their attributes, and whether every tag is closed."""

    EMPTY = ("meta", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def page_of(folder, **options):
    return write_report(folder, **options).read_text("utf-8")


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_whole_loop_is_on_one_page(tmp_path):
    pairs = [chained(f"Say hello {i}.") for i in range(3)]
    write_build(tmp_path / "build", pairs, reasons={"skipped": {"the row has no input": 4}})
    items = [row for _, row in pairs]
    for name in ("it", "sit"):
        write_training(tmp_path / f"train-{name}")
        texts, done = ["Word count: 2", items[1].output, ""], [[True, False], [True, True], [False, None]]
        write_evaluation(tmp_path / f"eval-{name}", tmp_path / f"train-{name}" / "model", items, texts, done=done)
    text = page_of(tmp_path, caveat="It shows the pipeline only.")
    for told in (
        "the row has no input", "2 steps", "train-sit", "555,264", "617", "0.125", "It shows the pipeline only.",
        "5–70", "✗ missing", "the gold", "every step done", "torch 2.13.0", "seqtune eval",
    ):  # fmt: skip
        assert told in text, told
    assert text.count('class="plot"') == 4


def test_nothing_that_a_user_wrote_becomes_markup(tmp_path):
    build = write_build(
        tmp_path / "b", [chained(EVIL, EVIL, EVIL, EVIL)], reasons={"failed": {EVIL: 2}}, made={EVIL: 1}
    )
    (build / "recipe.yaml").write_text(EVIL)
    item = chained(EVIL, EVIL)[1]
    turns = Example("q", turns=(Turn("user", EVIL), Turn(EVIL, EVIL)), steps=item.steps)
    write_build(tmp_path / 'x"onload="y', [(None, turns)])
    write_training(tmp_path / "<script>t")
    write_evaluation(tmp_path / "e", EVIL, [item], [EVIL], group=EVIL, done=[[False, None]])
    text = page_of(tmp_path, caveat=EVIL, title=EVIL)
    assert "<script" not in text
    assert '"onload=' not in text
    tags = _Page(text).tags
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert {tag for tag, _ in tags}.isdisjoint({"script", "iframe", "object", "embed", "img", "form"})


def test_the_page_asks_nobody_for_anything(tmp_path):
    write_build(tmp_path / "build", [chained()])
    write_training(tmp_path / "train")
    text = page_of(tmp_path)
    for tag, attributes in _Page(text).tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert re.match(r"#|data:,$|$", attributes.get(name) or ""), (tag, attributes)
    assert not re.search(r"@import|url\(|@font-face|https?:", text)


def test_the_same_runs_give_the_same_page(tmp_path):
    write_build(tmp_path / "build", [chained(f"Say {i}.") for i in range(40)])
    assert page_of(tmp_path) == page_of(tmp_path)


def test_a_part_that_is_not_there_is_said_to_be_missing(tmp_path):
    write_training(tmp_path / "train")
    text = page_of(tmp_path)
    assert "No build stands in this folder." in text
    assert "No model was tested in this folder." in text
    assert "There are no rows to show." in text


@pytest.mark.parametrize("missing", ["examples.jsonl", "control.jsonl"])
def test_a_build_without_one_of_its_files_is_still_shown(tmp_path, missing):
    (write_build(tmp_path / "build", [chained()]) / missing).unlink()
    assert "examples made" in page_of(tmp_path)


@pytest.mark.parametrize("missing", ["items.jsonl", "answers.jsonl", "verdicts.jsonl", "metrics.json"])
def test_an_evaluation_without_one_of_its_files_is_still_shown(tmp_path, missing):
    row = chained()[1]
    (write_evaluation(tmp_path / "e", "m", [row], [row.output], done=[[True, True]]) / missing).unlink()
    assert "Is every step done?" in page_of(tmp_path)


def test_models_are_called_by_the_training_that_made_them_and_each_has_its_line(tmp_path):
    row = chained()[1]
    for name in ("it", "sit"):
        write_training(tmp_path / name)
        write_evaluation(tmp_path / "eval" / name, f"runs/demo/{name}/model", [row], ["?"], done=[[False, False]])
    write_evaluation(tmp_path / "eval" / "again", "runs/demo/sit/model", [row], ["?"], done=[[False, False]])
    write_evaluation(tmp_path / "eval" / "other", "someone/a-model", [row], [row.output], done=[[True, True]])
    text = page_of(tmp_path)
    names = re.findall(r'<td class="name"><svg.*?</svg>(.*?)</td>', text)
    assert {"it", "sit", "someone/a-model", "sit (eval/again)", "sit (eval/sit)"} == set(names)


def test_a_folder_without_losses_has_a_table_and_no_plot(tmp_path):
    (write_training(tmp_path / "train") / "losses.jsonl").write_text("")
    (tmp_path / "train" / "run.json").write_text('{"command": "train", "finished": true, "rows": 5}')
    text = page_of(tmp_path)
    assert "No losses were written." in text
    assert 'class="plot"' not in text


def test_speed_and_memory_are_drawn_beside_the_losses_for_each_run(tmp_path):
    for name in ("it", "sit"):
        write_training(tmp_path / name, memory_bytes=5e8)
    text = write_report(tmp_path).read_text()
    assert [text.count(f"<title>{title}</title>") for title in PLOTS] == [1, 1, 1]
    assert text.count("<polyline") == 6
    assert "500M" in text


@pytest.mark.parametrize("memory", [{}, {"memory_bytes": 0}, {"memory_bytes": None}])
def test_memory_that_nobody_knows_is_not_drawn_as_none_in_use(tmp_path, memory):
    write_training(tmp_path, **memory)
    text = write_report(tmp_path).read_text()
    assert [title in text for title in PLOTS] == [True, True, False]
    assert "Memory: of" not in text


@given(steps=st.integers(2, 3000), speed=st.floats(1, 1e6))
def test_a_run_of_even_speed_is_drawn_as_a_level_line_to_its_end(steps, speed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    write_lines(
        folder / "losses.jsonl", [{"step": i, "tokens": 7 + speed * i, "wall_s": i} for i in range(1, steps + 1)]
    )
    line = _speeds(Run(folder, "run", "train", {}))
    assert [value for _, value in line] == pytest.approx([speed] * len(line), rel=1e-6)
    assert line[-1][0] == steps
    assert 0 < len(line) <= SPEEDS


def test_a_build_whose_chain_of_thought_rows_ran_out_says_so(tmp_path):
    reasons = {"skipped": {}, "failed": {}, "missing": {"chain-of-thought rows: no more": 15}}
    write_build(tmp_path, [chained()], made={"operations": 9, "thoughts": 1}, asked={"thoughts": 0.2}, reasons=reasons)
    text = write_report(tmp_path).read_text()
    assert "<td>thoughts</td>" in text
    assert "<td>missing</td><td>chain-of-thought rows: no more</td>" in text


def test_the_demo_shows_the_rows_that_it_drew_and_its_caveat(tmp_path):
    (tmp_path / "rows").mkdir()
    for arm in ("it", "sit"):
        write_lines(tmp_path / "rows" / f"{arm}.jsonl", [chained(f"Say {arm} {i}.")[1] for i in range(30)])
    (tmp_path / "demo.json").write_text(json.dumps({"caveat": "Small models only."}))
    (tmp_path / "run.json").write_text(json.dumps({"command": "demo", "finished": True}))
    text = page_of(tmp_path)
    assert text.count('<article class="card">') == 12
    assert "rows for sit" in text
    assert "Small models only." in text
    assert "Small models only." not in page_of(tmp_path, caveat="Told.")


def test_a_run_that_did_not_finish_or_cannot_be_read_is_named_and_not_counted(tmp_path):
    write_build(tmp_path / "whole", [chained()])
    write_build(tmp_path / "half", [chained()], finished=False, read=999)
    write_build(tmp_path / "torn", [chained()]).joinpath("run.json").write_text("{")
    text = page_of(tmp_path)
    assert "did not finish" in text
    assert "run.json cannot be read" in text
    assert "999" not in text


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_folder_without_a_run_is_an_error_that_names_it(tmp_path, folder):
    with pytest.raises(RunFolderError, match=re.escape(str(tmp_path / folder))):
        write_report(tmp_path / folder)


def test_the_page_goes_where_it_is_told(tmp_path):
    write_build(tmp_path / "build", [chained()])
    assert write_report(tmp_path / "build") == tmp_path / "build" / "report.html"
    assert write_report(tmp_path, tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    assert len(find_runs(tmp_path)) == 1


def test_half_a_surrogate_pair_and_a_null_do_not_stop_the_page(tmp_path):
    row = Example("a\ud800b", output="c\x00d")
    folder = write_build(tmp_path / "build", [chained()])
    (folder / "examples.jsonl").write_text(json.dumps({"instruction": row.instruction, "output": row.output}))
    assert "examples made" in page_of(tmp_path)


def test_broken_and_huge_lines_are_passed_over(tmp_path):
    folder = write_build(tmp_path / "build", [chained()])
    whole = (folder / "examples.jsonl").read_bytes()
    huge = json.dumps({"instruction": "x" * (2 << 20)}).encode()
    (folder / "examples.jsonl").write_bytes(b'{"instruction": \n[1]\n{"instruction": 3}\n\n' + huge + b"\n" + whole)
    assert len(pick_pairs(folder / "examples.jsonl", folder / "control.jsonl")) == 1


# --- judged runs ---------------------------------------------------------------------------------------------------


def write_judged(folder, judge, done, *, items=None, model="", group="", taxes=(), stale=()):
    """A judged run over items without steps of their own; `done`: an item's verdicts, None where it is unscored."""
    folder.mkdir(parents=True)
    items = items or [
        Example(f"Do both things of {i}.", meta={"group": group} if group else {}) for i in range(len(done))
    ]
    scored = [judged_line(item, judge, row) for item, row in zip(items, done, strict=True)]
    answers = [Answer(item.id, "m", f"{folder.name} says {i}") for i, item in enumerate(items)]
    write_lines(folder / "items.jsonl", items)
    write_lines(folder / "answers.jsonl", answers)
    write_lines(folder / "verdicts.jsonl", [*[judged_line(items[i], judge, row) for i, row in stale], *scored])
    lines = figures(items, {one.item: one for one in answers}, scored, {item.id: 2 for item in items})
    found = {"headline": choose_headline("strict", lines), "figures": lines, "chain_taxes": list(taxes)}
    counts = {"suite": "seqeval", "judge": judge, "items": len(items), "answered": len(items), "notes": ["a note"]}
    (folder / "metrics.json").write_bytes(msgspec.json.encode({**found, **counts}))
    settings = {"model": model or f"models/{folder.name}", "suite": "seqeval", "items": "h", "scorer": ""}
    (folder / "run.json").write_text(json.dumps({"command": "eval", "finished": True, "settings": settings}))
    return folder


def judged_line(item, judge, row):
    if row is None:
        return Scored(item.id, f"{item.id}{judge}", measures_of([]), judge=judge, unscored="nobody could read it")
    steps = tuple(Verdict(i, "judge", ok, "q", supported=ok, text=f"thing {i}") for i, ok in enumerate(row, 1))
    return Scored(item.id, f"{item.id}{judge}{row}", measures_of(row), steps, judge)


def test_judged_runs_show_who_judged_and_what_may_be_quoted(tmp_path):
    write_judged(tmp_path / "a", "j | verdicts 1 | c0ffee", [(True, False)] * 12)
    text = page_of(tmp_path)
    for told in ("Judged by j | verdicts 1 | c0ffee.", "12 of 12", "yes without support", "a note", "thing 2"):
        assert told in text, told
    assert '<td class="num">12</td></tr>' in text  # as many unsupported yeses
    assert "<title>Share of items by position of the step</title>" in text


def test_a_run_of_which_too_little_could_be_scored_has_no_headline_and_says_why(tmp_path):
    write_judged(tmp_path / "a", "j", [(True, True)] * 3 + [None] * 2)
    text = page_of(tmp_path)
    assert "has no figure to quote: only 3 of 5 items could be scored" in text
    assert "60 %–100 %" in text
    assert "2 unscored" in text
    assert "unscored: nobody could read it" in text


def test_a_split_called_all_has_a_row_of_its_own_beside_the_whole(tmp_path):
    items = [Example(f"Do both things of {i}.", meta={"group": "all" if i else "rest"}) for i in range(3)]
    write_judged(tmp_path / "a", "j", [(True, True)] * 3, items=items)
    text = page_of(tmp_path)
    assert "2 steps, split &#39;all&#39;" in text
    assert "all items" in text


def test_figures_of_different_judges_stand_in_different_tables_and_are_not_compared(tmp_path):
    for name, judge in (("a", "one judge"), ("b", "another judge")):
        write_judged(tmp_path / name, judge, [(True, True)] * 3)
    text = page_of(tmp_path)
    assert text.count("Judged by") == 2
    assert 'id="compared"' not in text


def test_of_an_item_the_last_verdict_of_the_right_judge_is_shown(tmp_path):
    stale = [(0, (False, False)), (1, (False, False))]
    folder = write_judged(tmp_path / "a", "right", [(True, True)] * 2, stale=stale)
    other = Scored(folder.name, "k", judge="wrong")
    with (folder / "verdicts.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(other) + b"\n")
    assert "✗" not in page_of(tmp_path)


def test_the_chain_tax_is_shown_with_its_interval(tmp_path):
    interval = Interval(0.25, 0.125, 0.4, 40, 0.01)
    write_judged(
        tmp_path / "a",
        "program",
        [(True, True)],
        taxes=[ChainTax(3, 40, share(30, 40), share(20, 40), interval, "unseen wordings", 17)],
    )
    text = page_of(tmp_path)
    for told in ("Chain tax", "25.0", "12.5 to 40.0", "75 %", "50 %", "<td>unseen wordings</td>", ">17</td>"):
        assert told in text, told
    assert "Judged by" not in text


def test_runs_of_the_same_items_and_judge_are_compared_with_the_first(tmp_path):
    for name, row in (("a", (True, False)), ("b", (True, True))):
        write_judged(tmp_path / name, "j", [row] * 20)
    text = page_of(tmp_path)
    for told in ("Compared", "models/b does better", "only models/b does:", "2. thing 2", "+100.0", "differs"):
        assert told in text, told
    assert text.count("<title>Difference to the first run: every step</title>") == 1


def write_counted(folder, items, hash="h", model="models/one", **measures):
    """A run that a program scored, every item right."""
    scored = [Scored(item.id, measures=measures or measures_of([True]), judge="program") for item in items]
    answers = {item.id: Answer(item.id, "m", "yes") for item in items}
    lines = figures(items, answers, scored, {item.id: item.meta.get("n", 2) for item in items})
    folder.mkdir(parents=True)
    for name, rows in (("items", items), ("answers", answers.values()), ("verdicts", scored)):
        write_lines(folder / f"{name}.jsonl", rows)
    found = {"figures": lines, "headline": choose_headline("strict", lines), "judge": "program", "notes": []}
    (folder / "metrics.json").write_bytes(
        msgspec.json.encode({**found, "items": len(items), "answered": len(items), "suite": "chains"})
    )
    settings = {"model": model, "suite": "chains", "items": hash}
    (folder / "run.json").write_text(json.dumps({"command": "eval", "finished": True, "settings": settings}))
    return folder


def chain_items(steps, each=10, group="", **meta):
    return [Example(f"{group} {n} {i}", meta={"group": group, "n": n, **meta}) for n in steps for i in range(each)]


def titles_of(text):
    return re.findall("<h3>(chains[^<]*)</h3>", text)


def test_runs_over_different_items_stand_in_sections_that_say_which_and_count_their_own(tmp_path):
    write_counted(tmp_path / "a", chain_items((1, 2)), "h1")
    write_counted(tmp_path / "b", chain_items((1, 2, 3)), "h2")
    write_counted(tmp_path / "c", chain_items((2,), 7, "unseen pairs") + chain_items((2,), 7, "others"), "h3")
    text = page_of(tmp_path)
    assert titles_of(text) == [
        "chains: 1 to 2 steps, 20 items",
        "chains: 1 to 3 steps, 30 items",
        "chains: unseen pairs, others, 2 steps, 14 items",
    ]
    assert re.findall("all items<span class=.soft.>: ([^<]*)<", text) == ["20 items", "30 items", "14 items"]


def test_items_that_differ_in_nothing_to_be_told_are_told_apart_by_their_runs(tmp_path):
    for name in ("a", "b"):
        write_counted(tmp_path / name, chain_items((1, 2)), f"hash {name}")
    assert titles_of(page_of(tmp_path)) == ["chains: a", "chains: b"]


def test_two_runs_of_one_model_look_different_and_are_called_by_their_runs(tmp_path):
    for name in ("a", "b", "c"):
        write_counted(tmp_path / name, chain_items((1, 2)))
    keys = re.findall(r"<li>(<svg.*?</svg>)(models/one \(.\))</li>", page_of(tmp_path))
    assert sorted({name for _, name in keys}) == ["models/one (a)", "models/one (b)", "models/one (c)"]
    assert len({key for key, _ in keys}) == 3


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12))
def test_no_two_runs_of_a_section_look_alike(models):
    runs = [Run(Path(), f"run {i}", "eval", {}) for i in range(len(models))]
    named = name_runs(runs, models, pick_series(models))
    assert len({draw_key(one.series) for one in named}) == len({one.name for one in named}) == len(models)


def test_splits_come_one_after_the_other_in_order_of_steps_and_what_stands_aside_comes_last(tmp_path):
    aside = chain_items((1,), 3, "single steps", aside=True)
    items = [*chain_items((3, 1), 2, "seen"), *aside, *chain_items((2, 10), 2, "unseen")]
    write_counted(tmp_path / "a", items)
    rows = re.findall('scope="rowgroup">([^<]*)<', page_of(tmp_path))
    assert rows == [
        "all items", "1 step, seen", "3 steps, seen", "2 steps, unseen", "10 steps, unseen", "1 step, single steps",
    ]  # fmt: skip


def test_of_many_measures_the_headline_and_the_steps_stand_first_and_the_others_are_folded_away(tmp_path):
    others = {f"other_{i}": 1.0 for i in range(8)}
    write_counted(tmp_path / "a", chain_items((1, 2)), **others, step_done=0.5, soft=1.0, strict=0.5)
    text = page_of(tmp_path)
    heads = [re.findall('class="share">([^<]*)<', head) for head in re.findall("<thead>.*?</thead>", text, re.DOTALL)]
    assert ["every step", "step done"] in heads
    assert ["each step", *[f"other {i}" for i in range(8)]] in heads
    assert "<details><summary>9 more measures: each step, other 0" in text


def test_many_splits_are_folded_away_behind_the_figures_of_all(tmp_path):
    items = [Example(f"Do both things of {i}.", meta={"group": f"split {i}"}) for i in range(15)]
    write_judged(tmp_path / "a", "j", [(True, True)] * 15, items=items)
    text = page_of(tmp_path)
    assert "<summary>15 splits and numbers of steps</summary>" in text
    assert text.index("all items") < text.index("<summary>15 splits")


# --- rows ---------------------------------------------------------------------------------------------------------


def test_rows_of_every_kind_and_step_count_are_picked_each_with_its_parent(tmp_path):
    pairs = [chained(f"Say {kind} {i}.", kind=kind) for kind in ("operations", "repeat") for i in range(300)]
    plain = Example("Just this.", output="yes")
    folder = write_build(tmp_path / "build", [*pairs, (plain, plain)])
    picked = pick_pairs(folder / "examples.jsonl", folder / "control.jsonl")
    assert {pair.kind for pair in picked} == {"operations", "repeat", "plain"}
    assert len(picked) == 12
    assert len({pair.row.id for pair in picked}) == 12
    for pair in picked:
        assert pair.parent is not None
        assert pair.parent.id in (pair.row.id, pair.row.origin[-1].parent if pair.row.origin else "")


def test_a_row_without_steps_has_no_colour():
    shown = show_row(Example("Do it.", "input", "done"))
    assert [message.role for message in shown] == ["instruction", "input", "answer"]
    assert not [piece for message in shown for piece in message.segments if piece.step]


def test_a_dialogue_shows_each_turn_with_its_step():
    steps = (Step("Say hello.", "hello"), Step("count the words in your answer", "1", "after", "count_words"))
    turns = [
        ("user", "Say hello."),
        ("assistant", "hello"),
        ("user", "Count the words in your answer."),
        ("assistant", "1"),
    ]
    shown = show_row(Example("Say hello.", output="1", turns=tuple(Turn(*turn) for turn in turns), steps=steps))
    assert [(m.role, m.segments[0].text, m.segments[0].step) for m in shown] == [
        ("user", "Say hello.", 1),
        ("assistant", "hello", 1),
        ("user", "Count the words in your answer", 2),
        ("assistant", "1", 2),
    ]


def test_a_message_of_parts_is_shown_as_text():
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert show_row(Example("q", turns=(Turn("user", parts), Turn("assistant", None))))[0].segments[0].text == (
        "What is it?\n[image_url]"
    )


def test_a_step_is_found_whatever_the_case_of_its_first_letter_and_its_final_stop():
    steps = (Step("Name the capital of France.", "Paris"), Step("count the words", "1"))
    pieces = find_asks("Count the words, then name the capital of France, please.", steps)
    assert [(piece.text, piece.step) for piece in pieces if piece.step] == [
        ("Count the words", 2),
        ("name the capital of France", 1),
    ]


def test_a_step_whose_wording_stands_in_another_does_not_take_its_place():
    steps = (Step("repeat the input"), Step("repeat the input in capital letters"))
    pieces = find_asks("First repeat the input in capital letters, then repeat the input.", steps)
    assert [(piece.text, piece.step) for piece in pieces if piece.step] == [
        ("repeat the input in capital letters", 2),
        ("repeat the input", 1),
    ]


texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=80)
parts = st.lists(texts.map(str.strip).filter(bool), min_size=1, max_size=4)


@given(parts, st.sampled_from(STYLES))
def test_an_answer_is_cut_into_its_steps_each_numbered_and_none_of_it_lost(results, style):
    made = marks(style, ["Word count", "Result", "Paraphrase", "Longest word"][: len(results)])
    steps = [Step("x", result, mark=mark) for result, mark in zip(results, made, strict=True)]
    pieces = find_answers(join(made, results), steps)
    if not ambiguous(made, results):
        assert [piece.step for piece in pieces if piece.step] == [*range(1, len(results) + 1)]
        assert [piece.text.strip() for piece in pieces if piece.step] == results


@given(texts, st.lists(texts, min_size=1, max_size=4), st.lists(texts, min_size=4, max_size=4))
def test_whatever_a_model_wrote_is_shown_whole(answer, asks, some_marks):
    steps = [Step(ask, mark=mark.strip()) for ask, mark in zip(asks, some_marks, strict=False)]
    pieces = find_answers(answer, steps)
    shown = "".join(piece.mark + piece.text for piece in pieces)
    assert "".join(shown.split()) == "".join(answer.split())
    assert "".join(piece.text for piece in find_asks(answer, steps)) == answer


def test_every_coloured_part_of_the_page_has_its_number(tmp_path):
    write_build(tmp_path / "build", [chained(f"Say {i}.") for i in range(5)])
    text = page_of(tmp_path)
    spans = re.findall(r'<span class="st c(\d)[^>]*>(.{30})', text)
    assert len(spans) == 5 * 6
    assert all(f'<b class="n c{number}">{number}<' in after for number, after in spans)


@given(st.text(max_size=3000), st.integers(20, 400))
def test_a_long_text_loses_only_its_middle_and_says_how_much(text, limit):
    [piece] = shorten_segments([Segment(text, 2, "2.")], limit)
    assert len(piece.text) + piece.cut + len(piece.tail) == len(text)
    assert text.startswith(piece.text)
    assert text.endswith(piece.tail)
    assert len(piece.text) + len(piece.tail) <= limit * 1.2
    assert (piece.step, piece.mark) == (2, "2.")


# --- plots --------------------------------------------------------------------------------------------------------


def assert_inside(svg):
    """Every coordinate of the picture lies in its view box."""
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, root.get("viewBox").split())
    for element in root.iter():
        pairs = [point.split(",") for point in (element.get("points") or "").split()]
        xs = [float(element.get(name)) for name in ("x", "x1", "x2", "cx") if element.get(name)] + [
            float(x) for x, _ in pairs
        ]
        ys = [float(element.get(name)) for name in ("y", "y1", "y2", "cy") if element.get(name)] + [
            float(y) for _, y in pairs
        ]
        if element.tag == "rect":
            xs.append(float(element.get("x")) + float(element.get("width")))
        assert all(-0.1 <= x <= width + 0.1 for x in xs), ElementTree.tostring(element)
        assert all(-0.1 <= y <= height + 0.1 for y in ys), ElementTree.tostring(element)


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(texts, st.lists(st.tuples(numbers, numbers), max_size=30)), max_size=20))
def test_every_line_stays_inside_the_picture(lines):
    svg = draw_lines(
        [Line(name, points, i) for i, (name, points) in enumerate(lines)], x_label="x", y_label="y", title="t"
    )
    if svg:
        assert_inside(_printable(svg))


shares = st.floats(0, 1)


@given(st.lists(st.tuples(texts, st.lists(st.tuples(shares, shares, shares), max_size=8)), max_size=8))
def test_every_interval_stays_inside_the_picture(groups):
    drawn = [Group(label, label[::2], [Dot(i, *dot) for i, dot in enumerate(dots)]) for label, dots in groups]
    svg = draw_intervals(drawn, x_label="x", title="t")
    if svg:
        assert_inside(_printable(svg))


gaps = st.floats(-1, 1)


@given(st.lists(st.tuples(texts, st.lists(st.tuples(gaps, gaps, gaps), max_size=4)), max_size=6))
def test_every_difference_stays_inside_the_picture_with_nought_in_its_middle(groups):
    drawn = [Group(label, label[::2], [Dot(i, *dot) for i, dot in enumerate(dots)]) for label, dots in groups]
    svg = draw_differences(drawn, x_label="x", title="t")
    if svg:
        assert_inside(_printable(svg))
        assert svg.count("nought") == 1


@given(st.lists(st.tuples(texts, st.integers(0, 10**9)), max_size=12))
def test_every_bar_stays_inside_the_picture(counts):
    svg = draw_bars(counts, title="t")
    assert bool(svg) == any(count for _, count in counts)
    if svg:
        assert_inside(_printable(svg))


def _printable(svg):
    """Without the characters that XML cannot hold; HTML can."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", svg)


def test_a_long_run_is_drawn_with_few_points_and_keeps_its_last():
    svg = draw_lines([Line("a", [(i, 1.0) for i in range(100_000)], 0)], x_label="", y_label="", title="")
    points = ElementTree.fromstring(svg).find(".//polyline").get("points").split()
    assert len(points) < 400
    assert float(points[-1].split(",")[0]) == max(float(point.split(",")[0]) for point in points)


def test_series_differ_by_more_than_colour():
    assert len({re.sub(r"s\d", "", draw_key(series)) for series in range(6)}) == 6
    assert len({draw_key(series) for series in range(36)}) == 36


@given(st.integers(1, 8), st.integers(1, 6))
def test_no_two_runs_of_an_experiment_look_alike(arms, seeds):
    names = [f"train/arm-{arm}/seed-{seed}" for arm in range(arms) for seed in range(seeds)]
    found = pick_series(names)
    looks = {name: draw_key(found[name]) for name in names}
    if len(names) <= 36:
        assert len({*looks.values()}) == len(names)
    if arms <= 6 and seeds > 1:  # a colour an arm, a dash a seed
        assert all(look_of(looks[name])[0] == look_of(looks[f"train/{name.split('/')[1]}/seed-0"])[0] for name in names)
        assert len({look_of(looks[f"train/arm-{arm}/seed-0"])[1] for arm in range(arms)}) == 1


def look_of(key):
    """Its colour, and the rest of it."""
    return re.search(r"s\d", key)[0], re.sub(r"s\d", "", key)


@given(st.lists(texts, unique=True, max_size=36))
def test_no_two_of_any_runs_look_alike(names):
    assert len({*pick_series(names).values()}) == len(names)


@given(st.lists(st.floats(0, 300), max_size=15).map(sorted))
def test_labels_are_moved_apart_and_stay_in_their_order(places):
    moved = spread(places, 0, 300)
    assert all(b - a >= LABEL_GAP - 1e-9 for a, b in pairwise(moved))
    assert all(-1e-9 <= place <= 300 for place in moved)


@given(st.floats(1e-9, 1e15))
def test_the_axis_ends_at_or_above_the_largest_value_in_few_round_steps(most):
    marks = ticks(most)
    assert marks[0] == 0
    assert marks[-1] >= most * (1 - 1e-6)
    assert 2 <= len(marks) <= 7


def test_numbers_read_as_a_person_writes_them():
    assert [percent(share) for share in (0, 0.004, 0.5, 0.996, 1)] == ["0 %", "0.4 %", "50 %", "99.6 %", "100 %"]
    assert [compact(number) for number in (0, 0.25, 12, 400_000, 2_500_000)] == ["0", "0.25", "12", "400k", "2.5M"]
    assert WIDTH > 0
