"""What a trainer logs, as lines of losses.jsonl; imports transformers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from seqtune.training.finite import Diverged
from seqtune.training.loss import Loss
from seqtune.training.tracking import memory_in_use

Logs = dict[str, Any]


class Reporter(TrainerCallback):  # type: ignore[misc]
    """Turns a trainer's logs into Loss lines, and stops a run whose loss is no number any more.

    Args:
        tokens: seen after so many steps, from their number and what was logged.
        say: called with each line and what was logged.
        before_s: seconds that the run took before it was killed.
    """

    def __init__(
        self, tokens: Callable[[int, Logs], int], say: Callable[[Loss, Logs], object], *, before_s: float = 0.0
    ) -> None:
        self.tokens, self.say = tokens, say
        self.start = time.perf_counter() - before_s

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == state.max_steps:
            control.should_log = True  # a run ends with the loss that it came to

    def on_log(self, args: Any, state: Any, control: Any, logs: Logs | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        loss, step = float(logs["loss"]), state.global_step
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} at step {step} of {state.max_steps}, so nothing can be learnt any more",
                fix=f"lower the learning rate (it is {args.learning_rate})",
            )
        seconds, tokens = time.perf_counter() - self.start, self.tokens(step, logs)
        rate = float(logs["learning_rate"])
        line = Loss(step, state.max_steps, loss, rate, tokens, tokens / seconds, seconds, memory_in_use())
        self.say(line, logs)
