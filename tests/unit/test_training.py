"""Training: what is trained on is the answer and its end, batches are shuffled, and a seed gives the same run."""

import json
import shutil
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.data.example import Example, Turn, messages
from seqtune.data.writer import write
from seqtune.errors import DataError, MissingExtraError, RecipeError, RunFolderError, SeqtuneError
from seqtune.evaluation.suites.generated_chains import chain_maker
from seqtune.training.batches import padding
from seqtune.training.plan import plan_run

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

from seqtune.data.lock import locked  # noqa: E402
from seqtune.evaluation.answers import answer  # noqa: E402
from seqtune.training.model import load  # noqa: E402
from seqtune.training.rendering import IGNORED, prompt_ids, training_row  # noqa: E402
from seqtune.training.run import train  # noqa: E402
from seqtune.training.words import BLANK, END, pieces, tiny_tokenizer, word_tokenizer  # noqa: E402

CHATS = [
    Example("Say hello.", "", "Hello!"),
    Example("Count the words.", "one two", "2", system="Be brief."),
    Example("Write two lines.", "", "1. a line\n\n2. another — «ligne», 行 🙂\n"),
    Example(
        "Hello?",
        turns=(Turn("user", "Hello?"), Turn("assistant", "Yes?"), Turn("user", "Add 2 and 2."), Turn("assistant", "4")),
    ),
]


def chain_rows(count=200, seed=0):
    maker, rng = chain_maker(), Random(seed)
    return [maker.draw(1 + i % 3, rng, for_training=True) for i in range(count)]


@pytest.fixture(scope="module")
def rows():
    return chain_rows()


@pytest.fixture(scope="module")
def tokenizer(rows):
    return tiny_tokenizer(rows)


@pytest.fixture(scope="module")
def trained(rows, tmp_path_factory):
    return train(rows, out=tmp_path_factory.mktemp("run") / "first", epochs=2)


def decoded(ids, tokenizer):
    return tokenizer.decode(ids, skip_special_tokens=False)


# --- the word-level tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        "\n\n",
        " a",
        "a ",
        "a  b",
        "a\n b",
        "1. one\n2. two",
        "zebra-crossing, 12.50 €",
        "\t x\r\n",
        "été 日本",
    ],
)
def test_any_text_comes_back_as_it_was(text, tokenizer):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@given(st.text(st.characters(exclude_characters=BLANK, exclude_categories=["Cs"])))
def test_any_text_at_all_comes_back(text):
    ids = GREEK.encode(text, add_special_tokens=False)
    assert GREEK.decode(ids) == text


GREEK = word_tokenizer(["alpha beta\ngamma, delta"])


def test_a_whole_chat_comes_back_marks_included(rows, tokenizer):
    for example in [*rows[:50], *CHATS]:
        text = tokenizer.apply_chat_template(messages(example), tokenize=False)
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_every_known_word_is_one_token_wherever_it_stands(rows, tokenizer):
    for row in rows[:50]:
        ids = tokenizer.encode(row.output, add_special_tokens=False)
        assert len(ids) == len(pieces(row.output))
    (one,), (two, *_) = (tokenizer.encode(t, add_special_tokens=False) for t in ("Reversed", "Reversed words"))
    third = tokenizer.encode("a\nReversed", add_special_tokens=False)[-1]
    assert one == two == third


def test_a_saved_tokenizer_is_the_same_in_plain_transformers(tokenizer, rows, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for row in rows[:20]:
        assert again(row.output)["input_ids"] == tokenizer(row.output)["input_ids"]
    assert again.chat_template == tokenizer.chat_template
    assert (again.eos_token, again.pad_token) == (tokenizer.eos_token, tokenizer.pad_token)


# --- what is trained on


def test_the_trained_tokens_of_every_row_are_its_answer_and_its_end(rows, tokenizer):
    for example in [*rows, *CHATS[:3]]:
        row = training_row(example, tokenizer)
        assert decoded(row.trained, tokenizer) == example.output + END
        assert len(row.ids) == len(row.labels)
        assert all(label in (IGNORED, token) for token, label in zip(row.ids, row.labels, strict=True))


def test_a_dialogue_is_trained_on_each_of_its_answers_and_nothing_else(tokenizer):
    row = training_row(CHATS[3], tokenizer)
    assert decoded(row.trained, tokenizer) == f"Yes?{END}4{END}"


def test_the_prompt_in_training_is_the_prompt_in_answering(rows, tokenizer):
    for example in [*rows, *CHATS]:
        row, prompt = training_row(example, tokenizer), prompt_ids(example, tokenizer)
        assert row.ids[: len(prompt)] == prompt
        assert row.labels[-1] != IGNORED
        assert row.labels[len(prompt) - 1] == IGNORED
        assert IGNORED not in row.labels[len(prompt) :]


def test_nothing_after_the_end_token_is_trained_where_a_template_writes_more(tokenizer):
    chatml = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    other = word_tokenizer(["Say hello."])
    other.chat_template = chatml
    for example in CHATS:
        row = training_row(example, other)
        assert row.ids[-1] == row.trained[-1] == other.eos_token_id
    assert decoded(training_row(CHATS[3], other).trained, other) == f"Yes?{END}4{END}"


def test_templates_that_cannot_be_masked_are_refused(tokenizer):
    other = word_tokenizer(["a"])
    other.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(RecipeError, match="does not close an answer"):
        training_row(CHATS[0], other)
    other.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"
    with pytest.raises(RecipeError, match="writes earlier turns differently"):
        training_row(CHATS[0], other)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example("Say hello."), "no answer to train on"),
        (Example("Say <|end|>", "", "hello"), "'<|end|>', which the model reads as"),
        (Example("What?", turns=(Turn("user", [{"type": "image"}]), Turn("assistant", "A cat"))), "not plain text"),
    ],
)
def test_rows_that_cannot_be_trained_say_why(example, message, tokenizer):
    with pytest.raises(DataError) as error:
        training_row(example, tokenizer)
    assert message in error.value.what


# --- batches


def plan(lengths, **options):
    return plan_run(lengths, **options).batches


@given(st.lists(st.integers(1, 90), min_size=1, max_size=300), st.integers(100, 400), st.integers(0, 3))
def test_every_row_is_in_one_batch_of_each_epoch_and_no_batch_is_too_large(lengths, batch_tokens, seed):
    batches = plan(lengths, batch_tokens=batch_tokens, seed=seed, epochs=2)
    assert sorted(i for batch in batches for i in batch) == sorted([*range(len(lengths))] * 2)
    assert all(len(batch) * max(lengths[i] for i in batch) <= batch_tokens for batch in batches)
    assert batches == plan(lengths, batch_tokens=batch_tokens, seed=seed, epochs=2)


def test_batches_are_shuffled_not_sorted_and_pad_little(rows, tokenizer):
    lengths = [len(training_row(row, tokenizer).ids) for row in chain_rows(3000)]
    batches = plan(lengths, batch_tokens=512, seed=0)
    assert padding(batches, lengths) < 0.04
    longest = [max(lengths[i] for i in batch) for batch in batches]
    ups = sum(a < b for a, b in pairwise(longest))
    downs = sum(a > b for a, b in pairwise(longest))
    assert abs(ups - downs) < 0.1 * len(batches)
    quarters = [longest[i * len(longest) // 4 : (i + 1) * len(longest) // 4] for i in range(4)]
    means = [sum(quarter) / len(quarter) for quarter in quarters]
    assert max(means) < 1.2 * min(means)
    assert batches != plan(lengths, batch_tokens=512, seed=1)


def test_a_token_budget_is_met_and_passed_by_less_than_a_batch():
    lengths = [10 + i % 30 for i in range(100)]
    batches = plan(lengths, batch_tokens=200, seed=0, max_tokens=7000)
    tokens = sum(lengths[i] for batch in batches for i in batch)
    assert 7000 <= tokens < 7200
    assert tokens > 2 * sum(lengths)


# --- a real training


def test_the_loss_goes_down_and_is_written_as_it_goes(trained):
    lines = [json.loads(line) for line in (trained.out / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [line.step for line in trained.losses]
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    assert all(line["tokens_per_s"] > 0 for line in lines)


def test_the_run_folder_says_what_was_run(trained, rows):
    run = json.loads((trained.out / "run.json").read_text())
    assert run["finished"]
    assert run["settings"]["seed"] == 0
    assert (run["rows"], run["unused"]) == (len(rows), 0)
    assert 0 < run["trained_tokens"] < run["tokens"]
    assert {"torch", "transformers", "seqtune", "python"} <= run["versions"].keys()
    files = {path.name for path in trained.model.iterdir()}
    assert "model.safetensors" in files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]


def test_a_saved_model_gives_the_same_logits_in_plain_transformers(trained, rows):
    plain = transformers.AutoModelForCausalLM.from_pretrained(trained.model)
    ours = load(trained.model)
    ids = torch.tensor([training_row(rows[0], ours.tokenizer).ids])
    with torch.no_grad():
        assert torch.equal(plain(ids).logits, ours.model(ids).logits)


def test_the_same_seed_gives_the_same_losses_and_another_gives_others(rows, trained, tmp_path):
    again = train(rows, out=tmp_path / "again", epochs=2)
    assert [line.loss for line in again.losses] == [line.loss for line in trained.losses]
    other = train(rows, out=tmp_path / "other", epochs=2, seed=1)
    assert [line.loss for line in other.losses] != [line.loss for line in trained.losses]


def test_a_trained_model_is_trained_on_from_its_folder(trained, rows, tmp_path):
    more = train(rows[:50], trained.model, out=tmp_path / "more", learning_rate=1e-3, batch_tokens=512)
    assert more.losses[0].loss < trained.losses[0].loss
    assert more.parameters == trained.parameters


def test_rows_can_come_from_a_file(rows, tmp_path):
    write(rows[:30], tmp_path / "rows.jsonl")
    done = train(tmp_path / "rows.jsonl", out=tmp_path / "run", max_tokens=1000)
    assert done.rows == 30
    assert 1000 <= done.tokens < 1512


def test_padding_on_the_left_changes_no_answer(trained, rows):
    loaded = load(trained.model)
    together = answer(loaded, rows[:12], batch_size=12, max_new_tokens=12)
    apart = answer(loaded, rows[:12], batch_size=1, max_new_tokens=12)
    assert [one.text for one in together] == [one.text for one in apart]
    assert [one.item for one in together] == [row.id for row in rows[:12]]


# --- what is refused, and what is left out


def test_a_row_over_the_limit_is_listed_and_never_cut(rows, tmp_path):
    long = Example("Repeat.", "word " * 80, "word " * 80)
    done = train([*rows[:30], long, Example("No answer")], out=tmp_path / "run", max_length=100, max_tokens=500)
    unused = [json.loads(line) for line in (tmp_path / "run" / "unused.jsonl").read_text().splitlines()]
    assert (done.rows, done.unused) == (30, 2)
    assert [line["id"] for line in unused] == [long.id, Example("No answer").id]
    assert unused[0]["tokens"] > 100
    assert "more than 100 tokens" in unused[0]["reason"]
    with pytest.raises(DataError, match="more than 100 tokens") as error:
        train([*rows[:30], long], out=tmp_path / "strict", max_length=100, strict=True)
    assert "or set strict to false" in error.value.fix
    assert "too_long" not in error.value.fix
    with pytest.raises(DataError, match="give it an output, or set strict to false"):
        train([*rows[:30], Example("No answer")], out=tmp_path / "strict", strict=True)


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="no row to train on"):
        train([], out=tmp_path / "run")
    with pytest.raises(DataError, match="none of the 1 rows can be trained on"):
        train([Example("No answer")], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_none_that_looks_whole(rows, tmp_path):
    with pytest.raises(SeqtuneError, match="lower the learning rate"):
        train(rows, out=tmp_path / "run", learning_rate=1e38)
    assert not (tmp_path / "run" / "model").exists()
    assert not json.loads((tmp_path / "run" / "run.json").read_text())["finished"]


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"learning_rate": -1.0}, {"max_tokens": 0}, {"batch_tokens": -5}])
def test_impossible_numbers_are_refused_by_name(settings, rows, tmp_path):
    with pytest.raises(RecipeError, match=next(iter(settings))):
        train(rows, out=tmp_path / "run", **settings)


@pytest.mark.parametrize("model", ["", "empty", "no/such/folder", "/no/such", "../x", "./x", "empty/x", "{tmp}/x"])
def test_what_is_no_model_is_refused_without_asking_a_hub(model, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match="no model can be loaded from"):
        train(rows, model.format(tmp=tmp_path), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_name_that_could_be_a_hubs_is_asked_for_once(rows, tmp_path, monkeypatch):
    asked = []

    def ask(self, model, **_):
        asked.append(model)
        raise OSError("no way there")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", ask)
    with pytest.raises(RecipeError, match="there is no such folder, and the hub does not give it: no way there"):
        train(rows, "no-such/model", out=tmp_path / "run")
    assert asked == ["no-such/model"]


def test_a_finished_training_is_not_done_again(rows, tmp_path):
    told = []
    first = train(rows[:30], out=tmp_path / "run", max_tokens=1000)
    weights = first.model / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert train(rows[:30], out=tmp_path / "run", max_tokens=1000, tell=told.append) == first
    assert weights.stat().st_mtime_ns == before
    assert "finished already" in told[0]
    train(rows[:30], out=tmp_path / "run", max_tokens=1000, overwrite=True)
    assert weights.stat().st_mtime_ns > before
    weights.unlink()
    train(rows[:30], out=tmp_path / "run", max_tokens=1000)
    assert weights.is_file()


def test_another_model_at_the_same_path_is_another_run(rows, trained, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(trained.model, base)
    train(rows[:30], base, out=tmp_path / "run", max_tokens=500)
    shutil.copytree(train(rows, out=tmp_path / "other", max_tokens=1000).model, base, dirs_exist_ok=True)
    with pytest.raises(RunFolderError, match="another run"):
        train(rows[:30], base, out=tmp_path / "run", max_tokens=500)


def test_a_run_that_broke_before_its_first_checkpoint_leaves_the_folder_to_others(rows, tmp_path):
    with pytest.raises(SeqtuneError, match="lower the learning rate"):
        train(rows, out=tmp_path / "run", learning_rate=1e38)
    done = train(rows, out=tmp_path / "run", max_tokens=500)
    assert [line.step for line in done.losses] == [
        json.loads(line)["step"] for line in (done.out / "losses.jsonl").read_text().splitlines()
    ]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="files of something else"):
        train(rows, out=tmp_path / "mine", max_tokens=500)


def test_a_folder_in_which_a_training_is_at_work_is_left_alone(rows, tmp_path):
    pytest.importorskip("fcntl")
    with locked(tmp_path / "run"), pytest.raises(RunFolderError, match="another process is at work here"):
        train(rows[:30], out=tmp_path / "run", max_tokens=500)
    assert train(rows[:30], out=tmp_path / "run", max_tokens=500).rows == 30


def test_what_comes_before_the_first_step_is_told_apart(trained):
    assert trained.startup_s > 0
    assert trained.losses[-1].wall_s <= trained.wall_s


def test_the_folder_of_another_run_is_not_written_to(rows, trained):
    with pytest.raises(RunFolderError, match="another run"):
        train(rows[:20], out=trained.out)


def test_a_missing_package_is_named_with_what_to_install(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("seqtune.training.model.PACKAGES", ("torch", "no_such_package"))
    with pytest.raises(MissingExtraError, match=r"'no_such_package'.*\n.*pip install 'seqtune\[train\]'") as error:
        train(rows, out=tmp_path / "run")
    assert "training needs" in str(error.value)


def test_a_model_without_a_chat_template_is_refused(trained, rows, tmp_path):
    loaded = load(trained.model)
    loaded.tokenizer.chat_template = None
    loaded.model.save_pretrained(tmp_path / "base")
    loaded.tokenizer.save_pretrained(tmp_path / "base")
    with pytest.raises(RecipeError, match="no chat template"):
        train(rows, tmp_path / "base", out=tmp_path / "run")
