"""seqtune: from your instruction data to sequential instructions, to a tuned model, to numbers one can trust."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqtune.building.engine import Build, build
    from seqtune.building.gold import Operation, Skip, operation, operations
    from seqtune.building.weaving import Means, Part, chain, chains, weave
    from seqtune.data.example import Example, Origin, Step, messages
    from seqtune.data.reader import read
    from seqtune.data.writer import write
    from seqtune.errors import SeqtuneError

__version__ = "0.1.0"

_HOME = {
    "Build": "building.engine",
    "Example": "data.example",
    "Means": "building.weaving",
    "Operation": "building.gold",
    "Origin": "data.example",
    "Part": "building.weaving",
    "SeqtuneError": "errors",
    "Skip": "building.gold",
    "Step": "data.example",
    "build": "building.engine",
    "chain": "building.weaving",
    "chains": "building.weaving",
    "messages": "data.example",
    "operation": "building.gold",
    "operations": "building.gold",
    "read": "data.reader",
    "weave": "building.weaving",
    "write": "data.writer",
}

__all__ = [
    "Build",
    "Example",
    "Means",
    "Operation",
    "Origin",
    "Part",
    "SeqtuneError",
    "Skip",
    "Step",
    "build",
    "chain",
    "chains",
    "messages",
    "operation",
    "operations",
    "read",
    "weave",
    "write",
]


def __getattr__(name: str) -> Any:
    # Public names load on first use, so that "import seqtune" stays light whatever they need.
    if name not in _HOME:
        raise AttributeError(f"module 'seqtune' has no attribute {name!r}")
    return getattr(import_module(f"seqtune.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
