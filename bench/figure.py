"""One measured figure, and how a whole process is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Figure(NamedTuple):
    """A measured value; `goal` is the most it should be, None where there is none."""

    name: str
    value: float
    unit: str
    goal: float | None = None


def as_line(group: str, figure: Figure) -> str:
    """The figure as one JSON line."""
    met = None if figure.goal is None else figure.value <= figure.goal
    value = float(f"{figure.value:.4g}")
    return json.dumps(
        {"bench": group, "figure": figure.name, "value": value, "unit": figure.unit, "goal": figure.goal, "met": met}
    )


class Measured(NamedTuple):
    """What one process took: wall and processor seconds, and its highest resident memory in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measure(command: Sequence[str], python: str = sys.executable) -> Measured:
    """Run a command of a Python to its end; its output is thrown away.

    Raises:
        RuntimeError: it failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen([python, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Measured(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def typical(runs: Sequence[Measured]) -> Measured:
    """The median of each."""
    return Measured(*[median(column) for column in zip(*runs, strict=True)])
