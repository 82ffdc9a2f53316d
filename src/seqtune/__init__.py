"""seqtune: from your instruction data to sequential instructions, to a tuned model, to numbers one can trust."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqtune.building.draft import Draft
    from seqtune.building.engine import Build, build
    from seqtune.building.gates import Refusal, gate
    from seqtune.building.gold import Operation, Skip, operation, operations
    from seqtune.building.weaving import Means, Part, chain, chains, weave
    from seqtune.data.example import Example, Origin, Step, messages
    from seqtune.data.reader import read
    from seqtune.data.writer import write
    from seqtune.errors import SeqtuneError
    from seqtune.evaluation.comparison import compare
    from seqtune.evaluation.outcome import Evaluation
    from seqtune.evaluation.run import evaluate
    from seqtune.evaluation.suite import Suite
    from seqtune.experiment.run import run_experiment
    from seqtune.report.page import write_report
    from seqtune.training.outcome import Training
    from seqtune.training.run import train

__version__ = "0.1.0"

_HOME = {
    "Build": "building.engine",
    "Draft": "building.draft",
    "Evaluation": "evaluation.outcome",
    "Example": "data.example",
    "Means": "building.weaving",
    "Operation": "building.gold",
    "Origin": "data.example",
    "Part": "building.weaving",
    "Refusal": "building.gates",
    "SeqtuneError": "errors",
    "Skip": "building.gold",
    "Step": "data.example",
    "Suite": "evaluation.suite",
    "Training": "training.outcome",
    "build": "building.engine",
    "chain": "building.weaving",
    "chains": "building.weaving",
    "compare": "evaluation.comparison",
    "evaluate": "evaluation.run",
    "gate": "building.gates",
    "messages": "data.example",
    "operation": "building.gold",
    "operations": "building.gold",
    "read": "data.reader",
    "run_experiment": "experiment.run",
    "train": "training.run",
    "weave": "building.weaving",
    "write": "data.writer",
    "write_report": "report.page",
}

__all__ = [
    "Build",
    "Draft",
    "Evaluation",
    "Example",
    "Means",
    "Operation",
    "Origin",
    "Part",
    "Refusal",
    "SeqtuneError",
    "Skip",
    "Step",
    "Suite",
    "Training",
    "build",
    "chain",
    "chains",
    "compare",
    "evaluate",
    "gate",
    "messages",
    "operation",
    "operations",
    "read",
    "run_experiment",
    "train",
    "weave",
    "write",
    "write_report",
]


def __getattr__(name: str) -> Any:
    # Public names load on first use, so that "import seqtune" stays light whatever they need.
    if name not in _HOME:
        raise AttributeError(f"module 'seqtune' has no attribute {name!r}")
    return getattr(import_module(f"seqtune.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
