"""Ways to train: whole or by adapter, in steps of any size, with the fields of TRL; what is saved loads elsewhere."""

import json
import shutil
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.data.example import Example, Origin
from seqtune.errors import DataError, MissingExtraError, RecipeError, RunFolderError, SeqtuneError
from seqtune.evaluation.suites.generated_chains import chain_maker
from seqtune.recipe import section_options, shipped_recipes
from seqtune.training.batches import share
from seqtune.training.plan import plan_run
from seqtune.training.settings import TrainSettings

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")
peft = pytest.importorskip("peft")
from families import TEXTS, llama3, mistral, qwen3, save_model, small_model  # noqa: E402

from seqtune.evaluation.answers import answer  # noqa: E402
from seqtune.training.loss import Loss  # noqa: E402
from seqtune.training.model import Loaded, end_with_turns, load, load_network, model_identity, save  # noqa: E402
from seqtune.training.outlook import look_ahead  # noqa: E402
from seqtune.training.rendering import training_row  # noqa: E402
from seqtune.training.run import train  # noqa: E402
from seqtune.training.tracking import live_line  # noqa: E402

ROWS = [Example(f"Say {text}", f"one two {i}", f"{text} {i}") for i, text in enumerate(TEXTS[:5] * 4)]
QUICK = {"max_tokens": 2500, "batch_tokens": 600, "learning_rate": 1e-2}
LORA = {"r": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "qwen", qwen3(), "qwen3")


@pytest.fixture(scope="module")
def base_llama(tmp_path_factory):
    tokenizer = llama3()
    tokenizer.chat_template = None
    return save_model(tmp_path_factory.mktemp("models") / "llama", tokenizer)


@pytest.fixture(scope="module")
def adapter(qwen, tmp_path_factory):
    out = tmp_path_factory.mktemp("lora") / "run"
    return train(ROWS, qwen, out=out, method="lora", lora=LORA, **QUICK)


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits


# --- whole models


@pytest.mark.parametrize(("family", "make"), [("mistral", mistral), ("gemma", None), ("llama", llama3)])
def test_models_of_other_families_learn_and_load_in_plain_transformers(family, make, tmp_path):
    from families import gemma

    folder = save_model(tmp_path / "base", (make or gemma)(), family)
    done = train(ROWS, folder, out=tmp_path / "run", **QUICK)
    assert done.losses[-1].loss < 0.96 * done.losses[0].loss
    assert done.trained_parameters == done.parameters
    plain = transformers.AutoModelForCausalLM.from_pretrained(done.model)
    ids = training_row(ROWS[0], load(done.model).tokenizer).ids
    assert torch.equal(logits(plain, ids), logits(load(done.model).model, ids))


def test_a_base_model_learns_with_a_shipped_template_that_is_saved_with_it(base_llama, tmp_path):
    with pytest.raises(RecipeError, match="'tulu'"):
        train(ROWS, base_llama, out=tmp_path / "run", **QUICK)
    done = train(ROWS, base_llama, out=tmp_path / "run", template="tulu", **QUICK)
    again = transformers.AutoTokenizer.from_pretrained(done.model)
    assert "<|assistant|>" in again.chat_template
    assert len(answer(done.model, ROWS[:2], max_new_tokens=3)) == 2


def test_a_model_is_saved_in_the_precision_that_it_was_published_in(tmp_path):
    model = small_model(qwen3(), "qwen3").to(torch.bfloat16)
    model.save_pretrained(tmp_path / "base")
    qwen3().save_pretrained(tmp_path / "base")
    done = train(ROWS, tmp_path / "base", out=tmp_path / "run", **QUICK)
    assert load(done.model).model.dtype == torch.bfloat16


def test_a_trained_model_stops_where_a_turn_ends(tmp_path):
    # As in Llama-3, the tokenizer's own end token ends texts and not turns.
    loaded = Loaded(small_model(llama3()), llama3())
    own, turn = (loaded.tokenizer.convert_tokens_to_ids(mark) for mark in ("<|end_of_text|>", "<|eot_id|>"))
    assert loaded.model.generation_config.eos_token_id == own
    end_with_turns(loaded)
    save(loaded, tmp_path / "model")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert plain.generation_config.eos_token_id == [turn, own]
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "model").eos_token == "<|eot_id|>"


# --- adapters


def test_only_the_adapter_learns_and_peft_loads_it(adapter, qwen):
    assert adapter.losses[-1].loss < adapter.losses[0].loss
    assert 0 < adapter.trained_parameters < 0.2 * adapter.parameters
    files = {path.name for path in adapter.model.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"} <= files
    assert "model.safetensors" not in files
    plain = transformers.AutoModelForCausalLM.from_pretrained(qwen)
    ids = training_row(ROWS[0], load(qwen).tokenizer).ids
    before = logits(plain, ids)
    ours = logits(load(adapter.model).model, ids)
    assert torch.equal(logits(peft.PeftModel.from_pretrained(plain, adapter.model), ids), ours)
    assert not torch.allclose(before, ours, atol=1e-3)


def test_an_adapter_loads_wherever_it_is_used_and_names_the_base_that_is_gone(qwen, tmp_path, monkeypatch):
    base = shutil.copytree(qwen, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    done = train(ROWS, "base", out="run", method="lora", lora=LORA, **QUICK)
    model = done.model.resolve()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(model).model.peft_config
    shutil.rmtree(base)
    with pytest.raises(RecipeError, match=f"belongs to the model '{base}', which cannot be loaded: .*no such folder"):
        load(model)


def test_an_adapter_answers_from_its_folder_otherwise_than_its_base(adapter, qwen):
    ours, base = ([one.text for one in answer(model, ROWS[:4], max_new_tokens=8)] for model in (adapter.model, qwen))
    assert all(ours)
    assert ours != base


def test_a_merged_adapter_is_a_plain_model_with_the_same_answers(adapter, qwen, tmp_path):
    done = train(ROWS, qwen, out=tmp_path / "run", method="lora", lora=LORA, merge=True, **QUICK)
    assert not (done.model / "adapter_config.json").exists()
    plain = transformers.AutoModelForCausalLM.from_pretrained(done.model)
    ids = training_row(ROWS[0], load(qwen).tokenizer).ids
    assert torch.allclose(logits(plain, ids), logits(load(adapter.model).model, ids), atol=1e-4)
    assert (tmp_path / "run" / "adapter" / "adapter_config.json").is_file()


def test_a_model_in_four_bits_learns_on_the_processor_and_merges_into_the_published_weights(qwen, tmp_path):
    pytest.importorskip("bitsandbytes")
    more = {"lora": LORA, **QUICK, "precision": "float32"}
    done = train(ROWS, qwen, out=tmp_path / "run", method="qlora", merge=True, **more)
    assert done.losses[-1].loss < done.losses[0].loss
    plain = transformers.AutoModelForCausalLM.from_pretrained(done.model)
    base = transformers.AutoModelForCausalLM.from_pretrained(qwen)
    assert torch.equal(plain.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight)
    assert not torch.equal(plain.model.layers[0].self_attn.q_proj.weight, base.model.layers[0].self_attn.q_proj.weight)
    weights = load(tmp_path / "run" / "adapter").model.state_dict()
    assert {w.dtype for name, w in weights.items() if "lora_" in name} == {torch.float32}


def test_a_layer_that_the_model_does_not_have_is_refused_with_the_nearest(qwen, tmp_path):
    with pytest.raises(RecipeError, match=r"'qproj'.*did you mean 'q_proj'"):
        train(ROWS, qwen, out=tmp_path / "run", method="lora", lora={"target_modules": ["qproj"]})


def test_qlora_says_what_to_install(qwen, tmp_path, monkeypatch):
    monkeypatch.setattr("seqtune.training.adapters.find_spec", lambda name: None if name == "bitsandbytes" else name)
    with pytest.raises(MissingExtraError, match=r"bitsandbytes[\s\S]*seqtune\[qlora\]"):
        train(ROWS, qwen, out=tmp_path / "run", method="qlora")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "lora"}, "made from scratch"),
        ({"method": "lorra"}, "train.method = lorra"),
        ({"merge": True}, "needs method lora or qlora"),
        ({"lora": {"rank": 8}}, "unknown key 'rank'"),
        ({"rows_per_step": 4, "accumulate": 2}, "give one of them"),
        ({"template": "vicuna"}, "train.template = vicuna"),
        ({"sead": 1}, "unknown key 'sead' in train; did you mean 'seed'"),
        ({"trl": {"use_liger_kernel": True}}, "needs a GPU"),
        ({"push": "no-name"}, "give NAME/REPOSITORY"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_read(options, said, tmp_path):
    with pytest.raises(RecipeError) as error:
        train(ROWS, out=tmp_path / "run", **options)
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()


# --- steps


def test_a_step_of_so_many_rows_is_the_same_whatever_fits_into_a_batch(qwen, tmp_path):
    losses = [
        [line.loss for line in train(
            ROWS, qwen, out=tmp_path / str(size), rows_per_step=7, batch_tokens=size, epochs=2, learning_rate=1e-2,
            trl={"logging_steps": 1},
        ).losses]
        for size in (90, 300, 5000)
    ]  # fmt: skip
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)


def test_the_loss_is_the_mean_over_the_trained_tokens_of_the_step(qwen, tmp_path):
    done = train(ROWS, qwen, out=tmp_path / "run", rows_per_step=20, batch_tokens=200, learning_rate=1e-9)
    loaded = load(qwen)
    found = []
    for example in ROWS:
        row = training_row(example, loaded.tokenizer)
        scores = logits(loaded.model, row.ids)[0, :-1].log_softmax(-1)
        found += [-scores[at, label] for at, label in enumerate(row.labels[1:]) if label != -100]
    assert done.losses[0].loss == pytest.approx(float(torch.stack(found).mean()), rel=1e-5)
    assert done.trained_tokens == len(found)


@pytest.mark.parametrize(("rows_per_step", "accumulate"), [(None, 1), (None, 3), (8, 1), (64, 1)])
def test_every_row_is_in_one_step_of_each_epoch(rows_per_step, accumulate):
    lengths = [10 + i % 37 for i in range(150)]
    options = {"rows_per_step": rows_per_step, "accumulate": accumulate}
    steps = plan_run(lengths, batch_tokens=200, seed=0, epochs=2, **options).steps
    assert sorted(i for step in steps for batch in step for i in batch) == sorted([*range(150)] * 2)
    assert all(len(batch) * max(lengths[i] for i in batch) <= 200 for step in steps for batch in step)
    if rows_per_step:
        sizes = [sum(map(len, step)) for step in steps]
        assert all(size == rows_per_step for size in sizes if size != 150 % rows_per_step)
    assert steps == plan_run(lengths, batch_tokens=200, seed=0, epochs=2, **options).steps


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(2, 5))
def test_processes_share_a_step_in_equally_many_batches_and_take_each_row_once(sizes, processes):
    at = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    step = [list(range(start, end)) for start, end in pairwise(at)]
    shares = [share(step, process, processes) for process in range(processes)]
    assert len({len(mine) for mine in shares}) == 1
    assert sorted(i for mine in shares for batch in mine for i in batch) == list(range(at[-1]))
    assert all(any(set(batch) <= set(whole) for whole in step) for mine in shares for batch in mine)


def test_saving_memory_changes_no_loss(qwen, tmp_path):
    plain, saving = (
        train(ROWS, qwen, out=tmp_path / str(on), gradient_checkpointing=on, **QUICK) for on in (False, True)
    )
    assert [line.loss for line in plain.losses] == pytest.approx([line.loss for line in saving.losses], rel=1e-6)


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_saving_memory_computes_activations_twice(method, qwen, tmp_path, monkeypatch):
    from transformers.models.qwen3.modeling_qwen3 import Qwen3MLP

    calls = []
    forward = Qwen3MLP.forward
    monkeypatch.setattr(Qwen3MLP, "forward", lambda self, x: (calls.append(1), forward(self, x))[1])
    counts = []
    for on in (False, True):
        options = {**QUICK, "max_tokens": 300, "lora": LORA, "gradient_checkpointing": on, "method": method}
        train(ROWS, qwen, out=tmp_path / str(on), **options)
        counts.append(len(calls))
        calls.clear()
    assert counts[1] == 2 * counts[0]


def test_training_in_sixteen_bits_keeps_its_weights_in_thirty_two(qwen, tmp_path):
    done = train(ROWS, qwen, out=tmp_path / "run", precision="bfloat16", **QUICK)
    assert done.losses[-1].loss < done.losses[0].loss
    assert load(done.model).model.dtype == torch.float32


@pytest.mark.parametrize(
    ("schedule", "warmup", "rates"),
    [
        ("constant", 0.0, [1e-3] * 4),
        ("linear", 0.0, [1e-3, 0.75e-3, 0.5e-3, 0.25e-3]),
        ("linear", 0.5, [0, 0.5e-3, 1e-3, 0.5e-3]),
        ("cosine", 0.0, [1e-3, 0.853553e-3, 0.5e-3, 0.146447e-3]),
    ],
)
def test_the_rate_follows_its_schedule(schedule, warmup, rates, qwen, tmp_path):
    done = train(
        ROWS, qwen, out=tmp_path / "run", schedule=schedule, warmup=warmup, learning_rate=1e-3, rows_per_step=5,
        trl={"logging_steps": 1},
    )  # fmt: skip
    assert [line.learning_rate for line in done.losses] == pytest.approx(rates, rel=1e-4, abs=1e-9)


# --- packing and order


STEPS = {"rows_per_step": 7, "batch_tokens": 400, "epochs": 2, "learning_rate": 1e-2, "trl": {"logging_steps": 1}}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_packed_rows_have_the_losses_of_padded_ones(method, qwen, tmp_path):
    told = []
    padded, packed = (
        train(ROWS, qwen, out=tmp_path / str(on), packing=on, method=method, lora=LORA, tell=told.append, **STEPS)
        for on in (False, True)
    )
    assert [line.loss for line in packed.losses] == pytest.approx([line.loss for line in padded.losses], rel=1e-5)
    assert (padded.packed, padded.unfilled, packed.packed, packed.padding) == (False, 0, True, 0)
    assert 0 < packed.unfilled < 1
    assert padded.padding > 0
    assert not any("are not packed" in line for line in told)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packing_works_whatever_the_attention(attention, qwen, tmp_path, monkeypatch):
    from seqtune.training import loading

    def loaded(*args, **kwargs):
        model = load_network(*args, **kwargs)
        model.set_attn_implementation(attention)
        return model

    monkeypatch.setattr(loading, "load_network", loaded)
    losses = [
        [line.loss for line in train(ROWS, qwen, out=tmp_path / str(on), packing=on, **STEPS).losses]
        for on in (False, True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_model_in_which_packed_rows_see_each_other_takes_padded_ones_and_says_so(tmp_path):
    tokenizer = qwen3()
    transformers.set_seed(0)
    config = transformers.BloomConfig(
        vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2
    )
    transformers.BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
    tokenizer.save_pretrained(tmp_path / "bloom")
    told = []
    done = train(ROWS, tmp_path / "bloom", out=tmp_path / "run", packing=True, tell=told.append, **STEPS)
    assert not done.packed
    assert done.padding > 0
    (line,) = told
    assert "would see each other in this model (bloom), so they are not packed" in line
    plain = train(ROWS, tmp_path / "bloom", out=tmp_path / "plain", **STEPS)
    assert [line.loss for line in done.losses] == [line.loss for line in plain.losses]


def test_short_chains_come_first_in_the_first_epoch_and_anywhere_later():
    first = [1 + i % 3 for i in range(150)]
    lengths = [10 * steps + i % 7 for i, steps in enumerate(first)]
    for options in ({}, {"rows_per_step": 10}, {"form": "positions"}):
        plan = plan_run(lengths, batch_tokens=200, seed=0, epochs=2, first=first, **options)
        seen = [[i for step in epoch for batch in step for i in batch] for epoch in plan.epochs]
        assert [sorted(epoch) for epoch in seen] == [[*range(150)]] * 2
        steps = [[{first[i] for batch in step for i in batch} for step in epoch] for epoch in plan.epochs]
        assert all(max(one) <= min(two) for one, two in pairwise(steps[0]))
        assert not all(max(one) <= min(two) for one, two in pairwise(steps[1]))
        by_number = [[i for i in seen[0] if first[i] == number] for number in (1, 2, 3)]
        assert all(rows != sorted(rows) for rows in by_number)


def test_the_share_of_chains_is_told_for_each_epoch(tmp_path):
    maker = chain_maker()
    rows = [maker.draw(1 + (i % 4 > 2), Random(i), for_training=True) for i in range(40)]
    done = train(rows, out=tmp_path / "run", epochs=2, order="short_chains_first")
    assert done.chains == (0.25, 0.25)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["chains"] == [0.25, 0.25]


# --- trackers


def test_a_tracker_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("seqtune.training.tracking.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"track wandb needs[\s\S]*seqtune\[wandb\]"):
        train(ROWS, out=tmp_path / "run", track="wandb")
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_the_losses_and_its_files_stay(qwen, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = train(ROWS, qwen, out=tmp_path / "run", track="tensorboard", save_every=2, **STEPS)
    found = EventAccumulator(str(done.out / "tensorboard")).Reload()
    told = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert told == [(line.step, pytest.approx(line.loss)) for line in done.losses]
    assert not (done.out / "checkpoints").exists()


def test_the_live_line_tells_loss_speed_time_left_and_memory():
    line = live_line(Loss(25, 100, 1.23456, 1e-3, 5000, 3200.4, 10.0))
    assert line.startswith("loss 1.235, 3,200 tokens/s, 30 s left, ")
    assert line.endswith(("MB", "GB"))


# --- fields of TRL


def recipe(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"train:\n  dataset: rows.jsonl\n  out: run\n{text}", "utf-8")
    return path


def test_a_field_of_trl_has_its_effect(qwen, tmp_path):
    plain, smooth, dft = (
        train(ROWS, qwen, out=tmp_path / name, trl=trl, **QUICK).losses[0].loss
        for name, trl in (
            ("plain", {}),
            ("smooth", {"label_smoothing_factor": 0.5}),
            ("dft", {"loss_type": "dft"}),
        )
    )
    assert dft < 0.5 * plain
    assert smooth != plain


def test_a_field_that_trl_does_not_have_is_refused_with_its_line_and_the_nearest(tmp_path):
    path = recipe(tmp_path, "  trl:\n    max_grad_norm: 0.5\n    adam_beta3: 0.9\n    learning_rate: 1.0\n")
    with pytest.raises(RecipeError) as error:
        section_options("train", TrainSettings, path, (), {})
    text = str(error.value)
    assert text.startswith("2 problems in the recipe:")
    assert (
        f"{path}:6: train.trl.adam_beta3 = 0.9: trl.SFTConfig has no field 'adam_beta3'; did you mean 'adam_beta"
        in text
    )
    assert (
        f"{path}:7: train.trl.learning_rate = 1.0: 'learning_rate' is not given to TRL; set train.learning_rate" in text
    )


def test_every_field_that_decides_what_is_trained_is_ours():
    from seqtune.training.arguments import OURS, trl_fields

    deciding = {
        "max_length",
        "packing",
        "completion_only_loss",
        "assistant_only_loss",
        "chat_template_path",
        "eos_token",
    }
    assert deciding <= OURS.keys()
    assert len(OURS.keys() & trl_fields()) > 40


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"optim": "adamww"}, "TRL refuses train.trl = {'optim': 'adamww'}"),
        ({"adam_beta1": 7}, "TRL refuses train.trl = {'adam_beta1': 7}"),
        ({"label_smoothing_factor": 3}, "label_smoothing must be between"),
        ({"lr_scheduler_kwargs": {"speed": 1}}, "unexpected keyword argument 'speed'"),
        ({"loss_type": "nlll"}, "nlll"),
        ({"max_grad_norm": "one"}, "train.trl.max_grad_norm = one: input should be a valid number"),
        ({"adam_epsilon": []}, "train.trl.adam_epsilon = []: input should be a valid number"),
    ],
)
def test_a_value_that_trl_refuses_is_told_with_its_reason_before_anything_is_written(values, said, qwen, tmp_path):
    for run in (train, look_ahead):
        with pytest.raises(RecipeError) as error:
            run(ROWS, qwen, out=tmp_path / "run", trl=values, **QUICK)
        assert said in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_number_that_yaml_takes_for_text_is_one(qwen, tmp_path):
    done = train(ROWS, qwen, out=tmp_path / "run", trl={"adam_epsilon": "1e-8"}, **QUICK)
    assert json.loads((done.out / "run.json").read_text())["settings"]["trl"] == {"adam_epsilon": 1e-8}


@pytest.mark.parametrize("method", ["full", "dpo", "grpo"])
def test_a_field_without_which_a_run_would_not_go_on_as_it_was_is_refused(method):
    from seqtune.training.arguments import problems

    fields = ("save_only_model", "ignore_data_skip", "accelerator_config")
    assert [name for name, _ in problems(dict.fromkeys(fields, True), method)] == [*fields]


# --- what is written


def test_the_card_tells_the_run_and_nothing_of_the_machine(qwen, tmp_path):
    rows = [
        Example("Say one", "", f"one {i}", origin=(Origin("read"), *([Origin("repeat")] if i % 3 else [])))
        for i in range(12)
    ]
    done = train(rows, qwen, out=tmp_path / "run", **QUICK)
    card = (done.model / "README.md").read_text("utf-8")
    assert card.startswith("---\n")
    assert "| repeat | 8 |" in card
    assert "| as read | 4 |" in card
    assert f"| trained tokens | {done.trained_tokens:,} |" in card
    assert "| learning rate | 0.01 |" in card
    assert f"{done.losses[-1].loss:.3f} at step" in card
    assert str(tmp_path) not in card
    assert str(qwen.parent) not in card


def test_the_adapter_beside_a_merged_model_has_a_card_of_its_own(qwen, tmp_path):
    done = train(ROWS, qwen, out=tmp_path / "run", method="lora", merge=True, lora=LORA, packing=True, **QUICK)
    merged, adapter = ((done.out / name / "README.md").read_text() for name in ("model", "adapter"))
    assert "library_name: transformers" in merged
    assert "library_name: peft" in adapter
    for card in (merged, adapter):
        for line in ("| packing | True |", "| order | shuffled |", "| gradient checkpointing | False |"):
            assert line in card


def test_the_card_of_a_preference_names_the_damages(qwen, tmp_path):
    words = {"method": "dpo", "damages": ["empty", "add_step"], "rows_per_step": 4}
    card = (train(ROWS[:8], qwen, out=tmp_path / "run", **words).model / "README.md").read_text()
    assert "the same ones damaged (empty, add step)" in card
    assert "| damages | empty, add_step |" in card


def test_rows_left_out_are_listed_and_counted(qwen, tmp_path):
    long = Example("Repeat.", "", "word " * 200)
    done = train([*ROWS, long, Example("No answer")], qwen, out=tmp_path / "run", max_length=150, **QUICK)
    assert (done.rows, done.unused, done.split) == (len(ROWS), 2, 0)
    lines = [json.loads(line) for line in (done.out / "unused.jsonl").read_text("utf-8").splitlines()]
    assert [line["id"] for line in lines] == [long.id, Example("No answer").id]
    with pytest.raises(DataError, match="more than 150 tokens"):
        train([*ROWS, long], qwen, out=tmp_path / "error", max_length=150, too_long="error")


def test_a_disk_that_cannot_be_written_leaves_nothing_that_looks_whole(tmp_path):
    loaded = Loaded(small_model(llama3()), llama3())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="the model cannot be written"):
        save(loaded, tmp_path / "file" / "model")


def test_whoever_may_read_the_config_may_read_the_weights(adapter, qwen, tmp_path):
    whole = train(ROWS, qwen, out=tmp_path / "run", **QUICK)
    for model in (whole.model, adapter.model):
        assert len({path.stat().st_mode for path in model.iterdir()}) == 1


# --- which model it is


def test_a_model_is_the_same_wherever_it_lies_and_another_when_anything_in_it_changes(qwen, tmp_path):
    copy = shutil.copytree(qwen, tmp_path / "copy", copy_function=shutil.copyfile)
    assert model_identity(copy) == model_identity(qwen)
    (copy / "README.md").write_text("A model.")
    assert model_identity(copy) == model_identity(qwen)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        before, file = model_identity(copy), copy / name
        changed = bytearray(file.read_bytes())
        changed[-3] ^= 1
        file.write_bytes(changed)
        assert model_identity(copy) != before, name


@pytest.mark.parametrize("place", [0, 1 / 3, 0.999])
def test_of_large_weights_every_region_tells_them_apart(place, tmp_path, monkeypatch):
    monkeypatch.setattr("seqtune.training.model.WHOLE_BYTES", 1000)
    monkeypatch.setattr("seqtune.training.model.BLOCK_BYTES", 100)
    weights = bytearray(100_000)
    (tmp_path / "model.safetensors").write_bytes(weights)
    before = model_identity(tmp_path)
    at = int(place * len(weights))
    weights[at : at + 2000] = b"x" * len(weights[at : at + 2000])
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert model_identity(tmp_path) != before


def test_an_adapter_is_another_one_on_another_base(adapter, qwen, tmp_path):
    one, other = tmp_path / "one", shutil.copytree(qwen, tmp_path / "other")
    shutil.copytree(adapter.model, one)
    assert model_identity(one) == model_identity(adapter.model)
    config = json.loads((one / "adapter_config.json").read_text())
    for base, same in ((other, True), (tmp_path / "gone", False)):
        (one / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))
        assert (model_identity(one) == model_identity(adapter.model)) == same


def test_a_model_that_is_made_here_is_known_by_its_name():
    assert model_identity("tiny") == "tiny"
    assert model_identity("no-such/model").startswith("no-such/model")


# --- what goes wrong


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    tokenizer = qwen3()
    small_model(tokenizer, "qwen3").save_pretrained(tmp_path / "base")
    tokenizer.add_tokens(["<one>", "<two>"])
    tokenizer.save_pretrained(tmp_path / "base")
    with pytest.raises(RecipeError, match=r"tokenizer has 4\d\d tokens and the model an embedding of 4\d\d"):
        train(ROWS, tmp_path / "base", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_memory_that_runs_out_is_told_with_what_to_lower(qwen, tmp_path, monkeypatch):
    from seqtune.training import trainer

    def run_out(*_, **__):
        raise torch.OutOfMemoryError("tried to allocate 900 GiB")

    monkeypatch.setattr(trainer._Planned, "training_step", run_out)
    with pytest.raises(SeqtuneError, match=r"batch_tokens 600.*900 GiB[\s\S]*lower batch_tokens"):
        train(ROWS, qwen, out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run" / "model").exists()


def test_a_push_without_a_token_is_refused_before_training(qwen, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(RecipeError, match="no token for the hub"):
        train(ROWS, qwen, out=tmp_path / "run", push="me/model")


# --- shipped recipes


TRAINING_RECIPES = ("paper-llama3-8b-full", "paper-mistral-7b-full", "paper-lora", "qwen3-0.6b-lora")


@pytest.mark.parametrize("name", TRAINING_RECIPES)
def test_every_shipped_training_is_valid(name):
    assert name in shipped_recipes()
    options = section_options("train", TrainSettings, name, (), {})
    assert options["out"] != options["model"]


def test_the_recipes_of_the_paper_have_its_figures():
    llama = TrainSettings(**section_options("train", TrainSettings, "paper-llama3-8b-full", (), {}))
    assert (llama.learning_rate, llama.schedule, llama.warmup) == (2e-5, "linear", 0.03)
    assert (llama.epochs, llama.rows_per_step, llama.max_length, llama.precision) == (3, 128, 2048, "bfloat16")
    assert (
        TrainSettings(**section_options("train", TrainSettings, "paper-mistral-7b-full", (), {})).learning_rate == 1e-5
    )
    lora = TrainSettings(**section_options("train", TrainSettings, "paper-lora", (), {}))
    assert (lora.method, lora.learning_rate, lora.epochs) == ("lora", 3e-4, 5)
    assert (lora.rows_per_step, lora.max_length) == (64, 512)
    assert (lora.lora.r, lora.lora.alpha, lora.lora.dropout) == (8, 8, 0.05)
    assert lora.lora.target_modules == ["q_proj", "k_proj", "v_proj"]
