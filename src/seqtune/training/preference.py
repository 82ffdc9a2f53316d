"""Preference: what is learnt from better and worse answers, on TRL's DPO and GRPO trainers.

Prompts and answers are ours here too, end token included, so no default of TRL changes what is trained: DPOTrainer
would tokenise texts itself (and add the tokenizer's `eos_token`, which is another one in many models), GRPOTrainer
would encode prompts anew. The order of rows is that of the plan. Imported only by commands that train, since importing
TRL takes seconds.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datasets import Dataset
from msgspec import structs
from trl import DPOTrainer, GRPOTrainer

from seqtune.training.adapters import base_model
from seqtune.training.arguments import refusals_told, trainer_arguments
from seqtune.training.checkpoints import WholeCheckpoints
from seqtune.training.loss import Loss
from seqtune.training.model import Loaded
from seqtune.training.pairs import Pair
from seqtune.training.plan import Plan
from seqtune.training.preferring import longest_try, tokens_of
from seqtune.training.rendering import end_mark
from seqtune.training.reporter import Logs, Reporter
from seqtune.training.rewards import Question, step_reward
from seqtune.training.settings import TrainSettings
from seqtune.training.trainer import run_to_end, trackers

REFERENCE = "ref"  # what TRL calls the copy of an adapter that it compares with
EQUAL = "frac_reward_zero_std"  # share of the questions whose tries all have the same reward
METRICS = "metrics.json"  # in a checkpoint: what TRL measured since the last line, gathered from all processes


def optimise_preference(
    loaded: Loaded,
    rows: Sequence[Any],
    plan: Plan,
    settings: TrainSettings,
    *,
    bfloat16: bool,
    folder: Path,
    say: Callable[[Loss], object],
    fingerprint: str = "",
    checkpoint: Path | None = None,
    before_s: float = 0.0,
) -> Loaded:
    """Train the model on the steps of the plan, in their order, once; gives it back.

    Method dpo is direct preference optimisation (Rafailov et al. 2023): make right answers likelier than damaged ones,
    as compared with what the model was at the start. Method grpo is group-relative policy optimisation (Shao et al.
    2024): let the model try, and reward the steps done in order; no reference model is kept (TRL's own default), as a
    program's reward cannot be talked into anything.

    Args:
        loaded: the model, whole or with an adapter on it, which is changed in place.
        rows: pairs or questions, by the method; what the numbers in the plan mean.
        plan: for each optimiser step its rows.
        settings, bfloat16, folder, say, fingerprint, checkpoint, before_s: as for `trainer.optimise`.

    Raises:
        RunFolderError: a checkpoint cannot be written.
        RecipeError: a `trl` field whose value TRL refuses.
        SeqtuneError: the loss is no number any more, or memory ran out.
    """
    by_pairs = settings.method == "dpo"
    make, tokens = (_by_pairs, _tokens_of_plan(rows, plan)) if by_pairs else (_by_reward, _tokens_of_logs)
    with _bare_forward(loaded.model):
        with refusals_told(settings):
            trainer = make(loaded, rows, plan, settings, bfloat16, folder)
        _keep_start(loaded.model)
        trainer.fingerprint = fingerprint
        trainer.add_callback(Reporter(tokens, _with_score(trainer.score, say), before_s=before_s))
        for tracker in trackers(settings, folder):
            trainer.add_callback(tracker)
        run_to_end(trainer, settings, checkpoint)
    if REFERENCE in getattr(loaded.model, "peft_config", {}):
        loaded.model.delete_adapter(REFERENCE)  # else it would be saved beside the trained one
    return loaded


def _keep_start(model: Any) -> None:
    """Make the reference adapter what the trained one is now: TRL copies most of it, but no weight of an embedding."""
    if REFERENCE in getattr(model, "peft_config", {}):
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        start = get_peft_model_state_dict(model, save_embedding_layers=False)
        set_peft_model_state_dict(model, start, adapter_name=REFERENCE)


def _by_pairs(
    loaded: Loaded, pairs: Sequence[Pair], plan: Plan, settings: TrainSettings, bfloat16: bool, folder: Path
) -> _PairTrainer:
    columns = {
        "prompt_ids": [pair.prompt for pair in pairs],
        "chosen_ids": [pair.chosen for pair in pairs],
        "rejected_ids": [pair.rejected for pair in pairs],
    }
    return _PairTrainer(
        model=loaded.model,
        # TRL would load it from where the model's config says it once was, whatever became of the weights since.
        ref_model=None if settings.adapter else copy.deepcopy(loaded.model),
        args=trainer_arguments(settings, steps=len(plan.steps), bfloat16=bfloat16, folder=folder),
        train_dataset=_in_order(columns, plan),
        processing_class=loaded.tokenizer,
    )


def _by_reward(
    loaded: Loaded, questions: Sequence[Question], plan: Plan, settings: TrainSettings, bfloat16: bool, folder: Path
) -> _RewardTrainer:
    longest = longest_try(settings, questions)
    columns = {"prompt": [question.prompt for question in questions], "question": [*range(len(questions))]}
    return _RewardTrainer(
        model=loaded.model,
        reward_funcs=_reward_function(loaded, questions),
        args=trainer_arguments(settings, steps=len(plan.steps), bfloat16=bfloat16, folder=folder, longest_try=longest),
        train_dataset=_in_order(columns, plan),
        processing_class=loaded.tokenizer,
    )


def _in_order(columns: dict[str, list[Any]], plan: Plan) -> Dataset:
    """What the whole run takes, one row after the other, so that TRL has nothing to draw."""
    return Dataset.from_dict(columns).select([row for batch in plan.batches for row in batch])


class _Preferring(WholeCheckpoints):
    """What both trainers have: checkpoints with what was measured since the last line, and no card of TRL's."""

    score = ""  # what TRL calls how well the model does

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Not TRL's: the card of the run is written at its end, see `card`."""

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self.args.should_save:
            (Path(output_dir) / METRICS).write_text(json.dumps(self._metrics["train"]), "utf-8")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint:
            self._metrics["train"].update(json.loads((Path(checkpoint) / METRICS).read_text("utf-8")))


class _PairTrainer(_Preferring, DPOTrainer):  # type: ignore[misc]
    """TRL's trainer, which has no way to say that its rows are token ids already."""

    score = "rewards/accuracies"

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, *rest: Any) -> Any:
        _keep_start(self.model)  # with `precompute_ref_log_probs` it is asked before the trainer is made
        return super()._precompute_ref_logps(*rest)


class _RewardTrainer(_Preferring, GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer on prompts that are token ids already."""

    score = "reward"

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompts, None, {}


def _reward_function(loaded: Loaded, questions: Sequence[Question]) -> Callable[..., list[float]]:
    end = loaded.tokenizer.convert_tokens_to_ids(end_mark(loaded.tokenizer))

    def steps_in_order(completions: Any, completion_ids: Any, question: Any, **_: Any) -> list[float]:
        # TRL's texts come without the marks of the template, as `answer` decodes them.
        tried = zip(question, completions, completion_ids, strict=True)
        return [step_reward(questions[i].example, text, ended=ids[-1] == end) for i, text, ids in tried]

    return steps_in_order


@contextmanager
def _bare_forward(model: Any) -> Iterator[None]:
    """TRL replaces `forward` on the model itself and leaves it so; a copy would then run the original's."""
    inner = base_model(model)
    inner.__dict__.pop("forward", None)
    try:
        yield
    finally:
        inner.__dict__.pop("forward", None)


def _with_score(name: str, say: Callable[[Loss], object]) -> Callable[[Loss, Logs], object]:
    def scored(loss: Loss, logs: Logs) -> None:
        equal = logs.get(EQUAL)
        differing = None if equal is None else 1 - float(equal)
        say(structs.replace(loss, score=float(logs.get(name, math.nan)), differing=differing))

    return scored


def _tokens_of_plan(pairs: Sequence[Pair], plan: Plan) -> Callable[[int, Logs], int]:
    of_steps = [sum(tokens_of(pairs[i]) for batch in step for i in batch) for step in plan.steps]
    return lambda step, logs: sum(of_steps[:step])


def _tokens_of_logs(step: int, logs: Logs) -> int:
    return int(logs.get("num_tokens", 0))
