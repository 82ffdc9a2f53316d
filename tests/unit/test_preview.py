"""A preview shows what a training would see: every token once, the trained part marked, and what is left out."""

import json
import sys
from random import Random

import pytest

from seqtune.cli.app import app
from seqtune.data.example import Example, Turn
from seqtune.data.writer import write
from seqtune.errors import DataError, RecipeError
from seqtune.evaluation.suites.generated_chains import chain_maker

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("trl")
from families import FAMILIES, TEXTS, qwen3, save_model
from typer.testing import CliRunner

from seqtune.training.outlook import look_ahead
from seqtune.training.preview import Shown, Span, marked, preview
from seqtune.training.rendering import training_row
from seqtune.training.run import train

ROWS = [Example(f"Say {text}", "", f"{text} {i}") for i, text in enumerate(TEXTS[:5])]
LONG = Example("Repeat.", "", "word " * 200)
TALK = Example("One", turns=tuple(Turn(role, text) for text in TEXTS[:4] for role in ("user", "assistant")))


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    """A folder with a tokenizer and no weights, and the tokenizer."""
    make, end = FAMILIES[request.param]
    tokenizer = make()
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    return tmp_path / "model", tokenizer, end


def test_the_spans_of_a_row_are_its_whole_text_and_the_answer_is_the_trained_one(family):
    folder, tokenizer, end = family
    done = preview(ROWS, folder, rows=2)
    assert [one.id for one in done.shown] == [row.id for row in ROWS[:2]]
    for one, example in zip(done.shown, ROWS, strict=False):
        row = training_row(example, tokenizer)
        assert "".join(span.text for span in one.spans) == tokenizer.decode(row.ids)
        assert [span.text.strip() for span in one.spans if span.trained] == [example.output + end]
        assert (one.tokens, one.trained_tokens) == (len(row.ids), len(row.trained))
    assert (done.end, done.fault) == (end, "")


def test_the_totals_are_of_all_rows_and_say_what_is_left_out(family):
    folder, tokenizer, _ = family
    kept = [training_row(row, tokenizer) for row in ROWS]
    limit = max(len(row.ids) for row in kept)
    done = preview([*ROWS, LONG, Example("No answer")], folder, max_length=limit)
    assert (done.examples, done.rows, done.unused, done.split) == (7, 5, 2, 0)
    assert done.tokens == sum(len(row.ids) for row in kept)
    assert done.trained_tokens == sum(len(row.trained) for row in kept)
    assert (done.longest, done.too_long) == (limit, 1 / 7)
    assert [line.id for line in done.left_out] == [LONG.id, Example("No answer").id]


def test_a_conversation_that_would_be_split_is_counted(family):
    folder, tokenizer, _ = family
    limit = len(training_row(Example("One", turns=TALK.turns[:2]), tokenizer).ids) + 5
    assert preview([*ROWS, TALK], folder, max_length=max(limit, 90), too_long="split").split == 1


def test_a_preview_counts_what_a_training_trains_on(tmp_path):
    done = preview([*ROWS, LONG], max_length=60)
    run = train([*ROWS, LONG], out=tmp_path / "run", max_length=60)
    assert (done.rows, done.unused, done.tokens) == (run.rows, run.unused, run.tokens)
    assert done.trained_tokens == run.trained_tokens


def test_the_trained_part_is_green_on_a_terminal_and_between_brackets_elsewhere():
    shown = Shown("a", 3, 1, (Span("Say hello. ", False), Span("Hello!", True)))
    assert marked(shown, colour=False) == "Say hello. [[Hello!]]"
    assert marked(shown, colour=True) == "Say hello. \x1b[32mHello!\x1b[0m"


def test_a_row_cannot_command_the_terminal():
    shown = Shown("a", 3, 1, (Span("\x1b[2Jone\ttwo\n\x07", False),))
    assert marked(shown, colour=True) == "\\x1b[2Jone\ttwo\n\\x07"


def test_a_preview_refuses_what_training_refuses(tmp_path):
    with pytest.raises(RecipeError, match="unknown key 'max_lenght' in train; did you mean 'max_length'"):
        preview(ROWS, max_lenght=3)
    with pytest.raises(RecipeError, match="no model can be loaded"):
        preview(ROWS, tmp_path / "none")
    with pytest.raises(DataError, match="none of the 1 rows"):
        preview([LONG], max_length=20)


CHAINS = [chain_maker().draw(2, Random(i), for_training=True) for i in range(3)]


def trained_text(one):
    return "".join(span.text for span in one.spans if span.trained)


def test_a_preview_of_dpo_shows_both_answers_of_each_pair_and_what_was_done_to_one(family):
    folder, _, end = family
    done = preview([*CHAINS, ROWS[0]], folder, method="dpo", damages=["drop_step", "swap_steps"], rows=2)
    assert (done.rows, done.unused, done.fault) == (3, 1, "")
    assert done.left_out[0].id == ROWS[0].id
    right, damaged, *_ = done.shown
    assert right.id == f"{CHAINS[0].id}, the right answer"
    assert damaged.id.startswith(f"{CHAINS[0].id}, damaged by ")
    assert CHAINS[0].output + end == trained_text(right).strip()
    assert trained_text(damaged).strip().endswith(end)
    assert trained_text(damaged) != trained_text(right)
    assert len(done.shown) == 4


def test_a_preview_of_grpo_shows_questions_and_the_right_answers_that_are_not_trained(family):
    folder, _, end = family
    done = preview([*CHAINS, ROWS[0]], folder, method="grpo", rows=1)
    assert (done.rows, done.unused, done.trained_tokens) == (3, 1, 0)
    (one,) = done.shown
    assert one.id == f"{CHAINS[0].id}, a question with its right answer, 2 of 2 steps checked"
    assert "".join(span.text for span in one.spans).endswith(CHAINS[0].output + end)


# --- the command


def run_preview(*options):
    done = CliRunner().invoke(app, ["preview", *map(str, options)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_the_command_shows_rows_and_totals(family, tmp_path):
    folder, _, end = family
    write([*ROWS, LONG], tmp_path / "rows.jsonl")
    text = run_preview("--dataset", tmp_path / "rows.jsonl", "--model", folder, "--rows", 1, "--max-length", 120)
    assert text.count("--- row ") == 1
    assert f"{ROWS[0].output}{end}]]" in text
    assert "--- left out: row" in text
    assert "6 rows read, 1 left out, 0 split; 5 to train on" in text
    assert f"an answer ends with {end}" in text


def test_fewer_than_no_rows_cannot_be_shown():
    assert CliRunner().invoke(app, ["preview", "--rows", "-1"]).exit_code == 2


def test_the_command_gives_one_json_object(tmp_path):
    write(ROWS, tmp_path / "rows.jsonl")
    found = json.loads(run_preview("--dataset", tmp_path / "rows.jsonl", "--json"))
    assert (found["rows"], found["examples"], len(found["shown"])) == (5, 5, 3)
    assert [span["trained"] for span in found["shown"][0]["spans"]] == [False, True]


def test_a_preview_does_not_load_what_trains(tmp_path):
    import subprocess

    write(ROWS, tmp_path / "rows.jsonl")
    code = (
        "import sys; from seqtune.training.preview import preview;"
        f"preview({str(tmp_path / 'rows.jsonl')!r}); print('trl' in sys.modules, 'peft' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- what a training would take


OPTIONS = {"batch_tokens": 300, "epochs": 2, "precision": "float32"}


@pytest.fixture
def weightless(tmp_path):
    """The folder of a model whose weights are gone."""
    folder = save_model(tmp_path / "qwen", qwen3(), "qwen3")
    (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize("more", [{}, {"packing": True}, {"rows_per_step": 3}], ids=["buckets", "packed", "rows"])
def test_the_outlook_is_what_the_training_then_does(more, tmp_path):
    folder = save_model(tmp_path / "qwen", qwen3(), "qwen3")
    for method in ("full", "lora"):
        options = {**OPTIONS, **more, "method": method, "out": tmp_path / method}
        told = look_ahead([*ROWS, LONG], folder, max_length=150, **options)
        assert not (tmp_path / method).exists()
        done = train([*ROWS, LONG], folder, max_length=150, **options)
        names = ("rows", "unused", "split", "steps", "tokens", "trained_tokens", "padding", "unfilled", "chains")
        for name in (*names, "parameters", "trained_parameters"):
            assert getattr(told, name) == getattr(done, name), name


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_looking_ahead_reads_no_weights(method, weightless, tmp_path):
    told = look_ahead(ROWS, weightless, out=tmp_path / "run", method=method, **OPTIONS)
    assert told.memory_bytes > 4 * told.trained_parameters
    assert 0 < told.seconds.low <= told.seconds.high
    parts = {line.partition(":")[0] for line in told.lines}
    assert {"gradients", "optimiser states", "activations", "logits", "memory", "compute", "time"} <= parts
    assert ("weights in 4 bits" in parts) == (method == "qlora")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["qwen"]


def test_several_processes_share_the_time_and_each_is_told_to_need_the_memory(weightless, tmp_path):
    one, two = (
        look_ahead(ROWS, weightless, out=tmp_path / "run", processes=processes, **OPTIONS) for processes in (None, 2)
    )
    assert (one.processes, two.processes) == (1, 2)
    assert two.memory_bytes < one.memory_bytes < 2 * two.memory_bytes
    assert "each of 2 processes takes that" in two.lines[-1]


@pytest.mark.parametrize("model", ["tiny", "folder"])
def test_a_dry_run_tells_and_writes_nothing(model, weightless, tmp_path):
    write(ROWS, tmp_path / "rows.jsonl")
    before = sorted(tmp_path.rglob("*"))
    words = ["--model", "tiny" if model == "tiny" else str(weightless), "--out", str(tmp_path / "run")]
    sets = ["--set", "train.batch_tokens=100"]
    words = ["train", "--dataset", str(tmp_path / "rows.jsonl"), "--dry-run", *words, *sets]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "5 rows, 0 left out, 0 split" in done.output
    assert "optimiser states: " in done.output
    assert "\ntime: " in done.output
    assert f"nothing was written; the model would go to {tmp_path / 'run' / 'model'}" in done.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert (found["rows"], found["unused"]) == (5, 0)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_training_would_refuse_a_dry_run_refuses(weightless, tmp_path):
    with pytest.raises(DataError, match="more than 150 tokens"):
        look_ahead([LONG], weightless, out=tmp_path / "run", max_length=150, strict=True)
    with pytest.raises(RecipeError, match="no model can be loaded"):
        look_ahead(ROWS, tmp_path / "none", out=tmp_path / "run")
