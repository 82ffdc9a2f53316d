"""Training that goes on from an adapter: the same one, on the same base, from where it was."""

import json
import math
import shutil
from functools import cache
from random import Random

import pytest

from seqtune.errors import RecipeError, RunFolderError
from seqtune.evaluation.suites.generated_chains import chain_maker

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")
peft = pytest.importorskip("peft")

from seqtune.training.adapters import four_bits, outline_adapter  # noqa: E402
from seqtune.training.estimate import skeleton  # noqa: E402
from seqtune.training.model import load, load_config, model_identity  # noqa: E402
from seqtune.training.outlook import look_ahead  # noqa: E402
from seqtune.training.pairs import render_pairs  # noqa: E402
from seqtune.training.rendering import training_row  # noqa: E402
from seqtune.training.run import train  # noqa: E402

STEPS = {"rows_per_step": 16, "learning_rate": 1e-2, "warmup": 0.0, "trl": {"logging_steps": 1}}
LORA = {"method": "lora"}
FULL = {"method": "full"}
DPO = {"method": "dpo", "likelihood": 0.0}
ALL = {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj"]}
GRPO = {"method": "grpo", "answers": 2}
# Adapters of more kinds than seqtune makes itself, as they come from elsewhere.
KINDS = {
    "by a pattern, with its own ranks": {"target_modules": r".*\.(v|up)_proj", "rank_pattern": {"up_proj": 2}},
    "of size and direction": {"target_modules": ["v_proj", "o_proj"], "use_dora": True, "use_rslora": True},
    "of embeddings": {"target_modules": ["v_proj", "embed_tokens"]},
    "of some tokens": {"target_modules": ["v_proj"], "trainable_token_indices": [5, 6, 7]},
    "with a whole head": {"target_modules": ["v_proj"], "modules_to_save": ["lm_head"]},
}


@pytest.fixture(scope="module")
def rows():
    maker, rng = chain_maker(), Random(0)
    return [maker.draw(2, rng, for_training=True) for _ in range(16)]


@pytest.fixture(scope="module")
def base(rows, tmp_path_factory):
    """A model that has learnt a little; its head is its own, so that adapters may reach the embeddings alone."""
    folder = train(rows, out=tmp_path_factory.mktemp("base") / "run", max_tokens=500).model
    loaded = load(folder)
    config = transformers.LlamaConfig(**{**loaded.model.config.to_dict(), "tie_word_embeddings": False})
    own_head = transformers.LlamaForCausalLM(config)
    own_head.load_state_dict(loaded.model.state_dict())
    own_head.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(rows, base, tmp_path_factory):
    out = tmp_path_factory.mktemp("lora") / "run"
    return train(rows, base, out=out, lora={"r": 4}, **LORA, **{**STEPS, "rows_per_step": 4}).model


@pytest.fixture(scope="module")
def elsewhere(base, tmp_path_factory):
    """Adapters of every kind as PEFT saves them, with no tokenizer beside them; they do much."""
    return {kind: made_elsewhere(kind, base, tmp_path_factory.mktemp("elsewhere") / "adapter") for kind in KINDS}


def made_elsewhere(kind, base, folder):
    config = peft.LoraConfig(r=4, lora_alpha=6, task_type="CAUSAL_LM", **KINDS[kind])
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), config)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.5 * torch.randn_like(weight))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def went_on(rows, elsewhere, tmp_path_factory):
    """What came of an adapter of a kind by a method."""

    @cache
    def train_on(kind, method):
        options = {"lora": LORA, "full": FULL, "dpo": DPO}[method]
        return train(rows, elsewhere[kind], out=tmp_path_factory.mktemp(method) / "run", **STEPS, **options)

    return train_on


def in_peft(adapter, base):
    return peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), str(adapter)).eval()


def log_likelihood(model, prompt, answer):
    with torch.no_grad():
        scores = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return scores.gather(1, torch.tensor(answer)[:, None]).sum().item()


def loss_on(model, rows, tokenizer):
    """Nats a trained token, computed without a trainer."""
    made = [training_row(row, tokenizer) for row in rows]
    cut = [(row.ids[: -len(row.trained)], row.ids[-len(row.trained) :]) for row in made]
    return -sum(log_likelihood(model, *parts) for parts in cut) / sum(len(row.trained) for row in made)


def margins(model, rows, tokenizer):
    pairs = render_pairs(rows, tokenizer, seed=0, max_length=256).rows
    return [log_likelihood(model, p.prompt, p.chosen) - log_likelihood(model, p.prompt, p.rejected) for p in pairs]


# --- where it starts


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_goes_on_from_where_it_was(kind, method, rows, base, elsewhere, went_on):
    tokenizer = load(base).tokenizer
    own = loss_on(in_peft(elsewhere[kind], base), rows, tokenizer)
    assert went_on(kind, method).losses[0].loss == pytest.approx(own, rel=1e-4)
    assert own != pytest.approx(loss_on(load(base).model, rows, tokenizer), rel=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_preference_stage_compares_with_the_adapter_as_it_was(kind, went_on):
    assert went_on(kind, "dpo").losses[0].loss == pytest.approx(math.log(2), abs=1e-4)  # no gain yet over itself


def test_a_preference_stage_compares_with_the_adapter_as_it_was_to_its_end(rows, base, elsewhere, tmp_path):
    folder, options = elsewhere["of embeddings"], {**STEPS, **DPO, "schedule": "constant"}
    once, twice = (train(rows, folder, out=tmp_path / str(n), epochs=n, **options) for n in (1, 2))
    was, now = (margins(in_peft(place, base), rows, load(base).tokenizer) for place in (folder, once.model))
    gains = torch.tensor(now) - torch.tensor(was)
    assert twice.losses[1].loss == pytest.approx(-torch.nn.functional.logsigmoid(0.1 * gains).mean().item(), rel=1e-3)


def test_a_comparison_that_is_computed_before_is_with_the_adapter_too(rows, elsewhere, tmp_path):
    options = {**DPO, **STEPS, "trl": {"precompute_ref_log_probs": True}}
    done = train(rows, elsewhere["of embeddings"], out=tmp_path / "run", **options)
    assert done.losses[0].loss == pytest.approx(math.log(2), abs=1e-4)


def test_tries_are_those_of_the_adapter_and_rewards_train_it(rows, base, adapter, tmp_path):
    done = train(rows[:8], adapter, out=tmp_path / "run", **GRPO, rows_per_step=8)
    assert json.loads((done.out / "run.json").read_text())["settings"]["lora"]["r"] == 4
    assert 0 < done.trained_parameters < 0.1 * done.parameters
    assert in_peft(done.model, base)


def test_an_adapter_in_four_bits_goes_on(rows, adapter, tmp_path):
    pytest.importorskip("bitsandbytes")
    done = train(rows, adapter, out=tmp_path / "run", method="qlora", **STEPS)
    loaded = load(adapter, dtype=torch.float32, quantisation=four_bits(torch.float32))
    loaded.model.train()  # else bitsandbytes packs the weights anew, which it cannot do with so few
    assert done.losses[0].loss == pytest.approx(loss_on(loaded.model, rows, loaded.tokenizer), rel=1e-3)
    assert changed(adapter, done.model)


# --- what comes out


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def changed(one, other):
    mine, others = weights(one), weights(other)
    assert mine.keys() == others.keys()
    return any(not torch.equal(mine[name], others[name]) for name in mine)


@pytest.mark.parametrize("method", ["lora", "dpo"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_the_same_adapter_trained_on_which_peft_loads_on_the_same_base(
    kind, method, rows, base, elsewhere, went_on
):
    folder, done = elsewhere[kind], went_on(kind, method)
    assert changed(folder, done.model)
    before, after = (json.loads((place / "adapter_config.json").read_text()) for place in (folder, done.model))
    shape = ("peft_type", "r", "lora_alpha", "target_modules", "rank_pattern", "use_dora", "use_rslora")
    for name in (*shape, "modules_to_save", "trainable_token_indices", "lora_dropout"):
        one, other = before[name], after[name]
        assert one == other or sorted(one) == sorted(other), name
    assert after["base_model_name_or_path"] == str(base.resolve())
    ids = training_row(rows[0], load(base).tokenizer).ids
    with torch.no_grad():
        ours, plain = (
            model(torch.tensor([ids])).logits for model in (load(done.model).model, in_peft(done.model, base))
        )
    assert torch.allclose(ours, plain, atol=1e-5)
    assert [path.name for path in done.model.iterdir() if path.is_dir()] == []


def test_all_weights_go_on_from_those_with_the_adapter_in_them(rows, base, adapter, tmp_path):
    done = train(rows, adapter, out=tmp_path / "run", **{**STEPS, "learning_rate": 1e-9})
    assert done.trained_parameters == done.parameters
    assert not (done.model / "adapter_config.json").exists()
    merged = in_peft(adapter, base).merge_and_unload().state_dict()
    plain = transformers.AutoModelForCausalLM.from_pretrained(done.model).state_dict()
    assert plain.keys() == merged.keys()
    assert all(torch.allclose(plain[name], merged[name], atol=1e-5) for name in merged)


@pytest.mark.parametrize("options", [LORA, DPO], ids=["lora", "dpo"])
def test_what_went_on_merges_into_the_base(options, rows, base, adapter, tmp_path):
    done = train(rows, adapter, out=tmp_path / "run", merge=True, **STEPS, **options)
    merged = in_peft(done.out / "adapter", base).merge_and_unload().state_dict()
    plain = transformers.AutoModelForCausalLM.from_pretrained(done.model).state_dict()
    assert all(torch.allclose(plain[name], merged[name], atol=1e-5) for name in merged)


def test_a_stage_can_follow_a_stage_that_followed_one(rows, base, adapter, tmp_path):
    preferred = train(rows, adapter, out=tmp_path / "dpo", **DPO, **STEPS).model
    done = train(rows, preferred, out=tmp_path / "lora", method="lora", **STEPS)
    assert done.losses[0].loss == pytest.approx(loss_on(in_peft(preferred, base), rows, load(base).tokenizer), rel=1e-4)
    card = (done.model / "README.md").read_text("utf-8")
    assert f"A lora adapter of `{base.name}`, which goes on from the adapter `{preferred.name}`." in card


# --- what it is taken for


def test_a_run_on_another_adapter_or_another_base_is_another_run(rows, base, adapter, tmp_path):
    mine = shutil.copytree(adapter, tmp_path / "adapter")
    options = {"out": tmp_path / "run", "method": "lora", **STEPS}
    first = train(rows, adapter, **options)
    told = []
    assert train(rows, mine, **options, tell=told.append).losses == first.losses
    assert "finished already" in told[-1]
    other = shutil.copytree(base, tmp_path / "base")
    transformers.LlamaForCausalLM(load(base).model.config).save_pretrained(other)
    config = json.loads((mine / "adapter_config.json").read_text())
    (mine / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(other)}))
    assert model_identity(mine) != model_identity(adapter)
    with pytest.raises(RunFolderError, match="another run"):
        train(rows, mine, **options)
    with pytest.raises(RunFolderError, match="another run"):
        train(rows, first.model, **options)


@pytest.mark.parametrize("options", [LORA, FULL, DPO, GRPO], ids=lambda o: o["method"])
def test_looking_ahead_counts_what_the_training_then_takes(options, rows, adapter, tmp_path):
    options = {"out": tmp_path / "run", "rows_per_step": 8, **options}
    found, done = (run(rows[:8], adapter, **options) for run in (look_ahead, train))
    assert (found.parameters, found.trained_parameters) == (done.parameters, done.trained_parameters)
    assert (found.rows, found.steps) == (done.rows, done.steps)
    names = ", ".join(sorted(ALL["target_modules"]))
    said = "all of whose weights" if options["method"] == "full" else f"this adapter (rank 4, on {names}) is trained"
    assert said in found.lines[0]
    if options["method"] == "dpo":
        assert f"reference, as the adapter was at the start: {done.trained_parameters:.3g} x 4" in "\n".join(
            found.lines
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_weights_has_every_kind_of_adapter_as_the_real_one(kind, base, elsewhere):
    outline = outline_adapter(skeleton(load_config(base, None)), elsewhere[kind])
    real = in_peft(elsewhere[kind], base)
    shapes = {name: weight.shape for name, weight in real.named_parameters()}
    assert {name: weight.shape for name, weight in outline.named_parameters()} == shapes
    trained = {name for name, weight in outline.named_parameters() if weight.requires_grad}
    assert trained == {name for name in shapes if "default" in name}


# --- which settings go with it


@pytest.mark.parametrize("lora", [{}, {"r": 4, "alpha": 32}, {"target_modules": "all-linear"}, ALL, {"dropout": 0.1}])
def test_settings_that_are_the_adapters_own_are_taken_and_its_dropout_may_change(lora, rows, adapter, tmp_path):
    done = train(rows, adapter, out=tmp_path / "run", method="lora", lora=lora, **STEPS)
    config = json.loads((done.model / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 32, lora.get("dropout", 0.0))


@pytest.mark.parametrize("options", [LORA, DPO, GRPO], ids=["lora", "dpo", "grpo"])
def test_settings_of_another_shape_are_refused_all_at_once(options, rows, adapter, tmp_path):
    lora = {"r": 8, "alpha": 16, "target_modules": ["q_proj"]}
    with pytest.raises(RecipeError) as error:
        train(rows, adapter, out=tmp_path / "run", lora=lora, **options)
    for said in ("train.lora.r is 8 (it has 4)", "train.lora.alpha is 16.0 (it has 32", "target_modules is ['q_proj']"):
        assert said in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "IA3"}, "of the kind IA3"),
        ({"bias": "lora_only"}, "trains biases of its base"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed its base when it was made"),
        ({"base_model_name_or_path": "nowhere/at all"}, "'nowhere/at all', which cannot be loaded"),
        ({"base_model_name_or_path": None}, "write where it is now into adapter_config.json"),
        ({"r": "four"}, "cannot be read"),
    ],
)
def test_an_adapter_that_cannot_go_on_is_refused_with_the_reason(changes, said, rows, adapter, tmp_path):
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(RecipeError) as error:
        train(rows, folder, out=tmp_path / "run", **DPO)
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_adapter_on_a_model_that_it_does_not_fit_is_refused(rows, base, adapter, tmp_path):
    folder, other = shutil.copytree(adapter, tmp_path / "adapter"), shutil.copytree(base, tmp_path / "base")
    config = transformers.LlamaConfig(**{**load(base).model.config.to_dict(), "intermediate_size": 64})
    transformers.LlamaForCausalLM(config).save_pretrained(other)
    said = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**said, "base_model_name_or_path": str(other)}))
    with pytest.raises(RecipeError, match="does not fit the model that it names as its base"):
        train(rows, folder, out=tmp_path / "run", method="lora")


def test_an_adapter_without_weights_that_can_be_read_is_refused(rows, adapter, tmp_path):
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(RecipeError, match=r"holds no adapter_model\.safetensors"):
        train(rows, folder, out=tmp_path / "run", method="lora")
