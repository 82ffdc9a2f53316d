"""Preference: right answers against damaged ones, and tries against each other, on our own token ids."""

import copy
import math
from random import Random

import pytest
from msgspec import structs

from seqtune.data.example import Example, Step, Turn
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.suite import chain_maker

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

import families  # noqa: E402

from seqtune.training.model import Loaded  # noqa: E402
from seqtune.training.pairs import render_pairs  # noqa: E402
from seqtune.training.preference import tune_by_pairs, tune_by_reward  # noqa: E402
from seqtune.training.rendering import end_mark, prompt_ids  # noqa: E402
from seqtune.training.rewards import render_questions, step_reward  # noqa: E402
from seqtune.training.words import END, word_tokenizer  # noqa: E402

SAY_YES = Example("Say it.", "yes", "yes", steps=(Step("say it", "yes", check="first_word"),))


@pytest.fixture(scope="module")
def rows():
    maker, rng = chain_maker(), Random(0)
    return [maker.draw(2, rng, for_training=True) for _ in range(32)]


@pytest.fixture(scope="module")
def tokenizer(rows):
    return word_tokenizer([f"{row.instruction}\n{row.input}\n{row.output}" for row in (*rows, SAY_YES)])


@pytest.fixture
def loaded(tokenizer):
    transformers.set_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return Loaded(transformers.LlamaForCausalLM(config), tokenizer)


def log_likelihood(model, prompt, answer):
    """Of the answer after the prompt, computed without TRL."""
    with torch.no_grad():
        scores = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return scores.gather(1, torch.tensor(answer)[:, None]).sum().item()


def margin(model, pair):
    return log_likelihood(model, pair.prompt, pair.chosen) - log_likelihood(model, pair.prompt, pair.rejected)


def pairs_of(rows, tokenizer, **options):
    return render_pairs(rows, tokenizer, **{"seed": 0, "max_length": 256, **options})


def tuned(loaded, pairs, folder, **options):
    lines = []
    defaults = {"seed": 0, "steps": 6, "learning_rate": 1e-2, "pairs_per_step": 8, "folder": folder}
    tune_by_pairs(loaded, pairs, **{**defaults, **options}, say=lines.append)
    return lines


# --- pairs


def test_a_pair_is_the_prompt_as_it_is_asked_and_two_answers_with_their_end(rows, tokenizer):
    pairs, unused = pairs_of(rows, tokenizer)
    assert len(pairs) == 32
    assert unused == []
    for row, pair in zip(rows, pairs, strict=True):
        assert pair.prompt == prompt_ids(row, tokenizer)
        assert tokenizer.decode(pair.chosen) == row.output + END
        assert tokenizer.decode(pair.rejected).endswith(END)
        assert tokenizer.decode(pair.rejected) != row.output + END


@pytest.mark.parametrize("family", ["llama3", "qwen3", "mistral", "gemma"])
def test_in_every_family_of_models_both_answers_end_with_the_token_that_ends_a_turn(rows, family):
    tokenizer = getattr(families, family)()
    pairs, unused = pairs_of(rows, tokenizer, max_length=10_000)
    assert unused == []
    end = tokenizer.convert_tokens_to_ids(end_mark(tokenizer))
    for row, pair in zip(rows, pairs, strict=True):
        assert pair.prompt == prompt_ids(row, tokenizer)
        assert pair.chosen[-1] == pair.rejected[-1] == end
        assert end not in pair.chosen[:-1] + pair.rejected[:-1]


def test_rows_that_bear_no_pair_are_listed_with_the_reason(rows, tokenizer):
    one = structs.replace(rows[0], steps=rows[0].steps[:1])
    chat = structs.replace(rows[1], turns=(Turn("user", "?"), Turn("assistant", "!")))
    pairs, unused = pairs_of([one, chat, rows[2]], tokenizer)
    assert [pair.id for pair in pairs] == [rows[2].id]
    assert [line.id for line in unused] == [one.id, chat.id]
    assert unused[0].reason == "the row has fewer than two steps"
    shortest = min(pair.length for pair in pairs_of(rows, tokenizer)[0])
    short, long = pairs_of(rows, tokenizer, max_length=shortest)
    assert all(pair.length == shortest for pair in short)
    assert {line.reason for line in long} == {f"longer than {shortest} tokens"}
    assert all(line.tokens > shortest for line in long)


def test_without_any_pair_there_is_nothing_to_learn_from(rows, tokenizer):
    with pytest.raises(DataError, match="no row bears a preference pair: the row has fewer than two steps"):
        pairs_of([SAY_YES], tokenizer)


# --- DPO


def test_at_the_start_the_model_prefers_what_it_always_preferred(rows, tokenizer, loaded, tmp_path):
    pairs, _ = pairs_of(rows, tokenizer)
    lines = tuned(loaded, pairs, tmp_path, likelihood=0.0)
    assert lines[0].loss == pytest.approx(math.log(2), abs=1e-4)  # no gain yet over what it was
    assert lines[-1].step == lines[-1].steps == 6
    assert lines[-1].tokens > lines[0].tokens > 0


def test_the_likelihood_that_is_trained_is_that_of_the_right_answers_and_their_ends_and_of_nothing_else(
    rows, tokenizer, loaded, tmp_path
):
    pairs, _ = pairs_of(rows, tokenizer)
    whole = sum(log_likelihood(loaded.model, pair.prompt, pair.chosen) for pair in pairs)
    mean = -whole / sum(len(pair.chosen) for pair in pairs)
    (line, *_) = tuned(loaded, pairs, tmp_path, likelihood=2.0, steps=1, pairs_per_step=len(pairs))
    assert line.loss == pytest.approx(math.log(2) + 2.0 * mean, rel=1e-4)


def test_right_answers_gain_on_damaged_ones_and_with_their_likelihood_they_gain_by_themselves(
    rows, tokenizer, loaded, tmp_path
):
    pairs, _ = pairs_of(rows, tokenizer)
    before = [margin(loaded.model, pair) for pair in pairs]
    chosen = [log_likelihood(loaded.model, pair.prompt, pair.chosen) for pair in pairs]
    tuned(loaded, pairs, tmp_path, likelihood=1.0, steps=8)
    gains = [margin(loaded.model, pair) - old for pair, old in zip(pairs, before, strict=True)]
    assert sum(gain > 0 for gain in gains) > 24
    now = [log_likelihood(loaded.model, pair.prompt, pair.chosen) for pair in pairs]
    assert all(new > old for new, old in zip(now, chosen, strict=True))


def test_the_same_seed_gives_the_same_model_and_the_model_is_left_as_it_was_made(rows, tokenizer, loaded, tmp_path):
    pairs, _ = pairs_of(rows, tokenizer)
    again = Loaded(copy.deepcopy(loaded.model), tokenizer)
    for one in (loaded, again):
        tuned(one, pairs, tmp_path, steps=3)
        assert "forward" not in one.model.__dict__
    both = zip(loaded.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in both)


def test_an_adapter_is_compared_with_what_it_was_and_stays_the_only_one(rows, tokenizer, loaded, tmp_path):
    peft = pytest.importorskip("peft")
    pairs, _ = pairs_of(rows, tokenizer)
    base = copy.deepcopy(loaded.model)
    adapted = Loaded(peft.get_peft_model(loaded.model, peft.LoraConfig(r=2, target_modules=["q_proj"])), tokenizer)
    lines = tuned(adapted, pairs, tmp_path, likelihood=0.0, steps=3)
    assert lines[0].loss == pytest.approx(math.log(2), abs=1e-4)
    assert [*adapted.model.peft_config] == ["default"]
    with adapted.model.disable_adapter():
        assert margin(adapted.model, pairs[0]) == pytest.approx(margin(base, pairs[0]), abs=1e-4)


def test_a_field_that_trl_does_not_know_is_refused(rows, tokenizer, loaded, tmp_path):
    pairs, _ = pairs_of(rows, tokenizer)
    with pytest.raises(RecipeError, match="betta"):
        tuned(loaded, pairs, tmp_path, trl={"betta": 1})


# --- rewards and GRPO


def test_the_reward_is_the_share_of_steps_done_in_order_by_an_answer_that_ends(rows):
    for row in rows:
        first, second = row.output.splitlines()
        assert step_reward(row, row.output, ended=True) == 1.0
        assert step_reward(row, first, ended=True) == 0.5
        assert step_reward(row, f"{second}\n{first}", ended=True) == 0.5
        assert step_reward(row, "", ended=True) == 0.0
        assert step_reward(row, row.output, ended=False) == 0.0


def test_rows_that_cannot_be_rewarded_are_listed_with_the_reason(rows, tokenizer):
    free = Example("Say hello.", "", "Hello!", steps=(Step("say hello"),))
    wrong = structs.replace(rows[0], output="I will not.")
    questions, unused = render_questions([free, wrong, rows[1]], tokenizer, max_length=256)
    assert [question.example.id for question in questions] == [rows[1].id]
    assert questions[0].prompt == prompt_ids(rows[1], tokenizer)
    assert [line.reason for line in unused] == [
        "no step of the row can be checked by a program",
        "the row's own answer does not do every step in order",
    ]
    with pytest.raises(DataError, match="no row can be rewarded: no step of the row"):
        render_questions([free], tokenizer, max_length=256)


def rewarded(loaded, questions, folder, **options):
    lines = []
    defaults = {"seed": 0, "steps": 4, "learning_rate": 1e-2, "questions_per_step": 4, "answers": 4, "folder": folder}
    tune_by_reward(loaded, questions, **{**defaults, **options}, say=lines.append)
    return lines


def test_tries_that_are_all_worth_the_same_teach_nothing(rows, tokenizer, loaded, tmp_path):
    questions, _ = render_questions(rows, tokenizer, max_length=256)
    before = copy.deepcopy(loaded.model)
    lines = rewarded(loaded, questions, tmp_path, steps=2, max_new_tokens=4)
    assert lines[-1].score == 0.0  # no answer has its end within four tokens
    both = zip(loaded.model.parameters(), before.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in both)


def teach(model, prompt, answer, until):
    """Train on one answer until it is so likely: likely enough that some tries are right, and some are not."""
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    labels = torch.tensor([[-100] * len(prompt) + answer])
    while log_likelihood(model, prompt, answer) < until:
        optimiser.zero_grad()
        model(torch.tensor([prompt + answer]), labels=labels).loss.backward()
        optimiser.step()


def test_what_is_rewarded_becomes_likelier(tokenizer, loaded, tmp_path):
    questions, _ = render_questions([SAY_YES] * 4, tokenizer, max_length=256)
    prompt = questions[0].prompt
    answer = tokenizer("yes")["input_ids"] + [tokenizer.eos_token_id]
    teach(loaded.model, prompt, answer, until=-1.5)
    before = log_likelihood(loaded.model, prompt, answer)
    lines = rewarded(loaded, questions, tmp_path, steps=10, answers=8, learning_rate=3e-3)
    assert 0 < lines[0].score < 1
    assert log_likelihood(loaded.model, prompt, answer) > before + 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"answers": 1}, "TRL refuses the settings: .*at least 2"),
        ({"accumulate": 3}, "a step of 16 rows cannot be done in 3 equal parts"),
    ],
)
def test_settings_from_which_nothing_could_be_learnt_are_refused(rows, tokenizer, loaded, tmp_path, options, message):
    questions, _ = render_questions(rows, tokenizer, max_length=256)
    with pytest.raises(RecipeError, match=message):
        rewarded(loaded, questions, tmp_path, **options)


def test_a_step_takes_no_more_questions_than_there_are(rows, tokenizer, loaded, tmp_path):
    questions, _ = render_questions(rows[:2], tokenizer, max_length=256)
    with pytest.raises(DataError, match="a step takes 4 questions and there are 2"):
        rewarded(loaded, questions, tmp_path)
