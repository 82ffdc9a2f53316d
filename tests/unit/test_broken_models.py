"""Models that are not what they seem: with weights missing or torn, too few positions, or finished and broken since."""

import json
import os
import resource
import shutil
from contextlib import contextmanager
from random import Random

import pytest

from seqtune.data.example import Example
from seqtune.errors import RecipeError, RunFolderError
from seqtune.evaluation.suites.generated_chains import chain_maker

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")
from families import gpt2, llama3, qwen3, save_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from seqtune.training.checkpoints import CHECKPOINTS, HALF  # noqa: E402
from seqtune.training.model import load  # noqa: E402
from seqtune.training.outlook import look_ahead  # noqa: E402
from seqtune.training.preview import preview  # noqa: E402
from seqtune.training.run import train  # noqa: E402

ROWS = [Example(f"Say {i}", "one two", f"two {i}") for i in range(12)]
QUICK = {"max_tokens": 300, "batch_tokens": 200}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("made") / "model", llama3())


@pytest.fixture
def model(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


# --- weights that the config says are there


def one_layer_more(folder):
    rewrite(folder / "config.json", num_hidden_layers=3)


def without_head(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def other_words(folder):
    rewrite(folder / "config.json", vocab_size=9000)


def torn(folder):
    cut(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (one_layer_more, r"lack weights.*model\.layers\.2\..* and 6 more"),
        (without_head, r"lack weights.*: lm_head\.weight\n"),
        (other_words, "other sizes than its config.json says"),
        (torn, "no model can be loaded from"),
    ],
)
def test_a_model_whose_files_are_not_what_its_config_says_is_refused_wherever_it_is_read(spoil, said, model, tmp_path):
    spoil(model)
    for use in (
        lambda: train(ROWS, model, out=tmp_path / "run", **QUICK),
        lambda: look_ahead(ROWS, model, out=tmp_path / "run", **QUICK),
        lambda: load(model),
    ):
        with pytest.raises(RecipeError, match=said):
            use()
    assert not (tmp_path / "run").exists()


def test_a_head_that_is_the_embedding_is_missing_from_no_file(tmp_path):
    folder = save_model(tmp_path / "model", qwen3(), "qwen3")
    config = transformers.AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = True
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert train(ROWS, folder, out=tmp_path / "run", **QUICK).rows == len(ROWS)


# --- positions


@pytest.fixture
def learned(tmp_path):
    tokenizer = gpt2()
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=64, vocab_size=len(tokenizer))
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    return tmp_path / "gpt2"


LONG = Example("Say it", "", "one two three " * 40)


def test_rows_are_held_to_the_positions_of_the_model_and_it_is_told(learned, model, tmp_path):
    for folder, count in ((learned, 64), (model, 512)):
        told, words = [], {"template": "tulu", **QUICK}
        done = train([*ROWS, LONG, LONG], folder, out=tmp_path / folder.name / "run", tell=told.append, **words)
        assert done.unused == (2 if count == 64 else 0)
        assert any(f"rows have up to {count} tokens" in line for line in told)
        ahead = look_ahead([*ROWS, LONG, LONG], folder, out=tmp_path / "other", **words)
        assert ahead.unused == done.unused
        assert any(f"rows have up to {count} tokens" in line for line in ahead.lines)
        assert preview([*ROWS, LONG], folder, template="tulu").max_length == count


def test_more_than_learned_positions_are_refused_and_more_than_turned_ones_told(learned, model, tmp_path):
    with pytest.raises(RecipeError, match=r"max_length is 65, and the model has 64 positions\n.*set it to 64"):
        train(ROWS, learned, out=tmp_path / "run", template="tulu", max_length=65)
    ahead = look_ahead(ROWS, model, out=tmp_path / "run", max_length=600)
    assert any("it was made for 512 tokens, and rows of up to 600" in line for line in ahead.lines)


# --- finished, and broken since


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: cut(folder / "model.safetensors"), "model.safetensors has"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json cannot be read"),
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
        (lambda folder: cut(folder / "config.json"), "config.json cannot be read"),
    ],
)
def test_a_finished_model_that_broke_is_told_and_made_again(spoil, said, model, tmp_path):
    told: list[str] = []
    words = {"out": tmp_path / "run", "tell": told.append, **QUICK}
    before = (train(ROWS, model, **words).model / "model.safetensors").read_bytes()
    spoil(tmp_path / "run" / "model")
    told.clear()
    after = (train(ROWS, model, **words).model / "model.safetensors").read_bytes()
    assert said in told[0]
    assert "made again" in told[0]
    assert before == after


def test_a_card_that_was_edited_breaks_no_model(model, tmp_path):
    told: list[str] = []
    words = {"out": tmp_path / "run", "tell": told.append, **QUICK}
    card = train(ROWS, model, **words).model / "README.md"
    card.write_text("Mine.")
    train(ROWS, model, **words)
    assert card.read_text() == "Mine."
    assert "finished already" in told[-1]


# --- what stands in the run folder


def chains(count=40):
    maker, rng = chain_maker(), Random(0)
    return [maker.draw(2, rng, for_training=True) for _ in range(count)]


def test_damaged_lines_of_losses_are_left_out_and_the_run_goes_on(tmp_path, monkeypatch):
    rows, told, words = chains(), [], {"out": tmp_path / "run", "save_every": 2, "trl": {"logging_steps": 1}}
    with monkeypatch.context() as killed:
        killed.setattr("seqtune.training.run.outcome_of", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(rows, **words)
    lines = (tmp_path / "run" / "losses.jsonl").read_bytes().splitlines()
    lines[0], lines[1] = b"\x00" * 40, b'{"step": "\xff"}'
    (tmp_path / "run" / "losses.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    done = train(rows, **words, tell=told.append)
    assert done.resumed > 0
    assert [line.step for line in done.losses] == list(range(3, done.steps + 1))
    assert any("2 of" in line and "cannot be read" in line for line in told)


@contextmanager
def little_room(most_bytes):
    """As a full disk does it: a write fails midway."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_while_losses_are_written_is_told(tmp_path):
    rows = chains(60)
    with little_room(1500), pytest.raises(RunFolderError, match=r"the loss of step \d+ cannot be written"):
        train(rows, out=tmp_path / "run", trl={"logging_steps": 1}, epochs=3)


def test_a_full_disk_at_the_first_checkpoint_promises_none_before(tmp_path):
    with little_room(20_000), pytest.raises(RunFolderError, match="begins anew, as there is no checkpoint yet"):
        train(chains(), out=tmp_path / "run", save_every=1)


def test_a_file_where_a_checkpoint_is_to_be_written_is_in_nobodys_way(tmp_path):
    (tmp_path / "run" / CHECKPOINTS).mkdir(parents=True)
    (tmp_path / "run" / CHECKPOINTS / HALF).write_text("a file")
    assert train(chains(), out=tmp_path / "run", save_every=2, overwrite=True).model.is_dir()


def test_a_summary_that_says_nothing_is_told_with_what_to_do(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"cannot be read.*\n.*pass --overwrite"):
        train(chains(5), out=tmp_path / "run")
    assert train(chains(5), out=tmp_path / "run", overwrite=True).model.is_dir()


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_a_seed_that_numpy_does_not_take_is_refused_by_name(seed, tmp_path):
    with pytest.raises(RecipeError, match="seed"):
        train(chains(5), out=tmp_path / "run", seed=seed)


def test_an_empty_answer_can_be_the_rejected_one(model, tmp_path):
    words = {"method": "dpo", "damages": ["empty"], "rows_per_step": 2, "epochs": 1}
    done = train(chains(4), model, out=tmp_path / "run", **words)
    assert (done.rows, done.unused) == (4, 0)
