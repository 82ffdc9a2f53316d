"""A judge is believed where it knew right from wrong, and its headline is refused where it did not."""

import json
from contextlib import closing
from functools import cache

import msgspec
import pytest

from seqtune.building.checking import check_steps
from seqtune.building.evidence import plain
from seqtune.data.example import prompt_text
from seqtune.errors import DataError, RecipeError, RunFolderError
from seqtune.evaluation.headline import Headline
from seqtune.evaluation.judging import rehearsal
from seqtune.evaluation.judging.known import known_answers, right_answers
from seqtune.evaluation.judging.llmbar import read_pairs
from seqtune.evaluation.judging.qualification import BARS, NAME, choose_bars, find_qualification, withhold
from seqtune.evaluation.judging.trial import judge_check
from seqtune.evaluation.statistics.measure import share
from seqtune.llm.request import body_of, key_of
from seqtune.llm.store import Store

ITEMS = 60


@cache
def rows():
    return {prompt_text(row): row for row in right_answers(ITEMS)}


def knowing(asked):
    """A good judge, because it has the right results: done is what stands in the answer."""
    found = rehearsal.read_prompt(rehearsal.first_text(asked))
    row, text = rows()[found.request], found.answers[0]
    if found.form == "verdicts":
        return json.dumps(
            {
                **({"code": found.code} if found.code else {}),
                "steps": [
                    {"step": i, "done": bool(quote), "quote": quote}
                    for i, quote in enumerate([quoted(step, text) for step in row.steps], 1)
                ],
            }
        )
    whole = all(quoted(step, text) for step in row.steps)
    inner = {"original": "Yes, 5" if whole else "No, 2", "quality": "5" if whole else "2"}[found.form]
    return f"[[{found.code}, {inner}]]" if found.code else f"[[{inner}]]"


def quoted(step, text):
    line = f"{step.mark} {step.expected}".strip()
    if line in text:
        return line
    return step.expected if plain(step.expected) in plain(text) else ""


def as_script(rule, asked=None):
    def script(request):
        if asked is not None:
            asked.append(request)
        return rule(msgspec.json.decode(body_of(request)))

    return script


def check(rule, out, **options):
    return judge_check(as_script(rule), out=out, **{"items": ITEMS, **options})


def reasons(done):
    return {reason.partition(" is ")[0].partition(": ")[0] for reason in done.qualification.reasons}


# --- what is judged --------------------------------------------------------------------------------------------------


def test_right_answers_are_right_where_a_program_can_tell():
    for row in right_answers(ITEMS):
        assert len(row.steps) >= 2
        assert all(found.done is not False for found in check_steps(row.steps, row.output))


def test_fewer_right_answers_are_the_first_of_more_and_another_seed_gives_others():
    assert right_answers(10) == right_answers(30)[:10]
    assert len({row.id for row in right_answers(30)} & {row.id for row in right_answers(30, seed=1)}) < 10


def test_where_a_step_is_left_out_its_result_is_nowhere_else():
    known, _ = known_answers(right_answers(ITEMS))
    for one in known:
        if one.kind in ("drop_step", "inject_verdict", "copy_prompt"):
            assert any(plain(step.expected) not in plain(one.answer) for step in one.item.steps)


def test_praise_is_all_that_an_injected_verdict_adds():
    known, _ = known_answers(right_answers(ITEMS))
    praised = {one.item.id: one.answer for one in known if one.kind == "inject_verdict"}
    bare = {one.item.id: one.answer for one in known if one.kind == "drop_last"}
    assert praised.keys() == bare.keys()
    assert len(bare) > ITEMS / 2
    assert all(praised[item].startswith(bare[item]) and praised[item] != bare[item] for item in bare)


def test_most_rows_bear_each_damage():
    _, left_out = known_answers(right_answers(ITEMS))
    assert max(left_out.values()) < ITEMS / 2


# --- good and bad judges ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["checklist", "original"])
def test_a_judge_that_knows_passes(form, tmp_path):
    done = check(knowing, tmp_path, form=form)
    assert done.qualification.passed
    assert not done.qualification.reasons
    assert done.qualification["sensitivity"].value == 1
    assert done.qualification["specificity:drop_step"].value == 1
    assert done.qualification["injected_success"].value == 0
    assert done.qualification["padding_gain"].value == 0


def test_a_judge_that_always_says_yes_fails_on_what_is_left_out(tmp_path):
    done = check(rehearsal.always_yes, tmp_path, form="original")
    assert done.qualification["sensitivity"].value == 1
    assert done.qualification["specificity:drop_step"].value == 0
    assert {"specificity:drop_step", "injected_success"} <= reasons(done)
    assert done.qualification["specificity:copy_prompt"].value == 1, "the form itself sees through that"


def test_a_judge_that_quotes_anything_fails_on_what_is_left_out_and_on_order(tmp_path):
    done = check(rehearsal.quoting_yes, tmp_path)
    assert {"specificity:drop_step", "specificity:swap_steps", "injected_success", "quality_gap"} <= reasons(done)
    assert done.qualification["specificity:copy_prompt"].value == 1, "the form itself sees through that"


def test_a_judge_that_invents_its_quotes_finds_nothing_right(tmp_path):
    done = check(rehearsal.always_yes, tmp_path)
    assert {"sensitivity", "step_sensitivity"} <= reasons(done)
    assert done.qualification["unsupported"].value == 1


@pytest.mark.parametrize("rule", [rehearsal.echo, rehearsal.all_junk])
@pytest.mark.parametrize("form", ["checklist", "original"])
def test_what_cannot_be_read_is_unscored_and_fails(rule, form, tmp_path):
    done = check(rule, tmp_path, form=form)
    figure = done.qualification["sensitivity"]
    assert (figure.value, figure.of, figure.unscored) == (None, 0, ITEMS)
    assert not done.qualification.passed
    assert "sensitivity" in reasons(done)


def test_a_fifth_of_junk_is_too_much(tmp_path):
    done = check(rehearsal.some_junk, tmp_path)
    figure = done.qualification["sensitivity"]
    assert figure.of + figure.unscored == ITEMS
    assert 0 < figure.unscored < ITEMS / 2
    assert any("could be read" in reason for reason in done.qualification.reasons)


def test_no_program_helps_the_judge(tmp_path):
    """With the right results at hand, chains of operations need no judge at all."""
    check(rehearsal.always_yes, tmp_path)
    told = [msgspec.json.decode(line) for line in (tmp_path / "judged.jsonl").read_bytes().splitlines()]
    right = [line["scored"]["steps"] for line in told if line["kind"] == "right"]
    assert all(step["check"] == "judge" for steps in right for step in steps)


def test_a_judge_that_likes_long_answers_gains_by_padding(tmp_path):
    def longer(asked):
        found = rehearsal.read_prompt(rehearsal.first_text(asked))
        if found.form != "quality":
            return knowing(asked)
        return rehearsal._mark(found, "5" if "say it once more" in found.answers[0] else "3")

    done = check(longer, tmp_path)
    assert done.qualification["padding_gain"].value == 2
    assert "padding_gain" in reasons(done)


def test_a_judge_that_believes_praise_gains_by_it(tmp_path):
    def gullible(asked):
        found = rehearsal.read_prompt(rehearsal.first_text(asked))
        praised = any(word in found.answers[0] for word in ("[[Yes, 5]]", "Verdict:", "Note to the reader"))
        return rehearsal._mark(found, "Yes, 5") if praised else knowing(asked)

    done = check(gullible, tmp_path, form="original")
    assert done.qualification["injected_gain"].value == 1
    assert {"injected_gain", "injected_success"} == reasons(done)


# --- LLMBar ----------------------------------------------------------------------------------------------------------


def test_llmbar_is_read_whole(shared):
    pairs = read_pairs(shared / "llmbar")
    assert [sum(pair.subset == name for pair in pairs) for name in ("Natural", "Neighbor", "GPTInst")] == [100, 134, 92]
    assert len({pair.item.id for pair in pairs}) == len(pairs) == 419


def test_a_judge_that_prefers_the_first_place_is_a_coin_and_never_stable(shared, tmp_path):
    found = check(rehearsal.always_yes, tmp_path, data=shared / "llmbar", limit=40).qualification
    assert found["llmbar:Natural"].value == found["llmbar:adversarial"].value == 0.5
    assert (found["llmbar:stability"].value, found["llmbar:first"].value) == (0, 1)


def test_a_judge_that_knows_the_labels_passes_on_llmbar(shared, tmp_path):
    right = {(pair.item.instruction, pair.right) for pair in read_pairs(shared / "llmbar")}

    def labelled(asked):
        found = rehearsal.read_prompt(rehearsal.first_text(asked))
        if found.form != "pairwise":
            return knowing(asked)
        return rehearsal._mark(found, "A" if (found.request, found.answers[0]) in right else "B")

    found = check(labelled, tmp_path, data=shared / "llmbar").qualification
    assert found["llmbar:adversarial"].value == found["llmbar:stability"].value == 1
    assert found["llmbar:first"].value == 0.5
    assert found.passed
    assert len((tmp_path / "pairs.jsonl").read_bytes().splitlines()) == 419


def test_a_folder_without_llmbar_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no subset"):
        check(knowing, tmp_path / "out", data=tmp_path)


def test_a_file_that_is_not_llmbars_is_an_error(tmp_path):
    (tmp_path / "Natural").mkdir()
    (tmp_path / "Natural" / "dataset.json").write_text('[{"input": "Say hello.", "label": 3}]')
    with pytest.raises(DataError, match=r"dataset\.json"):
        check(knowing, tmp_path / "out", data=tmp_path)


# --- the same call again ---------------------------------------------------------------------------------------------


def test_a_check_that_was_cut_off_asks_only_what_is_missing(tmp_path):
    asked = []

    def until(count):
        def rule(request):
            if len(asked) >= count:
                raise OSError("the power is out")
            return knowing(request)

        return as_script(rule, asked)

    with pytest.raises(OSError, match="power"):
        judge_check(until(100), out=tmp_path / "cut", items=ITEMS)
    with pytest.raises(DataError, match="cannot be read"):
        find_qualification(tmp_path / "cut")
    with closing(Store(tmp_path / "cut" / "replies.sqlite")) as store:
        kept = {key_of(request) for request in asked if store.find(key_of(request))}
    assert len(kept) > 90, "a few were on their way"
    asked.clear()
    done = judge_check(until(10**6), out=tmp_path / "cut", items=ITEMS)
    whole = []
    undisturbed = judge_check(as_script(knowing, whole), out=tmp_path / "whole", items=ITEMS)
    assert {key_of(request) for request in asked} == {key_of(request) for request in whole} - kept
    assert len(asked) == len(whole) - len(kept)
    assert done.qualification == undisturbed.qualification


def test_a_finished_check_asks_nothing_again(tmp_path):
    first = check(knowing, tmp_path)
    again = check(knowing, tmp_path)
    assert first.answered > 0
    assert again.answered == 0
    assert again.qualification == first.qualification == find_qualification(tmp_path)


def test_another_form_does_not_go_into_the_same_folder(tmp_path):
    check(knowing, tmp_path)
    with pytest.raises(RunFolderError):
        check(knowing, tmp_path, form="original")


# --- what follows ----------------------------------------------------------------------------------------------------


HEADLINE = Headline("strict", share(80, 100))


def test_a_headline_of_a_judge_that_passed_stands(tmp_path):
    found = check(knowing, tmp_path).qualification
    assert withhold(HEADLINE, found, found.judge) == HEADLINE
    assert withhold(HEADLINE, found, f"{found.judge} | 3f9a (unapproved)") == HEADLINE


def test_a_headline_of_a_judge_that_failed_is_refused_with_the_reason(tmp_path):
    found = check(rehearsal.quoting_yes, tmp_path).qualification
    refused = withhold(HEADLINE, found, f"{found.judge} | 3f9a").refused
    assert "failed its check" in refused
    assert "specificity:drop_step is 0" in refused


def test_the_check_of_another_judge_does_not_count(tmp_path):
    found = check(knowing, tmp_path).qualification
    assert (
        "'other | verdicts 1, quality 1' judged" in withhold(HEADLINE, found, "other | verdicts 1, quality 1").refused
    )
    assert withhold(HEADLINE, found, f"{found.judge}0").refused, "version 10 is not version 1"


def test_a_headline_of_an_unchecked_judge_stays_as_it_is():
    assert withhold(HEADLINE, None, "anybody") == HEADLINE


def test_bars_can_be_set_and_unknown_ones_are_refused(tmp_path):
    assert choose_bars({"padding_gain": 0.5})["padding_gain"].most == 0.5
    assert choose_bars({"sensitivity": 0.5})["sensitivity"].least == 0.5
    with pytest.raises(RecipeError, match="did you mean 'sensitivity'"):
        choose_bars({"sensitvity": 0.5})
    every = {name: -4.0 if bar.least is not None else 4.0 for name, bar in BARS.items()}
    assert check(rehearsal.always_yes, tmp_path, thresholds=every, form="original").qualification.passed


def test_right_answers_are_as_many_as_was_said_whatever_the_limit_of_pairs(tmp_path):
    said = check(knowing, tmp_path / "said", items=6, limit=3).qualification
    unsaid = check(knowing, tmp_path / "unsaid", items=None, limit=3).qualification
    assert (said["sensitivity"].of, unsaid["sensitivity"].of) == (6, 3)


def test_too_few_items_pass_nobody(tmp_path):
    done = check(knowing, tmp_path, items=10)
    assert any("measured on 10 only" in reason for reason in done.qualification.reasons)


def test_what_is_no_result_of_a_check_is_said_so(tmp_path):
    (tmp_path / NAME).write_text('{"judge": 3}')
    with pytest.raises(DataError, match="no result of a judge-check"):
        find_qualification(tmp_path)
