"""A training whose numbers are none any more leaves nothing that looks like a model, and nothing to go on from."""

import json
from random import Random

import pytest

from seqtune.errors import RecipeError, SeqtuneError
from seqtune.evaluation.suites.generated_chains import chain_maker

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("trl")

from seqtune.training.checkpoints import CHECKPOINTS, last_whole  # noqa: E402
from seqtune.training.finite import largest_weight  # noqa: E402
from seqtune.training.run import train  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    maker, rng = chain_maker(), Random(0)
    return [maker.draw(1 + i % 3, rng, for_training=True) for i in range(60)]


@pytest.mark.parametrize("rate", [1e38, 1e25])
def test_weights_that_the_last_update_broke_are_not_saved(rate, rows, tmp_path):
    with pytest.raises(SeqtuneError, match=r"after step 1 of 1, the trained weights came to .*\n.*lower the learning"):
        train(rows[:1], out=tmp_path / "run", learning_rate=rate)
    assert not (tmp_path / "run" / "model").exists()
    assert not json.loads((tmp_path / "run" / "run.json").read_text())["finished"]


def test_no_checkpoint_is_made_of_broken_weights(rows, tmp_path):
    with pytest.raises(SeqtuneError, match="the trained weights came to"):
        train(rows, out=tmp_path / "run", learning_rate=1e38, save_every=1, warmup=0.0)
    assert not [*(tmp_path / "run" / CHECKPOINTS).glob("*")]


def test_a_checkpoint_whose_loss_is_no_number_is_passed_over(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("seqtune.training.checkpoints.require_finite", lambda *_: None)
    with pytest.raises(SeqtuneError, match="the loss is nan"):
        train(rows, out=tmp_path / "run", learning_rate=1e38, save_every=2, warmup=0.0, trl={"logging_steps": 5})
    fingerprint, told = json.loads((tmp_path / "run" / "run.json").read_text())["fingerprint"], []
    assert last_whole(tmp_path / "run" / CHECKPOINTS, fingerprint, told.append) is None
    assert "its loss is no number any more" in told[0]


def test_after_it_diverged_the_same_command_says_so_again_and_a_lower_rate_takes_the_folder(rows, tmp_path):
    words = {"out": tmp_path / "run", "save_every": 1, "warmup": 0.3, "max_tokens": 4000, "schedule": "constant"}
    for _ in range(2):
        with pytest.raises(SeqtuneError, match="lower the learning rate"):
            train(rows, **words, learning_rate=1e20)
    assert train(rows, **words, learning_rate=1e-3).model.is_dir()


def test_what_finds_a_loss_that_is_no_number_cannot_be_switched_off(rows, tmp_path):
    with pytest.raises(RecipeError, match="logging_nan_inf_filter"):
        train(rows, out=tmp_path / "run", trl={"logging_nan_inf_filter": True})


def test_the_largest_of_weights_is_found_wherever_it_is():
    assert largest_weight([torch.tensor([1.0, -3.0]), torch.tensor([2.0])]) == 3.0
    assert largest_weight([torch.tensor([-torch.inf]), torch.zeros(0), torch.tensor([1])]) == torch.inf
    assert str(largest_weight([torch.ones(2), torch.tensor([0.0, torch.nan])])) == "nan"
    assert largest_weight([]) == 0
