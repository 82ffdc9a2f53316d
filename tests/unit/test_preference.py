"""Preference: right answers against damaged ones, and tries against each other, on our own token ids."""

import copy
import json
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from seqtune.building.checking import share_in_order
from seqtune.building.damage import STEP_DAMAGES
from seqtune.building.gold import Skip, find_operation, operations
from seqtune.data.example import Example, Step, Turn
from seqtune.errors import DataError, RecipeError, RunFolderError
from seqtune.evaluation.suites.generated_chains import chain_maker

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

import families  # noqa: E402

from seqtune.evaluation.answers import answer  # noqa: E402
from seqtune.training.model import Loaded  # noqa: E402
from seqtune.training.outlook import look_ahead  # noqa: E402
from seqtune.training.pairs import render_pairs  # noqa: E402
from seqtune.training.plan import Plan  # noqa: E402
from seqtune.training.preference import optimise_preference  # noqa: E402
from seqtune.training.preferring import figures_of, plan_preference, warnings_after, warnings_before  # noqa: E402
from seqtune.training.rendering import end_mark, prompt_ids  # noqa: E402
from seqtune.training.rewards import render_questions, step_reward  # noqa: E402
from seqtune.training.run import train  # noqa: E402
from seqtune.training.settings import LoraSettings, TrainSettings  # noqa: E402
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


def settings_of(method, **options):
    values = {"dataset": "rows", "model": "some/model", "out": "run", "learning_rate": 1e-2, "warmup": 0.0}
    return TrainSettings(method=method, **{**values, **options}).resolved()


def tuned(method, loaded, rows, folder, *, steps, **options):
    """The lines said while the first steps of a training are done."""
    lines, settings = [], settings_of(method, **options)
    plan = plan_preference(len(rows), settings.model_copy(update={"epochs": steps}))
    first = Plan([plan.steps[:steps]])
    optimise_preference(loaded, rows, first, settings, bfloat16=False, folder=folder, say=lines.append)
    return lines


def preferred(loaded, pairs, folder, *, steps=6, **options):
    return tuned("dpo", loaded, pairs, folder, steps=steps, **{"rows_per_step": 8, **options})


# --- pairs


def test_a_pair_is_the_prompt_as_it_is_asked_and_two_answers_with_their_end(rows, tokenizer):
    found = pairs_of(rows, tokenizer)
    assert (len(found.rows), found.examples, found.unused) == (32, rows, [])
    for row, pair in zip(rows, found.rows, strict=True):
        assert pair.id == f"{row.id}/{pair.kind}"
        assert pair.prompt == prompt_ids(row, tokenizer)
        assert tokenizer.decode(pair.chosen) == row.output + END
        assert tokenizer.decode(pair.rejected).endswith(END)
        assert tokenizer.decode(pair.rejected) != row.output + END


@pytest.mark.parametrize("family", ["llama3", "qwen3", "mistral", "gemma"])
def test_in_every_family_of_models_both_answers_end_with_the_token_that_ends_a_turn(rows, family):
    tokenizer = getattr(families, family)()
    found = pairs_of(rows, tokenizer, max_length=10_000)
    assert found.unused == []
    end = tokenizer.convert_tokens_to_ids(end_mark(tokenizer))
    for row, pair in zip(rows, found.rows, strict=True):
        assert pair.prompt == prompt_ids(row, tokenizer)
        assert pair.chosen[-1] == pair.rejected[-1] == end
        assert end not in pair.chosen[:-1] + pair.rejected[:-1]


def test_rows_that_bear_no_pair_are_listed_with_the_reason(rows, tokenizer):
    one = structs.replace(rows[0], steps=rows[0].steps[:1])
    chat = structs.replace(rows[1], turns=(Turn("user", "?"), Turn("assistant", "!")))
    found = pairs_of([one, chat, rows[2]], tokenizer, kinds=["drop_step", "swap_steps"])
    assert [pair.row for pair in found.rows] == [rows[2].id]
    assert [line.id for line in found.unused] == [one.id, chat.id]
    assert found.unused[0].reason == "the row has fewer than two steps"
    shortest = min(pair.length for pair in pairs_of(rows, tokenizer).rows)
    cut = pairs_of(rows, tokenizer, max_length=shortest)
    assert all(pair.length == shortest for pair in cut.rows)
    assert {line.reason for line in cut.unused} == {f"the row has more than {shortest} tokens"}
    assert all(line.tokens > shortest for line in cut.unused)


@pytest.mark.parametrize(
    ("options", "said"), [({"strict": True}, "is a dialogue"), ({"too_long": "error"}, "more than")]
)
def test_a_row_that_may_not_be_left_out_stops_it(rows, tokenizer, options, said):
    chat = structs.replace(rows[0], turns=(Turn("user", "?"), Turn("assistant", "!")))
    shortest = min(pair.length for pair in pairs_of(rows, tokenizer).rows)
    with pytest.raises(DataError, match=said):
        pairs_of([chat, *rows], tokenizer, max_length=shortest, **options)


def test_without_any_pair_there_is_nothing_to_learn_from(rows, tokenizer):
    with pytest.raises(DataError, match="no row bears a preference pair: the row has fewer than two steps"):
        pairs_of([SAY_YES], tokenizer, kinds=["drop_step"])


def test_rows_of_one_step_and_without_steps_bear_pairs_too(rows, tokenizer):
    plain = Example("Say it twice.", "yes", "yes yes")
    found = pairs_of([SAY_YES, plain], tokenizer)
    assert [pair.kind for pair in found.rows] == ["add_step", "add_step"]
    for pair in found.rows:
        assert len(pair.rejected) > len(pair.chosen)
        assert pair.rejected[: len(pair.chosen) - 1] == pair.chosen[:-1]


def test_pairs_that_teach_a_length_are_told_of(rows, tokenizer):
    def said(examples, kinds):
        pairs = pairs_of(examples, tokenizer, kinds=kinds).rows
        return " ".join(warnings_before(settings_of("dpo"), pairs))

    assert "in 32 of 32 pairs the right answer is the longer one" in said(rows, ["drop_step"])
    assert "in 32 of 32 pairs the right answer is the shorter one" in said(rows, ["add_step"])
    assert said(rows, ["drop_step", "add_step"]) == said(rows, STEP_DAMAGES) == said(rows, ["swap_steps"]) == ""


# --- the plan


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_every_step_is_full_and_each_epoch_takes_every_row_once(rows, size, epochs, seed):
    settings = settings_of("dpo", rows_per_step=size, epochs=epochs, seed=seed)
    if size > rows:
        with pytest.raises(DataError, match=f"a step takes {size} rows and there are {rows}"):
            plan_preference(rows, settings)
        return
    steps = plan_preference(rows, settings).steps
    assert len(steps) == math.ceil(epochs * rows / size)
    assert all(len(batch) == size for (batch,) in steps)
    order = [row for (batch,) in steps for row in batch]
    for epoch in range(epochs):
        assert sorted(order[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_the_figures_of_a_plan_count_both_answers_of_a_pair_and_every_try_of_a_question(rows, tokenizer):
    pairs, settings = pairs_of(rows, tokenizer).rows, settings_of("dpo", rows_per_step=16, accumulate=4)
    found = figures_of(settings, pairs, plan_preference(32, settings))
    assert found["tokens"] == sum(2 * len(p.prompt) + len(p.chosen) + len(p.rejected) for p in pairs)
    assert found["trained_tokens"] == sum(len(p.chosen) + len(p.rejected) for p in pairs)
    assert 0 < found["padding"] < 1
    questions = render_questions(rows, tokenizer, max_length=256).rows
    settings = settings_of("grpo", answers=3, max_new_tokens=7)
    found = figures_of(settings, questions, plan_preference(32, settings))
    assert found["trained_tokens"] == 32 * 3 * 7
    assert found["tokens"] == 3 * sum(len(q.prompt) + 7 for q in questions)


# --- DPO


def test_at_the_start_the_model_prefers_what_it_always_preferred(rows, tokenizer, loaded, tmp_path):
    pairs = pairs_of(rows, tokenizer).rows
    lines = preferred(loaded, pairs, tmp_path, likelihood=0.0)
    assert lines[0].loss == pytest.approx(math.log(2), abs=1e-4)  # no gain yet over what it was
    assert lines[-1].step == lines[-1].steps == 6
    assert lines[-1].tokens > lines[0].tokens > 0


def test_the_likelihood_that_is_trained_is_that_of_the_right_answers_and_their_ends_and_of_nothing_else(
    rows, tokenizer, loaded, tmp_path
):
    pairs = pairs_of(rows, tokenizer).rows
    whole = sum(log_likelihood(loaded.model, pair.prompt, pair.chosen) for pair in pairs)
    mean = -whole / sum(len(pair.chosen) for pair in pairs)
    (line, *_) = preferred(loaded, pairs, tmp_path, likelihood=2.0, steps=1, rows_per_step=len(pairs))
    assert line.loss == pytest.approx(math.log(2) + 2.0 * mean, rel=1e-4)


def test_right_answers_gain_on_damaged_ones_and_with_their_likelihood_they_gain_by_themselves(
    rows, tokenizer, loaded, tmp_path
):
    pairs = pairs_of(rows, tokenizer).rows
    before = [margin(loaded.model, pair) for pair in pairs]
    chosen = [log_likelihood(loaded.model, pair.prompt, pair.chosen) for pair in pairs]
    preferred(loaded, pairs, tmp_path, likelihood=1.0, steps=16)
    gains = [margin(loaded.model, pair) - old for pair, old in zip(pairs, before, strict=True)]
    assert sum(gain > 0 for gain in gains) > 24
    now = [log_likelihood(loaded.model, pair.prompt, pair.chosen) for pair in pairs]
    assert all(new > old for new, old in zip(now, chosen, strict=True))


def test_the_same_seed_gives_the_same_model_and_the_model_is_left_as_it_was_made(rows, tokenizer, loaded, tmp_path):
    pairs = pairs_of(rows, tokenizer).rows
    again = Loaded(copy.deepcopy(loaded.model), tokenizer)
    for one in (loaded, again):
        preferred(one, pairs, tmp_path, steps=3)
        assert "forward" not in one.model.__dict__
    both = zip(loaded.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in both)


def test_an_adapter_is_compared_with_what_it_was_and_stays_the_only_one(rows, tokenizer, loaded, tmp_path):
    peft = pytest.importorskip("peft")
    pairs = pairs_of(rows, tokenizer).rows
    base = copy.deepcopy(loaded.model)
    adapted = Loaded(peft.get_peft_model(loaded.model, peft.LoraConfig(r=2, target_modules=["q_proj"])), tokenizer)
    lines = preferred(adapted, pairs, tmp_path, likelihood=0.0, steps=3, lora=LoraSettings())
    assert lines[0].loss == pytest.approx(math.log(2), abs=1e-4)
    assert [*adapted.model.peft_config] == ["default"]
    with adapted.model.disable_adapter():
        assert margin(adapted.model, pairs[0]) == pytest.approx(margin(base, pairs[0]), abs=1e-4)


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
    found = render_questions([free, wrong, rows[1]], tokenizer, max_length=256)
    assert [question.id for question in found.rows] == [rows[1].id]
    assert found.rows[0].prompt == prompt_ids(rows[1], tokenizer)
    assert [line.reason for line in found.unused] == [
        "no step of the row can be checked by a program",
        "the row's own answer does not do every step in order",
    ]
    with pytest.raises(DataError, match="no row can be rewarded: no step of the row"):
        render_questions([free], tokenizer, max_length=256)


def after_own_task(said, first):
    own = Step("name an animal", "red fox", mark="Animal:")
    steps = (own, Step("take its first word", "red", "after", "first_word", mark="First word:"))
    row = Example("Name an animal, then take the first word of your answer.", "", join_of(steps), steps=steps)
    return row, f"Animal: {said}\nFirst word: {first}"


def join_of(steps):
    return "\n".join(f"{step.mark} {step.expected}" for step in steps)


@pytest.mark.parametrize(
    ("said", "first", "share"), [("red fox", "red", 1.0), ("grey wolf", "grey", 1.0), ("grey wolf", "red", 0.0)]
)
def test_a_step_after_an_unchecked_task_is_checked_on_the_answer_that_was_given(said, first, share):
    row, tried = after_own_task(said, first)
    assert step_reward(row, row.output, ended=True) == 1.0
    assert step_reward(row, tried, ended=True) == share


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(sorted(operations())), st.integers())
def test_no_operation_fails_on_what_a_model_says(said, result, name, seed):
    operation = find_operation(name)
    drawn = operation.draw("one two three four five six", Random(seed)) if operation.draw else {}
    if isinstance(drawn, Skip):
        return
    steps = (Step("say it", "x", mark="A:"), Step("do it", "y", "after", name, drawn, "B:"))
    assert 0 <= share_in_order(steps, f"A: {said}\nB: {result}") <= 1


def test_a_row_whose_right_answer_is_longer_than_a_try_is_left_out_with_the_reason(rows, tokenizer):
    lengths = [question.answer for question in render_questions(rows, tokenizer, max_length=256).rows]
    found = render_questions(rows, tokenizer, max_length=256, longest=min(lengths))
    assert len(found.rows) == lengths.count(min(lengths))
    assert {line.id for line in found.unused} == {
        row.id for row, length in zip(rows, lengths, strict=True) if length > min(lengths)
    }
    assert f"tries are stopped after {min(lengths)}" in found.unused[0].reason
    with pytest.raises(DataError, match="no row can be rewarded: the right answer has"):
        render_questions(rows, tokenizer, max_length=256, longest=2)


def rewarded(loaded, questions, folder, *, steps=4, **options):
    return tuned("grpo", loaded, questions, folder, steps=steps, **{"rows_per_step": 4, "answers": 4, **options})


def test_tries_that_are_all_worth_the_same_teach_nothing(rows, tokenizer, loaded, tmp_path):
    questions = render_questions(rows, tokenizer, max_length=256).rows
    before = copy.deepcopy(loaded.model)
    lines = rewarded(loaded, questions, tmp_path, steps=2, max_new_tokens=4)
    assert lines[-1].score == 0.0  # no answer has its end within four tokens
    assert {line.differing for line in lines} == {0}
    assert any("nothing was learnt" in said for said in warnings_after(settings_of("grpo"), lines))
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
    questions = render_questions([SAY_YES] * 4, tokenizer, max_length=256).rows
    prompt = questions[0].prompt
    answer = tokenizer("yes")["input_ids"] + [tokenizer.eos_token_id]
    teach(loaded.model, prompt, answer, until=-1.5)
    before = log_likelihood(loaded.model, prompt, answer)
    lines = rewarded(loaded, questions, tmp_path, steps=10, answers=8, learning_rate=3e-3)
    assert 0 < lines[0].score < 1
    assert lines[0].differing > 0
    assert [*warnings_after(settings_of("grpo"), lines)] == []
    assert log_likelihood(loaded.model, prompt, answer) > before + 0.1


# --- as a method of training


@pytest.fixture(scope="module")
def folder(rows, tmp_path_factory):
    """A model that has seen the rows a few times."""
    return train(rows, out=tmp_path_factory.mktemp("base") / "run", max_tokens=4_000).model


TRAINED = {
    "dpo": {"rows_per_step": 8, "epochs": 2},
    "grpo": {"rows_per_step": 4, "answers": 4, "max_new_tokens": 24, "epochs": 1},
}


@pytest.mark.parametrize("method", TRAINED)
def test_a_run_folder_tells_what_was_learnt_from(method, rows, folder, tmp_path):
    free = Example("Say hello.", "", "" if method == "dpo" else "Hello!", steps=(Step("say hello"),))
    done = train([*rows, free], folder, out=tmp_path / "run", method=method, learning_rate=1e-3, **TRAINED[method])
    assert (done.rows, done.unused, done.steps) == (32, 1, 8)
    assert (done.out / "unused.jsonl").read_text("utf-8").count("\n") == 1
    assert done.losses[-1].step == 8
    assert all(0 <= line.score <= 1 for line in done.losses)
    assert [json.loads(line)["score"] for line in (done.out / "losses.jsonl").read_text("utf-8").splitlines()] == [
        line.score for line in done.losses
    ]
    assert done.losses[-1].tokens == done.tokens > done.trained_tokens > 0
    settings = json.loads((done.out / "run.json").read_text("utf-8"))["settings"]
    assert settings["method"] == method
    assert settings["beta" if method == "dpo" else "answers"] is not None
    card = (done.model / "README.md").read_text("utf-8")
    assert f"| method | {method} |" in card
    assert "policy optimisation" in card or "direct preference optimisation" in card
    assert len(answer(done.model, rows[:2], max_new_tokens=3)) == 2


def test_rewards_that_teach_nothing_are_told_at_the_end_and_in_the_card(rows, folder, tmp_path):
    told = []
    done = train(rows[:4], folder, out=tmp_path / "run", method="grpo", rows_per_step=4, answers=2, tell=told.append)
    assert {line.differing for line in done.losses} == {0}
    assert any("all rewards were equal" in line for line in told)
    assert "All rewards were equal" in (done.model / "README.md").read_text("utf-8")


def test_rows_with_a_task_that_nobody_checks_are_counted_before_training(rows, folder, tmp_path):
    told, (loose, _) = [], after_own_task("red fox", "red")
    options = {"method": "grpo", "rows_per_step": 4, "answers": 2, "tell": told.append}
    train([*rows[:3], loose], folder, out=tmp_path / "run", **options)
    assert "in 1 of 4 rows a task is not checked" in told[0]
    told.clear()
    train(rows[:4], folder, out=tmp_path / "checked", **options)
    assert not any("not checked" in line for line in told)


@pytest.mark.parametrize("method", TRAINED)
def test_where_lora_is_given_an_adapter_is_trained_and_merges(method, rows, folder, tmp_path):
    pytest.importorskip("peft")
    options = {"method": method, "lora": {"r": 2}, **TRAINED[method], "epochs": 1}
    done = train(rows, folder, out=tmp_path / "run", merge=True, **options)
    assert 0 < done.trained_parameters < 0.1 * done.parameters
    assert (done.out / "adapter" / "adapter_model.safetensors").is_file()
    assert not (done.model / "adapter_config.json").exists()
    assert [path.name for path in (done.out / "adapter").iterdir() if path.is_dir()] == []


def test_a_step_computed_in_parts_is_the_same_step(rows, folder, tmp_path):
    losses = [
        [line.loss for line in train(
            rows, folder, out=tmp_path / str(parts), method="dpo", likelihood=0.0, accumulate=parts,
            learning_rate=1e-3, trl={"logging_steps": 1},
        ).losses]
        for parts in (1, 4)
    ]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_other_rows_or_another_damage_are_another_run(rows, folder, tmp_path):
    options = {"out": tmp_path / "run", "method": "dpo", "rows_per_step": 8}
    train(rows, folder, **options)
    for changed in ({"seed": 1}, {"beta": 0.2}):
        with pytest.raises(RunFolderError, match="another run"):
            train(rows, folder, **options, **changed)


@pytest.mark.parametrize("method", TRAINED)
def test_looking_ahead_counts_what_the_training_then_takes(method, rows, folder, tmp_path):
    options = {"out": tmp_path / "run", "method": method, **TRAINED[method]}
    found, done = look_ahead(rows, folder, **options), train(rows, folder, **options)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert (found.rows, found.unused, found.steps) == (done.rows, done.unused, done.steps)
    assert found.parameters == found.trained_parameters == done.parameters
    if method == "dpo":
        assert (found.tokens, found.trained_tokens) == (done.tokens, done.trained_tokens)
        assert f"reference, as the model was at the start: {done.parameters:.3g} x 4 bytes" in "\n".join(found.lines)
        assert found.seconds
    else:
        assert (found.tokens, found.trained_tokens) >= (done.tokens, done.trained_tokens)
        assert found.seconds is None


def test_of_an_adapter_the_reference_is_a_copy_of_its_weights_alone(rows, folder, tmp_path):
    pytest.importorskip("peft")
    found = look_ahead(rows, folder, out=tmp_path / "run", method="dpo", lora={})
    assert f"reference, as the adapter was at the start: {found.trained_parameters:.3g} x 4" in "\n".join(found.lines)


# --- what is refused


PREFER = {"method": "dpo", "model": "some/model"}
REWARD = {"method": "grpo", "model": "some/model"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "dpo"}, "train.model = tiny: method dpo needs a model that answers already"),
        ({"beta": 0.2}, "train.beta = 0.2: only method dpo has it"),
        ({**PREFER, "answers": 4}, "train.answers = 4: only method grpo has it"),
        ({**REWARD, "likelihood": 1}, "train.likelihood = 1.0: only method dpo has it"),
        ({**PREFER, "packing": True}, "train.packing = True: it means nothing with method dpo"),
        ({**PREFER, "order": "short_chains_first"}, "train.order = short_chains_first: it means nothing"),
        ({**REWARD, "max_tokens": 100}, "train.max_tokens = 100: it means nothing with method grpo"),
        ({**REWARD, "batch_tokens": 100}, "train.batch_tokens = 100: it means nothing with method grpo"),
        ({**REWARD, "too_long": "split"}, "train.too_long = split: it means nothing with method grpo"),
        ({**REWARD, "processes": 2}, "train.processes = 2: method grpo runs in one process"),
        ({**PREFER, "processes": 3}, "train.processes = 3: so many cannot share a step of 16 equally"),
        ({**PREFER, "accumulate": 3}, "train.accumulate = 3: a step of 16 cannot be computed in so many equal parts"),
        ({**PREFER, "merge": True}, "train.merge = True: it writes an adapter"),
        ({**PREFER, "lora": None}, "train.lora = None: give {} for an adapter"),
        ({**PREFER, "lora": {"dropout": 0.1}}, "its dropout does nothing with dpo"),
        ({**PREFER, "beta": 0}, "train.beta = 0"),
        ({**REWARD, "answers": 1}, "train.answers = 1"),
        ({**REWARD, "temperature": 0}, "train.temperature = 0"),
        ({**PREFER, "likelihood": 1, "trl": {"loss_type": ["ipo"]}}, "trl.loss_type names the losses itself"),
        ({**PREFER, "trl": {"bta": 1}}, "trl.DPOConfig has no field 'bta'; did you mean 'beta'"),
        ({**PREFER, "trl": {"beta": 1}}, "set train.beta"),
        ({**REWARD, "trl": {"num_generations": 4}}, "set train.answers"),
        ({**REWARD, "trl": {"beta": 0.1}}, "a program's reward needs no reference model"),
        ({**REWARD, "trl": {"loss_typ": "grpo"}}, "trl.GRPOConfig has no field 'loss_typ'"),
    ],
)
def test_settings_that_mean_nothing_there_are_refused(options, said, tmp_path):
    with pytest.raises(RecipeError) as error:
        train([SAY_YES], out=tmp_path / "run", **options)
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("method", "loss"), [("dpo", ["nothing"]), ("grpo", "nothing")])
def test_a_loss_that_trl_does_not_have_is_refused_and_leaves_the_folder_free(method, loss, rows, folder, tmp_path):
    options = {"out": tmp_path / "run", "method": method, **TRAINED[method]}
    with pytest.raises(RecipeError, match=r"TRL refuses train\.trl .*nothing"):
        train(rows[:8], folder, trl={"loss_type": loss}, **options)
    assert train(rows[:8], folder, **options).steps > 0


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    with pytest.raises(RecipeError, match=r"4 problems[\s\S]*answers[\s\S]*model[\s\S]*packing[\s\S]*accumulate"):
        train([SAY_YES], out=tmp_path / "run", method="dpo", answers=2, packing=True, accumulate=3)


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"WORLD_SIZE": "2"}, REWARD, "2 processes started, and method grpo runs in one"),
        ({"WORLD_SIZE": "3"}, {**PREFER, "accumulate": 2}, "cannot share a step of 16 pairs in 2 parts equally"),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}, PREFER, "method dpo does not run with FSDP"),
    ],
)
def test_processes_that_cannot_share_a_step_are_refused(variables, options, said, tmp_path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=said):
        train([SAY_YES], out=tmp_path / "run", **options)


def test_looking_ahead_for_several_processes_tells_what_each_takes(rows, folder, tmp_path):
    options = {"out": tmp_path / "run", "method": "dpo", "rows_per_step": 8}
    each, one = (look_ahead(rows, folder, **options, **more) for more in ({"processes": 2}, {"accumulate": 2}))
    assert (each.processes, each.memory_bytes, each.padding) == (2, one.memory_bytes, one.padding)


def test_fewer_rows_than_a_step_takes_are_refused(rows, folder, tmp_path):
    with pytest.raises(DataError, match="a step takes 8 rows and there are 2"):
        train(rows[:2], folder, out=tmp_path / "run", method="grpo")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PREFER, (16, 0.1, 1.0, None, 1e-6, None)),
        ({**PREFER, "lora": {}}, (16, 0.1, 1.0, None, 1e-5, "lora")),
        (REWARD, (8, None, None, 8, 1e-6, None)),
    ],
)
def test_what_is_not_said_is_filled_in_by_the_method(options, expected):
    found = TrainSettings(dataset="rows", out="run", **options).resolved()
    told = (found.rows_per_step, found.beta, found.likelihood, found.answers, found.learning_rate, found.adapter)
    assert told == expected
    assert found.batch_tokens is None
