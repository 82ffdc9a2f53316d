"""The suite `chains`: steps are asked on what stood there, the tax tells what it leaves out, a dump wins nothing."""

from itertools import permutations

import pytest

from seqtune.building.gold import find_operation
from seqtune.evaluation.answers import Answer
from seqtune.evaluation.scoring import score_steps, score_suite
from seqtune.evaluation.suite import GROUP
from seqtune.evaluation.suites.generated_chains import SINGLES, chains
from seqtune.evaluation.tax import chain_taxes

FORMS = (
    "{}",
    "- {}",
    "{n}. {}",
    "Step {n}: {}",
    "**Step {n}**\n{}",
    "**Step {n}:**\n\n{}",
    "### Step {n}\n{}",
    "**{}**",
)


def strict(item, text):
    return score_steps(item, text).measures["strict"]


def answered(suite, text_of):
    texts = {item.id: text_of(i, item) for i, item in enumerate(suite.items)}
    return {item: Answer(item, "m", text) for item, text in texts.items() if text is not None}


# --- single steps


@pytest.mark.parametrize("given", ["nothing", "right", "wrong", "all"])
def test_what_is_right_of_a_single_step_follows_from_the_text_that_it_is_asked_on(given):
    suite = chains((2, 3), per_length=20, given=given, singles=True)
    by_id = {item.id: item for item in suite.items}
    asked = [item for item in suite.items if SINGLES in item.meta]
    assert asked
    for chain in asked:
        singles = [by_id[one] for one in chain.meta[SINGLES]]
        assert [one.steps[0].expected for one in singles] == [step.expected for step in chain.steps]
        for one in singles:
            step = one.steps[0]
            assert find_operation(step.check).run(one.input, **step.args) == step.expected


# --- the chain tax


def test_splits_have_a_tax_each_in_the_order_in_which_they_come():
    suite = chains((2, 3), per_length=20, wordings="both", singles=True)
    known = {item.id for item in suite.items if "unseen wordings" not in str(item.meta[GROUP])}
    answers = answered(suite, lambda i, item: item.output if item.id in known else "no")
    found = chain_taxes(suite.items, score_suite(suite, answers))
    assert all((one.chains, one.left_out) == (20, 0) for one in found)
    assert [(one.group, one.steps, one.tax.value) for one in found] == [
        ("", 2, 0.0), ("", 3, 0.0), ("unseen wordings", 2, 1.0), ("unseen wordings", 3, 1.0),
    ]  # fmt: skip


def test_chains_are_left_out_where_they_or_one_of_their_steps_have_no_answer_and_are_counted():
    suite = chains((2,), per_length=60, singles=True)
    answers = answered(suite, lambda i, item: item.output if i % 3 else None)
    [tax] = chain_taxes(suite.items, score_suite(suite, answers))
    assert tax.left_out > 0
    assert tax.chains + tax.left_out == 60
    assert chain_taxes(suite.items, []) == []


# --- answers without marks


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "around", ["{}", "Of course.\n\n{}", "{}\n\nThat is all.", "Here you are:\n{}\n\nThat is all."]
)
def test_results_on_lines_count_with_labels_an_introduction_and_a_closing_line(form, around):
    for item in chains((1, 2, 3), per_length=15).items:
        lines = [form.format(step.expected, n=n) for n, step in enumerate(item.steps, 1)]
        assert strict(item, around.format("\n".join(lines))) == 1.0


def test_a_missing_line_costs_its_step_and_no_other():
    for item in chains((3,), per_length=20).items:
        results = [step.expected for step in item.steps]
        if len({*results}) == 3:
            assert score_steps(item, "\n".join(results[1:])).measures["soft"] == pytest.approx(2 / 3)


def test_who_writes_all_that_could_be_right_has_done_nothing():
    for item in chains((1, 2, 3), per_length=30).items:
        words = item.input.split()
        some = [" ".join(ones) for size in range(1, len(words) + 1) for ones in permutations(words, size)]
        for text in (
            "\n".join(some * 3),
            "\n".join(f"**{one}**" for one in some * 3),
            f"{item.output}\n" + "\n".join(some),
        ):
            assert strict(item, text.replace(":", "")) == 0.0
    assert not any(strict(item, "\n".join(item.input.split())) for item in chains((1,), per_length=100).items)
