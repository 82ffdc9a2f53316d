"""The estimate before a training: its arithmetic is right, and a real training takes the memory that it said."""

import math
import multiprocessing
import resource
import sys
from dataclasses import FrozenInstanceError
from random import Random

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from seqtune.training.estimate import Range, estimate, measured, shapes, skeleton  # noqa: E402
from seqtune.training.plan import plan_run  # noqa: E402

FACTOR = 1.5  # a real run takes so many times more or less, at most
MEBIBYTE = 1 << 20
LLAMA_3_8B = transformers.LlamaConfig(
    vocab_size=128_256,
    hidden_size=4096,
    intermediate_size=14_336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "transformers.trainer", "transformers.models.gpt2.modeling_gpt2"])


def small(**changed):
    settings = {
        "vocab_size": 4000,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        **changed,
    }
    return transformers.LlamaConfig(**settings)


def parts(found):
    return {part.name: part.bytes for part in found.memory}


def with_frozen(model, *trained):
    """Only the named weights are trained, as with adapters."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(any(part in name for part in trained))
    return model


# --- the arithmetic


def test_an_8b_model_is_estimated_from_its_config_alone():
    found = estimate(skeleton(LLAMA_3_8B), [(1, 8192)] * 10, precision="mixed", peak_flops=1e15)
    assert found.parameters == found.trained == 8_030_261_248
    lines = found.explain()
    assert "weights: 8.03e+09 x 4 bytes = 32.1 GB" in lines
    assert "gradients: 8.03e+09 x 4 bytes = 32.1 GB" in lines
    assert "optimiser states: 8.03e+09 x 8 bytes = 64.2 GB" in lines
    assert "logits: 8,192 tokens x 128,256 x 12 bytes = 12.6 GB" in lines
    assert "compute: 6 x 7.5e+09 active weights x 81,920 tokens = 3.69e+15 FLOP" in lines
    assert lines[-1] == "time: 3.69e+15 FLOP / 20% to 50% of 1e+15 FLOP a second = 7.4 s to 18 s"
    assert found.bytes == pytest.approx(sum(parts(found).values()))
    with pytest.raises(FrozenInstanceError):
        found.steps = 0


def test_16_bits_halve_what_32_bits_take():
    all_32, all_16 = (estimate(skeleton(small()), [(4, 64)], precision=p) for p in ("float32", "bfloat16"))
    for name in ("weights", "gradients", "optimiser states"):
        assert parts(all_32)[name] == 2 * parts(all_16)[name]
    assert 1.5 < parts(all_32)["activations"] / parts(all_16)["activations"] < 2.1


def test_frozen_weights_need_no_gradient_and_no_optimiser():
    full = estimate(skeleton(small()), [(4, 64)], precision="float32")
    some = estimate(with_frozen(skeleton(small()), "q_proj"), [(4, 64)], precision="float32")
    assert some.trained == 6 * 192 * 192
    assert parts(some)["gradients"] == 4 * some.trained
    assert parts(some)["optimiser states"] == 8 * some.trained
    assert parts(some)["frozen weights"] == 4 * (some.parameters - some.trained)
    assert some.flops == pytest.approx(full.flops * 4 / 6)


def test_quantised_weights_take_4_bits_and_their_constants_and_embeddings_stay():
    found = estimate(with_frozen(skeleton(LLAMA_3_8B)), [(1, 512)], precision="mixed", quantised=True)
    tables = 2 * 128_256 * 4096 + 65 * 4096
    assert parts(found)["frozen weights"] == 2 * tables
    assert parts(found)["weights in 4 bits"] == pytest.approx(0.515875 * (found.parameters - tables))


def test_adapters_are_counted_as_they_are_put_on():
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"])
    found = estimate(peft.get_peft_model(skeleton(small()), lora), [(4, 64)], precision="mixed")
    assert found.trained == 6 * 8 * ((192 + 192) + (192 + 96))
    assert parts(found)["trained weights"] == 4 * found.trained


def test_checkpointing_saves_memory_and_costs_a_forward_pass():
    plain, again = (
        estimate(skeleton(small()), [(8, 128)], precision="float32", checkpointing=c) for c in (False, True)
    )
    assert parts(again)["activations, with checkpointing"] < 0.4 * parts(plain)["activations"]
    assert again.flops == pytest.approx(plain.flops * 8 / 6)


def test_shards_divide_what_stays_and_not_what_a_batch_needs():
    one, eight = (estimate(skeleton(small()), [(4, 64)], precision="float32", shards=n) for n in (1, 8))
    for name, size in parts(one).items():
        shared = name in ("weights", "gradients", "optimiser states")
        assert parts(eight)[name] == (size / 8 if shared else size)


def test_only_the_experts_that_a_token_goes_to_are_computed():
    config = transformers.MixtralConfig(**{**small().to_diff_dict(), "num_local_experts": 8, "num_experts_per_tok": 2})
    model = skeleton(config)
    experts = sum(weight.numel() for name, weight in model.named_parameters() if ".experts." in name)
    found = estimate(model, [(1, 100)], precision="bfloat16")
    active = found.parameters - experts * 6 / 8 - config.vocab_size * config.hidden_size
    assert found.flops == pytest.approx(6 * active * 100)


def test_shared_embeddings_are_a_head_that_is_computed_with():
    apart, shared = (
        estimate(skeleton(small(tie_word_embeddings=t)), [(1, 9)], precision="float32") for t in (False, True)
    )
    assert apart.parameters - shared.parameters == 4000 * 192
    assert apart.flops == shared.flops


def test_an_architecture_that_cannot_be_counted_is_estimated_by_a_rule_and_says_so():
    config = transformers.Mamba2Config(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_heads=8, head_dim=8, state_size=8, n_groups=1
    )
    model = skeleton(config)
    model.forward = None  # whatever it is that fails
    found = estimate(model, [(2, 50)], precision="bfloat16")
    assert parts(found)["activations"] == 34 * 100 * 32 * 2
    assert any("by a rule" in line for line in found.explain())


@pytest.mark.parametrize("packed", [False, True])
def test_the_slots_of_a_plan_are_those_that_batches_have(packed):
    rng = Random(0)
    lengths = [rng.randrange(5, 100) for _ in range(200)]
    batches = plan_run(lengths, batch_tokens=256, seed=0, form="positions" if packed else None).batches
    found = shapes(batches, lengths, packed=packed)
    assert len(found) == len(batches)
    assert max(rows * width for rows, width in found) <= 256
    if packed:
        assert sum(rows * width for rows, width in found) == sum(lengths)


def test_time_comes_from_a_measured_speed_where_there_is_one():
    rate = Range(1000, 2000)
    found = estimate(skeleton(small()), [(4, 64)] * 1000, precision="float32", tokens_per_s=rate, peak_flops=1e12)
    assert found.seconds == (128, 256)
    assert found.explain()[-1] == (
        "time: 256,000 tokens / 1,000 to 2,000 tokens a second, as measured = 2.1 min to 4.3 min"
    )
    assert "unknown" in estimate(skeleton(small()), [(4, 64)], precision="float32").explain()[-1]


def test_measuring_a_model_leaves_it_as_it_was():
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(small(num_hidden_layers=1))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    ids = torch.randint(0, 4000, (2, 16))
    state = torch.get_rng_state()
    low, high = measured(model, [{"input_ids": ids, "labels": ids}] * 3)
    assert 0 < low <= high < math.inf
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


# --- a real training


def train_two_steps(shape, answers, **changed):
    """How many bytes two real steps of a float32 training take, beyond what the process had."""
    torch.set_num_threads(1)
    before = peak_bytes()
    model = transformers.LlamaForCausalLM(small(**changed))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(0, 4000, shape)
    for _ in range(2):
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    answers.put(peak_bytes() - before)


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize(
    ("shape", "changed"),
    [
        ((8, 128), {}),
        ((1, 64), {"hidden_size": 512, "intermediate_size": 1376}),
    ],
    ids=["mostly activations and logits", "mostly weights"],
)
def test_a_real_training_takes_the_memory_that_was_estimated(shape, changed):
    answers = PROCESSES.Queue()
    process = PROCESSES.Process(target=train_two_steps, args=(shape, answers), kwargs=changed)
    process.start()
    real = answers.get(timeout=120)
    process.join()
    found = estimate(skeleton(small(**changed)), [shape], precision="float32")
    assert real > 50 * MEBIBYTE
    assert 1 / FACTOR < found.bytes / real < FACTOR
