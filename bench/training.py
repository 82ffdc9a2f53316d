"""Training: tokens a CPU second of ours against TRL's SFTTrainer and plain PyTorch loops, on the same rows.

200 real rows where they are at hand, else the bundled ones; a Llama of 4 layers and 256 channels; one thread; 32 bits.
A token is one that the model sees, padding not counted. Start-up is not counted: neither imports nor TRL's tokenising.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.build import SEEDS, SHARED
from bench.figure import Figure
from seqtune.data.example import Example, messages
from seqtune.data.reader import read

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from seqtune.training.loss import Loss
    from seqtune.training.packing import Form
    from seqtune.training.rendering import Row

ROWS = 200
WORDS = 4_000  # of the tokenizer
BATCH_ROWS = 8  # TRL's default, and of the loop that takes rows as they come
BATCH_TOKENS = 1_024  # of the buckets: about as many rows
RATE = 1e-3
RUNS = 2
SOME_ROWS = 80  # for what is too slow, or not close enough, to be timed on all
GOAL = 1 / 0.95  # CPU seconds over those of the plain loop on the same batches


class Setting(NamedTuple):
    """What every way to train is given."""

    examples: Sequence[Example]
    tokenizer: PreTrainedTokenizerBase
    rows: Sequence[Row]
    batches: Sequence[Sequence[int]]
    folder: Path

    @property
    def tokens(self) -> int:
        """Of one pass."""
        return sum(len(row.ids) for row in self.rows)


def figures() -> Iterator[Figure]:
    """Tokens a CPU second of each way, ratios to ours, padding."""
    import torch

    from seqtune.training.batches import padding

    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        setting = _setting(Path(folder))
        lengths = [len(row.ids) for row in setting.rows]
        yield Figure("padding: shuffled length buckets", padding(setting.batches, lengths), "share", 0.04)
        yield Figure("padding: rows as they come", padding(_as_they_come(setting), lengths), "share")
        yield from _speeds(setting)


def _speeds(setting: Setting) -> Iterator[Figure]:
    _loop(setting, setting.batches[:4])  # warms up
    some = _first(setting, SOME_ROWS)
    ours, buckets = [], []
    for _ in range(RUNS):
        buckets.append(_seconds(lambda: _loop(setting, setting.batches)))
        ours.append(_seconds(lambda: _ours(setting, None)))
    mine = setting.tokens / median(ours)
    others = {
        "seqtune, packed": some.tokens / _seconds(lambda: _ours(some, _form(some))),
        "plain loop, the same batches": setting.tokens / median(buckets),
        "plain loop, rows as they come": some.tokens / _seconds(lambda: _loop(some, _as_they_come(some))),
        "TRL's SFTTrainer": some.tokens / _of_trl(some),
    }
    yield Figure("seqtune: tokens a CPU second", mine, "tokens/s")
    for name, rate in others.items():
        yield Figure(f"{name}: tokens a CPU second", rate, "tokens/s")
        yield Figure(f"seqtune / {name}", mine / rate, "x")
    ratio = median(one / other for one, other in zip(ours, buckets, strict=True))
    yield Figure("CPU seconds: seqtune / plain loop, the same batches", ratio, "x", GOAL)


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _setting(folder: Path) -> Setting:
    from seqtune.training.plan import plan_run
    from seqtune.training.rendering import training_row

    examples = list(read(str(SHARED if SHARED.is_file() else SEEDS)))
    examples = Random(0).sample(examples, min(ROWS, len(examples)))
    tokenizer = _tokenizer(examples)
    rows = [training_row(example, tokenizer) for example in examples]
    lengths = [len(row.ids) for row in rows]
    return Setting(examples, tokenizer, rows, plan_run(lengths, batch_tokens=BATCH_TOKENS, seed=0).batches, folder)


def _first(setting: Setting, count: int) -> Setting:
    return setting._replace(examples=setting.examples[:count], rows=setting.rows[:count])


def _tokenizer(examples: Sequence[Example]) -> PreTrainedTokenizerBase:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    from seqtune.training.templates import use_template

    made = ByteLevelBPETokenizer()
    texts = (str(message["content"]) for example in examples for message in messages(example))
    made.train_from_iterator(texts, WORDS, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made._tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    use_template(tokenizer, "chatml", "bench")
    return tokenizer


def _model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    import transformers

    transformers.set_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return transformers.LlamaForCausalLM(config)


def _as_they_come(setting: Setting) -> list[list[int]]:
    order = Random(0).sample(range(len(setting.rows)), len(setting.rows))
    return [order[start : start + BATCH_ROWS] for start in range(0, len(order), BATCH_ROWS)]


def _loop(setting: Setting, batches: Sequence[Sequence[int]]) -> None:
    """What one writes by hand."""
    import torch

    from seqtune.training.batches import collate

    model = _model(setting.tokenizer).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    pad = setting.tokenizer.pad_token_id
    for batch in batches:
        model(**collate([setting.rows[i] for i in batch], pad), use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()


def _form(setting: Setting) -> Form | None:
    from seqtune.training.packing import form_for

    return form_for(_model(setting.tokenizer), setting.rows)


def _ours(setting: Setting, form: Form | None) -> None:
    from seqtune.training.model import Loaded
    from seqtune.training.plan import plan_run
    from seqtune.training.settings import TrainSettings
    from seqtune.training.trainer import optimise

    settings = TrainSettings(
        dataset="rows", model="bench", out=str(setting.folder), batch_tokens=BATCH_TOKENS, learning_rate=RATE
    ).resolved()
    lengths = [len(row.ids) for row in setting.rows]
    plan = plan_run(lengths, batch_tokens=BATCH_TOKENS, seed=0, form=form)
    losses: list[Loss] = []
    loaded = Loaded(_model(setting.tokenizer), setting.tokenizer)
    optimise(loaded, setting.rows, plan, settings, bfloat16=False, folder=setting.folder, say=losses.append)


def _of_trl(setting: Setting) -> float:
    """TRL with its defaults (activations are computed twice), but in 32 bits, and without progress bars and files."""
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()

    made = SFTConfig(
        output_dir=str(setting.folder),
        num_train_epochs=1,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    chats: list[dict[str, Any]] = [{"messages": messages(example)} for example in setting.examples]
    trainer = SFTTrainer(
        model=_model(setting.tokenizer),
        args=made,
        train_dataset=Dataset.from_list(chats),
        processing_class=setting.tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return _seconds(trainer.train)
