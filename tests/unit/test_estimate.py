"""What a build with a teacher will ask and cost, before it is spent."""

import json
from pathlib import Path

import pytest

from seqtune.building.engine import build, plan
from seqtune.building.estimate import estimate

WORDS = ("kale", "mint", "sage", "dill", "leek", "beet", "rice", "corn", "oats", "peas")
ROWS = [{"instruction": f"Write about {a} and {b}, {i} words.", "input": f"{b} {a}"} for i, (a, b) in
        enumerate((a, b) for a in WORDS for b in WORDS)]  # fmt: skip


@pytest.fixture
def planned(rows_file, tmp_path):
    def make(llm="https://api.openai.com/v1#gpt-4o-mini", **options):
        options = {
            "chain": "seq_instruct",
            "out": str(tmp_path / "out"),
            "store": str(tmp_path / "r.sqlite"),
            **options,
        }
        return plan(from_=rows_file(ROWS), llm=llm, **options)

    return make


def words_for_all(request):
    """A teacher that tells its usage: a token for every four bytes."""
    import msgspec

    from seqtune.building.rehearsal import answer
    from seqtune.llm.reply import Reply
    from seqtune.llm.request import body_of

    body = body_of(request)
    text = answer(msgspec.json.decode(body))
    return Reply(text, "stop", prompt_tokens=len(body) // 4, completion_tokens=len(text) // 4)


TEACHER = "scripted:test_estimate:words_for_all"


def test_nothing_is_asked_or_written_and_every_stage_has_its_range(planned, tmp_path):
    found = estimate(planned())
    assert (found.rows, found.asked) == (100, False)
    assert found.stages.keys() == {"grow", "respond", "judge"}
    for stage in found.stages.values():
        assert 0 < stage.requests.low < stage.requests.high
        assert 0 < stage.prompt_tokens.low < stage.prompt_tokens.high
    cost = found.total.cost_usd
    assert 0 < cost.low < cost.high
    assert not [*tmp_path.glob("*.sqlite"), *tmp_path.glob("out")]


def test_a_server_of_ones_own_has_no_price_unless_it_is_given(planned):
    assert estimate(planned("http://127.0.0.1:8000/v1#gpt-4o-mini")).total.cost_usd is None
    given = estimate(planned("http://127.0.0.1:8000/v1#m", price="1,2")).stages["grow"]
    tokens = given.prompt_tokens.low + 2 * given.completion_tokens.low
    assert given.cost_usd.low == pytest.approx(tokens / 1e6)


def test_a_price_that_is_given_goes_before_the_listed_one_for_teacher_and_judge(planned):
    stages = estimate(planned(judge="https://api.openai.com/v1#gpt-4o", price="1,2")).stages
    for stage in (stages["grow"], stages["judge"]):
        assert stage.cost_usd.low == pytest.approx((stage.prompt_tokens.low + 2 * stage.completion_tokens.low) / 1e6)


def test_the_judge_has_a_price_of_its_own_and_batches_cost_half(planned):
    cheap = estimate(planned()).stages
    dear = estimate(planned(judge="https://api.openai.com/v1#gpt-4o")).stages
    half = estimate(planned(batch=True)).stages
    assert dear["grow"].cost_usd == cheap["grow"].cost_usd
    assert dear["judge"].cost_usd.low > 5 * cheap["judge"].cost_usd.low
    assert half["grow"].cost_usd.low == pytest.approx(cheap["grow"].cost_usd.low / 2)


def test_an_asked_sample_is_kept_and_its_range_holds_what_the_build_then_uses(
    planned, tmp_path, monkeypatch, rows_file
):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    found = estimate(planned(TEACHER), sample_rows=25)
    assert (found.sampled, found.asked) == (25, True)
    store = str(tmp_path / "r.sqlite")
    built = build(from_=rows_file(ROWS), chain="seq_instruct", llm=TEACHER, out=str(tmp_path / "out"), store=store)
    assert built.teacher["from_store"] >= 25
    for name, stage in built.teacher["stages"].items():
        expected = found.stages[name]
        assert expected.requests.low <= stage["calls"] <= expected.requests.high
        assert expected.prompt_tokens.low <= stage["prompt_tokens"] <= expected.prompt_tokens.high


def test_the_models_own_replies_in_the_store_take_the_place_of_the_rule_of_thumb(planned, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    by_thumb = estimate(planned("http://127.0.0.1:8000/v1#scripted"))
    estimate(planned(TEACHER), sample_rows=20)
    known = estimate(planned("http://127.0.0.1:8000/v1#scripted"))
    assert by_thumb.known == 0 < known.known
    wide, narrow = by_thumb.total.prompt_tokens, known.total.prompt_tokens
    assert narrow.high / narrow.low < wide.high / wide.low


def test_without_rows_there_is_nothing_to_pay(planned, rows_file, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"turns": 3}) + "\n" + json.dumps({"instruction": "Name a town."}) + "\n")
    found = estimate(plan(from_=str(path), chain="seq_instruct", llm="http://127.0.0.1:8000/v1#m", limit=1))
    assert found.rows == 0
    assert found.total.requests == (0, 0)
