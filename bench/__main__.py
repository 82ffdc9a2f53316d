"""Run the groups that were named, or all."""

from __future__ import annotations

import sys

from bench import build, clients, evaluation, preference, seq_instruct, training
from bench.figure import as_line

GROUPS = {
    "build": build.figures,
    "seq_instruct": seq_instruct.figures,
    "clients": clients.figures,
    "evaluation": evaluation.figures,
    "preference": preference.figures,
    "training": training.figures,
}


def main(names: list[str]) -> int:
    """Print one JSON line a figure; 2 where a name is no group."""
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        print(f"no bench group is called {unknown[0]!r}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    for name in names or GROUPS:
        for figure in GROUPS[name]():
            print(as_line(name, figure), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
