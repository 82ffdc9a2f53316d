"""Where the figures of a training go besides losses.jsonl, and the line that is shown while it goes on."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from seqtune.errors import MissingExtraError
from seqtune.training.estimate import duration_text, size_text
from seqtune.training.loss import Loss
from seqtune.training.settings import Tracker


def require_tracker(tracker: Tracker) -> None:
    """Raises MissingExtraError where the tracker's package is not installed."""
    if tracker != "none" and find_spec(tracker) is None:
        raise MissingExtraError(tracker, tracker, f"track {tracker}")


def memory_in_use() -> int:
    """Bytes: on the GPU where one is used, else what the process has resident; 0 where nobody knows."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    if sys.platform == "win32":
        return 0
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of macOS: the most so far


def live_line(loss: Loss) -> str:
    """Such as "loss 1.234, 3,200 tokens/s, 2.5 min left, 512 MB"."""
    left_s = loss.wall_s / loss.step * (loss.steps - loss.step)
    memory = memory_in_use()
    score = [] if loss.score is None else [f"score {loss.score:.3f}"]
    parts = [f"loss {loss.loss:.3f}", *score, f"{loss.tokens_per_s:,.0f} tokens/s", f"{duration_text(left_s)} left"]
    return ", ".join([*parts, size_text(memory)] if memory else parts)
